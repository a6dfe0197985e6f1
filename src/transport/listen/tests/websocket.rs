//! WebSocket, when Asterisk connects to us: `tungstenite` plays its client.

use super::*;
use crate::audio::SampleRate;
use crate::audio::g711::Law;
use crate::config::Secret;
use crate::transport::WebSocketLeg;
use crate::wire::media_websocket::Format;
use crate::wire::websocket::{DEFAULT_MAX_MESSAGE_BYTES, Decoder, Message, Role};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{self, Message as Sent};
use tokio_tungstenite::{WebSocketStream, client_async};

const ULAW: Codec = Codec::G711(Law::Mu);
/// `asterisk:s3cret`.
const LOGIN: &str = "Basic YXN0ZXJpc2s6czNjcmV0";
const JSON_START: &str = r#"{"event":"MEDIA_START","connection_id":"arioso","channel":"WebSocket/arioso/0x1","channel_id":"leg-1","format":"ulaw","optimal_frame_size":160,"ptime":20,"channel_variables":{"A":"b"}}"#;
const PLAIN_START: &str = "MEDIA_START connection_id:arioso channel:WebSocket/arioso/0x1 channel_id:leg-1 format:ulaw optimal_frame_size:160 ptime:20";

type Asterisk = WebSocketStream<TcpStream>;

async fn listener() -> WebSocketListener {
    let credentials = Credentials { username: "asterisk".to_owned(), password: Secret::new("s3cret") };
    WebSocketListener::bind(ANY_PORT, Some(credentials)).await.unwrap()
}

