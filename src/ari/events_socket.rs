//! The events socket: a WebSocket that is read, parsed and handed over, and opened again whenever it breaks.
//!
//! Asterisk gives a reader that does not keep up 100 ms, then closes the socket; worse, until then its own queues grow
//! and it may refuse calls. So the reader here never waits for whoever consumes the events: when the queue is full it
//! drops the connection, says so, and connects again. The consumer then asks Asterisk how things stand, as after any
//! other loss of events.

use super::applications::UNWANTED_EVENTS;
use super::backoff::Backoff;
use super::error::{Asked, connection_error, root_cause};
use super::rest::CONNECT_TIMEOUT;
use super::{AppUse, Ari, AriError, Event, EventError, parse_event};
use futures_util::{SinkExt, StreamExt};
use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// From the TCP connection to the end of the WebSocket handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Asterisk answers pings and sends none.
const PING_EVERY: Duration = Duration::from_secs(3);
/// Nothing at all for so long, pongs included: the peer is dead.
const PEER_SILENT: Duration = Duration::from_secs(10);
/// A frame that cannot be sent for so long: the peer is dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Asterisk sends at most 65,535 bytes a frame.
const MAX_MESSAGE: usize = 1 << 20;
/// How often to look whether the program that took our application's name has gone.
const TAKEN_RETRY: Duration = Duration::from_secs(10);
/// A connection that lasted so long was a good one: the next failure starts the back-off anew.
const STABLE: Duration = Duration::from_secs(5);

/// What the events socket tells. Between two `Connected` events may be missing or come twice.
#[derive(Debug)]
pub enum Signal {
    /// The socket is open, our application registered and the event filter set. Now ask Asterisk for channels and
    /// bridges: what happened before this was not told.
    Connected,
    /// Something happened.
    Event(Event),
    /// The socket is gone; the next attempt to connect follows by itself.
    Disconnected {
        /// Why.
        cause: Disconnect,
    },
    /// An attempt to connect failed; the next follows by itself, for ever. A wrong password or a taken name will
    /// hardly mend itself, so a program that starts may want to stop here.
    Unavailable {
        /// Why.
        error: AriError,
        /// Failures in a row, from 1.
        attempt: u32,
        /// When the next attempt follows.
        retry_in: Duration,
    },
    /// Another program connected under our application's name, and Asterisk gives it all events from now on. We do not
    /// take the name back: [`Signal::Unavailable`] with [`AriError::AppTaken`] follows until it is free.
    Replaced,
}

/// Why an events socket ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disconnect {
    /// Asterisk closed it (1011: we read too slowly; 1001: it shuts down).
    #[error("Asterisk closed the events socket ({code})")]
    Closed {
        /// WebSocket close code; 1005 when there was none.
        code: u16,
    },
    /// The connection broke.
    #[error("the events socket broke: {cause}")]
    Broken {
        /// What the network said.
        cause: String,
    },
    /// No sign of life from Asterisk, not even an answer to pings.
    #[error("Asterisk has been silent on the events socket for {limit:?}")]
    Silent {
        /// For how long.
        limit: Duration,
    },
    /// The queue of signals was full: the consumer is too slow. The event that did not fit is lost.
    #[error("the queue of {capacity} events is full")]
    QueueFull {
        /// How many signals fit.
        capacity: usize,
    },
}

/// What an events socket has seen, since it was opened first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Connections made.
    pub connections: u64,
    /// Messages received.
    pub messages: u64,
    /// Of these, events of a type that this program does not know.
    pub unknown: u64,
    /// Of these, messages that could not be read.
    pub malformed: u64,
    /// Connections dropped because the queue was full.
    pub overflows: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    messages: AtomicU64,
    unknown: AtomicU64,
    malformed: AtomicU64,
    overflows: AtomicU64,
}

/// The receiving end of an events socket. Dropping it closes the socket.
#[derive(Debug)]
pub struct EventStream {
    signals: mpsc::Receiver<Signal>,
    counters: Arc<Counters>,
    reader: JoinHandle<()>,
}

impl Ari {
    /// Opens the events socket of our application and keeps it open. Up to `capacity` signals wait to be received.
    ///
    /// Before the first connection it is checked that no other program uses the application's name.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or with a capacity of 0.
    pub fn events(&self, capacity: usize) -> EventStream {
        let (sender, signals) = mpsc::channel(capacity);
        let counters = Arc::new(Counters::default());
        let reader = Reader {
            ari: self.clone(),
            signals: sender,
            counters: counters.clone(),
            backoff: Backoff::default(),
            reported: HashSet::new(),
        };
        EventStream { signals, counters, reader: tokio::spawn(reader.run()) }
    }
}

impl EventStream {
    /// The next signal. Never ends by itself: `None` only if the reader died, which would be a defect.
    pub async fn next(&mut self) -> Option<Signal> {
        self.signals.recv().await
    }

