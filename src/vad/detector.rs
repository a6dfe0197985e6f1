//! The speech detectors: a closed set, so that a call holds one without indirection.

use crate::audio::SampleRate;
use std::fmt;
use webrtc_vad::{SampleRate as VadRate, Vad, VadMode};

/// Decides for each frame of 20 ms whether it holds speech.
pub enum Detector {
    /// The Gaussian mixture model of WebRTC: 1 to 2 µs a frame, 60 to 80 ms behind an onset; also fires on tones and hum.
    WebRtc(Vad),
}

impl Detector {
    /// The WebRTC detector at its strictest setting, which telephone noise needs.
    ///
    /// It works at 8, 16, 32 and 48 kHz; `None` at any other rate.
    pub fn webrtc(rate: SampleRate) -> Option<Self> {
        let rate = match rate.hz() {
            8_000 => VadRate::Rate8kHz,
            16_000 => VadRate::Rate16kHz,
            32_000 => VadRate::Rate32kHz,
            48_000 => VadRate::Rate48kHz,
            _ => return None,
        };
        Some(Self::WebRtc(Vad::new_with_rate_and_mode(rate, VadMode::VeryAggressive)))
    }

    /// Whether `frame` (20 ms at the rate of the detector) holds speech. A frame of any other length does not.
    pub fn is_speech(&mut self, frame: &[i16]) -> bool {
        match self {
            Self::WebRtc(vad) => vad.is_voice_segment(frame).unwrap_or(false),
        }
    }
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebRtc(_) => f.write_str("Detector::WebRtc"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buzz of many harmonics under a syllable-like envelope: enough like a voice for a statistical detector.
    fn voice_like(frame: usize) -> Vec<i16> {
        (0..160)
            .map(|i| {
                let t = (frame * 160 + i) as f64 / 8000.0;
                let envelope = 0.6 + 0.4 * (t * 4.0 * std::f64::consts::TAU).sin();
                let buzz: f64 =
                    (1..20).map(|h| (t * 130.0 * f64::from(h) * std::f64::consts::TAU).sin() / f64::from(h)).sum();
                (buzz * envelope * 6000.0) as i16
            })
            .collect()
    }

    #[test]
    fn silence_is_not_speech_and_a_voice_is() {
        let mut detector = Detector::webrtc(SampleRate::HZ_8000).unwrap();
        assert!((0..50).all(|_| !detector.is_speech(&[0; 160])));
        let voiced = (0..50).filter(|frame| detector.is_speech(&voice_like(*frame))).count();
        assert!(voiced > 40, "only {voiced} of 50 frames were taken for speech");
    }

    #[test]
    fn a_silent_call_beside_a_talker_stays_silent() {
        let mut talker = Detector::webrtc(SampleRate::HZ_8000).unwrap();
        let mut silent = Detector::webrtc(SampleRate::HZ_8000).unwrap();
        for frame in 0..100 {
            talker.is_speech(&voice_like(frame));
            assert!(!silent.is_speech(&[0; 160]), "frame {frame} of the silent call was taken for speech");
        }
    }

    #[test]
    fn a_rate_that_the_model_does_not_know_is_refused() {
        assert!(Detector::webrtc(SampleRate::new(24_000).unwrap()).is_none());
    }
}
