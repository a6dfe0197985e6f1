//! The socket against a server of a few lines that speaks just enough of ARI: an application, its filter, events.

use super::super::{AppName, AriSettings, BaseUrl, Secret};
use super::*;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const STASIS_END: &str = r#"{"type":"StasisEnd","channel":{"id":"c","name":"X/c","state":"Up"}}"#;
const UNKNOWN: &str = r#"{"type":"SomethingNew","channel":5}"#;
const REPLACED: &str = r#"{"type":"ApplicationReplaced","application":"arioso"}"#;

/// What the server does with its n-th events socket, once the client has set the filter.
#[derive(Clone, Copy)]
enum Script {
    /// Sends these and stays open.
    Send(&'static [&'static str]),
    /// Sends one of these without end.
    Flood(&'static str),
    /// Sends a close frame.
    Close(u16),
    /// Drops the TCP connection.
    Drop,
    /// Neither reads nor writes.
    Freeze,
    /// Answers the handshake with this status.
    Refuse(&'static str),
}

/// What the server was asked, in order: `METHOD path`.
type Requests = Arc<Mutex<Vec<String>>>;

struct Server {
    address: SocketAddr,
    requests: Requests,
    /// What `GET applications/…` answers: JSON, or `None` for 404.
    application: Arc<Mutex<Option<&'static str>>>,
}

impl Server {
    /// Follows one script after the other; the last one for ever.
    async fn start(scripts: impl Into<Vec<Script>>) -> Self {
        let scripts = scripts.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Requests::default();
        let application = Arc::new(Mutex::new(None));
        let server = Self { address, requests: requests.clone(), application: application.clone() };
        tokio::spawn(async move {
            let mut opened = 0;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let head = peek_head(&stream).await;
                let mut words = head.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                requests.lock().unwrap().push(format!("{method} {path}"));
                if head.to_ascii_lowercase().contains("upgrade: websocket") {
                    let what = scripts[opened.min(scripts.len() - 1)];
                    // A throw-away application is no use of the script.
                    let scripted = path.ends_with("app=arioso");
                    opened += usize::from(scripted);
                    tokio::spawn(serve_socket(stream, if scripted { what } else { Script::Send(&[]) }));
                } else {
                    let application = *application.lock().unwrap();
                    tokio::spawn(serve_rest(stream, method.to_owned(), application));
                }
            }
        });
        server
    }

    fn ari(&self) -> Ari {
        let url = BaseUrl::parse(&format!("http://{}", self.address)).unwrap();
        let app = AppName::new("arioso").unwrap();
        Ari::new(AriSettings::new("pbx", url, "bot", Secret::new("hunter2"), app)).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn peek_head(stream: &TcpStream) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.peek(&mut buffer).await.unwrap();
        let head = String::from_utf8_lossy(&buffer[..length]);
        if length == 0 || head.contains("\r\n\r\n") {
            return head.into_owned();
        }
        tokio::task::yield_now().await;
    }
}

/// One answer a connection.
async fn serve_rest(mut stream: TcpStream, method: String, application: Option<&'static str>) {
    let (status, body) = match (method.as_str(), application) {
        ("PUT", _) => ("200 OK", "{}"),
        (_, Some(application)) => ("200 OK", application),
        (_, None) => ("404 Not Found", r#"{"message":"Application not found"}"#),
    };
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
}

async fn serve_socket(mut stream: TcpStream, what: Script) {
    if let Script::Refuse(status) = what {
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    match what {
        Script::Send(texts) => {
            for text in texts {
                socket.send(Message::text(*text)).await.unwrap();
            }
            while let Some(Ok(_)) = socket.next().await {}
        }
        Script::Flood(text) => while socket.send(Message::text(text)).await.is_ok() {},
        Script::Close(code) => {
            let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() };
            let _ = socket.close(Some(frame)).await;
            while let Some(Ok(_)) = socket.next().await {}
        }
        Script::Drop => drop(socket),
        Script::Freeze => std::future::pending().await,
        Script::Refuse(_) => unreachable!("answered above"),
    }
}

/// The next signal that is no event.
async fn next_state(events: &mut EventStream) -> Signal {
    loop {
        match events.next().await.expect("the reader never ends by itself") {
            Signal::Event(_) => {}
            state => return state,
        }
    }
}

async fn expect_connected(events: &mut EventStream) {
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Connected)), "{signal:?}");
}

#[tokio::test]
async fn a_connection_checks_the_name_then_sets_the_filter_then_tells() {
    let server = Server::start([Script::Send(&[STASIS_END])]).await;
    let mut events = server.ari().events(8);
    expect_connected(&mut events).await;
    assert_eq!(
        server.requests(),
        ["GET /ari/applications/arioso", "GET /ari/events?app=arioso", "PUT /ari/applications/arioso/eventFilter"]
    );
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Event(Event::StasisEnd { .. }))), "{signal:?}");
    events.close().await;
}

#[tokio::test]
async fn unknown_and_malformed_messages_are_counted_and_do_not_end_the_socket() {
    let texts = &[UNKNOWN, "", "[]", r#"{"type":"StasisEnd"}"#, r#"{"type":"StasisEnd"}"#, STASIS_END];
    let server = Server::start([Script::Send(texts)]).await;
    let mut events = server.ari().events(8);
    expect_connected(&mut events).await;
    let signal = events.next().await;
    assert!(
        matches!(&signal, Some(Signal::Event(Event::Unknown { event_type })) if event_type == "SomethingNew"),
        "{signal:?}"
    );
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Event(Event::StasisEnd { .. }))), "{signal:?}");
    let counts = EventCounts { connections: 1, messages: 6, unknown: 1, malformed: 4, overflows: 0 };
    assert_eq!(events.counts(), counts);
}

