//! Fail-over with engines that do as the test says, in tokio's paused time.

use super::{CallEngines, EngineSet};
use crate::call::{
    CallEvent, DialogCommand, DialogEvent, EndReason, HangUpBy, Input, Output, RecognizerCommand, RecognizerEvent,
    ReplyId, Service, Stage, SynthesizerCommand, UtteranceIndex,
};
use crate::speech::scripted::{Mood, ScriptedDialog, ScriptedRecognizer, ScriptedSynthesizer, Sessions, start};
use crate::speech::{Dialog, EngineError, Recognizer, RecognizerRequest};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Engines for the services that a test does not look at, and what keeps them alive.
struct Others {
    recognitions: Sessions<RecognizerRequest, RecognizerEvent>,
    syntheses: Sessions<SynthesizerCommand, crate::call::SynthesizerEvent>,
    dialogs: Sessions<DialogCommand, DialogEvent>,
}

fn others() -> (EngineSet, Others) {
    let (recognizer, recognitions) = ScriptedRecognizer::new();
    let (synthesizer, syntheses) = ScriptedSynthesizer::new();
    let (dialog, dialogs) = ScriptedDialog::new();
    let set = EngineSet {
        recognizers: vec![("other".into(), recognizer)],
        synthesizers: vec![("other".into(), synthesizer)],
        dialogs: vec![("other".into(), dialog)],
        ..EngineSet::default()
    };
    (set, Others { recognitions, syntheses, dialogs })
}

fn with_dialogs(dialogs: &[(&str, &Arc<ScriptedDialog>)]) -> (EngineSet, Others) {
    let (set, others) = others();
    let dialogs = dialogs.iter().map(|(name, engine)| ((*name).to_owned(), Arc::clone(engine) as Arc<dyn Dialog>));
    (EngineSet { dialogs: dialogs.collect(), ..set }, others)
}

fn open(set: &EngineSet) -> (CallEngines, mpsc::Receiver<Input>) {
    let (inputs, events) = mpsc::channel(64);
    (CallEngines::open(set, &start(), &inputs), events)
}

fn switched(service: Service, from: &str, to: &str) -> Option<Input> {
    Some(Input::EngineSwitched { service, from: from.into(), to: to.into() })
}

/// What the call puts out when it has taken note of a switch.
fn noted(service: Service) -> Output {
    Output::Event(CallEvent::EngineSwitched { service, from: "a".into(), to: "b".into() })
}

fn key(digit: char) -> DialogCommand {
    DialogCommand::Dtmf { digit, reply: ReplyId(1) }
}

fn text(delta: &str) -> DialogEvent {
    DialogEvent::Text { reply: ReplyId(1), delta: delta.into() }
}

fn refusing() -> Mood {
    Mood::Refusing(EngineError::Connect { address: "http://lab:1".into(), cause: "refused".into() })
}

fn audio(frame: i64) -> (i64, Arc<[i16]>) {
    (frame * 160, vec![frame as i16; 160].into())
}

fn audio_request(frame: i64) -> RecognizerRequest {
    let (start_sample, pcm) = audio(frame);
    RecognizerRequest::Audio { start_sample, pcm }
}

#[tokio::test(start_paused = true)]
async fn commands_wait_for_the_session_and_reach_it_in_order() {
    let (set, mut others) = others();
    let (engines, _inputs) = open(&set);
    for digit in ['1', '2', '3'] {
        assert_eq!(engines.apply(Output::Dialog(key(digit))), None);
    }
    let mut far = others.dialogs.recv().await.unwrap();
    for digit in ['1', '2', '3'] {
        assert_eq!(far.requests.recv().await, Some(key(digit)));
    }
}

#[tokio::test(start_paused = true)]
async fn what_engines_say_reaches_the_call() {
    let (set, mut others) = others();
    let (_engines, mut inputs) = open(&set);
    let dialog = others.dialogs.recv().await.unwrap();
    dialog.say(text("hello")).await;
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("hello"))));
    let synthesis = others.syntheses.recv().await.unwrap();
    let done = crate::call::SynthesizerEvent::Done { reply: ReplyId(1) };
    synthesis.say(done.clone()).await;
    assert_eq!(inputs.recv().await, Some(Input::Synthesizer(done)));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_the_engines_is_given_back() {
    let (set, _others) = others();
    let (engines, _inputs) = open(&set);
    for output in [
        Output::CallerAudio { start_sample: 0 },
        Output::End(EndReason::HangUp(HangUpBy::Bot)),
        noted(Service::Dialog),
        Output::Event(CallEvent::Dtmf { digit: '1' }),
    ] {
        assert_eq!(engines.apply(output.clone()), Some(output));
    }
}

