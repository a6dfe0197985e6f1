//! What a call reports about itself, for the log and for whoever looks on. Nothing here changes the call.

use super::engines::{DialplanTarget, Service};
use super::ids::{ReplyId, UtteranceIndex};
use std::fmt;
use std::time::Instant;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// The caller began to speak.
    SpeechStarted {
        /// Which utterance this is.
        utterance: UtteranceIndex,
    },
    /// The caller was taken to have finished.
    Endpoint {
        /// Which utterance.
        utterance: UtteranceIndex,
    },
    /// What the caller said, final.
    CallerSaid {
        /// Which utterance.
        utterance: UtteranceIndex,
        /// The words; empty when nothing was understood.
        text: String,
    },
    /// A key was pressed.
    Dtmf {
        /// Which.
        digit: char,
    },
    /// The first audio of the first reply is there, before the caller is: the moment to answer.
    ReplyReady {
        /// Which reply.
        reply: ReplyId,
    },
    /// The first audio of a reply left for the caller.
    ReplyStarted {
        /// Which reply.
        reply: ReplyId,
    },
    /// A reply is over.
    ReplyEnded {
        /// Which reply.
        reply: ReplyId,
        /// What the caller heard of it.
        heard_text: String,
        /// Why it ended.
        end: ReplyEnd,
    },
    /// A turn is complete: all its times are known. Boxed: every place in a queue of outputs is as wide as the widest.
    TurnEnded(Box<Timeline>),
    /// An engine took over from another.
    EngineSwitched {
        /// For what.
        service: Service,
        /// The one that failed.
        from: String,
        /// The one in use.
        to: String,
    },
    /// A message from an engine belonged to something no longer current, and was ignored.
    StaleMessage {
        /// From which engine.
        service: Service,
    },
    /// The dialogue sent more text than one reply may have; what was too much will not be spoken.
    TextOverflow {
        /// Of which reply.
        reply: ReplyId,
        /// How many bytes.
        bytes: usize,
    },
    /// Reply audio beyond what may be queued was thrown away.
    PlayoutOverflow {
        /// Of which reply.
        reply: ReplyId,
        /// How many samples.
        samples: usize,
    },
}

/// Why a reply is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyEnd {
    /// All of it was played.
    Finished,
    /// The caller spoke over it.
    BargedIn,
    /// A key was pressed.
    Dtmf,
    /// No engine was left to finish it.
    EnginesExhausted,
    /// The call ended.
    CallEnded,
}

/// The times of one turn, in the order in which they happen. A moment that never came is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The reply of this turn.
    pub reply: ReplyId,
    /// The utterance that it answers; `None` for a greeting, a re-prompt or the answer to a key.
    pub utterance: Option<UtteranceIndex>,
    /// The last speech of the caller.
    pub speech_end: Option<Instant>,
    /// The decision that the caller has finished.
    pub endpoint: Option<Instant>,
    /// The final hypothesis.
    pub final_text: Option<Instant>,
    /// The first text from the dialogue.
    pub first_text: Option<Instant>,
    /// The first audio from the synthesiser.
    pub first_audio: Option<Instant>,
    /// The first frame with that audio given to the transport.
    pub first_packet: Option<Instant>,
    /// The last frame of the reply.
    pub stop: Option<Instant>,
    /// The decision to stop for a barge-in.
    pub barge_in: Option<Instant>,
}

impl fmt::Display for Timeline {
    /// The times between one step and the next: `speech end +612 ms endpoint +143 ms final text …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = [
            ("speech end", self.speech_end),
            ("endpoint", self.endpoint),
            ("final text", self.final_text),
            ("first text", self.first_text),
            ("first audio", self.first_audio),
            ("first packet", self.first_packet),
            ("barge-in", self.barge_in),
            ("stop", self.stop),
        ];
        let mut before: Option<Instant> = None;
        for (name, moment) in steps.into_iter().filter_map(|(name, moment)| Some((name, moment?))) {
            match before {
                None => f.write_str(name)?,
                Some(before) => write!(f, " +{} ms {name}", moment.saturating_duration_since(before).as_millis())?,
            }
            before = Some(moment);
        }
        Ok(())
    }
}

/// Who ended the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangUpBy {
    /// The caller.
    Caller,
    /// The bot.
    Bot,
}

/// How a conversation ended; the owner of the legs acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Hang up (or it has happened already).
    HangUp(HangUpBy),
    /// The bot hands the caller back to the dialplan.
    Continue {
        /// Where to; the next priority if not said.
        target: Option<DialplanTarget>,
    },
    /// No engine is left for this service: the apology has been played, the caller goes back to the dialplan.
    EnginesExhausted {
        /// Which service.
        service: Service,
    },
    /// The server is shutting down: back to the dialplan.
    Drained,
}

impl EndReason {
    /// A word for it, for the log and the dialplan.
    pub const fn reason_code(&self) -> &'static str {
        match self {
            Self::HangUp(HangUpBy::Caller) => "caller-hung-up",
            Self::HangUp(HangUpBy::Bot) => "bot-hung-up",
            Self::Continue { .. } => "bot-continued",
            Self::EnginesExhausted { .. } => "engines-unavailable",
            Self::Drained => "draining",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason_code())
    }
}
