//! One session over one stream, whatever the service: `start` first, `started` awaited, commands out, events in, and
//! the end, polite or not.

use super::channel::Lease;
use crate::speech::proto::{Started, Warning};
use crate::speech::{EngineError, Session, queue};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{CancellationHandle, Code, Extensions, Request, Response, Status, Streaming};
use tracing::{Instrument, Span};

/// Commands that wait for the connection: over a second of audio, whatever its rate. When full, the owner of the session is told by its
/// sender, and decides.
const COMMANDS: usize = 64;
/// Events that wait for the owner. When full, the stream is not read, and flow control stops the engine.
const EVENTS: usize = 32;

/// What one service of the contract says on the wire, and the checks of what its engine says. One value a session.
pub(super) trait Contract: Send + Sized + 'static {
    /// From the call.
    type Command: Send + 'static;
    /// To the call.
    type Event: Send + 'static;
    /// On the wire, to the engine.
    type Request: Send + 'static;
    /// On the wire, from the engine.
    type Response: Send + 'static;

    /// What the sending side keeps.
    type Sender: Send + 'static;

    /// The sending side. It shares with this one what has been sent, for the checks.
    fn sender(&self) -> Self::Sender;
    /// A command as a message, if it makes one; notes the ids that the engine may use from now on.
    fn request(command: Self::Command, sender: &mut Self::Sender) -> Option<Self::Request>;
    /// The polite end.
    fn finish() -> Self::Request;
    /// Takes a message in, or says in what way it breaks the contract.
    fn response(&mut self, response: Self::Response) -> Result<Received<Self::Event>, String>;
}

/// What a message from the engine means.
pub(super) enum Received<Event> {
    /// The session is open.
    Started(Started),
    /// Something for the call.
    Event(Event),
    /// The rest of something, and that it is over.
    Last(Event, Event),
    /// Something for the log.
    Warning(Warning),
    /// Nothing that this version uses, or a payload of a newer contract.
    Nothing,
}

/// Which ids an engine may speak about: those that have been sent to it. −1: none yet.
#[derive(Debug)]
pub(super) struct Sent {
    newest: AtomicI64,
    newest_closed: AtomicI64,
}

impl Sent {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { newest: AtomicI64::new(-1), newest_closed: AtomicI64::new(-1) })
    }

    /// This id has been opened: an utterance begun, a reply asked for.
    pub(super) fn open(&self, id: u32) {
        self.newest.fetch_max(id.into(), Ordering::Relaxed);
    }

    /// No more will be sent for this id: an utterance ended, a reply flushed.
    pub(super) fn close(&self, id: u32) {
        self.open(id);
        self.newest_closed.fetch_max(id.into(), Ordering::Relaxed);
    }

    /// Whether this id, or a higher one, has been opened.
    pub(super) fn is_open(&self, id: u32) -> bool {
        i64::from(id) <= self.newest.load(Ordering::Relaxed)
    }

    /// Whether this id, or a higher one, has been closed.
    pub(super) fn is_closed(&self, id: u32) -> bool {
        i64::from(id) <= self.newest_closed.load(Ordering::Relaxed)
    }
}

/// What is known about the last few ids of a session, so that the checks need no more memory in a long call.
#[derive(Debug)]
pub(super) struct Recent<T> {
    known: BTreeMap<u32, T>,
    forgotten_below: u32,
}

impl<T: Default> Recent<T> {
    const LENGTH: usize = 16;

    pub(super) fn new() -> Self {
        Self { known: BTreeMap::new(), forgotten_below: 0 }
    }

    /// What is known of `id`, at first nothing; `None` if it is too old to say.
    pub(super) fn get(&mut self, id: u32) -> Option<&mut T> {
        if id < self.forgotten_below {
            return None;
        }
        self.known.entry(id).or_default();
        while self.known.len() > Self::LENGTH {
            if let Some((oldest, _)) = self.known.pop_first() {
                self.forgotten_below = oldest + 1;
            }
        }
        self.known.get_mut(&id)
    }
}

/// Where and how a session is to be opened.
pub(super) struct Opening<'a> {
    /// A place on a channel.
    pub(super) lease: Lease,
    /// Call id and token.
    pub(super) metadata: MetadataMap,
    /// How long connecting and the engine's `started` may take together.
    pub(super) limit: Duration,
    /// Since when.
    pub(super) began: Instant,
    /// For errors.
    pub(super) address: &'a str,
}

