//! What a configuration refers to outside its own text, behind a trait, so that reading one can be tested and fuzzed.

use std::io::{self, Read as _};
use std::path::Path;

/// No file that a configuration names is larger: passwords and dialogues are small, devices are endless.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The files and the environment around a configuration.
pub trait Surroundings {
    /// The value of an environment variable; `None` if it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;

    /// A whole file as text.
    ///
    /// # Errors
    /// What the operating system says; `InvalidData` if it is not UTF-8, `FileTooLarge` over 1 MiB.
    fn read(&self, path: &Path) -> io::Result<FoundFile>;
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// What is in it.
    pub text: String,
    /// Whether every user of the machine may read it.
    pub readable_by_all: bool,
}

/// The real files and environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Surroundings for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn read(&self, path: &Path) -> io::Result<FoundFile> {
        let file = std::fs::File::open(path)?;
        let readable_by_all = readable_by_all(&file.metadata()?);
        let mut text = String::new();
        if file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(FoundFile { text, readable_by_all })
    }
}

/// What a failed read says to a person.
pub fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::FileTooLarge => "it is larger than 1 MiB".to_owned(),
        other => other.to_string(),
    }
}

/// What to do about a configuration that could not be read.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::InvalidData => "save it as UTF-8",
        io::ErrorKind::IsADirectory => "name a file, such as the arioso.toml in it",
        io::ErrorKind::PermissionDenied => "run as a user who may, or change who may read it",
        io::ErrorKind::FileTooLarge => "name the right file with --config",
        _ => "name it with --config, or start from the example in docs/configuration.md",
    }
}

#[cfg(unix)]
fn readable_by_all(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o004 != 0
}

#[cfg(not(unix))]
fn readable_by_all(_: &std::fs::Metadata) -> bool {
    false
}
