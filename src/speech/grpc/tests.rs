//! The client adapter against a real server on loopback, with engines behind it that do as the test says.

mod formats;

use super::{GrpcEngine, GrpcSettings, GrpcSettingsError, TlsRoots};
use crate::call::{
    DialogAction, DialogCommand, DialogEvent, DialogNotice, DialplanTarget, RecognizerCommand, RecognizerEvent,
    ReplyId, Stage, SynthesizerCommand, SynthesizerEvent, UtteranceIndex,
};
use crate::speech::scripted::{Mood, ScriptedDialog, ScriptedRecognizer, ScriptedSynthesizer, Sessions, start};
use crate::speech::server::{EngineServer, ListenSettings, ServedEngines};
use crate::speech::{BearerToken, Dialog, EngineError, Recognizer, RecognizerRequest, Session, Synthesizer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A server with an engine for each service, and the sessions that they open.
struct Lab {
    address: SocketAddr,
    recognizer: Arc<ScriptedRecognizer>,
    recognitions: Sessions<RecognizerRequest, RecognizerEvent>,
    syntheses: Sessions<SynthesizerCommand, SynthesizerEvent>,
    dialogs: Sessions<DialogCommand, DialogEvent>,
    _server: AbortOnDropHandle<()>,
}

impl Lab {
    async fn new() -> Self {
        Self::guarded(None).await
    }

    async fn guarded(token: Option<BearerToken>) -> Self {
        let (recognizer, recognitions) = ScriptedRecognizer::new();
        let (synthesizer, syntheses) = ScriptedSynthesizer::new();
        let (dialog, dialogs) = ScriptedDialog::new();
        let engines = ServedEngines {
            recognizer: Some(recognizer.clone()),
            synthesizer: Some(synthesizer),
            dialog: Some(dialog),
            ..ServedEngines::default()
        };
        let server = EngineServer::bind(ListenSettings { token, ..any_port() }, engines).await.unwrap();
        let address = server.local_addr().unwrap();
        let server = tokio::spawn(async move { server.run(std::future::pending()).await.unwrap() });
        let _server = AbortOnDropHandle::new(server);
        Self { address, recognizer, recognitions, syntheses, dialogs, _server }
    }

    fn client(&self) -> GrpcEngine {
        GrpcEngine::new(settings(self.address)).unwrap()
    }
}

fn any_port() -> ListenSettings {
    ListenSettings { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ListenSettings::default() }
}

fn settings(address: SocketAddr) -> GrpcSettings {
    GrpcSettings::new("lab", format!("http://{address}"))
}

async fn next<Request, Event>(session: &mut Session<Request, Event>) -> Event {
    session.events.recv().await.expect("the session is open").expect("no error")
}

async fn failure<Request, Event: std::fmt::Debug>(session: &mut Session<Request, Event>) -> EngineError {
    let error = session.events.recv().await.expect("an event").expect_err("an error");
    assert!(session.events.recv().await.is_none(), "nothing follows an error");
    error
}

#[tokio::test]
async fn caller_audio_and_utterances_reach_the_engine_and_hypotheses_come_back() {
    let mut lab = Lab::new().await;
    let mut session = Recognizer::open(&lab.client(), start()).await.unwrap();
    let mut far = lab.recognitions.recv().await.unwrap();
    assert_eq!((far.start.call.as_str(), far.start.language.as_str()), ("call-1", "en-US"));
    assert_eq!(far.start.rate, start().rate);

    let utterance = UtteranceIndex(0);
    let sent = [
        RecognizerRequest::Audio { start_sample: 1_000, pcm: [1, -2, i16::MIN].into() },
        RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample: 1_000 }),
        RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample: 1_003 }),
    ];
    for request in &sent {
        session.requests.send(request.clone()).await.unwrap();
    }
    for request in sent {
        assert_eq!(far.requests.recv().await, Some(request));
    }

    let hypothesis =
        |stage, text: &str, confidence| RecognizerEvent::Hypothesis { utterance, stage, text: text.into(), confidence };
    let said = [
        hypothesis(Stage::Partial, "goo", None),
        hypothesis(Stage::Final, "good day", Some(0.5)),
        RecognizerEvent::UtteranceEnded { utterance },
        hypothesis(Stage::Refined, "Good day.", None),
    ];
    for event in &said {
        far.say(event.clone()).await;
    }
    for event in said {
        assert_eq!(next(&mut session).await, event);
    }
}

