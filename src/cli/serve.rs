//! `arioso serve`: the bot host.

use super::ConfigArgs;
use clap::Args;

/// Take calls until told to stop.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}
