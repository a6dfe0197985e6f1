//! The engine side of the contract: offers what implements our traits as a gRPC server, so that a reference engine and
//! the engines of this process are the same code.

mod catalog;
mod dialog;
mod recognition;
mod session;
mod synthesis;
#[cfg(test)]
mod tests;

pub(super) use catalog::Service as CatalogService;
pub use catalog::{Catalog, CatalogModel, CatalogVoice};

use super::proto::catalog_service_server::CatalogServiceServer;
use super::proto::conversation_service_server::ConversationServiceServer;
use super::proto::dialog_service_server::DialogServiceServer;
use super::proto::recognition_service_server::RecognitionServiceServer;
use super::proto::synthesis_service_server::SynthesisServiceServer;
use super::proto::{
    CONNECTION_WINDOW_BYTES, DESCRIPTOR_SET, KEEP_ALIVE_TIMEOUT, MAX_MESSAGE_BYTES, MAX_STREAMS, STREAM_WINDOW_BYTES,
};
use super::tcp::Tcp;
use super::{BearerToken, Dialog, Recognizer, Synthesizer};
use session::Sessions;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Pings show the server a client that has vanished; media servers send audio, so a quiet connection is rare.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long connections may take to close once their sessions have ended.
const CLOSING_LIMIT: Duration = Duration::from_secs(1);

/// Where the server listens and whom it lets in.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// What clients have to show. Required for an address that is not loopback.
    pub token: Option<BearerToken>,
    /// How long sessions may go on after the server was told to stop.
    pub drain_limit: Duration,
}

impl Default for ListenSettings {
    /// `127.0.0.1:50051`, no token, 10 seconds to drain.
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 50_051)), token: None, drain_limit: Duration::from_secs(10) }
    }
}

/// What is served. A service without an engine answers UNIMPLEMENTED.
#[derive(Clone, Default)]
pub struct ServedEngines {
    /// Speech to text.
    pub recognizer: Option<Arc<dyn Recognizer>>,
    /// Text to speech.
    pub synthesizer: Option<Arc<dyn Synthesizer>>,
    /// What to say next.
    pub dialog: Option<Arc<dyn Dialog>>,
    /// What `GetCatalog` tells about them.
    pub catalog: Catalog,
}

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Anybody in the network could use the engines.
    #[error(
        "{0} can be reached from the network: name a file with a token with `--token-file FILE`, or listen on 127.0.0.1"
    )]
    OpenToAll(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}{}", remedy(cause))]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The transport failed.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The contract's own description cannot be read: a broken build.
    #[error("the description of the contract cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

fn remedy(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::AddrInUse => "; stop that program, or choose another --listen",
        std::io::ErrorKind::AddrNotAvailable => "; choose an address of this machine with --listen",
        std::io::ErrorKind::PermissionDenied => "; choose a port from 1024 with --listen",
        _ => "",
    }
}

/// A server that has its port and is ready to run.
pub struct EngineServer {
    listener: TcpListener,
    settings: ListenSettings,
    engines: ServedEngines,
}

/// Binds and runs until `shutdown`: see [`EngineServer`].
pub async fn serve(
    settings: ListenSettings,
    engines: ServedEngines,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    EngineServer::bind(settings, engines).await?.run(shutdown).await
}

impl EngineServer {
    /// Takes the port. Refuses an address that others can reach if there is no token.
    pub async fn bind(settings: ListenSettings, engines: ServedEngines) -> Result<Self, ServeError> {
        let address = settings.address;
        if !address.ip().is_loopback() && settings.token.is_none() {
            return Err(ServeError::OpenToAll(address));
        }
        let listener = TcpListener::bind(address).await.map_err(|cause| ServeError::Listen { address, cause })?;
        Ok(Self { listener, settings, engines })
    }

