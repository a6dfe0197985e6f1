//! An engine takes what it is given and never answers.

use crate::driver::{Driver, Engines, ms, says, settings, with};
use arioso::call::{CallEvent, DialogEvent, EndReason, Input, Output, ReplyId, Service};

/// Speaks once after the greeting.
fn after_a_question(mut driver: Driver) -> Driver {
    driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
    driver.speak(ms(800));
    driver
}

fn engines() -> Engines {
    Engines {
        transcripts: ["sales".into(), "sales".into()].into(),
        answers: [says("Sales."), says("Sales.")].into(),
        ..Engines::default()
    }
}

fn asked_to_fail_over(driver: &Driver, service: Service) -> bool {
    driver.output(|output| matches!(output, Output::FailOver { service: late, .. } if *late == service)).is_some()
}

#[test]
fn a_recognizer_without_a_final_is_replaced_after_two_seconds() {
    let mut driver = after_a_question(Driver::connected(settings(), Engines { final_after: None, ..engines() }));
    driver.run_until("endpoint", |driver| driver.find(|event| matches!(event, CallEvent::Endpoint { .. })).is_some());
    let endpoint = driver.elapsed();
    driver.run_until("fail-over", |driver| asked_to_fail_over(driver, Service::Recognition));
    let waited = driver.elapsed() - endpoint;
    assert!(waited >= ms(2000) && waited <= ms(2020), "{waited:?}");
}

#[test]
fn a_dialogue_without_text_is_replaced_and_asked_again() {
    let mut driver = after_a_question(Driver::connected(settings(), Engines { text_after: None, ..engines() }));
    driver.run_until("fail-over", |driver| asked_to_fail_over(driver, Service::Dialog));
    driver.engines.text_after = Some(ms(50));
    driver.run_until("the answer of the second", |driver| driver.reply_ended(1));
}

#[test]
fn a_synthesizer_without_audio_is_replaced_and_given_the_text_again() {
    let mut driver = after_a_question(Driver::connected(settings(), engines()));
    driver.engines.audio_after = None;
    driver.run_until("fail-over", |driver| asked_to_fail_over(driver, Service::Synthesis));
    driver.engines.audio_after = Some(ms(60));
    driver.run_until("the answer in the second voice", |driver| driver.reply_ended(1));
    let heard =
        driver.find(|event| matches!(event, CallEvent::ReplyEnded { heard_text, .. } if heard_text == "Sales."));
    assert!(heard.is_some());
}

#[test]
fn a_synthesizer_that_stops_at_the_second_clause_is_replaced_while_the_dialogue_still_writes() {
    let mut driver = Driver::connected(
        with(|settings| settings.greeting = None),
        Engines { text_after: None, ..Engines::default() },
    );
    let text = |delta: &str| Input::Dialog(DialogEvent::Text { reply: ReplyId(0), delta: delta.into() });
    driver.input(text("We are open. A"));
    driver.run_until("the first clause", |driver| driver.reply_started(0));
    driver.run(ms(2000));
    driver.engines.audio_after = None;
    driver.input(text("ll week long. An"));
    let given = driver.elapsed();
    for _ in 0..5 {
        driver.run(ms(620));
        driver.input(text("d"));
    }
    assert!(asked_to_fail_over(&driver, Service::Synthesis), "{:?} after the clause", driver.elapsed() - given);
    driver.engines.audio_after = Some(ms(60));
    let stopped = driver.last_sound();
    driver.input(crate::driver::switched(Service::Synthesis));
    driver.run(ms(500));
    assert!(driver.last_sound() > stopped, "the second one goes on");
}

#[test]
fn the_only_engine_gets_more_time_and_is_given_up_in_the_end() {
    let mut driver = Driver::connected(settings(), Engines { final_after: None, ..engines() });
    driver.has_second_engine = false;
    let mut driver = after_a_question(driver);
    driver.run_until("end of the call", |driver| driver.end().is_some());
    assert_eq!(driver.end(), Some(EndReason::EnginesExhausted { service: Service::Recognition }));
    let apology = driver.sound.iter().rev().filter(|(_, sound)| *sound).take(50).count();
    assert_eq!(apology, 50, "the whole second of the apology was heard");
    assert!(driver.elapsed() < driver.last_sound() + ms(300));
}

#[test]
fn the_only_engine_that_is_late_once_is_kept() {
    let mut driver = Driver::connected(settings(), Engines { final_after: Some(ms(3000)), ..engines() });
    driver.has_second_engine = false;
    let mut driver = after_a_question(driver);
    driver.run_until("the answer", |driver| driver.reply_ended(1));
    assert_eq!(driver.end(), None);
}
