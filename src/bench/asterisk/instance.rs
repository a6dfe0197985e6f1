//! The folder of one instance: its configuration, database, log and control socket, readable by its owner only.

use super::debian::DebianRelease;
use super::process::INSTANCE_INSIDE;
use super::template::{EMPTY_FILES, TEMPLATES, TemplateError, Values};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "arioso-asterisk-";
const LOCK: &str = "owner.lock";
const FOLDERS: [&str; 6] = ["etc", "db", "spool", "run", "log", "spool/recording"];

/// An instance folder that is ours. It is locked while we live: a folder that nobody holds was left by a process that
/// was killed together with its Asterisk, and [`Instance::remove_abandoned`] may take it away.
#[derive(Debug)]
pub(super) struct Instance {
    folder: PathBuf,
    _lock: File,
}

/// Why the folder could not be filled.
#[derive(Debug, thiserror::Error)]
pub(super) enum InstanceError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Instance {
    /// Makes an empty folder below `parent`, under a name that no other has.
    pub(super) fn create(parent: &Path) -> Result<Self, InstanceError> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let folder = parent.join(format!("{NAME}{}", &name[..12]));
        // It gets its final name when it is locked, so that nobody sees it unlocked and takes it for abandoned.
        let unlocked = folder.with_extension("new");
        let made = || {
            let mut private = DirBuilder::new();
            private.mode(0o700).create(&unlocked)?;
            FOLDERS.iter().try_for_each(|sub| private.create(unlocked.join(sub)))?;
            let lock = private_file(&unlocked.join(LOCK))?;
            lock.lock()?;
            fs::rename(&unlocked, &folder)?;
            Ok(lock)
        };
        let lock = made().map_err(|source| InstanceError::Write { path: unlocked.clone(), source })?;
        Ok(Self { folder, _lock: lock })
    }

    /// Writes the configuration for the Asterisk of `release`, and the ARI password alone in a file.
    pub(super) fn configure(
        &self,
        release: DebianRelease,
        values: &Values<'_>,
        ari_password: &str,
    ) -> Result<(), InstanceError> {
        let etc = self.folder.join("etc");
        for template in &TEMPLATES {
            let text = without(release.absent_modules(), &template.render(values)?);
            self.write(&etc.join(template.name), &text)?;
        }
        for name in EMPTY_FILES {
            self.write(&etc.join(name), "")?;
        }
        self.write(&self.password_file(), ari_password)
    }

    /// Removes what processes left that had no time to clean up. Nothing else has names like these, and a folder whose
    /// owner lives is locked; what cannot be removed is somebody else's and stays.
    pub(super) fn remove_abandoned(parent: &Path) {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        for folder in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME)) {
            let abandoned = |lock: &File| lock.try_lock().is_ok();
            if File::open(folder.path().join(LOCK)).is_ok_and(|lock| abandoned(&lock)) {
                let _ = fs::remove_dir_all(folder.path());
            }
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.folder.join("ari.password")
    }

    /// The socket that `asterisk -rx` would use.
    pub(super) fn control_socket(&self) -> PathBuf {
        self.folder.join("run/asterisk.ctl")
    }

    /// A file for what the process prints; every start of the instance appends.
    pub(super) fn output(&self) -> io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(self.folder.join("log/output"))
    }

    /// Everything that Asterisk and the script around it said so far.
    pub(super) fn log(&self) -> String {
        let read = |name: &str| fs::read(self.folder.join(name)).unwrap_or_default();
        let both = [read("log/output"), read("log/messages")].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), InstanceError> {
        let written = private_file(path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| InstanceError::Write { path: path.to_owned(), source })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Mostly gone already: the script removes it with the process.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// The configuration without the lines that load `modules`, each of which would be an error in the log.
fn without(modules: &[&str], text: &str) -> String {
    let absent = |line: &&str| line.strip_prefix("load = ").is_some_and(|module| modules.contains(&module));
    text.lines().filter(|line| !absent(line)).flat_map(|line| [line, "\n"]).collect()
}

/// The path of an instance folder as Asterisk sees it.
pub(super) fn inside() -> &'static str {
    INSTANCE_INSIDE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const VALUES: Values<'static> = Values(&[
        ("instance", "/srv"),
        ("address", "127.0.0.1"),
        ("http_port", "8088"),
        ("sip_port", "5060"),
        ("ari_user", "arioso"),
        ("ari_password", "s3cret"),
        ("rtp_first", "20000"),
        ("rtp_last", "29999"),
        ("app", "arioso"),
        ("site_dialplan", ""),
        ("websocket_clients", ""),
    ]);

    #[test]
    fn every_template_has_its_values_and_secrets_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let instance = Instance::create(parent.path()).unwrap();
        instance.configure(DebianRelease::Bullseye, &VALUES, "s3cret").unwrap();
        assert_eq!(fs::read_to_string(instance.password_file()).unwrap(), "s3cret");
        let modules = fs::read_to_string(instance.folder().join("etc/modules.conf")).unwrap();
        assert!(modules.contains("load = chan_rtp.so\n") && !modules.contains("chan_websocket.so"), "{modules}");
        let ari = instance.folder().join("etc/ari.conf");
        assert!(fs::read_to_string(&ari).unwrap().contains("password = s3cret\n"));
        for file in [instance.password_file(), ari] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(instance.folder()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_abandoned_folder_is_removed_and_a_living_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Instance::create(parent.path()).unwrap();
        let killed = Instance::create(parent.path()).unwrap();
        let abandoned = killed.folder().to_owned();
        // What a killed process leaves: the folder, and a lock that the kernel has released.
        let Instance { _lock, .. } = &killed;
        _lock.unlock().unwrap();
        Instance::remove_abandoned(parent.path());
        assert!(living.folder().exists());
        assert!(!abandoned.exists());
    }
}