    /// Where it listens, the real port included.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is done. Then no session is opened any more and health says so; those that are open may
    /// go on for the drain limit and are ended with UNAVAILABLE, so that calls turn to another engine.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Self { listener, settings, engines } = self;
        let health = HealthReporter::new();
        report(&health, &engines).await;
        let sessions = Sessions::new();
        let all_ended = CancellationToken::new();
        let router = router(&settings, engines, &health, &sessions)?;
        // `serve_with_incoming` leaves sockets as they come, so `Tcp` sets what has to be set.
        let incoming = TcpListenerStream::new(listener).map(|stream| stream.and_then(Tcp::new));
        let serving = router.serve_with_incoming_shutdown(incoming, all_ended.clone().cancelled_owned());
        let draining = async {
            shutdown.await;
            sessions.refuse();
            for service in SERVICES {
                health.set_service_status(service, ServingStatus::NotServing).await;
            }
            if tokio::time::timeout(settings.drain_limit, sessions.ended()).await.is_err() {
                sessions.end();
            }
            all_ended.cancel();
            // Clients that keep their connection open do not keep the process.
            tokio::time::sleep(CLOSING_LIMIT).await;
        };
        tokio::select! {
            result = serving => Ok(result?),
            () = draining => Ok(()),
        }
    }
}

/// Full names of what health tells about; the empty name is the server as a whole.
const SERVICES: [&str; 5] = [
    "",
    "arioso.speech.v1alpha1.RecognitionService",
    "arioso.speech.v1alpha1.SynthesisService",
    "arioso.speech.v1alpha1.DialogService",
    "arioso.speech.v1alpha1.CatalogService",
];

async fn report(health: &HealthReporter, engines: &ServedEngines) {
    let present = [true, engines.recognizer.is_some(), engines.synthesizer.is_some(), engines.dialog.is_some(), true];
    for (service, _) in SERVICES.into_iter().zip(present).filter(|(_, present)| *present) {
        health.set_service_status(service, ServingStatus::Serving).await;
    }
}

fn router(
    settings: &ListenSettings,
    engines: ServedEngines,
    health: &HealthReporter,
    sessions: &Sessions,
) -> Result<tonic::transport::server::Router, ServeError> {
    let gate = Gate(settings.token.clone());
    let present = [engines.recognizer.is_some(), engines.synthesizer.is_some(), engines.dialog.is_some()];
    let kinds =
        crate::call::Service::ALL.into_iter().zip(present).filter_map(|(kind, present)| present.then_some(kind));
    let catalog = catalog::Service { catalog: engines.catalog, kinds: kinds.collect() };
    let recognition = recognition::Service { engine: engines.recognizer, sessions: sessions.clone() };
    let recognition = RecognitionServiceServer::new(recognition).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let synthesis = synthesis::Service { engine: engines.synthesizer, sessions: sessions.clone() };
    let synthesis = SynthesisServiceServer::new(synthesis).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let dialog = dialog::Service { engine: engines.dialog, sessions: sessions.clone() };
    let dialog = DialogServiceServer::new(dialog).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let catalog = CatalogServiceServer::new(catalog);
    let reflection =
        || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTOR_SET);

    // Health and the description of the contract are no secrets: probes need no token.
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(health.clone()),
    );
    Ok(tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        // Older tools know only this one.
        .add_service(reflection().build_v1alpha()?)
        .add_service(InterceptedService::new(recognition, gate.clone()))
        .add_service(InterceptedService::new(synthesis, gate.clone()))
        .add_service(InterceptedService::new(dialog, gate.clone()))
        .add_service(InterceptedService::new(ConversationServiceServer::new(catalog::NoConversation), gate.clone()))
        .add_service(InterceptedService::new(catalog, gate)))
}

/// Lets in who shows the token.
#[derive(Clone, Debug)]
struct Gate(Option<BearerToken>);

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match &self.0 {
            Some(token) if !token.is_in(request.metadata()) => {
                Err(Status::unauthenticated("the bearer token in `authorization` is missing or wrong"))
            }
            _ => Ok(request),
        }
    }
}
