//! Fail-over with engines that do as they are told, in tokio's paused time.

use super::{CallEngines, Candidate, EngineSet, QUEUE};
use crate::call::{DialogCommand, DialogEvent, Input, RecognizerCommand, ReplyId, Service, UtteranceIndex};
use crate::speech::scripted::{
    Mood, Scripted, ScriptedDialog, ScriptedRecognizer, ScriptedSynthesizer, Sessions, start,
};
use crate::speech::{Dialog, EngineError, Recognizer, RecognizerRequest, queue};
use futures_util::FutureExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// An engine that opens no session.
fn dead<Request, Event>() -> Arc<Scripted<Request, Event>> {
    let (engine, _) = Scripted::new();
    engine.set(Mood::Refusing(EngineError::Connect { address: "nowhere".into(), cause: "refused".into() }));
    engine
}

/// A call with these dialogues; the other services have an engine that does nothing.
fn open(set: EngineSet) -> (CallEngines, queue::Receiver<Input>) {
    let (inputs, events) = queue::bounded(64);
    (CallEngines::open(&set, start(), Duration::from_millis(800), inputs), events)
}

/// Engines that never answer, and so neither help nor fail.
fn idle() -> EngineSet {
    let (recognizer, _) = ScriptedRecognizer::new();
    recognizer.set(Mood::Silent);
    let (synthesizer, _) = ScriptedSynthesizer::new();
    synthesizer.set(Mood::Silent);
    let (dialog, _) = ScriptedDialog::new();
    dialog.set(Mood::Silent);
    EngineSet {
        recognizers: vec![Candidate::new("idle", recognizer)],
        synthesizers: vec![Candidate::new("idle", synthesizer)],
        dialogs: vec![Candidate::new("idle", dialog)],
    }
}

fn switched(service: Service, from: &str, to: &str) -> Input {
    Input::EngineSwitched { service, from: from.into(), to: to.into() }
}

fn dtmf(digit: char) -> DialogCommand {
    DialogCommand::Dtmf { digit, reply: ReplyId(1) }
}

fn recognizer_command(request: RecognizerRequest) -> Option<RecognizerCommand> {
    match request {
        RecognizerRequest::Command(command) => Some(command),
        RecognizerRequest::Audio { .. } => None,
    }
}

