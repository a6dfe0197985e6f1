//! Starts everything that the configuration asks for, and ends it in order: no new calls, the calls that are, the media.

use super::asterisk::ari_settings;
use super::bots::{Bots, BotsError};
use super::context::HostContext;
use super::dialplan_call::DialplanEntrance;
use super::legs::Listeners;
use super::media_watch::MediaWatch;
use super::node::{Node, NodeContext};
use super::observation::Observation;
use super::pump::Pump;
use crate::ari::{
    Ari, AriError, BaseUrlError, Capabilities, EventStream, Lack, Lacks, Signal, install_crypto_provider,
};
use crate::config::{Asterisk, Config};
use crate::transport::listen::ListenError;
use crate::transport::{TransportError, WorkerSettings, Workers};
use crate::wire::media_websocket::Format;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// Observations that a slow onlooker may be behind; it then misses the oldest, the calls never wait.
const OBSERVATIONS: usize = 4096;

/// Signals of an Asterisk that may wait for its node, which handles each in microseconds. When it is full the client
/// reconnects, and the sweep asks what was missed.
const SIGNALS: usize = 8192;

/// So long an Asterisk may take for its first answer when the server starts.
const FIRST_CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// After the calls were told to end they are given so long.
const ENDING_LIMIT: Duration = Duration::from_secs(10);

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no Asterisk in the configuration.
    #[error("no [[asterisk]] is configured: there is nobody to take calls from")]
    NoAsterisk,
    /// An Asterisk cannot be used.
    #[error("asterisk `{name}`: {cause}")]
    Asterisk {
        /// Its configured name.
        name: String,
        /// What is wrong, and what to do.
        cause: AriError,
    },
    /// The address of an Asterisk cannot be used.
    #[error("asterisk `{name}`: url: {cause}")]
    Url {
        /// Its configured name.
        name: String,
        /// What is wrong, and what to do.
        cause: BaseUrlError,
    },
    /// An Asterisk did not answer.
    #[error("asterisk `{name}`: no answer from {url} within {FIRST_CONNECT_LIMIT:?}")]
    Silent {
        /// Its configured name.
        name: String,
        /// Its address.
        url: String,
    },
    /// An Asterisk cannot make the media legs that are configured for it.
    #[error("asterisk `{name}`, transport {transport}: {}", join(lacks))]
    Lacks {
        /// Its configured name.
        name: String,
        /// Its transport and codec.
        transport: String,
        /// What it lacks; never empty.
        lacks: Vec<Lack>,
    },
    /// A port for Asterisks to connect to cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The media workers cannot start.
    #[error(transparent)]
    Media(#[from] TransportError),
    /// The bots cannot be made.
    #[error(transparent)]
    Bots(#[from] BotsError),
    /// Loading the models panicked.
    #[error("loading the models failed: {0}")]
    Load(#[from] JoinError),
}

/// A running server.
pub struct Server {
    /// The Asterisks, and the port for calls of dialplans.
    entrances: JoinSet<()>,
    workers: Arc<Workers>,
    observers: broadcast::Sender<Observation>,
    drain: CancellationToken,
    end_calls: CancellationToken,
    /// Held: it ends with the server.
    _media_watch: AbortOnDropHandle<()>,
}

impl Server {
    /// Loads the models, opens the sockets, connects to every Asterisk. Returns when calls can come in.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then. An Asterisk that cannot be reached is an error unless
    /// `wait_for_asterisk` is set; a wrong password always is one.
    pub async fn start(config: Config, wait_for_asterisk: bool) -> Result<Self, StartError> {
        if config.asterisks.is_empty() && config.audiosocket_routes().next().is_none() {
            return Err(StartError::NoAsterisk);
        }
        install_crypto_provider();
        let config = Arc::new(config);
        // Before the models, which take longer: a port in use should be told at once.
        let (workers, batches) = Workers::start(worker_settings(&config))?;
        let mut listeners = Listeners::new(config.media.clone());
        let mut legs = Vec::with_capacity(config.asterisks.len());
        for asterisk in &config.asterisks {
            legs.push(listeners.legs(&asterisk.transport).await?);
        }
        let dialplan_listener = match config.audiosocket_routes().next() {
            Some(_) => Some(listeners.audiosocket().await?),
            None => None,
        };
        let bots = {
            let config = Arc::clone(&config);
            spawn_blocking(move || Bots::load(&config)).await??
        };
        let workers = Arc::new(workers);
        let (audiosocket, websocket) = listeners.open();
        let media_watch = MediaWatch::new(Arc::clone(&workers), audiosocket, websocket).run();
        let mut server = Self {
            entrances: JoinSet::new(),
            workers,
            observers: broadcast::channel(OBSERVATIONS).0,
            drain: CancellationToken::new(),
            end_calls: CancellationToken::new(),
            _media_watch: AbortOnDropHandle::new(tokio::spawn(media_watch)),
        };
        let host = Arc::new(HostContext {
            capacity: Arc::new(Semaphore::new(config.media.max_calls as usize)),
            config: Arc::clone(&config),
            workers: Arc::clone(&server.workers),
            pump: Pump::start(batches),
            bots: Arc::new(bots),
            observers: server.observers.clone(),
            end_calls: server.end_calls.clone(),
        });
        // All of them before the first call is taken: if one cannot be used, nothing may be left running.
        let mut connected = Vec::with_capacity(config.asterisks.len());
        for (asterisk, legs) in config.asterisks.iter().zip(legs) {
            let name = || asterisk.name.to_string();
            let settings = ari_settings(asterisk).map_err(|cause| StartError::Url { name: name(), cause })?;
            let ari = Ari::new(settings).map_err(|cause| StartError::Asterisk { name: name(), cause })?;
            let events = connect(&ari, asterisk, wait_for_asterisk).await?;
            let control = look_at(&ari, asterisk, config.audiosocket_routes().next().is_some()).await?;
            connected.push((asterisk, events, ari, legs, control));
        }
        for (asterisk, events, ari, legs, control) in connected {
            let context = NodeContext {
                name: asterisk.name.to_string(),
                ari,
                app: asterisk.app.to_string(),
                dead_man: asterisk.dead_man,
                renewal: asterisk.dead_man_renewal(),
                legs,
                control,
                host: Arc::clone(&host),
            };
            server.entrances.spawn(Node::new(Arc::new(context)).run(events, server.drain.clone()));
        }
        if let (Some(listener), Some(calls)) = (dialplan_listener, listeners.take_dialplan_calls()) {
            server.entrances.spawn(DialplanEntrance { host, listener, calls }.run(server.drain.clone()));
        }
        Ok(server)
    }

    /// What happens in its calls from now on.
    pub fn observe(&self) -> broadcast::Receiver<Observation> {
        self.observers.subscribe()
    }

    /// Takes no new calls, gives those that are so long to end, or until `hurry`, then sends the rest back to the dialplan.
    pub async fn drain(mut self, patience: Duration, hurry: impl Future<Output = ()>) {
        self.drain.cancel();
        let ended = tokio::select! {
            () = self.entrances_ended() => true,
            () = hurry => false,
            () = sleep(patience) => false,
        };
        if !ended {
            info!("the remaining calls go back to the dialplan");
            self.end_calls.cancel();
            if timeout(ENDING_LIMIT, self.entrances_ended()).await.is_err() {
                warn!("some calls did not end in time; their dead-man timers will end them");
                self.entrances.shutdown().await;
            }
        }
        if let Err(error) = self.workers.stop().await {
            warn!(%error, "stopping the media workers");
        }
    }

    async fn entrances_ended(&mut self) {
        while self.entrances.join_next().await.is_some() {}
    }
}

fn join(lacks: &[Lack]) -> String {
    lacks.iter().map(|lack| format!("{lack} ({})", lack.fix())).collect::<Vec<_>>().join("; ")
}

fn worker_settings(config: &Config) -> WorkerSettings {
    let media = &config.media;
    let settings = WorkerSettings::new(media.listen, media.ports.clone());
    // A worker for each processor that is named, else as many as there are processors.
    let workers = NonZeroUsize::new(media.cpus.len());
    WorkerSettings { workers, cpus: media.cpus.clone(), ..settings }
}

/// Whether an Asterisk can make its media legs, and how control messages on them are written.
async fn look_at(ari: &Ari, asterisk: &Asterisk, dialplan_calls: bool) -> Result<Format, StartError> {
    let capabilities = match ari.capabilities().await {
        Ok(capabilities) => capabilities,
        Err(error) => {
            // Nothing speaks against it yet; the first call will tell.
            warn!(asterisk = %asterisk.name, %error, "cannot ask for version and modules");
            Capabilities::default()
        }
    };
    let features = capabilities.missing_features(&asterisk.transport);
    let modules = capabilities.missing_modules(&asterisk.transport);
    let for_dialplan = if dialplan_calls { capabilities.missing_for_dialplan_calls() } else { Lacks::default() };
    for lack in features.tolerable.iter().chain(&modules.tolerable).chain(&for_dialplan.tolerable) {
        warn!(asterisk = %asterisk.name, "{lack}");
    }
    let lacks = [features.fatal, modules.fatal].concat();
    if lacks.is_empty() {
        return Ok(capabilities.media_control());
    }
    Err(StartError::Lacks { name: asterisk.name.to_string(), transport: asterisk.transport.to_string(), lacks })
}

/// Opens the events socket and waits for the first word, so that a wrong password is told at the start.
async fn connect(ari: &Ari, asterisk: &Asterisk, wait: bool) -> Result<EventStream, StartError> {
    let name = || asterisk.name.to_string();
    let mut events = ari.events(SIGNALS);
    let first = async {
        while let Some(signal) = events.next().await {
            match signal {
                Signal::Connected => return Ok(()),
                Signal::Unavailable {
                    error: error @ (AriError::Unreachable { .. } | AriError::Starting { .. } | AriError::NoAri { .. }),
                    attempt,
                    ..
                } if wait => {
                    if attempt == 1 {
                        warn!(asterisk = %asterisk.name, "{error}; waiting for it");
                    }
                }
                Signal::Unavailable { error, .. } => return Err(StartError::Asterisk { name: name(), cause: error }),
                Signal::Event(_) | Signal::Disconnected { .. } | Signal::Replaced => {}
            }
        }
        Err(StartError::Silent { name: name(), url: asterisk.url.to_string() })
    };
    if wait {
        first.await?;
    } else {
        timeout(FIRST_CONNECT_LIMIT, first)
            .await
            .unwrap_or_else(|_| Err(StartError::Silent { name: name(), url: asterisk.url.to_string() }))?;
    }
    Ok(events)
}
