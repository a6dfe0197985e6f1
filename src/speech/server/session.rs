//! One session as the engine's side sees it, whatever the service.
//!
//! A server cannot tell a half-close from a reset: both end the stream of requests. So only `finish` is a polite end;
//! a stream that ends without it drops the engine's session, both halves, which is an abort.

use crate::audio::PcmFormat;
use crate::call::CallId;
use crate::speech::proto::{AudioFormat, CallContext, Started, audio_format, format_name, pcm_format};
use crate::speech::{EngineError, Session, SessionStart, queue};
use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

/// How long a client may take to send `start`.
const START_LIMIT: Duration = Duration::from_secs(5);
/// Messages that wait for the connection: back-pressure for the engine when full.
const RESPONSES: usize = 16;

/// All sessions of a server: whether new ones are let in, and their common end.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    refusing: CancellationToken,
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { refusing: CancellationToken::new(), ending: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Lets no more sessions in.
    pub(super) fn refuse(&self) {
        self.refusing.cancel();
        self.tasks.close();
    }

    /// Ends those that are open.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Waits until none is open; call [`Sessions::refuse`] first.
    pub(super) async fn ended(&self) {
        self.tasks.wait().await;
    }
}

/// What one service says on the wire, seen from the engine. One value a session.
pub(super) trait Contract: Default + Send + 'static {
    type Request: Send + 'static;
    type Response: Send + 'static;
    type Start: Send;
    type Command: Send + 'static;
    type Event: Send + 'static;

    /// The message if it is `start`.
    fn start(request: Self::Request) -> Option<Self::Start>;
    /// What the engine is told first, or why it cannot serve that.
    fn session_start(&mut self, start: Self::Start) -> Result<SessionStart, Status>;
    /// The message `started`.
    fn started(&self) -> Self::Response;
    /// Takes a message of the client in.
    fn request(&mut self, request: Self::Request) -> Result<Taken<Self>, Status>;
    /// What is to be sent for an event of the engine, if anything.
    fn event(&mut self, event: Self::Event) -> Option<Self::Response>;
}

/// What a message of the client means.
pub(super) enum Taken<C: Contract> {
    /// For the engine, and what the contract wants answered without it.
    Command(C::Command, Option<C::Response>),
    /// Only to be answered; the engine is not asked.
    Answer(C::Response),
    /// The polite end.
    Finish,
    /// Nothing that this version uses.
    Nothing,
}

pub(super) type Responses<T> = ReceiverStream<Result<T, Status>>;

/// Starts a session. Answers at once, before `start` is there: a client may wait for the response headers first.
pub(super) fn begin<C, Open, Opened>(
    sessions: &Sessions,
    request: Request<Streaming<C::Request>>,
    open: Open,
) -> Result<Response<Responses<C::Response>>, Status>
where
    C: Contract,
    Open: FnOnce(SessionStart) -> Opened + Send + 'static,
    Opened: Future<Output = Result<Session<C::Command, C::Event>, EngineError>> + Send,
{
    if sessions.refusing.is_cancelled() {
        return Err(shutting_down());
    }
    let (responses, stream) = mpsc::channel(RESPONSES);
    let ending = sessions.ending.clone();
    let requests = request.into_inner();
    let session = async move {
        let result = tokio::select! {
            result = run::<C, _, _>(requests, &responses, open) => result,
            () = responses.closed() => Err(Gone::Client),
            () = ending.cancelled() => Err(Gone::Status(shutting_down())),
        };
        match result {
            Ok(()) => tracing::debug!("session finished"),
            Err(Gone::Client) => tracing::debug!("session aborted by the client"),
            Err(Gone::Status(status)) => {
                tracing::debug!(code = ?status.code(), message = status.message(), "session ended");
                // Whoever does not read any more need not be told.
                let _ = responses.try_send(Err(status));
            }
        }
    };
    sessions.tasks.spawn(session.instrument(tracing::debug_span!("served session")));
    Ok(Response::new(ReceiverStream::new(stream)))
}

/// Why a session ends early.
enum Gone {
    /// The client has aborted it.
    Client,
    /// The client is told this.
    Status(Status),
}

