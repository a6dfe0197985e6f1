//! The settings that come with a voice: its rate, its alphabet, and how lively it is.

use crate::audio::SampleRate;
use serde::Deserialize;
use std::collections::HashMap;

/// Begins every sentence of phonemes.
const BEGIN: &str = "^";
/// Ends it.
const END: &str = "$";
/// Stands between the phonemes: the voice was trained so.
const PAD: &str = "_";

/// What `voice.json` says, checked.
#[derive(Clone, Debug)]
pub(super) struct VoiceConfig {
    /// Rate of the audio that comes out.
    pub(super) rate: SampleRate,
    /// How much chance there is in the sound, how slow the speech is, and how much chance there is in its rhythm.
    pub(super) scales: [f32; 3],
    alphabet: HashMap<char, i32>,
    begin: i32,
    end: i32,
    pad: i32,
}

/// Why the settings of a voice cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// They are no JSON, or a field is missing.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The rate is none that can be resampled.
    #[error("{0} Hz is not a rate that can be resampled")]
    Rate(u32),
    /// The alphabet lacks a sign that steers the voice.
    #[error("the alphabet has no {0:?}")]
    Sign(&'static str),
    /// The phonemes of the voice are of another kind.
    #[error("the voice speaks {0:?} phonemes, only those of espeak are known")]
    Phonemes(String),
}

#[derive(Deserialize)]
struct RawConfig {
    audio: RawAudio,
    inference: RawInference,
    #[serde(default = "espeak")]
    phoneme_type: String,
    phoneme_id_map: HashMap<String, Vec<i32>>,
}

#[derive(Deserialize)]
struct RawAudio {
    sample_rate: u32,
}

#[derive(Deserialize)]
struct RawInference {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

fn espeak() -> String {
    "espeak".to_owned()
}

impl VoiceConfig {
    /// Reads the text of `voice.json`.
    pub(super) fn parse(json: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = serde_json::from_str(json)?;
        if raw.phoneme_type != "espeak" {
            return Err(ConfigError::Phonemes(raw.phoneme_type));
        }
        let rate = SampleRate::new(raw.audio.sample_rate).ok_or(ConfigError::Rate(raw.audio.sample_rate))?;
        let sign = |name: &'static str| {
            raw.phoneme_id_map.get(name).and_then(|ids| ids.first()).copied().ok_or(ConfigError::Sign(name))
        };
        let (begin, end, pad) = (sign(BEGIN)?, sign(END)?, sign(PAD)?);
        let single = |(name, ids): (&String, &Vec<i32>)| {
            let mut characters = name.chars();
            match (characters.next(), characters.next(), ids.first()) {
                (Some(character), None, Some(id)) if ![BEGIN, END, PAD].contains(&name.as_str()) => {
                    Some((character, *id))
                }
                _ => None,
            }
        };
        let alphabet = raw.phoneme_id_map.iter().filter_map(single).collect();
        let scales = [raw.inference.noise_scale, raw.inference.length_scale, raw.inference.noise_w];
        Ok(Self { rate, scales, alphabet, begin, end, pad })
    }

    /// The numbers that stand for a sentence of phonemes. Signs that the voice does not know are left out.
    pub(super) fn ids(&self, phonemes: &str) -> Vec<i32> {
        let known = phonemes.chars().filter_map(|phoneme| self.alphabet.get(&phoneme));
        let padded = known.flat_map(|id| [*id, self.pad]);
        [self.begin, self.pad].into_iter().chain(padded).chain([self.end]).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Settings with this alphabet besides the signs.
    pub(in super::super) fn config_with(alphabet: &str) -> String {
        let letters: Vec<String> =
            alphabet.chars().enumerate().map(|(i, letter)| format!("\"{letter}\": [{}]", i + 10)).collect();
        format!(
            r#"{{"audio": {{"sample_rate": 22050}}, "phoneme_type": "espeak", "num_speakers": 1,
                "inference": {{"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8}},
                "phoneme_id_map": {{"_": [0], "^": [1], "$": [2], {}}}}}"#,
            letters.join(", ")
        )
    }

    #[test]
    fn phonemes_become_padded_numbers_between_the_signs() {
        let config = VoiceConfig::parse(&config_with("həl")).unwrap();
        assert_eq!(config.rate.hz(), 22_050);
        assert_eq!(config.scales, [0.667, 1.0, 0.8]);
        assert_eq!(config.ids("həl"), [1, 0, 10, 0, 11, 0, 12, 0, 2]);
    }

    #[test]
    fn what_the_voice_does_not_know_is_left_out_and_signs_cannot_be_smuggled_in() {
        let config = VoiceConfig::parse(&config_with("a")).unwrap();
        assert_eq!(config.ids("aж^$_a"), [1, 0, 10, 0, 10, 0, 2]);
        assert_eq!(config.ids(""), [1, 0, 2]);
    }

    #[test]
    fn settings_that_do_not_fit_are_refused_by_what_is_wrong() {
        let good = config_with("a");
        assert!(matches!(VoiceConfig::parse("{"), Err(ConfigError::Json(_))));
        assert!(matches!(VoiceConfig::parse(&good.replace("22050", "22051")), Err(ConfigError::Rate(22_051))));
        assert!(matches!(VoiceConfig::parse(&good.replace("\"^\"", "\"x\"")), Err(ConfigError::Sign("^"))));
        assert!(matches!(VoiceConfig::parse(&good.replace("espeak", "text")), Err(ConfigError::Phonemes(_))));
    }
}
