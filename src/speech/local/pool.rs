//! The threads on which models run: few, bounded, and none of them a media thread or a thread of the async runtime.
//!
//! A job is a fraction of a second of arithmetic (one utterance recognised, one chunk of speech synthesised), so that
//! jobs of many calls take turns. Each thread computes alone: eight calls on eight threads finish sooner than one
//! after the other on eight threads each.

use rten::ThreadPool;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::oneshot;

/// New jobs that may wait, first come first served; one more is refused ([`PoolError::Busy`]). A session has at most
/// one job at a time, so that this many sessions want something at once, and the last would wait far longer than its
/// call does. Below that it is for the call to say how long is too long.
const WAITING: usize = 256;

/// The thread pool of `rten` (and so of `rayon`) that a job runs in; it has one thread, the one that runs the job.
pub type JobThread = Arc<ThreadPool>;

type Job = Box<dyn FnOnce(&JobThread) + Send>;

/// Whether a job may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It begins something: refused when absurdly many jobs wait.
    New,
    /// It continues what was begun, a reply in the middle: never refused. Everyone has at most one such job.
    Continuing,
}

/// Why a job was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Too many jobs are waiting.
    #[error(
        "the built-in engines are busy: {waiting} jobs wait for {threads} threads; allow more threads or fewer calls"
    )]
    Busy {
        /// How many jobs wait.
        waiting: usize,
        /// How many threads there are.
        threads: usize,
    },
    /// The job panicked; that is a fault of the program.
    #[error("the built-in engine failed while computing")]
    Panicked,
}

/// Threads for inference with a bounded queue before them. Dropping it lets the threads finish what they do and end.
#[derive(Debug)]
pub struct InferencePool {
    queue: Arc<Queue>,
    threads: usize,
}

struct Queue {
    state: Mutex<QueueState>,
    /// Told of new jobs and of the end.
    changed: Condvar,
}

struct QueueState {
    jobs: VecDeque<Job>,
    running: usize,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.lock();
        f.debug_struct("Queue").field("waiting", &state.jobs.len()).field("running", &state.running).finish()
    }
}

/// How much the threads stand back (`nice`): behind the media threads, and behind the runtime that carries the audio of other
/// calls.
const NICENESS: i32 = 10;