#[tokio::test(start_paused = true)]
async fn a_recognizer_that_dies_in_an_utterance_is_replaced_by_one_that_hears_it_again() {
    let (first, mut first_sessions) = ScriptedRecognizer::new();
    let (second, mut second_sessions) = ScriptedRecognizer::new();
    let recognizers: Vec<(String, Arc<dyn Recognizer>)> = vec![("a".into(), first), ("b".into(), second)];
    let (set, _others) = others();
    let (engines, mut inputs) = open(&EngineSet { recognizers, ..set });
    let (past, open_now) = (UtteranceIndex(0), UtteranceIndex(1));
    let begin = |utterance, start_sample| RecognizerCommand::BeginUtterance { utterance, start_sample };
    let end = |utterance, end_sample| RecognizerCommand::EndUtterance { utterance, end_sample };

    let mut far = first_sessions.recv().await.unwrap();
    for frame in 0..10 {
        let (start_sample, pcm) = audio(frame);
        engines.audio(start_sample, pcm);
    }
    engines.recognizer(begin(past, 0));
    engines.recognizer(end(past, 8 * 160));
    for _ in 0..12 {
        far.requests.recv().await.unwrap();
    }
    let heard =
        RecognizerEvent::Hypothesis { utterance: past, stage: Stage::Final, text: "hello".into(), confidence: None };
    for event in [heard, RecognizerEvent::UtteranceEnded { utterance: past }] {
        far.say(event.clone()).await;
        assert_eq!(inputs.recv().await, Some(Input::Recognizer(event)));
    }
    engines.recognizer(begin(open_now, 9 * 160));
    let (start_sample, pcm) = audio(10);
    engines.audio(start_sample, pcm);
    for _ in 0..2 {
        far.requests.recv().await.unwrap();
    }
    drop(far);
    // Said while nobody is there: it must not be lost.
    let (start_sample, pcm) = audio(11);
    engines.audio(start_sample, pcm);
    engines.recognizer(end(open_now, 12 * 160));

    assert_eq!(inputs.recv().await, switched(Service::Recognition, "a", "b"));
    let mut far = second_sessions.recv().await.unwrap();
    for expected in [
        audio_request(8),
        audio_request(9),
        RecognizerRequest::Command(begin(open_now, 9 * 160)),
        audio_request(10),
        audio_request(11),
        RecognizerRequest::Command(end(open_now, 12 * 160)),
    ] {
        assert_eq!(far.requests.recv().await, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_refuses_is_a_switch_too() {
    let (dead, _dead_sessions) = ScriptedDialog::in_mood(refusing());
    let (alive, mut sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("dead", &dead), ("alive", &alive)]);
    let (engines, mut inputs) = open(&set);
    engines.dialog(key('1'));
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "dead", "alive"));
    // What the call said before it knew, it says again: the engine must not get it twice.
    engines.dialog(key('1'));
    engines.apply(noted(Service::Dialog));
    engines.dialog(key('2'));
    assert_eq!(sessions.recv().await.unwrap().requests.recv().await, Some(key('2')));
}

#[tokio::test(start_paused = true)]
async fn a_late_engine_is_replaced_and_nothing_of_its_session_follows() {
    let (first, mut first_sessions) = ScriptedDialog::new();
    let (second, mut second_sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("a", &first), ("b", &second)]);
    let (engines, mut inputs) = open(&set);
    let old = first_sessions.recv().await.unwrap();
    engines.apply(Output::FailOver { service: Service::Dialog, overdue: "no text within 5 s" });
    old.events.closed().await;
    assert!(old.events.send(Ok(text("late"))).await.is_err(), "nobody listens to the old session");
    let new = second_sessions.recv().await.unwrap();
    new.say(text("new")).await;
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "a", "b"));
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("new"))));
}

