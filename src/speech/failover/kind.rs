//! How the three services differ in fail-over.

use super::ring::Ring;
use crate::call::{
    DialogCommand, DialogEvent, Input, RecognizerEvent, Service, Stage, SynthesizerCommand, SynthesizerEvent,
};
use crate::speech::{Dialog, EngineError, Recognizer, RecognizerRequest, Session, SessionStart, Synthesizer};
use std::future::Future;

/// What [`CallEngines`](super::CallEngines) and the engine in use exchange, and what a new engine is told.
pub(super) trait Kind: Send + Sized + 'static {
    const SERVICE: Service;
    /// Whether the call itself says again what the new engine has to know. Then what it said to the old one is dropped.
    const CALL_REPEATS: bool;
    type Engine: ?Sized + Send + Sync + 'static;
    type Request: Send + 'static;
    type Event: Send + 'static;

    fn new(start: &SessionStart) -> Self;

    fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> impl Future<Output = Result<Session<Self::Request, Self::Event>, EngineError>> + Send;

    fn input(event: Self::Event) -> Input;

    /// Whether the engine shows with this event that it works.
    fn is_result(event: &Self::Event) -> bool;

    /// Remembers what the call has said.
    fn said(&mut self, _: &Self::Request) {}

    /// Remembers what the engine has said.
    fn heard(&mut self, _: &Self::Event) {}

    /// What a new session begins with.
    fn replay(&self) -> Vec<Self::Request> {
        Vec::new()
    }
}

/// Speech to text.
#[derive(Debug)]
pub(super) struct Recognition(Ring);

impl Kind for Recognition {
    const SERVICE: Service = Service::Recognition;
    const CALL_REPEATS: bool = false;
    type Engine = dyn Recognizer;
    type Request = RecognizerRequest;
    type Event = RecognizerEvent;

    fn new(start: &SessionStart) -> Self {
        Self(Ring::new(start.rate))
    }

    async fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> Result<Session<RecognizerRequest, RecognizerEvent>, EngineError> {
        engine.open(start).await
    }

    fn input(event: RecognizerEvent) -> Input {
        Input::Recognizer(event)
    }

    fn is_result(event: &RecognizerEvent) -> bool {
        matches!(
            event,
            RecognizerEvent::Hypothesis { stage: Stage::Final, .. } | RecognizerEvent::UtteranceEnded { .. }
        )
    }

    fn said(&mut self, request: &RecognizerRequest) {
        self.0.push(request);
    }

    fn heard(&mut self, event: &RecognizerEvent) {
        if let RecognizerEvent::UtteranceEnded { utterance } = event {
            self.0.ended(*utterance);
        }
    }

    fn replay(&self) -> Vec<RecognizerRequest> {
        self.0.replay().collect()
    }
}

/// Text to speech.
#[derive(Debug)]
pub(super) struct Synthesis;

impl Kind for Synthesis {
    const SERVICE: Service = Service::Synthesis;
    const CALL_REPEATS: bool = true;
    type Engine = dyn Synthesizer;
    type Request = SynthesizerCommand;
    type Event = SynthesizerEvent;

    fn new(_: &SessionStart) -> Self {
        Self
    }

    async fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> Result<Session<SynthesizerCommand, SynthesizerEvent>, EngineError> {
        engine.open(start).await
    }

    fn input(event: SynthesizerEvent) -> Input {
        Input::Synthesizer(event)
    }

    fn is_result(event: &SynthesizerEvent) -> bool {
        matches!(event, SynthesizerEvent::Audio { .. })
    }
}

/// What to say next.
#[derive(Debug)]
pub(super) struct Dialogue;

impl Kind for Dialogue {
    const SERVICE: Service = Service::Dialog;
    const CALL_REPEATS: bool = true;
    type Engine = dyn Dialog;
    type Request = DialogCommand;
    type Event = DialogEvent;

    fn new(_: &SessionStart) -> Self {
        Self
    }

    async fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> Result<Session<DialogCommand, DialogEvent>, EngineError> {
        engine.open(start).await
    }

    fn input(event: DialogEvent) -> Input {
        Input::Dialog(event)
    }

    fn is_result(event: &DialogEvent) -> bool {
        matches!(event, DialogEvent::Text { .. } | DialogEvent::Done { .. })
    }
}