#[tokio::test]
async fn a_discarded_utterance_ends_on_the_wire_and_leaves_nothing_for_the_call() {
    let mut lab = Lab::new().await;
    let mut session = Recognizer::open(&lab.client(), start()).await.unwrap();
    let mut far = lab.recognitions.recv().await.unwrap();
    let command = RecognizerRequest::Command;
    let (cough, word) = (UtteranceIndex(0), UtteranceIndex(1));
    for request in [
        command(RecognizerCommand::BeginUtterance { utterance: cough, start_sample: 0 }),
        command(RecognizerCommand::DiscardUtterance { utterance: cough }),
        command(RecognizerCommand::BeginUtterance { utterance: word, start_sample: 800 }),
        command(RecognizerCommand::EndUtterance { utterance: word, end_sample: 1_600 }),
    ] {
        session.requests.send(request.clone()).await.unwrap();
        assert_eq!(far.requests.recv().await, Some(request));
    }
    let heard = |utterance| RecognizerEvent::Hypothesis {
        utterance,
        stage: Stage::Final,
        text: String::new(),
        confidence: None,
    };
    far.say(heard(cough)).await;
    far.say(RecognizerEvent::UtteranceEnded { utterance: cough }).await;
    far.say(heard(word)).await;
    assert_eq!(next(&mut session).await, heard(word));
}

#[tokio::test]
async fn reply_text_reaches_the_engine_and_speech_comes_back() {
    let mut lab = Lab::new().await;
    let mut session = Synthesizer::open(&lab.client(), start()).await.unwrap();
    let mut far = lab.syntheses.recv().await.unwrap();
    let reply = ReplyId(7);
    let sent = [
        SynthesizerCommand::Text { reply, text: "Привет. ".into() },
        SynthesizerCommand::Flush { reply },
        SynthesizerCommand::Playback { reply, played_sample: 2 },
        SynthesizerCommand::Cancel { reply: ReplyId(8), played_sample: 3 },
    ];
    for command in &sent {
        session.requests.send(command.clone()).await.unwrap();
    }
    for command in sent {
        assert_eq!(far.requests.recv().await, Some(command));
    }
    let said = [
        SynthesizerEvent::Audio { reply, start_sample: 0, pcm: vec![1, -1, i16::MAX] },
        SynthesizerEvent::Mark { reply, text_end: 7, sample: 3 },
        SynthesizerEvent::Audio { reply, start_sample: 3, pcm: vec![0; 160] },
        SynthesizerEvent::Done { reply },
        SynthesizerEvent::Cancelled { reply: ReplyId(8) },
    ];
    for event in &said {
        far.say(event.clone()).await;
    }
    for event in said {
        assert_eq!(next(&mut session).await, event);
    }
}

