//! A mark in audio that survives the way through the server: which call, which packet, when it was sent.
//!
//! It is written into the first 24 samples of a frame, four bits a sample, at levels that are values of the decoder of
//! µ-law and of A-law alike (odd multiples of 8 up to ±120). So it comes out as it went in, however often the audio is
//! coded and decoded at the same rate; and it is some 50 dB below full scale, so that it is not taken for speech.

/// Samples that a stamp takes.
pub(super) const STAMP_SAMPLES: usize = 24;
const BYTES: usize = STAMP_SAMPLES / 2;
/// Times travel modulo this: three days.
const TIME_MODULUS: u64 = 1 << 48;

/// Whose audio it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A caller's.
    Caller,
    /// An engine's reply.
    Reply,
}

/// What is written into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) source: Source,
    /// Whether the frame was sent while measuring.
    pub(super) measured: bool,
    /// Number of the call in the run.
    pub(super) call: u16,
    /// Number of the frame in its direction; wraps.
    pub(super) sequence: u16,
    /// When it was sent: nanoseconds of the real-time clock, which is the one that the kernel stamps packets with.
    pub(super) sent_ns: u64,
}

impl Stamp {
    /// As samples.
    pub(super) fn samples(&self) -> [i16; STAMP_SAMPLES] {
        let mut bytes = [0; BYTES];
        bytes[0] = match self.source {
            Source::Caller => 0xA0,
            Source::Reply => 0x50,
        } | if self.measured { 0x0C } else { 0x03 };
        bytes[1..3].copy_from_slice(&self.call.to_be_bytes());
        bytes[3..5].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[5..11].copy_from_slice(&self.sent_ns.to_be_bytes()[2..]);
        bytes[11] = check(&bytes);
        std::array::from_fn(|n| {
            let byte = bytes[n / 2];
            level(if n % 2 == 0 { byte >> 4 } else { byte & 0x0F })
        })
    }

    /// Out of the first samples of a frame; `None` if there is none. `now_ns` is a moment within a day after it was sent.
    pub(super) fn read(samples: &[i16], now_ns: u64) -> Option<Self> {
        let samples: &[i16; STAMP_SAMPLES] = samples.get(..STAMP_SAMPLES)?.try_into().ok()?;
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(samples.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        if bytes[11] != check(&bytes) {
            return None;
        }
        let source = match bytes[0] & 0xF0 {
            0xA0 => Source::Caller,
            0x50 => Source::Reply,
            _ => return None,
        };
        let measured = match bytes[0] & 0x0F {
            0x0C => true,
            0x03 => false,
            _ => return None,
        };
        let mut time = [0; 8];
        time[2..].copy_from_slice(&bytes[5..11]);
        let ago = now_ns.wrapping_sub(u64::from_be_bytes(time)) % TIME_MODULUS;
        // The clocks of two processors may differ by a little, so a stamp can seem to come from the future.
        let sent_ns = if ago > TIME_MODULUS / 2 { now_ns + (TIME_MODULUS - ago) } else { now_ns.saturating_sub(ago) };
        Some(Self {
            source,
            measured,
            call: u16::from_be_bytes([bytes[1], bytes[2]]),
            sequence: u16::from_be_bytes([bytes[3], bytes[4]]),
            sent_ns,
        })
    }
}

fn check(bytes: &[u8; BYTES]) -> u8 {
    bytes[..BYTES - 1].iter().fold(0x5A, |sum: u8, byte| sum.rotate_left(1) ^ byte)
}

fn level(nibble: u8) -> i16 {
    (i16::from(nibble) * 2 - 15) * 8
}

fn nibble(sample: i16) -> Option<u8> {
    u8::try_from((i32::from(sample) + 128) >> 4).ok().filter(|nibble| *nibble < 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::Law;

    fn stamps() -> impl Iterator<Item = Stamp> {
        let base = Stamp {
            source: Source::Caller,
            measured: true,
            call: 999,
            sequence: 65_535,
            sent_ns: 1_700_000_000_123_456_789,
        };
        [
            base,
            Stamp { source: Source::Reply, measured: false, call: 0, sequence: 0, ..base },
            Stamp { call: u16::MAX, sequence: 0x1234, sent_ns: base.sent_ns + TIME_MODULUS, ..base },
        ]
        .into_iter()
    }

    #[test]
    fn a_stamp_survives_both_laws_any_number_of_times() {
        for stamp in stamps() {
            for law in [Law::Mu, Law::A, Law::Mu] {
                let mut pcm = stamp.samples();
                for _ in 0..3 {
                    let mut codes = [0; STAMP_SAMPLES];
                    law.encode(&pcm, &mut codes);
                    law.decode(&codes, &mut pcm);
                }
                assert_eq!(pcm, stamp.samples(), "the levels are values of the decoder");
                assert_eq!(Stamp::read(&pcm, stamp.sent_ns + 5_000_000), Some(stamp));
            }
        }
    }

    #[test]
    fn a_stamp_survives_a_change_of_law() {
        for stamp in stamps() {
            let (mut codes, mut pcm) = ([0; STAMP_SAMPLES], stamp.samples());
            for law in [Law::Mu, Law::A, Law::Mu] {
                law.encode(&pcm, &mut codes);
                law.decode(&codes, &mut pcm);
            }
            assert_eq!(Stamp::read(&pcm, stamp.sent_ns), Some(stamp));
        }
    }

    #[test]
    fn clocks_that_differ_a_little_do_not_matter() {
        for stamp in stamps() {
            assert_eq!(Stamp::read(&stamp.samples(), stamp.sent_ns - 1000), Some(stamp));
        }
    }

    #[test]
    fn other_audio_is_no_stamp() {
        assert_eq!(Stamp::read(&[0; 160], 0), None);
        assert_eq!(Stamp::read(&[], 0), None);
        let mut damaged = stamps().next().unwrap().samples();
        damaged[7] = -damaged[7];
        assert_eq!(Stamp::read(&damaged, 0), None);
        let loud: Vec<i16> = (0..160).map(|n| n * 200).collect();
        assert_eq!(Stamp::read(&loud, 0), None);
    }
}
