//! The command line: one file a subcommand. Commands print their results on standard output; logs and errors go to
//! standard error.

pub mod bench;
pub mod check;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod models;
pub mod serve;
mod stop;

use crate::config::{Config, ConfigError};
use crate::host::StartError;
use crate::speech::local::models::ModelError;
use crate::speech::server::ServeError;
use crate::telemetry::{self, LogFormat, TelemetryError};
use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// Ends `arioso --help` and that of every command.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the message on standard error says why and what to do
  2  wrong usage or configuration

Environment:
  ARIOSO_CONFIG         the configuration file, where --config is not given
  ARIOSO_MODELS         folder of the models, where --models or the configuration names none
  ARIOSO_ASTERISK_ROOT  folder with an installed Asterisk for `demo`, where --asterisk-root is not given
  ARIOSO_LOG            what is logged: \"debug\", or \"info,arioso::ari=trace\" (default: \"warn,arioso=info\")";

/// What failed is a command whose exit code is 2 although it found out by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A command has failed, and its result on standard output says why.
#[derive(Debug, thiserror::Error)]
#[error("the result says what is wrong")]
pub struct AlreadyTold;

/// A voice-bot media server for Asterisk.
#[derive(Debug, Parser)]
#[command(name = "arioso", version, about, max_term_width = 100, after_help = EXIT_CODES, propagate_version = true)]
pub struct Arguments {
    /// Write log lines as JSON objects.
    #[arg(long, global = true)]
    log_json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// What is logged if the environment does not say.
    pub fn default_filter(&self) -> &'static str {
        match &self.command {
            Command::Demo(args) if !args.verbose => telemetry::QUIET,
            _ => telemetry::USUAL,
        }
    }

    /// How log lines are to look.
    pub fn log_format(&self) -> LogFormat {
        if self.log_json { LogFormat::Json } else { LogFormat::Text }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the configuration, and show what it says.
    #[command(after_help = EXIT_CODES)]
    Check(check::CheckArgs),
    /// Take calls from every configured Asterisk until told to stop.
    #[command(after_help = EXIT_CODES)]
    Serve(serve::ServeArgs),
    /// Look at every configured Asterisk and say what is missing, with the fix.
    #[command(after_help = EXIT_CODES)]
    Doctor(doctor::DoctorArgs),
    /// Show a real call with nothing else to set up.
    #[command(after_help = EXIT_CODES)]
    Demo(demo::DemoArgs),
    /// Run the reference engines over gRPC.
    #[command(after_help = EXIT_CODES)]
    Engine(engine::EngineArgs),
    /// List, fetch and verify the local models.
    #[command(after_help = EXIT_CODES)]
    Models(models::ModelsArgs),
    /// Measure the server under load.
    #[command(after_help = EXIT_CODES)]
    Bench(bench::BenchArgs),
    /// One of the processes that `bench` starts.
    #[command(hide = true)]
    BenchPeer(bench::BenchPeerArgs),
}

/// The option of every command that needs the configuration.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "arioso.toml", env = "ARIOSO_CONFIG")]
    pub config: PathBuf,
}

impl ConfigArgs {
    /// Reads the configuration and logs what is odd about it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let config = Config::load(&self.config)?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }
}

/// Runs one command to its end.
///
/// # Errors
/// Whatever made it fail, for [`report`].
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Check(args) => check::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Engine(args) => engine::run(&args),
        Command::Models(args) => models::run(&args, &mut io::stdout()),
        Command::Bench(args) => bench::run(&args),
        Command::BenchPeer(args) => bench::be(&args),
    }
}

/// How much the threads of the runtime stand back (`nice`) for the media threads, where these have no real-time priority.
const RUNTIME_NICENESS: i32 = 5;

/// The runtime that everything asynchronous of a command runs in.
///
/// # Errors
/// What the operating system says.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(|| {
            // Of this thread alone: Linux counts niceness by thread. To stand back is always allowed.
            let _ = rustix::process::setpriority_process(None, RUNTIME_NICENESS);
        })
        .build()
        .context("cannot start the asynchronous runtime")
}

/// Says on standard error what failed and why, and chooses the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<AlreadyTold>() {
        return ExitCode::from(2);
    }
    let text = match error.downcast_ref() {
        // Every line begins with its place, as editors and terminals expect it.
        Some(ConfigError::Invalid(_)) => format!("{error}"),
        _ => format!("arioso: {error:#}"),
    };
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr(), "{text}");
    if error.chain().any(is_usage) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    let wrong_filter = matches!(cause.downcast_ref(), Some(TelemetryError::Filter { .. } | TelemetryError::NotText));
    wrong_filter
        || cause.is::<ConfigError>()
        || cause.is::<UsageError>()
        || matches!(cause.downcast_ref(), Some(StartError::NoAsterisk))
        || matches!(cause.downcast_ref(), Some(ServeError::OpenToAll(_)))
        || matches!(cause.downcast_ref(), Some(ModelError::Unknown { .. }))
}

/// Prints the result of a command. A reader that has gone away (`arioso check | head -1`) is no failure.
///
/// # Errors
/// What else the operating system says.
pub fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