async fn connect_with(
    listener: &WebSocketListener,
    path: &str,
    headers: &[(HeaderName, &'static str)],
) -> tungstenite::Result<(Asterisk, Response)> {
    let address = listener.local_addr();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    client_async(request, TcpStream::connect(address).await.unwrap()).await
}

async fn connect(listener: &WebSocketListener) -> Asterisk {
    let headers = [(header::AUTHORIZATION, LOGIN), (header::SEC_WEBSOCKET_PROTOCOL, "media")];
    connect_with(listener, "/media", &headers).await.unwrap().0
}

async fn websocket_leg(arrived: oneshot::Receiver<Arrival>) -> WebSocketLeg {
    match arrival(arrived).await.unwrap() {
        Leg::WebSocket(leg) => leg,
        leg => panic!("{leg:?}"),
    }
}

/// What the media thread will find in the bytes that came with the leg.
fn messages(leg: &WebSocketLeg) -> Vec<String> {
    let mut read = leg.read.clone();
    let mut input = &mut read[..];
    let mut decoder = Decoder::new(leg.role, DEFAULT_MAX_MESSAGE_BYTES);
    let mut messages = Vec::new();
    while let Some(message) = decoder.next_message(&mut input).unwrap() {
        messages.push(match message {
            Message::Text(text) => text.to_owned(),
            Message::Binary(bytes) => format!("{} bytes", bytes.len()),
            other => format!("{other:?}"),
        });
    }
    messages
}

#[tokio::test]
async fn media_start_says_which_call_a_connection_is_for() {
    for (start, control) in [(JSON_START, Format::Json), (PLAIN_START, Format::PlainText)] {
        let listener = listener().await;
        let (_registration, arrived) = expect(listener.register(), "leg-1", ULAW);
        let (_other, mut other) = expect(listener.register(), "leg-2", ULAW);
        let mut asterisk = connect(&listener).await;
        asterisk.send(Sent::text(start)).await.unwrap();
        let mut leg = websocket_leg(arrived).await;
        assert_eq!((leg.role, leg.codec, leg.control, leg.keys), (Role::Server, ULAW, control, LegKeys::FromAri));
        assert_eq!(messages(&leg), [start]);
        assert!(other.try_recv().is_err());

        // The rest of the connection is the leg's, both ways.
        let mut out = [0; 200];
        let length = Message::Binary(&[5; 160]).write(leg.role, [0; 4], &mut out).unwrap();
        std::io::Write::write_all(&mut leg.stream, &out[..length]).unwrap();
        assert_eq!(asterisk.next().await.unwrap().unwrap(), Sent::binary(vec![5; 160]));
        asterisk.send(Sent::binary(vec![1, 2, 3])).await.unwrap();
        let mut read = read_exactly(&mut leg.stream, 2 + 4 + 3);
        let message = Decoder::new(leg.role, 100).next_message(&mut &mut read[..]).map(|message| message.is_some());
        assert_eq!(message, Ok(true));
        assert_eq!(listener.counts(), ListenCounts { connections: 1, expected: 1, ..ListenCounts::default() });
    }
}

/// Upstream issue 1712: audio may come before `MEDIA_START`.
#[tokio::test]
async fn asterisk_1712_audio_before_media_start_is_kept() {
    let listener = listener().await;
    let (_registration, arrived) = expect(listener.register(), "leg-1", ULAW);
    let mut asterisk = connect(&listener).await;
    asterisk.feed(Sent::binary(vec![0xFF; 160])).await.unwrap();
    asterisk.feed(Sent::Ping(vec![1].into())).await.unwrap();
    asterisk.feed(Sent::binary(vec![0xFF; 80])).await.unwrap();
    asterisk.flush().await.unwrap();
    asterisk.send(Sent::text(PLAIN_START)).await.unwrap();
    let leg = websocket_leg(arrived).await;
    assert_eq!(messages(&leg)[..4], ["160 bytes", "Ping([1])", "80 bytes", PLAIN_START]);
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let listener = listener().await;
    for (n, login) in [None, Some("Basic YXN0ZXJpc2s6d3Jvbmc="), Some("Bearer YXN0ZXJpc2s6czNjcmV0"), Some("Basic")]
        .into_iter()
        .enumerate()
    {
        let headers: Vec<_> = login.map(|login| (header::AUTHORIZATION, login)).into_iter().collect();
        let error = connect_with(&listener, "/media", &headers).await.unwrap_err();
        let tungstenite::Error::Http(response) = error else { panic!("{login:?}: {error}") };
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
        until(|| listener.counts().unauthorized == n as u64 + 1).await;
    }
    // Without credentials in the configuration nobody is asked for any.
    let open = WebSocketListener::bind(ANY_PORT, None).await.unwrap();
    connect_with(&open, "/media", &[]).await.unwrap();
}

/// Any `Sec-WebSocket-Extensions` in the reply makes Asterisk give up.
#[tokio::test]
async fn no_extension_is_ever_agreed_on() {
    let listener = listener().await;
    let headers = [
        (header::AUTHORIZATION, LOGIN),
        (header::SEC_WEBSOCKET_PROTOCOL, "other, media"),
        (header::SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"),
    ];
    let (_asterisk, response) = connect_with(&listener, "/media?v=1", &headers).await.unwrap();
    assert_eq!(response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).unwrap(), "media");
    assert!(!response.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS));
}

#[tokio::test]
async fn what_does_not_ask_for_media_is_refused_with_a_status() {
    let listener = listener().await;
    let login = (header::AUTHORIZATION, LOGIN);
    let other = (header::SEC_WEBSOCKET_PROTOCOL, "ari");
    for (path, headers, status) in [
        ("/ari/events", vec![login.clone()], StatusCode::NOT_FOUND),
        ("/media", vec![login.clone(), other], StatusCode::BAD_REQUEST),
        ("/media", vec![login, (header::UPGRADE, "h2c")], StatusCode::BAD_REQUEST),
    ] {
        let error = connect_with(&listener, path, &headers).await.unwrap_err();
        let tungstenite::Error::Http(response) = error else { panic!("{path}: {error}") };
        assert_eq!(response.status(), status, "{path}");
    }
    let mut stream = TcpStream::connect(listener.local_addr()).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]).await.unwrap();
    assert_closed(&mut stream).await;
    until(|| listener.counts().malformed == 4).await;
}

