//! The task of one service of one call: owns the session of the engine in use, and replaces it when it breaks or is late.

use super::Candidate;
use super::service::EngineService;
use crate::call::Input;
use crate::speech::queue::{self, NoRoom};
use crate::speech::{EngineError, Session, SessionStart};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

/// An engine that takes no request for so long is stuck.
const REQUEST_LIMIT: Duration = Duration::from_secs(1);

/// A session is given so long to end politely when the call is over.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);

/// Commands that wait while a session is being opened, far more than a call gives in that time. None is dropped: when
/// full the engine that does not open has failed.
const WAITING_COMMANDS: usize = 256;

/// What a line is given to do.
#[derive(Debug)]
pub(super) enum Work<Command> {
    /// For the engine.
    Command(Command),
    /// The engine is late.
    FailOver(&'static str),
    /// The call knows of the last switch.
    Accepted,
}

struct Line<S: EngineService> {
    service: S,
    candidates: Vec<Candidate<S::Engine>>,
    start: SessionStart,
    work: queue::Receiver<Work<S::Command>>,
    inputs: queue::Sender<Input>,
    /// Candidates that have failed since an engine last said something.
    failed: Vec<usize>,
    /// The engine that the call believes to be in use, or is about to hear of: the first in the list to begin with.
    believed: usize,
    /// Switches that the call was told of and has not yet taken note of. What comes meanwhile was meant for an engine
    /// that is no longer in use.
    unaccepted: u32,
    /// The call said that the engine is late while its session was being opened, and has had no answer.
    owes_answer: bool,
}

/// The engine in use.
struct InUse<S: EngineService> {
    index: usize,
    session: Session<S::Request, S::Event>,
    has_spoken: bool,
}

/// Why the line stopped using a session.
enum Stop {
    /// The call is over.
    CallOver,
    Failed(EngineError),
}

/// Runs until the call is over.
pub(super) async fn run<S: EngineService>(
    service: S,
    candidates: Vec<Candidate<S::Engine>>,
    start: SessionStart,
    work: queue::Receiver<Work<S::Command>>,
    inputs: queue::Sender<Input>,
) {
    let line = Line::<S> {
        service,
        candidates,
        start,
        work,
        inputs,
        failed: Vec::new(),
        believed: 0,
        unaccepted: 0,
        owes_answer: false,
    };
    line.run().await;
}

impl<S: EngineService> Line<S> {
    async fn run(mut self) {
        let service = S::SERVICE;
        while let Some(index) = self.next_candidate() {
            let mut in_use = match self.open(index).await {
                Ok(Some(session)) => InUse { index, session, has_spoken: false },
                Ok(None) => return,
                Err(error) => {
                    self.has_failed(index, &error);
                    continue;
                }
            };
            let stop = match self.take_over(&in_use).await {
                Ok(()) => self.serve(&mut in_use).await,
                Err(stop) => stop,
            };
            self.service.detach();
            match stop {
                Stop::CallOver => return finish(in_use).await,
                Stop::Failed(error) => self.has_failed(index, &error),
            }
        }
        self.service.end();
        warn!(call = %self.start.call, %service, "no engine is left");
        let _ = self.inputs.send(Input::EnginesExhausted { service }).await;
        while self.work.recv().await.is_some() {}
    }

    /// The next engine to try: in order, those in a penalty last; none twice in a step.
    fn next_candidate(&self) -> Option<usize> {
        let now = Instant::now();
        let untried = || (0..self.candidates.len()).filter(|index| !self.failed.contains(index));
        untried()
            .find(|index| self.candidates[*index].breaker.admits(now))
            .or_else(|| untried().min_by_key(|index| self.candidates[*index].breaker.penalty_ends()))
    }

    fn has_failed(&mut self, index: usize, error: &EngineError) {
        let candidate = &self.candidates[index];
        candidate.breaker.failed(Instant::now());
        warn!(call = %self.start.call, service = %S::SERVICE, engine = %candidate.name, %error, "the engine failed");
        self.failed.push(index);
    }

    /// Opens a session; `None` when the call ends meanwhile. Requests that come meanwhile wait.
    async fn open(&mut self, index: usize) -> Result<Option<Session<S::Request, S::Event>>, EngineError> {
        let candidate = self.candidates[index].clone();
        let opening = S::open(&candidate.engine, self.start.clone());
        tokio::pin!(opening);
        loop {
            tokio::select! {
                session = &mut opening => return session.map(Some),
                work = self.work.recv() => match work {
                    None => return Ok(None),
                    Some(work) => self.take(work)?,
                },
            }
        }
    }

    /// Takes in work while there is no session.
    fn take(&mut self, work: Work<S::Command>) -> Result<(), EngineError> {
        match work {
            Work::Command(_) if self.is_for_another_engine() => {}
            Work::Command(command) => {
                self.service.take(command);
                if self.service.commands_waiting() > WAITING_COMMANDS {
                    self.service.forget_commands();
                    return Err(EngineError::Late("no session was opened while commands piled up"));
                }
            }
            // Answered when a session is open: the call's watchdog rests until then.
            Work::FailOver(_) => self.owes_answer |= self.unaccepted == 0,
            Work::Accepted => self.unaccepted = self.unaccepted.saturating_sub(1),
        }
        Ok(())
    }

