//! Makes the media legs of calls: asks Asterisk for one and joins it to the call on its worker, for each transport.

use crate::ari::{Ari, AriError, ExternalMedia};
use crate::audio::Codec;
use crate::config::{LegCodec, LinearCodec, Login, Media, MediaTransport, RtpCodec, WebSocketConnection};
use crate::transport::listen::{
    AudioSocketListener, Credentials, DialError, DialplanCalls, ExpectError, Expected, ListenError, WebSocketListener,
    dial,
};
use crate::transport::{CallHandle, Leg, LegKeys, RtpLeg, TransportError};
use crate::wire::media_websocket::Format;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Asterisk has connected before it answers, or does so at once.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);

/// Why there is no media leg.
#[derive(Debug, thiserror::Error)]
pub(super) enum LegError {
    /// Asterisk did not make it.
    #[error(transparent)]
    Request(#[from] AriError),
    /// Asterisk did not make it, or could not connect to us; it does not say which.
    #[error("{cause}; see that Asterisk reaches {ours} (media.advertise and media.audiosocket_port), and the firewall")]
    AudioSocket {
        /// Where it was to connect to.
        ours: SocketAddr,
        /// What it said.
        cause: AriError,
    },
    /// The worker did not take it.
    #[error(transparent)]
    Worker(#[from] TransportError),
    /// Asterisk's connection could not be used.
    #[error(transparent)]
    Expected(#[from] ExpectError),
    /// We could not connect to Asterisk.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Asterisk did not connect to us.
    #[error(
        "Asterisk did not connect to us; see the uri, the user and the password in its websocket_client.conf, and the firewall"
    )]
    NotConnected,
}

/// The ports to which Asterisks connect, each opened when it is first needed.
pub(super) struct Listeners {
    media: Media,
    audiosocket: Option<Arc<AudioSocketListener>>,
    websocket: Option<Arc<WebSocketListener>>,
    /// Of `audiosocket`, until somebody takes them.
    dialplan_calls: Option<DialplanCalls>,
}

impl Listeners {
    pub(super) const fn new(media: Media) -> Self {
        Self { media, audiosocket: None, websocket: None, dialplan_calls: None }
    }

    /// How legs of this kind are made.
    pub(super) async fn legs(&mut self, transport: &MediaTransport) -> Result<Legs, ListenError> {
        let way = match transport {
            MediaTransport::Rtp(codec) => Way::Rtp(*codec),
            MediaTransport::AudioSocket(codec) => {
                Way::AudioSocket { codec: *codec, listener: self.audiosocket().await? }
            }
            MediaTransport::WebSocket { codec, connection: WebSocketConnection::Dial } => {
                Way::DialledWebSocket { codec: *codec }
            }
            MediaTransport::WebSocket { codec, connection: WebSocketConnection::Listen { client } } => {
                let (client, codec) = (client.as_str().to_owned(), *codec);
                Way::ExpectedWebSocket { codec, client, listener: self.websocket().await? }
            }
        };
        Ok(Legs { way, codec: transport.codec(), advertise: self.media.advertise })
    }

    /// The port for AudioSocket, opened if it is not.
    pub(super) async fn audiosocket(&mut self) -> Result<Arc<AudioSocketListener>, ListenError> {
        if let Some(listener) = &self.audiosocket {
            return Ok(Arc::clone(listener));
        }
        let address = SocketAddr::new(self.media.listen, self.media.audiosocket_port);
        let (listener, dialplan_calls) = AudioSocketListener::bind(address).await?;
        self.dialplan_calls = Some(dialplan_calls);
        Ok(Arc::clone(self.audiosocket.insert(Arc::new(listener))))
    }

    /// The ports that are open.
    pub(super) fn open(&self) -> (Option<Arc<AudioSocketListener>>, Option<Arc<WebSocketListener>>) {
        (self.audiosocket.clone(), self.websocket.clone())
    }

    /// The calls that dialplans send to the port for AudioSocket, once it is open. The first one to ask gets them.
    pub(super) fn take_dialplan_calls(&mut self) -> Option<DialplanCalls> {
        self.dialplan_calls.take()
    }