    /// What was seen so far.
    pub fn counts(&self) -> EventCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EventCounts {
            connections: read(&self.counters.connections),
            messages: read(&self.counters.messages),
            unknown: read(&self.counters.unknown),
            malformed: read(&self.counters.malformed),
            overflows: read(&self.counters.overflows),
        }
    }

    /// Closes the socket and waits until Asterisk knows: calls that arrive from then on go to the dialplan's fallback.
    pub async fn close(self) {
        drop(self.signals);
        // The reader ends when nobody listens; an error would mean that it died before.
        let _ = self.reader.await;
    }
}

/// Who may have the name of our application when we connect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// At the start: calls under our name may be our own, from before a restart.
    First,
    /// While connected once: the name is ours, and an old connection that Asterisk still keeps may be overtaken.
    Ours,
    /// After another program took the name: only when it is entirely free.
    Lost,
}

/// How a connection ended.
enum End {
    Disconnected(Disconnect),
    Replaced,
    NobodyListens,
}

struct Reader {
    ari: Ari,
    signals: mpsc::Sender<Signal>,
    counters: Arc<Counters>,
    backoff: Backoff,
    /// Types of events about which something was logged.
    reported: HashSet<String>,
}

impl Reader {
    async fn run(mut self) {
        let mut claim = Claim::First;
        while !self.signals.is_closed() {
            let socket = match self.connect(claim).await {
                Ok(socket) => socket,
                Err(error) => {
                    self.unavailable(error).await;
                    continue;
                }
            };
            self.counters.connections.fetch_add(1, Ordering::Relaxed);
            claim = Claim::Ours;
            let since = Instant::now();
            if self.signals.send(Signal::Connected).await.is_err() {
                return hang_up(socket).await;
            }
            let end = self.read(socket).await;
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
            let signal = match end {
                End::NobodyListens => return,
                End::Replaced => {
                    claim = Claim::Lost;
                    Signal::Replaced
                }
                End::Disconnected(cause) => Signal::Disconnected { cause },
            };
            // The socket is closed: waiting for the consumer holds nobody up.
            if self.signals.send(signal).await.is_err() {
                return;
            }
            if claim == Claim::Ours {
                let wait = self.backoff.fail(random());
                self.wait(wait).await;
            }
        }
    }

    /// Opens the socket, which registers our application, and sets its filter.
    async fn connect(&self, claim: Claim) -> Result<Socket, AriError> {
        if claim != Claim::Ours {
            match self.ari.app_use().await? {
                AppUse::Free => {}
                AppUse::HasCalls if claim == Claim::First => {}
                AppUse::HasCalls | AppUse::Connected => {
                    let settings = self.ari.settings();
                    return Err(AriError::AppTaken { app: settings.app.to_string(), url: settings.url.to_string() });
                }
            }
        }
        let socket = open(&self.ari).await?;
        match self.set_filter().await {
            Ok(()) => Ok(socket),
            Err(error) => {
                hang_up(socket).await;
                Err(error)
            }
        }
    }

    /// Sets the event filter of the application. The handshake can end a little before the application is registered.
    async fn set_filter(&self) -> Result<(), AriError> {
        for wait in [10, 50, 250] {
            match self.ari.set_event_filter(&UNWANTED_EVENTS).await {
                Err(AriError::NotFound { .. }) => tokio::time::sleep(Duration::from_millis(wait)).await,
                done => return done,
            }
        }
        self.ari.set_event_filter(&UNWANTED_EVENTS).await
    }

    async fn unavailable(&mut self, error: AriError) {
        let backoff = self.backoff.fail(random());
        let retry_in = if matches!(error, AriError::AppTaken { .. }) { TAKEN_RETRY } else { backoff };
        let attempt = self.backoff.failures();
        if self.signals.send(Signal::Unavailable { error, attempt, retry_in }).await.is_ok() {
            self.wait(retry_in).await;
        }
    }