impl From<Status> for Gone {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

async fn run<C, Open, Opened>(
    mut requests: Streaming<C::Request>,
    responses: &mpsc::Sender<Result<C::Response, Status>>,
    open: Open,
) -> Result<(), Gone>
where
    C: Contract,
    Open: FnOnce(SessionStart) -> Opened,
    Opened: Future<Output = Result<Session<C::Command, C::Event>, EngineError>>,
{
    let first = tokio::time::timeout(START_LIMIT, requests.message()).await;
    let first = first.map_err(|_| Status::invalid_argument("no `start` within 5 seconds"))?;
    let Ok(Some(first)) = first else { return Err(Gone::Client) };
    let start = C::start(first).ok_or_else(|| Status::invalid_argument("the first message is not `start`"))?;
    let mut contract = C::default();
    let start = contract.session_start(start)?;
    tracing::debug!(call = %start.call, language = start.language, rate = start.rate.hz(), "session starts");
    let started = contract.started();
    let Session { requests: commands, mut events } = open(start).await.map_err(|error| status(&error))?;

    // At most one command and a few answers wait here. While they do, nothing more is taken from that side.
    let mut commands = Some(commands);
    let mut command = None;
    let mut answers = VecDeque::from([started]);
    loop {
        let mut finished = false;
        tokio::select! {
            permit = reserve(&commands), if command.is_some() => {
                let waiting = command.take();
                // An engine that takes no more commands says why in its events.
                if let (Ok(permit), Some(waiting)) = (permit, waiting) {
                    permit.send(waiting);
                }
            }
            message = requests.message(), if command.is_none() && commands.is_some() => match message {
                Ok(Some(message)) => match contract.request(message)? {
                    Taken::Command(next, answer) => {
                        command = Some(next);
                        answers.extend(answer);
                    }
                    Taken::Answer(answer) => answers.push_back(answer),
                    Taken::Finish => finished = true,
                    Taken::Nothing => {}
                },
                Ok(None) | Err(_) => return Err(Gone::Client),
            },
            permit = responses.reserve(), if !answers.is_empty() => {
                let permit = permit.map_err(|_| Gone::Client)?;
                if let Some(answer) = answers.pop_front() {
                    permit.send(Ok(answer));
                }
            }
            event = events.recv(), if answers.is_empty() => match event {
                Some(Ok(event)) => answers.extend(contract.event(event)),
                Some(Err(error)) => return Err(status(&error).into()),
                None if commands.is_none() => return Ok(()),
                None => return Err(Status::unavailable("the engine ended the session").into()),
            },
        }
        if finished {
            commands = None;
        }
    }
}

/// Room for one command. Never done without a channel.
async fn reserve<T>(commands: &Option<queue::Sender<T>>) -> Result<queue::Permit<'_, T>, queue::Closed> {
    match commands {
        Some(commands) => commands.reserve().await,
        None => std::future::pending().await,
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the engine is shutting down")
}

/// What a client is told of an engine's failure. All of it is reason enough to try another engine.
fn status(error: &EngineError) -> Status {
    match error {
        EngineError::Contract(violation) => Status::internal(violation.clone()),
        error => Status::unavailable(error.to_string()),
    }
}

/// The call of a `start`.
pub(super) fn call_id(call: Option<CallContext>) -> Result<CallId, Status> {
    let id = call.map(|call| call.call_id).unwrap_or_default();
    CallId::new(id).ok_or_else(|| Status::invalid_argument("`start.call.call_id` is missing or has other characters"))
}

/// The format of a `start`.
pub(super) fn format(format: Option<AudioFormat>) -> Result<PcmFormat, Status> {
    let format = format.ok_or_else(|| Status::invalid_argument("`start.format` is missing"))?;
    pcm_format(&format).ok_or_else(|| {
        let asked = format_name(&format);
        Status::invalid_argument(format!(
            "the format {asked} is not served: use LINEAR16 with 8000 to 48000 Hz, or MULAW or ALAW with 8000 Hz, 1 channel"
        ))
    })
}

/// A second `start`.
pub(super) fn second_start() -> Status {
    Status::invalid_argument("a second `start`")
}

/// `started` with what is the same for all services.
pub(super) fn started(format: Option<PcmFormat>, capabilities: &[crate::speech::proto::Capability]) -> Started {
    Started {
        accepted_format: format.map(audio_format),
        capabilities: capabilities.iter().copied().map(i32::from).collect(),
        backend: Some(super::catalog::backend()),
        ..Started::default()
    }
}
