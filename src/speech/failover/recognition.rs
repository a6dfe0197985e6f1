//! Recognition: the caller's audio on its way to the recogniser in use.
//!
//! While the session keeps up, whoever has the audio puts it straight into the session: no task in between. All that a
//! next session may need is kept in a [`Ring`], and the line's task sends from there what the session had no room for.
//! Commands find their place by their position: the two come by different ways.

use super::ring::Ring;
use super::service::EngineService;
use crate::audio::SampleRate;
use crate::call::{Input, RecognizerCommand, RecognizerEvent, Service, UtteranceIndex};
use crate::speech::queue::{self, NoRoom};
use crate::speech::{EngineError, Recognizer, RecognizerRequest, RecognizerSession, SessionStart};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Audio that is kept at most, for a session that is being opened and for the next one. Beyond it the oldest is forgotten, and
/// counted as dropped if the session has not had it.
const KEPT: Duration = Duration::from_secs(10);

/// The audio of an utterance may be here so much earlier than the command that begins it.
const COMMAND_DELAY: Duration = Duration::from_millis(200);

/// The audio of one call, shared by the line and whoever brings the audio.
#[derive(Debug)]
pub(super) struct CallerAudio {
    stream: Mutex<Stream>,
    /// There is something to send, and the session had no room for it.
    behind: Notify,
}

#[derive(Debug)]
struct Stream {
    ring: Ring,
    rate: SampleRate,
    /// The recent past that a new session gets in any case, in samples: an utterance may be about to begin whose pre-roll has
    /// passed already.
    recent: i64,
    /// The session in use.
    session: Option<queue::Sender<RecognizerRequest>>,
    /// Position up to which it has the audio.
    sent: i64,
    /// Commands that it has not got, in order.
    waiting: VecDeque<RecognizerCommand>,
    /// Begin and end of utterances that are not final, in order: what the next session would need.
    unfinished: Vec<RecognizerCommand>,
    /// No session will ever want any of this.
    over: bool,
    dropped: u64,
}

impl CallerAudio {
    /// For a call whose utterances are noticed up to `reach` after they have begun.
    pub(super) fn new(start: &SessionStart, reach: Duration) -> Arc<Self> {
        let stream = Stream {
            ring: Ring::new(start.rate, start.law),
            rate: start.rate,
            recent: start.rate.samples_in(reach + COMMAND_DELAY),
            session: None,
            sent: 0,
            waiting: VecDeque::new(),
            unfinished: Vec::new(),
            over: false,
            dropped: 0,
        };
        Arc::new(Self { stream: Mutex::new(stream), behind: Notify::new() })
    }

    /// Takes in what the caller says. Never waits.
    pub(super) fn push(&self, start_sample: i64, pcm: &[i16]) {
        if self.lock().push(start_sample, pcm) == Progress::Behind {
            self.behind.notify_one();
        }
    }

    /// Samples that no session had room for.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Held for less than a microsecond, by the pump and the call's own line: not by a media worker.
    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the session has all that it can have now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    UpToDate,
    Behind,
}

impl Stream {
    fn push(&mut self, start_sample: i64, pcm: &[i16]) -> Progress {
        if self.over {
            return Progress::UpToDate;
        }
        let end = self.ring.end();
        self.ring.push(start_sample, pcm);
        let up_to_date = self.sent >= end && self.waiting.is_empty() && start_sample >= end;
        let progress = match &self.session {
            None => Progress::UpToDate,
            // As it came, without a way through the ring.
            Some(session) if up_to_date => {
                match session.try_send(RecognizerRequest::Audio { start_sample, pcm: pcm.into() }) {
                    Ok(()) => {
                        self.sent = self.ring.end();
                        Progress::UpToDate
                    }
                    Err(NoRoom::Full) => Progress::Behind,
                    // Its end is in its events, which the line reads.
                    Err(NoRoom::Closed) => Progress::UpToDate,
                }
            }
            Some(_) => self.send_what_fits(),
        };
        self.forget();
        progress
    }

    /// Forgets what no session will want.
    fn forget(&mut self) {
        let end = self.ring.end();
        let begun = self.unfinished.iter().find_map(begin_of).unwrap_or(end);
        let begun = begun - begun.rem_euclid(self.rate.frame_samples() as i64);
        let wanted = begun.min(self.sent).min(end - self.recent);
        let kept = wanted.max(end - self.rate.samples_in(KEPT));
        self.dropped += self.ring.count(self.sent..kept);
        self.ring.forget_before(kept);
    }

    fn send_what_fits(&mut self) -> Progress {
        let Some(session) = self.session.clone() else { return Progress::UpToDate };
        while self.next() != Next::Nothing {
            match session.try_reserve() {
                Ok(permit) => self.send_next(permit),
                Err(NoRoom::Full) => return Progress::Behind,
                Err(NoRoom::Closed) => break,
            }
        }
        Progress::UpToDate
    }

