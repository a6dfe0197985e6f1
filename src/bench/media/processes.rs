//! The processes of a measurement: each on its processors, none of them left behind.

use super::BenchError;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// An answer that needs no measuring comes within this, or something is wrong.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How much of a log is shown.
const LOG_LINES: usize = 12;

/// The processors that this program may use.
pub fn usable_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
}

/// Makes the calling thread, and what it starts from now on, run on these processors only. Without any: as it is.
pub(super) fn place(cpus: &[usize]) -> Result<(), BenchError> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    let placed = cpus.iter().try_for_each(|&cpu| set.set(cpu)).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    placed.map_err(|errno| BenchError::Placement { cpus: cpus.to_vec(), cause: errno.into() })
}

/// Lets this process and its children have as many open files as they may.
pub(super) fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With fewer the accepting of connections will say so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// A process of this program on processors of its own; killed when dropped.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    log: PathBuf,
}

impl Process {
    /// Starts this very program with other arguments. Its log goes to a file in `folder`. Where it runs is inherited by the
    /// child from the calling thread, which is put back afterwards.
    pub(super) fn start(
        name: &'static str,
        arguments: &[&str],
        cpus: &[usize],
        own_cpus: &[usize],
        folder: &Path,
    ) -> Result<Self, BenchError> {
        let failed = |cause| BenchError::Start { name, cause };
        let program = std::env::current_exe().map_err(failed)?;
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log).map_err(failed)?);
        // Ctrl-C on the terminal is for the bench, which ends the others.
        command.process_group(0);
        if std::env::var_os(crate::telemetry::FILTER_VARIABLE).is_none() {
            command.env(crate::telemetry::FILTER_VARIABLE, "warn");
        }
        place(cpus)?;
        let child = command.spawn();
        place(own_cpus)?;
        let mut child = child.map_err(failed)?;
        let input = child.stdin.take();
        let output = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        Ok(Self { name, child, input, output, log })
    }

    /// Its id; 0 once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Gives an order and waits for the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &mut self,
        order: &impl Serialize,
        limit: Duration,
    ) -> Result<T, BenchError> {
        let mut line = serde_json::to_vec(order).map_err(|error| self.failed(&error.to_string()))?;
        line.push(b'\n');
        let (Some(input), Some(output)) = (&mut self.input, &mut self.output) else {
            return Err(self.failed("it takes no orders"));
        };
        let exchange = async {
            input.write_all(&line).await?;
            output.next_line().await
        };
        let answer = match timeout(limit, exchange).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Err(self.failed("it has ended")),
            Ok(Err(error)) => return Err(self.failed(&error.to_string())),
            Err(_) => return Err(self.failed(&format!("no answer within {limit:?}"))),
        };
        serde_json::from_str(&answer).map_err(|error| self.failed(&error.to_string()))
    }

    /// Waits for its end, which is a failure.
    pub(super) async fn ended(&mut self) -> BenchError {
        let status = self.child.wait().await;
        self.failed(&status.map_or_else(|error| error.to_string(), |status| format!("it has ended with {status}")))
    }

    /// What went wrong, with the end of its log.
    pub(super) fn failed(&self, what: &str) -> BenchError {
        BenchError::Process { name: self.name, what: what.to_owned(), log: self.last_lines() }
    }

    /// How many lines it has logged: warnings, since nothing else is logged.
    pub(super) fn log_lines(&self) -> Vec<String> {
        std::fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn last_lines(&self) -> String {
        let lines = self.log_lines();
        lines[lines.len().saturating_sub(LOG_LINES)..].iter().map(|line| format!("\n  {line}")).collect()
    }

    /// Kills it and waits until it is gone, so that its ports are free.
    pub(super) async fn end(mut self) {
        // It fails only for a process that has ended.
        let _ = self.child.kill().await;
    }
}

/// A folder of our own that is removed when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self, BenchError> {
        let path = std::env::temp_dir().join(format!("arioso-bench-{:016x}", crate::bench::random_u64()));
        let mut private = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut private, 0o700);
        private.create(&path).map_err(|cause| BenchError::Folder { path: path.clone(), cause })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that only this user can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, BenchError> {
        use std::io::Write as _;
        let path = self.0.join(name);
        let mut options = File::options();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| BenchError::Folder { path: path.clone(), cause })?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
