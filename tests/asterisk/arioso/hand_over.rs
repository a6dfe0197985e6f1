//! The caller leaves the bot for something else: because the bot says so, or because something broke.

use super::rig::{GREETING, LOCAL_BOT, Options, Rig, answer_since, free_tcp_port, is_heard, voice};
use crate::shared::SOON;

/// The dialplan hangs up with this cause after a call that was given back.
const GIVEN_BACK: u8 = 41;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_handed_over_and_comes_back_is_a_new_call() {
    let flow = include_str!("../../../examples/reception.toml").replace(
        "to our sales team now. Is there anything else?\"",
        "to our sales team now.\"\nthen = \"continue\"\ntarget = { context = \"site\", extension = \"950\", priority = 1 }",
    );
    assert!(flow.contains("950"), "the example has changed");
    let bot = LOCAL_BOT.replace("kind = \"local\"", "kind = \"local\"\nflow = \"flow.toml\"");
    let site_dialplan = "exten => 950,1,Stasis(arioso,100)\n same => n,Hangup(16)";
    let rig = Rig::start(Options { bot, flow, site_dialplan, ..Options::default() }).await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    let said = call.say_to_end(&voice("I want to talk to sales.")).await.expect("spoken");
    // The answer, and at once the greeting of the second call.
    let heard = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard("i would put you through to our sales team now", &heard), "{heard:?}\n{}", rig.logs());
    let heard = if is_heard(GREETING, &heard) { heard } else { answer_since(&call, std::time::Instant::now()).await };
    assert!(is_heard(GREETING, &heard), "{heard:?}\n{}", rig.logs());
    assert!(!rig.asterisk.log().contains("gave the call back"), "nothing was wrong");
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_media_leg_that_is_killed_gives_the_caller_back_to_the_dialplan() {
    let rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    let channels = rig.asterisk.channels().await.expect("a list");
    let leg = channels.iter().find(|name| name.starts_with("UnicastRTP/")).expect("a media leg");
    rig.asterisk.cli(&format!("channel request hangup {leg}")).await.expect("killed");
    let over = call.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.cause.map(|cause| cause.0), Some(GIVEN_BACK));
    assert!(rig.asterisk.log().contains("gave the call back: media-lost"), "{}", rig.asterisk.log());
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_any_engine_goes_back_to_the_dialplan_before_it_is_answered() {
    let bot = LOCAL_BOT
        .replace("kind = \"local\"", &format!("kind = \"grpc\"\nurl = \"http://127.0.0.1:{}\"", free_tcp_port()));
    let mut rig = Rig::start(Options { bot, ..Options::default() }).await;
    let call = rig.call("100").await;
    let over = call.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.cause.map(|cause| cause.0), Some(GIVEN_BACK));
    assert!(rig.asterisk.log().contains("gave the call back: engines-unavailable"), "{}", rig.asterisk.log());
    rig.wait_until_nothing_is_left().await;
    rig.wait_for_log("engines-unavailable").await;
    assert!(!rig.logs().contains("connected\n"), "the bot never answered\n{}", rig.logs());
}
