//! RTP payload types: which codec each stands for, and which clock its timestamps count. Asterisk negotiates nothing on
//! an external-media leg: it uses the static types of RFC 3551 and fixed numbers of its own for the rest.

use crate::audio::g711::Law;
use crate::audio::{Codec, SampleRate};

/// RFC 3389: says what silence sounds like. Carries no audio.
pub(super) const COMFORT_NOISE: u8 = 13;

const OPUS: u8 = 107;

const fn linear16(hz: u32) -> Option<Codec> {
    match SampleRate::new(hz) {
        Some(rate) => Some(Codec::Linear16(rate)),
        None => None,
    }
}

/// The codec of a payload type as Asterisk assigns them; `None` if it is none of ours. Types 10 and 11 are LINEAR16 at
/// 44.1 kHz in RFC 3551, but at 8 kHz in Asterisk.
pub(super) const fn codec(payload_type: u8) -> Option<Codec> {
    match payload_type {
        0 => Some(Codec::G711(Law::Mu)),
        8 => Some(Codec::G711(Law::A)),
        9 => Some(Codec::G722),
        10 | 11 => linear16(8_000),
        122 => linear16(12_000),
        118 => linear16(16_000),
        123 => linear16(24_000),
        124 => linear16(32_000),
        125 => linear16(44_100),
        126 => linear16(48_000),
        OPUS => Some(Codec::Opus),
        _ => None,
    }
}

/// The payload type to send with. Asterisk takes only the static ones (up to 34) from us. A rate that has no number of its
/// own gets the first dynamic one.
pub(super) const fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::G711(law) => law.payload_type(),
        Codec::G722 => 9,
        Codec::Opus => OPUS,
        Codec::Linear16(rate) => match rate.hz() {
            8_000 => 10,
            12_000 => 122,
            16_000 => 118,
            24_000 => 123,
            32_000 => 124,
            44_100 => 125,
            48_000 => 126,
            _ => 96,
        },
    }
}

/// Ticks a second of the timestamps. Two codecs count otherwise than in samples: G.722 at 8 kHz, by an old mistake that was
/// kept (RFC 3551, section 4.5.2), and Opus always at 48 kHz (RFC 7587, section 4.1).
pub(super) const fn clock(codec: Codec) -> u32 {
    match codec {
        Codec::G711(_) | Codec::G722 => 8_000,
        Codec::Linear16(rate) => rate.hz(),
        Codec::Opus => 48_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_as_a_type_is_received_as_the_same_codec() {
        let mut found = 0;
        for number in 0..128 {
            if let Some(codec) = codec(number) {
                found += 1;
                assert!(payload_type(codec) == number || number == 11);
            }
        }
        assert_eq!(found, 12);
        assert_eq!(codec(COMFORT_NOISE), None);
    }

    #[test]
    fn clocks_are_those_that_asterisk_counts_by() {
        // Ticks in 20 ms.
        for (number, ticks) in
            [(0, 160), (8, 160), (9, 160), (10, 160), (122, 240), (118, 320), (123, 480), (126, 960), (107, 960)]
        {
            assert_eq!(clock(codec(number).unwrap()) / 50, ticks, "payload type {number}");
        }
    }
}
