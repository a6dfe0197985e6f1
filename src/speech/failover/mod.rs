//! Fail-over: each service of a call has a list of engines, and the call goes on when one of them fails.
//!
//! ```text
//! CallEngines ──▶ line (a task a service) ──▶ the session of the engine in use
//!      ▲              │ broken or late: the next engine, given what it needs to go on
//!      └─ call::Input ┘
//! ```
//!
//! What a new engine needs differs. A recogniser is given the audio that is not final yet, from a ring that the line
//! keeps. To a synthesiser and a dialogue the call itself says again what matters, once it has taken note of the switch
//! ([`CallEngines::switched`]); what it said before that was meant for the old engine and is dropped.

mod breaker;
mod kind;
mod line;
mod ring;
#[cfg(test)]
mod tests;

pub use breaker::Breakers;

use super::{Dialog, Recognizer, RecognizerRequest, SessionStart, Synthesizer};
use crate::call::{CallEvent, DialogCommand, Input, Output, RecognizerCommand, Service, SynthesizerCommand};
use kind::{Dialogue, Kind, Recognition, Synthesis};
use line::Line;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What waits for a line: over five seconds of audio. When it is full, audio is dropped and counted.
const QUEUE: usize = 256;
/// Places in the queue that audio leaves to commands. When they are full too the engine takes nothing: it is given up.
const COMMAND_PLACES: usize = 64;

/// The engines of a bot, each list in order of preference under the configured names. A list may be empty: then the
/// call is told at once that no engine is left.
#[derive(Clone, Default)]
pub struct EngineSet {
    /// Speech to text.
    pub recognizers: Vec<(String, Arc<dyn Recognizer>)>,
    /// Text to speech.
    pub synthesizers: Vec<(String, Arc<dyn Synthesizer>)>,
    /// What to say next.
    pub dialogs: Vec<(String, Arc<dyn Dialog>)>,
    /// Which engines are passed over at present; one for all bots of a server.
    pub breakers: Arc<Breakers>,
}

impl fmt::Debug for EngineSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names<E: ?Sized>(engines: &[(String, Arc<E>)]) -> Vec<&str> {
            engines.iter().map(|(name, _)| name.as_str()).collect()
        }
        f.debug_struct("EngineSet")
            .field("recognizers", &names(&self.recognizers))
            .field("synthesizers", &names(&self.synthesizers))
            .field("dialogs", &names(&self.dialogs))
            .finish_non_exhaustive()
    }
}

/// The engines of one call. Dropping it aborts the sessions; [`CallEngines::close`] ends them politely. Nothing in it
/// waits, except `close`.
#[derive(Debug)]
pub struct CallEngines {
    recognition: Entrance<RecognizerRequest>,
    synthesis: Entrance<SynthesizerCommand>,
    dialog: Entrance<DialogCommand>,
    audio_dropped: AtomicU64,
    end: watch::Sender<bool>,
    lines: JoinSet<()>,
}

/// The way into one line.
#[derive(Debug)]
struct Entrance<Request> {
    queue: mpsc::Sender<(Generation, Request)>,
    late: mpsc::Sender<(Generation, &'static str)>,
    /// How many switches the call has taken note of.
    generation: AtomicU32,
}

/// Counts the switches of a service in a call: which engine something was meant for.
type Generation = u32;

impl CallEngines {
    /// Begins to open a session of each service and returns at once; commands wait meanwhile. What the engines say goes
    /// to `inputs`, and while that is full they are not read. Must be called inside a tokio runtime.
    pub fn open(set: &EngineSet, start: &SessionStart, inputs: &mpsc::Sender<Input>) -> Self {
        let (end, ended) = watch::channel(false);
        let mut lines = JoinSet::new();
        let recognition = lay::<Recognition>(&mut lines, &set.recognizers, set, start, inputs, &ended);
        let synthesis = lay::<Synthesis>(&mut lines, &set.synthesizers, set, start, inputs, &ended);
        let dialog = lay::<Dialogue>(&mut lines, &set.dialogs, set, start, inputs, &ended);
        Self { recognition, synthesis, dialog, audio_dropped: AtomicU64::new(0), end, lines }
    }

