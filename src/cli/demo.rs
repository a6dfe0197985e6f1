//! `arioso demo`: a real call with nothing else to set up.

use clap::Args;
use std::path::PathBuf;

/// Bring up an Asterisk, engines and a server, place a test call, and show the conversation.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Use the Asterisk of this configuration instead of bringing one up.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the models.
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
}