    /// Whether commands that come now were given before the call knew of the engine in use, and will be given again.
    fn is_for_another_engine(&self) -> bool {
        S::REPEATED_BY_CALL && self.unaccepted > 0
    }

    /// Brings a new session to where the old one was, and tells the call.
    async fn take_over(&mut self, in_use: &InUse<S>) -> Result<(), Stop> {
        let owes_answer = std::mem::take(&mut self.owes_answer);
        let switched = in_use.index != self.believed;
        if switched {
            let (from, to) = (&self.candidates[self.believed].name, &self.candidates[in_use.index].name);
            info!(call = %self.start.call, service = %S::SERVICE, %from, %to, "engine switched");
            let switched = Input::EngineSwitched { service: S::SERVICE, from: from.to_string(), to: to.to_string() };
            self.tell(switched).await?;
            self.believed = in_use.index;
            self.unaccepted += 1;
        } else if owes_answer {
            self.tell(Input::EngineKept { service: S::SERVICE }).await?;
        }
        // Either the service knows what was given so far, or the call gives it again.
        self.service.attach(&in_use.session.requests, switched);
        self.send(in_use).await
    }

    /// Sends all that can go to the session.
    async fn send(&mut self, in_use: &InUse<S>) -> Result<(), Stop> {
        let requests = &in_use.session.requests;
        while self.service.has_next() {
            let permit = match requests.try_reserve() {
                Ok(permit) => Ok(permit),
                Err(NoRoom::Closed) => Err(EngineError::Closed),
                // Boxed: so rare, and its timer would take memory in every call.
                Err(NoRoom::Full) => match Box::pin(timeout(REQUEST_LIMIT, requests.reserve())).await {
                    Ok(permit) => permit.map_err(|_| EngineError::Closed),
                    Err(_) => Err(EngineError::Overdue { step: "room for a request", limit: REQUEST_LIMIT }),
                },
            };
            // If the session is over, its own last word, if there is one, is in the events.
            self.service.send_next(permit.map_err(Stop::Failed)?);
        }
        Ok(())
    }

    async fn tell(&mut self, input: Input) -> Result<(), Stop> {
        self.inputs.send(input).await.map_err(|_| Stop::CallOver)
    }

    async fn serve(&mut self, in_use: &mut InUse<S>) -> Stop {
        loop {
            tokio::select! {
                work = self.work.recv() => match work {
                    None => return Stop::CallOver,
                    Some(Work::Command(_)) if self.is_for_another_engine() => {}
                    Some(Work::Command(command)) => {
                        self.service.take(command);
                        if let Err(stop) = self.send(in_use).await {
                            return stop;
                        }
                    }
                    Some(Work::Accepted) => self.unaccepted = self.unaccepted.saturating_sub(1),
                    // The old engine was late. The call hears of the switch, which is the answer.
                    Some(Work::FailOver(_)) if self.unaccepted > 0 => {}
                    Some(Work::FailOver(overdue)) => {
                        if self.has_alternative(in_use.index) {
                            return Stop::Failed(EngineError::Late(overdue));
                        }
                        debug!(call = %self.start.call, service = %S::SERVICE, "no other engine: the late one is kept");
                        if let Err(stop) = self.tell(Input::EngineKept { service: S::SERVICE }).await {
                            return stop;
                        }
                    }
                },
                () = self.service.behind() => {
                    if let Err(stop) = self.send(in_use).await {
                        return stop;
                    }
                }
                event = in_use.session.events.recv() => match event {
                    Some(Ok(event)) => {
                        self.has_spoken(in_use);
                        self.service.incoming(&event);
                        if let Err(stop) = self.tell(S::input(event)).await {
                            return stop;
                        }
                    }
                    Some(Err(error)) => return Stop::Failed(error),
                    None => return Stop::Failed(EngineError::Closed),
                },
            }
        }
    }

    fn has_spoken(&mut self, in_use: &mut InUse<S>) {
        if !std::mem::replace(&mut in_use.has_spoken, true) {
            self.failed.clear();
            self.candidates[in_use.index].breaker.succeeded();
        }
    }

    fn has_alternative(&self, in_use: usize) -> bool {
        (0..self.candidates.len()).any(|index| index != in_use && !self.failed.contains(&index))
    }
}

/// Ends a session politely: no more requests, and whatever it still says is read.
async fn finish<S: EngineService>(in_use: InUse<S>) {
    let Session { requests, mut events } = in_use.session;
    drop(requests);
    let ended = timeout(CLOSING_LIMIT, async { while events.recv().await.is_some() {} }).await;
    if ended.is_err() {
        debug!(service = %S::SERVICE, "the session did not end in time: dropped");
    }
}
