//! An engine breaks while the caller or the bot is in the middle of something; another one takes over.

use crate::driver::{Driver, Engines, ms, says, settings, switched, with};
use arioso::call::{
    CallEvent, DialogAction, DialogCommand, DialogEvent, EndReason, Input, Output, RecognizerCommand, ReplyId, Service,
    SynthesizerCommand, SynthesizerEvent,
};

/// A call whose dialogue and synthesiser are the test: the reply 0 has all of its text, and the synthesiser all clauses.
fn by_hand(text: &str) -> Driver {
    let mut driver = Driver::connected(
        with(|settings| settings.greeting = None),
        Engines { text_after: None, audio_after: None, ..Engines::default() },
    );
    driver.input(Input::Dialog(DialogEvent::Text { reply: ReplyId(0), delta: text.into() }));
    driver.input(Input::Dialog(DialogEvent::Done { reply: ReplyId(0) }));
    driver
}

fn audio(samples: usize) -> Input {
    Input::Synthesizer(SynthesizerEvent::Audio { reply: ReplyId(0), start_sample: 0, pcm: vec![5000; samples] })
}

fn mark(text_end: usize, sample: i64) -> Input {
    Input::Synthesizer(SynthesizerEvent::Mark { reply: ReplyId(0), text_end, sample })
}

fn text_given(outputs: &[(std::time::Duration, Output)]) -> String {
    let text = |output: &Output| match output {
        Output::Synthesizer(SynthesizerCommand::Text { text, .. }) => Some(text.clone()),
        _ => None,
    };
    outputs.iter().filter_map(|(_, output)| text(output)).collect()
}

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
fn words_whose_mark_came_before_their_audio_are_spoken_by_the_second_voice() {
    let mut driver = by_hand("The first sentence. The second sentence.");
    driver.input(mark(20, 8_000));
    driver.input(audio(8_000));
    driver.input(mark(40, 16_000));
    driver.run(ms(500));
    let before = driver.outputs.len();
    driver.input(switched(Service::Synthesis));
    assert_eq!(text_given(&driver.outputs[before..]), "The second sentence.");
}

#[test]
fn a_mark_far_beyond_the_audio_is_not_believed() {
    let mut driver = by_hand("The first sentence. The second sentence.");
    driver.input(audio(8_000));
    driver.input(mark(20, 8_000));
    for (text_end, sample) in [(40, 17_000), (usize::MAX, i64::MAX), (40, i64::MIN)] {
        driver.input(mark(text_end, sample));
    }
    driver.run(ms(980));
    driver.input(Input::Dtmf('1'));
    let heard = driver
        .find(|event| matches!(event, CallEvent::ReplyEnded { heard_text, .. } if heard_text == "The first sentence."));
    assert!(heard.is_some(), "{:?}", driver.events());
}

#[test]
fn the_second_voice_is_told_positions_in_what_it_has_made_itself() {
    let mut driver = by_hand("The first sentence. The second sentence.");
    driver.input(audio(8_000));
    driver.input(mark(20, 8_000));
    driver.run(ms(980));
    driver.input(switched(Service::Synthesis));
    driver.input(audio(16_000));
    driver.run(ms(1520));
    driver.input(Input::Dtmf('1'));
    let played = |output: &Output| match output {
        Output::Synthesizer(
            SynthesizerCommand::Playback { played_sample, .. } | SynthesizerCommand::Cancel { played_sample, .. },
        ) => Some(*played_sample),
        _ => None,
    };
    let told: Vec<_> = driver.outputs.iter().filter_map(|(_, output)| played(output)).collect();
    let made_by_second = 2_500 * 8 - 8_000 + 160;
    assert_eq!(told, [0, 8_000, made_by_second], "at 1 s, at 2 s, and where it was stopped");
}

#[test]
fn what_the_dead_dialogue_wanted_done_is_forgotten_when_the_second_is_asked() {
    let mut driver = Driver::connected(
        settings(),
        Engines { transcripts: ["sales".into()].into(), text_after: None, ..Engines::default() },
    );
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(400));
    driver.run(ms(1000));
    driver.input(Input::Dialog(DialogEvent::Action { reply: ReplyId(1), action: DialogAction::HangUp }));
    driver.engines.text_after = Some(ms(50));
    driver.engines.answers = [says("Sales.")].into();
    driver.input(switched(Service::Dialog));
    driver.run_until("the answer", |driver| driver.reply_ended(1));
    driver.run(ms(1000));
    assert_eq!(driver.end(), None);
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
