//! Answers that a real Asterisk gives too seldom to wait for them, from a server of a few lines.

use super::super::{BaseUrl, BridgeId, ChannelId, ConnectedLine, HangupReason};
use super::*;
use crate::config::{AppName, Secret};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn ari(address: SocketAddr) -> Ari {
    let app = AppName::new("arioso").unwrap();
    let url = BaseUrl::parse(&format!("http://{address}")).unwrap();
    Ari::new(AriSettings::new("pbx", url, "bot", Secret::new("hunter2"), app)).unwrap()
}

/// Reads one request, head and body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.unwrap();
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if read == 0 || body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                return String::from_utf8(request).unwrap();
            }
        }
    }
}

/// Answers one request with the given status line and body; returns the request.
async fn answer_once(listener: TcpListener, status: &'static str, body: &'static str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let request = read_request(&mut stream).await;
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    request
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn id(text: &str) -> ChannelId {
    ChannelId::new(text).unwrap()
}

#[tokio::test]
async fn the_password_travels_in_a_header_and_values_in_the_body() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let channel = id("call-1;2");
    let (done, request) =
        tokio::join!(ari.set_variable(&channel, "SECRET", "a b"), answer_once(listener, "204 No Content", ""));
    done.unwrap();
    assert!(request.starts_with("POST /ari/channels/call-1;2/variable HTTP/1.1\r\n"), "{request}");
    assert!(request.to_ascii_lowercase().contains("authorization: basic ym90omh1bnrlcji="), "{request}");
    assert!(request.ends_with(r#"{"variable":"SECRET","value":"a b"}"#), "{request}");
}

#[tokio::test]
async fn lists_and_flags_keep_their_types() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let (a, b, bridge) = (id("a,1"), id("b"), BridgeId::new("br").unwrap());
    let channels = [&a, &b];
    let (done, request) = tokio::join!(
        ari.add_channels(&bridge, &channels, ConnectedLine::Inhibit),
        answer_once(listener, "204 No Content", "")
    );
    done.unwrap();
    assert!(request.ends_with(r#"{"channel":["a,1","b"],"inhibitConnectedLineUpdates":true}"#), "{request}");
}

#[tokio::test]
async fn removing_what_is_gone_is_a_success() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let channel = id("a");
    let (done, request) = tokio::join!(
        ari.hang_up(&channel, HangupReason::Failure),
        answer_once(listener, "404 Not Found", r#"{"message":"Channel not found"}"#)
    );
    assert_eq!(done, Ok(Removal::AlreadyGone));
    assert!(request.starts_with("DELETE /ari/channels/a?reason=failure "), "{request}");
}

#[tokio::test]
async fn a_server_without_ari_does_not_count_as_gone() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let channel = id("a");
    let (done, _) = tokio::join!(
        ari.hang_up(&channel, HangupReason::Normal),
        answer_once(listener, "404 Not Found", "<html>Not Found</html>")
    );
    assert!(matches!(done, Err(AriError::NoAri { .. })), "{done:?}");
}

#[tokio::test]
async fn an_odd_body_with_an_error_is_shortened_into_the_message() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let (done, _) = tokio::join!(
        ari.ping(),
        answer_once(listener, "500 Internal Server Error", "<html>\n<body>Out of luck</body></html>")
    );
    let Err(AriError::Failed { status: 500, message, request }) = done else { panic!("{done:?}") };
    assert_eq!(message, "<html> <body>Out of luck</body></html>");
    assert_eq!(request, "GET asterisk/ping");
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_asked_for_says_where() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let (done, _) = tokio::join!(ari.channels(), answer_once(listener, "200 OK", r#"[{"id":5}]"#));
    let Err(AriError::BadResponse { request, cause }) = done else { panic!("{done:?}") };
    assert_eq!(request, "GET channels");
    assert!(cause.contains("column"), "{cause}");
}

#[tokio::test]
async fn a_media_leg_without_an_address_is_not_left_behind() {
    let (listener, address) = listen().await;
    let ari = ari(address);
    let media = super::super::ExternalMedia {
        channel: id("m"),
        format: "ulaw",
        variables: super::super::Variables::from([super::super::absolute_timeout(Duration::from_secs(60))]),
    };
    let server = async {
        let mut requests = Vec::new();
        for body in [r#"{"id":"m","name":"UnicastRTP/m","state":"Down"}"#, ""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(read_request(&mut stream).await);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body.as_bytes()).await.unwrap();
        }
        requests
    };
    let (made, requests) = tokio::join!(ari.rtp_leg(&media, "192.0.2.1:31000".parse().unwrap()), server);
    assert!(matches!(made, Err(AriError::BadResponse { .. })), "{made:?}");
    assert!(requests[0].contains(r#""external_host":"192.0.2.1:31000""#), "{}", requests[0]);
    assert!(requests[0].contains(r#""variables":{"TIMEOUT(absolute)":"60"}"#), "{}", requests[0]);
    assert!(requests[1].starts_with("DELETE /ari/channels/m?"), "{}", requests[1]);
}

#[tokio::test]
async fn no_answer_is_a_time_out_that_names_the_request() {
    let (listener, address) = listen().await;
    let mut settings = ari(address).settings;
    settings.request_timeout = Duration::from_millis(50);
    let ari = Ari::new(settings).unwrap();
    let channel = id("a");
    let done = ari.answer(&channel).await;
    drop(listener);
    assert!(matches!(&done, Err(AriError::Timeout { request, .. }) if request == "POST channels/a/answer"), "{done:?}");
}

#[tokio::test]
async fn requests_beyond_the_bound_wait_for_their_turn() {
    let (listener, address) = listen().await;
    let mut settings = ari(address).settings;
    settings.max_requests = 1;
    let ari = Ari::new(settings).unwrap();
    let first = tokio::spawn({
        let ari = ari.clone();
        async move { ari.ping().await }
    });
    let (mut held, _) = listener.accept().await.unwrap();
    read_request(&mut held).await;
    let second = tokio::spawn(async move { ari.ping().await });
    tokio::select! {
        _ = listener.accept() => panic!("a second connection while the first request is under way"),
        // Lets everything run that can; the second request cannot.
        () = async { for _ in 0..1000 { tokio::task::yield_now().await } } => {}
    }
    held.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    first.await.unwrap().unwrap();
    read_request(&mut held).await;
    held.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_where() {
    let (listener, address) = listen().await;
    drop(listener);
    let done = ari(address).ping().await;
    let Err(error @ AriError::Unreachable { .. }) = done else { panic!("{done:?}") };
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("http.conf") && !text.contains("hunter2"), "{text}");
}
