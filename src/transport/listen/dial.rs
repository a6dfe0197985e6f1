//! WebSocket media when we connect to Asterisk: a channel with `connection_type=server` waits at
//! `/media/<connection id>` for about 30 s.

use super::error::DialError;
use super::upgrade::{HeadError, MEDIA, lists, read_head};
use crate::audio::Codec;
use crate::transport::{Leg, LegKeys, WebSocketLeg};
use crate::wire::media_websocket::Format;
use crate::wire::websocket::Role;
use http::{StatusCode, Uri, header};
use std::net::TcpStream;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::handshake::client::{Request, Response, generate_key, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A connection to a channel, ready to be attached to a call.
#[derive(Debug)]
pub struct Dialled {
    stream: TcpStream,
    /// What came right behind the handshake: as a rule `MEDIA_START`.
    read: Vec<u8>,
}

impl Dialled {
    /// The leg. `codec` and `control` are what the channel was made with.
    pub fn into_leg(self, codec: Codec, control: Format, keys: LegKeys) -> Leg {
        let Self { stream, read } = self;
        Leg::WebSocket(WebSocketLeg { stream, role: Role::Client, codec, control, read, keys })
    }
}

/// Connects to a channel that waits for us. `url` is like `ws://asterisk:8088/media/<connection id>` (or `http`), with the
/// prefix of Asterisk's HTTP server if it has one. All together may take `limit`.
///
/// # Errors
/// Any [`DialError`]. The id is in none of them.
pub async fn dial(url: &str, limit: Duration) -> Result<Dialled, DialError> {
    let (uri, host) = target(url)?;
    match tokio::time::timeout(limit, connect(uri, &host)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(DialError::TimedOut { host, limit }),
    }
}

/// The URL, and the host and port in it.
fn target(url: &str) -> Result<(Uri, String), DialError> {
    let wrong = |reason| DialError::Url { reason };
    let uri: Uri = url.parse().map_err(|_| wrong("it is not a URL"))?;
    match uri.scheme_str() {
        Some("ws" | "http") => {}
        Some("wss" | "https") => return Err(DialError::Encrypted),
        _ => return Err(wrong("it does not begin with ws:// or http://")),
    }
    let authority = uri.authority().ok_or(wrong("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("it holds a user name; Asterisk wants none for audio"));
    }
    let host = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
    Ok((uri, host))
}

async fn connect(uri: Uri, host: &str) -> Result<Dialled, DialError> {
    let host = || host.to_owned();
    let broken = |cause| DialError::Broken { host: host(), cause };
    let not_websocket = |reason| DialError::NotWebSocket { host: host(), reason };

    let request = Request::get(&uri)
        .header(header::HOST, host())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, MEDIA)
        .body(())
        .map_err(|_| DialError::Url { reason: "its host cannot be written in a header" })?;
    let (request, key) =
        generate_request(request).map_err(|_| DialError::Url { reason: "it has no path that can be asked for" })?;

    let mut stream =
        tokio::net::TcpStream::connect(host()).await.map_err(|cause| DialError::Connect { host: host(), cause })?;
    stream.set_nodelay(true).map_err(broken)?;
    stream.write_all(&request).await.map_err(broken)?;
    let mut read = Vec::new();
    let response: Response = read_head(&mut stream, &mut read).await.map_err(|error| match error {
        HeadError::Broken(cause) => broken(cause),
        HeadError::NotHttp => not_websocket("it does not speak HTTP"),
    })?;
    match response.status() {
        StatusCode::SWITCHING_PROTOCOLS => {}
        StatusCode::NOT_FOUND => return Err(DialError::UnknownId { host: host() }),
        StatusCode::CONFLICT => return Err(DialError::Taken { host: host() }),
        status => return Err(DialError::Refused { host: host(), status: status.as_u16() }),
    }
    let headers = response.headers();
    let accept = derive_accept_key(key.as_bytes());
    if !lists(headers.get(header::UPGRADE), "websocket") || !lists(headers.get(header::CONNECTION), "upgrade") {
        return Err(not_websocket("its answer does not upgrade the connection"));
    }
    if headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value != accept.as_str()) {
        return Err(not_websocket("its answer is to another request"));
    }
    if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(not_websocket("it uses an extension that was not asked for"));
    }
    if headers.get(header::SEC_WEBSOCKET_PROTOCOL).is_some_and(|protocol| protocol != MEDIA) {
        return Err(not_websocket("it speaks another sub-protocol than media"));
    }
    // It is non-blocking already, as a worker needs it.
    Ok(Dialled { stream: stream.into_std().map_err(broken)?, read })
}
