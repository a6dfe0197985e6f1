//! The task of one service of one call: owns the session of the engine in use, and replaces it when it breaks or is late.

use super::breaker::Breakers;
use super::kind::Kind;
use super::{Generation, Input};
use crate::speech::{EngineError, Session, SessionStart};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How long a session may take to end politely.
const FINISH_LIMIT: Duration = Duration::from_secs(1);

/// One service of one call.
pub(super) struct Line<K: Kind> {
    kind: K,
    engines: Vec<(String, Arc<K::Engine>)>,
    breakers: Arc<Breakers>,
    start: SessionStart,
    inputs: mpsc::Sender<Input>,
    /// Engines that have failed since one last delivered something: none is tried twice in vain.
    tried: Vec<usize>,
    /// How many switches the call has been told of.
    generation: Generation,
}

/// What comes in, besides the engine's events.
struct Incoming<K: Kind> {
    requests: mpsc::Receiver<(Generation, K::Request)>,
    lateness: mpsc::Receiver<(Generation, &'static str)>,
    end: watch::Receiver<bool>,
}

/// The engine in use.
struct InUse<K: Kind> {
    index: usize,
    began: Instant,
    session: Session<K::Request, K::Event>,
}

/// Why an engine is given up.
enum Failure {
    Engine(EngineError),
    Late(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Late(overdue) => f.write_str(overdue),
        }
    }
}

/// What ends the use of an engine.
enum Stop {
    Failed(Failure),
    CallOver { polite: bool },
}

impl<K: Kind> Line<K> {
    pub(super) fn new(
        engines: Vec<(String, Arc<K::Engine>)>,
        breakers: Arc<Breakers>,
        start: SessionStart,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let kind = K::new(&start);
        Self { kind, engines, breakers, start, inputs, tried: Vec::new(), generation: 0 }
    }

