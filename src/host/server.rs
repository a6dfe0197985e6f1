//! Starts everything that the configuration asks for, and ends it in order: no new calls, the calls that are, the media.

use super::asterisk::ari_settings;
use super::bots::{Bots, BotsError};
use super::node::{Node, NodeContext};
use super::observation::Observation;
use super::pump::Pump;
use crate::ari::{Ari, AriError, BaseUrlError, EventStream, Signal, install_crypto_provider};
use crate::config::{Asterisk, Config};
use crate::transport::{TransportError, WorkerSettings, Workers};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
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
    nodes: JoinSet<()>,
    workers: Arc<Workers>,
    observers: broadcast::Sender<Observation>,
    drain: CancellationToken,
    end_calls: CancellationToken,
}

impl Server {
    /// Loads the models, opens the sockets, connects to every Asterisk. Returns when calls can come in.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then. An Asterisk that cannot be reached is an error unless
    /// `wait_for_asterisk` is set; a wrong password always is one.
    pub async fn start(config: Config, wait_for_asterisk: bool) -> Result<Self, StartError> {
        if config.asterisks.is_empty() {
            return Err(StartError::NoAsterisk);
        }
        install_crypto_provider();
        let config = Arc::new(config);
        let settings = WorkerSettings::new(config.media.listen, config.media.ports.clone());
        // Before the models, which take longer: a port in use should be told at once.
        let (workers, batches) = Workers::start(settings)?;
        let bots = {
            let config = Arc::clone(&config);
            spawn_blocking(move || Bots::load(&config)).await??
        };
        let mut server = Self {
            nodes: JoinSet::new(),
            workers: Arc::new(workers),
            observers: broadcast::channel(OBSERVATIONS).0,
            drain: CancellationToken::new(),
            end_calls: CancellationToken::new(),
        };
        let pump = Pump::start(batches);
        let bots = Arc::new(bots);
        let capacity = Arc::new(Semaphore::new(config.media.max_calls as usize));
        // All of them before the first call is taken: if one cannot be used, nothing may be left running.
        let mut connected = Vec::with_capacity(config.asterisks.len());
        for asterisk in &config.asterisks {
            let name = || asterisk.name.to_string();
            let settings = ari_settings(asterisk).map_err(|cause| StartError::Url { name: name(), cause })?;
            let ari = Ari::new(settings).map_err(|cause| StartError::Asterisk { name: name(), cause })?;
            connected.push((asterisk, connect(&ari, asterisk, wait_for_asterisk).await?, ari));
        }
        for (asterisk, events, ari) in connected {
            let context = NodeContext {
                name: asterisk.name.to_string(),
                ari,
                app: asterisk.app.to_string(),
                dead_man: asterisk.dead_man,
                renewal: asterisk.dead_man_renewal(),
                law: config.media.law,
                advertise: config.media.advertise,
                workers: Arc::clone(&server.workers),
                pump: pump.clone(),
                bots: Arc::clone(&bots),
                config: Arc::clone(&config),
                capacity: Arc::clone(&capacity),
                observers: server.observers.clone(),
                end_calls: server.end_calls.clone(),
            };
            server.nodes.spawn(Node::new(Arc::new(context)).run(events, server.drain.clone()));
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
            () = self.nodes_ended() => true,
            () = hurry => false,
            () = sleep(patience) => false,
        };
        if !ended {
            info!("the remaining calls go back to the dialplan");
            self.end_calls.cancel();
            if timeout(ENDING_LIMIT, self.nodes_ended()).await.is_err() {
                warn!("some calls did not end in time; their dead-man timers will end them");
                self.nodes.shutdown().await;
            }
        }
        if let Err(error) = self.workers.stop().await {
            warn!(%error, "stopping the media workers");
        }
    }

    async fn nodes_ended(&mut self) {
        while self.nodes.join_next().await.is_some() {}
    }
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
