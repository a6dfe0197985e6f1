//! Fail-over with engines that do as they are told, in tokio's paused time.

use super::{CallEngines, Candidate, EngineSet};
use crate::audio::SampleRate;
use crate::call::{
    CallId, DialogCommand, DialogEvent, Input, RecognizerCommand, RecognizerEvent, ReplyId, Service,
    SynthesizerCommand, UtteranceIndex,
};
use crate::speech::{
    Dialog, DialogSession, EngineError, Recognizer, RecognizerRequest, RecognizerSession, Session, SessionStart,
    Synthesizer, SynthesizerSession,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// The engine's side of a session.
struct Far<Request, Event> {
    requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<Result<Event, EngineError>>,
}

/// Opens sessions whose far ends the test holds, or refuses.
struct Scripted<Request, Event> {
    refuses: bool,
    opened: AtomicUsize,
    sessions: mpsc::Sender<Far<Request, Event>>,
}

impl<Request, Event> Scripted<Request, Event> {
    fn new(refuses: bool) -> (Arc<Self>, mpsc::Receiver<Far<Request, Event>>) {
        let (sessions, far) = mpsc::channel(8);
        (Arc::new(Self { refuses, opened: AtomicUsize::new(0), sessions }), far)
    }

    async fn session(&self) -> Result<Session<Request, Event>, EngineError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.refuses {
            return Err(EngineError::Connect { address: "nowhere".into(), cause: "refused".into() });
        }
        let (requests, far_requests) = mpsc::channel(1024);
        let (far_events, events) = mpsc::channel(16);
        let _ = self.sessions.send(Far { requests: far_requests, events: far_events }).await;
        Ok(Session { requests, events })
    }
}

#[async_trait]
impl Recognizer for Scripted<RecognizerRequest, RecognizerEvent> {
    async fn open(&self, _: SessionStart) -> Result<RecognizerSession, EngineError> {
        self.session().await
    }
}

#[async_trait]
impl Synthesizer for Scripted<SynthesizerCommand, crate::call::SynthesizerEvent> {
    async fn open(&self, _: SessionStart) -> Result<SynthesizerSession, EngineError> {
        self.session().await
    }
}

#[async_trait]
impl Dialog for Scripted<DialogCommand, DialogEvent> {
    async fn open(&self, _: SessionStart) -> Result<DialogSession, EngineError> {
        self.session().await
    }
}

fn start() -> SessionStart {
    SessionStart {
        call: CallId::new("call-1").unwrap(),
        language: "en-US".into(),
        rate: SampleRate::HZ_8000,
        greeting: None,
    }
}

/// A call with these dialogues; the other services have an engine that does nothing.
fn open(set: EngineSet) -> (CallEngines, mpsc::Receiver<Input>) {
    let (inputs, events) = mpsc::channel(64);
    (CallEngines::open(&set, start(), inputs), events)
}