    /// What the session gets next: a command when all audio before its position has been sent.
    fn next(&self) -> Next {
        let audio = self.ring.first_from(self.sent);
        let Some(command) = self.waiting.front() else {
            return audio.map_or(Next::Nothing, |_| Next::Audio);
        };
        match position_of(command) {
            Some(limit) if audio.is_some_and(|position| position < limit) => Next::Audio,
            // The end of an utterance waits for its audio. With another command behind it, that was lost on the way.
            Some(position) if position > self.ring.end() && self.waiting.len() == 1 => Next::Nothing,
            _ => Next::Command,
        }
    }

    fn send_next(&mut self, permit: queue::Permit<'_, RecognizerRequest>) {
        match self.next() {
            Next::Audio => {
                if let Some((start_sample, pcm)) = self.ring.frame(self.sent) {
                    self.sent = start_sample + pcm.len() as i64;
                    permit.send(RecognizerRequest::Audio { start_sample, pcm });
                }
            }
            Next::Command => {
                if let Some(command) = self.waiting.pop_front() {
                    permit.send(RecognizerRequest::Command(command));
                }
            }
            Next::Nothing => {}
        }
    }

    fn take(&mut self, command: RecognizerCommand) {
        match command {
            RecognizerCommand::BeginUtterance { .. } | RecognizerCommand::EndUtterance { .. } => {
                self.unfinished.push(command.clone());
                self.waiting.push_back(command);
            }
            RecognizerCommand::DiscardUtterance { utterance } => {
                self.unfinished.retain(|unfinished| utterance_of(unfinished) != utterance);
                let unknown = self.waiting.iter().any(|c| begin_of(c).is_some() && utterance_of(c) == utterance);
                self.waiting.retain(|waiting| utterance_of(waiting) != utterance);
                if !unknown {
                    self.waiting.push_back(command);
                }
            }
        }
    }

    /// Stands where the old session stood, as it was the first time: a command comes when all audio before its position has
    /// been sent, and not much later.
    fn rewind(&mut self) {
        self.waiting = self.unfinished.clone().into();
        let recent = self.ring.end() - self.recent;
        let first = self.unfinished.iter().find_map(begin_of).unwrap_or(recent);
        // Whole frames, as they came.
        self.sent = first - first.rem_euclid(self.rate.frame_samples() as i64);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Command,
    Audio,
}

/// The sample before which all audio comes first; `None` if there is no such.
const fn position_of(command: &RecognizerCommand) -> Option<i64> {
    match command {
        RecognizerCommand::BeginUtterance { start_sample, .. } => Some(*start_sample),
        RecognizerCommand::EndUtterance { end_sample, .. } => Some(*end_sample),
        RecognizerCommand::DiscardUtterance { .. } => None,
    }
}

const fn begin_of(command: &RecognizerCommand) -> Option<i64> {
    match command {
        RecognizerCommand::BeginUtterance { start_sample, .. } => Some(*start_sample),
        _ => None,
    }
}

const fn utterance_of(command: &RecognizerCommand) -> UtteranceIndex {
    match command {
        RecognizerCommand::BeginUtterance { utterance, .. }
        | RecognizerCommand::EndUtterance { utterance, .. }
        | RecognizerCommand::DiscardUtterance { utterance } => *utterance,
    }
}

/// The line's side of [`CallerAudio`].
pub(super) struct RecognitionService(pub(super) Arc<CallerAudio>);

impl EngineService for RecognitionService {
    const SERVICE: Service = Service::Recognition;
    /// The new session gets them from here.
    const REPEATED_BY_CALL: bool = false;
    type Engine = dyn Recognizer;
    type Command = RecognizerCommand;
    type Request = RecognizerRequest;
    type Event = RecognizerEvent;

    async fn open(engine: &Self::Engine, start: SessionStart) -> Result<RecognizerSession, EngineError> {
        engine.open(start).await
    }

    fn input(event: RecognizerEvent) -> Input {
        Input::Recognizer(event)
    }

    fn take(&mut self, command: RecognizerCommand) {
        self.0.lock().take(command);
    }

    fn commands_waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }

    fn forget_commands(&mut self) {
        self.0.lock().waiting.clear();
    }

    fn incoming(&mut self, event: &RecognizerEvent) {
        if let RecognizerEvent::UtteranceEnded { utterance } = event {
            self.0.lock().unfinished.retain(|unfinished| utterance_of(unfinished) != *utterance);
        }
    }

    fn attach(&mut self, session: &queue::Sender<RecognizerRequest>, switched: bool) {
        let mut stream = self.0.lock();
        if switched {
            stream.rewind();
        }
        stream.session = Some(session.clone());
    }

    fn detach(&mut self) {
        self.0.lock().session = None;
    }

    fn end(&mut self) {
        let mut stream = self.0.lock();
        stream.over = true;
        let end = stream.ring.end();
        stream.ring.forget_before(end);
    }

    fn has_next(&self) -> bool {
        self.0.lock().next() != Next::Nothing
    }

    fn send_next(&mut self, permit: queue::Permit<'_, RecognizerRequest>) {
        self.0.lock().send_next(permit);
    }

    async fn behind(&self) {
        self.0.behind.notified().await;
    }
}
