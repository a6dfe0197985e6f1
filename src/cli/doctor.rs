//! `arioso doctor`: looks at an Asterisk and says what is missing, with the remedy.

use super::ConfigArgs;
use clap::Args;

/// Look at every configured Asterisk and say what is missing.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write the findings as JSON.
    #[arg(long)]
    pub json: bool,
}
