//! Every way in which a call can end: nothing of it is left in Asterisk.

use super::rig::{DEAD_MAN, GREETING, OPENING_HOURS, Options, Rig, answer_since, is_heard, voice};
use crate::shared::SOON;
use arioso::bench::caller::{Caller, CallerSettings, Party};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_at_any_moment_leaves_nothing_behind() {
    let mut rig = Rig::start(Options::default()).await;
    // while it rings
    let ringing = Caller::dial(CallerSettings::new(rig.asterisk.sip_address(), "100")).await.expect("dialled");
    ringing.hang_up().await.expect("cancelled or hung up");
    rig.wait_until_nothing_is_left().await;
    // as soon as it is answered
    let call = rig.call("100").await;
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
    // during the greeting
    let call = rig.call("100").await;
    call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
    // while speaking
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    call.say(&voice("I would like to talk to somebody in sales, please.")).expect("spoken");
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
    // while waiting for the answer
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    call.say_to_end(&voice("Sales.")).await.expect("spoken");
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
    rig.wait_for_log("caller-hung-up").await;
}

/// What the dialplan says before it hangs up lasts about four seconds.
const ANNOUNCEMENT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_releases_the_caller_by_the_dead_man_timer() {
    let mut rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    rig.kill_server().await;
    let killed = Instant::now();
    let over = call.wait_hung_up(DEAD_MAN + SOON).await.expect("the caller is released");
    assert_eq!(over.by, Party::Asterisk);
    let waited = over.at - killed;
    assert!(waited <= DEAD_MAN + ANNOUNCEMENT, "released after {waited:?}");
    assert_eq!(over.cause.map(|cause| cause.0), Some(41), "the dialplan says so after its announcement");
    // The bridge is all that a dead server leaves; the next one removes it.
    rig.start_server().await;
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_in_time_takes_its_callers_over() {
    let mut rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    rig.kill_server().await;
    let killed = Instant::now();
    rig.start_server().await;
    let greeting = answer_since(&call, killed).await;
    assert!(is_heard(GREETING, &greeting), "{greeting:?}\n{}", rig.logs());
    let said = call.say_to_end(&voice("What are your opening hours?")).await.expect("spoken");
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(OPENING_HOURS, &answer), "{answer:?}\n{}", rig.logs());
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_gives_its_callers_back_to_the_dialplan() {
    let mut rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    let code = rig.take_server().terminate().await;
    assert_eq!(code, Some(0));
    let over = call.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.cause.map(|cause| cause.0), Some(41), "the dialplan says so after its announcement");
    assert!(rig.asterisk.log().contains("gave the call back: draining"), "{}", rig.asterisk.log());
    rig.wait_until_nothing_is_left().await;
}