#[tokio::test]
async fn a_channel_that_no_call_expects_is_closed() {
    let listener = listener().await;
    let (registration, _arrived) = expect(listener.register(), "leg-1", ULAW);
    drop(registration);
    let mut asterisk = connect(&listener).await;
    asterisk.send(Sent::text(JSON_START)).await.unwrap();
    assert!(!matches!(timeout(GENEROUS, asterisk.next()).await.unwrap(), Some(Ok(_))));
    until(|| listener.counts().unknown == 1).await;
}

#[tokio::test]
async fn a_channel_with_another_codec_is_refused_with_both() {
    let listener = listener().await;
    let wanted = Codec::Linear16(SampleRate::HZ_16000);
    let (_registration, arrived) = expect(listener.register(), "leg-1", wanted);
    let mut asterisk = connect(&listener).await;
    asterisk.send(Sent::text(JSON_START)).await.unwrap();
    match arrival(arrived).await {
        Err(ExpectError::Format { wanted: "slin16", got }) => assert_eq!(got, "ulaw"),
        other => panic!("{other:?}"),
    }
}

/// The clock stands still but for time-outs, which are over at once.
#[tokio::test(start_paused = true)]
async fn whoever_does_not_say_for_which_call_he_is_is_closed() {
    let listener = listener().await;
    let mut silent = TcpStream::connect(listener.local_addr()).await.unwrap();
    accepted(|| listener.counts(), 1).await;
    assert_closed(&mut silent).await;
    let mut slow = TcpStream::connect(listener.local_addr()).await.unwrap();
    slow.write_all(b"GET /media HTTP/1.1\r\nHost:").await.unwrap();
    accepted(|| listener.counts(), 2).await;
    assert_closed(&mut slow).await;
    until(|| listener.counts() == ListenCounts { connections: 2, timed_out: 2, ..ListenCounts::default() }).await;
}

/// Whoever is slow with the handshake has no more time for what follows: one limit for all of the greeting.
#[tokio::test(start_paused = true)]
async fn a_slow_handshake_leaves_less_time_for_media_start() {
    let script = async {
        let listener = listener().await;
        let mut slow = TcpStream::connect(listener.local_addr()).await.unwrap();
        slow.write_all(b"GET /media HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        accepted(|| listener.counts(), 1).await;
        tokio::time::advance(GREET_WITHIN * 3 / 4).await;
        let rest = format!(
            "Authorization: {LOGIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        slow.write_all(rest.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert_ne!(slow.read_buf(&mut answer).await.unwrap(), 0);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        tokio::time::advance(GREET_WITHIN / 2).await;
        let deadline = std::time::Instant::now() + GENEROUS;
        while listener.counts().timed_out == 0 {
            assert!(std::time::Instant::now() < deadline, "it still has its place");
            tokio::task::yield_now().await;
        }
    };
    // A clock that stands still jumps to the next time-out whenever nothing is left to do.
    let busy = async {
        loop {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = script => {}
        () = busy => {}
    }
}

#[tokio::test]
async fn what_comes_before_media_start_is_bounded() {
    let listener = listener().await;
    let (_registration, _arrived) = expect(listener.register(), "leg-1", ULAW);
    let mut asterisk = connect(&listener).await;
    // Until the connection is closed.
    while asterisk.send(Sent::binary(vec![0; 1_000])).await.is_ok() {}
    until(|| listener.counts().malformed == 1).await;
}

#[tokio::test]
async fn audio_flows_from_the_moment_of_connecting() {
    let (workers, _batches) = one_worker();
    let listener = listener().await;
    let call = echo(&workers).await;
    let expected = listener.expect("leg-1", call.clone(), ULAW, LegKeys::FromAri).unwrap();
    let mut asterisk = connect(&listener).await;
    asterisk.send(Sent::text(JSON_START)).await.unwrap();
    timeout(GENEROUS, expected.attached()).await.unwrap().unwrap();
    let audio = async {
        loop {
            if let Sent::Binary(audio) = asterisk.next().await.unwrap().unwrap() {
                return audio;
            }
        }
    };
    // Silence in µ-law.
    assert_eq!(timeout(GENEROUS, audio).await.unwrap()[..], [0xFF; 160]);
}
