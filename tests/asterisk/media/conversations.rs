//! The same conversation by every transport: the caller interrupts the greeting and an answer, presses a key, says
//! good-bye.

use crate::arioso::rig::{
    Carrier, MediaLeg, OPENING_HOURS, Options, PLAIN_RECEPTION, Rig, SUPPORT, answer_since, good_bye, is_heard,
    reception_number, voice, words_of,
};
use crate::shared::SOON;
use arioso::bench::caller::{ActiveCall, Dbfs, Party, Said, voice_onset};
use std::time::Duration;

/// From the caller's first syllable to the last packet of the bot that is still heard.
const BARGE_IN_LIMIT: Duration = Duration::from_millis(300);

/// What the server logs for each key.
const KEY_PRESSED: &str = "a key was pressed";

/// Speaks `words` after a second, in the middle of what the bot is saying, and says how long the bot was still heard.
async fn interrupt(rig: &Rig, call: &ActiveCall, words: &str) -> (Said, Duration) {
    let mut speech = vec![0; 8_000];
    speech.extend(voice(words));
    let said = call.say(&speech).expect("an answered call");
    let first_syllable = said.sent_at(voice_onset(&speech, Dbfs::VOICE).expect("a voice"));
    call.wait_said(said).await.expect("spoken");
    let recording = call.recording();
    let voiced = recording.packets().iter().filter(|packet| packet.level >= Dbfs::VOICE);
    let voiced: Vec<_> = voiced.map(|packet| packet.arrived).filter(|at| *at < said.last_packet_at).collect();
    let last = voiced.iter().max().expect("the bot was heard");
    let before = voiced.iter().filter(|at| **at < first_syllable).max();
    let spoken_to = before.is_some_and(|at| *at + Duration::from_millis(400) > first_syllable);
    assert!(spoken_to, "the bot had finished before it was interrupted\n{}", rig.logs());
    (said, last.saturating_duration_since(first_syllable))
}

/// One call with everything in it, and one that the caller ends in the middle of a word.
pub(crate) async fn converse(rig: &mut Rig, name: &str, number: &str) {
    let call = rig.call(number).await;
    call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
    let (said, greeting_stopped) = interrupt(rig, &call, "Excuse me, I want to talk to support.").await;
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(SUPPORT, &answer), "{name}: said over the greeting; heard {answer:?}\n{}", rig.logs());

    let keys_before = rig.logs().matches(KEY_PRESSED).count();
    let pressed = call.press('3').expect("a key");
    call.wait_for_voice(pressed.last_packet_at, SOON).await.expect("the answer to the key");
    let (said, answer_stopped) = interrupt(rig, &call, "Sorry, I have a problem. I need support.").await;
    let hours = words_of(&call.heard_since(pressed.last_packet_at)).await;
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(SUPPORT, &answer), "{name}: said over an answer; heard {answer:?}\n{}", rig.logs());
    assert!(hours.contains("open"), "{name}: key 3 asks for {OPENING_HOURS:?}; heard {hours:?}\n{}", rig.logs());
    let keys = rig.logs().matches(KEY_PRESSED).count() - keys_before;
    assert_eq!(keys, 1, "{name}: keys for one press\n{}", rig.logs());

    call.say_to_end(&good_bye(rig)).await.expect("spoken");
    let over = call.wait_hung_up(SOON).await;
    let over = over.unwrap_or_else(|error| panic!("{name}: the bot hangs up: {error}\n{}", rig.logs()));
    assert_eq!(over.by, Party::Asterisk, "{name}");
    rig.wait_until_nothing_is_left().await;
    rig.wait_for_log("bot-hung-up").await;

    let call = rig.call(number).await;
    call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;

    eprintln!(
        "{name}: last packet of the greeting {} ms, of an answer {} ms after the caller's first syllable",
        greeting_stopped.as_millis(),
        answer_stopped.as_millis()
    );
    for (what, stopped) in [("greeting", greeting_stopped), ("answer", answer_stopped)] {
        assert!(stopped <= BARGE_IN_LIMIT, "{name}: the {what} went on for {stopped:?}\n{}", rig.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_the_same_by_every_transport_and_leaves_nothing_behind() {
    let legs = vec![
        MediaLeg::new(Carrier::Rtp, "slin16"),
        MediaLeg::new(Carrier::AudioSocket, "slin16"),
        MediaLeg::new(Carrier::WebSocketDial, "slin16"),
        MediaLeg::new(Carrier::WebSocketListen, "ulaw"),
    ];
    let mut rig = Rig::start(Options { legs: legs.clone(), ..Options::default() }).await;
    for (index, leg) in legs.iter().enumerate() {
        converse(&mut rig, &leg.to_string(), &reception_number(index)).await;
    }
    converse(&mut rig, "plain AudioSocket()", PLAIN_RECEPTION).await;
}