#[tokio::test(start_paused = true)]
async fn commands_given_before_the_session_is_open_reach_it_in_order() {
    let (dialog, mut far) = Scripted::new();
    let (engines, _inputs) = open(EngineSet { dialogs: vec![Candidate::new("a", dialog)], ..idle() });
    for digit in ['1', '2', '3'] {
        engines.dialog(dtmf(digit)).await;
    }
    let mut far = far.recv().await.unwrap();
    for digit in ['1', '2', '3'] {
        assert_eq!(far.requests.recv().await, Some(dtmf(digit)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_moves_the_call_to_the_next_engine_before_it_says_a_word() {
    let dead = dead();
    let (alive, mut far) = Scripted::new();
    let dialogs: Vec<Candidate<dyn Dialog>> = vec![Candidate::new("dead", dead), Candidate::new("alive", alive)];
    let (engines, mut inputs) = open(EngineSet { dialogs, ..idle() });
    engines.dialog(dtmf('1')).await;
    assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "dead", "alive")));
    // what was given before the call knew is given again by the call: the new engine must not get it twice
    engines.dialog(dtmf('2')).await;
    engines.accepted(Service::Dialog).await;
    engines.dialog(dtmf('3')).await;
    let mut far = far.recv().await.unwrap();
    assert_eq!(far.requests.recv().await, Some(dtmf('3')));
}

#[tokio::test(start_paused = true)]
async fn audio_that_is_not_final_is_replayed_to_the_next_recognizer() {
    let (first, mut first_far) = Scripted::new();
    let (second, mut second_far) = Scripted::new();
    let recognizers: Vec<Candidate<dyn Recognizer>> =
        vec![Candidate::new("first", first), Candidate::new("second", second)];
    let (engines, mut inputs) = open(EngineSet { recognizers, ..idle() });
    let mut far = first_far.recv().await.unwrap();
    let audio = engines.audio_sender();
    let utterance = UtteranceIndex(0);
    for frame in 0..100 {
        audio.audio(frame * 160, &[frame as i16; 160]);
    }
    engines.recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample: 90 * 160 }).await;
    for _ in 0..101 {
        far.requests.recv().await.unwrap();
    }
    drop(far);
    assert_eq!(inputs.recv().await, Some(switched(Service::Recognition, "first", "second")));
    engines.accepted(Service::Recognition).await;
    audio.audio(100 * 160, &[100; 160]);
    engines.recognizer(RecognizerCommand::EndUtterance { utterance, end_sample: 101 * 160 }).await;

    let mut far = second_far.recv().await.unwrap();
    let begin = far.requests.recv().await.and_then(recognizer_command);
    assert!(matches!(begin, Some(RecognizerCommand::BeginUtterance { start_sample: 14_400, .. })), "{begin:?}");
    for frame in 90..=100 {
        let Some(RecognizerRequest::Audio { start_sample, pcm }) = far.requests.recv().await else {
            panic!("no audio")
        };
        assert_eq!((start_sample, pcm[0]), (frame * 160, frame as i16));
    }
    let end = far.requests.recv().await.and_then(recognizer_command);
    assert!(matches!(end, Some(RecognizerCommand::EndUtterance { .. })), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_utterance_waits_for_its_audio() {
    let (recognizer, mut far) = Scripted::new();
    let (engines, _inputs) = open(EngineSet { recognizers: vec![Candidate::new("a", recognizer)], ..idle() });
    let utterance = UtteranceIndex(0);
    engines.recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    engines.recognizer(RecognizerCommand::EndUtterance { utterance, end_sample: 160 }).await;
    while engines.recognition.capacity() < QUEUE {
        tokio::task::yield_now().await;
    }
    engines.audio_sender().audio(0, &[1; 160]);
    let mut far = far.recv().await.unwrap();
    assert!(matches!(
        far.requests.recv().await,
        Some(RecognizerRequest::Command(RecognizerCommand::BeginUtterance { .. }))
    ));
    assert!(matches!(far.requests.recv().await, Some(RecognizerRequest::Audio { .. })));
    assert!(matches!(
        far.requests.recv().await,
        Some(RecognizerRequest::Command(RecognizerCommand::EndUtterance { .. }))
    ));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_old_session_comes_after_the_switch() {
    let (first, mut first_far) = Scripted::new();
    let (second, mut second_far) = Scripted::new();
    let dialogs: Vec<Candidate<dyn Dialog>> = vec![Candidate::new("first", first), Candidate::new("second", second)];
    let (engines, mut inputs) = open(EngineSet { dialogs, ..idle() });
    let old = first_far.recv().await.unwrap();
    let text = |delta: &str| DialogEvent::Text { reply: ReplyId(1), delta: delta.into() };
    old.events.send(Ok(text("old"))).await.unwrap();
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("old"))));
    engines.fail_over(Service::Dialog, "no text in time").await;
    let new = second_far.recv().await.unwrap();
    let late = old.events.send(Ok(text("late"))).await;
    new.events.send(Ok(text("new"))).await.unwrap();
    assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "first", "second")));
    assert_eq!(inputs.recv().await, Some(Input::Dialog(text("new"))));
    assert!(late.is_err(), "nobody listens to the old session any more");
}

#[tokio::test(start_paused = true)]
async fn a_late_engine_is_kept_when_there_is_no_other() {
    let (only, mut far) = Scripted::new();
    let (engines, mut inputs) = open(EngineSet { dialogs: vec![Candidate::new("only", only)], ..idle() });
    let mut far = far.recv().await.unwrap();
    engines.fail_over(Service::Dialog, "no text in time").await;
    assert_eq!(inputs.recv().await, Some(Input::EngineKept { service: Service::Dialog }));
    engines.dialog(dtmf('1')).await;
    assert_eq!(far.requests.recv().await, Some(dtmf('1')), "the session goes on");
}

