//! Messages of engines come late, twice, or for things that never were; telephone events come twice.

use crate::driver::{Driver, Engines, ms, says, settings};
use arioso::call::{
    CallEvent, DialogCommand, DialogEvent, Input, Output, RecognizerEvent, ReplyId, Stage, SynthesizerEvent,
    UtteranceIndex,
};

fn final_of(utterance: u32, text: &str) -> [Input; 2] {
    let utterance = UtteranceIndex(utterance);
    let hypothesis =
        RecognizerEvent::Hypothesis { utterance, stage: Stage::Final, text: text.into(), confidence: Some(0.9) };
    [Input::Recognizer(hypothesis), Input::Recognizer(RecognizerEvent::UtteranceEnded { utterance })]
}

fn stale(driver: &Driver) -> usize {
    driver.events().iter().filter(|(_, event)| matches!(event, CallEvent::StaleMessage { .. })).count()
}

#[test]
fn a_final_that_comes_twice_is_answered_once() {
    let mut driver = Driver::connected(
        settings(),
        Engines {
            transcripts: ["sales".into()].into(),
            answers: [says("Sales."), says("Wrong.")].into(),
            ..Engines::default()
        },
    );
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(500));
    driver.run_until("the answer", |driver| driver.reply_started(1));
    for input in final_of(0, "sales") {
        driver.input(input);
    }
    driver.run(ms(3000));
    let turns =
        driver.outputs.iter().filter(|(_, o)| matches!(o, Output::Dialog(DialogCommand::UserTurn { .. }))).count();
    assert_eq!((turns, stale(&driver)), (1, 2));
}

#[test]
fn of_two_finals_of_one_utterance_the_first_stands() {
    let mut driver = Driver::connected(settings(), Engines { final_after: None, ..Engines::default() });
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(500));
    driver.run(ms(1200));
    let [first, _] = final_of(0, "sales");
    let [second, ended] = final_of(0, "sails");
    for input in [first, second, ended] {
        driver.input(input);
    }
    let asked = driver
        .output(|output| matches!(output, Output::Dialog(DialogCommand::UserTurn { text, .. }) if text == "sales"));
    assert!(asked.is_some(), "{:?}", driver.events());
    assert_eq!(stale(&driver), 1);
}

#[test]
fn messages_for_what_never_was_change_nothing() {
    let mut driver = Driver::connected(settings(), Engines::default());
    driver.run(ms(200));
    let strays = [
        Input::Dialog(DialogEvent::Text { reply: ReplyId(77), delta: "x".into() }),
        Input::Dialog(DialogEvent::Done { reply: ReplyId(0) }),
        Input::Synthesizer(SynthesizerEvent::Audio { reply: ReplyId(9), start_sample: 0, pcm: vec![1; 100] }),
        Input::Synthesizer(SynthesizerEvent::Done { reply: ReplyId(9) }),
        Input::Synthesizer(SynthesizerEvent::Cancelled { reply: ReplyId(9) }),
    ];
    for input in strays.into_iter().chain(final_of(5, "x")) {
        driver.input(input);
    }
    assert_eq!(stale(&driver), 6, "all but the harmless acknowledgement are counted");
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
}

#[test]
fn connecting_twice_does_not_start_the_greeting_again() {
    let mut driver = Driver::connected(settings(), Engines::default());
    driver.run(ms(1000));
    driver.input(Input::Connected);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.run(ms(1000));
    let started = driver.events().iter().filter(|(_, event)| matches!(event, CallEvent::ReplyStarted { .. })).count();
    assert_eq!(started, 1);
}
