//! Where the models lie on disk, and whether they are all there.

use super::{Model, ModelError, ModelFile};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The folder in which every model has a folder of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelCache {
    root: PathBuf,
}

/// What is there of a model, as far as names and lengths tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// Every file is there with the right length.
    Present,
    /// Nothing is there.
    Missing,
    /// Some files are missing or have the wrong length.
    Incomplete,
}

impl ModelState {
    /// A word for tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Incomplete => "incomplete",
        }
    }
}

impl ModelCache {
    /// The cache in this folder; it need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache of this user: `$ARIOSO_MODELS`, else `$XDG_CACHE_HOME/arioso/models`, else `~/.cache/arioso/models`.
    ///
    /// # Errors
    /// [`ModelError::NoCacheFolder`] when none of the variables is set.
    pub fn of_user() -> Result<Self, ModelError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, ModelError> {
        let folder = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        folder("ARIOSO_MODELS")
            .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("arioso/models")))
            .or_else(|| folder("HOME").map(|home| home.join(".cache/arioso/models")))
            .map(Self::at)
            .ok_or(ModelError::NoCacheFolder)
    }

    /// The command that fetches into this cache. It names the folder unless that is the usual one of this user: a
    /// variable that is set here may not be set in another shell.
    pub fn fetch_command(&self) -> String {
        let usual = Self::from_variables(|name| std::env::var_os(name).filter(|_| name != "ARIOSO_MODELS"));
        if usual.is_ok_and(|usual| usual == *self) {
            return "arioso models fetch".to_owned();
        }
        let folder = self.root.display().to_string();
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '~');
        if folder.chars().all(plain) {
            format!("arioso models fetch --models {folder}")
        } else {
            format!("arioso models fetch --models '{}'", folder.replace('\'', "'\\''"))
        }
    }

    /// The folder of the whole cache.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a model, whether it is there or not.
    pub fn folder(&self, model: &Model) -> PathBuf {
        self.root.join(&model.name)
    }

    /// The folder of a model of which every file is there with the right length.
    ///
    /// # Errors
    /// [`ModelError::Missing`] or [`ModelError::Size`] for the first file where that is not so.
    pub fn locate(&self, model: &Model) -> Result<PathBuf, ModelError> {
        let folder = self.folder(model);
        for file in &model.files {
            check_size(model, file, &folder.join(&file.name))?;
        }
        Ok(folder)
    }

    /// What is there of a model.
    pub fn state(&self, model: &Model) -> ModelState {
        let folder = self.folder(model);
        if !model.files.iter().any(|file| folder.join(&file.name).exists()) {
            ModelState::Missing
        } else if self.locate(model).is_ok() {
            ModelState::Present
        } else {
            ModelState::Incomplete
        }
    }

    /// Reads every file of a model and compares it with the manifest. `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::Size`] or [`ModelError::Checksum`] for the first file that differs.
    pub fn verify(&self, model: &Model, progress: &mut dyn FnMut(u64)) -> Result<(), ModelError> {
        let folder = self.folder(model);
        let mut before = 0;
        for file in &model.files {
            let path = folder.join(&file.name);
            check_size(model, file, &path)?;
            let mut reader = File::open(&path).map_err(ModelError::io("read", &path))?;
            let mut each = |bytes| progress(before + bytes);
            let copied = copy_hashed(&mut reader, &mut io::sink(), &mut each);
            let (bytes, sha256) = copied.map_err(ModelError::io("read", &path))?;
            check_checksum(file, &path, sha256)?;
            before += bytes;
        }
        Ok(())
    }
}

fn check_size(model: &Model, file: &ModelFile, path: &Path) -> Result<(), ModelError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() == file.size => Ok(()),
        Ok(metadata) => Err(ModelError::Size { path: path.into(), expected: file.size, got: metadata.len() }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
            Err(ModelError::Missing { model: model.name.clone(), path: path.into() })
        }
        Err(cause) => Err(ModelError::Io { action: "read", path: path.into(), cause }),
    }
}

