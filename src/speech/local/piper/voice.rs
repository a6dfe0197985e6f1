//! The voice: phonemes to audio, in two steps.
//!
//! The first part of the network makes a latent of the whole sentence, one frame for every 256 samples of audio, and
//! decides rhythm and melody on the way. The second, which is most of the work, turns frames into samples and looks
//! only at their neighbours: it is run in chunks, a small one first, each with a few frames of context at both ends.
//! The seams cannot be heard, nor measured (they are below the 16 bits of a sample).

use super::config::{ConfigError, VoiceConfig};
use crate::audio::SampleRate;
use crate::speech::local::pool::JobThread;
use rten::{Model, ModelOptions, NodeId, RunOptions, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The name of the latent in the network.
const LATENT: &str = "/Mul_7_output_0";
/// Samples for each frame of the latent.
const SAMPLES_PER_FRAME: usize = 256;
/// Frames of the first two chunks, 0.19 s and 0.37 s of audio: soon computed, and each long enough to compute the next
/// even on a busy machine.
const FIRST_CHUNKS: [usize; 2] = [16, 32];
/// Frames of all other chunks, 0.74 s of audio: so that calls take turns, and a cancelled reply costs little.
const CHUNK: usize = 64;
/// Frames at both ends of a chunk that are computed for the sake of their neighbours.
const CONTEXT: usize = 10;

/// A loaded voice. Shared by all calls.
pub struct Voice {
    config: VoiceConfig,
    network: Model,
    inputs: Inputs,
    latent: NodeId,
    output: NodeId,
}

struct Inputs {
    phonemes: NodeId,
    length: NodeId,
    scales: NodeId,
}

/// A sentence on its way to audio: `[1, channels, frames]`.
pub struct Latent {
    values: NdTensor<f32, 3>,
}

/// What can go wrong with a voice.
#[derive(Debug, thiserror::Error)]
pub enum PiperError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The settings are not usable.
    #[error("{}: {cause}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: ConfigError,
    },
    /// The network is not usable.
    #[error("{}: {cause}", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: Box<rten::LoadError>,
    },
    /// The network is not that of a Piper voice.
    #[error("{} has no {node:?}, so it is not a Piper voice of one speaker", path.display())]
    Node {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        node: &'static str,
    },
    /// The network could not be run.
    #[error("the voice failed: {0}")]
    Run(String),
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("rate", &self.config.rate).finish_non_exhaustive()
    }
}

impl fmt::Debug for Latent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latent").field("frames", &self.frames()).finish()
    }
}

impl Latent {
    /// One without any meaning, for speakers of tests.
    #[cfg(test)]
    pub(crate) fn blank(frames: usize) -> Self {
        Self { values: NdTensor::zeros([1, 1, frames]) }
    }

    fn frames(&self) -> usize {
        self.values.size(2)
    }

    /// The chunks in which it is to be decoded, as ranges of frames.
    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> + Send + use<> {
        chunks(self.frames())
    }
}

fn chunks(frames: usize) -> impl Iterator<Item = Range<usize>> + Send {
    let mut start = 0;
    let lengths = FIRST_CHUNKS.into_iter().chain(std::iter::repeat(CHUNK));
    lengths.map_while(move |length| {
        let chunk = start..(start + length).min(frames);
        start = chunk.end;
        (!chunk.is_empty()).then_some(chunk)
    })
}

impl Voice {
    /// Loads `voice.onnx` and `voice.json` of a folder. Takes about a second.
    ///
    /// # Errors
    /// A [`PiperError`] that names the file at fault.
    pub fn load(folder: &Path) -> Result<Self, PiperError> {
        let path = folder.join("voice.json");
        let json = fs::read_to_string(&path).map_err(|cause| PiperError::Read { path: path.clone(), cause })?;
        let config = VoiceConfig::parse(&json).map_err(|cause| PiperError::Config { path, cause })?;
        let path = folder.join("voice.onnx");
        let network = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load_file(&path)
            .map_err(|cause| PiperError::Network { path: path.clone(), cause: Box::new(cause) })?;
        let node = |node| network.find_node(node).ok_or_else(|| PiperError::Node { path: path.clone(), node });
        let inputs = Inputs { phonemes: node("input")?, length: node("input_lengths")?, scales: node("scales")? };
        let (latent, output) = (node(LATENT)?, node("output")?);
        Ok(Self { config, network, inputs, latent, output })
    }

