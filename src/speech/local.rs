//! The engines of this process: Whisper hears, Piper speaks, both in pure Rust on a few threads of their own.
//!
//! They understand and speak English. [`LocalEngines::load`] loads both from the cache that `arioso models fetch`
//! fills.

mod caller_audio;
pub mod models;
pub mod piper;
mod pool;
mod recognizer;
mod say;
mod synthesizer;
pub mod whisper;

pub use pool::{Admission, InferencePool, JobThread, PoolError};
pub use recognizer::LocalRecognizer;
pub use say::say;
pub use synthesizer::LocalSynthesizer;

use super::EngineError;
use models::{Manifest, ModelCache, ModelError, PIPER, WHISPER};
use piper::{PhonemeError, Phonemizer, PiperError, Voice};
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::sync::Arc;
use whisper::{Whisper, WhisperError};

/// The built-in engines, loaded once and shared by all calls.
#[derive(Clone, Debug)]
pub struct LocalEngines {
    /// Speech to text.
    pub recognizer: Arc<LocalRecognizer>,
    /// Text to speech.
    pub synthesizer: Arc<LocalSynthesizer>,
}

/// Why the built-in engines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A model's files are not as they must be.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The recogniser's model is not usable.
    #[error("the recogniser's model: {0}")]
    Whisper(#[from] WhisperError),
    /// The synthesiser's model is not usable.
    #[error("the synthesiser's model: {0}")]
    Piper(#[from] PiperError),
    /// The synthesiser's dictionary is not usable.
    #[error("the synthesiser's dictionary: {0}")]
    Phonemes(#[from] PhonemeError),
    /// The threads cannot be started.
    #[error("cannot start the threads for inference: {0}")]
    Threads(std::io::Error),
}

impl From<LoadError> for EngineError {
    fn from(error: LoadError) -> Self {
        Self::Local(error.to_string())
    }
}

impl LocalEngines {
    /// Loads both engines and runs each once, so that the first caller waits no longer than the others. Blocks for a
    /// few seconds: call it before the server starts, or where blocking is allowed.
    ///
    /// # Errors
    /// [`LoadError::Model`] says what to do about missing or damaged files; the others name the file at fault.
    pub fn load(cache: &ModelCache, threads: NonZeroUsize) -> Result<Self, LoadError> {
        let manifest = Manifest::bundled();
        let whisper_folder = cache.locate(manifest.model(WHISPER)?)?;
        let piper_folder = cache.locate(manifest.model(PIPER)?)?;
        let whisper = Arc::new(Whisper::load(&whisper_folder)?);
        let (phonemizer, voice) = (Phonemizer::american(), Voice::load(&piper_folder)?);
        warm_up(&whisper, &phonemizer, &voice)?;
        let pool = Arc::new(InferencePool::start(threads).map_err(LoadError::Threads)?);
        let recognizer = LocalRecognizer::new(whisper, Arc::clone(&pool));
        let synthesizer = LocalSynthesizer::new(phonemizer, voice, pool);
        Ok(Self { recognizer: Arc::new(recognizer), synthesizer: Arc::new(synthesizer) })
    }
}

/// Touches all weights once and lets each engine make its first allocations.
fn warm_up(whisper: &Whisper, phonemizer: &Phonemizer, voice: &Voice) -> Result<(), LoadError> {
    const HALF_A_SECOND: usize = 8_000;
    let thread = JobThread::new(rten::ThreadPool::with_num_threads(1));
    whisper.transcribe(&[0.0; HALF_A_SECOND])?;
    let latent = voice.latent(&phonemizer.phonemes("Hello.")?, &thread)?;
    if let Some(first) = latent.chunks().next() {
        voice.decode(&latent, first, &thread)?;
    }
    Ok(())
}

/// Both models know English only; another language is refused rather than garbled.
fn require_english(language: &str, engine: &str) -> Result<(), EngineError> {
    let primary = language.split(['-', '_']).next().unwrap_or_default();
    if primary.eq_ignore_ascii_case("en") {
        Ok(())
    } else {
        Err(EngineError::Local(format!(
            "the built-in {engine} knows English only, not {language:?}: use an engine over gRPC"
        )))
    }
}

/// An error of a model or of the pool as one of an engine.
fn local_error(error: impl Display) -> EngineError {
    EngineError::Local(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_without_models_say_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = LocalEngines::load(&ModelCache::at(folder.path()), NonZeroUsize::MIN).unwrap_err();
        assert!(matches!(&error, LoadError::Model(ModelError::Missing { .. })), "{error}");
        assert!(EngineError::from(error).to_string().contains("arioso models fetch"));
    }

    #[test]
    fn english_of_any_country_is_accepted_and_nothing_else() {
        for english in ["en", "en-US", "EN_gb", "en-Latn-AU"] {
            assert_eq!(require_english(english, "recogniser"), Ok(()));
        }
        for other in ["ru-RU", "", "eng", "enx-US"] {
            assert!(matches!(require_english(other, "recogniser"), Err(EngineError::Local(_))), "{other}");
        }
    }
}