    /// Waits, but not longer than somebody listens.
    async fn wait(&self, time: Duration) {
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = self.signals.closed() => {}
        }
    }

    /// Reads until the connection ends.
    async fn read(&mut self, mut socket: Socket) -> End {
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = socket.next() => {
                    heard = Instant::now();
                    let text = match message {
                        Some(Ok(Message::Text(text))) => text,
                        Some(Ok(Message::Close(frame))) => {
                            let code = frame.map_or(1005, |frame| frame.code.into());
                            return End::Disconnected(Disconnect::Closed { code });
                        }
                        // Pongs, and pings, which are answered by the library.
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => {
                            return End::Disconnected(Disconnect::Broken { cause: root_cause(&error) });
                        }
                        None => return End::Disconnected(Disconnect::Broken { cause: "end of stream".to_owned() }),
                    };
                    if let Some(end) = self.hand_over(&text) {
                        return end;
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() >= PEER_SILENT {
                        return End::Disconnected(Disconnect::Silent { limit: PEER_SILENT });
                    }
                    match timeout(SEND_TIMEOUT, socket.send(Message::Ping(tungstenite::Bytes::new()))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            return End::Disconnected(Disconnect::Broken { cause: root_cause(&error) });
                        }
                        Err(_) => return End::Disconnected(Disconnect::Silent { limit: SEND_TIMEOUT }),
                    }
                }
                () = self.signals.closed() => {
                    hang_up(socket).await;
                    return End::NobodyListens;
                }
            }
        }
    }

    /// Parses a message and passes it on without waiting. `Some` ends the connection.
    fn hand_over(&mut self, text: &str) -> Option<End> {
        let number = self.counters.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let event = match parse_event(text) {
            Ok(Event::ApplicationReplaced { application }) if application == self.ari.settings().app.as_str() => {
                return Some(End::Replaced);
            }
            Ok(event) => event,
            Err(error) => {
                self.counters.malformed.fetch_add(1, Ordering::Relaxed);
                self.report_malformed(number, &error);
                return None;
            }
        };
        if let Event::Unknown { event_type } = &event {
            self.counters.unknown.fetch_add(1, Ordering::Relaxed);
            if self.is_news(event_type) {
                tracing::debug!(asterisk = %self.ari.settings().name, event_type, "an event of no use here");
            }
        }
        match self.signals.try_send(Signal::Event(event)) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Closed(_)) => Some(End::NobodyListens),
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.counters.overflows.fetch_add(1, Ordering::Relaxed);
                Some(End::Disconnected(Disconnect::QueueFull { capacity: self.signals.max_capacity() }))
            }
        }
    }

    /// Once a type: a defect that repeats with every call must not fill the log.
    fn report_malformed(&mut self, number: u64, error: &EventError) {
        let kind = match error {
            EventError::NotAnEvent(_) => "(no type)",
            EventError::Malformed { event_type, .. } => event_type,
        };
        if self.is_news(&format!("malformed {kind}")) {
            tracing::warn!(
                asterisk = %self.ari.settings().name, message = number, %error,
                "a message of the events socket cannot be read and is left out; further ones of this kind are only counted"
            );
        }
    }

    /// Whether this has not been logged. Bounded: a peer that makes up types without end is not logged without end.
    fn is_news(&mut self, what: &str) -> bool {
        self.reported.len() < 64 && self.reported.insert(what.to_owned())
    }
}

/// Opens and closes an events socket, so that its application comes and goes.
pub(super) async fn register_briefly(ari: &Ari) -> Result<(), AriError> {
    hang_up(open(ari).await?).await;
    Ok(())
}

/// Connects, with the login in a header.
async fn open(ari: &Ari) -> Result<Socket, AriError> {
    let settings = ari.settings();
    let url = settings.url.to_string();
    let unreachable = |cause: String| AriError::Unreachable { url: url.clone(), cause };
    let target = settings.url.events(&settings.app);
    let mut request = target.as_str().into_client_request().map_err(|error| unreachable(error.to_string()))?;
    request.headers_mut().insert(AUTHORIZATION, ari.authorization.clone());

    let (host, port) = settings.url.host_and_port();
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), port))).await;
    let stream = connected.map_err(|_| unreachable(format!("no connection within {CONNECT_TIMEOUT:?}")))?;
    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
    stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;

    let limits = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let connector = ari.tls.clone().map(Connector::Rustls);
    let handshake = client_async_tls_with_config(request, stream, Some(limits), connector);
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => Err(refused(ari, &response)),
        Ok(Err(error)) => Err(connection_error(&url, &error)),
        Err(_) => Err(AriError::Timeout { request: "GET events".to_owned(), limit: HANDSHAKE_TIMEOUT }),
    }
}

/// The error for a handshake that was answered, but not with a WebSocket.
fn refused(ari: &Ari, response: &tungstenite::http::Response<Option<Vec<u8>>>) -> AriError {
    let url = ari.settings().url.to_string();
    if response.status() == StatusCode::NOT_FOUND {
        return AriError::NoAri { url };
    }
    let asked = Asked { request: "GET events", user: &ari.settings().username, url: &url };
    AriError::from_status(&asked, response.status(), response.body().as_deref().unwrap_or_default())
}

/// Closes politely, but does not wait long for an answer.
async fn hang_up(mut socket: Socket) {
    let farewell = async {
        // Whatever goes wrong now, the connection is dropped afterwards.
        let _ = socket.close(None).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    let _ = timeout(SEND_TIMEOUT, farewell).await;
}

fn random() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

#[cfg(test)]
mod tests;
