//! What the media path costs and how exact it is: `arioso bench media`.
//!
//! The server under test is a real `arioso serve` in a process of its own. Around it are, each a process too:
//!
//! - the *player* (`player/`), which plays Asterisk: its ARI, and the media legs of all calls. It stamps what callers send
//!   (`stamp.rs`), and judges what the server sends by the kernel's times of arrival;
//! - the *engine* (`engine.rs`), which plays recogniser, synthesiser and dialogue over gRPC and reads the stamps;
//! - the *baseline* (`baseline.rs`), a bare UDP echo under the same player: what the kernel alone costs.
//!
//! `run.rs` starts them for each repetition, on the processors that the plan says, and puts the figures together; what the
//! server costs is what the operating system says about its process (`usage.rs`).

mod arrivals;
mod assertion;
mod baseline;
mod caller_audio;
mod engine;
mod messages;
mod metric;
mod pace;
mod plan;
mod player;
mod processes;
mod report;
mod run;
mod stamp;
mod stats;
mod usage;

pub use assertion::{Assertion, AssertionError};
pub use metric::{Dimension, METRICS, Metric};
pub use plan::{CallerAudio, Mode, Plan, Transport};
pub use processes::usable_cpus;
pub use report::{Report, StepReport};
pub use run::{Progress, run};
pub use stats::Spread;

use crate::audio::Codec;
use std::io;
use std::path::PathBuf;

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The processors are not there, or may not be used.
    #[error("cannot run on the processors {cpus:?}: {cause}; choose others with --server-cpus and --tool-cpus")]
    Placement {
        /// Which.
        cpus: Vec<usize>,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A folder or file for the measurement cannot be made.
    #[error("cannot write {}: {cause}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A process cannot be started.
    #[error("cannot start the {name}: {cause}")]
    Start {
        /// Which.
        name: &'static str,
        /// What the operating system said.
        cause: io::Error,
    },
    /// A process did not do what it was to do.
    #[error("the {name}: {what}{log}")]
    Process {
        /// Which.
        name: &'static str,
        /// What happened.
        what: String,
        /// The end of its log, each line on a line of its own.
        log: String,
    },
    /// The system says nothing about a process.
    #[error("cannot read what the server costs: {0}")]
    Usage(io::Error),
    /// No port is free.
    #[error("no free port was found on 127.0.0.1: {0}")]
    Ports(io::Error),
}

/// A process that the bench starts beside the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// Plays Asterisk.
    Player,
    /// Plays the engines.
    Engine,
    /// The bare echo.
    Baseline,
}

/// Is that process, until standard input is closed.
///
/// # Errors
/// What the operating system says.
pub fn be(peer: Peer) -> io::Result<()> {
    match peer {
        Peer::Player => player::be(),
        Peer::Engine => engine::be(),
        Peer::Baseline => baseline::be(),
    }
}

/// The codec that Asterisk calls by this name, of those that a leg can have.
pub fn codec(name: &str) -> Option<Codec> {
    plan::codec(name)
}

/// Nanoseconds of the real-time clock: the one that the kernel stamps packets with.
fn real_time_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
