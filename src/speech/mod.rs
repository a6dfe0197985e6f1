//! Speech engines: one trait a service, and what implements it (engines over gRPC, engines in this process), with
//! fail-over outside the adapters. The protobuf types stop here.
//!
//! A session is a pair of bounded queues: requests in, events out. Opening one is quick or fails within
//! limits of the adapter's own. The end of the event queue means that the session is over; an `Err` in it says why it broke.

mod codec;
pub mod failover;
pub mod flow_dialog;
pub mod grpc;
pub mod load;
pub mod local;
mod proto;
pub mod queue;
#[cfg(test)]
pub(crate) mod scripted;
pub mod server;
mod tcp;
mod token;

pub use token::BearerToken;

use crate::audio::SampleRate;
use crate::audio::g711::Law;
use crate::call::{
    CallId, DialogCommand, DialogEvent, RecognizerCommand, RecognizerEvent, SynthesizerCommand, SynthesizerEvent,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// What every session is told first.
#[derive(Clone, Debug)]
pub struct SessionStart {
    /// The call that it is for.
    pub call: CallId,
    /// BCP 47 tag of the language: `en-US`.
    pub language: String,
    /// Rate of the audio that will be sent or is wanted. Always [`SampleRate::HZ_8000`] or higher, LINEAR16.
    pub rate: SampleRate,
    /// The companding law of the caller's leg, where it has one: every sample that came over the wire is then one of its 256
    /// values.
    pub law: Option<Law>,
    /// Text of the greeting that the caller hears without the dialogue being asked; for the dialogue's history.
    pub greeting: Option<String>,
}

/// To a recogniser.
#[derive(Clone, Debug, PartialEq)]
pub enum RecognizerRequest {
    /// Caller audio. A gap between two chunks means silence.
    Audio {
        /// Position of the first sample since the call began.
        start_sample: i64,
        /// The samples.
        pcm: Arc<[i16]>,
    },
    /// A command of the call.
    Command(RecognizerCommand),
}

/// One open session of an engine. Dropping `requests` asks for a polite end (`finish`), dropping both is an abort.
#[derive(Debug)]
pub struct Session<Request, Event> {
    /// To the engine. Bounded: a full queue means that the engine does not keep up.
    pub requests: queue::Sender<Request>,
    /// From the engine. Bounded: the engine is not read while this is full.
    pub events: queue::Receiver<Result<Event, EngineError>>,
}

/// A recogniser's session.
pub type RecognizerSession = Session<RecognizerRequest, RecognizerEvent>;
/// A synthesiser's session.
pub type SynthesizerSession = Session<SynthesizerCommand, SynthesizerEvent>;
/// A dialogue's session.
pub type DialogSession = Session<DialogCommand, DialogEvent>;

/// Speech to text.
#[async_trait]
pub trait Recognizer: Send + Sync {
    /// Opens a session for one call.
    async fn open(&self, start: SessionStart) -> Result<RecognizerSession, EngineError>;
}

/// Text to speech.
#[async_trait]
pub trait Synthesizer: Send + Sync {
    /// Opens a session for one call.
    async fn open(&self, start: SessionStart) -> Result<SynthesizerSession, EngineError>;
}

/// What to say next.
#[async_trait]
pub trait Dialog: Send + Sync {
    /// Opens a session for one call.
    async fn open(&self, start: SessionStart) -> Result<DialogSession, EngineError>;
}

/// What can go wrong with an engine. The configured name of the engine is added by whoever logs it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers at the address.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Where.
        address: String,
        /// What the operating system or TLS said.
        cause: String,
    },
    /// A step took too long.
    #[error("no {step} within {limit:?}")]
    Overdue {
        /// What was waited for.
        step: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The call waited for an answer in vain.
    #[error("{0}")]
    Late(&'static str),
    /// The engine ended the session with an error.
    #[error("the engine ended the session: {code}: {message}")]
    Status {
        /// The gRPC status code's name.
        code: &'static str,
        /// What it said.
        message: String,
    },
    /// The engine broke the contract.
    #[error("the engine broke the contract: {0}")]
    Contract(String),
    /// The engine of this process cannot be used.
    #[error("{0}")]
    Local(String),
    /// The session is over although the call is not.
    #[error("the engine closed the session before the call ended")]
    Closed,
}
