//! Engines that do as a test tells them: each session that is opened is handed to the test, which then is the engine.

use super::{
    Dialog, DialogSession, EngineError, Recognizer, RecognizerRequest, RecognizerSession, Session, SessionStart,
    Synthesizer, SynthesizerSession, queue,
};
use crate::audio::SampleRate;
use crate::call::{CallId, DialogCommand, DialogEvent, RecognizerEvent, SynthesizerCommand, SynthesizerEvent};
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc};

/// What every session of a test starts with.
pub(crate) fn start() -> SessionStart {
    SessionStart {
        call: CallId::new("call-1").expect("a valid id"),
        language: "en-US".into(),
        rate: SampleRate::HZ_8000,
        law: None,
        greeting: Some("Hello.".into()),
    }
}

/// The engine's side of a session.
#[derive(Debug)]
pub(crate) struct Far<Request, Event> {
    pub(crate) start: SessionStart,
    pub(crate) requests: queue::Receiver<Request>,
    pub(crate) events: queue::Sender<Result<Event, EngineError>>,
}

impl<Request, Event> Far<Request, Event> {
    /// Says something to the call.
    pub(crate) async fn say(&self, event: Event) {
        assert!(self.events.send(Ok(event)).await.is_ok(), "nobody listens");
    }
}

/// An engine.
pub(crate) struct Scripted<Request, Event> {
    sessions: mpsc::UnboundedSender<Far<Request, Event>>,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
}

/// What an engine does when a session is to be opened.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// Opens it.
    Willing,
    /// Fails.
    Refusing(EngineError),
    /// Opens it when the test says so.
    Hesitating(Arc<Notify>),
    /// Never answers.
    Silent,
}

pub(crate) type Sessions<Request, Event> = mpsc::UnboundedReceiver<Far<Request, Event>>;
pub(crate) type ScriptedRecognizer = Scripted<RecognizerRequest, RecognizerEvent>;
pub(crate) type ScriptedSynthesizer = Scripted<SynthesizerCommand, SynthesizerEvent>;
pub(crate) type ScriptedDialog = Scripted<DialogCommand, DialogEvent>;

impl<Request, Event> Scripted<Request, Event> {
    /// An engine and the sessions that it will open.
    pub(crate) fn new() -> (Arc<Self>, Sessions<Request, Event>) {
        let (sessions, opened) = mpsc::unbounded_channel();
        (Arc::new(Self { sessions, mood: Mutex::new(Mood::Willing), asked: AtomicUsize::new(0) }), opened)
    }

    /// Changes what happens to the next session.
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no test panics with the lock") = mood;
    }

    /// How many sessions it was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn session(&self, start: SessionStart) -> Result<Session<Request, Event>, EngineError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mood = self.mood.lock().expect("no test panics with the lock").clone();
        match mood {
            Mood::Willing => {}
            Mood::Refusing(error) => return Err(error),
            Mood::Hesitating(go_on) => go_on.notified().await,
            Mood::Silent => std::future::pending().await,
        }
        let (requests, far_requests) = queue::bounded(64);
        let (far_events, events) = queue::bounded(16);
        let _ = self.sessions.send(Far { start, requests: far_requests, events: far_events });
        Ok(Session { requests, events })
    }
}

#[async_trait]
impl Recognizer for ScriptedRecognizer {
    async fn open(&self, start: SessionStart) -> Result<RecognizerSession, EngineError> {
        self.session(start).await
    }
}

#[async_trait]
impl Synthesizer for ScriptedSynthesizer {
    async fn open(&self, start: SessionStart) -> Result<SynthesizerSession, EngineError> {
        self.session(start).await
    }
}

#[async_trait]
impl Dialog for ScriptedDialog {
    async fn open(&self, start: SessionStart) -> Result<DialogSession, EngineError> {
        self.session(start).await
    }
}
