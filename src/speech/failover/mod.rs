//! Fail-over: the engines of one call, each service with its list of candidates in order of preference.
//!
//! ```text
//! CallEngines ──▶ line (one task a service) ──▶ session of the engine in use
//!      ▲               │ breaks, or is late: the next candidate, given what it needs to go on
//!      └── call::Input ◀┘
//! ```
//!
//! An engine that failed is passed over for a while by all calls ([`Breaker`]). The call is told of every switch, and
//! says when it has taken note ([`CallEngines::accepted`]): commands from before that were meant for the old engine.

mod breaker;
mod line;
mod service;
#[cfg(test)]
mod tests;

use super::{Dialog, Recognizer, SessionStart, Synthesizer};
use crate::call::{CallId, DialogCommand, Input, RecognizerCommand, Service, SynthesizerCommand};
use breaker::Breaker;
use line::Work;
use service::{DialogService, EngineService, RecognitionService, SynthesisService};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Work that may wait for a line: five seconds of audio. When full, audio is dropped and counted, and whoever gives a
/// command waits; the line reads all the time, but for the second that an engine may take to accept a request.
const QUEUE: usize = 256;

/// An engine under its configured name, and how well it does. Clones share that knowledge.
pub struct Candidate<E: ?Sized> {
    name: Arc<str>,
    engine: Arc<E>,
    breaker: Arc<Breaker>,
}

impl<E: ?Sized> Candidate<E> {
    /// An engine that has not failed yet.
    pub fn new(name: &str, engine: Arc<E>) -> Self {
        Self { name: name.into(), engine, breaker: Arc::default() }
    }
}

impl<E: ?Sized> Clone for Candidate<E> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), engine: Arc::clone(&self.engine), breaker: Arc::clone(&self.breaker) }
    }
}

impl<E: ?Sized> fmt::Debug for Candidate<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Candidate({})", self.name)
    }
}

/// The engines that a bot may use, each list in order of preference.
#[derive(Clone, Debug, Default)]
pub struct EngineSet {
    /// Speech to text.
    pub recognizers: Vec<Candidate<dyn Recognizer>>,
    /// Text to speech.
    pub synthesizers: Vec<Candidate<dyn Synthesizer>>,
    /// What to say next.
    pub dialogs: Vec<Candidate<dyn Dialog>>,
}

/// The engines of one call.
#[derive(Debug)]
pub struct CallEngines {
    recognition: mpsc::Sender<Work<super::RecognizerRequest>>,
    synthesis: mpsc::Sender<Work<SynthesizerCommand>>,
    dialog: mpsc::Sender<Work<DialogCommand>>,
    audio_dropped: Arc<AtomicU64>,
    call: CallId,
    lines: TaskTracker,
}

/// Gives caller audio to the recogniser of one call.
#[derive(Clone, Debug)]
pub struct AudioSender {
    recognition: mpsc::Sender<Work<super::RecognizerRequest>>,
    dropped: Arc<AtomicU64>,
}

impl AudioSender {
    /// Hands over samples; `start_sample` is the position of the first. Never waits: what the recogniser has no room for is
    /// dropped and counted, and its position tells the engine of the gap.
    pub fn audio(&self, start_sample: i64, pcm: Arc<[i16]>) {
        let samples = pcm.len() as u64;
        let request = super::RecognizerRequest::Audio { start_sample, pcm };
        if self.recognition.try_send(Work::Request(request)).is_err() {
            self.dropped.fetch_add(samples, Ordering::Relaxed);
        }
    }
}

impl CallEngines {
    /// Starts opening a session of the first engine of each service and returns at once; commands given meanwhile wait.
    /// What the engines say goes to `inputs`.
    pub fn open(engines: &EngineSet, start: SessionStart, inputs: mpsc::Sender<Input>) -> Self {
        let (lines, audio_dropped) = (TaskTracker::new(), Arc::default());
        let call = start.call.clone();
        let recognition =
            open_line::<RecognitionService>(&engines.recognizers, &start, &inputs, &audio_dropped, &lines);
        let synthesis = open_line::<SynthesisService>(&engines.synthesizers, &start, &inputs, &audio_dropped, &lines);
        let dialog = open_line::<DialogService>(&engines.dialogs, &start, &inputs, &audio_dropped, &lines);
        lines.close();
        Self { recognition, synthesis, dialog, audio_dropped, call, lines }
    }

    /// The entrance for caller audio.
    pub fn audio_sender(&self) -> AudioSender {
        AudioSender { recognition: self.recognition.clone(), dropped: Arc::clone(&self.audio_dropped) }
    }

    /// To the recogniser.
    pub async fn recognizer(&self, command: RecognizerCommand) {
        give(&self.recognition, Work::Request(super::RecognizerRequest::Command(command))).await;
    }

    /// To the synthesiser.
    pub async fn synthesizer(&self, command: SynthesizerCommand) {
        give(&self.synthesis, Work::Request(command)).await;
    }

    /// To the dialogue.
    pub async fn dialog(&self, command: DialogCommand) {
        give(&self.dialog, Work::Request(command)).await;
    }

    /// The engine of this service is late: take the next one, if there is one.
    pub async fn fail_over(&self, service: Service, overdue: &'static str) {
        match service {
            Service::Recognition => give(&self.recognition, Work::FailOver(overdue)).await,
            Service::Synthesis => give(&self.synthesis, Work::FailOver(overdue)).await,
            Service::Dialog => give(&self.dialog, Work::FailOver(overdue)).await,
        }
    }

    /// The call has taken note of a switch: what follows is meant for the new engine.
    pub async fn accepted(&self, service: Service) {
        match service {
            Service::Recognition => give(&self.recognition, Work::Accepted).await,
            Service::Synthesis => give(&self.synthesis, Work::Accepted).await,
            Service::Dialog => give(&self.dialog, Work::Accepted).await,
        }
    }

    /// Ends all sessions, politely if they let themselves be ended within a short while. Returns, and logs if there are
    /// any, how many samples of caller audio the recogniser had no room for.
    pub async fn close(self) -> u64 {
        let Self { recognition, synthesis, dialog, audio_dropped, call, lines } = self;
        drop((recognition, synthesis, dialog));
        lines.wait().await;
        let samples = audio_dropped.load(Ordering::Relaxed);
        if samples > 0 {
            warn!(%call, samples, "the recogniser had no room for some of the caller's audio: dropped");
        }
        samples
    }
}

/// Starts the task of one service.
fn open_line<S: EngineService>(
    candidates: &[Candidate<S::Engine>],
    start: &SessionStart,
    inputs: &mpsc::Sender<Input>,
    audio_dropped: &Arc<AtomicU64>,
    lines: &TaskTracker,
) -> mpsc::Sender<Work<S::Request>> {
    let (sender, work) = mpsc::channel(QUEUE);
    lines.spawn(line::run::<S>(candidates.to_vec(), start.clone(), work, inputs.clone(), Arc::clone(audio_dropped)));
    sender
}

async fn give<T>(line: &mpsc::Sender<Work<T>>, work: Work<T>) {
    // A line ends only after its senders, so the error cannot occur while the call lives.
    let _ = line.send(work).await;
}