#[tokio::test]
async fn questions_reach_the_dialogue_and_answers_come_back() {
    let mut lab = Lab::new().await;
    let mut session = Dialog::open(&lab.client(), start()).await.unwrap();
    let mut far = lab.dialogs.recv().await.unwrap();
    assert_eq!(far.start.greeting.as_deref(), Some("Hello."));
    let reply = ReplyId(4);
    let sent = [
        DialogCommand::Notice { notice: DialogNotice::CallStarted, reply: ReplyId(0) },
        DialogCommand::Notice { notice: DialogNotice::NoInput { count: 2 }, reply: ReplyId(1) },
        DialogCommand::Notice { notice: DialogNotice::NothingRecognized { count: 1 }, reply: ReplyId(2) },
        DialogCommand::Dtmf { digit: '#', reply: ReplyId(3) },
        DialogCommand::UserTurn { utterance: UtteranceIndex(5), text: "sales".into(), reply },
    ];
    for command in &sent {
        session.requests.send(command.clone()).await.unwrap();
    }
    for command in sent {
        assert_eq!(far.requests.recv().await, Some(command));
    }
    let target = DialplanTarget { context: "sales".into(), extension: "200".into(), priority: 1 };
    let said = [
        DialogEvent::Text { reply, delta: "One ".into() },
        DialogEvent::Text { reply, delta: "moment.".into() },
        DialogEvent::Action { reply, action: DialogAction::Continue { target: Some(target) } },
        DialogEvent::Done { reply },
        DialogEvent::Action { reply: ReplyId(3), action: DialogAction::Continue { target: None } },
        DialogEvent::Action { reply: ReplyId(2), action: DialogAction::HangUp },
    ];
    for event in &said {
        far.say(event.clone()).await;
    }
    for event in said {
        assert_eq!(next(&mut session).await, event);
    }
}

#[tokio::test]
async fn text_that_was_on_its_way_does_not_follow_an_interrupt() {
    let mut lab = Lab::new().await;
    let mut session = Dialog::open(&lab.client(), start()).await.unwrap();
    let mut far = lab.dialogs.recv().await.unwrap();
    let turn = |reply| DialogCommand::UserTurn { utterance: UtteranceIndex(0), text: "why".into(), reply };
    let (first, second) = (ReplyId(1), ReplyId(2));
    let stop = DialogCommand::Interrupt { reply: first, heard_text: "Be".into(), played_sample: 90 };
    for command in [turn(first), stop, turn(second)] {
        session.requests.send(command.clone()).await.unwrap();
        assert_eq!(far.requests.recv().await, Some(command));
    }
    let text = |reply| DialogEvent::Text { reply, delta: "Because".into() };
    far.say(text(first)).await;
    far.say(DialogEvent::Done { reply: first }).await;
    far.say(text(second)).await;
    assert_eq!(next(&mut session).await, text(second));
}

#[tokio::test]
async fn a_polite_end_lets_the_engine_say_what_is_left() {
    let mut lab = Lab::new().await;
    let Session { requests, mut events } = Synthesizer::open(&lab.client(), start()).await.unwrap();
    let mut far = lab.syntheses.recv().await.unwrap();
    let reply = ReplyId(0);
    requests.send(SynthesizerCommand::Text { reply, text: "Bye".into() }).await.unwrap();
    requests.send(SynthesizerCommand::Flush { reply }).await.unwrap();
    drop(requests);
    while far.requests.recv().await.is_some() {}
    let audio = SynthesizerEvent::Audio { reply, start_sample: 0, pcm: vec![1] };
    far.say(audio.clone()).await;
    far.say(SynthesizerEvent::Done { reply }).await;
    drop(far);
    assert_eq!(events.recv().await, Some(Ok(audio)));
    assert_eq!(events.recv().await, Some(Ok(SynthesizerEvent::Done { reply })));
    assert_eq!(events.recv().await, None, "no error at the end");
}

#[tokio::test]
async fn dropping_a_session_aborts_it_at_the_engine() {
    let mut lab = Lab::new().await;
    let session = Synthesizer::open(&lab.client(), start()).await.unwrap();
    let far = lab.syntheses.recv().await.unwrap();
    drop(session);
    far.events.closed().await;
}

#[tokio::test]
async fn dropping_only_the_events_aborts_too() {
    let mut lab = Lab::new().await;
    let Session { requests, events } = Synthesizer::open(&lab.client(), start()).await.unwrap();
    let far = lab.syntheses.recv().await.unwrap();
    drop(events);
    far.events.closed().await;
    requests.closed().await;
}

