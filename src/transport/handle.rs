//! What the rest of the program holds of a worker and of a call on it. Everything goes through the worker's bounded inbox,
//! which is looked into once a slot; when it is full the sender waits.

use super::error::{LegRefusal, TransportError};
use super::leg::{AudioSocketLeg, Leg, LegLoss, WebSocketLeg};
use super::stats::{Counters, WorkerStats};
use crate::audio::SampleRate;
use crate::call::{CallId, CallSettings, Input, Output};
use crate::media::MediaStats;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, oneshot};

/// Messages that an inbox holds: several for each of 500 calls. One slot takes in at most as many.
pub(super) const INBOX_MESSAGES: usize = 2048;

/// Names a call on the workers of this process. Small and cheap to compare; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(u64);

impl CallKey {
    #[cfg(test)]
    pub(super) const fn from_serial(serial: u64) -> Self {
        Self(serial)
    }
}

impl fmt::Display for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call #{}", self.0)
    }
}

/// A call to be carried.
#[derive(Debug)]
pub struct NewCall {
    /// For the log.
    pub call: CallId,
    /// What hears the caller and speaks to it; built on the worker's thread.
    pub driver: Driver,
    /// Takes what the call wants done, except [`Output::CallerAudio`]. It must have room at all times: a call whose output
    /// finds it full can no longer be controlled, so its media stops and this sender is dropped.
    pub outputs: mpsc::Sender<MediaOutput>,
}

/// Who the caller talks to.
#[derive(Clone, Debug)]
pub enum Driver {
    /// A bot.
    Conversation(Box<CallSettings>),
    /// The caller: what is heard is played back. A line test, and what the bare path costs.
    Echo(SampleRate),
}

impl Driver {
    /// Rate of the audio in both directions.
    pub const fn rate(&self) -> SampleRate {
        match self {
            Self::Conversation(settings) => settings.rate,
            Self::Echo(rate) => *rate,
        }
    }
}

/// What the owner of a call is told.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaOutput {
    /// What the call wants done.
    Call(Output),
    /// The leg is no more; the call goes on without sound until it is removed.
    LegLost(LegLoss),
}

/// What is put into the inbox of a worker.
#[derive(Debug)]
pub(super) enum Message {
    Add(Box<Admission>),
    Input(CallKey, Input),
    Attach(CallKey, Box<Leg>, oneshot::Sender<Result<(), AttachError>>),
    Stats(CallKey, oneshot::Sender<Option<MediaStats>>),
    Remove(CallKey, oneshot::Sender<Option<MediaStats>>),
}

/// A new call with what ties it to its worker.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) key: CallKey,
    pub(super) new: NewCall,
    pub(super) place: Place,
    /// Dead when no handle of the call is left.
    pub(super) handles: Weak<()>,
}

/// Why the worker did not attach a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttachError {
    CallGone,
    Refused(LegRefusal),
}

impl<R: Into<LegRefusal>> From<R> for AttachError {
    fn from(reason: R) -> Self {
        Self::Refused(reason.into())
    }
}

/// A call counted in the load of its worker, from the decision to add it until it is gone.
#[derive(Debug)]
pub(super) struct Place(Arc<Counters>);

impl Place {
    pub(super) fn take(counters: &Arc<Counters>) -> Self {
        counters.calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A media thread with its socket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Worker {
    pub(super) local: SocketAddr,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) counters: Arc<Counters>,
    /// Shared by all workers, so that a key names one call of the process.
    pub(super) serials: Arc<AtomicU64>,
}

impl Worker {
    /// The address of its socket: what Asterisk is to send to, unless another one is advertised.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether its thread takes calls: not after it was stopped, or broke down.
    pub(super) fn is_running(&self) -> bool {
        !self.inbox.is_closed()
    }

    /// What it has counted.
    pub fn stats(&self) -> WorkerStats {
        self.counters.snapshot()
    }

    /// Gives it a call. The call is driven from now on; it is heard and speaks once a leg is attached.
    pub async fn add(&self, new: NewCall) -> Result<CallHandle, TransportError> {
        let key = CallKey(self.serials.fetch_add(1, Ordering::Relaxed));
        let handles = Arc::new(());
        let admission = Admission { key, new, place: Place::take(&self.counters), handles: Arc::downgrade(&handles) };
        self.send(Message::Add(Box::new(admission))).await?;
        Ok(CallHandle { key, worker: self.clone(), _alive: handles })
    }

    async fn send(&self, message: Message) -> Result<(), TransportError> {
        self.inbox.send(message).await.map_err(|_| self.stopped())
    }

    const fn stopped(&self) -> TransportError {
        TransportError::Stopped { local: self.local }
    }
}

/// A call on its worker. When the last clone is dropped the worker lets go of the call by itself within a frame time.
#[derive(Clone, Debug)]
pub struct CallHandle {
    key: CallKey,
    worker: Worker,
    _alive: Arc<()>,
}

impl CallHandle {
    /// Its name in [`super::AudioBatch`].
    pub const fn key(&self) -> CallKey {
        self.key
    }

    /// The worker that carries it.
    pub const fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Tells the call what happened. Inputs of one handle arrive in order; an input for a call that was removed meanwhile
    /// is counted and ignored.
    pub async fn input(&self, input: Input) -> Result<(), TransportError> {
        self.worker.send(Message::Input(self.key, input)).await
    }

    /// Starts sending to and hearing from Asterisk. Each call can have one leg, and no two calls of a worker the same address.
    ///
    /// # Errors
    /// [`TransportError::Leg`] says why the leg cannot be used; a connection is closed.
    pub async fn attach(&self, leg: Leg) -> Result<(), TransportError> {
        let (reply, answer) = oneshot::channel();
        let remote = match &leg {
            Leg::Rtp(leg) => leg.remote,
            Leg::AudioSocket(AudioSocketLeg { stream, .. }) | Leg::WebSocket(WebSocketLeg { stream, .. }) => {
                stream.peer_addr().unwrap_or(self.worker.local)
            }
        };
        self.worker.send(Message::Attach(self.key, Box::new(leg), reply)).await?;
        answer.await.map_err(|_| self.worker.stopped())?.map_err(|error| match error {
            AttachError::CallGone => TransportError::CallGone,
            AttachError::Refused(reason) => TransportError::Leg { remote, local: self.worker.local, reason },
        })
    }

    /// The statistics of the leg so far; `None` when the call has none, was removed, or the worker has stopped.
    pub async fn stats(&self) -> Option<MediaStats> {
        let (reply, answer) = oneshot::channel();
        self.worker.send(Message::Stats(self.key, reply)).await.ok()?;
        answer.await.ok().flatten()
    }

    /// Ends the media: nothing is sent after this returns. The statistics of the leg, if it had one; `None` also when the
    /// call was removed before or the worker has stopped.
    pub async fn remove(&self) -> Option<MediaStats> {
        let (reply, answer) = oneshot::channel();
        self.worker.send(Message::Remove(self.key, reply)).await.ok()?;
        answer.await.ok().flatten()
    }
}