fn idle() -> EngineSet {
    let (recognizer, far) = Scripted::<RecognizerRequest, RecognizerEvent>::new(false);
    std::mem::forget(far);
    let (synthesizer, far) = Scripted::<SynthesizerCommand, crate::call::SynthesizerEvent>::new(false);
    std::mem::forget(far);
    let (dialog, far) = Scripted::<DialogCommand, DialogEvent>::new(false);
    std::mem::forget(far);
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
    let (dialog, mut far) = Scripted::new(false);
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
    let (dead, _far) = Scripted::new(true);
    let (alive, mut far) = Scripted::new(false);
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
    let (first, mut first_far) = Scripted::new(false);
    let (second, mut second_far) = Scripted::new(false);
    let recognizers: Vec<Candidate<dyn Recognizer>> =
        vec![Candidate::new("first", first), Candidate::new("second", second)];
    let (engines, mut inputs) = open(EngineSet { recognizers, ..idle() });
    let mut far = first_far.recv().await.unwrap();
    let audio = engines.audio_sender();
    let utterance = UtteranceIndex(0);
    for frame in 0..100 {
        audio.audio(frame * 160, vec![frame as i16; 160].into());
    }
    engines.recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample: 90 * 160 }).await;
    for _ in 0..101 {
        far.requests.recv().await.unwrap();
    }
    drop(far);
    assert_eq!(inputs.recv().await, Some(switched(Service::Recognition, "first", "second")));
    engines.accepted(Service::Recognition).await;
    audio.audio(100 * 160, vec![100; 160].into());
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
    let (recognizer, mut far) = Scripted::new(false);
    let (engines, _inputs) = open(EngineSet { recognizers: vec![Candidate::new("a", recognizer)], ..idle() });
    let utterance = UtteranceIndex(0);
    engines.recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    engines.recognizer(RecognizerCommand::EndUtterance { utterance, end_sample: 160 }).await;
    engines.audio_sender().audio(0, vec![1; 160].into());
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
    let (first, mut first_far) = Scripted::new(false);
    let (second, mut second_far) = Scripted::new(false);
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
    let (only, mut far) = Scripted::new(false);
    let (engines, mut inputs) = open(EngineSet { dialogs: vec![Candidate::new("only", only)], ..idle() });
    let mut far = far.recv().await.unwrap();
    engines.fail_over(Service::Dialog, "no text in time").await;
    assert_eq!(inputs.recv().await, Some(Input::EngineKept { service: Service::Dialog }));
    engines.dialog(dtmf('1')).await;
    assert_eq!(far.requests.recv().await, Some(dtmf('1')), "the session goes on");
}

#[tokio::test(start_paused = true)]
async fn when_all_are_dead_the_call_is_told_once() {
    let (first, mut far) = Scripted::new(false);
    let (second, _far) = Scripted::new(true);
    let dialogs: Vec<Candidate<dyn Dialog>> = vec![Candidate::new("first", first), Candidate::new("second", second)];
    let (engines, mut inputs) = open(EngineSet { dialogs, ..idle() });
    let far = far.recv().await.unwrap();
    far.events.send(Err(EngineError::Status { code: "UNAVAILABLE", message: "bye".into() })).await.unwrap();
    assert_eq!(inputs.recv().await, Some(Input::EnginesExhausted { service: Service::Dialog }));
    engines.dialog(dtmf('1')).await;
    engines.close().await;
    assert_eq!(inputs.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_dead_engine_is_passed_over_by_other_calls_until_its_penalty_is_over() {
    let (dead, _far) = Scripted::<DialogCommand, DialogEvent>::new(true);
    let (alive, mut far) = Scripted::new(false);
    let dialogs: Vec<Candidate<dyn Dialog>> =
        vec![Candidate::new("dead", Arc::clone(&dead) as Arc<dyn Dialog>), Candidate::new("alive", alive)];
    let set = EngineSet { dialogs, ..idle() };
    let mut alive = Vec::new();
    for call in 0..5 {
        let (_engines, mut inputs) = open(set.clone());
        assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "dead", "alive")), "call {call}");
        alive.push(far.recv().await.unwrap());
    }
    assert_eq!(dead.opened.load(Ordering::Relaxed), 1, "only the first call tried it");
    tokio::time::advance(Duration::from_secs(11)).await;
    let (_engines, mut inputs) = open(set);
    assert_eq!(inputs.recv().await, Some(switched(Service::Dialog, "dead", "alive")));
    assert_eq!(dead.opened.load(Ordering::Relaxed), 2, "one call tries again");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_end_is_dropped_when_the_call_is_over() {
    let (dialog, mut far) = Scripted::new(false);
    let (engines, _inputs) = open(EngineSet { dialogs: vec![Candidate::new("a", dialog)], ..idle() });
    let far = far.recv().await.unwrap();
    engines.close().await;
    assert!(far.events.is_closed());
}
