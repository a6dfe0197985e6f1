//! What a caller speaks: the codecs of telephones, with their names in SDP and their numbers in RTP (RFC 3551 table 4).

use crate::audio::g711::Law;
use crate::audio::{Codec, SampleRate};

/// The RTP clock of all of them, samples a second. That of G.722 counts half of its samples (RFC 3551 section 4.5.2).
pub(super) const RTP_CLOCK: SampleRate = SampleRate::HZ_8000;

/// A codec of a telephone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallerCodec {
    /// G.711: 8 kHz.
    G711(Law),
    /// G.722: 16 kHz.
    G722,
}

impl CallerCodec {
    /// µ-law.
    pub const ULAW: Self = Self::G711(Law::Mu);
    /// A-law.
    pub const ALAW: Self = Self::G711(Law::A);

    /// Rate of the audio.
    pub const fn rate(self) -> SampleRate {
        self.audio().rate()
    }

    pub(super) const fn audio(self) -> Codec {
        match self {
            Self::G711(law) => Codec::G711(law),
            Self::G722 => Codec::G722,
        }
    }

    pub(super) const fn payload_type(self) -> u8 {
        match self {
            Self::G711(law) => law.payload_type(),
            Self::G722 => 9,
        }
    }

    /// Name in an `a=rtpmap` line.
    pub(super) const fn encoding_name(self) -> &'static str {
        match self {
            Self::G711(Law::Mu) => "PCMU",
            Self::G711(Law::A) => "PCMA",
            Self::G722 => "G722",
        }
    }
}
