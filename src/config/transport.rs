//! How a caller's audio travels between an Asterisk and us, and in which codec: only what Asterisk can really carry.

use super::document::Section;
use super::error::Fault;
use super::names::ClientName;
use super::values::{invalid, parsed, word};
use crate::audio::g711::Law;
use crate::audio::{Codec, SampleRate};
use std::fmt;
use toml::de::DeValue;

/// The transport of an Asterisk's external-media legs, with a codec that it can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaTransport {
    /// UDP, `chan_rtp`.
    Rtp(RtpCodec),
    /// TCP, `chan_audiosocket`: Asterisk connects to us.
    AudioSocket(LinearCodec),
    /// `chan_websocket`.
    WebSocket {
        /// Any codec is carried.
        codec: LegCodec,
        /// Who connects to whom.
        connection: WebSocketConnection,
    },
}

/// Who opens the WebSocket of a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketConnection {
    /// We, to `/media/…` of Asterisk's HTTP server.
    Dial,
    /// Asterisk, to us, as this section of its `websocket_client.conf` says.
    Listen {
        /// Name of the section.
        client: ClientName,
    },
}

/// Every codec that a leg may have, by what Asterisk calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LegCodec {
    /// G.711 µ-law.
    Ulaw,
    /// G.711 A-law.
    Alaw,
    /// G.722 at 64 kbit/s.
    G722,
    /// Linear.
    Linear(LinearCodec),
    /// Opus.
    Opus,
}

/// Linear 16-bit audio, by its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinearCodec {
    /// `slin`: 8 kHz.
    Slin,
    /// `slin16`: 16 kHz.
    Slin16,
    /// `slin24`: 24 kHz.
    Slin24,
    /// `slin48`: 48 kHz.
    Slin48,
}

/// What an RTP leg can carry in both directions: Asterisk takes static payload types only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtpCodec {
    /// G.711 µ-law.
    Ulaw,
    /// G.711 A-law.
    Alaw,
    /// G.722 at 64 kbit/s.
    G722,
    /// Linear at 8 kHz.
    Slin,
    /// Linear at 16 kHz from Asterisk. To it G.722: L16 at 16 kHz has no static payload type.
    Slin16,
}

impl LinearCodec {
    /// Samples a second.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Slin => SampleRate::HZ_8000,
            Self::Slin16 => SampleRate::HZ_16000,
            Self::Slin24 => SampleRate::HZ_24000,
            Self::Slin48 => SampleRate::HZ_48000,
        }
    }

    /// The codec.
    pub const fn codec(self) -> Codec {
        Codec::Linear16(self.rate())
    }
}

impl LegCodec {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ulaw,
        Self::Alaw,
        Self::G722,
        Self::Linear(LinearCodec::Slin),
        Self::Linear(LinearCodec::Slin16),
        Self::Linear(LinearCodec::Slin24),
        Self::Linear(LinearCodec::Slin48),
        Self::Opus,
    ];

    /// The codec.
    pub const fn codec(self) -> Codec {
        match self {
            Self::Ulaw => Codec::G711(Law::Mu),
            Self::Alaw => Codec::G711(Law::A),
            Self::G722 => Codec::G722,
            Self::Linear(linear) => linear.codec(),
            Self::Opus => Codec::Opus,
        }
    }
}

impl RtpCodec {
    /// What Asterisk sends.
    pub const fn receive(self) -> Codec {
        match self {
            Self::Ulaw => Codec::G711(Law::Mu),
            Self::Alaw => Codec::G711(Law::A),
            Self::G722 => Codec::G722,
            Self::Slin => Codec::Linear16(SampleRate::HZ_8000),
            Self::Slin16 => Codec::Linear16(SampleRate::HZ_16000),
        }
    }

    /// What Asterisk is sent; at the same rate.
    pub const fn send(self) -> Codec {
        match self {
            Self::Slin16 => Codec::G722,
            same => same.receive(),
        }
    }
}

impl MediaTransport {
    /// What Asterisk is asked for, and sends.
    pub const fn codec(&self) -> Codec {
        match self {
            Self::Rtp(codec) => codec.receive(),
            Self::AudioSocket(codec) => codec.codec(),
            Self::WebSocket { codec, .. } => codec.codec(),
        }
    }

    /// Rate of the PCM in a call.
    pub const fn rate(&self) -> SampleRate {
        self.codec().rate()
    }

    /// Whether Asterisk opens a WebSocket to us.
    pub const fn is_websocket_listen(&self) -> bool {
        matches!(self, Self::WebSocket { connection: WebSocketConnection::Listen { .. }, .. })
    }

    /// Whether we open a WebSocket to Asterisk.
    pub const fn is_websocket_dial(&self) -> bool {
        matches!(self, Self::WebSocket { connection: WebSocketConnection::Dial, .. })
    }

    /// Whether Asterisk is told an address of ours for each leg.
    pub const fn is_sent_to_us(&self) -> bool {
        matches!(self, Self::Rtp(_) | Self::AudioSocket(_))
    }

    /// The value of `transport`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Rtp(_) => "rtp",
            Self::AudioSocket(_) => "audiosocket",
            Self::WebSocket { .. } => "websocket",
        }
    }
}

impl fmt::Display for MediaTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = self.codec().asterisk_format();
        match self {
            Self::Rtp(_) | Self::AudioSocket(_) => write!(f, "{} with {codec}", self.as_str()),
            Self::WebSocket { connection: WebSocketConnection::Dial, .. } => write!(f, "websocket (dial) with {codec}"),
            Self::WebSocket { connection: WebSocketConnection::Listen { client }, .. } => {
                write!(f, "websocket (listen, client \"{client}\") with {codec}")
            }
        }
    }
}