#[tokio::test(start_paused = true)]
async fn when_all_are_dead_the_call_is_told_once() {
    let (first, mut far) = Scripted::new();
    let second = dead();
    let dialogs: Vec<Candidate<dyn Dialog>> = vec![Candidate::new("first", first), Candidate::new("second", second)];
    let (engines, mut inputs) = open(EngineSet { dialogs, ..idle() });
    let far = far.recv().await.unwrap();
    far.events.send(Err(EngineError::Status { code: "UNAVAILABLE", message: "bye".into() })).await.unwrap();
    assert_eq!(inputs.recv().await, Some(Input::EnginesExhausted { service: Service::Dialog }));
    engines.dialog(dtmf('1')).await;
    assert_eq!(engines.close().await, 0);
    assert_eq!(inputs.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_dead_engine_is_passed_over_by_other_calls_until_its_penalty_is_over() {
    let dead = dead::<DialogCommand, DialogEvent>();
    let (alive, mut far) = Scripted::new();
    let dialogs: Vec<Candidate<dyn Dialog>> =
        vec![Candidate::new("dead", Arc::clone(&dead) as Arc<dyn Dialog>), Candidate::new("alive", alive)];
    let set = EngineSet { dialogs, ..idle() };
    let mut alive = Vec::new();
    for call in 0..5 {
        let (_engines, mut inputs) = open(set.clone());
        assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "dead", "alive")), "call {call}");
        alive.push(far.recv().await.unwrap());
    }
    assert_eq!(dead.asked(), 1, "only the first call tried it");
    tokio::time::advance(Duration::from_secs(11)).await;
    let (_engines, mut inputs) = open(set);
    assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "dead", "alive")));
    assert_eq!(dead.asked(), 2, "one call tries again");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_end_is_dropped_when_the_call_is_over() {
    let (dialog, mut far) = Scripted::new();
    let (engines, _inputs) = open(EngineSet { dialogs: vec![Candidate::new("a", dialog)], ..idle() });
    let far = far.recv().await.unwrap();
    engines.close().await;
    assert!(far.events.is_closed());
}

/// Waits until the line of the dialogue has read all that it was given.
async fn is_read(engines: &CallEngines) {
    while engines.dialog.capacity() < QUEUE {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_late_before_it_is_open_is_kept_once_it_is() {
    let (only, mut far) = Scripted::new();
    let go_on = Arc::new(Notify::new());
    only.set(Mood::Hesitating(Arc::clone(&go_on)));
    let (engines, mut inputs) = open(EngineSet { dialogs: vec![Candidate::new("only", only)], ..idle() });
    engines.dialog(dtmf('1')).await;
    engines.fail_over(Service::Dialog, "no text in time").await;
    is_read(&engines).await;
    go_on.notify_one();
    assert_eq!(inputs.recv().await, Some(Input::EngineKept { service: Service::Dialog }));
    let mut far = far.recv().await.unwrap();
    assert_eq!(far.requests.recv().await, Some(dtmf('1')));
    assert!(inputs.recv().now_or_never().is_none(), "one answer only");
}

/// Three dialogues, each with its sessions, and a call that uses them.
struct Three {
    engines: CallEngines,
    inputs: queue::Receiver<Input>,
    far: [Sessions<DialogCommand, DialogEvent>; 3],
}

fn three() -> Three {
    let [(a, first), (b, second), (c, third)] = [Scripted::new(), Scripted::new(), Scripted::new()];
    let dialogs: Vec<Candidate<dyn Dialog>> =
        vec![Candidate::new("a", a), Candidate::new("b", b), Candidate::new("c", c)];
    let (engines, inputs) = open(EngineSet { dialogs, ..idle() });
    Three { engines, inputs, far: [first, second, third] }
}

#[tokio::test(start_paused = true)]
async fn lateness_of_the_old_engine_is_not_held_against_the_new_one() {
    let Three { engines, mut inputs, far: [mut first, mut second, mut third] } = three();
    drop(first.recv().await.unwrap());
    assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "a", "b")));
    // said before the call knew of the switch
    engines.fail_over(Service::Dialog, "no text in time").await;
    engines.accepted(Service::Dialog).await;
    engines.dialog(dtmf('1')).await;
    let mut far = second.recv().await.unwrap();
    assert_eq!(far.requests.recv().await, Some(dtmf('1')));
    assert!(third.try_recv().is_err(), "the second one goes on");
    engines.fail_over(Service::Dialog, "no text in time").await;
    assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "b", "c")), "its own lateness counts");
}

