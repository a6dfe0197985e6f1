//! How audio is written for a speech engine.

use super::SampleRate;
use super::g711::Law;
use std::fmt;

/// A format of one channel that engines take and give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PcmFormat {
    /// Samples of 16 bits, little-endian.
    Linear16(SampleRate),
    /// ITU-T G.711, one byte a sample, 8,000 samples a second.
    G711(Law),
}

impl PcmFormat {
    /// What every engine takes.
    pub const MANDATORY: Self = Self::Linear16(SampleRate::HZ_8000);

    /// Samples a second.
    pub const fn rate(self) -> SampleRate {
        match self {
            Self::Linear16(rate) => rate,
            Self::G711(_) => SampleRate::HZ_8000,
        }
    }

    /// Appends samples as bytes. A sample that was decoded from the law of the format becomes the code that it was: each law
    /// gives its 256 codes 256 values (µ-law 255: 0x7F, the other zero, becomes 0xFF).
    pub fn encode(self, pcm: &[i16], bytes: &mut Vec<u8>) {
        match self {
            Self::Linear16(_) => {
                bytes.reserve(pcm.len() * 2);
                bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
            }
            Self::G711(law) => {
                let start = bytes.len();
                bytes.resize(start + pcm.len(), 0);
                law.encode(pcm, &mut bytes[start..]);
            }
        }
    }

    /// Bytes as samples; `None` if they are not a whole number of samples.
    pub fn decode(self, bytes: &[u8]) -> Option<Vec<i16>> {
        match self {
            Self::Linear16(_) if !bytes.len().is_multiple_of(2) => None,
            Self::Linear16(_) => {
                Some(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
            }
            Self::G711(law) => {
                let mut pcm = vec![0; bytes.len()];
                law.decode(bytes, &mut pcm);
                Some(pcm)
            }
        }
    }
}

impl fmt::Display for PcmFormat {
    /// `LINEAR16/8000`, `MULAW/8000`, `ALAW/8000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = match self {
            Self::Linear16(_) => "LINEAR16",
            Self::G711(Law::Mu) => "MULAW",
            Self::G711(Law::A) => "ALAW",
        };
        write!(f, "{encoding}/{}", self.rate().hz())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_survive_every_format_that_can_hold_them() {
        let mut bytes = Vec::new();
        let linear = PcmFormat::MANDATORY;
        linear.encode(&[0, 1, -1, i16::MAX, i16::MIN], &mut bytes);
        assert_eq!(bytes, [0, 0, 1, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0x80]);
        assert_eq!(linear.decode(&bytes).unwrap(), [0, 1, -1, i16::MAX, i16::MIN]);
        assert_eq!(linear.decode(&[1, 2, 3]), None);
    }

    #[test]
    fn codes_of_a_leg_are_the_codes_for_the_engine() {
        for law in [Law::Mu, Law::A] {
            let format = PcmFormat::G711(law);
            for code in 0..=255 {
                let mut again = Vec::new();
                format.encode(&format.decode(&[code]).unwrap(), &mut again);
                let expected = if law == Law::Mu && code == 0x7F { 0xFF } else { code };
                assert_eq!(again, [expected], "{law:?}");
            }
        }
    }
}
