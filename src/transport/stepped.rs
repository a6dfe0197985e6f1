//! A worker without a thread and a clock of its own: whoever holds it is its clock. For tests in virtual time and for
//! measuring; a server uses [`Workers`](super::Workers).

use super::batch::BATCHES_PER_WORKER;
use super::worker::MediaThread;
use super::{AudioBatch, TransportError, Worker, WorkerSettings, worker_parts};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use tokio::sync::mpsc;

/// See the module's documentation. Its sockets are real, only time is not. It stays on the thread that made it.
pub struct SteppedWorker {
    thread: MediaThread,
    phases: usize,
    slots: usize,
}

impl SteppedWorker {
    /// Makes the worker, the handle to give it calls with, and the queue of its caller audio. Of the settings, the number of
    /// workers and the processors do not matter.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn new(settings: &WorkerSettings) -> Result<(Self, Worker, mpsc::Receiver<AudioBatch>), TransportError> {
        let (filled, batches) = mpsc::channel(BATCHES_PER_WORKER);
        let serials = Arc::new(AtomicU64::new(1));
        let (parts, worker) = worker_parts(
            settings,
            *settings.ports.start(),
            settings.expected_calls,
            &filled,
            &Arc::default(),
            &serials,
        )?;
        let thread =
            MediaThread::new(parts).map_err(|errno| TransportError::Thread { cause: io::Error::from(errno) })?;
        Ok((Self { thread, phases: settings.slot.slots_per_frame(), slots: 0 }, worker, batches))
    }

    /// Runs the next slot, which is at `now`.
    pub fn slot(&mut self, now: Instant) {
        self.thread.slot(self.slots % self.phases, now);
        self.slots += 1;
    }

    /// Connections that the next slot would look at.
    #[cfg(test)]
    pub(super) fn ready_connections(&mut self) -> usize {
        self.thread.ready_connections()
    }
}

impl std::fmt::Debug for SteppedWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedWorker").field("slots", &self.slots).finish_non_exhaustive()
    }
}
