//! What the server tells about its calls, to whoever looks on: the log, the demo's screen, tests.

use super::live_call::CallEnd;
use crate::call::{CallEvent, CallId};
use crate::media::MediaStats;
use std::time::Instant;

/// Something that happened in a call.
#[derive(Clone, Debug)]
pub struct Observation {
    /// In which call.
    pub call: CallId,
    /// When.
    pub at: Instant,
    /// What.
    pub what: Observed,
}

/// See [`Observation`].
#[derive(Clone, Debug)]
pub enum Observed {
    /// A call has arrived and a bot was found for it.
    Arrived {
        /// What the caller dialled, as far as the routes are concerned.
        number: String,
        /// The bot that will answer.
        bot: String,
        /// The call was found after a restart or a reconnect.
        adopted: bool,
    },
    /// Both legs are in the bridge.
    Connected,
    /// From the conversation.
    Conversation(CallEvent),
    /// The call is over and nothing of it is left in Asterisk.
    Ended {
        /// How.
        end: CallEnd,
        /// How well the audio travelled, if there was any.
        media: Option<Box<MediaStats>>,
    },
}
