//! What callers say, coded once for all of them, and the place of the stamp in it.

use super::plan::CallerAudio;
use super::stamp::{STAMP_SAMPLES, Stamp};
use crate::audio::g711::Law;
use crate::audio::{ByteOrder, Codec, CodecError, Encoder, MAX_FRAME_BYTES, Resampler, SampleRate};
use std::io::Cursor;

/// Somebody who speaks for four seconds; how it was made is told in `models/README.md`.
const SPEECH: &[u8] = include_bytes!("../../../models/apology.en-US.wav");
/// The whole round: speech, and then silence that is long enough for the end of the utterance to be noticed and a short
/// answer to be played.
const ROUND_FRAMES: usize = 320;
/// Level of noise: about that of speech.
const NOISE_PEAK: u64 = 6000;

/// A round of frames of 20 ms, coded.
pub(super) struct Program {
    frames: Vec<Box<[u8]>>,
}

impl Program {
    /// # Errors
    /// When the codec cannot be set up.
    pub(super) fn new(audio: CallerAudio, codec: Codec, order: ByteOrder) -> Result<Self, CodecError> {
        let rate = codec.rate();
        let mut pcm = match audio {
            CallerAudio::Speech => speech(rate),
            CallerAudio::Noise => noise(ROUND_FRAMES * rate.frame_samples()),
            CallerAudio::Silence => Vec::new(),
        };
        pcm.resize(ROUND_FRAMES * rate.frame_samples(), 0);
        let mut encoder = Encoder::new(codec, order)?;
        let mut coded = vec![0; MAX_FRAME_BYTES];
        let frame = |frame: &[i16]| {
            let length = encoder.encode(frame, &mut coded)?;
            Ok(Box::from(&coded[..length]))
        };
        Ok(Self { frames: pcm.chunks_exact(rate.frame_samples()).map(frame).collect::<Result<_, CodecError>>()? })
    }

    /// Frame `number` of a caller who begins somewhere else than the others.
    pub(super) fn frame(&self, call: usize, number: u64) -> &[u8] {
        // 61 shares no divisor with the length of the round, so the beginnings are spread over all of it.
        let at = (call as u64 * 61 + number) % self.frames.len() as u64;
        &self.frames[at as usize]
    }
}

fn speech(rate: SampleRate) -> Vec<i16> {
    let reader = hound::WavReader::new(Cursor::new(SPEECH));
    // The file is part of this program, and a test reads it; without it callers would be silent.
    let pcm: Vec<i16> = reader.map(|reader| reader.into_samples().filter_map(Result::ok).collect()).unwrap_or_default();
    let mut converted = Vec::new();
    let mut resampler = Resampler::new(SampleRate::HZ_8000, rate);
    resampler.push(&pcm, &mut converted);
    resampler.finish(&mut converted);
    converted
}

fn noise(samples: usize) -> Vec<i16> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        // Marsaglia's xorshift: the same noise every time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % (2 * NOISE_PEAK)) as i64 - NOISE_PEAK as i64
    };
    (0..samples).map(|_| next() as i16).collect()
}

/// How stamps are written into a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StampCode {
    Law(Law),
    Linear(ByteOrder),
    /// The codec does not keep single samples.
    None,
}

impl StampCode {
    pub(super) const fn of(codec: Codec, order: ByteOrder) -> Self {
        match codec {
            Codec::G711(law) => Self::Law(law),
            Codec::Linear16(_) => Self::Linear(order),
            Codec::G722 | Codec::Opus => Self::None,
        }
    }

    /// Whether stamps can be written and read.
    pub(super) const fn exists(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Puts a stamp over the beginning of a payload.
    pub(super) fn write(self, stamp: &Stamp, payload: &mut [u8]) {
        let samples = stamp.samples();
        match self {
            // Up to the shorter of the two.
            Self::Law(law) => law.encode(&samples, payload),
            Self::Linear(order) => {
                for (bytes, sample) in payload.chunks_exact_mut(2).zip(samples) {
                    bytes.copy_from_slice(&match order {
                        ByteOrder::Big => sample.to_be_bytes(),
                        ByteOrder::Little => sample.to_le_bytes(),
                    });
                }
            }
            Self::None => {}
        }
    }

    /// Reads the stamp at the beginning of a payload.
    pub(super) fn read(self, payload: &[u8], now_ns: u64) -> Option<Stamp> {
        let mut samples = [0; STAMP_SAMPLES];
        match self {
            Self::Law(law) => law.decode(payload.get(..STAMP_SAMPLES)?, &mut samples),
            Self::Linear(order) => {
                for (sample, bytes) in samples.iter_mut().zip(payload.get(..2 * STAMP_SAMPLES)?.chunks_exact(2)) {
                    *sample = match order {
                        ByteOrder::Big => i16::from_be_bytes([bytes[0], bytes[1]]),
                        ByteOrder::Little => i16::from_le_bytes([bytes[0], bytes[1]]),
                    };
                }
            }
            Self::None => return None,
        }
        Stamp::read(&samples, now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::Source;
    use super::*;

    const MU: Codec = Codec::G711(Law::Mu);

    #[test]
    fn the_speech_is_there_and_ends_in_a_pause() {
        let program = Program::new(CallerAudio::Speech, MU, ByteOrder::Big).unwrap();
        assert_eq!(program.frames.len(), ROUND_FRAMES);
        let loud = |frame: &[u8]| {
            let mut pcm = [0; 160];
            Law::Mu.decode(frame, &mut pcm);
            pcm.iter().any(|sample| sample.unsigned_abs() > 1000)
        };
        assert!(program.frames.iter().filter(|frame| loud(frame)).count() > 100);
        assert!(program.frames[200..].iter().all(|frame| !loud(frame)));
    }

    #[test]
    fn every_codec_has_its_frames() {
        for codec in [MU, Codec::G711(Law::A), Codec::Linear16(SampleRate::HZ_16000)] {
            let program = Program::new(CallerAudio::Noise, codec, ByteOrder::Little).unwrap();
            assert_eq!(Some(program.frame(7, 1000).len()), codec.frame_bytes());
        }
    }

    #[test]
    fn a_stamp_is_written_and_read_in_every_code_that_keeps_it() {
        let stamp = Stamp { source: Source::Caller, measured: true, call: 3, sequence: 9, sent_ns: 1 << 60 };
        for code in [
            StampCode::Law(Law::Mu),
            StampCode::Law(Law::A),
            StampCode::Linear(ByteOrder::Big),
            StampCode::Linear(ByteOrder::Little),
        ] {
            let mut payload = [0x77; 320];
            code.write(&stamp, &mut payload);
            assert_eq!(code.read(&payload, (1 << 60) + 5), Some(stamp));
        }
        assert_eq!(StampCode::None.read(&[0; 160], 0), None);
    }
}
