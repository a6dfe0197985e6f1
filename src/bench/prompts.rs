//! What callers say: the human prompts that come with Asterisk, by name, and a synthetic voice where no prompt says
//! what is needed. All 8 kHz.

use super::asterisk::AsteriskRoot;
use crate::audio::{Resampler, SampleRate};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Telephone rate.
const RATE: SampleRate = SampleRate::HZ_8000;

/// Name of a prompt that nobody recorded.
pub const SYNTHETIC: &str = "synthetic voice";

/// The prompts of an [`AsteriskRoot`].
#[derive(Clone, Debug)]
pub struct Prompts {
    folder: PathBuf,
    transcripts: BTreeMap<String, String>,
}

/// Something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Name of the prompt, or [`SYNTHETIC`].
    pub name: String,
    /// The words.
    pub text: String,
    /// The audio, 8 kHz.
    pub pcm: Vec<i16>,
}

/// There is nothing to say.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A program that is needed is not there, or failed.
    #[error("{program} failed: {source}; `apt-get install {program_package}` brings it", program_package = package(program))]
    Program {
        /// The program.
        program: &'static str,
        /// What went wrong.
        source: io::Error,
    },
    /// There is no such prompt.
    #[error("Asterisk has no prompt {name:?}{}", nearest.as_ref().map(|name| format!("; is {name:?} meant?")).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The most similar name.
        nearest: Option<String>,
    },
    /// The file is not as it should be.
    #[error("cannot read {}: {source}", path.display())]
    Wav {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: hound::Error,
    },
    /// The file is not one channel of 16 bits at a rate that we can convert.
    #[error("{} has {} channels, {} bits, {} Hz; expected one channel of 16 bits at 8000 to 48000 Hz", path.display(), spec.channels, spec.bits_per_sample, spec.sample_rate)]
    Format {
        /// The file.
        path: PathBuf,
        /// What it has.
        spec: hound::WavSpec,
    },
}

impl Prompt {
    /// The part between two moments, as a prompt of its own that says `text`: a sentence out of a long announcement.
    #[must_use]
    pub fn part(&self, between: Range<Duration>, text: &str) -> Self {
        let sample = |moment| usize::try_from(RATE.samples_in(moment)).unwrap_or(usize::MAX).min(self.pcm.len());
        let (start, end) = (sample(between.start), sample(between.end));
        let pcm = self.pcm.get(start..end).unwrap_or_default().to_vec();
        Self { name: self.name.clone(), text: text.to_owned(), pcm }
    }
}

impl Prompts {
    /// Reads the list of prompts.
    ///
    /// # Errors
    ///
    /// [`PromptError::Program`] if the list cannot be unpacked.
    pub fn open(root: &AsteriskRoot) -> Result<Self, PromptError> {
        let failed = |source| PromptError::Program { program: "zcat", source };
        let output = Command::new("zcat").arg(root.transcripts()).stdin(Stdio::null()).output().map_err(failed)?;
        if !output.status.success() {
            return Err(failed(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())));
        }
        let transcripts = read_transcripts(&String::from_utf8_lossy(&output.stdout));
        Ok(Self { folder: root.prompts(), transcripts })
    }

    /// The prompt `name`, such as `goodbye` or `digits/7`.
    ///
    /// # Errors
    ///
    /// [`PromptError::Unknown`], [`PromptError::Wav`], [`PromptError::Format`].
    pub fn get(&self, name: &str) -> Result<Prompt, PromptError> {
        let Some(text) = self.transcripts.get(name) else {
            let similarity = |known: &&String| strsim::jaro_winkler(known, name);
            let nearest = self.transcripts.keys().max_by(|a, b| similarity(a).total_cmp(&similarity(b))).cloned();
            return Err(PromptError::Unknown { name: name.to_owned(), nearest });
        };
        let pcm = read_wav(&self.folder.join(format!("{name}.wav")))?;
        Ok(Prompt { name: name.to_owned(), text: text.clone(), pcm })
    }

    /// Names and words of the prompts in which every word of `words` occurs, in any case.
    pub fn search(&self, words: &str) -> impl Iterator<Item = (&str, &str)> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let all = self.transcripts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        all.filter(move |(_, text)| {
            let text = text.to_lowercase();
            words.iter().all(|word| text.split(|c: char| !c.is_alphanumeric()).any(|part| part == word))
        })
    }
}

