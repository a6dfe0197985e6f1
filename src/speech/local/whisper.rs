//! Whisper, the recogniser's model: one utterance of 16 kHz audio in, its text out. English.
//!
//! Whisper was trained on windows of 30 s, and most of the work on a short utterance would be spent on the silence that
//! fills the window. Here only the utterance and one second of silence are encoded. What the decoder would have seen
//! behind that, the keys and values of silence, is computed once when the model is loaded and appended; without it
//! the decoder does not notice that the speech has ended and repeats itself.
//!
//! All of it runs on the calling thread's `rayon` pool: call it on a thread of [`super::InferencePool`].

mod attention;
mod decoder;
mod encoder;
mod greedy;
mod linear;
mod mel;
mod vocabulary;
mod weights;

pub use rten_gemm::GemmError;
pub use vocabulary::MissingToken;
pub use weights::WeightsError;

use decoder::{Decoder, Heard};
use encoder::Encoder;
use mel::{HOP, MelSpectrogram, RATE};
use rten_gemm::GemmExecutor;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use vocabulary::{Token, Vocabulary};
use weights::Weights;

/// Columns of silence (10 ms each) that are encoded behind every utterance.
const SILENT_COLUMNS: usize = 100;
/// The spectrogram's value for silence behind speech of usual loudness; see [`MelSpectrogram::of`].
const SILENCE: f32 = -0.6;
/// Tokens that the fastest speaker needs for a second, and those that any utterance may have.
const TOKENS_PER_SECOND: usize = 9;
const LEAST_TOKENS: usize = 4;
/// An utterance is taken for no speech if the model says so with this probability… (For noise, hum and silence it says
/// more than 0.8; for spoken prompts, single digits among them, less than 0.4.)
const NO_SPEECH_PROBABILITY: f32 = 0.6;
/// … and is not surer than this of its words, as a mean logarithm of their probabilities.
const NO_SPEECH_LOG_PROBABILITY: f32 = -0.5;

/// A loaded model. Shared by all calls.
pub struct Whisper {
    spectrogram: MelSpectrogram,
    encoder: Encoder,
    decoder: Decoder,
    vocabulary: Vocabulary,
    suppressed: Suppressed,
    /// A whole window of silence.
    silence: Heard,
}

/// The part of `config.json` that matters here.
#[derive(Deserialize)]
struct Suppressed {
    #[serde(rename = "suppress_ids")]
    always: Vec<Token>,
    #[serde(rename = "suppress_ids_begin")]
    first: Vec<Token>,
}

/// What was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcription {
    /// The words, with capitals and punctuation; empty when nobody spoke.
    pub text: String,
    /// How likely the model finds the words, 0 to 1 (the geometric mean over the tokens); `None` without words.
    pub confidence: Option<f32>,
}

/// What can go wrong with the model.
#[derive(Debug, thiserror::Error)]
pub enum WhisperError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The weights are not usable.
    #[error("{}: {cause}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: WeightsError,
    },
    /// The vocabulary is not usable.
    #[error("{}: {cause}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: MissingToken,
    },
    /// The vocabulary belongs to another model.
    #[error("the vocabulary has {vocabulary} tokens, the weights are for {weights}")]
    VocabularySize {
        /// Lines of the vocabulary.
        vocabulary: usize,
        /// Rows of the embeddings.
        weights: usize,
    },
    /// The configuration is not usable.
    #[error("{}: {cause}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: serde_json::Error,
    },
    /// The spectrogram could not be made.
    #[error("spectrogram: {0}")]
    Spectrogram(#[from] realfft::FftError),
    /// A matrix product could not be made.
    #[error("matrix product: {0}")]
    Product(#[from] GemmError),
}

impl fmt::Debug for Whisper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whisper").field("tokens", &self.vocabulary.len()).finish_non_exhaustive()
    }
}

