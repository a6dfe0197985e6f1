//! What differs between the three services: how a session is opened, and what a new engine must be given to go on.

use crate::call::{
    DialogCommand, DialogEvent, Input, RecognizerCommand, RecognizerEvent, Service, SynthesizerCommand,
    SynthesizerEvent,
};
use crate::speech::{Dialog, EngineError, Recognizer, RecognizerRequest, Session, SessionStart, Synthesizer};
use std::collections::VecDeque;

/// One of the three services, as a line needs it.
pub(super) trait EngineService: Default + Send + 'static {
    const SERVICE: Service;
    type Engine: ?Sized + Send + Sync + 'static;
    type Request: Send + 'static;
    type Event: Send + 'static;

    fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> impl Future<Output = Result<Session<Self::Request, Self::Event>, EngineError>> + Send;

    /// The event for the call.
    fn input(event: Self::Event) -> Input;

    /// Takes a request on its way to the engine. Returns what may go now, in order.
    fn outgoing(&mut self, request: Self::Request, ready: &mut Vec<Self::Request>);

    /// Takes note of what the engine said.
    fn incoming(&mut self, _event: &Self::Event) {}

    /// How much caller audio a request carries; `None` if it is a command.
    fn samples(_request: &Self::Request) -> Option<u64> {
        None
    }

    /// What a new session needs first, to stand where the old one stood.
    fn replay(&self) -> Vec<Self::Request> {
        Vec::new()
    }

    /// Whether commands that were given before the call knew of the switch must not reach the new engine, because the
    /// call gives them again.
    const REPEATED_BY_CALL: bool;
}

/// Audio that may have to be replayed: ten seconds at 8 kHz, more frames than that at any rate.
const REPLAY_SAMPLES: usize = 80_000;

/// The recent past that a new session gets in any case: one second at 8 kHz.
const RECENT_SAMPLES: i64 = 8_000;

/// Recognition: keeps the audio that is not final yet, and holds the end of an utterance back until its audio has passed
/// (the two come by different ways).
#[derive(Default)]
pub(super) struct RecognitionService {
    audio: VecDeque<RecognizerRequest>,
    samples: usize,
    /// End of the audio that has come.
    position: i64,
    /// Begin and end of utterances that are not final, in order.
    unfinished: Vec<RecognizerCommand>,
    /// An end whose audio has not come.
    held: Option<(i64, RecognizerCommand)>,
}

impl RecognitionService {
    fn keep(&mut self, request: &RecognizerRequest, samples: usize) {
        self.audio.push_back(request.clone());
        self.samples += samples;
        while self.samples > REPLAY_SAMPLES
            && let Some(RecognizerRequest::Audio { pcm, .. }) = self.audio.pop_front()
        {
            self.samples -= pcm.len();
        }
    }

    fn release(&mut self, ready: &mut Vec<RecognizerRequest>) {
        if let Some((_, command)) = self.held.take() {
            ready.push(RecognizerRequest::Command(command));
        }
    }
}

impl EngineService for RecognitionService {
    const SERVICE: Service = Service::Recognition;
    const REPEATED_BY_CALL: bool = false;
    type Engine = dyn Recognizer;
    type Request = RecognizerRequest;
    type Event = RecognizerEvent;

    async fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> Result<Session<RecognizerRequest, RecognizerEvent>, EngineError> {
        engine.open(start).await
    }

    fn input(event: RecognizerEvent) -> Input {
        Input::Recognizer(event)
    }

    fn outgoing(&mut self, request: RecognizerRequest, ready: &mut Vec<RecognizerRequest>) {
        match request {
            RecognizerRequest::Audio { start_sample, ref pcm } => {
                self.position = start_sample + pcm.len() as i64;
                self.keep(&request, pcm.len());
                ready.push(request);
                if self.held.as_ref().is_some_and(|(end, _)| *end <= self.position) {
                    self.release(ready);
                }
            }
            RecognizerRequest::Command(command) => {
                // Whatever is still held belongs to an earlier utterance: its audio was dropped on the way.
                self.release(ready);
                match command {
                    RecognizerCommand::BeginUtterance { .. } => self.unfinished.push(command.clone()),
                    RecognizerCommand::EndUtterance { end_sample, .. } => {
                        self.unfinished.push(command.clone());
                        if end_sample > self.position {
                            self.held = Some((end_sample, command));
                            return;
                        }
                    }
                    RecognizerCommand::DiscardUtterance { utterance } => {
                        self.unfinished.retain(|unfinished| utterance_of(unfinished) != utterance);
                    }
                }
                ready.push(RecognizerRequest::Command(command));
            }
        }
    }

