//! The HTTP server of the Asterisk that is played: REST, the events socket, and the sockets of WebSocket media.

use super::ari::{Answer, FakeAsterisk};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::io;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Serves whoever connects, for ever.
pub(super) async fn serve(listener: TcpListener, asterisk: FakeAsterisk) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let asterisk = asterisk.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let asterisk = asterisk.clone();
                async move { Ok::<_, Infallible>(respond(&asterisk, request).await) }
            });
            // A connection that breaks is the server's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

async fn respond(asterisk: &FakeAsterisk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if path == "/ari/events" {
        let events = asterisk.events();
        return upgraded(request, |socket| send_events(socket, events));
    }
    if let Some(connection) = path.strip_prefix("/media/") {
        let Some((leg, index)) = asterisk.invited(connection) else { return plain(StatusCode::NOT_FOUND) };
        let asterisk = asterisk.clone();
        return upgraded(request, move |socket| async move {
            let Ok(parts) = socket.downcast::<TokioIo<TcpStream>>() else { return };
            if let Ok(stream) = parts.io.into_inner().into_std() {
                asterisk.media_connected(&leg, index, stream, parts.read_buf.to_vec());
            }
        });
    }
    let Some(path) = path.strip_prefix("/ari/") else { return plain(StatusCode::NOT_FOUND) };
    let method = request.method().clone();
    let path = path.to_owned();
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return plain(StatusCode::BAD_REQUEST),
    };
    let Answer(status, value) =
        asterisk.request(&method, &path, &serde_json::from_slice(&body).unwrap_or(Value::Null)).await;
    let mut response = plain(status);
    if !value.is_null() {
        *response.body_mut() = Full::new(Bytes::from(value.to_string()));
        response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Accepts a WebSocket and goes on with it beside the answer.
fn upgraded<F: Future<Output = ()> + Send + 'static>(
    mut request: Request<Incoming>,
    go_on: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Response<Full<Bytes>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let Some(accept) = key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()) else {
        return plain(StatusCode::UPGRADE_REQUIRED);
    };
    let protocol = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(socket) = upgrade.await {
            go_on(socket).await;
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

async fn send_events(socket: Upgraded, mut events: tokio::sync::mpsc::Receiver<String>) {
    let (mut out, mut input) = WebSocketStream::from_raw_socket(TokioIo::new(socket), Role::Server, None).await.split();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => if out.send(Message::text(event)).await.is_err() { return },
                None => return,
            },
            // Pings are answered while this is polled; nothing else is expected.
            message = input.next() => match message {
                Some(Ok(Message::Ping(_))) if out.flush().await.is_ok() => {}
                Some(Ok(message)) if !message.is_close() => {}
                _ => return,
            },
        }
    }
}
