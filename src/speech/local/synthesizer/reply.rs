//! One reply on its way from text to audio.

use super::Speaker;
use super::clauses::{Found, Recording, SpokenClauses};
use crate::audio::{Resampler, SampleRate};
use crate::call::{ReplyId, SynthesizerEvent};
use crate::speech::local::piper::{Latent, PhonemeError, PiperError, sentences};
use crate::speech::local::pool::{Admission, InferencePool, JobThread, PoolError};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How much audio an event carries at most.
const PIECE: Duration = Duration::from_millis(40);
/// Silence that is left before the first sound of a sentence. The voice begins with up to 60 ms of it, and a caller
/// who waits for an answer hears each of them as delay.
const LEAD_IN: Duration = Duration::from_millis(10);
/// A sample louder than this is sound: −40 dB.
const SOUND: u16 = 328;

/// What every step needs.
#[derive(Clone)]
pub(super) struct Speech {
    pub(super) speaker: Arc<dyn Speaker>,
    pub(super) pool: Arc<InferencePool>,
    /// What was spoken before, by all calls.
    pub(super) spoken: Arc<SpokenClauses>,
    /// Rate of the call.
    pub(super) rate: SampleRate,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Phonemes(#[from] PhonemeError),
    #[error(transparent)]
    Voice(#[from] PiperError),
}

/// A reply: what is still to be said, and how far it has come.
#[derive(Debug)]
pub(super) struct Reply {
    id: ReplyId,
    clauses: VecDeque<Clause>,
    /// The sentence that is being decoded.
    speaking: Option<Speaking>,
    /// No further text comes.
    flushed: bool,
    done: bool,
    /// Samples given out so far, at the rate of the call.
    position: i64,
    /// Characters of the text that were turned into audio.
    spoken: usize,
}

/// A stretch of text as it was sent; the sentences that are left of it.
#[derive(Debug)]
struct Clause {
    text: String,
    sentences: VecDeque<String>,
    characters: usize,
    /// It was begun, so that it is too late to look whether it was spoken before.
    begun: bool,
    /// What has been made of it, if it is to be kept.
    recording: Option<Recording>,
}

impl Clause {
    fn new(text: String) -> Self {
        let sentences = sentences(&text).map(str::to_owned).collect();
        let characters = text.chars().count();
        Self { text, sentences, characters, begun: false, recording: None }
    }
}

#[derive(Debug)]
struct Speaking {
    latent: Arc<Latent>,
    chunks: VecDeque<Range<usize>>,
    resampler: Resampler,
    /// No sound has been heard yet.
    leading: bool,
}

impl Reply {
    pub(super) fn new(id: ReplyId) -> Self {
        Self { id, clauses: VecDeque::new(), speaking: None, flushed: false, done: false, position: 0, spoken: 0 }
    }

    pub(super) fn id(&self) -> ReplyId {
        self.id
    }

    pub(super) fn push_text(&mut self, text: String) {
        self.clauses.push_back(Clause::new(text));
    }

    /// Pieces of text of which something is left to be spoken.
    pub(super) fn clauses_left(&self) -> usize {
        self.clauses.len()
    }

    pub(super) fn flush(&mut self) {
        self.flushed = true;
    }

    /// Whether [`Self::step`] would do something.
    pub(super) fn has_work(&self) -> bool {
        self.speaking.is_some() || !self.clauses.is_empty() || (self.flushed && !self.done)
    }

    /// All has been said and announced.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Takes the reply one job further, or a whole clause if it was spoken before; returns it with what is to be sent.
    pub(super) async fn step(mut self, speech: Speech) -> Result<(Self, Vec<SynthesizerEvent>), StepError> {
        let mut events = Vec::new();
        if let Some(speaking) = self.speaking.take() {
            self.decode(speaking, &speech, &mut events).await?;
        } else {
            self.begin_clause(&speech, &mut events).await;
            if let Some(sentence) = self.clauses.front_mut().and_then(|clause| clause.sentences.pop_front()) {
                self.begin_sentence(sentence, &speech, &mut events).await?;
            }
        }
        self.end_clauses(&mut events);
        Ok((self, events))
    }

    /// Gives out the next clause if it was spoken before, or sees to it that it is kept for the next time.
    async fn begin_clause(&mut self, speech: &Speech, events: &mut Vec<SynthesizerEvent>) {
        let next = self.clauses.front_mut().filter(|clause| !clause.begun && !clause.sentences.is_empty());
        let Some(clause) = next else { return };
        clause.begun = true;
        match speech.spoken.find(&clause.text, speech.rate).await {
            Found::Spoken(pcm) => {
                clause.sentences.clear();
                self.emit(&pcm, speech.rate, events);
            }
            Found::Missing(recording) => clause.recording = Some(recording),
            Found::Late => {}
        }
    }

    /// Rhythm and melody of the next sentence, and its first chunk in the same job, so that the first sound waits once.
    async fn begin_sentence(
        &mut self,
        sentence: String,
        speech: &Speech,
        events: &mut Vec<SynthesizerEvent>,
    ) -> Result<(), StepError> {
        // Only the beginning of a reply may be refused: one that is cut in the middle is worse than one that comes
        // late.
        let admission = if self.position == 0 { Admission::New } else { Admission::Continuing };
        let speaker = Arc::clone(&speech.speaker);
        let begun = speech.pool.run(admission, move |thread| speaker.begin(&sentence, thread)).await??;
        if let Some((latent, chunks, pcm)) = begun {
            let resampler = Resampler::new(speech.speaker.rate(), speech.rate);
            let speaking = Speaking { latent: Arc::new(latent), chunks, resampler, leading: true };
            self.give_out(speaking, pcm, speech.rate, events);
        }
        Ok(())
    }

    /// The next chunk of the sentence.
    async fn decode(
        &mut self,
        mut speaking: Speaking,
        speech: &Speech,
        events: &mut Vec<SynthesizerEvent>,
    ) -> Result<(), StepError> {
        if let Some(frames) = speaking.chunks.pop_front() {
            let (speaker, latent) = (Arc::clone(&speech.speaker), Arc::clone(&speaking.latent));
            let job = move |thread: &JobThread| speaker.decode(&latent, frames, thread);
            let pcm = speech.pool.run(Admission::Continuing, job).await??;
            self.give_out(speaking, pcm, speech.rate, events);
        }
        Ok(())
    }

    /// Resamples what was decoded and gives it out. The sentence is over when it has no chunk left.
    fn give_out(
        &mut self,
        mut speaking: Speaking,
        pcm: Vec<i16>,
        rate: SampleRate,
        events: &mut Vec<SynthesizerEvent>,
    ) {
        let mut pcm = &pcm[..];
        if speaking.leading {
            pcm = without_lead_in(pcm, speaking.resampler.from().samples_in(LEAD_IN) as usize);
            speaking.leading = false;
        }
        let mut resampled = Vec::new();
        speaking.resampler.push(pcm, &mut resampled);
        if speaking.chunks.is_empty() {
            speaking.resampler.finish(&mut resampled);
        } else {
            self.speaking = Some(speaking);
        }
        if let Some(clause) = self.clauses.front_mut() {
            clause.recording = clause.recording.take().and_then(|recording| recording.push(&resampled));
        }
        self.emit(&resampled, rate, events);
    }

    /// Cuts audio into pieces.
    fn emit(&mut self, pcm: &[i16], rate: SampleRate, events: &mut Vec<SynthesizerEvent>) {
        for piece in pcm.chunks(rate.samples_in(PIECE) as usize) {
            events.push(SynthesizerEvent::Audio { reply: self.id, start_sample: self.position, pcm: piece.to_vec() });
            self.position += piece.len() as i64;
        }
    }

    /// Marks the clauses of which nothing is left, and the end of the reply.
    fn end_clauses(&mut self, events: &mut Vec<SynthesizerEvent>) {
        if self.speaking.is_some() {
            return;
        }
        while let Some(clause) = self.clauses.pop_front_if(|clause| clause.sentences.is_empty()) {
            self.spoken += clause.characters;
            if let Some(recording) = clause.recording {
                recording.finish();
            }
            events.push(SynthesizerEvent::Mark { reply: self.id, text_end: self.spoken, sample: self.position });
        }
        if self.clauses.is_empty() && self.flushed {
            self.done = true;
            events.push(SynthesizerEvent::Done { reply: self.id });
        }
    }
}

/// `pcm` from `kept` samples before its first sound; all of it if there is none.
fn without_lead_in(pcm: &[i16], kept: usize) -> &[i16] {
    let sound = pcm.iter().position(|sample| sample.unsigned_abs() > SOUND).unwrap_or(0);
    &pcm[sound.saturating_sub(kept)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_before_the_first_sound_is_cut_to_what_is_kept() {
        let pcm = [0, 1, -2, 0, 900, 0, 0, 800];
        assert_eq!(without_lead_in(&pcm, 2), &pcm[2..]);
        assert_eq!(without_lead_in(&pcm, 100), &pcm[..]);
        assert_eq!(without_lead_in(&[0, 1, 2], 1), [0, 1, 2]);
        assert!(without_lead_in(&[], 1).is_empty());
    }

    #[test]
    fn a_reply_without_sound_is_marked_and_done() {
        let mut reply = Reply::new(ReplyId(7));
        assert!(!reply.has_work());
        for text in ["mute", "too"] {
            reply.clauses.push_back(Clause { sentences: VecDeque::new(), ..Clause::new(text.into()) });
        }
        reply.flush();
        assert!(reply.has_work());
        let mut events = Vec::new();
        reply.end_clauses(&mut events);
        let id = ReplyId(7);
        let mark = |text_end| SynthesizerEvent::Mark { reply: id, text_end, sample: 0 };
        assert_eq!(events, [mark(4), mark(7), SynthesizerEvent::Done { reply: id }]);
        assert!(reply.is_done() && !reply.has_work());
    }

    #[test]
    fn text_is_counted_in_characters() {
        let mut reply = Reply::new(ReplyId(0));
        reply.push_text("Café. Olé!".into());
        assert_eq!(reply.clauses[0].characters, 10);
        assert_eq!(reply.clauses[0].sentences, ["Café. ", "Olé!"]);
    }
}
