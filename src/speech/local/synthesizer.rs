//! The synthesiser of this process: Piper, sentence by sentence and chunk by chunk.
//!
//! Each step (rhythm and melody of a sentence, then one chunk of audio after the other) is a job of its own, so that
//! calls take turns on the pool's threads and a cancelled reply costs at most the chunk that is being computed.

mod clauses;
mod reply;
#[cfg(test)]
mod tests;

use super::piper::{Latent, Phonemizer, Voice};
use super::pool::{InferencePool, JobThread};
use crate::audio::SampleRate;
use crate::call::{ReplyId, SynthesizerCommand, SynthesizerEvent};
use crate::speech::{EngineError, SessionStart, Synthesizer, SynthesizerSession, queue};
use async_trait::async_trait;
use clauses::SpokenClauses;
use futures_util::future::BoxFuture;
use reply::{Reply, Speech, StepError};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Commands that wait for the session. When full the sender waits; a call takes an engine that lets it wait for a second
/// as failed.
const COMMANDS: usize = 64;
/// Events that wait for the call. When full, further ones wait in the session's outbox, and nothing is computed until that
/// is empty.
const EVENTS: usize = 64;
/// Events in the outbox, which one step fills with at most a clause, from which on no command is read: each could add one.
const OUTBOX: usize = 1024;
/// Commands that wait for a step to end, because they are for the reply it works on. When full no further one is read, not
/// even a cancel, until the step has ended, a fraction of a second later.
const LATER: usize = 64;
/// Replies that are not finished. A call has one at a time and cancels what it no longer wants; one more ends the session
/// with an error, and the call takes its next engine.
const REPLIES: usize = 16;
/// Pieces of text of one reply that are not spoken yet: hours of speech. One more ends the session with an error.
const CLAUSES: usize = 4096;

/// Piper behind the trait of all synthesisers.
#[derive(Debug)]
pub struct LocalSynthesizer {
    speaker: Arc<dyn Speaker>,
    pool: Arc<InferencePool>,
    spoken: Arc<SpokenClauses>,
}

/// What turns sentences into audio, on a thread of the pool. Shared by all calls.
trait Speaker: fmt::Debug + Send + Sync {
    /// Rate of the audio.
    fn rate(&self) -> SampleRate;
    /// The beginning of a sentence; `None` if there is nothing to say.
    fn begin(&self, sentence: &str, thread: &JobThread) -> Result<Option<Begun>, StepError>;
    /// The audio of some frames.
    fn decode(&self, latent: &Latent, frames: Range<usize>, thread: &JobThread) -> Result<Vec<i16>, StepError>;
}

/// A sentence that has been begun: its latent, the chunks that are left, and the audio of the first.
type Begun = (Latent, VecDeque<Range<usize>>, Vec<i16>);

#[derive(Debug)]
struct Piper {
    phonemizer: Phonemizer,
    voice: Voice,
}

impl Speaker for Piper {
    fn rate(&self) -> SampleRate {
        self.voice.rate()
    }

    fn begin(&self, sentence: &str, thread: &JobThread) -> Result<Option<Begun>, StepError> {
        let phonemes = self.phonemizer.phonemes(sentence)?;
        if phonemes.is_empty() {
            return Ok(None);
        }
        let latent = self.voice.latent(&phonemes, thread)?;
        let mut chunks: VecDeque<_> = latent.chunks().collect();
        let Some(first) = chunks.pop_front() else { return Ok(None) };
        let pcm = self.voice.decode(&latent, first, thread)?;
        Ok(Some((latent, chunks, pcm)))
    }

    fn decode(&self, latent: &Latent, frames: Range<usize>, thread: &JobThread) -> Result<Vec<i16>, StepError> {
        Ok(self.voice.decode(latent, frames, thread)?)
    }
}

impl LocalSynthesizer {
    /// A synthesiser that computes on `pool`.
    pub fn new(phonemizer: Phonemizer, voice: Voice, pool: Arc<InferencePool>) -> Self {
        Self::with_speaker(Arc::new(Piper { phonemizer, voice }), pool)
    }