    async fn websocket(&mut self) -> Result<Arc<WebSocketListener>, ListenError> {
        if let Some(listener) = &self.websocket {
            return Ok(Arc::clone(listener));
        }
        let address = SocketAddr::new(self.media.listen, self.media.websocket_port);
        let listener = WebSocketListener::bind(address, self.media.websocket_login.as_ref().map(credentials)).await?;
        Ok(Arc::clone(self.websocket.insert(Arc::new(listener))))
    }
}

fn credentials(login: &Login) -> Credentials {
    Credentials { username: login.username.clone(), password: login.password.clone() }
}

/// How the media legs of one Asterisk are made.
#[derive(Debug)]
pub(super) struct Legs {
    way: Way,
    codec: Codec,
    advertise: IpAddr,
}

#[derive(Debug)]
enum Way {
    Rtp(RtpCodec),
    AudioSocket { codec: LinearCodec, listener: Arc<AudioSocketListener> },
    DialledWebSocket { codec: LegCodec },
    ExpectedWebSocket { codec: LegCodec, client: String, listener: Arc<WebSocketListener> },
}

impl Legs {
    /// Codec of what comes on them.
    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    /// What Asterisk calls their format.
    pub(super) const fn format(&self) -> &'static str {
        self.codec.asterisk_format()
    }

    /// What a leg that disappears before it is connected has met, where that can be told.
    pub(super) fn why_gone(&self) -> Option<LegError> {
        match self.way {
            // Asterisk makes the channel, tries to connect, and only then gives it up.
            Way::ExpectedWebSocket { .. } => Some(LegError::NotConnected),
            Way::Rtp(_) | Way::AudioSocket { .. } | Way::DialledWebSocket { .. } => None,
        }
    }

    /// Makes a leg and attaches it to the call. Between whom the audio travels then, for people. `abandoned` ends the wait
    /// for a connection, but never a request: what that makes has to be known.
    pub(super) async fn make(
        &self,
        ari: &Ari,
        media: &ExternalMedia,
        control: Format,
        call: &CallHandle,
        abandoned: &CancellationToken,
    ) -> Result<String, LegError> {
        match &self.way {
            Way::Rtp(codec) => {
                let ours = SocketAddr::new(self.advertise, call.worker().local_addr().port());
                let remote = ari.rtp_leg(media, ours).await?;
                call.attach(Leg::Rtp(RtpLeg { remote, receive: codec.receive(), send: codec.send() })).await?;
                Ok(format!("Asterisk sends from {remote} to {ours}"))
            }
            Way::AudioSocket { codec, listener } => {
                // The UUID is all that protects the leg: random, and for this one only.
                let uuid = Uuid::new_v4();
                let ours = SocketAddr::new(self.advertise, listener.local_addr().port());
                let expected = listener.expect(uuid, call.clone(), codec.codec(), LegKeys::FromAri)?;
                let made = ari.audiosocket_leg(media, ours, uuid).await;
                made.map_err(|cause| LegError::AudioSocket { ours, cause })?;
                attached(expected, abandoned).await?;
                Ok(format!("Asterisk connects to {ours}"))
            }
            Way::DialledWebSocket { codec } => {
                let url = ari.websocket_leg(media, control).await?;
                let dialled = dial(url.as_str(), CONNECTION_LIMIT).await?;
                call.attach(dialled.into_leg(codec.codec(), control, LegKeys::FromAri)).await?;
                Ok(format!("we connect to {}", ari.settings().url))
            }
            Way::ExpectedWebSocket { codec, client, listener } => {
                let expected =
                    listener.expect(media.channel.as_str(), call.clone(), codec.codec(), LegKeys::FromAri)?;
                ari.websocket_client_leg(media, client, control).await?;
                attached(expected, abandoned).await?;
                Ok(format!(
                    "Asterisk connects to port {} as its client \"{client}\" says",
                    listener.local_addr().port()
                ))
            }
        }
    }
}

async fn attached(expected: Expected, abandoned: &CancellationToken) -> Result<(), LegError> {
    tokio::select! {
        attached = expected.attached() => Ok(attached?),
        () = sleep(CONNECTION_LIMIT) => Err(LegError::NotConnected),
        () = abandoned.cancelled() => Err(LegError::NotConnected),
    }
}
