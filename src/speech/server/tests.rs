//! The server against clients that speak the contract themselves, rightly and wrongly.

use super::{Catalog, CatalogModel, CatalogVoice, EngineServer, ListenSettings, ServeError, ServedEngines};
use crate::call::{DialogCommand, DialogEvent, RecognizerEvent, ReplyId, Service};
use crate::speech::proto::catalog_service_client::CatalogServiceClient;
use crate::speech::proto::conversation_service_client::ConversationServiceClient;
use crate::speech::proto::dialog_service_client::DialogServiceClient;
use crate::speech::proto::recognition_service_client::RecognitionServiceClient;
use crate::speech::proto::{
    self, AudioChunk, AudioFormat, CallContext, ClientEndpointing, CustomEvent, DialogStart, DiscardUtterance,
    EndUtterance, ExchangeRequest, ExchangeResponse, FinishReason, GetCatalogRequest, RecognitionStart,
    RecognizeRequest, RecognizeResponse, ServerEndpointing, SpeechService, UserTurn, UtteranceEndReason, dialog_event,
    exchange_request, exchange_response, recognition_start, recognize_request, recognize_response,
};
use crate::speech::scripted::{ScriptedDialog, ScriptedRecognizer, Sessions};
use crate::speech::{BearerToken, RecognizerRequest};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

struct Lab {
    channel: Channel,
    recognitions: Sessions<RecognizerRequest, RecognizerEvent>,
    dialogs: Sessions<DialogCommand, DialogEvent>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

fn listen(address: [u8; 4]) -> ListenSettings {
    ListenSettings { address: SocketAddr::from((address, 0)), token: None, drain_limit: Duration::from_millis(20) }
}

impl Lab {
    async fn new() -> Self {
        Self::with(listen([127, 0, 0, 1])).await
    }

    async fn with(settings: ListenSettings) -> Self {
        let (recognizer, recognitions) = ScriptedRecognizer::new();
        let (dialog, dialogs) = ScriptedDialog::new();
        let catalog = Catalog {
            models: vec![
                CatalogModel { service: Service::Recognition, id: "ears".into(), languages: vec!["en-US".into()] },
                CatalogModel { service: Service::Dialog, id: "wits".into(), languages: Vec::new() },
            ],
            voices: vec![CatalogVoice { id: "joe".into(), languages: vec!["en-US".into()], native_rate_hz: 22_050 }],
            max_sessions: 4,
        };
        let engines = ServedEngines { recognizer: Some(recognizer), synthesizer: None, dialog: Some(dialog), catalog };
        let server = EngineServer::bind(settings, engines).await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", server.local_addr().unwrap())).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        Self { channel: endpoint.connect().await.unwrap(), recognitions, dialogs, stop, server }
    }

    /// A stream on which these messages have been sent, and its sender.
    async fn recognize(
        &self,
        messages: Vec<recognize_request::Payload>,
    ) -> (mpsc::Sender<RecognizeRequest>, Streaming<RecognizeResponse>) {
        let (requests, stream) = mpsc::channel(16);
        for payload in messages {
            requests.send(RecognizeRequest { payload: Some(payload) }).await.unwrap();
        }
        let mut client = RecognitionServiceClient::new(self.channel.clone());
        let responses = client.recognize(ReceiverStream::new(stream)).await.unwrap().into_inner();
        (requests, responses)
    }