    /// Rate of the audio.
    pub fn rate(&self) -> SampleRate {
        self.config.rate
    }

    /// Rhythm and melody of one sentence of phonemes.
    ///
    /// # Errors
    /// [`PiperError::Run`]; that is a fault of the program or of the network.
    pub fn latent(&self, phonemes: &str, thread: &JobThread) -> Result<Latent, PiperError> {
        let ids = self.config.ids(phonemes);
        let length = i32::try_from(ids.len()).map_err(|error| PiperError::Run(error.to_string()))?;
        let inputs = vec![
            (self.inputs.phonemes, NdTensor::from_data([1, ids.len()], ids).into()),
            (self.inputs.length, NdTensor::from_data([1], vec![length]).into()),
            (self.inputs.scales, NdTensor::from_data([3], self.config.scales.to_vec()).into()),
        ];
        let values = self.run(inputs, self.latent, thread)?;
        let values = values.try_into().map_err(|error| PiperError::Run(format!("latent: {error:?}")))?;
        Ok(Latent { values })
    }

    /// The audio of some frames of a latent, at [`Self::rate`], 256 samples for each frame.
    ///
    /// # Errors
    /// [`PiperError::Run`]; that is a fault of the program or of the network.
    pub fn decode(&self, latent: &Latent, frames: Range<usize>, thread: &JobThread) -> Result<Vec<i16>, PiperError> {
        let with_context = frames.start.saturating_sub(CONTEXT)..(frames.end + CONTEXT).min(latent.frames());
        let part = latent.values.slice((.., .., with_context.clone()));
        let audio = self.run(vec![(self.latent, part.to_tensor().into())], self.output, thread)?.to_vec();
        let skipped = (frames.start - with_context.start) * SAMPLES_PER_FRAME;
        let wanted = audio.get(skipped..skipped + frames.len() * SAMPLES_PER_FRAME);
        let wanted = wanted.ok_or_else(|| PiperError::Run(format!("{} samples for {with_context:?}", audio.len())))?;
        // A float cast saturates, which is what clipping asks for.
        Ok(wanted.iter().map(|sample| (sample * 32_767.0).round() as i16).collect())
    }

    fn run(
        &self,
        inputs: Vec<(NodeId, ValueOrView<'_>)>,
        output: NodeId,
        thread: &JobThread,
    ) -> Result<Tensor<f32>, PiperError> {
        let options = RunOptions::default().with_thread_pool(Some(JobThread::clone(thread)));
        let [value] =
            self.network.run_n(inputs, [output], Some(options)).map_err(|error| PiperError::Run(error.to_string()))?;
        value.try_into().map_err(|error| PiperError::Run(format!("output: {error:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_frames_once_and_the_first_is_small() {
        for frames in [0, 1, 15, 16, 17, 48, 49, 112, 500] {
            let chunks: Vec<_> = chunks(frames).collect();
            let covered: Vec<usize> = chunks.iter().cloned().flatten().collect();
            assert_eq!(covered, (0..frames).collect::<Vec<_>>());
            assert!(chunks.iter().zip([16, 32, 64, 64]).all(|(chunk, most)| chunk.len() <= most), "{chunks:?}");
        }
    }

    #[test]
    fn a_folder_without_a_voice_is_refused_with_the_file_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            matches!(Voice::load(folder.path()), Err(PiperError::Read { path, .. }) if path.ends_with("voice.json"))
        );
        fs::write(folder.path().join("voice.json"), super::super::config::tests::config_with("a")).unwrap();
        fs::write(folder.path().join("voice.onnx"), "not a network").unwrap();
        assert!(matches!(Voice::load(folder.path()), Err(PiperError::Network { .. })));
    }
}