#[tokio::test(start_paused = true)]
async fn a_complaint_about_the_old_engine_does_not_cost_the_new_one() {
    let (first, mut first_sessions) = ScriptedDialog::new();
    let (second, mut second_sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("a", &first), ("b", &second)]);
    let (engines, mut inputs) = open(&set);
    drop(first_sessions.recv().await.unwrap());
    let mut new = second_sessions.recv().await.unwrap();
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "a", "b"));
    engines.fail_over(Service::Dialog, "no text within 5 s");
    engines.switched(Service::Dialog);
    engines.dialog(key('1'));
    assert_eq!(new.requests.recv().await, Some(key('1')));
    new.say(text("here")).await;
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("here"))));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_never_opens_can_be_given_up() {
    let (mute, _mute_sessions) = ScriptedDialog::in_mood(Mood::Silent);
    let (alive, _alive_sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("mute", &mute), ("alive", &alive)]);
    let (engines, mut inputs) = open(&set);
    engines.fail_over(Service::Dialog, "no text within 5 s");
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "mute", "alive"));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_no_commands_is_given_up() {
    let (stuck, mut stuck_sessions) = ScriptedDialog::new();
    let (alive, _alive_sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("stuck", &stuck), ("alive", &alive)]);
    let (engines, mut inputs) = open(&set);
    let _unread = stuck_sessions.recv().await.unwrap();
    for _ in 0..1_000 {
        engines.dialog(key('1'));
        tokio::task::yield_now().await;
    }
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "stuck", "alive"));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_dead_the_call_is_told_once() {
    let (first, mut first_sessions) = ScriptedDialog::new();
    let (second, _second_sessions) = ScriptedDialog::in_mood(refusing());
    let (set, _others) = with_dialogs(&[("a", &first), ("b", &second)]);
    let (engines, mut inputs) = open(&set);
    let far = first_sessions.recv().await.unwrap();
    far.events.send(Err(EngineError::Local("out of memory".into()))).await.unwrap();
    assert_eq!(inputs.recv().await, Some(Input::EnginesExhausted { service: Service::Dialog }));
    engines.dialog(key('1'));
    engines.fail_over(Service::Dialog, "no text within 5 s");
    engines.close().await;
    assert_eq!(inputs.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn without_any_engine_the_call_is_told_at_once() {
    let (set, _others) = with_dialogs(&[]);
    let (_engines, mut inputs) = open(&set);
    assert_eq!(inputs.recv().await, Some(Input::EnginesExhausted { service: Service::Dialog }));
}

#[tokio::test(start_paused = true)]
async fn engines_that_open_and_never_deliver_are_not_tried_in_circles() {
    let (first, mut first_sessions) = ScriptedDialog::new();
    let (second, mut second_sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("a", &first), ("b", &second)]);
    let (engines, mut inputs) = open(&set);
    let _a = first_sessions.recv().await.unwrap();
    engines.fail_over(Service::Dialog, "no text within 5 s");
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "a", "b"));
    engines.switched(Service::Dialog);
    let b = second_sessions.recv().await.unwrap();
    b.say(text("I work")).await;
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("I work"))));
    // The second delivered, so the first may be tried again, although it is in its penalty.
    engines.fail_over(Service::Dialog, "no text within 5 s");
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "b", "a"));
    engines.switched(Service::Dialog);
    engines.fail_over(Service::Dialog, "no text within 5 s");
    assert_eq!(inputs.recv().await, Some(Input::EnginesExhausted { service: Service::Dialog }));
}

#[tokio::test(start_paused = true)]
async fn a_dead_engine_is_passed_over_by_later_calls_until_one_finds_it_alive() {
    let (flaky, mut flaky_sessions) = ScriptedDialog::in_mood(refusing());
    let (alive, mut alive_sessions) = ScriptedDialog::new();
    let (set, _others) = with_dialogs(&[("flaky", &flaky), ("alive", &alive)]);
    let (_first_call, mut inputs) = open(&set);
    assert_eq!(inputs.recv().await, switched(Service::Dialog, "flaky", "alive"));
    let _first = alive_sessions.recv().await.unwrap();

    flaky.set(Mood::Willing);
    let (_second_call, _inputs) = open(&set);
    let _second = alive_sessions.recv().await.unwrap();
    assert!(flaky_sessions.try_recv().is_err(), "not tried within its penalty");

    tokio::time::advance(Duration::from_secs(10)).await;
    let (_third_call, mut inputs) = open(&set);
    let third = flaky_sessions.recv().await.unwrap();
    third.say(text("back")).await;
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("back"))), "no switch: it was the first choice");
}

#[tokio::test(start_paused = true)]
async fn audio_without_room_is_dropped_and_counted_and_commands_still_get_through() {
    let (mute, mut sessions) = ScriptedRecognizer::new();
    let recognizers: Vec<(String, Arc<dyn Recognizer>)> = vec![("a".into(), mute)];
    let (set, _others) = others();
    let (engines, _inputs) = open(&EngineSet { recognizers, ..set });
    // Nothing runs in between, so all of it has to wait in the queue.
    for frame in 0..300 {
        let (start_sample, pcm) = audio(frame);
        engines.audio(start_sample, pcm);
    }
    let utterance = UtteranceIndex(0);
    let begin = RecognizerCommand::BeginUtterance { utterance, start_sample: 0 };
    engines.recognizer(begin.clone());
    let kept = (super::QUEUE - super::COMMAND_PLACES) as u64;
    assert_eq!(engines.audio_dropped(), (300 - kept) * 160);
    let mut far = sessions.recv().await.unwrap();
    for _ in 0..kept {
        assert!(matches!(far.requests.recv().await, Some(RecognizerRequest::Audio { .. })));
    }
    assert_eq!(far.requests.recv().await, Some(RecognizerRequest::Command(begin)));
}

#[tokio::test(start_paused = true)]
async fn closing_is_polite_and_does_not_wait_for_ever() {
    let (set, mut others) = others();
    let (engines, _inputs) = open(&set);
    let mut polite = others.recognitions.recv().await.unwrap();
    let stubborn = others.syntheses.recv().await.unwrap();
    let _dialog = others.dialogs.recv().await.unwrap();
    let engine = tokio::spawn(async move {
        assert!(polite.requests.recv().await.is_none());
        assert!(!polite.events.is_closed(), "what is left may still be said");
    });
    engines.close().await;
    engine.await.unwrap();
    assert!(stubborn.events.is_closed(), "it was dropped after a while");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_engines_of_a_call_aborts_their_sessions() {
    let (set, mut others) = others();
    let (engines, _inputs) = open(&set);
    let far = others.dialogs.recv().await.unwrap();
    drop(engines);
    far.events.closed().await;
}
