//! The caller's side never falls silent: hold music, a television, a hum on the line. The bot is heard all the same, and
//! does not stay for ever.

use crate::driver::{Driver, Engines, ms, says, settings, with};
use arioso::call::{
    BargeIn, CallEvent, DialogAction, DialogCommand, DialogEvent, DialogNotice, EndReason, HangUpBy, Output, ReplyEnd,
    ReplyId,
};

/// Asks twice, then gives up.
fn gives_up() -> Engines {
    let mut good_bye = says("Good bye.");
    good_bye.insert(1, DialogEvent::Action { reply: ReplyId(0), action: DialogAction::HangUp });
    Engines { answers: [says("Are you there?"), says("Hello?"), good_bye].into(), ..Engines::default() }
}

fn notices(driver: &Driver) -> Vec<DialogNotice> {
    let notice = |output: &Output| match output {
        Output::Dialog(DialogCommand::Notice { notice, .. }) => Some(notice.clone()),
        _ => None,
    };
    driver.outputs.iter().filter_map(|(_, output)| notice(output)).collect()
}

fn how_ended(driver: &Driver, id: u32) -> Option<ReplyEnd> {
    driver.events().iter().find_map(|(_, event)| match event {
        CallEvent::ReplyEnded { reply, end, .. } if reply.0 == id => Some(*end),
        _ => None,
    })
}

#[test]
fn the_bot_is_heard_and_gives_up_when_the_music_never_stops() {
    for barge_in in [BargeIn::default(), BargeIn::Off] {
        let mut driver = Driver::connected(with(|settings| settings.barge_in = barge_in), gives_up());
        driver.speak(ms(180_000));
        assert_eq!(driver.end(), Some(EndReason::HangUp(HangUpBy::Bot)), "{barge_in:?}: {:#?}", driver.events());
        for reply in 1..=3 {
            assert_eq!(how_ended(&driver, reply), Some(ReplyEnd::Finished), "reply {reply}, {barge_in:?}");
        }
    }
}

#[test]
fn sound_as_long_as_an_utterance_can_be_counts_as_silence_in_a_row() {
    let mut driver = Driver::connected(settings(), gives_up());
    driver.speak(ms(180_000));
    let expected = [1, 2, 3].map(|count| DialogNotice::NoInput { count });
    assert_eq!(notices(&driver), expected);
}

#[test]
fn a_reply_waits_five_seconds_and_is_not_stopped_by_the_sound_that_it_waited_for() {
    let engines = Engines {
        transcripts: ["sales".into()].into(),
        answers: [says("You are talking to sales, and this sentence goes on for quite some time.")].into(),
        text_after: Some(ms(400)),
        ..Engines::default()
    };
    let mut driver = Driver::connected(settings(), engines);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(600));
    driver.run(ms(760));
    driver.speak(ms(20_000));
    let is_turn = |event: &CallEvent| matches!(event, CallEvent::TurnEnded(timeline) if timeline.reply == ReplyId(1));
    let Some((_, CallEvent::TurnEnded(timeline))) = driver.find(is_turn) else { panic!("{:#?}", driver.events()) };
    let waited = timeline.first_packet.expect("it was heard") - timeline.first_audio.expect("it was spoken");
    assert!(waited >= ms(5000) && waited <= ms(5040), "{waited:?}");
    assert_eq!(how_ended(&driver, 1), Some(ReplyEnd::Finished));
}

#[test]
fn a_caller_who_falls_silent_and_speaks_again_interrupts() {
    let engines = Engines {
        transcripts: ["sales".into()].into(),
        answers: [says(&"You are talking to sales, and this goes on for quite some time. ".repeat(3))].into(),
        text_after: Some(ms(400)),
        ..Engines::default()
    };
    let mut driver = Driver::connected(settings(), engines);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(600));
    driver.run(ms(760));
    driver.speak(ms(7000));
    assert!(driver.reply_started(1) && !driver.reply_ended(1), "{:#?}", driver.events());
    driver.run(ms(1000));
    assert!(!driver.reply_ended(1));
    let onset = driver.elapsed();
    driver.speak(ms(500));
    assert_eq!(how_ended(&driver, 1), Some(ReplyEnd::BargedIn));
    assert!(driver.last_sound() <= onset + ms(250));
}

#[test]
fn noises_that_follow_at_once_are_not_passed_over_for_ever() {
    let engines = Engines { final_after: Some(ms(800)), answers: [says("Sorry?")].into(), ..Engines::default() };
    let mut driver = Driver::connected(settings(), engines);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    for _ in 0..14 {
        driver.speak(ms(2000));
        driver.run(ms(700));
    }
    assert!(
        matches!(notices(&driver)[..], [DialogNotice::NothingRecognized { count: 1 }, ..]),
        "{:#?}",
        driver.events()
    );
    assert!(driver.reply_ended(1), "it was heard");
}