/// Opens a session: sends `start` and waits for `started`. `call` opens the stream of the service on a channel.
pub(super) async fn open<C, Call, Answer>(
    opening: Opening<'_>,
    mut contract: C,
    start: C::Request,
    call: Call,
) -> Result<Session<C::Command, C::Event>, EngineError>
where
    C: Contract,
    Call: FnOnce(Channel, Request<Outgoing<C>>) -> Answer,
    Answer: Future<Output = Result<Response<Streaming<C::Response>>, Status>>,
{
    let Opening { lease, metadata, limit, began, address } = opening;
    let (commands, commands_out) = queue::bounded(COMMANDS);
    let (events, events_in) = queue::bounded(EVENTS);
    let finished = Arc::new(AtomicBool::new(false));
    let outgoing = Outgoing {
        // Queued before the call is awaited: it does not return before the engine has answered, and some engines
        // answer only when `start` is there.
        start: Some(start),
        commands: commands_out,
        owner: events.onlooker(),
        sender: contract.sender(),
        finished: finished.clone(),
    };
    let mut request = Request::from_parts(metadata, Extensions::new(), outgoing);
    // From here on, whatever ends early also resets the stream: dropping the response alone would not.
    let reset = ResetOnDrop(Some(request.cancellation_handle()));

    let channel = lease.channel.clone();
    let answer = async {
        let mut responses = call(channel, request).await.map_err(|status| failure(&status, address))?.into_inner();
        let first = responses.message().await.map_err(|status| failure(&status, address))?;
        match first.map(|response| contract.response(response)) {
            Some(Ok(Received::Started(started))) => Ok((responses, started)),
            Some(Ok(_)) => Err(EngineError::Contract("the first message is not `started`".to_owned())),
            Some(Err(violation)) => Err(EngineError::Contract(violation)),
            None => Err(EngineError::Closed),
        }
    };
    let overdue = |_| EngineError::Overdue { step: "`started`", limit };
    let (responses, started) =
        tokio::time::timeout(limit.saturating_sub(began.elapsed()), answer).await.map_err(overdue)??;
    let backend = started.backend.unwrap_or_default();
    tracing::debug!(session = started.session_id, backend = backend.name, model = backend.model, "session open");

    let reader =
        Reader { contract, responses, events, finished, address: address.to_owned(), _reset: reset, _lease: lease };
    tokio::spawn(reader.run().instrument(Span::current()));
    Ok(Session { requests: commands, events: events_in })
}

/// The requests of one session. The connection takes them straight from the command channel: no task in between.
pub(super) struct Outgoing<C: Contract> {
    start: Option<C::Request>,
    commands: queue::Receiver<C::Command>,
    /// Alive and open as long as somebody wants the events.
    owner: queue::Onlooker<Result<C::Event, EngineError>>,
    sender: C::Sender,
    finished: Arc<AtomicBool>,
}

// Nothing in it is pinned: the messages are moved out whole.
impl<C: Contract> Unpin for Outgoing<C> {}

impl<C: Contract> Stream for Outgoing<C> {
    type Item = C::Request;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<C::Request>> {
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(start));
        }
        if self.finished.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        loop {
            return match self.commands.poll_recv(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(command)) => match C::request(command, &mut self.sender) {
                    None => continue,
                    request => Poll::Ready(request),
                },
                // Half-closing now would look like a polite end. The reader resets the stream.
                Poll::Ready(None) if !self.owner.is_open() => Poll::Pending,
                Poll::Ready(None) => {
                    self.finished.store(true, Ordering::Relaxed);
                    Poll::Ready(Some(C::finish()))
                }
            };
        }
    }
}

/// Reads the engine's messages for as long as the session lives.
struct Reader<C: Contract> {
    contract: C,
    responses: Streaming<C::Response>,
    events: queue::Sender<Result<C::Event, EngineError>>,
    finished: Arc<AtomicBool>,
    address: String,
    // Fields are dropped in this order: the stream is reset before its place on the channel is given back.
    _reset: ResetOnDrop,
    _lease: Lease,
}

impl<C: Contract> Reader<C> {
    async fn run(mut self) {
        loop {
            let message = tokio::select! {
                message = self.responses.message() => message,
                () = self.events.closed() => return,
            };
            let event = match message {
                Ok(Some(response)) => match self.contract.response(response) {
                    Ok(Received::Event(event)) => Ok(event),
                    Ok(Received::Last(rest, over)) => {
                        if self.events.send(Ok(rest)).await.is_err() {
                            return;
                        }
                        Ok(over)
                    }
                    Ok(Received::Nothing) => continue,
                    Ok(Received::Warning(Warning { reason, message })) => {
                        tracing::warn!(reason, message, "the engine warns");
                        continue;
                    }
                    Ok(Received::Started(_)) => Err(EngineError::Contract("`started` came twice".to_owned())),
                    Err(violation) => Err(EngineError::Contract(violation)),
                },
                Ok(None) if self.finished.load(Ordering::Relaxed) => return,
                Ok(None) => Err(EngineError::Closed),
                Err(status) => Err(failure(&status, &self.address)),
            };
            let over = event.is_err();
            if self.events.send(event).await.is_err() || over {
                return;
            }
        }
    }
}

/// Resets the stream, unless it has ended by itself.
struct ResetOnDrop(Option<CancellationHandle>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}

/// A status as our error. One with a source was made on this side, because the connection could not do its part.
fn failure(status: &Status, address: &str) -> EngineError {
    let code = code_name(status.code());
    let Some(mut cause) = std::error::Error::source(status) else {
        return EngineError::Status { code, message: status.message().to_owned() };
    };
    loop {
        if let Some(connect) = cause.downcast_ref::<tonic::ConnectError>() {
            return EngineError::Connect { address: address.to_owned(), cause: connect.to_string() };
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => break,
        }
    }
    EngineError::Status { code, message: format!("the connection to {address} broke: {cause}") }
}

/// The name of a code as in the gRPC documents.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