fn check_checksum(file: &ModelFile, path: &Path, got: String) -> Result<(), ModelError> {
    if got == file.sha256 {
        Ok(())
    } else {
        Err(ModelError::Checksum { path: path.into(), expected: file.sha256.clone(), got })
    }
}

/// Copies all of `from` to `to`; returns the number of bytes and their SHA-256. `progress` is told the bytes so far.
pub(super) fn copy_hashed(
    from: &mut dyn Read,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        total += read as u64;
        progress(total);
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(hex, "{byte:02x}"); // writing to a String does not fail
    }
    Ok((total, hex))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::speech::local::models::Purpose;

    /// A model of one file with the text `hello`.
    pub(in super::super) fn hello_model() -> Model {
        Model {
            name: "hello".into(),
            purpose: Purpose::Recognition,
            language: "en".into(),
            package: "hello-package".into(),
            version: "1.2.3".into(),
            licence: "CC0-1.0".into(),
            remarks: String::new(),
            files: vec![ModelFile {
                name: "hello.txt".into(),
                member: "hello_package/data/hello.txt".into(),
                size: 5,
                sha256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824".into(),
            }],
        }
    }

    fn cache_with(content: Option<&str>) -> (tempfile::TempDir, ModelCache) {
        let folder = tempfile::tempdir().unwrap();
        if let Some(content) = content {
            fs::create_dir(folder.path().join("hello")).unwrap();
            fs::write(folder.path().join("hello/hello.txt"), content).unwrap();
        }
        let cache = ModelCache::at(folder.path());
        (folder, cache)
    }

    #[test]
    fn the_variables_are_tried_in_order() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(k, v)| (k.to_string(), OsString::from(v))).collect();
            ModelCache::from_variables(|name| set.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        let all = [("ARIOSO_MODELS", "/m"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(of(&all).unwrap().root(), Path::new("/m"));
        assert_eq!(of(&all[1..]).unwrap().root(), Path::new("/x/arioso/models"));
        assert_eq!(of(&all[2..]).unwrap().root(), Path::new("/h/.cache/arioso/models"));
        assert_eq!(of(&[("ARIOSO_MODELS", ""), ("HOME", "/h")]).unwrap().root(), Path::new("/h/.cache/arioso/models"));
        assert!(matches!(of(&[]), Err(ModelError::NoCacheFolder)));
    }

    #[test]
    fn a_missing_model_says_how_to_get_it_into_this_folder() {
        let (folder, cache) = cache_with(None);
        let error = cache.locate(&hello_model()).unwrap_err();
        assert!(matches!(error, ModelError::Missing { .. }), "{error}");
        let command = format!("run `arioso models fetch --models {}`", folder.path().display());
        assert!(error.to_string().ends_with(&command), "{error}");
        assert_eq!(ModelCache::at("/my models").fetch_command(), "arioso models fetch --models '/my models'");
        assert_eq!(cache.state(&hello_model()), ModelState::Missing);
    }

    #[test]
    fn a_file_that_was_cut_short_is_noticed_without_reading_it() {
        let (_folder, cache) = cache_with(Some("hell"));
        assert!(matches!(cache.locate(&hello_model()), Err(ModelError::Size { expected: 5, got: 4, .. })));
        assert_eq!(cache.state(&hello_model()), ModelState::Incomplete);
    }

    #[test]
    fn verifying_finds_a_changed_file_and_names_both_checksums() {
        let (_folder, cache) = cache_with(Some("jello"));
        assert_eq!(cache.state(&hello_model()), ModelState::Present);
        match cache.verify(&hello_model(), &mut |_| {}).unwrap_err() {
            ModelError::Checksum { path, expected, got } => {
                assert!(path.ends_with("hello/hello.txt"));
                assert!(expected.starts_with("2cf24dba"));
                assert_ne!(expected, got);
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn verifying_reports_progress_up_to_the_size_of_the_model() {
        let (_folder, cache) = cache_with(Some("hello"));
        let mut seen = 0;
        cache.verify(&hello_model(), &mut |bytes| seen = bytes).unwrap();
        assert_eq!(seen, hello_model().size());
    }
}