    fn with_speaker(speaker: Arc<dyn Speaker>, pool: Arc<InferencePool>) -> Self {
        Self { speaker, pool, spoken: Arc::default() }
    }
}

#[async_trait]
impl Synthesizer for LocalSynthesizer {
    /// Opens a session. Only English is spoken.
    async fn open(&self, start: SessionStart) -> Result<SynthesizerSession, EngineError> {
        super::require_english(&start.language, "synthesiser")?;
        let (requests, incoming) = queue::bounded(COMMANDS);
        let (outgoing, events) = queue::bounded(EVENTS);
        let session = SessionState {
            speech: Speech {
                speaker: Arc::clone(&self.speaker),
                pool: Arc::clone(&self.pool),
                spoken: Arc::clone(&self.spoken),
                rate: start.rate,
            },
            replies: VecDeque::new(),
            outbox: VecDeque::new(),
            cancelled: None,
        };
        tokio::spawn(session.run(incoming, outgoing));
        Ok(SynthesizerSession { requests, events })
    }
}

/// A step of the first reply: the reply comes back with what the step made.
type Step = BoxFuture<'static, Result<(Reply, Vec<SynthesizerEvent>), StepError>>;

struct SessionState {
    speech: Speech,
    /// Those that are not finished, in order; at most [`REPLIES`]. The first one is missing while a step works on it.
    replies: VecDeque<Reply>,
    /// Events that the channel had no room for yet.
    outbox: VecDeque<SynthesizerEvent>,
    /// The reply that was cancelled last: text for it that was on its way is not spoken.
    cancelled: Option<ReplyId>,
}

/// A step that is being computed.
struct Running {
    reply: ReplyId,
    step: Step,
    /// Commands for the reply that came meanwhile; at most [`LATER`].
    later: Vec<SynthesizerCommand>,
}

