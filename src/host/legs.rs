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
    /// Nobody waits for it any more.
    #[error("the call ended before its media leg was connected")]
    Abandoned,
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
                let dialled = tokio::select! {
                    dialled = dial(url.as_str(), CONNECTION_LIMIT) => dialled?,
                    () = abandoned.cancelled() => return Err(LegError::Abandoned),
                };
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
        () = abandoned.cancelled() => Err(LegError::Abandoned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ari::{AriSettings, BaseUrl, ChannelId};
    use crate::audio::SampleRate;
    use crate::call::CallId;
    use crate::config::{AppName, Config, Secret, System};
    use crate::transport::{Driver, NewCall, WorkerSettings, Workers};
    use std::net::Ipv4Addr;
    use std::path::Path;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    /// Longer than anything here takes on a busy machine.
    const SOON: Duration = Duration::from_secs(20);

    async fn request(asterisk: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = timeout(SOON, asterisk.accept()).await.expect("a connection").unwrap();
        let mut read = Vec::new();
        while !read.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        (stream, String::from_utf8(read).unwrap())
    }

    /// An Asterisk that makes the channel and never answers the connection for its audio: the caller who has hung up meanwhile
    /// does not keep his place until that is given up.
    #[tokio::test]
    async fn a_call_that_is_over_does_not_wait_for_a_websocket_that_we_dial() {
        let asterisk = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = BaseUrl::parse(&format!("http://{}", asterisk.local_addr().unwrap())).unwrap();
        let app = AppName::new("arioso").unwrap();
        let ari = Ari::new(AriSettings::new("pbx", url, "bot", Secret::new("hunter2"), app)).unwrap();
        let (workers, _batches) = Workers::start(WorkerSettings::new(Ipv4Addr::LOCALHOST.into(), 0..=0)).unwrap();
        let (outputs, _taken) = mpsc::channel(64);
        let new = NewCall { call: CallId::new("c").unwrap(), driver: Driver::Echo(SampleRate::HZ_8000), outputs };
        let call = workers.assign().add(new).await.unwrap();
        let transport = MediaTransport::WebSocket { codec: LegCodec::Ulaw, connection: WebSocketConnection::Dial };
        let settings = Config::parse("", "arioso.toml", Path::new(""), &System).unwrap().media;
        let legs = Listeners::new(settings).legs(&transport).await.unwrap();
        let media = ExternalMedia {
            channel: ChannelId::new("leg").unwrap(),
            format: legs.format(),
            variables: std::iter::empty::<(String, String)>().collect(),
        };
        let abandoned = CancellationToken::new();

        let caller = async {
            let (mut made, head) = request(&asterisk).await;
            assert!(head.starts_with("POST /ari/channels/externalMedia"), "{head}");
            let channel = r#"{"id":"leg","name":"WebSocket/leg","state":"Down","channelvars":{"MEDIA_WEBSOCKET_CONNECTION_ID":"x"}}"#;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{channel}", channel.len());
            made.write_all(answer.as_bytes()).await.unwrap();
            let (mut silent, head) = request(&asterisk).await;
            assert!(head.starts_with("GET /media/x"), "{head}");
            abandoned.cancel();
            // Nor is the connection left open.
            assert_eq!(timeout(SOON, silent.read(&mut [0; 1])).await.expect("its end").unwrap(), 0);
        };
        let (made, ()) = tokio::join!(legs.make(&ari, &media, Format::PlainText, &call, &abandoned), caller);
        assert!(matches!(made, Err(LegError::Abandoned)), "{made:?}");
    }
}
