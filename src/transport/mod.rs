//! Media workers: threads that own the calls, between the external-media legs of Asterisk and the state machines.
//!
//! Here a packet becomes a frame. Each worker has one thread, one UDP socket, the TCP connections of its calls, and many
//! calls. Over RTP a call is known by the address from which Asterisk sends its audio. Time is cut into slots of 1 ms on an
//! absolute clock ([`SlotTime`]). The caller is heard when a packet comes; for the caller a call speaks every 20 ms, in the
//! slot that was chosen for it so that all calls are spread evenly. In every slot the thread:
//!
//! 1. receives all waiting datagrams at once. Each goes to the receiving side (`media`) of the call with that source address,
//!    and every frame that is complete with it to [`Call::hear`](crate::call::Call::hear); anything from elsewhere is dropped
//!    and counted (`worker.rs`, `receive`);
//! 2. asks which connections have something to read (`readiness.rs`), and does the same with what is in it
//!    (`leg/audiosocket.rs`, `leg/websocket.rs`);
//! 3. takes the messages from its inbox: new calls, legs, and what engines and ARI have to say ([`Input`](crate::call::Input));
//! 4. wakes the calls whose timer has run out;
//! 5. for every call that is due in this slot, hears what there is to hear although nothing came, and sends the frame that
//!    [`Call::speak`](crate::call::Call::speak) gives (`media_call.rs`, `tick`);
//! 6. sends all packets at once;
//! 7. hands over the caller audio ([`AudioBatch`]).
//!
//! After each of 1 to 5 it drains the outputs of the call: caller audio into the batch of the slot, the rest to the call's
//! owner. The thread never waits for anything but the next slot, takes no lock, and in the steady state allocates nothing for
//! a frame. A call sends from the moment its leg is attached until it is removed, silence when there is nothing to say.

mod batch;
mod clock;
mod closing;
mod echo;
mod error;
mod handle;
mod leg;
pub mod listen;
mod media_call;
mod priority;
mod quarantine;
mod readiness;
mod socket;
mod stats;
mod stepped;
mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use batch::AudioBatch;
pub use clock::SlotTime;
pub use error::{LegRefusal, TransportError};
pub use handle::{CallHandle, CallKey, Driver, MediaOutput, NewCall, Worker};
pub use leg::{AudioSocketLeg, Leg, LegKeys, LegLoss, RtpLeg, WebSocketLeg};
pub use stats::WorkerStats;
pub use stepped::SteppedWorker;

use batch::BATCHES_PER_WORKER;
use clock::SlotClock;
use handle::INBOX_MESSAGES;
use stats::Counters;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use worker::{MediaThread, WorkerParts};

/// How long [`Workers::stop`] waits for the threads. One needs a slot time.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// How many workers there are and where they listen.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Address of all sockets.
    pub listen: IpAddr,
    /// The first ports of this range are used, one a worker. `0..=0` lets the system choose all of them.
    pub ports: RangeInclusive<u16>,
    /// Number of workers; without it one a processor, but not more than there are ports.
    pub workers: Option<NonZeroUsize>,
    /// Length of a slot.
    pub slot: SlotTime,
    /// Calls, on all workers together, that memory is laid out for. More are carried too.
    pub expected_calls: usize,
    /// Processors that the threads are tied to, one each and in turn; wherever the system likes if there are none.
    pub cpus: Vec<usize>,
}

impl WorkerSettings {
    /// The usual values for the rest.
    pub fn new(listen: IpAddr, ports: RangeInclusive<u16>) -> Self {
        Self { listen, ports, workers: None, slot: SlotTime::default(), expected_calls: 500, cpus: Vec::new() }
    }

    fn worker_count(&self) -> Result<usize, TransportError> {
        let ports = if self.system_chooses_ports() { usize::MAX } else { self.ports.len() };
        let workers = match self.workers {
            Some(workers) => workers.get(),
            None => thread::available_parallelism().map_or(1, NonZeroUsize::get).min(ports.max(1)),
        };
        if workers > ports { Err(TransportError::TooFewPorts { workers, ports }) } else { Ok(workers) }
    }

    fn system_chooses_ports(&self) -> bool {
        self.ports == (0..=0)
    }
}

/// All workers of the server. Dropping it stops them as well, without waiting.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    /// Those that nobody has waited for yet.
    threads: Mutex<Vec<Thread>>,
    stop: Arc<AtomicBool>,
}

/// A running thread.
#[derive(Debug)]
struct Thread {
    join: JoinHandle<()>,
    /// Resolves (to an error) when the thread has ended, in whatever way.
    ended: oneshot::Receiver<()>,
}