#[tokio::test]
async fn a_broken_or_closed_socket_is_opened_again() {
    let server = Server::start([Script::Drop, Script::Close(1011), Script::Send(&[STASIS_END])]).await;
    let mut events = server.ari().events(8);
    expect_connected(&mut events).await;
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Disconnected { cause: Disconnect::Broken { .. } })), "{signal:?}");
    expect_connected(&mut events).await;
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Disconnected { cause: Disconnect::Closed { code: 1011 } })), "{signal:?}");
    expect_connected(&mut events).await;
    assert_eq!(events.counts().connections, 3);
    // Every connection has its filter, and only the first one asks who uses the name.
    let requests = server.requests();
    let count = |wanted: &str| requests.iter().filter(|request| request.starts_with(wanted)).count();
    assert_eq!((count("PUT"), count("GET /ari/applications")), (3, 1));
}

#[tokio::test]
async fn a_slow_consumer_costs_the_connection_and_never_the_reader() {
    let server = Server::start([Script::Flood(STASIS_END), Script::Send(&[STASIS_END])]).await;
    let mut events = server.ari().events(4);
    // Nothing is received until the reader has given up on its own.
    while events.counts().overflows == 0 {
        tokio::task::yield_now().await;
    }
    expect_connected(&mut events).await;
    let signal = next_state(&mut events).await;
    assert!(matches!(signal, Signal::Disconnected { cause: Disconnect::QueueFull { capacity: 4 } }), "{signal:?}");
    expect_connected(&mut events).await;
    assert_eq!(events.counts().overflows, 1);
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_dead() {
    let server = Server::start([Script::Freeze]).await;
    let mut events = server.ari().events(4);
    expect_connected(&mut events).await;
    // From here on nothing but time passes: let it run.
    tokio::time::pause();
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Disconnected { cause: Disconnect::Silent { .. } })), "{signal:?}");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_server_that_is_not_there() {
    let server = Server::start([Script::Refuse("401 Unauthorized"), Script::Send(&[])]).await;
    let mut events = server.ari().events(4);
    let signal = events.next().await;
    assert!(
        matches!(&signal, Some(Signal::Unavailable { error: AriError::Unauthorized { user, .. }, attempt: 1, .. })
            if user == "bot"),
        "{signal:?}"
    );
    expect_connected(&mut events).await;

    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut settings = server.ari().settings().clone();
    settings.url = BaseUrl::parse(&format!("http://{gone}")).unwrap();
    let mut events = Ari::new(settings).unwrap().events(4);
    for expected in 1..=2 {
        let signal = events.next().await;
        assert!(
            matches!(&signal, Some(Signal::Unavailable { error: AriError::Unreachable { .. }, attempt, .. })
                if *attempt == expected),
            "{signal:?}"
        );
    }
}

#[tokio::test]
async fn an_events_resource_that_is_not_there_is_told_too() {
    let server = Server::start([Script::Refuse("404 Not Found")]).await;
    let signal = server.ari().events(4).next().await;
    assert!(matches!(&signal, Some(Signal::Unavailable { error: AriError::NoAri { .. }, .. })), "{signal:?}");
}

#[tokio::test]
async fn a_name_in_use_is_not_taken_away_from_the_other_program() {
    let server = Server::start([Script::Send(&[])]).await;
    *server.application.lock().unwrap() = Some(r#"{"name":"arioso"}"#);
    let signal = server.ari().events(4).next().await;
    assert!(matches!(&signal, Some(Signal::Unavailable { error: AriError::AppTaken { .. }, .. })), "{signal:?}");
    let requests = server.requests();
    assert!(requests.iter().any(|request| request.starts_with("GET /ari/events?app=arioso-probe-")), "{requests:?}");
    assert!(!requests.contains(&"GET /ari/events?app=arioso".to_owned()), "{requests:?}");
}

#[tokio::test]
async fn calls_under_our_name_from_before_a_restart_are_taken_over() {
    let server = Server::start([Script::Send(&[])]).await;
    *server.application.lock().unwrap() = Some(r#"{"name":"arioso","channel_ids":["c"]}"#);
    expect_connected(&mut server.ari().events(4)).await;
}

#[tokio::test]
async fn a_replaced_application_is_told_and_not_fought_for() {
    let server = Server::start([Script::Send(&[REPLACED])]).await;
    let mut events = server.ari().events(4);
    expect_connected(&mut events).await;
    *server.application.lock().unwrap() = Some(r#"{"name":"arioso","channel_ids":["theirs"]}"#);
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Replaced)), "{signal:?}");
    let signal = events.next().await;
    assert!(matches!(&signal, Some(Signal::Unavailable { error: AriError::AppTaken { .. }, .. })), "{signal:?}");
}

#[tokio::test]
async fn another_applications_replacement_is_not_ours() {
    let texts = &[r#"{"type":"ApplicationReplaced","application":"other"}"#, STASIS_END];
    let server = Server::start([Script::Send(texts)]).await;
    let mut events = server.ari().events(4);
    expect_connected(&mut events).await;
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Event(Event::ApplicationReplaced { .. }))), "{signal:?}");
    let signal = events.next().await;
    assert!(matches!(signal, Some(Signal::Event(Event::StasisEnd { .. }))), "{signal:?}");
}
