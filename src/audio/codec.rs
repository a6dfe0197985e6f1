//! The codecs of an external-media leg: which there are, what Asterisk calls them, and what can be wrong with a payload.

use super::SampleRate;
use super::g711::Law;

/// How audio is written on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T G.711 at 8 kHz, one byte a sample.
    G711(Law),
    /// ITU-T G.722 at 64 kbit/s: 16 kHz audio, one byte for two samples. Its RTP clock runs at 8 kHz (RFC 3551, 4.5.2).
    G722,
    /// Uncompressed 16-bit samples.
    Linear16(SampleRate),
    /// Opus (RFC 6716), which is decoded to and encoded from 16 kHz here: telephone speech has no more.
    Opus,
}

/// Order of the two bytes of a LINEAR16 sample: big-endian in RTP, little-endian everywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// The high byte first: RTP.
    Big,
    /// The low byte first: AudioSocket and WebSocket.
    Little,
}

impl Codec {
    /// Rate of the PCM that it stands for.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::G711(_) => SampleRate::HZ_8000,
            Self::G722 | Self::Opus => SampleRate::HZ_16000,
            Self::Linear16(rate) => rate,
        }
    }

    /// What Asterisk calls the format. A rate that Asterisk has no name for is called by the next lower one.
    pub const fn asterisk_format(self) -> &'static str {
        match self {
            Self::G711(law) => law.asterisk_format(),
            Self::G722 => "g722",
            Self::Opus => "opus",
            Self::Linear16(rate) => match rate.hz() {
                48_000.. => "slin48",
                44_100.. => "slin44",
                32_000.. => "slin32",
                24_000.. => "slin24",
                16_000.. => "slin16",
                12_000.. => "slin12",
                _ => "slin",
            },
        }
    }

    /// Bytes of a frame of 20 ms; `None` where they vary.
    pub const fn frame_bytes(self) -> Option<usize> {
        match self {
            Self::G711(_) => Some(SampleRate::HZ_8000.frame_samples()),
            Self::G722 => Some(SampleRate::HZ_16000.frame_samples() / 2),
            Self::Linear16(rate) => Some(rate.frame_samples() * 2),
            Self::Opus => None,
        }
    }
}

/// What a codec cannot do. The stream goes on with the next payload or frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is nothing in the payload.
    #[error("the payload is empty")]
    EmptyPayload,
    /// LINEAR16 comes in whole samples.
    #[error("a LINEAR16 payload of {bytes} bytes ends within a sample: an even number of bytes is expected")]
    HalfSample {
        /// Length of the payload.
        bytes: usize,
    },
    /// The packet time is longer than the caller of the decoder is ready for.
    #[error("the payload holds {samples} samples; {room} are the most that are expected")]
    PayloadTooLong {
        /// What is in it.
        samples: usize,
        /// What there was room for.
        room: usize,
    },
    /// The buffer for the coded frame is too short.
    #[error("the coded frame takes {bytes} bytes; there is room for {room}")]
    NoRoom {
        /// What the frame takes.
        bytes: usize,
        /// What there was room for.
        room: usize,
    },
    /// Not there yet.
    #[error("{0:?} is not finished")]
    Unfinished(Codec),
}
