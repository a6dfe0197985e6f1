//! Fail-over: the engines of one call, each service with its list of candidates in order of preference.
//!
//! ```text
//! CallEngines ──▶ line (one task a service) ──▶ session of the engine in use
//!      ▲               │ breaks, or is late: the next candidate, given what it needs to go on
//!      └── call::Input ◀┘
//! ```
//!
//! Caller audio goes beside the line, from [`AudioSender`] straight into the session, as long as the session keeps up.
//!
//! An engine that failed is passed over for a while by all calls ([`Breaker`]). The call is told of every switch, and
//! says when it has taken note ([`CallEngines::accepted`]): commands from before that were meant for the old engine.

mod blocks;
mod breaker;
mod line;
mod recognition;
mod ring;
mod service;
#[cfg(test)]
mod tests;

use super::{Dialog, Recognizer, SessionStart, Synthesizer, queue};
use crate::call::{CallId, DialogCommand, Input, RecognizerCommand, Service, SynthesizerCommand};
use breaker::Breaker;
use line::Work;
use recognition::{CallerAudio, RecognitionService};
use service::{DialogService, EngineService, SynthesisService};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// Work that may wait for a line. When full, whoever gives a command waits; the line reads all the time, but for the second
/// that an engine may take to accept a request.
const QUEUE: usize = 32;

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
    recognition: queue::Sender<Work<RecognizerCommand>>,
    synthesis: queue::Sender<Work<SynthesizerCommand>>,
    dialog: queue::Sender<Work<DialogCommand>>,
    audio: Arc<CallerAudio>,
    call: CallId,
    lines: TaskTracker,
}

/// Gives caller audio to the recogniser of one call.
#[derive(Clone, Debug)]
pub struct AudioSender(Arc<CallerAudio>);

impl AudioSender {
    /// Hands over samples; `start_sample` is the position of the first. Never waits: audio for which the recogniser has no
    /// room waits for ten seconds, then it is dropped and counted, and positions tell the engine of the gap.
    pub fn audio(&self, start_sample: i64, pcm: &[i16]) {
        self.0.push(start_sample, pcm);
    }
}

impl CallEngines {
    /// Starts opening a session of the first engine of each service and returns at once; commands given meanwhile wait.
    /// What the engines say goes to `inputs`. An utterance that is noticed now may have begun `reach` ago: so much audio is
    /// kept for a session that has not begun yet.
    pub fn open(engines: &EngineSet, start: SessionStart, reach: Duration, inputs: queue::Sender<Input>) -> Self {
        let lines = TaskTracker::new();
        let call = start.call.clone();
        let audio = CallerAudio::new(&start, reach);
        let recognizing = RecognitionService(Arc::clone(&audio));
        let recognition = open_line(recognizing, &engines.recognizers, &start, &inputs, &lines);
        let synthesis = open_line(SynthesisService::default(), &engines.synthesizers, &start, &inputs, &lines);
        let dialog = open_line(DialogService::default(), &engines.dialogs, &start, &inputs, &lines);
        lines.close();
        Self { recognition, synthesis, dialog, audio, call, lines }
    }

    /// The entrance for caller audio.
    pub fn audio_sender(&self) -> AudioSender {
        AudioSender(Arc::clone(&self.audio))
    }

    /// To the recogniser.
    pub async fn recognizer(&self, command: RecognizerCommand) {
        give(&self.recognition, Work::Command(command)).await;
    }

    /// To the synthesiser.
    pub async fn synthesizer(&self, command: SynthesizerCommand) {
        give(&self.synthesis, Work::Command(command)).await;
    }

    /// To the dialogue.
    pub async fn dialog(&self, command: DialogCommand) {
        give(&self.dialog, Work::Command(command)).await;
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
        let Self { recognition, synthesis, dialog, audio, call, lines } = self;
        drop((recognition, synthesis, dialog));
        lines.wait().await;
        let samples = audio.dropped();
        if samples > 0 {
            warn!(%call, samples, "the recogniser had no room for some of the caller's audio: dropped");
        }
        samples
    }
}

/// Starts the task of one service.
fn open_line<S: EngineService>(
    service: S,
    candidates: &[Candidate<S::Engine>],
    start: &SessionStart,
    inputs: &queue::Sender<Input>,
    lines: &TaskTracker,
) -> queue::Sender<Work<S::Command>> {
    let (sender, work) = queue::bounded(QUEUE);
    lines.spawn(line::run(service, candidates.to_vec(), start.clone(), work, inputs.clone()));
    sender
}

async fn give<T>(line: &queue::Sender<Work<T>>, work: Work<T>) {
    // A line ends only after its senders, so the error cannot occur while the call lives.
    let _ = line.send(work).await;
}
