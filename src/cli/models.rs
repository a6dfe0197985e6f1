//! `arioso models`: the local models.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// List, fetch and verify the local models.
#[derive(Clone, Debug, Args)]
pub struct ModelsArgs {
    /// Folder of the models (default: a cache folder of this user).
    #[arg(long, global = true, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// What to do with the models.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Show the known models: purpose, size, licence, and whether they are here.
    List {
        /// Write the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fetch what is missing.
    Fetch,
    /// Check what is here against the manifest.
    Verify,
}
