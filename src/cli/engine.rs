//! `arioso engine`: the reference engines over gRPC.

use super::{EXIT_CODES, UsageError, runtime, stop::StopSignals};
use crate::call::Service;
use crate::config::{
    Fault, Surroundings as _, System, THREADS, parse_flow, read_cause as cause, reception, secret_from_file,
};
use crate::speech::BearerToken;
use crate::speech::flow_dialog::FlowDialog;
use crate::speech::local::models::ModelCache;
use crate::speech::local::{InferencePool, LocalEngines};
use crate::speech::server::{
    Catalog, CatalogModel, CatalogVoice, EngineServer, ListenSettings, ServeError, ServedEngines,
};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{info, warn};

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
    #[command(after_help = EXIT_CODES)]
    Serve(EngineServeArgs),
}

/// What `arioso engine serve` serves, and where.
#[derive(Clone, Debug, Args)]
pub struct EngineServeArgs {
    /// Address and port to listen on. Beyond this machine a token is required.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address,
        default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_051)))]
    pub listen: SocketAddr,
    /// File with the token that clients must show.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Threads that compute (default: one less than there are processors).
    #[arg(long, value_name = "COUNT", value_parser = threads)]
    pub threads: Option<NonZeroUsize>,
    /// Folder of the models (default: a cache folder of this user).
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
    /// End when standard input is closed, as it is when the process that started this one is gone.
    #[arg(long, hide = true)]
    pub while_stdin_open: bool,
    /// What the dialogue says (default: the built-in reception).
    #[arg(long, value_name = "FILE")]
    pub flow: Option<PathBuf>,
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:50051 or [::1]:50051")
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse().ok().filter(|count| THREADS.contains(count)).and_then(NonZeroUsize::new);
    count.ok_or_else(|| format!("write a whole number from {} to {}", THREADS.start(), THREADS.end()))
}

/// Runs the command.
///
/// # Errors
/// When models are missing, the flow is wrong or the address cannot be listened on.
pub fn run(args: &EngineArgs) -> Result<()> {
    match &args.command {
        EngineCommand::Serve(args) => serve(args),
    }
}

fn serve(args: &EngineServeArgs) -> Result<()> {
    let settings = ListenSettings {
        address: args.listen,
        token: args.token_file.as_deref().map(read_token).transpose()?,
        ..ListenSettings::default()
    };
    // Before the models, which take seconds.
    if !args.listen.ip().is_loopback() && settings.token.is_none() {
        return Err(ServeError::OpenToAll(args.listen).into());
    }
    let flow = match &args.flow {
        Some(file) => {
            let unreadable = |error| UsageError(format!("cannot read {}: {}", file.display(), cause(&error)));
            Arc::new(parse_flow(&System.read(file).map_err(unreadable)?.text, &file.display().to_string())?)
        }
        None => reception(),
    };
    runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let cache = args.models.as_ref().map_or_else(ModelCache::of_user, |folder| Ok(ModelCache::at(folder)))?;
        let threads = args.threads.unwrap_or_else(InferencePool::default_threads);
        let engines = tokio::task::spawn_blocking(move || LocalEngines::load(&cache, threads)).await??;
        let served = ServedEngines {
            recognizer: Some(engines.recognizer),
            synthesizer: Some(engines.synthesizer),
            dialog: Some(Arc::new(FlowDialog::new(flow))),
            catalog: catalog(),
        };
        let server = EngineServer::bind(settings, served).await?;
        info!(address = %server.local_addr()?, "engines can be used");
        let parent_gone = stdin_closed(args.while_stdin_open);
        let stopped = async {
            tokio::select! {
                () = stop.next() => {}
                () = parent_gone => {}
            }
        };
        server.run(stopped).await.map_err(Into::into)
    })
}

/// What these engines are, for clients that ask.
fn catalog() -> Catalog {
    let english = || vec!["en-US".to_owned()];
    Catalog {
        models: vec![
            CatalogModel { service: Service::Recognition, id: "whisper-tiny.en".to_owned(), languages: english() },
            CatalogModel { service: Service::Dialog, id: "flow".to_owned(), languages: english() },
        ],
        voices: vec![CatalogVoice { id: "en_US-joe-medium".to_owned(), languages: english(), native_rate_hz: 22_050 }],
        max_sessions: 0,
    }
}

/// Waits for the end of standard input, if that is wanted; else for ever.
pub(super) async fn stdin_closed(wanted: bool) {
    let (closed, wait) = tokio::sync::oneshot::channel();
    if wanted {
        // A thread of its own: the runtime would wait for one of its own when the process ends for another reason.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = closed.send(());
        });
        let _ = wait.await;
    } else {
        std::future::pending().await
    }
}

fn read_token(file: &Path) -> Result<BearerToken> {
    let (secret, caution) = secret_from_file(file).map_err(|fault| match fault {
        Fault::FileUnreadable { path, cause } => {
            UsageError(format!("cannot read the token in {}: {cause}", path.display()))
        }
        other => UsageError(format!("--token-file: {other}")),
    })?;
    if let Some(caution) = caution {
        warn!("--token-file: {caution}");
    }
    let wrong = || UsageError(format!("{} holds no token: one or more visible ASCII characters", file.display()));
    Ok(BearerToken::new(secret.expose()).ok_or_else(wrong)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Caution;

    #[test]
    fn a_token_that_others_can_read_is_the_same_warning_as_in_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "s3cret\n").unwrap();
        for (mode, open) in [(0o600, false), (0o644, true)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&file, mode).unwrap();
            let (secret, caution) = secret_from_file(&file).unwrap();
            assert_eq!(secret.expose(), "s3cret");
            assert_eq!(matches!(caution, Some(Caution::SecretReadableByAll { .. })), open);
            assert!(read_token(&file).is_ok());
        }
    }

    #[tokio::test]
    async fn a_port_in_use_says_what_to_do() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let settings = ListenSettings { address: other.local_addr().unwrap(), ..ListenSettings::default() };
        let Err(error) = EngineServer::bind(settings, ServedEngines::default()).await else { panic!("bound twice") };
        assert!(error.to_string().ends_with("; stop that program, or choose another --listen"), "{error}");
    }
}
