//! `arioso demo`: a real call with nothing else to set up. Brings up an Asterisk, the engines in a process of their own
//! and a server, places a call over SIP whose caller speaks, and shows the conversation and the timeline of every turn.

mod caller;
mod screen;
mod stage;

use super::{print, runtime};
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;

/// Bring up an Asterisk, engines and a server, place a test call, and show the conversation.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Folder of the models (default: a cache folder of this user); they are fetched if they are not there.
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
    /// Folder of the Debian with Asterisk in it; it is made if it is not there.
    #[arg(long, value_name = "FOLDER", env = "ARIOSO_ASTERISK_ROOT")]
    pub asterisk_root: Option<PathBuf>,
    /// Show the log of the server between the lines of the conversation.
    #[arg(long)]
    pub verbose: bool,
}

/// Turns in which the caller was understood and heard the answer, for the demo to have shown what it is for.
const WANTED_TURNS: usize = 2;

/// Runs the demo from start to end; whatever it started is gone when this returns.
///
/// # Errors
/// When something cannot be started, or the conversation did not work.
pub fn run(args: &DemoArgs) -> Result<()> {
    let mut stop = None;
    runtime()?.block_on(async {
        let show = async {
            let stage = stage::set(args).await?;
            let conversation = caller::converse(&stage).await;
            let left = stage.clear().await;
            let conversation = conversation?;
            print(&screen::summary(&conversation))?;
            left?;
            let good = conversation.understood_and_answered();
            ensure!(
                good >= WANTED_TURNS,
                "only {good} turns were understood and answered; at least {WANTED_TURNS} were expected"
            );
            Ok(())
        };
        let stop = stop.insert(super::stop::StopSignals::listen()?);
        tokio::select! {
            result = show => result,
            () = stop.next() => anyhow::bail!("interrupted"),
        }
    })
}
