//! G.711, the companding of telephony: ITU-T G.711 (11/88), with the bit order and the rounding of the ITU-T G.191
//! reference. One byte a sample; 8,000 samples a second as RTP payload types 0 and 8 (RFC 3551).
//!
//! Decoding is a table of 256 values. Encoding is a table too: the µ-law encoder looks at the upper 14 bits of a sample
//! and the A-law encoder at the upper 12, so 16 KiB and 4 KiB hold every answer. All tables are made by the compiler.

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// µ-law (PCMU): North America and Japan.
    Mu,
    /// A-law (PCMA): the rest of the world.
    A,
}

impl Law {
    /// The static RTP payload type (RFC 3551, table 4).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Mu => 0,
            Self::A => 8,
        }
    }

    /// The law of a static RTP payload type; `None` for any other payload.
    pub const fn from_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Mu),
            8 => Some(Self::A),
            _ => None,
        }
    }

    /// What Asterisk calls the format.
    pub const fn asterisk_format(self) -> &'static str {
        match self {
            Self::Mu => "ulaw",
            Self::A => "alaw",
        }
    }

    /// The code of a sample of value 0.
    pub const fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }

    /// Expands `codes` into `pcm`, sample by sample, up to the shorter of the two.
    pub fn decode(self, codes: &[u8], pcm: &mut [i16]) {
        let table = match self {
            Self::Mu => &MU_DECODE,
            Self::A => &A_DECODE,
        };
        for (sample, code) in pcm.iter_mut().zip(codes) {
            *sample = table[usize::from(*code)];
        }
    }

    /// Compresses `pcm` into `codes`, sample by sample, up to the shorter of the two.
    pub fn encode(self, pcm: &[i16], codes: &mut [u8]) {
        match self {
            Self::Mu => {
                for (code, sample) in codes.iter_mut().zip(pcm) {
                    *code = MU_ENCODE[usize::from(*sample as u16 >> MU_UNUSED_BITS)];
                }
            }
            Self::A => {
                for (code, sample) in codes.iter_mut().zip(pcm) {
                    *code = A_ENCODE[usize::from(*sample as u16 >> A_UNUSED_BITS)];
                }
            }
        }
    }
}

/// The low bits of a 16-bit sample that µ-law never looks at: its uniform scale has 14 bits.
const MU_UNUSED_BITS: u32 = 2;
/// The same for A-law. Its scale has 13 bits, the lowest of which is always 1 in the decoder and ignored by the encoder.
const A_UNUSED_BITS: u32 = 4;
/// µ-law segments start at powers of two after this is added to the 14-bit magnitude.
const MU_BIAS: u16 = 33;

static MU_DECODE: [i16; 256] = decode_table(Law::Mu);
static A_DECODE: [i16; 256] = decode_table(Law::A);
static MU_ENCODE: [u8; 1 << (16 - MU_UNUSED_BITS)] = encode_table(Law::Mu, MU_UNUSED_BITS);
static A_ENCODE: [u8; 1 << (16 - A_UNUSED_BITS)] = encode_table(Law::A, A_UNUSED_BITS);

const fn decode_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < table.len() {
        table[code] = match law {
            Law::Mu => mu_expand(code as u8),
            Law::A => a_expand(code as u8),
        };
        code += 1;
    }
    table
}

const fn encode_table<const N: usize>(law: Law, unused_bits: u32) -> [u8; N] {
    let mut table = [0; N];
    let mut index = 0;
    while index < N {
        let sample = ((index as u16) << unused_bits) as i16;
        table[index] = match law {
            Law::Mu => mu_compress(sample),
            Law::A => a_compress(sample),
        };
        index += 1;
    }
    table
}

/// A code is, inverted, a sign, a segment of three bits and a step of four within it. Table 2a of the recommendation.
const fn mu_expand(code: u8) -> i16 {
    let inverted = !code;
    let segment = (inverted >> 4) & 7;
    let step = (inverted & 0x0F) as i16;
    let magnitude = (((step << 1) + MU_BIAS as i16) << segment) - MU_BIAS as i16;
    let sample = magnitude << MU_UNUSED_BITS;
    if inverted & 0x80 == 0 { sample } else { -sample }
}

const fn mu_compress(sample: i16) -> u8 {
    // Negative values mirror by one's complement, so that the intervals on both sides of zero are equally wide and the
    // lowest sample needs no special case.
    let magnitude = if sample < 0 { !sample } else { sample } as u16;
    let biased = (magnitude >> MU_UNUSED_BITS) + MU_BIAS;
    let biased = if biased > 0x1FFF { 0x1FFF } else { biased };
    // `biased` is at least 33, so it has at least six bits; each further one is a segment.
    let segment = 10 - biased.leading_zeros() as u16;
    let step = (biased >> (segment + 1)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4) as u8 | step as u8)
}

