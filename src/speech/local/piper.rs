//! Piper, the synthesiser's model: English text in, speech out.
//!
//! Text goes through three forms: [`sentences()`] cut it into pieces that are spoken in one breath, the [`Phonemizer`]
//! turns each into the International Phonetic Alphabet, and the [`Voice`] turns that into audio, in chunks, so that
//! the first sound can be heard while the rest is being computed.

mod config;
mod phonemes;
mod sentences;
mod spelling;
mod voice;

pub use config::ConfigError;
pub use phonemes::{PhonemeError, Phonemizer};
pub use sentences::sentences;
pub use voice::{Latent, PiperError, Voice};
