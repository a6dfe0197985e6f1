//! An engine breaks while the caller or the bot is in the middle of something; another one takes over.

use crate::driver::{Driver, Engines, ms, says, settings, switched};
use arioso::call::{
    CallEvent, DialogCommand, EndReason, Input, Output, RecognizerCommand, Service, SynthesizerCommand,
};

#[test]
fn the_second_recognizer_finishes_the_utterance() {
    let mut driver = Driver::connected(
        settings(),
        Engines { transcripts: ["sales".into()].into(), answers: [says("Sales.")].into(), ..Engines::default() },
    );
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(400));
    driver.input(switched(Service::Recognition));
    driver.speak(ms(400));
    driver.run_until("the answer", |driver| driver.reply_ended(1));
    let begins = driver
        .outputs
        .iter()
        .filter(|(_, o)| matches!(o, Output::Recognizer(RecognizerCommand::BeginUtterance { .. })))
        .count();
    assert_eq!(begins, 1, "it is still the same utterance");
}

#[test]
fn the_second_voice_goes_on_with_the_words_that_were_not_heard() {
    let text = "The first sentence is short. The second sentence is quite a bit longer than that. The third.";
    let mut driver = Driver::connected(
        settings(),
        Engines { transcripts: ["go".into()].into(), answers: [says(text)].into(), ..Engines::default() },
    );
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(400));
    driver.run_until("answer", |driver| driver.reply_started(1));
    // the first sentence has been made, the others never come
    driver.engines.audio_after = None;
    driver.run(ms(500));
    let before = driver.outputs.len();
    driver.engines.audio_after = Some(ms(60));
    driver.input(switched(Service::Synthesis));
    driver.run_until("end of the answer", |driver| driver.reply_ended(1));
    let again: String = driver.outputs[before..]
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Synthesizer(SynthesizerCommand::Text { text, .. }) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert!(text.ends_with(&again), "only the rest is said: {again:?}");
    let heard = driver.find(|event| matches!(event, CallEvent::ReplyEnded { heard_text, .. } if heard_text == text));
    assert!(heard.is_some(), "all of the text was heard: {:?}", driver.events());
}

#[test]
fn the_second_dialogue_is_asked_the_same_question() {
    let engines = Engines {
        transcripts: ["sales".into()].into(),
        text_after: None,
        answers: [says("Sales."), says("Sales.")].into(),
        ..Engines::default()
    };
    let mut driver = Driver::connected(settings(), engines);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(400));
    let questions = |driver: &Driver| {
        driver
            .outputs
            .iter()
            .filter(|(_, o)| matches!(o, Output::Dialog(DialogCommand::UserTurn { text, .. }) if text == "sales"))
            .count()
    };
    driver.run_until("the question", |driver| questions(driver) == 1);
    driver.engines.text_after = Some(ms(50));
    driver.input(switched(Service::Dialog));
    assert_eq!(questions(&driver), 2);
    driver.run_until("the answer", |driver| driver.reply_ended(1));
}

#[test]
fn without_another_engine_the_caller_hears_the_apology_and_goes_back_to_the_dialplan() {
    for service in Service::ALL {
        let mut driver = Driver::connected(settings(), Engines::default());
        driver.run(ms(500));
        driver.input(Input::EnginesExhausted { service });
        driver.run_until("end of the call", |driver| driver.end().is_some());
        assert_eq!(driver.end(), Some(EndReason::EnginesExhausted { service }));
        let sound = driver.last_sound();
        assert!(
            sound >= ms(1480) && sound <= ms(1560),
            "one second of apology after the greeting broke off: {sound:?}"
        );
    }
}

#[test]
fn before_the_caller_hears_us_the_call_is_given_back_at_once() {
    let mut driver = Driver::new(settings(), Engines::default());
    driver.input(Input::EnginesExhausted { service: Service::Dialog });
    assert_eq!(driver.end(), Some(EndReason::EnginesExhausted { service: Service::Dialog }));
    driver.run(ms(500));
    assert!(driver.is_silent_since(ms(0)));
}
