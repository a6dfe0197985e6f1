//! A dialogue sends more text than anybody would listen to, at once or bit by bit; a synthesiser makes nothing of it.

use crate::driver::{Driver, Engines, ms, says, settings, with};
use arioso::call::{CallEvent, DialogEvent, Input, Output, ReplyId, SynthesizerCommand};
use std::time::Duration;

/// The longest text of one reply.
const MAX_TEXT: usize = 64 * 1024;

fn text_given(outputs: &[(Duration, Output)]) -> Vec<&str> {
    let text = |output| match output {
        &(_, Output::Synthesizer(SynthesizerCommand::Text { ref text, .. })) => Some(text.as_str()),
        _ => None,
    };
    outputs.iter().filter_map(text).collect()
}

fn by_hand(engines: Engines) -> Driver {
    Driver::connected(with(|settings| settings.greeting = None), Engines { text_after: None, ..engines })
}

fn text(delta: &str) -> Input {
    Input::Dialog(DialogEvent::Text { reply: ReplyId(0), delta: delta.into() })
}

#[test]
fn a_synthesizer_that_is_behind_is_given_a_few_clauses_only() {
    let mut driver = by_hand(Engines { audio_after: None, ..Engines::default() });
    driver.input(text(&"Yes. ".repeat(10_000)));
    driver.run(ms(1000));
    assert_eq!(text_given(&driver.outputs).len(), 4);
}

#[test]
fn all_of_a_long_answer_is_spoken_in_the_end() {
    let long = "One. Two. Three! ... Four, and so on. \n".repeat(10);
    let engines = Engines { transcripts: ["count".into()].into(), answers: [says(&long)].into(), ..Engines::default() };
    let mut driver = Driver::connected(settings(), engines);
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(400));
    driver.run_until("end of the answer", |driver| driver.reply_ended(1));
    let is_end = |event: &CallEvent| matches!(event, CallEvent::ReplyEnded { reply: ReplyId(1), .. });
    let Some((_, CallEvent::ReplyEnded { heard_text, .. })) = driver.find(is_end) else { panic!("no end") };
    assert_eq!(heard_text, long.trim_end());
}

#[test]
fn text_without_spaces_is_spoken_before_it_ends() {
    let mut driver = by_hand(Engines::default());
    driver.input(text(&"é".repeat(500)));
    driver.run_until("its first piece", |driver| driver.reply_started(0));
}

#[test]
fn text_beyond_what_a_reply_may_have_is_dropped_and_reported() {
    let mut driver = by_hand(Engines { audio_after: None, ..Engines::default() });
    driver.input(text(&"é".repeat(MAX_TEXT)));
    driver.input(text("and more"));
    let dropped: usize = driver
        .events()
        .iter()
        .map(|(_, event)| match event {
            CallEvent::TextOverflow { reply: ReplyId(0), bytes } => *bytes,
            _ => 0,
        })
        .sum();
    assert_eq!(dropped, MAX_TEXT + "and more".len());
}

#[test]
fn text_with_nothing_to_speak_in_it_does_not_hold_up_the_words_after_it() {
    let mut driver = by_hand(Engines { audio_after: None, ..Engines::default() });
    for _ in 0..20 {
        driver.input(text("... "));
    }
    driver.input(text("Hello. I"));
    assert!(text_given(&driver.outputs).concat().ends_with("Hello. "));
    assert_eq!(text_given(&driver.outputs).len(), 1);
}
