//! Asterisk goes away and comes back.

use super::rig::{GREETING, Options, Rig, answer_since, is_heard};
use crate::shared::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_asterisk_calls_are_taken_again() {
    let mut rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    rig.asterisk.restart().await.expect("Asterisk starts again");
    rig.wait_for_log("lost the events socket").await;
    rig.wait_for_log("the call is over").await;
    drop(call);

    let deadline = std::time::Instant::now() + SOON;
    loop {
        let call = rig.call("100").await;
        let heard = answer_since(&call, call.answered_at().expect("answered")).await;
        call.hang_up().await.expect("hung up");
        if is_heard(GREETING, &heard) {
            break;
        }
        // Not connected again yet: the dialplan's own announcement was heard.
        assert!(std::time::Instant::now() < deadline, "no call is taken after the restart\n{}", rig.logs());
    }
    rig.wait_until_nothing_is_left().await;
}
