//! The caller speaks over a reply whose text is still being written and whose audio is still being made.

use crate::driver::{Driver, Engines, ms, says, settings, with};
use arioso::call::{
    BargeIn, CallEvent, DialogCommand, DialogEvent, Input, Output, ReplyEnd, ReplyId, SynthesizerCommand,
    SynthesizerEvent,
};

#[test]
fn the_greeting_stops_within_250_ms_of_the_first_syllable_and_the_engines_are_told() {
    let mut driver = Driver::connected(
        settings(),
        Engines { transcripts: ["sales please".into()].into(), answers: [says("Sales.")].into(), ..Engines::default() },
    );
    driver.run(ms(1500));
    let onset = driver.elapsed();
    driver.speak(ms(900));
    assert!(
        driver.last_sound() <= onset + ms(250),
        "still spoken to {:?} after the onset",
        driver.last_sound() - onset
    );

    let decided = driver
        .find(|event| matches!(event, CallEvent::ReplyEnded { end: ReplyEnd::BargedIn, .. }))
        .expect("a barge-in")
        .0;
    assert!(driver.last_sound() <= decided, "the frame of the decision is the last one, and it fades");

    let cancel = driver
        .output(|output| matches!(output, Output::Synthesizer(SynthesizerCommand::Cancel { reply: ReplyId(0), .. })));
    let Some((_, Output::Synthesizer(SynthesizerCommand::Cancel { played_sample, .. }))) = cancel else {
        panic!("no cancel")
    };
    let interrupt = driver.output(|output| matches!(output, Output::Dialog(DialogCommand::Interrupt { .. })));
    let Some((_, Output::Dialog(DialogCommand::Interrupt { heard_text, played_sample: told, .. }))) = interrupt else {
        panic!("no interrupt")
    };
    assert_eq!(told, played_sample);
    let spoken_for = ms(played_sample as u64 / 8);
    assert!(spoken_for > ms(1400) && spoken_for < ms(1800), "{spoken_for:?}");
    assert!("Hello, this is the reception.".starts_with(&heard_text) && heard_text.len() > 15, "{heard_text:?}");

    driver.run_until("the answer", |driver| driver.reply_ended(1));
}

#[test]
fn text_and_audio_of_the_stopped_reply_are_ignored() {
    let mut driver = Driver::connected(
        with(|settings| settings.greeting = None),
        Engines { text_after: None, ..Engines::default() },
    );
    let text = |delta: &str| Input::Dialog(DialogEvent::Text { reply: ReplyId(0), delta: delta.into() });
    driver.input(text("A long story begins here. And it goes "));
    driver.run_until("its first words", |driver| driver.reply_started(0));
    driver.run(ms(300));
    driver.speak(ms(500));
    assert!(driver.reply_ended(0));
    let stopped = driver.last_sound();
    driver.input(text("on and on. And on. "));
    driver.input(Input::Synthesizer(SynthesizerEvent::Audio {
        reply: ReplyId(0),
        start_sample: 0,
        pcm: vec![9000; 8000],
    }));
    driver.run(ms(300));
    assert!(driver.is_silent_since(stopped), "nothing of the stopped reply is heard");
    let stale = driver.events().iter().filter(|(_, event)| matches!(event, CallEvent::StaleMessage { .. })).count();
    assert_eq!(stale, 2, "both were counted");
}

#[test]
fn a_click_does_not_stop_the_reply() {
    let mut driver = Driver::connected(settings(), Engines::default());
    driver.run(ms(500));
    driver.speak(ms(40));
    driver.run(ms(1000));
    assert!(!driver.reply_ended(0));
}

#[test]
fn a_reply_that_must_not_be_interrupted_is_not() {
    let mut driver = Driver::connected(with(|settings| settings.barge_in = BargeIn::Off), Engines::default());
    driver.run(ms(500));
    driver.speak(ms(1000));
    driver.run_until("its end", |driver| driver.reply_ended(0));
    let end = driver.find(|event| matches!(event, CallEvent::ReplyEnded { .. })).expect("an end").1;
    assert!(matches!(end, CallEvent::ReplyEnded { end: ReplyEnd::Finished, .. }), "{end:?}");
    assert!(driver.find(|event| matches!(event, CallEvent::SpeechStarted { .. })).is_none());
}
