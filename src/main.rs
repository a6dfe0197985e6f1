//! The `arioso` program: arguments, logging, one command, an exit code.

use arioso::cli::{self, Arguments};
use arioso::telemetry;
use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = telemetry::install(arguments.log_format(), arguments.default_filter())
        .map_err(anyhow::Error::from)
        .and_then(|()| cli::run(arguments.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report(&error),
    }
}