    /// Runs until the call is over.
    pub(super) async fn run(
        mut self,
        requests: mpsc::Receiver<(Generation, K::Request)>,
        lateness: mpsc::Receiver<(Generation, &'static str)>,
        end: watch::Receiver<bool>,
    ) {
        let mut incoming = Incoming { requests, lateness, end };
        // The engine that failed, while there is no other yet.
        let mut from = None;
        loop {
            let opened = tokio::select! {
                opened = self.open_next(&mut from, &mut incoming.lateness) => opened,
                _ = incoming.end.changed() => return,
            };
            let Some(mut engine) = opened else { return self.exhausted(incoming).await };
            let stop = self.serve(&mut engine, &mut incoming, from.take()).await;
            match stop {
                Stop::CallOver { polite } => return finish(engine.session, polite).await,
                Stop::Failed(failure) => {
                    self.failed(engine.index, engine.began, &failure);
                    from = Some(engine.index);
                }
            }
            // Dropping the session here aborts it: nothing of it can reach the call after the switch.
        }
    }

    fn name(&self, index: usize) -> &str {
        &self.engines[index].0
    }

    fn failed(&mut self, index: usize, began: Instant, failure: &Failure) {
        let (call, service, engine) = (&self.start.call, K::SERVICE, self.name(index));
        tracing::warn!(%call, %service, engine, reason = %failure, "the engine failed");
        self.breakers.failed(service, engine, began, Instant::now());
        self.tried.push(index);
    }

    /// Opens a session of the best engine that is left. `from` becomes the first that failed, if it was none.
    async fn open_next(
        &mut self,
        from: &mut Option<usize>,
        lateness: &mut mpsc::Receiver<(Generation, &'static str)>,
    ) -> Option<InUse<K>> {
        loop {
            let began = Instant::now();
            let names = self.engines.iter().map(|(name, _)| name.as_str());
            let index = self.breakers.choose(K::SERVICE, names, &self.tried, began)?;
            let opening = K::open(&self.engines[index].1, self.start.clone());
            // While the first engine is being opened the call may find it late; later it is told of a switch anyway.
            let generation = self.generation;
            let late = async {
                loop {
                    match lateness.recv().await {
                        Some((of, overdue)) if of == generation && from.is_none() => return overdue,
                        Some(_) => {}
                        None => std::future::pending().await,
                    }
                }
            };
            let result = tokio::select! {
                result = opening => result.map_err(Failure::Engine),
                overdue = late => Err(Failure::Late(overdue)),
            };
            match result {
                Ok(session) => {
                    self.breakers.opened(K::SERVICE, self.name(index));
                    return Some(InUse { index, began, session });
                }
                Err(failure) => {
                    self.failed(index, began, &failure);
                    from.get_or_insert(index);
                }
            }
        }
    }

    /// Carries messages both ways until something ends it. `from` is the engine that this one replaces.
    async fn serve(&mut self, engine: &mut InUse<K>, incoming: &mut Incoming<K>, from: Option<usize>) -> Stop {
        let InUse { index, session, .. } = engine;
        // At most one input waits for the call; while it does, the engine is not read.
        let mut for_call = from.map(|from| self.switch(from, *index));
        let mut for_engine = VecDeque::from(self.kind.replay());
        let mut takes_requests = true;
        loop {
            tokio::select! {
                polite = incoming.end.changed() => return Stop::CallOver { polite: polite.is_ok() },
                Some((generation, overdue)) = incoming.lateness.recv() => {
                    // What was said before the last switch is answered by that switch.
                    if generation == self.generation {
                        return Stop::Failed(Failure::Late(overdue));
                    }
                }
                permit = self.inputs.reserve(), if for_call.is_some() => match (permit, for_call.take()) {
                    (Ok(permit), Some(input)) => permit.send(input),
                    _ => return Stop::CallOver { polite: false },
                },
                event = session.events.recv(), if for_call.is_none() => match event {
                    Some(Ok(event)) => {
                        self.kind.heard(&event);
                        if K::is_result(&event) {
                            self.tried.clear();
                            self.breakers.delivered(K::SERVICE, &self.engines[*index].0);
                        }
                        for_call = Some(K::input(event));
                    }
                    Some(Err(error)) => return Stop::Failed(Failure::Engine(error)),
                    None => return Stop::Failed(Failure::Engine(EngineError::Closed)),
                },
                permit = session.requests.reserve(), if takes_requests && !for_engine.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(request) = for_engine.pop_front() {
                            permit.send(request);
                        }
                    }
                    // Why, the events will say.
                    Err(_) => takes_requests = false,
                },
                Some((generation, request)) = incoming.requests.recv(), if !takes_requests || for_engine.is_empty() => {
                    if K::CALL_REPEATS && generation != self.generation {
                        continue;
                    }
                    self.kind.said(&request);
                    if takes_requests {
                        for_engine.push_back(request);
                    }
                }
            }
        }
    }

    /// Notes a switch, and tells the call of it.
    fn switch(&mut self, from: usize, to: usize) -> Input {
        self.generation += 1;
        let (from, to) = (self.name(from).to_owned(), self.name(to).to_owned());
        tracing::info!(call = %self.start.call, service = %K::SERVICE, from, to, "another engine took over");
        Input::EngineSwitched { service: K::SERVICE, from, to }
    }

    /// Tells the call that nothing is left, and waits for its end.
    async fn exhausted(self, incoming: Incoming<K>) {
        let Incoming { mut requests, lateness, mut end } = incoming;
        drop(lateness);
        let service = K::SERVICE;
        tracing::error!(call = %self.start.call, %service, "no engine is left");
        tokio::select! {
            // A call that is over need not be told.
            _ = self.inputs.send(Input::EnginesExhausted { service }) => {}
            _ = end.changed() => return,
        }
        tokio::select! {
            () = async { while requests.recv().await.is_some() {} } => {}
            _ = end.changed() => {}
        }
    }
}

/// Ends a session. What the engine still says is of no use to anybody.
async fn finish<Request, Event>(session: Session<Request, Event>, polite: bool) {
    let Session { requests, mut events } = session;
    if polite {
        drop(requests);
        // An engine that does not end by then is aborted: both halves are dropped.
        let _ = tokio::time::timeout(FINISH_LIMIT, async { while events.recv().await.is_some() {} }).await;
    }
}