#[tokio::test(start_paused = true)]
async fn two_switches_in_a_row_give_the_question_once() {
    let Three { engines, mut inputs, far: [mut first, mut second, mut third] } = three();
    drop(first.recv().await.unwrap());
    drop(second.recv().await.unwrap());
    let mut far = third.recv().await.unwrap();
    for (from, to) in [("a", "b"), ("b", "c")] {
        assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, from, to)));
    }
    // the call takes note of one after the other, and asks again each time
    engines.accepted(Service::Dialog).await;
    engines.dialog(dtmf('1')).await;
    engines.accepted(Service::Dialog).await;
    engines.dialog(dtmf('1')).await;
    engines.dialog(dtmf('2')).await;
    assert_eq!(far.requests.recv().await, Some(dtmf('1')));
    assert_eq!(far.requests.recv().await, Some(dtmf('2')));
}

#[tokio::test(start_paused = true)]
async fn utterances_are_replayed_in_the_order_of_their_positions() {
    let (first, mut first_far) = Scripted::new();
    let (second, mut second_far) = Scripted::new();
    let recognizers: Vec<Candidate<dyn Recognizer>> =
        vec![Candidate::new("first", first), Candidate::new("second", second)];
    let (engines, mut inputs) = open(EngineSet { recognizers, ..idle() });
    let mut far = first_far.recv().await.unwrap();
    let audio = engines.audio_sender();
    let begin = |index, frame: i64| RecognizerCommand::BeginUtterance {
        utterance: UtteranceIndex(index),
        start_sample: frame * 160,
    };
    let end = |index, frame: i64| RecognizerCommand::EndUtterance {
        utterance: UtteranceIndex(index),
        end_sample: frame * 160,
    };
    for frame in 0..10 {
        audio.audio(frame * 160, &[0; 160]);
    }
    let given = [begin(0, 2), end(0, 4), begin(1, 6), end(1, 8), begin(2, 9), end(2, 11)];
    for command in &given {
        engines.recognizer(command.clone()).await;
    }
    // All but the last end, whose audio has not come.
    for _ in 0..15 {
        far.requests.recv().await.unwrap();
    }
    drop(far);
    assert_eq!(inputs.recv().await, Some(switched(Service::Recognition, "first", "second")));
    audio.audio(1_600, &[0; 160]);
    let mut far = second_far.recv().await.unwrap();
    let mut got = Vec::new();
    for _ in 0..15 {
        got.push(match far.requests.recv().await.unwrap() {
            RecognizerRequest::Audio { start_sample, .. } => (start_sample / 160).to_string(),
            RecognizerRequest::Command(RecognizerCommand::BeginUtterance { .. }) => "begin".to_owned(),
            RecognizerRequest::Command(_) => "end".to_owned(),
        });
    }
    assert_eq!(got.join(" "), "begin 2 3 end 4 5 begin 6 7 end 8 begin 9 10 end");
}

#[tokio::test(start_paused = true)]
async fn audio_without_room_is_dropped_and_counted_and_no_command_is() {
    let (recognizer, mut far) = Scripted::new();
    let go_on = Arc::new(Notify::new());
    recognizer.set(Mood::Hesitating(Arc::clone(&go_on)));
    let (engines, _inputs) = open(EngineSet { recognizers: vec![Candidate::new("a", recognizer)], ..idle() });
    let utterance = UtteranceIndex(0);
    engines.recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    while engines.recognition.capacity() < QUEUE {
        tokio::task::yield_now().await;
    }
    let audio = engines.audio_sender();
    for frame in 0..600 {
        audio.audio(frame * 160, &[0; 160]);
    }
    go_on.notify_one();
    let mut far = far.recv().await.unwrap();
    assert_eq!(
        far.requests.recv().await.and_then(recognizer_command),
        Some(RecognizerCommand::BeginUtterance { utterance, start_sample: 0 })
    );
    for frame in 100..600 {
        let Some(RecognizerRequest::Audio { start_sample, .. }) = far.requests.recv().await else { panic!("no audio") };
        assert_eq!(start_sample, frame * 160, "the oldest is dropped");
    }
    drop(audio);
    assert_eq!(engines.close().await, 100 * 160);
}
