//! What can go wrong with a local Asterisk.

use super::instance::InstanceError;
use super::{RootError, TemplateError};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A local Asterisk did not start, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LocalAsteriskError {
    /// There is no folder with an Asterisk, or no right to use it.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The name cannot stand in a dialplan.
    #[error("{app:?} is no name for an ARI application: use 1 to 64 letters, digits, '-' and '_'")]
    AppName {
        /// What was given.
        app: String,
    },
    /// A file of the instance could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of `docker/asterisk/` and this program do not fit.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// No port is free.
    #[error("no free port for the local Asterisk between 11000 and 18999: {source}")]
    NoPorts {
        /// What the last attempt said.
        source: io::Error,
    },
    /// The process could not be started.
    #[error(
        "cannot start the local Asterisk: {source}; `unshare` (package util-linux) and, without root, `sudo` are needed"
    )]
    Launch {
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused the mounts, as in a container without the right to mount.
    #[error("cannot mount /proc and /dev below {}: {log}; run outside a container, or in one that may mount", root.display())]
    Mount {
        /// The folder with the Debian.
        root: PathBuf,
        /// The end of the log.
        log: String,
    },
    /// Asterisk ended while it was starting.
    #[error("the local Asterisk ended with {status} while it started; its last words: {log}")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// Asterisk runs and does not come up.
    #[error("the local Asterisk was not ready after {waited:?}; its last words: {log}")]
    NotReady {
        /// How long we waited.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
    /// Somebody took a port in the moment between our look and the start.
    #[error("the local Asterisk could not listen on port {port}; its last words: {log}")]
    PortTaken {
        /// The port.
        port: u16,
        /// The end of its log.
        log: String,
    },
    /// A module did not load.
    #[error("the local Asterisk has no running {module}; its last words: {log}")]
    Module {
        /// File name of the module.
        module: &'static str,
        /// The end of the log.
        log: String,
    },
    /// The console did not answer.
    #[error("the local Asterisk does not answer {command:?}: {source}")]
    Console {
        /// What was asked.
        command: String,
        /// What the socket said.
        source: io::Error,
    },
    /// Channels or bridges that should be gone are there.
    #[error("after {waited:?} the local Asterisk still has {left}")]
    LeftOver {
        /// What is there.
        left: LeftOver,
        /// How long we waited.
        waited: Duration,
    },
}

impl From<InstanceError> for LocalAsteriskError {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Write { path, source } => Self::Write { path, source },
            InstanceError::Template(error) => Self::Template(error),
        }
    }
}

/// What calls left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// Names of channels.
    pub channels: Vec<String>,
    /// Ids of bridges.
    pub bridges: Vec<String>,
}

impl LeftOver {
    /// Neither a channel nor a bridge.
    pub fn is_nothing(&self) -> bool {
        self.channels.is_empty() && self.bridges.is_empty()
    }
}

impl fmt::Display for LeftOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channels [{}] and bridges [{}]", self.channels.join(", "), self.bridges.join(", "))
    }
}
