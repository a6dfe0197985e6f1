//! Logging: what the process says about itself, on standard error. Standard output belongs to the commands.
//!
//! `ARIOSO_LOG` says what is logged, in the syntax of `tracing`'s filters: `debug`, or `info,arioso::ari=trace`.

use std::env::{self, VarError};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The environment variable with the filter.
pub const FILTER_VARIABLE: &str = "ARIOSO_LOG";
/// Without it: what we do, and only warnings of the libraries.
pub const USUAL: &str = "warn,arioso=info";
/// For a command that shows by itself what happens.
pub const QUIET: &str = "error";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense.
    #[error("{FILTER_VARIABLE} is \"{value}\", which is no log filter: {cause}; write for example \"debug\"")]
    Filter {
        /// What it says.
        value: String,
        /// Why it makes no sense.
        cause: ParseError,
    },
    /// The filter is no text.
    #[error("{FILTER_VARIABLE} is not UTF-8; write for example \"debug\"")]
    NotText,
    /// Something in this process logs already.
    #[error("logging cannot be set up a second time")]
    AlreadyInstalled(#[from] TryInitError),
}

/// Sets up logging for the whole process, once; `default_filter` counts where the variable is not set.
///
/// # Errors
/// A filter that makes no sense; a second set-up.
pub fn install(format: LogFormat, default_filter: &str) -> Result<(), TelemetryError> {
    let directives = match env::var(FILTER_VARIABLE) {
        Ok(directives) => directives,
        Err(VarError::NotPresent) => default_filter.to_owned(),
        Err(VarError::NotUnicode(_)) => return Err(TelemetryError::NotText),
    };
    let subscriber = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter(&directives)?);
    match format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => subscriber.json().finish().try_init()?,
    }
    Ok(())
}

fn filter(directives: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(directives)
        .map_err(|cause| TelemetryError::Filter { value: directives.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_read_and_a_wrong_one_is_shown() {
        assert_eq!(filter("info,arioso::ari=trace").unwrap().to_string(), "arioso::ari=trace,info");
        assert!(filter(USUAL).is_ok());
        let error = filter("arioso=loud").unwrap_err().to_string();
        assert!(error.starts_with("ARIOSO_LOG is \"arioso=loud\", which is no log filter"), "{error}");
    }
}
