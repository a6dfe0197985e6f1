//! What all calls of the server share, whichever way they come in.

use super::bots::Bots;
use super::observation::Observation;
use super::pump::Pump;
use crate::config::Config;
use crate::transport::Workers;
use std::sync::Arc;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

/// See the module's documentation.
pub(super) struct HostContext {
    pub(super) config: Arc<Config>,
    pub(super) workers: Arc<Workers>,
    pub(super) pump: Pump,
    pub(super) bots: Arc<Bots>,
    /// One permit for each call that the server may have.
    pub(super) capacity: Arc<Semaphore>,
    pub(super) observers: broadcast::Sender<Observation>,
    /// Cancelled when the server wants the remaining calls to end.
    pub(super) end_calls: CancellationToken,
}
