//! The codecs of an external-media leg: which there are, what Asterisk calls them, and what can be wrong with a
//! payload.

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

    /// The companding law, where there is one.
    pub const fn law(self) -> Option<Law> {
        match self {
            Self::G711(law) => Some(law),
            Self::G722 | Self::Linear16(_) | Self::Opus => None,
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
    /// G.722 codes two samples at a time.
    #[error("a G.722 frame of {samples} samples ends within a pair: an even number of samples is expected")]
    HalfPair {
        /// Length of the frame.
        samples: usize,
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
    /// What came is no Opus packet.
    #[error("a payload of {bytes} bytes is not decoded as Opus: {source}")]
    OpusPacket {
        /// Length of the payload.
        bytes: usize,
        /// What libopus says.
        source: audiopus::Error,
    },
    /// Opus has packets for 2.5, 5, 10, 20, 40 and 60 ms.
    #[error("a frame of {samples} samples at 16 kHz is not encoded as Opus: {source}")]
    OpusFrame {
        /// Length of the frame.
        samples: usize,
        /// What libopus says.
        source: audiopus::Error,
    },
    /// libopus did not make its state.
    #[error("no Opus coder could be made: {0}")]
    OpusState(#[source] audiopus::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Decoder, Encoder, MAX_FRAME_BYTES, MAX_PAYLOAD_SAMPLES};
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    const CODECS: [Codec; 8] = [
        Codec::G711(Law::Mu),
        Codec::G711(Law::A),
        Codec::G722,
        Codec::Linear16(SampleRate::HZ_8000),
        Codec::Linear16(SampleRate::HZ_16000),
        Codec::Linear16(SampleRate::HZ_24000),
        Codec::Linear16(SampleRate::HZ_48000),
        Codec::Opus,
    ];

    fn tone(rate: SampleRate, samples: usize) -> Vec<i16> {
        let step = TAU * 700.0 / f64::from(rate.hz());
        (0..samples).map(|n| (8_000.0 * (step * n as f64).sin()) as i16).collect()
    }

    fn coders(codec: Codec, order: ByteOrder) -> (Encoder, Decoder) {
        (Encoder::new(codec, order).unwrap(), Decoder::new(codec, order).unwrap())
    }

    /// How much of `pcm` is a tone of 700 Hz, from 0 to 1.
    fn purity(pcm: &[i16], rate: SampleRate) -> f64 {
        let step = TAU * 700.0 / f64::from(rate.hz());
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let sample = f64::from(*sample);
            re += sample * (step * n as f64).cos();
            im += sample * (step * n as f64).sin();
            power += sample * sample;
        }
        2.0 * (re * re + im * im) / (pcm.len() as f64 * power)
    }

    #[test]
    fn a_tone_comes_through_every_codec_in_every_packet_time() {
        for codec in CODECS {
            for order in [ByteOrder::Big, ByteOrder::Little] {
                for packet_ms in [10, 20, 40, 60] {
                    let (mut encoder, mut decoder) = coders(codec, order);
                    let samples = codec.rate().hz() as usize * packet_ms / 1_000;
                    let (mut payload, mut pcm) = ([0; 3 * MAX_FRAME_BYTES], [0; MAX_PAYLOAD_SAMPLES]);
                    let mut heard = Vec::new();
                    for frame in tone(codec.rate(), codec.rate().hz() as usize / 2).chunks_exact(samples) {
                        let bytes = encoder.encode(frame, &mut payload).unwrap();
                        let got = decoder.decode(&payload[..bytes], &mut pcm).unwrap();
                        assert_eq!(got, samples, "{codec:?}, {packet_ms} ms");
                        heard.extend_from_slice(&pcm[..got]);
                    }
                    let level = heard.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / heard.len() as f64;
                    assert!((level.sqrt() - 5_657.0).abs() < 600.0, "{codec:?}, {packet_ms} ms: level {level:.0}");
                    let settled = &heard[heard.len() / 4..];
                    let purity = purity(settled, codec.rate());
                    assert!(purity > 0.98, "{codec:?}, {packet_ms} ms: {purity:.3}");
                }
            }
        }
    }

    #[test]
    fn a_frame_of_20_ms_is_as_long_as_it_says() {
        for codec in CODECS {
            let (mut encoder, _) = coders(codec, ByteOrder::Big);
            let mut payload = [0; MAX_FRAME_BYTES];
            let bytes = encoder.encode(&tone(codec.rate(), codec.rate().frame_samples()), &mut payload).unwrap();
            match codec.frame_bytes() {
                Some(expected) => assert_eq!(bytes, expected, "{codec:?}"),
                None => assert!((3..=160).contains(&bytes), "{codec:?}: {bytes} bytes"),
            }
        }
    }

    /// A failure of peers: L16 that came by RTP was not byte-swapped, and speech was noise.
    #[test]
    fn linear16_is_in_network_order_on_rtp_and_in_machine_order_elsewhere() {
        for (order, payload) in
            [(ByteOrder::Big, [0x12, 0x34, 0xFF, 0xFE]), (ByteOrder::Little, [0x34, 0x12, 0xFE, 0xFF])]
        {
            let (mut encoder, mut decoder) = coders(Codec::Linear16(SampleRate::HZ_16000), order);
            let mut pcm = [0; 2];
            assert_eq!(decoder.decode(&payload, &mut pcm), Ok(2));
            assert_eq!(pcm, [0x1234, -2]);
            let mut back = [0; 4];
            assert_eq!(encoder.encode(&pcm, &mut back), Ok(4));
            assert_eq!(back, payload);
        }
    }

    #[test]
    fn what_cannot_be_decoded_says_how_long_it_was_and_the_stream_goes_on() {
        let mut pcm = [0; 160];
        for codec in CODECS {
            let (mut encoder, mut decoder) = coders(codec, ByteOrder::Little);
            assert_eq!(decoder.decode(&[], &mut pcm), Err(CodecError::EmptyPayload), "{codec:?}");
            let mut payload = [0; 3 * MAX_FRAME_BYTES];
            let frame = tone(codec.rate(), codec.rate().frame_samples() * 2);
            let bytes = encoder.encode(&frame, &mut payload).unwrap();
            assert_eq!(
                decoder.decode(&payload[..bytes], &mut pcm),
                Err(CodecError::PayloadTooLong { samples: frame.len(), room: 160 }),
                "{codec:?}"
            );
            let mut enough = [0; MAX_PAYLOAD_SAMPLES];
            assert_eq!(decoder.decode(&payload[..bytes], &mut enough), Ok(frame.len()), "{codec:?}");
        }
        let (_, mut decoder) = coders(Codec::Linear16(SampleRate::HZ_8000), ByteOrder::Little);
        let odd = decoder.decode(&[0; 319], &mut pcm);
        assert_eq!(odd, Err(CodecError::HalfSample { bytes: 319 }));
        assert_eq!(
            odd.unwrap_err().to_string(),
            "a LINEAR16 payload of 319 bytes ends within a sample: an even number of bytes is expected"
        );
        // A code of four frames in the packet without their number.
        let (_, mut decoder) = coders(Codec::Opus, ByteOrder::Little);
        let failure = decoder.decode(&[0x03], &mut [0; MAX_PAYLOAD_SAMPLES]);
        assert!(matches!(failure, Err(CodecError::OpusPacket { bytes: 1, .. })), "{failure:?}");
    }

    #[test]
    fn what_cannot_be_encoded_says_why() {
        for codec in [Codec::G711(Law::A), Codec::G722, Codec::Linear16(SampleRate::HZ_8000)] {
            let (mut encoder, _) = coders(codec, ByteOrder::Big);
            let frame = tone(codec.rate(), codec.rate().frame_samples());
            let bytes = codec.frame_bytes().unwrap();
            let failure = encoder.encode(&frame, &mut vec![0; bytes - 1]);
            assert_eq!(failure, Err(CodecError::NoRoom { bytes, room: bytes - 1 }), "{codec:?}");
        }
        let (mut g722, _) = coders(Codec::G722, ByteOrder::Big);
        assert_eq!(g722.encode(&[0; 161], &mut [0; 160]), Err(CodecError::HalfPair { samples: 161 }));
        let (mut opus, _) = coders(Codec::Opus, ByteOrder::Big);
        let failure = opus.encode(&[0; 300], &mut [0; 400]);
        assert!(matches!(failure, Err(CodecError::OpusFrame { samples: 300, .. })), "{failure:?}");
    }

    #[test]
    fn opus_of_a_fullband_stereo_sender_is_decoded_to_what_a_call_uses() {
        use audiopus::{Application, Channels, SampleRate as OpusRate, coder};
        let sender = coder::Encoder::new(OpusRate::Hz48000, Channels::Stereo, Application::Audio).unwrap();
        let (_, mut decoder) = coders(Codec::Opus, ByteOrder::Little);
        let (mut heard, mut pcm, mut packet) = (Vec::new(), [0; MAX_PAYLOAD_SAMPLES], [0; 1_500]);
        for frame in tone(SampleRate::HZ_48000, 48_000).chunks_exact(960) {
            let stereo: Vec<i16> = frame.iter().flat_map(|sample| [*sample, *sample]).collect();
            let bytes = sender.encode(&stereo, &mut packet).unwrap();
            let samples = decoder.decode(&packet[..bytes], &mut pcm).unwrap();
            assert_eq!(samples, 320);
            heard.extend_from_slice(&pcm[..samples]);
        }
        let purity = purity(&heard[4_000..], Codec::Opus.rate());
        assert!(purity > 0.98, "{purity:.3}");
    }

    #[test]
    fn streams_do_not_hear_each_other() {
        for codec in [Codec::G722, Codec::Opus] {
            let (mut talker, _) = coders(codec, ByteOrder::Big);
            let (mut silent, mut silent_decoder) = coders(codec, ByteOrder::Big);
            let (mut payload, mut pcm) = ([0; MAX_FRAME_BYTES], [0; MAX_PAYLOAD_SAMPLES]);
            for frame in tone(codec.rate(), 8_000).chunks_exact(320) {
                talker.encode(frame, &mut payload).unwrap();
                let bytes = silent.encode(&[0; 320], &mut payload).unwrap();
                let samples = silent_decoder.decode(&payload[..bytes], &mut pcm).unwrap();
                assert!(pcm[..samples].iter().all(|sample| sample.abs() <= 8), "{codec:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(payload in prop::collection::vec(any::<u8>(), 0..400)) {
            for codec in CODECS {
                let (_, mut decoder) = coders(codec, ByteOrder::Big);
                let mut pcm = [0; MAX_PAYLOAD_SAMPLES];
                let decoded = decoder.decode(&payload, &mut pcm);
                prop_assert!(decoded.is_ok_and(|samples| samples <= pcm.len()) || decoded.is_err());
            }
        }
    }
}
