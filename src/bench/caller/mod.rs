//! A caller: a telephone without a human. It dials over SIP, speaks, listens, presses keys, hangs up, and knows to the
//! packet when it did so and when it heard what.
//!
//! ```no_run
//! # async fn f() -> Result<(), arioso::bench::caller::CallerError> {
//! use arioso::bench::caller::{Caller, CallerSettings};
//! use std::time::Duration;
//! let call = Caller::call(CallerSettings::new(([127, 0, 0, 1], 5060).into(), "100")).await?;
//! let greeted = call.wait_for_voice(call.dialled_at(), Duration::from_secs(5)).await?;
//! let said = call.say_to_end(&[0; 8_000]).await?;
//! let answered = call.wait_for_voice(said.last_packet_at, Duration::from_secs(5)).await?;
//! println!("answered {:?} after the last packet", answered - said.last_packet_at);
//! call.hang_up().await?;
//! # Ok(()) }
//! ```
//!
//! | file | part |
//! |---|---|
//! | `codec` | what telephones speak |
//! | `sip`, `sdp` | messages and descriptions as values |
//! | `dialog` | the state of a call as SIP sees it, in virtual time |
//! | `speaker`, `recording` | what is said and what is heard, in virtual time |
//! | `line` | the two threads that join these to sockets and the clock |
//! | `active` | what the user of a call sees |

mod active;
mod codec;
mod dialog;
mod line;
mod recording;
mod sdp;
mod sip;
mod speaker;

pub use active::{ActiveCall, HungUp};
pub use codec::CallerCodec;
pub use recording::{Dbfs, HeardPacket, Recording, RecordingLosses, VoiceSegment, voice_onset};
pub use speaker::{Said, SpeechTiming};

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Whom to call, and how.
#[derive(Clone, Debug)]
pub struct CallerSettings {
    /// Where Asterisk listens for SIP over UDP.
    pub server: SocketAddr,
    /// The dialled number.
    pub number: String,
    /// The caller's own number.
    pub caller_number: String,
    /// What the caller speaks, the preferred one first; not empty, and all of the same rate: what is said and heard has
    /// that rate.
    pub codecs: Vec<CallerCodec>,
    /// Whether packets leave while the caller says nothing. A telephone with silence suppression sends none.
    pub sends_silence: bool,
    /// How long [`Caller::call`] lets it ring.
    pub answer_timeout: Duration,
    /// From which level on a packet counts as voice.
    pub voice: Dbfs,
}

impl CallerSettings {
    /// A telephone of today, number 1000, that prefers µ-law and lets it ring for 30 seconds.
    pub fn new(server: SocketAddr, number: impl Into<String>) -> Self {
        Self {
            server,
            number: number.into(),
            caller_number: "1000".to_owned(),
            codecs: vec![CallerCodec::ULAW, CallerCodec::ALAW],
            sends_silence: true,
            answer_timeout: Duration::from_secs(30),
            voice: Dbfs::VOICE,
        }
    }

    /// The same, with `codecs`.
    #[must_use]
    pub fn with_codecs(mut self, codecs: impl Into<Vec<CallerCodec>>) -> Self {
        self.codecs = codecs.into();
        self
    }
}

/// Places calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller;

impl Caller {
    /// Dials, and returns while it rings (or before).
    ///
    /// # Errors
    ///
    /// [`CallerError::Settings`] and [`CallerError::Socket`].
    pub async fn dial(settings: CallerSettings) -> Result<ActiveCall, CallerError> {
        ActiveCall::dial(settings)
    }

    /// Dials, and returns when the call is answered.
    ///
    /// # Errors
    ///
    /// [`CallerError::Refused`] with the SIP status, [`CallerError::NoResponse`], [`CallerError::NotInTime`] (then the
    /// call is cancelled), and as [`Self::dial`].
    pub async fn call(settings: CallerSettings) -> Result<ActiveCall, CallerError> {
        let timeout = settings.answer_timeout;
        let call = Self::dial(settings).await?;
        call.wait_answered(timeout).await?;
        Ok(call)
    }
}

/// The two ends of a call as the caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// We.
    Caller,
    /// Asterisk, and whoever is behind it.
    Asterisk,
}

/// Why a call ended, as a number of ITU-T Q.850: 16 normal, 17 busy, 38 network out of order, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Q850Cause(pub u8);

impl fmt::Display for Q850Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Q.850 cause {}", self.0)
    }
}

/// What went wrong with a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallerError {
    /// The settings cannot be dialled.
    #[error("cannot dial: {problem}")]
    Settings {
        /// What is wrong with them.
        problem: &'static str,
    },
    /// A socket or a thread could not be made.
    #[error("cannot {doing}: {}", source)]
    Socket {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: std::sync::Arc<io::Error>,
    },
    /// The call was refused.
    #[error("the call was refused: {status} {reason}{}", cause.map(|cause| format!(" ({cause})")).unwrap_or_default())]
    Refused {
        /// SIP status: 404 unknown number, 486 busy, 503 unavailable, …
        status: u16,
        /// The words with it.
        reason: String,
        /// The Q.850 cause, if it was given.
        cause: Option<Q850Cause>,
    },
    /// Nothing speaks SIP there.
    #[error("no SIP answer from {server}: is Asterisk running, and does it listen on UDP there?")]
    NoResponse {
        /// Who was asked.
        server: SocketAddr,
    },
    /// The answer has no audio that this caller can do.
    #[error("the call was answered without audio that the caller understands: {problem}")]
    NoCommonAudio {
        /// What is wrong with the session description.
        problem: String,
    },
    /// This can be done in an answered call only.
    #[error("the call is not answered yet")]
    NotAnswered,
    /// The call ended before.
    #[error("the call is over: {0}")]
    Ended(HungUp),
    /// That is no key of a telephone.
    #[error("{0:?} is no key: use 0 to 9, *, #, A to D")]
    NoSuchKey(char),
    /// Asterisk takes no RFC 4733 events in this call.
    #[error("Asterisk did not agree on telephone events: the endpoint needs dtmf_mode=rfc4733")]
    NoTelephoneEvents,
    /// There is more to say than fits.
    #[error("the caller has five minutes to say already")]
    TooMuchToSay,
    /// What was waited for did not come.
    #[error("{what} did not come within {waited:?}")]
    NotInTime {
        /// What it was.
        what: &'static str,
        /// How long we waited.
        waited: Duration,
    },
}
