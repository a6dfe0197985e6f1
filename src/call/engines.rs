//! What a call says to its engines and what they say to it: the contract of `proto/arioso/speech/v1alpha1` without the
//! wire. `speech` turns these into gRPC messages or into work for an engine in this process, and back.
//!
//! Every message carries the id of what it belongs to. A message for an id that is no longer current is ignored and
//! counted, never acted on. Positions are sample counts at the rate of the call ([`super::CallSettings::rate`]).

use super::ids::{ReplyId, UtteranceIndex};
use std::fmt;

/// The three kinds of engine that a call talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Speech to text.
    Recognition,
    /// Text to speech.
    Synthesis,
    /// What to say next.
    Dialog,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Recognition, Self::Synthesis, Self::Dialog];
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recognition => "recognizer",
            Self::Synthesis => "synthesizer",
            Self::Dialog => "dialog",
        })
    }
}

// ---- recognition ------------------------------------------------------------------------------------------------------

/// To the recogniser. The caller's audio does not travel this way: see [`super::Output::CallerAudio`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecognizerCommand {
    /// The caller began to speak; the utterance includes the audio from `start_sample` on (pre-roll counted in).
    BeginUtterance {
        /// Which one.
        utterance: UtteranceIndex,
        /// First sample of it.
        start_sample: i64,
    },
    /// The caller has finished: the final hypothesis is wanted now.
    EndUtterance {
        /// Which one.
        utterance: UtteranceIndex,
        /// First sample that no longer belongs to it.
        end_sample: i64,
    },
    /// It was no speech after all: forget it, no result is wanted.
    DiscardUtterance {
        /// Which one.
        utterance: UtteranceIndex,
    },
}

/// How firm a hypothesis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// May change at any time.
    Partial,
    /// The engine believes that the utterance is over; may still be withdrawn.
    EagerFinal,
    /// Never changes.
    Final,
    /// A better text of an utterance that is already final (punctuation, numbers); for the record only.
    Refined,
}

/// From the recogniser.
#[derive(Clone, Debug, PartialEq)]
pub enum RecognizerEvent {
    /// What was said so far in an utterance.
    Hypothesis {
        /// Of which utterance.
        utterance: UtteranceIndex,
        /// How firm.
        stage: Stage,
        /// The words; empty when nothing was understood.
        text: String,
        /// 0 to 1 where the engine has one.
        confidence: Option<f32>,
    },
    /// Nothing more comes for this utterance. Exactly once for each one that was ended.
    UtteranceEnded {
        /// Which one.
        utterance: UtteranceIndex,
    },
}

// ---- synthesis --------------------------------------------------------------------------------------------------------

/// To the synthesiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthesizerCommand {
    /// The next clause of a reply. Clauses of one reply arrive in order and may be joined.
    Text {
        /// Of which reply.
        reply: ReplyId,
        /// Plain text, not empty.
        text: String,
    },
    /// The reply has no further text: speak what is left, then say `Done`.
    Flush {
        /// Which reply.
        reply: ReplyId,
    },
    /// How far the caller has heard, for back-pressure; sent about once a second while a reply plays.
    Playback {
        /// Which reply.
        reply: ReplyId,
        /// Samples of it that were played, of those which the session in use has made.
        played_sample: i64,
    },
    /// Stop: nothing more of this reply will be heard.
    Cancel {
        /// Which reply.
        reply: ReplyId,
        /// Samples of it that were really played, of those which the session in use has made.
        played_sample: i64,
    },
}

/// From the synthesiser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynthesizerEvent {
    /// Speech, in order and without gaps, at the rate of the call.
    Audio {
        /// Of which reply.
        reply: ReplyId,
        /// Position of the first sample in what this session has made of the reply.
        start_sample: i64,
        /// The samples.
        pcm: Vec<i16>,
    },
    /// The text up to `text_end` has been turned into the audio before `sample`.
    Mark {
        /// Of which reply.
        reply: ReplyId,
        /// How many characters (not bytes) of the reply's text, over all clauses joined as sent in this session, have been
        /// spoken at `sample`.
        text_end: usize,
        /// Position in what this session has made of the reply.
        sample: i64,
    },
    /// All audio of a flushed reply has been sent.
    Done {
        /// Which reply.
        reply: ReplyId,
    },
    /// A cancel took effect; nothing more comes for this reply.
    Cancelled {
        /// Which reply.
        reply: ReplyId,
    },
}

// ---- dialogue ---------------------------------------------------------------------------------------------------------

/// Something that happened in the call which the dialogue may react to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogNotice {
    /// The call is up and no greeting was configured: the dialogue may open the conversation.
    CallStarted,
    /// The caller has said nothing since the last reply ended.
    NoInput {
        /// How many times in a row, from 1.
        count: u32,
    },
    /// The caller spoke and no words were understood.
    NothingRecognized {
        /// How many times in a row, from 1.
        count: u32,
    },
}

/// To the dialogue. Each one that carries a `reply` asks for an answer under that id; [`DialogEvent::Done`] ends it,
/// with or without text before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogCommand {
    /// The caller said this.
    UserTurn {
        /// The utterance it was.
        utterance: UtteranceIndex,
        /// Its final text.
        text: String,
        /// The answer goes under this id.
        reply: ReplyId,
    },
    /// The caller pressed a key.
    Dtmf {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// The answer goes under this id.
        reply: ReplyId,
    },
    /// Something else happened.
    Notice {
        /// What.
        notice: DialogNotice,
        /// The answer goes under this id.
        reply: ReplyId,
    },
    /// The reply was stopped: no further text of it is wanted, and the history should hold only what was heard.
    Interrupt {
        /// Which reply.
        reply: ReplyId,
        /// The part of its text that the caller heard.
        heard_text: String,
        /// Samples of it that were played.
        played_sample: i64,
    },
}

/// What the dialogue wants done with the call, once what it said before has been heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogAction {
    /// End the call.
    HangUp,
    /// Hand the caller back to the dialplan: at the next priority, or at the place named.
    Continue {
        /// Where to, if not simply the next priority.
        target: Option<DialplanTarget>,
    },
}

/// A place in the dialplan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialplanTarget {
    /// Context; the channel's own when empty.
    pub context: String,
    /// Extension.
    pub extension: String,
    /// Priority, from 1.
    pub priority: u32,
}

/// From the dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialogEvent {
    /// The next piece of the answer's text, split anywhere.
    Text {
        /// Of which reply.
        reply: ReplyId,
        /// To be appended as it is.
        delta: String,
    },
    /// To be done after the reply has been heard.
    Action {
        /// Of which reply.
        reply: ReplyId,
        /// What.
        action: DialogAction,
    },
    /// The answer is complete.
    Done {
        /// Which reply.
        reply: ReplyId,
    },
}