/// As µ-law, but only every other bit is inverted and the first segment is as fine as the second. Table 1a.
const fn a_expand(code: u8) -> i16 {
    let plain = code ^ 0x55;
    let segment = (plain >> 4) & 7;
    let step = (plain & 0x0F) as i16;
    // In half steps of the 12-bit scale: the middle of an interval.
    let magnitude = match segment {
        0 => (step << 1) + 1,
        _ => ((step << 1) + 33) << (segment - 1),
    };
    let sample = magnitude << 3;
    if plain & 0x80 == 0 { -sample } else { sample }
}

const fn a_compress(sample: i16) -> u8 {
    let magnitude = (if sample < 0 { !sample } else { sample } as u16) >> A_UNUSED_BITS;
    let (segment, step) = if magnitude < 16 {
        (0, magnitude)
    } else {
        // At least five bits; each further one is a segment.
        let segment = 12 - magnitude.leading_zeros() as u16;
        (segment, (magnitude >> (segment - 1)) & 0x0F)
    };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_one(law: Law, code: u8) -> i16 {
        let mut pcm = [0];
        law.decode(&[code], &mut pcm);
        pcm[0]
    }

    fn encode_one(law: Law, sample: i16) -> u8 {
        let mut codes = [0];
        law.encode(&[sample], &mut codes);
        codes[0]
    }

    #[test]
    fn decodes_the_values_of_the_recommendation() {
        // Tables 1 and 2 of G.711, scaled to 16 bits: both ends, around zero, and a segment edge on the way.
        for (code, value) in [
            (0x80, 32_124),
            (0x00, -32_124),
            (0x8F, 16_764),
            (0xFF, 0),
            (0x7F, 0),
            (0xFE, 8),
            (0x7E, -8),
            (0xEF, 132),
            (0xF0, 120),
            (0xDF, 396),
        ] {
            assert_eq!(decode_one(Law::Mu, code), value, "µ-law {code:#04x}");
        }
        for (code, value) in [
            (0xAA, 32_256),
            (0x2A, -32_256),
            (0xD5, 8),
            (0x55, -8),
            (0xD4, 24),
            (0xC5, 264),
            (0xCA, 504),
            (0xF5, 528),
            (0x85, 2_112 * 2),
        ] {
            assert_eq!(decode_one(Law::A, code), value, "A-law {code:#04x}");
        }
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                // µ-law has two zeros; the negative one comes back as the positive one.
                let expected = if law == Law::Mu && code == 0x7F { 0xFF } else { code };
                assert_eq!(encode_one(law, decode_one(law, code)), expected, "{law:?} {code:#04x}");
            }
        }
    }

    /// The recommendation puts each decoder value in the middle between the two decision values around it.
    #[test]
    fn every_code_stands_for_the_interval_around_its_value() {
        for law in [Law::Mu, Law::A] {
            let mut intervals = [(i32::MAX, i32::MIN); 256];
            let mut previous = i32::MIN;
            for sample in i16::MIN..=i16::MAX {
                let code = encode_one(law, sample);
                let value = i32::from(decode_one(law, code));
                assert!(value >= previous, "{law:?}: {value} follows {previous} at {sample}");
                previous = value;
                let (lowest, highest) = &mut intervals[usize::from(code)];
                *lowest = (*lowest).min(i32::from(sample));
                *highest = (*highest).max(i32::from(sample));
            }
            for code in 0..=255u8 {
                let (lowest, highest) = intervals[usize::from(code)];
                let value = i32::from(decode_one(law, code));
                let middle = (lowest + highest) / 2;
                // The outermost intervals also take what is clipped, and µ-law's zero is shared by two halves.
                let special = lowest == i32::from(i16::MIN) || highest == i32::from(i16::MAX) || value == 0;
                assert!(
                    special || (middle - value).abs() <= 1,
                    "{law:?} {code:#04x}: {value} for {lowest}..={highest}"
                );
            }
        }
    }

    #[test]
    fn a_tone_keeps_its_quality() {
        let tone: Vec<i16> = (0..8_000)
            .map(|n| (f64::from(n) * 2.0 * std::f64::consts::PI * 1_004.0 / 8_000.0).sin() * 10_000.0)
            .map(|v| v as i16)
            .collect();
        for law in [Law::Mu, Law::A] {
            let mut codes = vec![0; tone.len()];
            let mut back = vec![0; tone.len()];
            law.encode(&tone, &mut codes);
            law.decode(&codes, &mut back);
            let signal: f64 = tone.iter().map(|s| f64::from(*s).powi(2)).sum();
            let noise: f64 = tone.iter().zip(&back).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            let snr = 10.0 * (signal / noise).log10();
            assert!(snr > 36.0, "{law:?}: {snr:.1} dB");
        }
    }

    #[test]
    fn silence_is_silent() {
        for law in [Law::Mu, Law::A] {
            assert_eq!(encode_one(law, 0), law.silence());
            assert!(decode_one(law, law.silence()).abs() <= 8);
            assert_eq!(Law::from_payload_type(law.payload_type()), Some(law));
        }
        assert_eq!(Law::from_payload_type(13), None);
    }
}