impl SessionState {
    /// Serves commands until they end, then speaks what is left. An error ends the session.
    async fn run(
        mut self,
        mut commands: queue::Receiver<SynthesizerCommand>,
        events: queue::Sender<Result<SynthesizerEvent, EngineError>>,
    ) {
        let mut running: Option<Running> = None;
        let mut finishing = false;
        loop {
            // Nothing is computed ahead of a call that does not take what is there.
            if running.is_none() && self.outbox.is_empty() {
                running = self.next_step();
            }
            if finishing && running.is_none() && self.outbox.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                command = commands.recv(), if !finishing && self.has_room(running.as_ref()) => {
                    let accepted = match command {
                        Some(command) => self.accept(command, &mut running),
                        None => {
                            finishing = true;
                            Ok(())
                        }
                    };
                    if let Err(error) = accepted {
                        return end(&events, error).await;
                    }
                }
                permit = events.reserve(), if !self.outbox.is_empty() => match (permit, self.outbox.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(Ok(event)),
                    _ => return,
                },
                () = events.closed() => return,
                (later, result) = next(&mut running) => {
                    let finished = match result {
                        Ok((reply, made)) => self.finish_step(reply, made, later),
                        Err(error) => Err(super::local_error(error)),
                    };
                    if let Err(error) = finished {
                        return end(&events, error).await;
                    }
                }
            }
        }
    }

    /// Whether a further command can be taken in.
    fn has_room(&self, running: Option<&Running>) -> bool {
        self.outbox.len() < OUTBOX && running.is_none_or(|running| running.later.len() < LATER)
    }

    /// Begins the next step of the first reply that has something to do.
    fn next_step(&mut self) -> Option<Running> {
        let index = self.replies.iter().position(Reply::has_work)?;
        let reply = self.replies.remove(index)?;
        Some(Running { reply: reply.id(), step: Box::pin(reply.step(self.speech.clone())), later: Vec::new() })
    }

    fn finish_step(
        &mut self,
        reply: Reply,
        made: Vec<SynthesizerEvent>,
        later: Vec<SynthesizerCommand>,
    ) -> Result<(), EngineError> {
        self.outbox.extend(made);
        if !reply.is_done() {
            self.replies.push_front(reply);
        }
        later.into_iter().try_for_each(|command| self.apply(command))
    }

    fn accept(&mut self, command: SynthesizerCommand, running: &mut Option<Running>) -> Result<(), EngineError> {
        let of = reply_of(&command);
        match (running.as_mut().filter(|running| running.reply == of), command) {
            (at_work, SynthesizerCommand::Cancel { reply, .. }) => {
                // Its step is no longer waited for: if it has not begun it never will.
                if at_work.is_some() {
                    *running = None;
                }
                self.cancel(reply);
            }
            (Some(running), command) => running.later.push(command),
            (None, command) => return self.apply(command),
        }
        Ok(())
    }

    /// Takes in a command for a reply on which no step works.
    fn apply(&mut self, command: SynthesizerCommand) -> Result<(), EngineError> {
        match command {
            SynthesizerCommand::Text { reply, .. } | SynthesizerCommand::Flush { reply }
                if self.cancelled == Some(reply) => {}
            SynthesizerCommand::Text { reply, text } => {
                let reply = self.reply(reply)?;
                if reply.clauses_left() >= CLAUSES {
                    return Err(EngineError::Local(format!("{CLAUSES} pieces of text wait to be spoken in one reply")));
                }
                reply.push_text(text);
            }
            SynthesizerCommand::Flush { reply } => self.reply(reply)?.flush(),
            // The bounded channel of events is back-pressure enough for a reply of some sentences.
            SynthesizerCommand::Playback { .. } => {}
            SynthesizerCommand::Cancel { reply, .. } => self.cancel(reply),
        }
        Ok(())
    }

    /// The reply of this id, which may be a new one.
    fn reply(&mut self, id: ReplyId) -> Result<&mut Reply, EngineError> {
        let known = self.replies.iter().position(|reply| reply.id() == id);
        if known.is_none() {
            if self.replies.len() >= REPLIES {
                return Err(EngineError::Local(format!("{REPLIES} replies wait to be spoken")));
            }
            self.replies.push_back(Reply::new(id));
        }
        let index = known.unwrap_or(self.replies.len() - 1);
        Ok(&mut self.replies[index])
    }

    fn cancel(&mut self, id: ReplyId) {
        self.cancelled = Some(id);
        self.replies.retain(|reply| reply.id() != id);
        self.outbox.retain(|event| reply_of_event(event) != id);
        self.outbox.push_back(SynthesizerEvent::Cancelled { reply: id });
    }
}

/// Ends the session with an error.
async fn end(events: &queue::Sender<Result<SynthesizerEvent, EngineError>>, error: EngineError) {
    // Whoever closed the channel knows that the session is over.
    let _ = events.send(Err(error)).await;
}

/// The result of the step, with the commands that came meanwhile; never, if there is none.
async fn next(
    running: &mut Option<Running>,
) -> (Vec<SynthesizerCommand>, Result<(Reply, Vec<SynthesizerEvent>), StepError>) {
    let Some(at_work) = running else { return std::future::pending().await };
    let result = (&mut at_work.step).await;
    (running.take().map(|running| running.later).unwrap_or_default(), result)
}

fn reply_of(command: &SynthesizerCommand) -> ReplyId {
    match command {
        SynthesizerCommand::Text { reply, .. }
        | SynthesizerCommand::Flush { reply }
        | SynthesizerCommand::Playback { reply, .. }
        | SynthesizerCommand::Cancel { reply, .. } => *reply,
    }
}

fn reply_of_event(event: &SynthesizerEvent) -> ReplyId {
    match event {
        SynthesizerEvent::Audio { reply, .. }
        | SynthesizerEvent::Mark { reply, .. }
        | SynthesizerEvent::Done { reply }
        | SynthesizerEvent::Cancelled { reply } => *reply,
    }
}