    fn incoming(&mut self, event: &RecognizerEvent) {
        if let RecognizerEvent::UtteranceEnded { utterance } = event {
            self.unfinished.retain(|unfinished| utterance_of(unfinished) != *utterance);
        }
    }

    fn samples(request: &RecognizerRequest) -> Option<u64> {
        match request {
            RecognizerRequest::Audio { pcm, .. } => Some(pcm.len() as u64),
            RecognizerRequest::Command(_) => None,
        }
    }

    fn replay(&self) -> Vec<RecognizerRequest> {
        let first = self.unfinished.iter().find_map(|command| match command {
            RecognizerCommand::BeginUtterance { start_sample, .. } => Some(*start_sample),
            _ => None,
        });
        // Without an open utterance one may be about to begin: its pre-roll has passed already.
        let first = first.unwrap_or(self.position - RECENT_SAMPLES);
        let end = |start_sample: i64, pcm: &[i16]| start_sample + pcm.len() as i64;
        let mut audio = self
            .audio
            .iter()
            .filter(|request| {
                matches!(request, RecognizerRequest::Audio { start_sample, pcm } if end(*start_sample, pcm) > first)
            })
            .peekable();
        let held = self.held.as_ref().map(|(_, command)| command);
        let mut replay = Vec::with_capacity(self.audio.len() + self.unfinished.len());
        // As it was the first time: a command comes when all audio before its position has been sent, and not much
        // later.
        for command in self.unfinished.iter().filter(|command| Some(*command) != held) {
            while let Some(request) = audio.next_if(
                |request| matches!(request, RecognizerRequest::Audio { start_sample, .. } if Some(*start_sample) < position_of(command)),
            ) {
                replay.push(request.clone());
            }
            replay.push(RecognizerRequest::Command(command.clone()));
        }
        replay.extend(audio.cloned());
        replay
    }
}

/// The sample before which all audio comes first; `None` if there is no such.
const fn position_of(command: &RecognizerCommand) -> Option<i64> {
    match command {
        RecognizerCommand::BeginUtterance { start_sample, .. } => Some(*start_sample),
        RecognizerCommand::EndUtterance { end_sample, .. } => Some(*end_sample),
        RecognizerCommand::DiscardUtterance { .. } => None,
    }
}

const fn utterance_of(command: &RecognizerCommand) -> crate::call::UtteranceIndex {
    match command {
        RecognizerCommand::BeginUtterance { utterance, .. }
        | RecognizerCommand::EndUtterance { utterance, .. }
        | RecognizerCommand::DiscardUtterance { utterance } => *utterance,
    }
}

/// Synthesis: the call itself gives the text again that was not heard.
#[derive(Default)]
pub(super) struct SynthesisService;

impl EngineService for SynthesisService {
    const SERVICE: Service = Service::Synthesis;
    const REPEATED_BY_CALL: bool = true;
    type Engine = dyn Synthesizer;
    type Request = SynthesizerCommand;
    type Event = SynthesizerEvent;

    async fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> Result<Session<SynthesizerCommand, SynthesizerEvent>, EngineError> {
        engine.open(start).await
    }

    fn input(event: SynthesizerEvent) -> Input {
        Input::Synthesizer(event)
    }

    fn outgoing(&mut self, request: SynthesizerCommand, ready: &mut Vec<SynthesizerCommand>) {
        ready.push(request);
    }
}

/// Dialogue: the call itself asks again.
#[derive(Default)]
pub(super) struct DialogService;

impl EngineService for DialogService {
    const SERVICE: Service = Service::Dialog;
    const REPEATED_BY_CALL: bool = true;
    type Engine = dyn Dialog;
    type Request = DialogCommand;
    type Event = DialogEvent;

    async fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> Result<Session<DialogCommand, DialogEvent>, EngineError> {
        engine.open(start).await
    }

    fn input(event: DialogEvent) -> Input {
        Input::Dialog(event)
    }

    fn outgoing(&mut self, request: DialogCommand, ready: &mut Vec<DialogCommand>) {
        ready.push(request);
    }
}
