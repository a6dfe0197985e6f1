//! `arioso serve`: the bot host.

use super::engine::stdin_closed;
use super::stop::StopSignals;
use super::{ConfigArgs, runtime};
use crate::host::Server;
use anyhow::Result;
use clap::Args;
use std::time::Duration;
use tracing::info;

/// Take calls until told to stop.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Wait for an Asterisk that cannot be reached when the server starts, instead of failing.
    #[arg(long)]
    pub wait: bool,
    /// On SIGTERM or Ctrl-C, how long the calls may go on before they return to the dialplan. A second signal ends the wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub drain: u64,
    /// End at once when standard input is closed, as it is when the process that started this one is gone.
    #[arg(long, hide = true)]
    pub while_stdin_open: bool,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
///
/// # Errors
/// When the server cannot start.
pub fn run(args: &ServeArgs) -> Result<()> {
    let config = args.config.load()?;
    runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let server = tokio::select! {
            server = Server::start(config, args.wait) => server?,
            () = stop.next() => return Ok(()),
        };
        tokio::select! {
            () = stop.next() => {}
            () = stdin_closed(args.while_stdin_open) => return Ok(()),
        }
        info!("stopping within {} s; once more to end the calls at once", args.drain);
        server.drain(Duration::from_secs(args.drain), stop.next()).await;
        Ok(())
    })
}
