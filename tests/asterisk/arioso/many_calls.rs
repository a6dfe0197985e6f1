//! Several callers at once.

use super::rig::{Options, Rig, voice};
use crate::shared::SOON;
use arioso::bench::caller::{ActiveCall, Caller, CallerSettings};
use std::time::Duration;
use tokio::task::JoinSet;

const CALLS: usize = 20;

/// One inference thread has the questions of all of them to understand.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn twenty_callers_at_once_are_all_greeted_understood_and_leave_nothing_behind() {
    let rig = Rig::start(Options::default()).await;
    let question = voice("What are your opening hours?");
    let mut dialling = JoinSet::new();
    for _ in 0..CALLS {
        let settings = CallerSettings::new(rig.asterisk.sip_address(), "100");
        let question = question.clone();
        dialling.spawn(async move {
            let call = Caller::call(settings).await.expect("the call is answered");
            call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
            call.wait_for_quiet(Duration::from_millis(900), SOON).await.expect("the end of the greeting");
            let said = call.say_to_end(&question).await.expect("spoken");
            call.wait_for_voice(said.last_packet_at, ANSWER_LIMIT).await.expect("an answer");
            call
        });
    }
    let calls: Vec<ActiveCall> = dialling.join_all().await;
    assert_eq!(rig.asterisk.bridges().await.expect("a list").len(), CALLS);
    assert!(calls.iter().all(|call| call.hung_up().is_none()), "{}", rig.logs());
    let logs = rig.logs();
    let understood =
        logs.lines().filter(|line| line.contains("the caller said ") && line.contains("opening hours")).count();
    assert!(understood >= CALLS * 9 / 10, "{understood} of {CALLS} were understood\n{}", rig.logs());
    for call in &calls {
        call.hang_up().await.expect("hung up");
    }
    rig.wait_until_nothing_is_left().await;
}