impl Whisper {
    /// Loads `model.bin`, `vocabulary.txt` and `config.json` of a folder, and listens to 30 s of silence. Takes about a
    /// second.
    ///
    /// # Errors
    /// A [`WhisperError`] that names the file at fault.
    pub fn load(folder: &Path) -> Result<Self, WhisperError> {
        let path = folder.join("model.bin");
        let file = fs::read(&path).map_err(|cause| WhisperError::Read { path: path.clone(), cause })?;
        let gemm = GemmExecutor::new();
        let load = || {
            let weights = Weights::parse(&file)?;
            Ok((Encoder::load(&weights, &gemm)?, Decoder::load(&weights, &gemm)?))
        };
        let (encoder, decoder) = load().map_err(|cause| WhisperError::Weights { path, cause })?;
        let vocabulary = load_vocabulary(folder, decoder.tokens())?;
        let suppressed = load_suppressed(folder)?;
        let columns = encoder.max_columns();
        let encoded = encoder.forward(&gemm, &vec![SILENCE; mel::BANDS * columns], columns)?;
        let silence = decoder.listen(&gemm, &encoded)?;
        Ok(Self { spectrogram: MelSpectrogram::new(), encoder, decoder, vocabulary, suppressed, silence })
    }

    /// The longest utterance in samples at 16 kHz; of a longer one only the beginning is transcribed.
    pub fn max_samples(&self) -> usize {
        self.encoder.max_columns().saturating_sub(SILENT_COLUMNS) * HOP
    }

    /// Transcribes one utterance: `pcm` at 16 kHz, −1 to 1.
    ///
    /// # Errors
    /// [`WhisperError::Spectrogram`] and [`WhisperError::Product`] mean a fault of the program, not of the audio.
    pub fn transcribe(&self, pcm: &[f32]) -> Result<Transcription, WhisperError> {
        let pcm = &pcm[..pcm.len().min(self.max_samples())];
        let heard = self.listen(pcm)?;
        let mut transcript = decoder::Transcript::new(&heard, &self.silence);
        let special = self.vocabulary.special();
        let after_start = self.decoder.push(&mut transcript, special.start_of_transcript);
        let no_speech = special.no_speech.map_or(0.0, |token| greedy::probability(&after_start, token));
        let first = self.decoder.push(&mut transcript, special.no_timestamps);
        let wanted = LEAST_TOKENS + pcm.len() * TOKENS_PER_SECOND / RATE;
        let rules = greedy::Rules {
            suppressed: &self.suppressed.always,
            suppressed_first: &self.suppressed.first,
            special,
            max_tokens: wanted.min(self.decoder.max_length().saturating_sub(2)),
        };
        let choice = greedy::choose(&rules, first, |token| self.decoder.push(&mut transcript, token));
        let unsure = choice.mean_log_probability < NO_SPEECH_LOG_PROBABILITY;
        let text = if no_speech > NO_SPEECH_PROBABILITY && unsure {
            String::new()
        } else {
            self.vocabulary.text(&choice.tokens)
        };
        let confidence = (!text.is_empty()).then(|| choice.mean_log_probability.exp());
        Ok(Transcription { text, confidence })
    }

    fn listen(&self, pcm: &[f32]) -> Result<Heard, WhisperError> {
        // The second convolution of the encoder halves the columns, so their number is even.
        let columns = (pcm.len().div_ceil(HOP) + SILENT_COLUMNS).next_multiple_of(2).min(self.encoder.max_columns());
        let spectrogram = self.spectrogram.of(pcm, columns)?;
        // It only chooses the kernels for this processor, and it cannot be shared between threads.
        let gemm = GemmExecutor::new();
        let encoded = self.encoder.forward(&gemm, &spectrogram, columns)?;
        Ok(self.decoder.listen(&gemm, &encoded)?)
    }
}

fn load_vocabulary(folder: &Path, tokens: usize) -> Result<Vocabulary, WhisperError> {
    let path = folder.join("vocabulary.txt");
    let text = fs::read_to_string(&path).map_err(|cause| WhisperError::Read { path: path.clone(), cause })?;
    let vocabulary = Vocabulary::parse(&text).map_err(|cause| WhisperError::Vocabulary { path, cause })?;
    if vocabulary.len() == tokens {
        Ok(vocabulary)
    } else {
        Err(WhisperError::VocabularySize { vocabulary: vocabulary.len(), weights: tokens })
    }
}

fn load_suppressed(folder: &Path) -> Result<Suppressed, WhisperError> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(|cause| WhisperError::Read { path: path.clone(), cause })?;
    serde_json::from_str(&text).map_err(|cause| WhisperError::Config { path, cause })
}
