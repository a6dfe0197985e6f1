//! Several callers at once.

use super::rig::{Options, Rig};
use crate::shared::SOON;

const CALLS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_at_once_are_all_greeted_and_leave_nothing_behind() {
    let rig = Rig::start(Options::default()).await;
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        calls.push(rig.call("100").await);
    }
    for call in &calls {
        call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
    }
    assert_eq!(rig.asterisk.bridges().await.expect("a list").len(), CALLS);
    assert!(calls.iter().all(|call| call.hung_up().is_none()), "{}", rig.logs());
    for call in &calls {
        call.hang_up().await.expect("hung up");
    }
    rig.wait_until_nothing_is_left().await;
}
