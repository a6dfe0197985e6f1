//! WebSocket media when Asterisk connects to us: `connection_type=client` with a `per_call_config` client.
//!
//! The connection id of such a channel is the name of the client's section, the same for all calls; so the channel id in
//! `MEDIA_START` says which call a connection belongs to.

use super::accept::{GREET_WITHIN, MAX_GREETING, accept_all, bind};
use super::counts::{Counters, Fate, ListenCounts};
use super::error::{ExpectError, ListenError};
use super::expected::{Expected, Register};
use super::upgrade::{BasicLogin, MEDIA, lists, read_head};
use crate::audio::Codec;
use crate::config::Secret;
use crate::transport::{CallHandle, Leg, LegKeys, WebSocketLeg};
use crate::wire::media_websocket::{Event, Format};
use crate::wire::websocket::{DEFAULT_MAX_MESSAGE_BYTES, Decoder, Message, Role};
use http::{HeaderValue, StatusCode, header};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};

/// The path that Asterisk is to connect to.
pub(super) const PATH: &str = "/media";
/// What may come before `MEDIA_START`: half a second of the fattest codec.
const MAX_EARLY_BYTES: usize = 64 * 1024;

/// How Asterisk shows that it may connect: `username` and `password` in its `websocket_client.conf`.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// One port for the WebSocket legs of all calls. Dropping it closes the port; legs that are attached go on.
#[derive(Debug)]
pub struct WebSocketListener {
    local: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    register: Register,
    login: Option<BasicLogin>,
    counters: Arc<Counters>,
}

impl WebSocketListener {
    /// Listens on `address`; port 0 lets the system choose. Without credentials everyone may connect, but only a channel whose
    /// id is expected is let in.
    ///
    /// # Errors
    /// [`ListenError`], for the operator.
    pub async fn bind(address: SocketAddr, credentials: Option<Credentials>) -> Result<Self, ListenError> {
        let (listener, local) = bind(address, "websocket_port").await?;
        let login = credentials.map(|login| BasicLogin::new(&login.username, login.password.expose()));
        let shared = Arc::new(Shared { register: Register::default(), login, counters: Arc::default() });
        let greeter = Arc::clone(&shared);
        let greet = move |stream, remote| {
            let shared = Arc::clone(&greeter);
            async move { shared.greet(stream, remote).await }
        };
        let accepting = tokio::spawn(accept_all(listener, Arc::clone(&shared.counters), MAX_GREETING, greet));
        Ok(Self { local, shared, accepting })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Lets the channel with this id in when it connects, and attaches it to `call`. To be called before Asterisk is asked for the
    /// channel.
    ///
    /// # Errors
    /// [`ExpectError::AlreadyExpected`].
    pub fn expect(
        &self,
        channel_id: &str,
        call: CallHandle,
        codec: Codec,
        keys: LegKeys,
    ) -> Result<Expected, ExpectError> {
        self.shared.register.attach_to(channel_id.to_owned(), codec, keys, call)
    }

    #[cfg(test)]
    pub(super) fn register(&self) -> &Register {
        &self.shared.register
    }

    /// What it has counted.
    pub fn counts(&self) -> ListenCounts {
        self.shared.counters.snapshot()
    }
}

impl Drop for WebSocketListener {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.register.close();
    }
}

/// Why a connection is not let in.
struct Refusal {
    fate: Fate,
    /// For the log, with what to do.
    reason: &'static str,
}

const fn refusal(fate: Fate, reason: &'static str) -> Refusal {
    Refusal { fate, reason }
}

impl Shared {
    /// Finds out for which call a connection is.
    async fn greet(&self, mut stream: TcpStream, remote: SocketAddr) {
        // One for all of it: a stranger has its place no longer than that.
        let deadline = Instant::now() + GREET_WITHIN;
        let late = |_| refusal(Fate::TimedOut, "the handshake was not done in time");
        let upgraded = timeout_at(deadline, self.upgrade(&mut stream)).await.map_err(late).flatten();
        let started = match upgraded {
            Ok(read) => {
                let late = |_| refusal(Fate::TimedOut, "MEDIA_START did not come in time");
                timeout_at(deadline, media_start(&mut stream, read)).await.map_err(late).flatten()
            }
            Err(refused) => Err(refused),
        };
        let refused = match started.and_then(|start| self.admit(start, stream)) {
            Ok(()) => {
                self.counters.settled(Fate::Expected);
                return;
            }
            Err(refused) => refused,
        };
        // Only the first of each kind: anyone can send thousands.
        if self.counters.settled(refused.fate) {
            tracing::warn!(%remote, reason = refused.reason, "a WebSocket connection for audio was closed");
        }
    }

