//! The external-media leg of a call: what it is attached with, and what it is on the worker ([`AttachedLeg`]), for each of
//! the three transports.

mod audiosocket;
mod connection;
mod lookahead;
mod rtp;
mod websocket;

pub(super) use audiosocket::AudioSocket;
pub(super) use connection::Connection;
pub(super) use rtp::{Arrived, RtpStreams};
pub(super) use websocket::WebSocket;

use super::stats::Counters;
use crate::audio::{Codec, MAX_FRAME_SAMPLES, SampleRate};
use crate::media::{MediaStats, PayloadError, ReceivedFrame};
use crate::wire::audiosocket::FrameError;
use crate::wire::media_websocket::{Format, MessageError};
use crate::wire::websocket::Role;
use crate::wire::websocket::WebSocketError;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;
use tracing::{debug, warn};

/// A leg that is ready to be heard and spoken to: what is left when every handshake is done.
#[derive(Debug)]
pub enum Leg {
    /// `chan_rtp`: packets through the worker's own socket.
    Rtp(RtpLeg),
    /// `chan_audiosocket`, or the dialplan application `AudioSocket()`.
    AudioSocket(AudioSocketLeg),
    /// `chan_websocket`.
    WebSocket(WebSocketLeg),
}

/// A leg over RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpLeg {
    /// Where Asterisk sends from and receives at (`UNICASTRTP_LOCAL_ADDRESS` and `…_PORT`).
    pub remote: SocketAddr,
    /// What Asterisk sends.
    pub receive: Codec,
    /// What Asterisk gets; at the same rate. Asterisk takes static payload types only, so for its `slin16` this is G.722.
    pub send: Codec,
}

/// A leg over AudioSocket, whose first message (the UUID) has been read.
#[derive(Debug)]
pub struct AudioSocketLeg {
    /// The connection. The worker makes it non-blocking and turns Nagle's algorithm off.
    pub stream: TcpStream,
    /// LINEAR16 of both directions, at the rate that Asterisk's format has.
    pub codec: Codec,
    /// What was read behind the UUID, from the beginning of a message.
    pub read: Vec<u8>,
    /// Where key presses, and the end of the caller, are taken from.
    pub keys: LegKeys,
}

/// A leg over WebSocket, whose handshake is done.
#[derive(Debug)]
pub struct WebSocketLeg {
    /// The connection. The worker makes it non-blocking and turns Nagle's algorithm off.
    pub stream: TcpStream,
    /// Who masks: we do when we have dialled.
    pub role: Role,
    /// Of both directions.
    pub codec: Codec,
    /// How control messages are written.
    pub control: Format,
    /// What was read behind the handshake, from the beginning of a frame; `MEDIA_START` may be in it.
    pub read: Vec<u8>,
    /// Where key presses, and the end of the caller, are taken from.
    pub keys: LegKeys,
}

/// Where the keys that a caller presses, and the caller's end, are taken from: the leg and ARI may both tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegKeys {
    /// The leg is all that is known of the caller: a plain dialplan call.
    FromLeg,
    /// ARI tells; what the leg says is counted only.
    FromAri,
}

/// How a leg was lost, while the call was not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegLoss {
    /// Asterisk closed the connection.
    Closed,
    /// The connection broke.
    Broken(io::ErrorKind),
    /// What came is no WebSocket, so what follows cannot be understood either.
    WebSocket(WebSocketError),
    /// The frames of the channel are not those of the codec that was agreed.
    FrameSize {
        /// Bytes of a frame, as Asterisk says.
        asterisk: u32,
        /// Bytes of a frame of 20 ms in the codec of the leg.
        agreed: usize,
    },
    /// Asterisk has taken nothing for longer than a call can be without sound.
    Stuck,
}

impl LegLoss {
    /// Says in the log why the leg is gone; aloud if it is not how a far end hangs up.
    pub(crate) fn log(self) {
        if self.is_hang_up() {
            debug!(loss = %self, "the media leg is gone");
        } else {
            warn!("the media leg is lost: {self}");
        }
    }

    /// Whether this is how a far end hangs up, and not a fault.
    pub(super) const fn is_hang_up(self) -> bool {
        matches!(self, Self::Closed | Self::Broken(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe))
    }
}

impl fmt::Display for LegLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Asterisk closed the connection"),
            Self::Broken(kind) => write!(f, "the connection broke: {kind}"),
            Self::WebSocket(error) => write!(f, "what Asterisk sent cannot be understood: {error}"),
            Self::FrameSize { asterisk, agreed } => write!(
                f,
                "the frames of the channel have {asterisk} bytes and those of the agreed codec {agreed}: the format of the \
                 external-media channel is another one"
            ),
            Self::Stuck => f.write_str("Asterisk takes no audio any more"),
        }
    }
}

