//! The policy of one call: what the configuration of a bot says about turn-taking, as plain values.

use crate::audio::SampleRate;
use crate::vad::Endpointing;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a [`super::Call`] is told before it starts.
#[derive(Clone, Debug)]
pub struct CallSettings {
    /// Rate of the audio in both directions.
    pub rate: SampleRate,
    /// Spoken first, without asking the dialogue. Without one the dialogue is told that the call started.
    pub greeting: Option<String>,
    /// When the caller has begun and finished.
    pub endpointing: Endpointing,
    /// When the caller may interrupt.
    pub barge_in: BargeIn,
    /// What happens when the caller says nothing.
    pub no_input: NoInput,
    /// How long each step of an engine may take.
    pub watchdogs: Watchdogs,
    /// Played when no engine is left, before the caller goes back to the dialplan. Samples at `rate`.
    pub apology: Arc<[i16]>,
}

/// Whether the caller can interrupt a reply by speaking. A key press always can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BargeIn {
    /// A reply is always played to its end.
    Off,
    /// So much speech within the last 300 ms stops the reply.
    OnSpeech {
        /// How much.
        evidence: Duration,
    },
}

impl Default for BargeIn {
    fn default() -> Self {
        Self::OnSpeech { evidence: Duration::from_millis(140) }
    }
}

/// What happens when the caller says nothing after a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInput {
    /// Silence after a reply until the dialogue is told.
    pub timeout: Duration,
}

impl Default for NoInput {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(8) }
    }
}

/// How long each step of an engine may take before the next engine is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watchdogs {
    /// From the end of an utterance to its final hypothesis.
    pub final_hypothesis: Duration,
    /// From the question to the dialogue to its first text (or its "done").
    pub first_text: Duration,
    /// From the first text given to the synthesiser to its first audio.
    pub first_audio: Duration,
    /// From the last audio of an unfinished reply, while nothing is left to play, to the next.
    pub next_audio: Duration,
}

impl Default for Watchdogs {
    fn default() -> Self {
        Self {
            final_hypothesis: Duration::from_secs(2),
            first_text: Duration::from_secs(5),
            first_audio: Duration::from_secs(3),
            next_audio: Duration::from_secs(3),
        }
    }
}