/// Has `flite` say `text` with one of its voices: `rms` is a man whom a small recogniser understands well, `slt` a woman.
/// Blocks for some ten milliseconds.
///
/// # Errors
///
/// [`PromptError::Program`], [`PromptError::Wav`], [`PromptError::Format`].
pub fn synthesize(text: &str, voice: &str) -> Result<Prompt, PromptError> {
    let failed = |source| PromptError::Program { program: "flite", source };
    let path = std::env::temp_dir().join(format!("arioso-flite-{}.wav", uuid::Uuid::new_v4().simple()));
    let output =
        Command::new("flite").args(["-voice", voice, "-t", text, "-o"]).arg(&path).stdin(Stdio::null()).output();
    let pcm = output.map_err(failed).and_then(|output| {
        // flite says what is wrong and exits with 0 all the same: the file is what tells.
        if path.exists() {
            read_wav(&path)
        } else {
            Err(failed(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())))
        }
    });
    // It is not there if the program failed.
    let _ = std::fs::remove_file(&path);
    Ok(Prompt { name: SYNTHETIC.to_owned(), text: text.to_owned(), pcm: pcm? })
}

/// One channel of 16 bits, converted to 8 kHz.
fn read_wav(path: &Path) -> Result<Vec<i16>, PromptError> {
    let wav = |source| PromptError::Wav { path: path.to_owned(), source };
    let reader = hound::WavReader::open(path).map_err(wav)?;
    let spec = reader.spec();
    let rate = SampleRate::new(spec.sample_rate).filter(|_| spec.channels == 1 && spec.bits_per_sample == 16);
    let rate = rate.ok_or_else(|| PromptError::Format { path: path.to_owned(), spec })?;
    let pcm = reader.into_samples::<i16>().collect::<Result<Vec<_>, _>>().map_err(wav)?;
    if rate == RATE {
        return Ok(pcm);
    }
    let mut resampler = Resampler::new(rate, RATE);
    let mut converted = Vec::new();
    resampler.push(&pcm, &mut converted);
    resampler.finish(&mut converted);
    Ok(converted)
}

/// Lines of `name: text`; `;` begins a comment.
fn read_transcripts(list: &str) -> BTreeMap<String, String> {
    let lines = list.lines().filter(|line| !line.starts_with(';'));
    let entries = lines.filter_map(|line| line.split_once(':'));
    entries.map(|(name, text)| (name.trim().to_owned(), text.trim().to_owned())).collect()
}

fn package(program: &str) -> &str {
    if program == "zcat" { "gzip" } else { program }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "; Core sounds\n\ngoodbye: Goodbye!\nhours: hours\nvm-goodbye: Goodbye\ndir/x: To: all, open\n";

    fn prompts() -> Prompts {
        Prompts { folder: "/nowhere".into(), transcripts: read_transcripts(LIST) }
    }

    #[test]
    fn prompts_are_found_by_their_words() {
        let names = |words: &str| prompts().search(words).map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names("GOODBYE"), ["goodbye", "vm-goodbye"]);
        assert_eq!(names("all open"), ["dir/x"]);
        assert_eq!(names("hour"), Vec::<String>::new(), "whole words only");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let error = prompts().get("goodby").unwrap_err();
        assert_eq!(error.to_string(), "Asterisk has no prompt \"goodby\"; is \"goodbye\" meant?");
    }

    #[test]
    fn a_part_of_a_prompt_ends_where_the_prompt_ends() {
        let whole = Prompt { name: "x".to_owned(), text: "one two".to_owned(), pcm: (0..8_000).collect() };
        let part = |from, to| whole.part(Duration::from_millis(from)..Duration::from_millis(to), "two").pcm;
        assert_eq!(part(500, 501), (4_000..4_008).collect::<Vec<i16>>());
        assert_eq!(part(999, 5_000).len(), 8);
        assert!(part(2_000, 3_000).is_empty() && part(500, 400).is_empty());
    }

    #[test]
    fn a_synthetic_voice_is_speech_at_telephone_rate() {
        let prompt = synthesize("When are you open?", "rms").unwrap();
        let seconds = prompt.pcm.len() as f32 / 8_000.0;
        assert!((0.5..3.0).contains(&seconds), "{seconds} s");
        let loudest = prompt.pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(loudest > 3_000, "{loudest}");
    }
}