#[tokio::test]
async fn an_engine_that_fails_or_stops_ends_the_session_with_an_error() {
    let mut lab = Lab::new().await;
    let client = lab.client();
    let mut session = Recognizer::open(&client, start()).await.unwrap();
    let far = lab.recognitions.recv().await.unwrap();
    far.events.send(Err(EngineError::Local("the model is gone".into()))).await.unwrap();
    let EngineError::Status { code: "UNAVAILABLE", message } = failure(&mut session).await else { panic!("a status") };
    assert_eq!(message, "the model is gone");

    let mut session = Recognizer::open(&client, start()).await.unwrap();
    drop(lab.recognitions.recv().await.unwrap());
    assert!(matches!(failure(&mut session).await, EngineError::Status { code: "UNAVAILABLE", .. }));
}

#[tokio::test]
async fn a_process_that_dies_ends_the_session_with_an_error() {
    let (synthesizer, mut syntheses) = ScriptedSynthesizer::new();
    let engines = ServedEngines { synthesizer: Some(synthesizer), ..ServedEngines::default() };
    // A runtime of its own: when it goes, its sockets go, as those of a process do.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = process.spawn(EngineServer::bind(any_port(), engines)).await.unwrap().unwrap();
    let address = server.local_addr().unwrap();
    process.spawn(server.run(std::future::pending()));

    let client = GrpcEngine::new(settings(address)).unwrap();
    let mut session = Synthesizer::open(&client, start()).await.unwrap();
    let _far = syntheses.recv().await.unwrap();
    process.shutdown_background();
    let EngineError::Status { message, .. } = failure(&mut session).await else { panic!("a status") };
    assert!(message.contains(&format!("the connection to http://{address} broke")), "{message}");
    // Its port may outlive its connections for a moment, and new ones are broken too until it is closed.
    while !matches!(Synthesizer::open(&client, start()).await.expect_err("dead"), EngineError::Connect { .. }) {}
}

#[tokio::test]
async fn the_token_opens_the_door_and_nothing_else_does() {
    let token = BearerToken::new("right").unwrap();
    let mut lab = Lab::guarded(Some(token.clone())).await;
    for wrong in [None, BearerToken::new("wrong"), BearerToken::new("righ")] {
        let client = GrpcEngine::new(GrpcSettings { token: wrong, ..settings(lab.address) }).unwrap();
        let error = Recognizer::open(&client, start()).await.expect_err("refused");
        assert!(matches!(error, EngineError::Status { code: "UNAUTHENTICATED", .. }), "{error:?}");
    }
    let client = GrpcEngine::new(GrpcSettings { token: Some(token), ..settings(lab.address) }).unwrap();
    let _session = Recognizer::open(&client, start()).await.unwrap();
    assert!(lab.recognitions.recv().await.is_some());
}