    /// Does the handshake; what came behind the request.
    async fn upgrade(&self, stream: &mut TcpStream) -> Result<Vec<u8>, Refusal> {
        let mut read = Vec::new();
        let request: Request = read_head(stream, &mut read)
            .await
            .map_err(|_| refusal(Fate::Malformed, "there was no HTTP request to upgrade"))?;
        let (response, outcome) = self.answer(&request);
        let mut bytes = Vec::new();
        let sent = match write_response(&mut bytes, &response) {
            Ok(()) => stream.write_all(&bytes).await,
            Err(error) => Err(std::io::Error::other(error)),
        };
        outcome?;
        sent.map_err(|_| refusal(Fate::Malformed, "the connection broke during the handshake"))?;
        Ok(read)
    }

    /// The response, and whether it lets in.
    fn answer(&self, request: &Request) -> (http::Response<()>, Result<(), Refusal>) {
        let refused = |status, fate, reason| {
            let mut response = http::Response::new(());
            *response.status_mut() = status;
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            (response, Err(refusal(fate, reason)))
        };
        if let Some(login) = &self.login
            && !login.permits(request.headers().get(header::AUTHORIZATION))
        {
            let mut answer = refused(
                StatusCode::UNAUTHORIZED,
                Fate::Unauthorized,
                "wrong user name or password: username and password in Asterisk's websocket_client.conf must be those of \
                 media.websocket_username and media.websocket_password_file",
            );
            let realm = HeaderValue::from_static("Basic realm=\"media\"");
            answer.0.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            return answer;
        }
        if request.uri().path() != PATH {
            let reason = "wrong path: the uri in Asterisk's websocket_client.conf must end in /media";
            return refused(StatusCode::NOT_FOUND, Fate::Malformed, reason);
        }
        let protocols = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        if protocols.is_some() && !lists(protocols, MEDIA) {
            let reason = "wrong sub-protocol: protocols in Asterisk's websocket_client.conf must be media";
            return refused(StatusCode::BAD_REQUEST, Fate::Malformed, reason);
        }
        match create_response(request) {
            // No extension in it: Asterisk would give up.
            Ok(mut response) => {
                if protocols.is_some() {
                    let media = HeaderValue::from_static(MEDIA);
                    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, media);
                }
                (response, Ok(()))
            }
            Err(_) => refused(StatusCode::BAD_REQUEST, Fate::Malformed, "the request does not ask for a WebSocket"),
        }
    }

    /// Brings the connection to its call.
    fn admit(&self, start: Started, stream: TcpStream) -> Result<(), Refusal> {
        let unknown = "no call expects its channel";
        let wanted = self.register.take(&start.channel_id).ok_or(refusal(Fate::Unknown, unknown))?;
        let format = wanted.codec.asterisk_format();
        if start.format != format {
            wanted.arrived(Err(ExpectError::Format { wanted: format, got: start.format }));
            return Err(refusal(Fate::Malformed, "the channel has another format than was asked for"));
        }
        // It is non-blocking already, as a worker needs it.
        let broken = |_| refusal(Fate::Malformed, "the connection broke");
        let leg = WebSocketLeg {
            stream: stream.into_std().map_err(broken)?,
            role: Role::Server,
            codec: wanted.codec,
            control: start.control,
            read: start.read,
            keys: wanted.keys,
        };
        wanted.arrived(Ok(Leg::WebSocket(leg)));
        Ok(())
    }
}

/// A connection that has said for which call it is.
struct Started {
    channel_id: String,
    format: String,
    control: Format,
    /// All that came behind the handshake, `MEDIA_START` included: audio may have come before it (upstream issue 1712).
    read: Vec<u8>,
}

/// Reads until `MEDIA_START`, behind what was `read` already.
async fn media_start(stream: &mut TcpStream, mut read: Vec<u8>) -> Result<Started, Refusal> {
    let mut decoder = Decoder::new(Role::Server, DEFAULT_MAX_MESSAGE_BYTES);
    let mut seen = 0;
    loop {
        // The decoder works on a copy: the leg reads all from the beginning.
        let mut fresh = read[seen..].to_vec();
        seen = read.len();
        let mut input = &mut fresh[..];
        loop {
            match decoder.next_message(&mut input) {
                Ok(Some(Message::Text(text))) => {
                    let control = if text.starts_with('{') { Format::Json } else { Format::PlainText };
                    if let Ok(Event::MediaStart(start)) = Event::parse(text, control) {
                        let (channel_id, format) = (start.channel_id.into_owned(), start.format.into_owned());
                        return Ok(Started { channel_id, format, control, read });
                    }
                }
                Ok(Some(Message::Close(_))) => {
                    return Err(refusal(Fate::Malformed, "it was closed again before MEDIA_START"));
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Err(refusal(Fate::Malformed, "what came is not WebSocket")),
            }
        }
        if read.len() >= MAX_EARLY_BYTES {
            return Err(refusal(Fate::Malformed, "too much came before MEDIA_START"));
        }
        match stream.read_buf(&mut read).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Err(refusal(Fate::Malformed, "it broke before MEDIA_START")),
        }
    }
}
