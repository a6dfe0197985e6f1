//! The models of the built-in engines: which there are (the manifest compiled in from `models/manifest.toml`), where
//! they lie on disk ([`ModelCache`]) and how they get there ([`ModelCache::fetch`]).

mod cache;
mod fetch;

pub use cache::{ModelCache, ModelState};
pub use fetch::Progress;

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Name of the recogniser's model in the manifest.
pub const WHISPER: &str = "whisper-tiny.en";
/// Name of the synthesiser's model in the manifest.
pub const PIPER: &str = "piper-en_US-joe-medium";

/// All models that this program knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(rename = "model")]
    models: Vec<Model>,
}

/// One model: a folder of files that come from one wheel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name, and that of its folder in the cache.
    pub name: String,
    /// What it is used for.
    pub purpose: Purpose,
    /// BCP 47 tag of the language that it knows.
    pub language: String,
    /// The Python package that carries it.
    pub package: String,
    /// The version of that package.
    pub version: String,
    /// Under which terms it may be used.
    pub licence: String,
    /// Where it comes from, in a sentence.
    pub remarks: String,
    /// What it consists of.
    #[serde(rename = "file")]
    pub files: Vec<ModelFile>,
}

/// What a model is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Speech to text.
    Recognition,
    /// Text to speech.
    Synthesis,
}

impl Purpose {
    /// The word that the manifest uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recognition => "recognition",
            Self::Synthesis => "synthesis",
        }
    }
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its name in the model's folder.
    pub name: String,
    /// Its path inside the wheel.
    pub member: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of this program.
    pub fn bundled() -> &'static Self {
        static MANIFEST: LazyLock<Manifest> = LazyLock::new(|| {
            // The text is part of the program, and the unit tests parse it: it cannot fail where a user could see it.
            toml::from_str(include_str!("../../../models/manifest.toml")).expect("models/manifest.toml is valid")
        });
        &MANIFEST
    }

    /// All models, in the order of the manifest.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model of this name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] names those that exist.
    pub fn model(&self, name: &str) -> Result<&Model, ModelError> {
        self.models.iter().find(|model| model.name == name).ok_or_else(|| ModelError::Unknown {
            name: name.to_owned(),
            known: self.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

impl Model {
    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// What can go wrong with the model files, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model is called this.
    #[error("there is no model {name:?}; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// It cannot be told where models are kept.
    #[error("no folder for the models: set ARIOSO_MODELS to one, or HOME")]
    NoCacheFolder,
    /// A file of the model is not there.
    #[error("model {model} is missing ({} does not exist): run `{}`", path.display(), fetch_command(path))]
    Missing {
        /// The model.
        model: String,
        /// The first file of it that was not found.
        path: PathBuf,
    },
    /// A file has the wrong length, so it was cut short or is another one.
    #[error(
        "{} has {got} bytes instead of {expected}: delete its folder and run `{}`",
        path.display(),
        fetch_command(path)
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        got: u64,
    },
    /// A file is not the one that the manifest names.
    #[error(
        "{} has SHA-256 {got} instead of {expected}: delete its folder and run `{}`",
        path.display(),
        fetch_command(path)
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// As the manifest says.
        expected: String,
        /// As it is.
        got: String,
    },
    /// Models are fetched with pip, and there is no Python.
    #[error("models are fetched with pip, but python3 cannot be run ({cause}): install python3 and python3-pip")]
    PythonMissing {
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// There is Python, but no pip.
    #[error("models are fetched with pip, but `python3 -m pip` does not work: install python3-pip")]
    PipMissing,
    /// pip did not deliver.
    #[error("pip could not download {requirement} (check the network and pip's own settings): {message}")]
    Download {
        /// What it was asked for, `name==version`.
        requirement: String,
        /// The last lines of what it said.
        message: String,
    },
    /// The wheel is not what it should be.
    #[error("the package {requirement} is not usable: {cause}")]
    Wheel {
        /// The package, `name==version`.
        requirement: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The disk said no.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
}

/// The command that fetches into the cache with this file of a model.
fn fetch_command(file: &Path) -> String {
    let root = file.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    ModelCache::at(root).fetch_command()
}

impl ModelError {
    /// Adapter for `map_err`: an I/O error with what was done to which path.
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { action, path, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_manifest_holds_both_engines_models() {
        let manifest = Manifest::bundled();
        assert_eq!(manifest.model(WHISPER).unwrap().purpose, Purpose::Recognition);
        assert_eq!(manifest.model(PIPER).unwrap().purpose, Purpose::Synthesis);
    }

    #[test]
    fn every_entry_can_be_fetched_and_checked() {
        for model in Manifest::bundled().models() {
            assert!(!model.files.is_empty(), "{} has no files", model.name);
            for file in &model.files {
                assert_eq!(file.sha256.len(), 64, "{}", file.name);
                assert!(file.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", file.name);
                assert!(!file.name.contains(['/', '\\']), "{} must stay in the model's folder", file.name);
                assert!(file.size > 0);
            }
        }
    }

    #[test]
    fn an_unknown_model_is_answered_with_those_that_exist() {
        let error = Manifest::bundled().model("whisper-huge").unwrap_err();
        assert!(matches!(&error, ModelError::Unknown { known, .. } if known.contains(WHISPER)), "{error}");
    }

    #[test]
    fn unknown_keys_of_a_manifest_are_refused() {
        assert!(toml::from_str::<Manifest>("[[model]]\nname = 'x'\nsurprise = 1").is_err());
    }
}