impl InferencePool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system's, if it does not give them.
    pub fn start(threads: NonZeroUsize) -> std::io::Result<Self> {
        let state = QueueState { jobs: VecDeque::new(), running: 0, closed: false };
        // Made first, so that an error below ends the threads that have started.
        let pool = Self {
            queue: Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new() }),
            threads: threads.get(),
        };
        for index in 0..threads.get() {
            let queue = Arc::clone(&pool.queue);
            thread::Builder::new().name(format!("inference-{index}")).spawn(move || {
                // Of this thread alone: Linux counts niceness by thread. To stand back is always allowed.
                let _ = rustix::process::setpriority_process(None, NICENESS);
                queue.work();
            })?;
        }
        Ok(pool)
    }

    /// All cores but one, which is left to the media threads; at least one.
    pub fn default_threads() -> NonZeroUsize {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new(cores.saturating_sub(1)).unwrap_or(NonZeroUsize::MIN)
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `job` on one of the threads. A job whose caller no longer waits for it (this future was dropped) is not
    /// begun.
    ///
    /// # Errors
    /// [`PoolError::Busy`] at once, only for [`Admission::New`]; [`PoolError::Panicked`].
    pub async fn run<T: Send + 'static>(
        &self,
        admission: Admission,
        job: impl FnOnce(&JobThread) -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (result, receiver) = oneshot::channel();
        let job = Box::new(move |thread: &JobThread| {
            if !result.is_closed() {
                // Nobody waits for it any more when this fails.
                let _ = result.send(job(thread));
            }
        });
        self.submit(admission, job)?;
        receiver.await.map_err(|_| PoolError::Panicked)
    }

    fn submit(&self, admission: Admission, job: Job) -> Result<(), PoolError> {
        let mut state = self.queue.lock();
        let waiting = state.jobs.len();
        if admission == Admission::New && waiting >= WAITING {
            return Err(PoolError::Busy { waiting, threads: self.threads });
        }
        state.jobs.push_back(job);
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for InferencePool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    /// No code that can panic runs under the lock, so a poisoned one would still be whole.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each thread does.
    fn work(&self) {
        // Arithmetic of `rten` and `rten-gemm` spreads over the `rayon` pool that it is called in. In one of a single
        // thread it stays together.
        let thread = Arc::new(ThreadPool::with_num_threads(1));
        while let Some(job) = self.next() {
            // A job that panics takes its result's channel with it, which tells whoever waits; the thread lives on.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| thread.run(|| job(&thread))));
            self.lock().running -= 1;
        }
    }

    /// Waits for a job; `None` when the pool is gone.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.running += 1;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(threads: usize) -> InferencePool {
        InferencePool::start(NonZeroUsize::new(threads).unwrap()).unwrap()
    }

    /// Occupies a thread until the returned sender is dropped.
    async fn occupy(pool: &Arc<InferencePool>) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel::<()>();
        let (began, begun) = oneshot::channel();
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            let job = move |_: &JobThread| {
                began.send(()).unwrap();
                let _ = released.recv();
            };
            pool.run(Admission::New, job).await.unwrap();
        });
        begun.await.unwrap();
        release
    }

    #[tokio::test]
    async fn a_job_gives_its_result_and_computes_on_one_thread() {
        assert_eq!(pool(2).run(Admission::New, |_| rayon::current_num_threads()).await, Ok(1));
    }

    #[tokio::test]
    async fn a_burst_waits_and_is_served_in_the_order_of_its_coming() {
        let pool = Arc::new(pool(1));
        let release = occupy(&pool).await;
        let (serve, served) = mpsc::channel();
        let calls = (0..20).map(|call| {
            let serve = serve.clone();
            pool.run(Admission::New, move |_| serve.send(call).unwrap())
        });
        let calls = futures_util::future::join_all(calls);
        drop(release);
        assert_eq!(calls.await, [Ok(()); 20]);
        assert_eq!(served.try_iter().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_new_work_at_once_but_lets_a_reply_go_on() {
        let pool = Arc::new(pool(1));
        let release = occupy(&pool).await;
        for _ in 0..WAITING {
            pool.submit(Admission::New, Box::new(|_| ())).unwrap();
        }
        let refused = pool.run(Admission::New, |_| ()).await;
        assert_eq!(refused, Err(PoolError::Busy { waiting: WAITING, threads: 1 }));
        let going_on = pool.run(Admission::Continuing, |_| "done");
        drop(release);
        assert_eq!(going_on.await, Ok("done"));
    }

    #[tokio::test]
    async fn a_job_that_panics_is_reported_and_the_thread_lives_on() {
        let pool = pool(1);
        assert_eq!(pool.run(Admission::New, |_| panic!("as the test wants")).await, Err::<(), _>(PoolError::Panicked));
        assert_eq!(pool.run(Admission::New, |_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_that_nobody_waits_for_is_not_begun() {
        let pool = Arc::new(pool(1));
        let release = occupy(&pool).await;
        let (mark, marked) = mpsc::channel();
        let mut abandoned = Box::pin(pool.run(Admission::New, move |_| mark.send(()).unwrap()));
        tokio::select! {
            biased;
            _ = &mut abandoned => unreachable!("the only thread is occupied"),
            () = std::future::ready(()) => drop(abandoned),
        }
        drop(release);
        pool.run(Admission::New, |_| ()).await.unwrap();
        assert_eq!(marked.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn there_is_always_a_thread() {
        assert!(InferencePool::default_threads().get() >= 1);
    }
}
