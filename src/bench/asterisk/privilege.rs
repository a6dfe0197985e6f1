//! The right to `chroot` and to mount: as root, or through `sudo` without a question.

use nix::unistd::{Gid, Uid};
use std::process::{Command, Stdio};

/// How commands that need root are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    /// This process is root.
    Root,
    /// `sudo -n` works.
    Sudo,
}

/// This process may not act as root.
#[derive(Debug, thiserror::Error)]
#[error(
    "a local Asterisk needs root for chroot and mounts: run this as root, or allow `sudo -n` for this user (`sudo -v` before it is enough)"
)]
pub struct PrivilegeError;

impl Privilege {
    /// Finds out which way is open.
    pub(super) fn obtain() -> Result<Self, PrivilegeError> {
        if Uid::effective().is_root() {
            return Ok(Self::Root);
        }
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match sudo.status() {
            Ok(status) if status.success() => Ok(Self::Sudo),
            _ => Err(PrivilegeError),
        }
    }

    /// A command that runs `program` as root.
    pub(super) fn command(self, program: &str) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                // Without its proxy debootstrap would not get out of many networks; the values may hold a password, so
                // they are not written on the command line.
                command.args(["-n", "--preserve-env=http_proxy,https_proxy,no_proxy", program]);
                command
            }
        }
    }
}

/// `uid:gid` of whoever started us: an Asterisk that runs as somebody else would leave files that we cannot remove.
pub(super) fn user_and_group() -> String {
    format!("{}:{}", Uid::effective(), Gid::effective())
}
