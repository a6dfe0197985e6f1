//! Speaking a text at once, without a call: to hear the voice, and to make announcements.

use super::models::{Manifest, ModelCache, PIPER};
use super::piper::{Phonemizer, Voice, sentences};
use super::{JobThread, LoadError};
use crate::audio::{Resampler, SampleRate};

/// The audio of a text, at `rate`. Blocks; loads the voice first.
///
/// # Errors
/// As [`super::LocalEngines::load`].
pub fn say(cache: &ModelCache, text: &str, rate: SampleRate) -> Result<Vec<i16>, LoadError> {
    let folder = cache.locate(Manifest::bundled().model(PIPER)?)?;
    let (phonemizer, voice) = (Phonemizer::american(), Voice::load(&folder)?);
    let thread = JobThread::new(rten::ThreadPool::with_num_threads(1));
    let mut resampler = Resampler::new(voice.rate(), rate);
    let mut audio = Vec::new();
    for sentence in sentences(text) {
        let phonemes = phonemizer.phonemes(sentence)?;
        if phonemes.is_empty() {
            continue;
        }
        let latent = voice.latent(&phonemes, &thread)?;
        for chunk in latent.chunks() {
            resampler.push(&voice.decode(&latent, chunk, &thread)?, &mut audio);
        }
    }
    resampler.finish(&mut audio);
    Ok(audio)
}
