//! Nothing goes wrong: greeting, question, answer, silence, keys, good-bye.

use crate::driver::{Driver, Engines, ms, says, settings, with};
use arioso::call::{
    CallEvent, DialogAction, DialogCommand, DialogEvent, DialogNotice, EndReason, HangUpBy, Input, Output, ReplyEnd,
    ReplyId,
};

#[test]
fn the_greeting_is_ready_before_the_caller_is() {
    let mut driver = Driver::new(settings(), Engines::default());
    driver.run(ms(500));
    assert!(driver.is_silent_since(ms(0)), "nothing is played before the legs are connected");
    assert!(driver.find(|event| matches!(event, CallEvent::ReplyReady { reply: ReplyId(0) })).is_some());
    driver.input(Input::Connected);
    driver.run(ms(20));
    assert!(driver.reply_started(0), "the greeting starts with the first frame");
}

#[test]
fn a_question_is_answered_and_its_timeline_is_complete_and_in_order() {
    let mut driver = Driver::connected(
        settings(),
        Engines {
            transcripts: ["opening hours".into()].into(),
            answers: [says("From nine to five.")].into(),
            ..Engines::default()
        },
    );
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.run(ms(500));
    driver.speak(ms(1000));
    driver.run_until("end of the answer", |driver| driver.reply_ended(1));

    let asked = driver.output(
        |output| matches!(output, Output::Dialog(DialogCommand::UserTurn { text, .. }) if text == "opening hours"),
    );
    assert!(asked.is_some());
    let is_turn = |event: &CallEvent| matches!(event, CallEvent::TurnEnded(timeline) if timeline.reply == ReplyId(1));
    let Some((_, CallEvent::TurnEnded(timeline))) = driver.find(is_turn) else { panic!("no timeline") };
    let moments = [
        timeline.speech_end,
        timeline.endpoint,
        timeline.final_text,
        timeline.first_text,
        timeline.first_audio,
        timeline.first_packet,
        timeline.stop,
    ]
    .map(|moment| moment.expect("every moment of an ordinary turn is known"));
    assert!(moments.is_sorted(), "{timeline:?}");
    assert_eq!(timeline.barge_in, None);
    let wait = moments[1] - moments[0];
    assert!(wait >= ms(560) && wait <= ms(640), "the silence that ended the utterance was {wait:?}");
    let own = (moments[5] - moments[1]).saturating_sub(ms(100 + 50 + 60));
    assert!(own <= ms(80), "{own:?} beside the engines' own time, at 20 ms a step");
    let heard = driver.find(|event| {
        matches!(event, CallEvent::ReplyEnded { reply: ReplyId(1), heard_text, end: ReplyEnd::Finished } if heard_text == "From nine to five.")
    });
    assert!(heard.is_some());
}

#[test]
fn text_reaches_the_synthesizer_clause_by_clause() {
    let mut driver = Driver::connected(
        with(|settings| settings.greeting = None),
        Engines { text_after: None, ..Engines::default() },
    );
    let text = |delta: &str| Input::Dialog(DialogEvent::Text { reply: ReplyId(0), delta: delta.into() });
    driver.input(text("We are open. Fro"));
    driver.run(ms(200));
    assert!(driver.reply_started(0), "the first clause is heard while the second is being written");
    driver.input(text("m nine to five."));
    driver.input(Input::Dialog(DialogEvent::Done { reply: ReplyId(0) }));
    driver.run_until("end", |driver| driver.reply_ended(0));
    let clauses: Vec<_> = driver
        .outputs
        .iter()
        .filter_map(|(_, output)| match output {
            Output::Synthesizer(arioso::call::SynthesizerCommand::Text { text, .. }) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(clauses, ["We are open. ", "From nine to five."]);
}

#[test]
fn silence_is_reported_to_the_dialogue_and_counted() {
    let mut driver = Driver::connected(
        settings(),
        Engines { answers: [says("Are you there?"), says("Hello?")].into(), ..Engines::default() },
    );
    let no_input = |wanted: u32| move |output: &Output| matches!(output, Output::Dialog(DialogCommand::Notice { notice: DialogNotice::NoInput { count }, .. }) if *count == wanted);
    driver.run_until("first re-prompt", |driver| driver.output(no_input(1)).is_some());
    let greeting_end =
        driver.find(|event| matches!(event, CallEvent::ReplyEnded { .. })).expect("the greeting ended").0;
    let waited = driver.elapsed() - greeting_end;
    assert!(waited >= ms(8000) && waited <= ms(8040), "{waited:?}");
    driver.run_until("second re-prompt", |driver| driver.output(no_input(2)).is_some());
}

#[test]
fn a_key_stops_the_reply_and_reaches_the_dialogue() {
    let mut driver = Driver::connected(settings(), Engines { answers: [says("Sales.")].into(), ..Engines::default() });
    driver.run(ms(500));
    driver.input(Input::Dtmf('1'));
    let pressed = driver.elapsed();
    driver.run(ms(60));
    assert!(driver.last_sound() <= pressed + ms(20), "the greeting stopped within a frame");
    assert!(driver.output(|output| matches!(output, Output::Dialog(DialogCommand::Dtmf { digit: '1', .. }))).is_some());
    driver.run_until("answer", |driver| driver.reply_ended(1));
}

#[test]
fn good_bye_is_heard_to_its_end_before_the_call_is_hung_up() {
    let mut answer = says("Good bye.");
    answer.insert(1, DialogEvent::Action { reply: ReplyId(0), action: DialogAction::HangUp });
    let mut driver = Driver::connected(
        settings(),
        Engines { transcripts: ["bye".into()].into(), answers: [answer].into(), ..Engines::default() },
    );
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(400));
    driver.run_until("end of the call", |driver| driver.end().is_some());
    assert_eq!(driver.end(), Some(EndReason::HangUp(HangUpBy::Bot)));
    let heard =
        driver.find(|event| matches!(event, CallEvent::ReplyEnded { heard_text, .. } if heard_text == "Good bye."));
    assert!(heard.is_some());
    assert!(driver.elapsed() >= driver.last_sound() + ms(180), "the last packets have time to arrive");
}

#[test]
fn a_noise_without_words_is_asked_about_only_when_the_bot_has_nothing_to_say() {
    let mut driver = Driver::connected(settings(), Engines { answers: [says("Sorry?")].into(), ..Engines::default() });
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(300));
    driver.run_until("re-prompt", |driver| driver.reply_ended(1));
    let asked = driver.output(|output| {
        matches!(
            output,
            Output::Dialog(DialogCommand::Notice { notice: DialogNotice::NothingRecognized { count: 1 }, .. })
        )
    });
    assert!(asked.is_some());
}

#[test]
fn a_caller_who_goes_on_before_the_answer_is_heard_gets_an_answer_to_all_of_it() {
    let engines = Engines {
        transcripts: ["I would like".into(), "to speak to sales".into()].into(),
        answers: [says("To what?"), says("Sales.")].into(),
        text_after: Some(ms(400)),
        ..Engines::default()
    };
    let mut driver = Driver::connected(settings(), engines);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(600));
    driver.run(ms(760));
    driver.speak(ms(800));
    driver.run_until("answer", |driver| driver.reply_ended(2));
    assert!(!driver.reply_started(1), "the first answer was never heard");
}
