//! The speech detectors: a closed set, so that a call holds one without indirection.

use crate::audio::{FrameResampler, MAX_FRAME_SAMPLES, Resampler, SampleRate};
use std::fmt;
use webrtc_vad::{SampleRate as VadRate, Vad, VadMode};

/// Decides for each frame of 20 ms whether it holds speech.
pub struct Detector {
    frame_samples: usize,
    feed: Feed,
    model: Model,
}

/// What decides.
enum Model {
    /// The Gaussian mixture model of WebRTC: 1 to 2 µs a frame, 60 to 80 ms behind an onset; also fires on tones and
    /// hum.
    WebRtc(Vad),
}

/// How frames come to the model's rate.
enum Feed {
    /// It knows the rate of the call.
    Direct,
    /// From a rate that has a table of ours (24 and 48 kHz) to 8 kHz. The model could take 48 kHz, but at the double of
    /// the cost.
    Frames(Box<FrameResampler>),
    /// From any other rate to 8 kHz. Holds what is not a whole frame yet.
    Stream(Box<Resampler>, Vec<i16>),
}

/// What the model works at in the end, whatever it is fed.
const MODEL_RATE: SampleRate = SampleRate::HZ_8000;

impl Detector {
    /// A detector for a call at `rate`: that of WebRTC at its strictest setting, which telephone noise needs.
    pub fn new(rate: SampleRate) -> Self {
        let (feed, vad_rate) = match rate.hz() {
            8_000 => (Feed::Direct, VadRate::Rate8kHz),
            16_000 => (Feed::Direct, VadRate::Rate16kHz),
            32_000 => (Feed::Direct, VadRate::Rate32kHz),
            _ => (Feed::resampled(rate), VadRate::Rate8kHz),
        };
        let vad = Vad::new_with_rate_and_mode(vad_rate, VadMode::VeryAggressive);
        Self { frame_samples: rate.frame_samples(), feed, model: Model::WebRtc(vad) }
    }

    /// Whether `frame` (20 ms at the rate of the call) holds speech. A frame of any other length does not.
    pub fn is_speech(&mut self, frame: &[i16]) -> bool {
        if frame.len() != self.frame_samples {
            return false;
        }
        let mut resampled = [0; MODEL_RATE.frame_samples()];
        let frame = match &mut self.feed {
            Feed::Direct => frame,
            Feed::Frames(resampler) => {
                resampler.push(frame, &mut resampled);
                &resampled
            }
            Feed::Stream(resampler, pending) => {
                resampler.push(frame, pending);
                // The first frame comes out shorter, by what the filter takes to swing in.
                let ready = pending.len().min(resampled.len());
                let missing = resampled.len() - ready;
                resampled[missing..].copy_from_slice(&pending[..ready]);
                pending.drain(..ready);
                &resampled
            }
        };
        match &mut self.model {
            Model::WebRtc(vad) => vad.is_voice_segment(frame).unwrap_or(false),
        }
    }
}

impl Feed {
    fn resampled(from: SampleRate) -> Self {
        match FrameResampler::new(from, MODEL_RATE) {
            Some(resampler) => Self::Frames(Box::new(resampler)),
            None => Self::Stream(Box::new(Resampler::new(from, MODEL_RATE)), Vec::with_capacity(MAX_FRAME_SAMPLES)),
        }
    }
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            Model::WebRtc(_) => f.write_str("Detector(WebRtc)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rates of a call, and two that nothing but the general resampler knows.
    const RATES: [u32; 6] = [8_000, 16_000, 24_000, 48_000, 22_050, 44_100];

    fn rates() -> impl Iterator<Item = SampleRate> {
        RATES.into_iter().map(|hz| SampleRate::new(hz).unwrap())
    }

    /// A buzz of many harmonics under a syllable-like envelope: enough like a voice for a statistical detector.
    fn voice_like(frame: usize, rate: SampleRate) -> Vec<i16> {
        let samples = rate.frame_samples();
        (0..samples)
            .map(|i| {
                let t = (frame * samples + i) as f64 / f64::from(rate.hz());
                let envelope = 0.6 + 0.4 * (t * 4.0 * std::f64::consts::TAU).sin();
                let buzz: f64 =
                    (1..20).map(|h| (t * 130.0 * f64::from(h) * std::f64::consts::TAU).sin() / f64::from(h)).sum();
                (buzz * envelope * 6000.0) as i16
            })
            .collect()
    }

    #[test]
    fn silence_is_not_speech_and_a_voice_is_at_every_rate() {
        for rate in rates() {
            let mut detector = Detector::new(rate);
            let silence = vec![0; rate.frame_samples()];
            assert!((0..50).all(|_| !detector.is_speech(&silence)), "{rate:?}");
            let voiced = (0..50).filter(|frame| detector.is_speech(&voice_like(*frame, rate))).count();
            assert!(voiced > 40, "{rate:?}: only {voiced} of 50 frames were taken for speech");
            let after = (0..50).filter(|_| detector.is_speech(&silence)).count();
            assert!(after < 15, "{rate:?}: {after} of 50 frames of silence were taken for speech");
        }
    }

    /// A failure of peers: one detector for all calls, so that a silent caller was read as speaking beside a talker.
    #[test]
    fn a_silent_call_beside_a_talker_stays_silent() {
        for rate in rates() {
            let (mut talker, mut silent) = (Detector::new(rate), Detector::new(rate));
            let silence = vec![0; rate.frame_samples()];
            for frame in 0..100 {
                talker.is_speech(&voice_like(frame, rate));
                assert!(!silent.is_speech(&silence), "{rate:?}: frame {frame} of the silent call was taken for speech");
            }
        }
    }

    proptest! {
        #[test]
        fn a_frame_of_a_wrong_length_is_no_speech_and_does_no_harm(
            lengths in prop::collection::vec(0usize..1_200, 1..20),
        ) {
            for rate in rates() {
                let mut detector = Detector::new(rate);
                for length in lengths.iter().filter(|length| **length != rate.frame_samples()) {
                    prop_assert!(!detector.is_speech(&vec![9_000; *length]));
                }
                let voiced = (0..30).filter(|frame| detector.is_speech(&voice_like(*frame, rate))).count();
                prop_assert!(voiced > 20, "{:?}: only {} of 30", rate, voiced);
            }
        }
    }
}