impl Leg {
    /// The rate of its audio in both directions; `None` if they differ.
    pub fn rate(&self) -> Option<SampleRate> {
        match self {
            Self::Rtp(leg) => (leg.receive.rate() == leg.send.rate()).then(|| leg.receive.rate()),
            Self::AudioSocket(leg) => Some(leg.codec.rate()),
            Self::WebSocket(leg) => Some(leg.codec.rate()),
        }
    }
}

/// What came over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// Audio, which has been taken in: there may be frames.
    Audio,
    /// A key was pressed.
    Key(char),
    /// Something of no consequence for the call.
    Nothing,
    /// Something that is of no use, or in part: it has been counted, and the audio in it has been taken in.
    Fault(LegFault),
}

/// What is wrong with a message. The leg goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LegFault {
    /// Audio that cannot be decoded.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Not AudioSocket.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No message of Asterisk's.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A frame with audio of another rate than was agreed.
    #[error("audio of {hz} Hz on a leg of {agreed} Hz: the format of the channel is not the one that was agreed")]
    Rate {
        /// What came.
        hz: u32,
        /// The rate of the leg.
        agreed: u32,
    },
    /// What Asterisk never sends at this place.
    #[error("an AudioSocket frame that says {what}")]
    UnexpectedFrame {
        /// Its meaning.
        what: &'static str,
    },
    /// What nobody knows.
    #[error("an AudioSocket frame of the unknown type {kind:#04x}")]
    UnknownFrame {
        /// The type.
        kind: u8,
    },
    /// What this version does not know.
    #[error("an event of the unknown name {name}")]
    UnknownEvent {
        /// The name.
        name: String,
    },
    /// A command was not carried out.
    #[error("Asterisk refused a command: {text}")]
    Refused {
        /// In Asterisk's words.
        text: String,
    },
}

/// The beginning of something that Asterisk said, for the log.
fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Room to put messages together in; shared by all legs of a worker, since one is driven at a time.
#[derive(Debug)]
pub(super) struct Desk {
    coded: [u8; MAX_FRAME_SAMPLES * 2],
    message: [u8; MAX_FRAME_SAMPLES * 2 + 64],
    silence: [i16; MAX_FRAME_SAMPLES],
    faded: [i16; MAX_FRAME_SAMPLES],
    text: String,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self {
            coded: [0; MAX_FRAME_SAMPLES * 2],
            message: [0; MAX_FRAME_SAMPLES * 2 + 64],
            silence: [0; MAX_FRAME_SAMPLES],
            faded: [0; MAX_FRAME_SAMPLES],
            text: String::with_capacity(256),
        }
    }
}

/// The leg of a call on its worker. Boxed: most calls have the smallest kind.
#[derive(Debug)]
pub(super) enum AttachedLeg {
    Rtp(Box<RtpStreams>),
    AudioSocket(Box<AudioSocket>),
    WebSocket(Box<WebSocket>),
}

impl AttachedLeg {
    /// The next frame of the caller, if there is one.
    pub(super) fn poll_frame(&mut self, out: &mut [i16], now: Instant) -> Option<ReceivedFrame> {
        match self {
            Self::Rtp(leg) => leg.poll_frame(out, now),
            Self::AudioSocket(leg) => leg.poll_frame(out, now),
            Self::WebSocket(leg) => leg.poll_frame(out, now),
        }
    }

    /// What has come over the connection, at the beginning of `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LegLoss> {
        match self.connection_mut() {
            Some(connection) => connection.read(buffer),
            None => Ok(0),
        }
    }

    /// The next message in `input`, which is cut off its front; `None` when there is none as a whole.
    pub(super) fn next(
        &mut self,
        input: &mut &mut [u8],
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<Option<Came>, LegLoss> {
        match self {
            Self::Rtp(_) => Ok(None),
            Self::AudioSocket(leg) => Ok(leg.next(input, now, counters)),
            Self::WebSocket(leg) => leg.next(input, now, desk, counters),
        }
    }

    /// Where keys and the caller's end are taken from.
    pub(super) const fn keys(&self) -> LegKeys {
        match self {
            Self::Rtp(_) => LegKeys::FromAri,
            Self::AudioSocket(leg) => leg.keys,
            Self::WebSocket(leg) => leg.keys,
        }
    }

    /// Frames of what was sent that can still be taken back.
    pub(super) fn lookahead_frames(&self, now: Instant) -> usize {
        match self {
            Self::Rtp(_) | Self::AudioSocket(_) => 0,
            Self::WebSocket(leg) => leg.waiting(now),
        }
    }

    pub(super) fn stats(&self) -> MediaStats {
        match self {
            Self::Rtp(leg) => leg.stats(),
            Self::AudioSocket(leg) => leg.stats(),
            Self::WebSocket(leg) => leg.stats(),
        }
    }

    pub(super) fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Rtp(_) => None,
            Self::AudioSocket(leg) => Some(&leg.connection),
            Self::WebSocket(leg) => Some(&leg.connection),
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match self {
            Self::Rtp(_) => None,
            Self::AudioSocket(leg) => Some(&mut leg.connection),
            Self::WebSocket(leg) => Some(&mut leg.connection),
        }
    }
}
