//! The per-call state machine: who is speaking, whose turn it is, what is said next. Sans-I/O.
//!
//! The owner (a media worker, or a test) does three things, always in this order:
//!
//! 1. [`Call::handle`] for everything that happened, and once every 20 ms [`Call::frame`] to give one frame of the
//!    caller's audio and take one frame for the caller;
//! 2. [`Call::poll_output`] until it returns `None`, after each of these;
//! 3. [`Call::handle_timeout`] when [`Call::poll_timeout`] is due.

mod engines;
mod event;
mod ids;
mod settings;

pub use engines::{
    DialogAction, DialogCommand, DialogEvent, DialogNotice, DialplanTarget, RecognizerCommand, RecognizerEvent,
    Service, Stage, SynthesizerCommand, SynthesizerEvent,
};
pub use event::{CallEvent, EndReason, HangUpBy, ReplyEnd, Timeline};
pub use ids::{CallId, ReplyId, UtteranceIndex};
pub use settings::{BargeIn, CallSettings, Endpointing, NoInput, Watchdogs};

use std::collections::VecDeque;
use std::time::Instant;

/// What happens to a call, other than audio.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Both legs are in the bridge: from now on the two sides hear each other.
    Connected,
    /// The caller pressed a key: `0`–`9`, `*`, `#`, `A`–`D`.
    Dtmf(char),
    /// From the recogniser.
    Recognizer(RecognizerEvent),
    /// From the synthesiser.
    Synthesizer(SynthesizerEvent),
    /// From the dialogue.
    Dialog(DialogEvent),
    /// The engine of this service failed and another one has taken its place, with a fresh session.
    EngineSwitched {
        /// Which service.
        service: Service,
        /// Configured name of the engine that failed.
        from: String,
        /// Configured name of the one in use now.
        to: String,
    },
    /// No engine is left for this service.
    EnginesExhausted {
        /// Which service.
        service: Service,
    },
    /// The caller is gone.
    CallerHungUp,
    /// The server wants the call to end, politely (drain).
    EndRequested,
}

/// What a call wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Give these samples of caller audio to the recogniser. The samples are those that were passed to [`Call::frame`] last;
    /// `start_sample` is the position of the first.
    CallerAudio {
        /// Position since the call began.
        start_sample: i64,
    },
    /// To the recogniser.
    Recognizer(RecognizerCommand),
    /// To the synthesiser.
    Synthesizer(SynthesizerCommand),
    /// To the dialogue.
    Dialog(DialogCommand),
    /// The engine of this service has not answered in time: take the next one. Answered by [`Input::EngineSwitched`]
    /// or [`Input::EnginesExhausted`].
    FailOver {
        /// Which service.
        service: Service,
        /// What was not done in time, for the log: "no final hypothesis within 2 s".
        overdue: &'static str,
    },
    /// Something for the log, the metrics, the record and the screen.
    Event(CallEvent),
    /// The conversation is over; nothing follows. The owner ends the call accordingly.
    End(EndReason),
}

/// One call. See the module's documentation for how it is driven.
#[derive(Debug)]
pub struct Call {
    settings: CallSettings,
    outputs: VecDeque<Output>,
}

/// One frame of the caller's audio, as the receive path gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerFrame<'a> {
    /// What the caller sent, or what concealment made of a lost packet.
    Audio(&'a [i16]),
    /// Nothing has been received (before the first packet, hold, silence suppression).
    Silence,
}

impl Call {
    /// A call that is being set up: engines may already work, nothing is heard before [`Input::Connected`].
    pub fn new(settings: CallSettings, now: Instant) -> Self {
        let _ = now;
        Self { settings, outputs: VecDeque::new() }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) {
        let _ = (input, now);
    }

    /// One packet time: takes a frame from the caller, fills `out` (one frame at the rate of the call) for the caller.
    pub fn frame(&mut self, caller: CallerFrame<'_>, out: &mut [i16], now: Instant) {
        let _ = (caller, now);
        out.fill(0);
    }

    /// When [`Call::handle_timeout`] is wanted, if at all.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Something that was waited for is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the call was made with.
    pub fn settings(&self) -> &CallSettings {
        &self.settings
    }
}