/// The word of `transport`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rtp,
    AudioSocket,
    WebSocket,
}

/// Reads `transport`, `codec`, `websocket` and `websocket_client` of an `[[asterisk]]`; `None` if one is wrong.
pub(super) fn read(section: &Section<'_, '_>) -> Option<MediaTransport> {
    const KINDS: [(&str, Kind); 3] =
        [("rtp", Kind::Rtp), ("audiosocket", Kind::AudioSocket), ("websocket", Kind::WebSocket)];
    let kind = or_default(section, "transport", word(&KINDS), Kind::Rtp);
    // All of them before any is missed, so that everything that is wrong is told at once.
    let connection = connection(section, kind);
    let codec = or_default(section, "codec", |value| codec(value).map(Some), None);
    let (kind, written) = (kind?, codec?);
    match kind {
        Kind::Rtp => Some(MediaTransport::Rtp(carried(section, written, RtpCodec::Ulaw, RtpCodec::try_from)?)),
        Kind::AudioSocket => {
            Some(MediaTransport::AudioSocket(carried(section, written, LinearCodec::Slin, LinearCodec::try_from)?))
        }
        Kind::WebSocket => {
            Some(MediaTransport::WebSocket { codec: written.unwrap_or(LegCodec::Ulaw), connection: connection? })
        }
    }
}

/// The value of a key, or what it is without the key; `None` if it is wrong.
fn or_default<'a, 't, T>(
    section: &Section<'a, 't>,
    key: &'static str,
    read: impl FnOnce(&DeValue<'t>) -> Result<T, Fault>,
    default: T,
) -> Option<T> {
    let value = section.optional(key, read);
    if section.contains(key) { value } else { Some(default) }
}

/// Who connects, where `kind` is a WebSocket; that the keys are for nothing else is told.
fn connection(section: &Section<'_, '_>, kind: Option<Kind>) -> Option<WebSocketConnection> {
    const WORDS: [(&str, bool); 2] = [("dial", false), ("listen", true)];
    let listens = or_default(section, "websocket", word(&WORDS), false);
    let client = section.optional("websocket_client", parsed("\"arioso\"", ClientName::new));
    if kind != Some(Kind::WebSocket) {
        let without = "is only for transport = \"websocket\"; take it out, or write that";
        for key in ["websocket", "websocket_client"] {
            if kind.is_some() && section.contains(key) {
                section.problem(key, Fault::OutOfPlace { why: without });
            }
        }
        return None;
    }
    match (listens?, client) {
        (false, None) if section.contains("websocket_client") => None,
        (false, None) => Some(WebSocketConnection::Dial),
        (false, Some(_)) => {
            let why = "is only for websocket = \"listen\", where Asterisk connects to us; take it out, or write that";
            section.problem("websocket_client", Fault::OutOfPlace { why });
            None
        }
        (true, Some(client)) => Some(WebSocketConnection::Listen { client }),
        (true, None) => {
            // A wrong value has been noted already.
            if !section.contains("websocket_client") {
                let example = "websocket_client = \"arioso\" # a section of websocket_client.conf".to_owned();
                section.problem("websocket_client", Fault::Missing { example });
            }
            None
        }
    }
}

fn codec(value: &DeValue<'_>) -> Result<LegCodec, Fault> {
    let words = LegCodec::ALL.map(|codec| (codec.codec().asterisk_format(), codec));
    word(&words)(value)
}

/// The codec as the transport carries it.
fn carried<T>(
    section: &Section<'_, '_>,
    written: Option<LegCodec>,
    default: T,
    carry: impl FnOnce(LegCodec) -> Result<T, &'static str>,
) -> Option<T> {
    let Some(written) = written else { return Some(default) };
    let refused = |why| section.problem("codec", invalid(written.codec().asterisk_format(), why));
    carry(written).map_err(refused).ok()
}

/// Where RTP cannot carry it: why, and what to write.
impl TryFrom<LegCodec> for RtpCodec {
    type Error = &'static str;

    fn try_from(codec: LegCodec) -> Result<Self, Self::Error> {
        match codec {
            LegCodec::Ulaw => Ok(Self::Ulaw),
            LegCodec::Alaw => Ok(Self::Alaw),
            LegCodec::G722 => Ok(Self::G722),
            LegCodec::Linear(LinearCodec::Slin) => Ok(Self::Slin),
            LegCodec::Linear(LinearCodec::Slin16) => Ok(Self::Slin16),
            LegCodec::Linear(LinearCodec::Slin24 | LinearCodec::Slin48) | LegCodec::Opus => {
                Err("cannot be carried by RTP: Asterisk accepts only static payload types on an RTP leg; write \
                     \"ulaw\", \"alaw\", \"g722\", \"slin\" or \"slin16\"")
            }
        }
    }
}

/// Where AudioSocket cannot carry it: why, and what to write.
impl TryFrom<LegCodec> for LinearCodec {
    type Error = &'static str;

    fn try_from(codec: LegCodec) -> Result<Self, Self::Error> {
        match codec {
            LegCodec::Linear(linear) => Ok(linear),
            LegCodec::Ulaw | LegCodec::Alaw | LegCodec::G722 | LegCodec::Opus => {
                Err("cannot be carried by AudioSocket: it has linear audio only, and other formats arrive tagged as \
                     such; write \"slin\", \"slin16\", \"slin24\" or \"slin48\"")
            }
        }
    }
}
