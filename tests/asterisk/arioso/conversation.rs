//! Callers who talk with the reception.

use super::rig::{
    Carrier, GREETING, MediaLeg, OPENING_HOURS, Options, Rig, SALES, SUPPORT, answer_since, good_bye, is_heard, voice,
    words_of,
};
use crate::shared::SOON;
use arioso::bench::caller::{Caller, CallerCodec, CallerSettings, Dbfs, Party, voice_onset};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_understood_answered_and_released() {
    let mut rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    let answered = call.answered_at().expect("answered");
    let greeting = answer_since(&call, answered).await;
    assert!(is_heard(GREETING, &greeting), "the greeting was heard as {greeting:?}\n{}", rig.logs());

    let said = call.say_to_end(&voice("What are your opening hours?")).await.expect("spoken");
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(OPENING_HOURS, &answer), "the answer was heard as {answer:?}\n{}", rig.logs());

    let said = call.say_to_end(&voice("I want to talk to sales.")).await.expect("spoken");
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(SALES, &answer), "the answer was heard as {answer:?}\n{}", rig.logs());

    let said = call.say_to_end(&good_bye(&rig)).await.expect("spoken");
    let over =
        call.wait_hung_up(SOON).await.unwrap_or_else(|error| panic!("the bot hangs up: {error}\n{}", rig.logs()));
    assert_eq!(over.by, Party::Asterisk, "{}", rig.logs());
    let good_bye = words_of(&call.heard_since(said.last_packet_at)).await;
    assert!(is_heard("thank you for calling", &good_bye), "the good-bye was heard as {good_bye:?}");
    let after = over.at - call.last_voice_at().expect("a voice");
    assert!(after >= Duration::from_millis(100), "hung up {after:?} after the last sound: the end was cut off");
    rig.wait_until_nothing_is_left().await;
    rig.wait_for_log("bot-hung-up").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_speaks_over_the_greeting_is_no_longer_spoken_to_within_300_ms() {
    let rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    let answered = call.answered_at().expect("answered");
    let first_word = call.wait_for_voice(answered, SOON).await.expect("the greeting");
    // After a second, in the middle of the greeting, which lasts three.
    let mut speech = vec![0; 8000];
    speech.extend(voice("Excuse me, I want to talk to support."));
    let said = call.say(&speech).expect("an answered call");
    let onset = voice_onset(&speech, Dbfs::VOICE).expect("a voice");
    let first_syllable = said.sent_at(onset);
    call.wait_said(said).await.expect("spoken");

    let recording = call.recording();
    let last = recording
        .packets()
        .iter()
        .filter(|packet| packet.level >= Dbfs::VOICE && packet.arrived < said.last_packet_at)
        .map(|packet| packet.arrived)
        .max()
        .expect("the greeting was heard");
    assert!(first_word < first_syllable, "the caller spoke while being spoken to");
    let stopped_after = last.saturating_duration_since(first_syllable);
    eprintln!("barge-in: last voiced packet {stopped_after:?} after the caller's first syllable");
    assert!(stopped_after <= Duration::from_millis(300), "still spoken to after {stopped_after:?}\n{}", rig.logs());

    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(SUPPORT, &answer), "what was said over the greeting was understood: {answer:?}\n{}", rig.logs());
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stops_the_greeting_and_is_answered() {
    let rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
    let pressed = call.press('3').expect("a key");
    let answer = answer_since(&call, pressed.last_packet_at).await;
    assert!(is_heard(OPENING_HOURS, &answer), "key 3 asks for the opening hours; heard {answer:?}\n{}", rig.logs());
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_in_a_law_is_understood_too() {
    let rig = Rig::start(Options { legs: vec![MediaLeg::new(Carrier::Rtp, "alaw")], ..Options::default() }).await;
    let settings = CallerSettings::new(rig.asterisk.sip_address(), "100").with_codecs([CallerCodec::ALAW]);
    let call = Caller::call(settings).await.expect("the call is answered");
    let greeting = answer_since(&call, call.answered_at().expect("answered")).await;
    assert!(is_heard(GREETING, &greeting), "{greeting:?}\n{}", rig.logs());
    let said = call.say_to_end(&voice("I have a problem. I need support.")).await.expect("spoken");
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(SUPPORT, &answer), "{answer:?}\n{}", rig.logs());
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_hears_a_continuous_stream_from_answer_to_end() {
    let rig = Rig::start(Options::default()).await;
    let call = rig.call("100").await;
    let start = Instant::now();
    answer_since(&call, call.answered_at().expect("answered")).await;
    let packets = call.packets_since(start);
    let gaps = packets.windows(2).filter(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) != 160).count();
    assert!(packets.len() > 100 && gaps == 0, "{gaps} gaps in {} packets", packets.len());
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}
