//! The folder with a whole Debian that has Asterisk in it. Made once with debootstrap, used by every instance.

use super::debian::DebianRelease;
use super::privilege::{self, Privilege};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The prompts of `asterisk-core-sounds-en-wav` inside the folder; the last package to be unpacked that we need.
const PROMPTS: &str = "usr/share/asterisk/sounds/en_US_f_Allison";
const TRANSCRIPTS: &str = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz";
const PACKAGES: &str = "asterisk,asterisk-modules,asterisk-core-sounds-en-wav";

/// Makes the folder under another name and renames it at the end, so that it is either whole or not there. `flock`
/// lets one process work and the others wait for it. The mount namespace takes care that a broken run leaves no
/// mount inside the folder that the next run removes.
const PREPARE: &str = r#"
set -eu
root=$1 suite=$2 packages=$3
shift 3
mkdir -p "$(dirname "$root")"
exec 9> "$root.lock"
flock 9
test ! -e "$root" || exit 0
made=
for mirror in "$@"; do
    rm -rf "$root.partial"
    echo "from $mirror"
    if debootstrap --variant=minbase --include="$packages" "$suite" "$root.partial" "$mirror" 2>&1; then
        made=yes
        break
    fi
done
test -n "$made"
rm -rf "$root.partial/var/cache/apt/archives" "$root.partial/var/lib/apt/lists"
mv "$root.partial" "$root"
"#;

/// A folder to `chroot` into that has an Asterisk with ARI, external media and the English prompts.
#[derive(Clone, Debug)]
pub struct AsteriskRoot {
    path: PathBuf,
}

/// No folder with an Asterisk.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is something at that path, but not an Asterisk.
    #[error("{} has no {missing}: it is not a folder that Arioso made; name another one with {}, or remove it", path.display(), release.root_variable())]
    NotAsterisk {
        /// The folder.
        path: PathBuf,
        /// The Debian that it should be.
        release: DebianRelease,
        /// What was looked for in it.
        missing: &'static str,
    },
    /// Making the folder needs root.
    #[error(transparent)]
    Privilege(#[from] privilege::PrivilegeError),
    /// A program that the recipe uses is not there.
    #[error("cannot run {program}: {source}; `apt-get install {package}` brings it")]
    Program {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The recipe ran and failed.
    #[error("debootstrap could not make {}: {last_lines}", path.display())]
    Debootstrap {
        /// The folder that it should have made.
        path: PathBuf,
        /// The end of what it said.
        last_lines: String,
    },
}

impl AsteriskRoot {
    /// Uses the folder at `path`, or makes it there with `release`, which takes one to three minutes and about 400 MB once. Several
    /// processes may ask at the same time: one works, the others wait. Blocks; `progress` is given the lines that
    /// debootstrap prints.
    ///
    /// # Errors
    ///
    /// Each variant of [`RootError`]; after an error nothing is left that a later call could take for a whole folder.
    pub fn ensure(path: &Path, release: DebianRelease, progress: &mut dyn FnMut(&str)) -> Result<Self, RootError> {
        if !path.exists() {
            Self::prepare(path, release, progress)?;
        }
        Self::open(path, release)
    }

    /// Uses the folder at `path`, which must be there and should have `release`.
    ///
    /// # Errors
    ///
    /// [`RootError::NotAsterisk`].
    pub fn open(path: &Path, release: DebianRelease) -> Result<Self, RootError> {
        for missing in ["usr/sbin/asterisk", PROMPTS, TRANSCRIPTS] {
            if !path.join(missing).exists() {
                return Err(RootError::NotAsterisk { path: path.to_owned(), release, missing });
            }
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder with the English prompts as WAV files.
    pub fn prompts(&self) -> PathBuf {
        self.path.join(PROMPTS)
    }

    /// What the prompts say: gzip-compressed lines of `name: text`.
    pub fn transcripts(&self) -> PathBuf {
        self.path.join(TRANSCRIPTS)
    }

    fn prepare(path: &Path, release: DebianRelease, progress: &mut dyn FnMut(&str)) -> Result<(), RootError> {
        let privilege = Privilege::obtain()?;
        require("debootstrap", "debootstrap")?;
        let mut command = privilege.command("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", PREPARE, "prepare"]).arg(path);
        command.args([release.suite(), PACKAGES]).args(release.mirrors());
        let unshare = |source| RootError::Program { program: "unshare", package: "util-linux", source };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(unshare)?;
        let mut last_lines = std::collections::VecDeque::new();
        // Debootstrap may print bytes that are not UTF-8 (file names); a broken line must not end the recipe.
        let output = child.stdout.take().map(BufReader::new).into_iter();
        for line in output.flat_map(|output| output.split(b'\n').map_while(Result::ok)) {
            let line = String::from_utf8_lossy(&line).into_owned();
            progress(&line);
            if last_lines.len() == 5 {
                last_lines.pop_front();
            }
            last_lines.push_back(line);
        }
        if child.wait().map_err(unshare)?.success() {
            return Ok(());
        }
        let last_lines = Vec::from(last_lines).join(" / ");
        Err(RootError::Debootstrap { path: path.to_owned(), last_lines })
    }
}

/// Fails early, and with the package to install, when `program` is not there.
fn require(program: &'static str, package: &'static str) -> Result<(), RootError> {
    let probe =
        std::process::Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    probe.map(drop).map_err(|source| RootError::Program { program, package, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_asterisk_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let error = AsteriskRoot::ensure(folder.path(), DebianRelease::Bullseye, &mut |_| ()).unwrap_err();
        assert!(matches!(&error, RootError::NotAsterisk { missing: "usr/sbin/asterisk", .. }), "{error}");
        assert!(error.to_string().contains("ARIOSO_ASTERISK16_ROOT"), "{error}");
        assert!(folder.path().exists());
    }
}
