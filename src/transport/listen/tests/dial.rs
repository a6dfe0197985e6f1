//! WebSocket, when we connect to Asterisk: scripted servers play it.

use super::*;
use crate::audio::g711::Law;
use crate::wire::media_websocket::Format;
use crate::wire::websocket::{Message, Role};
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

const ID: &str = "6f1c0f3e-connection-id";

/// A server that reads one request and answers with what `answer` makes of its key. The URL for it, and the request.
async fn server(answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static) -> (String, oneshot::Receiver<String>) {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("ws://{}/pbx/media/{ID}", listener.local_addr().unwrap());
    let (seen, request) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        let text = String::from_utf8(read).unwrap();
        let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        stream.write_all(&answer(key)).await.unwrap();
        drop(seen.send(text.clone()));
        // Until we close.
        let _ = stream.read(&mut [0; 16]).await;
    });
    (url, request)
}

fn switching(key: &str, more: &str) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         {more}\r\n"
    )
    .into_bytes()
}

async fn error(answer: impl FnOnce(&str) -> Vec<u8> + Send + 'static) -> DialError {
    let (url, _request) = server(answer).await;
    let error = dial(&url, GENEROUS).await.unwrap_err();
    assert!(!error.to_string().contains(ID), "the id protects the call: {error}");
    error
}

#[tokio::test]
async fn media_start_right_behind_the_handshake_is_kept() {
    let start = "MEDIA_START connection_id:x channel:y channel_id:z format:ulaw optimal_frame_size:160 ptime:20";
    let (url, request) = server(move |key| {
        let mut answer = switching(key, "Sec-WebSocket-Protocol: media\r\n");
        let mut frame = [0; 200];
        let length = Message::Text(start).write(Role::Server, [0; 4], &mut frame).unwrap();
        answer.extend(&frame[..length]);
        answer.extend([0x82, 3, 1]);
        answer
    })
    .await;
    let dialled = dial(&url, GENEROUS).await.unwrap();
    let request = request.await.unwrap();
    assert!(request.starts_with(&format!("GET /pbx/media/{ID} HTTP/1.1\r\n")), "{request}");
    assert!(request.contains("Sec-WebSocket-Protocol: media\r\n"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("extensions"), "{request}");
    let Leg::WebSocket(mut leg) = dialled.into_leg(Codec::G711(Law::A), Format::Json, LegKeys::FromAri) else {
        panic!("another leg")
    };
    assert_eq!((leg.role, leg.control, leg.keys), (Role::Client, Format::Json, LegKeys::FromAri));
    let length = 2 + start.len() + 3;
    let read = [&leg.read[..], &read_exactly(&mut leg.stream, length - leg.read.len())].concat();
    assert_eq!((&read[2..length - 3], &read[length - 3..]), (start.as_bytes(), &[0x82, 3, 1][..]));
    assert!(leg.stream.nodelay().unwrap());
}

#[tokio::test]
async fn tungstenite_accepts_our_handshake() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}/media/{ID}", listener.local_addr().unwrap());
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        #[allow(clippy::result_large_err)]
        let media = |_: &Request, mut response: Response| {
            response.headers_mut().insert("Sec-WebSocket-Protocol", "media".parse().unwrap());
            Ok(response)
        };
        tokio_tungstenite::accept_hdr_async(stream, media).await.unwrap()
    };
    let (dialled, _peer) = tokio::join!(dial(&url, GENEROUS), accept);
    assert!(dialled.is_ok(), "{dialled:?}");
}

#[tokio::test]
async fn what_asterisk_says_no_with_is_told_apart() {
    let status =
        |status: &'static str| move |_: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    assert!(matches!(error(status("404 Not Found")).await, DialError::UnknownId { .. }));
    assert!(matches!(error(status("409 Conflict")).await, DialError::Taken { .. }));
    assert!(matches!(error(status("400 Bad Request")).await, DialError::Refused { status: 400, .. }));
    assert!(matches!(error(status("503 Service Unavailable")).await, DialError::Refused { status: 503, .. }));
}

#[tokio::test]
async fn what_is_no_websocket_for_audio_is_refused() {
    let wrong_key = |_: &str| switching("dGhlIHNhbXBsZSBub25jZQ==", "");
    let no_upgrade = |_: &str| b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
    let extension = |key: &str| switching(key, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
    let protocol = |key: &str| switching(key, "Sec-WebSocket-Protocol: ari\r\n");
    let smtp = |_: &str| b"220 mail ESMTP\r\n".to_vec();
    let endless = |_: &str| [b"HTTP/1.1 101 OK\r\nX: ", &[b'x'; 70_000][..]].concat();
    for error in [
        error(wrong_key).await,
        error(no_upgrade).await,
        error(extension).await,
        error(protocol).await,
        error(smtp).await,
        error(endless).await,
    ] {
        assert!(matches!(error, DialError::NotWebSocket { .. }), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_and_somebody_who_leaves() {
    let closed = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    match dial(&format!("ws://{address}/media/{ID}"), GENEROUS).await.unwrap_err() {
        DialError::Connect { host, cause } => {
            assert_eq!((host, cause.kind()), (address.to_string(), io::ErrorKind::ConnectionRefused));
        }
        other => panic!("{other}"),
    }
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("ws://{}/media/{ID}", listener.local_addr().unwrap());
    let (dialled, ()) = tokio::join!(dial(&url, GENEROUS), async { drop(listener.accept().await.unwrap()) });
    assert!(matches!(dialled, Err(DialError::Broken { .. })), "{dialled:?}");
}

/// The clock stands still but for time-outs, which are over at once.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("ws://{}/media/{ID}", listener.local_addr().unwrap());
    let limit = Duration::from_secs(3);
    let error = dial(&url, limit).await.unwrap_err();
    assert!(matches!(error, DialError::TimedOut { limit: told, .. } if told == limit), "{error}");
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused_with_what_to_do() {
    for url in ["wss://pbx:8089/media/x", "https://pbx:8089/media/x"] {
        let error = dial(url, GENEROUS).await.unwrap_err();
        assert!(matches!(error, DialError::Encrypted), "{error}");
    }
    for url in ["", "pbx", "/media/x", "ftp://pbx/media/x", "ws://user:secret@pbx/media/x", "ws://pbx:8088/a b"] {
        let error = dial(url, GENEROUS).await.unwrap_err();
        assert!(matches!(error, DialError::Url { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