#[tokio::test]
async fn a_closed_port_is_told_with_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = GrpcEngine::new(settings(address)).unwrap();
    for _ in 0..2 {
        let error = Dialog::open(&client, start()).await.expect_err("nobody is there").to_string();
        assert!(error.starts_with(&format!("cannot connect to http://{address}: ")), "{error}");
        assert!(error.contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_does_not_say_started_is_overdue() {
    let lab = Lab::new().await;
    lab.recognizer.set(Mood::Silent);
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [lab.address, mute.local_addr().unwrap()] {
        let short = Duration::from_millis(50);
        let limits = GrpcSettings { connect_limit: short, started_limit: short, ..settings(address) };
        let limit = limits.connect_limit + limits.started_limit;
        let error = Recognizer::open(&GrpcEngine::new(limits).unwrap(), start()).await.expect_err("too slow");
        assert_eq!(error, EngineError::Overdue { step: "`started`", limit });
    }
}

#[tokio::test]
async fn a_refused_session_is_told_as_the_engine_said_it() {
    let lab = Lab::new().await;
    lab.recognizer.set(Mood::Refusing(EngineError::Local("no model for xx-XX".into())));
    let error = Recognizer::open(&lab.client(), start()).await.expect_err("refused");
    assert_eq!(error, EngineError::Status { code: "UNAVAILABLE", message: "no model for xx-XX".into() });
}

#[tokio::test]
async fn streams_that_nobody_reads_do_not_stall_their_neighbour() {
    let mut lab = Lab::new().await;
    let client = lab.client();
    let reply = ReplyId(0);
    let text = SynthesizerCommand::Text { reply, text: "La la la".into() };
    // Together far more than the window that a connection has unless it is told otherwise.
    let mut unread = Vec::new();
    for _ in 0..32 {
        let session = Synthesizer::open(&client, start()).await.unwrap();
        session.requests.send(text.clone()).await.unwrap();
        let mut far = lab.syntheses.recv().await.unwrap();
        assert!(far.requests.recv().await.is_some());
        let (flooded, is_flooded) = tokio::sync::oneshot::channel();
        let flood = tokio::spawn(async move {
            let mut flooded = Some(flooded);
            for chunk in 0.. {
                // So much is more than the queues hold, and so the stream's window is full.
                if chunk == 80 {
                    let _ = flooded.take().map(|flooded| flooded.send(()));
                }
                let audio = SynthesizerEvent::Audio { reply, start_sample: chunk * 1_600, pcm: vec![1; 1_600] };
                if far.events.send(Ok(audio)).await.is_err() {
                    return;
                }
            }
        });
        is_flooded.await.unwrap();
        unread.push((session, AbortOnDropHandle::new(flood)));
    }
    let mut session = Synthesizer::open(&client, start()).await.unwrap();
    session.requests.send(text).await.unwrap();
    let mut far = lab.syntheses.recv().await.unwrap();
    assert!(far.requests.recv().await.is_some());
    for chunk in 0..50 {
        let audio = SynthesizerEvent::Audio { reply, start_sample: chunk * 1_600, pcm: vec![1; 1_600] };
        far.say(audio.clone()).await;
        assert_eq!(next(&mut session).await, audio);
    }
}

#[tokio::test]
async fn a_service_without_an_engine_is_unimplemented() {
    let server = EngineServer::bind(any_port(), ServedEngines::default()).await.unwrap();
    let client = GrpcEngine::new(settings(server.local_addr().unwrap())).unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(server.run(std::future::pending())));
    let error = Dialog::open(&client, start()).await.expect_err("no engine");
    assert!(matches!(error, EngineError::Status { code: "UNIMPLEMENTED", .. }), "{error:?}");
}

#[test]
fn a_url_that_no_engine_can_have_is_refused_with_the_reason() {
    for (url, reason) in [
        ("127.0.0.1:50051", "neither http nor https"),
        ("ws://lab:1", "neither http nor https"),
        ("http://lab:1/speech", "only scheme, host and port"),
        ("http://", "is not the URL"),
    ] {
        let error = GrpcEngine::new(GrpcSettings::new("lab", url)).expect_err(url);
        assert!(matches!(error, GrpcSettingsError::Url { .. }) && error.to_string().contains(reason), "{error}");
    }
    let roots = TlsRoots::Pem(b"not a certificate".to_vec());
    let error = GrpcEngine::new(GrpcSettings { roots, ..GrpcSettings::new("lab", "https://lab:1") });
    assert!(error.expect_err("no certificate").to_string().contains("no certificate"));
}

#[test]
fn settings_do_not_show_the_token() {
    let token = BearerToken::new("s3cret");
    let client = GrpcEngine::new(GrpcSettings { token, ..GrpcSettings::new("lab", "http://lab:1") }).unwrap();
    assert!(!format!("{client:?}").contains("s3cret"));
}