impl Workers {
    /// Opens the sockets and starts the threads. The receiver gets the caller audio of all workers.
    ///
    /// # Errors
    /// Any of the first group of [`TransportError`]; nothing is left running then.
    pub fn start(settings: WorkerSettings) -> Result<(Self, mpsc::Receiver<AudioBatch>), TransportError> {
        let count = settings.worker_count()?;
        // If the system does not even say what is allowed, tying a thread to a processor will fail and be logged.
        if let Ok(Some(cpu)) = priority::forbidden(&settings.cpus) {
            return Err(TransportError::Cpu { cpu });
        }
        let (filled, batches) = mpsc::channel(count * BATCHES_PER_WORKER);
        let serials = Arc::new(AtomicU64::new(1));
        let mut this = Self { workers: Vec::with_capacity(count), threads: Mutex::default(), stop: Arc::default() };
        for index in 0..count {
            // Within the range: there are no more workers than ports.
            let port = if settings.system_chooses_ports() { 0 } else { *settings.ports.start() + index as u16 };
            let expected = settings.expected_calls.div_ceil(count);
            let (parts, worker) = worker_parts(&settings, port, expected, &filled, &this.stop, &serials)?;
            let cpu = settings.cpus.get(index % settings.cpus.len().max(1)).copied();
            this.threads.get_mut().unwrap_or_else(PoisonError::into_inner).push(spawn(index, cpu, parts)?);
            this.workers.push(worker);
        }
        Ok((this, batches))
    }

    /// The worker with the fewest calls: the one for the next call. One whose thread has ended is passed over (it would
    /// always have the fewest); if all have, one of these refuses the call.
    pub fn assign(&self) -> Worker {
        let running = self.workers.iter().filter(|worker| worker.is_running());
        let least = running.min_by_key(|worker| worker.stats().calls);
        // `start` makes at least one worker.
        least.unwrap_or(&self.workers[0]).clone()
    }

    /// All of them, for their statistics.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Stops all workers and waits until their threads have ended, 2 s at most. Calls that they still carry fall silent. Only the first
    /// one to ask waits.
    ///
    /// # Errors
    /// [`TransportError::Stopped`] names a worker that had broken down, or did not end in time.
    pub async fn stop(&self) -> Result<(), TransportError> {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = tokio::time::Instant::now() + STOP_WITHIN;
        let mut outcome = Ok(());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for (thread, worker) in threads.into_iter().zip(&self.workers) {
            let local = worker.local_addr();
            let clean = match tokio::time::timeout_at(deadline, thread.ended).await {
                // It has ended, so this does not wait.
                Ok(_) => thread.join.join().is_ok(),
                Err(_) => false,
            };
            if !clean {
                tracing::error!(%local, "a media worker broke down or did not stop in time");
                outcome = Err(TransportError::Stopped { local });
            }
        }
        outcome
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A worker whose thread does not run yet, and what that thread needs.
fn worker_parts(
    settings: &WorkerSettings,
    port: u16,
    expected: usize,
    filled: &mpsc::Sender<AudioBatch>,
    stop: &Arc<AtomicBool>,
    serials: &Arc<AtomicU64>,
) -> Result<(WorkerParts, Worker), TransportError> {
    let socket = socket::bind(settings.listen, port)?;
    let local = socket.local_addr().map_err(|cause| TransportError::Socket { listen: settings.listen, port, cause })?;
    let (inbox, messages) = mpsc::channel(INBOX_MESSAGES);
    let counters = Arc::new(Counters::default());
    let parts = WorkerParts {
        socket,
        local,
        slot: settings.slot,
        expected,
        inbox: messages,
        filled: filled.clone(),
        counters: Arc::clone(&counters),
        stop: Arc::clone(stop),
    };
    Ok((parts, Worker { local, inbox, counters, serials: Arc::clone(serials) }))
}

fn spawn(index: usize, cpu: Option<usize>, parts: WorkerParts) -> Result<Thread, TransportError> {
    let failed = |cause| TransportError::Thread { cause };
    let (running, ended) = oneshot::channel::<()>();
    let (started, clock_started) = std::sync::mpsc::sync_channel(1);
    let join = thread::Builder::new()
        .name(format!("media-{index}"))
        .spawn(move || {
            // Dropped last, even when the thread panics.
            let _running = running;
            if let Some(Err(error)) = cpu.map(priority::pin) {
                tracing::warn!(?cpu, %error, "cannot tie a media thread to its processor");
            }
            priority::ask_for_real_time();
            let slot = parts.slot;
            match MediaThread::new(parts).and_then(|thread| Ok((thread, SlotClock::start(slot)?))) {
                Ok((thread, clock)) => {
                    let _ = started.send(Ok(()));
                    thread.run(clock);
                }
                Err(errno) => drop(started.send(Err(io::Error::from(errno)))),
            }
        })
        .map_err(failed)?;
    match clock_started.recv() {
        Ok(Ok(())) => Ok(Thread { join, ended }),
        Ok(Err(cause)) => Err(failed(cause)),
        Err(_) => Err(failed(io::Error::other("it ended at once"))),
    }
}
