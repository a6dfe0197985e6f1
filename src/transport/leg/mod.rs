//! The external-media leg of a call: what it is attached with, for each of the three transports.

use crate::audio::{Codec, SampleRate};
use crate::wire::media_websocket::Format;
use crate::wire::websocket::Role;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};

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
    /// What came is not what the protocol allows, so what follows cannot be understood either.
    Unreadable(&'static str),
    /// Asterisk has taken nothing for longer than a call can be without sound.
    Stuck,
}

impl fmt::Display for LegLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("Asterisk closed the connection"),
            Self::Broken(kind) => write!(f, "the connection broke: {kind}"),
            Self::Unreadable(what) => write!(f, "what Asterisk sent cannot be understood: {what}"),
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