    /// Does what an output of the call wants done with its engines, and gives back what is for others to do. The event
    /// that the call has taken note of a switch is for both.
    pub fn apply(&self, output: Output) -> Option<Output> {
        match output {
            Output::Recognizer(command) => self.recognizer(command),
            Output::Synthesizer(command) => self.synthesizer(command),
            Output::Dialog(command) => self.dialog(command),
            Output::FailOver { service, overdue } => self.fail_over(service, overdue),
            Output::Event(CallEvent::EngineSwitched { service, .. }) => {
                self.switched(service);
                return Some(output);
            }
            other => return Some(other),
        }
        None
    }

    /// Caller audio for the recogniser; `start_sample` is the position of the first sample.
    pub fn audio(&self, start_sample: i64, pcm: Arc<[i16]>) {
        let queue = &self.recognition.queue;
        let samples = pcm.len() as u64;
        // The recogniser's line looks at no generation: its ring keeps what the next engine needs.
        let audio = (0, RecognizerRequest::Audio { start_sample, pcm });
        if queue.capacity() <= COMMAND_PLACES || queue.try_send(audio).is_err() {
            self.audio_dropped.fetch_add(samples, Ordering::Relaxed);
        }
    }

    /// Samples of caller audio for which the recogniser's queue had no room.
    pub fn audio_dropped(&self) -> u64 {
        self.audio_dropped.load(Ordering::Relaxed)
    }

    /// To the recogniser.
    pub fn recognizer(&self, command: RecognizerCommand) {
        self.recognition.give(RecognizerRequest::Command(command));
    }

    /// To the synthesiser.
    pub fn synthesizer(&self, command: SynthesizerCommand) {
        self.synthesis.give(command);
    }

    /// To the dialogue.
    pub fn dialog(&self, command: DialogCommand) {
        self.dialog.give(command);
    }

    /// The engine of this service is late with `overdue`: take the next one. Answered by [`Input::EngineSwitched`] or
    /// [`Input::EnginesExhausted`].
    pub fn fail_over(&self, service: Service, overdue: &'static str) {
        match service {
            Service::Recognition => self.recognition.is_late(overdue),
            Service::Synthesis => self.synthesis.is_late(overdue),
            Service::Dialog => self.dialog.is_late(overdue),
        }
    }

    /// The call has taken note of an [`Input::EngineSwitched`]: what it says from now on is meant for the new engine.
    pub fn switched(&self, service: Service) {
        let generation = match service {
            Service::Recognition => &self.recognition.generation,
            Service::Synthesis => &self.synthesis.generation,
            Service::Dialog => &self.dialog.generation,
        };
        generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends all sessions, politely if the engines let themselves be ended within a second.
    pub async fn close(mut self) {
        // Lines that have ended already hear nothing, and need not.
        let _ = self.end.send(true);
        while self.lines.join_next().await.is_some() {}
    }
}

impl<Request> Entrance<Request> {
    fn give(&self, request: Request) {
        let generation = self.generation.load(Ordering::Relaxed);
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send((generation, request)) {
            self.is_late("the engine takes no more commands");
        }
    }

    fn is_late(&self, overdue: &'static str) {
        // If one is there already, that is enough.
        let _ = self.late.try_send((self.generation.load(Ordering::Relaxed), overdue));
    }
}

/// Starts the task of one service.
fn lay<K: Kind>(
    lines: &mut JoinSet<()>,
    engines: &[(String, Arc<K::Engine>)],
    set: &EngineSet,
    start: &SessionStart,
    inputs: &mpsc::Sender<Input>,
    end: &watch::Receiver<bool>,
) -> Entrance<K::Request> {
    let (queue, requests) = mpsc::channel(QUEUE);
    let (late, lateness) = mpsc::channel(1);
    let line = Line::<K>::new(engines.to_vec(), Arc::clone(&set.breakers), start.clone(), inputs.clone());
    lines.spawn(line.run(requests, lateness, end.clone()));
    Entrance { queue, late, generation: AtomicU32::new(0) }
}