    async fn exchange(
        &self,
        messages: Vec<exchange_request::Payload>,
    ) -> (mpsc::Sender<ExchangeRequest>, Streaming<ExchangeResponse>) {
        let (requests, stream) = mpsc::channel(16);
        for payload in messages {
            requests.send(ExchangeRequest { payload: Some(payload) }).await.unwrap();
        }
        let mut client = DialogServiceClient::new(self.channel.clone());
        let responses = client.exchange(ReceiverStream::new(stream)).await.unwrap().into_inner();
        (requests, responses)
    }
}

fn call() -> Option<CallContext> {
    Some(CallContext { call_id: "call-1".into(), ..CallContext::default() })
}

fn recognition_start() -> RecognitionStart {
    RecognitionStart {
        call: call(),
        format: Some(proto::audio_format(crate::audio::PcmFormat::MANDATORY)),
        language_codes: vec!["en-US".into()],
        endpointing: Some(recognition_start::Endpointing::Client(ClientEndpointing {})),
        ..RecognitionStart::default()
    }
}

fn dialog_start() -> exchange_request::Payload {
    exchange_request::Payload::Start(DialogStart { call: call(), ..DialogStart::default() })
}

async fn heard(responses: &mut Streaming<RecognizeResponse>) -> recognize_response::Payload {
    responses.message().await.unwrap().expect("a message").payload.expect("a payload")
}

async fn answered(responses: &mut Streaming<ExchangeResponse>) -> exchange_response::Payload {
    responses.message().await.unwrap().expect("a message").payload.expect("a payload")
}

#[tokio::test]
async fn started_comes_first_and_names_format_and_server() {
    let lab = Lab::new().await;
    let (_requests, mut responses) = lab.recognize(vec![recognize_request::Payload::Start(recognition_start())]).await;
    let recognize_response::Payload::Started(started) = heard(&mut responses).await else { panic!("`started`") };
    assert_eq!(started.accepted_format, recognition_start().format);
    assert_eq!(started.backend.unwrap().name, "arioso");
}

#[tokio::test]
async fn response_headers_do_not_wait_for_the_first_request() {
    let lab = Lab::new().await;
    let (requests, mut responses) = lab.recognize(Vec::new()).await;
    let payload = Some(recognize_request::Payload::Start(recognition_start()));
    requests.send(RecognizeRequest { payload }).await.unwrap();
    assert!(matches!(heard(&mut responses).await, recognize_response::Payload::Started(_)));
}

#[tokio::test]
async fn what_breaks_the_contract_is_an_invalid_argument_that_says_what() {
    use recognize_request::Payload::{Audio, EndUtterance as End, Start};
    let lab = Lab::new().await;
    let mulaw = AudioFormat { encoding: proto::AudioEncoding::Mulaw.into(), sample_rate_hz: 16_000, channel_count: 1 };
    let server = recognition_start::Endpointing::Server(ServerEndpointing::default());
    let odd = AudioChunk { start_sample: 0, data: vec![0; 3].into() };
    let start = recognition_start;
    for (messages, complaint) in [
        (vec![Audio(odd.clone())], "the first message is not `start`"),
        (vec![Start(RecognitionStart { call: None, ..start() })], "`start.call.call_id` is missing"),
        (vec![Start(RecognitionStart { format: None, ..start() })], "`start.format` is missing"),
        (vec![Start(RecognitionStart { format: Some(mulaw), ..start() })], "the format MULAW/16000 is not served"),
        (vec![Start(RecognitionStart { endpointing: Some(server), ..start() })], "only `client` endpointing"),
        (vec![Start(start()), Start(start())], "a second `start`"),
        (vec![Start(start()), Audio(odd)], "odd number of bytes"),
        (vec![Start(start()), End(EndUtterance { utterance_index: 3, end_sample: 0 })], "utterance 3, which is not"),
    ] {
        let (_requests, mut responses) = lab.recognize(messages).await;
        let status = loop {
            match responses.message().await {
                Ok(message) => assert!(message.is_some(), "{complaint}: the stream ended without a status"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{complaint}");
        assert!(status.message().contains(complaint), "{:?} has {complaint:?}", status.message());
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_finish_aborts_the_engine() {
    let mut lab = Lab::new().await;
    let (requests, _responses) = lab.recognize(vec![recognize_request::Payload::Start(recognition_start())]).await;
    let far = lab.recognitions.recv().await.unwrap();
    drop(requests);
    far.events.closed().await;
}

#[tokio::test]
async fn finish_is_polite_and_the_stream_ends_well() {
    use recognize_request::Payload::{Finish, Start};
    let mut lab = Lab::new().await;
    let messages = vec![Start(recognition_start()), Finish(proto::Finish {})];
    let (_requests, mut responses) = lab.recognize(messages).await;
    let mut far = lab.recognitions.recv().await.unwrap();
    assert!(far.requests.recv().await.is_none());
    assert!(!far.events.is_closed(), "the engine may still say what is left");
    drop(far);
    assert!(matches!(heard(&mut responses).await, recognize_response::Payload::Started(_)));
    assert!(responses.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_discarded_utterance_is_ended_as_discarded_once() {
    use recognize_request::Payload::{BeginUtterance, DiscardUtterance as Discard, Start};
    let lab = Lab::new().await;
    let begin = proto::BeginUtterance { utterance_index: 0, start_sample: 0 };
    let discard = Discard(DiscardUtterance { utterance_index: 0 });
    let messages = vec![Start(recognition_start()), BeginUtterance(begin), discard.clone(), discard];
    let (requests, mut responses) = lab.recognize(messages).await;
    requests.send(RecognizeRequest { payload: Some(Start(recognition_start())) }).await.unwrap();
    assert!(matches!(heard(&mut responses).await, recognize_response::Payload::Started(_)));
    let recognize_response::Payload::UtteranceEnded(ended) = heard(&mut responses).await else { panic!("an end") };
    assert_eq!((ended.utterance_index, ended.reason()), (0, UtteranceEndReason::Discarded));
    assert!(responses.message().await.is_err(), "then only the complaint about the second start");
}

#[tokio::test]
async fn an_interrupted_answer_and_an_unknown_event_are_closed_by_the_server() {
    use exchange_request::Payload::{Event, Interrupt, UserTurn as Turn};
    let mut lab = Lab::new().await;
    let turn = UserTurn { reply_id: 1, text: "why".into(), ..UserTurn::default() };
    let interrupt = proto::Interrupt { reply_id: 1, ..proto::Interrupt::default() };
    let custom = Some(dialog_event::Event::Custom(CustomEvent { name: "rain".into(), ..CustomEvent::default() }));
    let custom = proto::DialogEvent { reply_id: 2, event: custom };
    let (_requests, mut responses) =
        lab.exchange(vec![dialog_start(), Turn(turn), Interrupt(interrupt), Event(custom)]).await;
    assert!(matches!(answered(&mut responses).await, exchange_response::Payload::Started(_)));
    for expected in [(1, FinishReason::Interrupted), (2, FinishReason::Complete)] {
        let exchange_response::Payload::ResponseDone(done) = answered(&mut responses).await else { panic!("an end") };
        assert_eq!((done.reply_id, done.finish_reason()), expected);
    }
    let mut far = lab.dialogs.recv().await.unwrap();
    assert!(matches!(far.requests.recv().await, Some(DialogCommand::UserTurn { reply: ReplyId(1), .. })));
    assert!(matches!(far.requests.recv().await, Some(DialogCommand::Interrupt { reply: ReplyId(1), .. })));
}

#[tokio::test]
async fn the_catalogue_tells_what_serves_a_language() {
    let lab = Lab::new().await;
    let mut client = CatalogServiceClient::new(lab.channel);
    let mut ask = async |language_code: &str| {
        client.get_catalog(GetCatalogRequest { language_code: language_code.into() }).await.unwrap().into_inner()
    };
    let all = ask("").await;
    let kinds: Vec<_> = all.services.iter().map(proto::ServiceOffer::service).collect();
    assert_eq!(kinds, [SpeechService::Recognition, SpeechService::Dialog]);
    assert_eq!(all.services[0].models[0].id, "ears");
    assert_eq!(all.services[0].capacity.unwrap().max_sessions, 4);
    assert_eq!(all.voices[0].native_sample_rate_hz, 22_050);
    let russian = ask("ru-RU").await;
    assert!(russian.services[0].models.is_empty() && russian.voices.is_empty());
    assert_eq!(russian.services[1].models[0].id, "wits", "it serves any language");
}

#[tokio::test]
async fn speech_to_speech_is_unimplemented_and_says_what_to_use() {
    let lab = Lab::new().await;
    let mut client = ConversationServiceClient::new(lab.channel);
    let status = client.converse(tokio_stream::empty()).await.expect_err("unimplemented");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("use RecognitionService"), "{}", status.message());
}

#[tokio::test]
async fn health_needs_no_token_and_tells_which_services_there_are() {
    let token = BearerToken::new("right");
    let lab = Lab::with(ListenSettings { token, ..listen([127, 0, 0, 1]) }).await;
    let mut health = HealthClient::new(lab.channel.clone());
    let mut ask = async |service: &str| {
        let request = HealthCheckRequest { service: format!("arioso.speech.v1alpha1.{service}") };
        health.check(request).await.map(|response| response.into_inner().status())
    };
    assert_eq!(ask("RecognitionService").await.unwrap(), ServingStatus::Serving);
    assert_eq!(ask("SynthesisService").await.expect_err("there is none").code(), Code::NotFound);
    let refused = CatalogServiceClient::new(lab.channel).get_catalog(GetCatalogRequest::default()).await;
    assert_eq!(refused.expect_err("no token").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_token() {
    let Err(error) = EngineServer::bind(listen([0, 0, 0, 0]), ServedEngines::default()).await else {
        panic!("refused")
    };
    let text = "0.0.0.0:0 can be reached from the network: name a file with a token with `--token-file FILE`, or listen on 127.0.0.1";
    assert_eq!(error.to_string(), text);
    let token = BearerToken::new("right");
    let guarded = ListenSettings { token, ..listen([0, 0, 0, 0]) };
    assert!(EngineServer::bind(guarded, ServedEngines::default()).await.is_ok());
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_address() {
    let first = EngineServer::bind(listen([127, 0, 0, 1]), ServedEngines::default()).await.unwrap();
    let address = first.local_addr().unwrap();
    let Err(error) = EngineServer::bind(ListenSettings { address, ..listen([0; 4]) }, ServedEngines::default()).await
    else {
        panic!("in use")
    };
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
}

#[tokio::test]
async fn a_server_that_stops_ends_its_sessions_as_unavailable() {
    let mut lab = Lab::new().await;
    let (_requests, mut responses) = lab.exchange(vec![dialog_start()]).await;
    let far = lab.dialogs.recv().await.unwrap();
    assert!(matches!(answered(&mut responses).await, exchange_response::Payload::Started(_)));
    lab.stop.send(()).unwrap();
    let status = responses.message().await.expect_err("ended");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the engine is shutting down"));
    far.events.closed().await;
    drop((lab.channel, responses));
    lab.server.await.unwrap().unwrap();
}
