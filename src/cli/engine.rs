//! `arioso engine`: the reference engines over gRPC.

use clap::{Args, Subcommand};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The reference engines.
#[derive(Clone, Debug, Args)]
pub struct EngineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: EngineCommand,
}

/// What to do with the reference engines.
#[derive(Clone, Debug, Subcommand)]
pub enum EngineCommand {
    /// Serve the contract with local models and the built-in dialogue.
    Serve(EngineServeArgs),
}

/// What `arioso engine serve` serves, and where.
#[derive(Clone, Debug, Args)]
pub struct EngineServeArgs {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_051)))]
    pub listen: SocketAddr,
    /// Threads that compute (default: as many as there are processors).
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<NonZeroUsize>,
    /// Folder of the models (default: a cache folder of this user).
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
    /// What the dialogue says (default: the built-in reception).
    #[arg(long, value_name = "FILE")]
    pub flow: Option<PathBuf>,
}
