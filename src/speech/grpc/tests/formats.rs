//! Rates and codings: each engine gets what it asked for, and every sample is where it was.

use super::{Lab, any_port, next, settings};
use crate::audio::g711::Law;
use crate::audio::{FrameResampler, PcmFormat, SampleRate};
use crate::call::{Input, RecognizerCommand, ReplyId, Service, SynthesizerCommand, SynthesizerEvent, UtteranceIndex};
use crate::speech::failover::{CallEngines, Candidate, EngineSet};
use crate::speech::grpc::{GrpcEngine, GrpcSettings};
use crate::speech::proto::catalog_service_server::{CatalogService, CatalogServiceServer};
use crate::speech::proto::recognition_service_server::{RecognitionService, RecognitionServiceServer};
use crate::speech::proto::{
    GetCatalogRequest, GetCatalogResponse, RecognizeRequest, RecognizeResponse, ServiceOffer, SpeechService, Started,
    audio_format, recognize_request, recognize_response,
};
use crate::speech::scripted::{Far, ScriptedDialog, ScriptedRecognizer, ScriptedSynthesizer, start};
use crate::speech::server::{EngineServer, ServedEngines};
use crate::speech::tcp::Tcp;
use crate::speech::{Dialog, Recognizer, RecognizerRequest, SessionStart, Synthesizer, queue};
use std::f64::consts::PI;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status, Streaming};

const RATES: [SampleRate; 4] = [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000];
const LAWS: [PcmFormat; 2] = [PcmFormat::G711(Law::Mu), PcmFormat::G711(Law::A)];

/// A tone that says where each sample is: the same sound at every rate.
fn tone(rate: SampleRate, from: i64, samples: usize) -> Vec<i16> {
    let at = |index| ((from + index as i64) as f64 * 2.0 * PI * 440.0 / f64::from(rate.hz())).sin() * 10_000.0;
    (0..samples).map(|index| at(index) as i16).collect()
}

/// The tone, but for half a sample, which cutting whole samples can leave, and what a law takes.
fn assert_is_tone(rate: SampleRate, from: i64, pcm: &[i16], what: &str) {
    let tolerance = (10_000.0 * 2.0 * PI * 440.0 * 0.51 / f64::from(rate.hz())) as i16 + 500;
    for (index, (got, ideal)) in pcm.iter().zip(tone(rate, from, pcm.len())).enumerate() {
        assert!((got - ideal).abs() < tolerance, "{what}: {got} for {ideal} at {}", from + index as i64);
    }
}

fn every_pair() -> impl Iterator<Item = (SampleRate, PcmFormat)> {
    let formats = RATES.map(PcmFormat::Linear16).into_iter().chain(LAWS);
    formats.flat_map(|format| RATES.map(|call| (call, format)))
}

fn client(address: SocketAddr, audio: Option<PcmFormat>) -> GrpcEngine {
    GrpcEngine::new(GrpcSettings { audio, ..settings(address) }).unwrap()
}

#[tokio::test]
async fn a_recogniser_gets_its_rate_and_every_sample_at_its_position() {
    let mut lab = Lab::new().await;
    for (call, format) in every_pair() {
        let what = format!("call at {} for {format}", call.hz());
        let client = client(lab.address, Some(format));
        let session = Recognizer::open(&client, SessionStart { rate: call, ..start() });
        let session = session.await.unwrap();
        let mut far = lab.recognitions.recv().await.unwrap();
        assert_eq!(far.start.rate, format.rate(), "{what}");
        let frame = call.frame_samples() as i64;
        let utterance = UtteranceIndex(0);
        let begin = RecognizerCommand::BeginUtterance { utterance, start_sample: 10 * frame };
        let end = RecognizerCommand::EndUtterance { utterance, end_sample: 50 * frame };
        for index in 0..50 {
            let pcm = tone(call, index * frame, frame as usize).into();
            session.requests.send(RecognizerRequest::Audio { start_sample: index * frame, pcm }).await.unwrap();
            if index == 20 {
                session.requests.send(RecognizerRequest::Command(begin.clone())).await.unwrap();
            }
        }
        session.requests.send(RecognizerRequest::Command(end)).await.unwrap();
        let there = format.rate().frame_samples() as i64;
        let (mut due, mut begun) = (0, None);
        let ended = loop {
            match far.requests.recv().await.unwrap() {
                RecognizerRequest::Audio { start_sample, pcm } => {
                    assert_eq!(start_sample, due, "{what}: nothing lost, nothing twice");
                    due += pcm.len() as i64;
                    if start_sample > 2 * there {
                        assert_is_tone(format.rate(), start_sample, &pcm, &what);
                    }
                }
                RecognizerRequest::Command(RecognizerCommand::BeginUtterance { start_sample, .. }) => {
                    begun = Some(start_sample);
                }
                RecognizerRequest::Command(RecognizerCommand::EndUtterance { end_sample, .. }) => break end_sample,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((begun, ended), (Some(10 * there), due), "{what}");
        // What is on its way through the filter, where there is one.
        let held = FrameResampler::new(call, format.rate()).unwrap().trail_samples() as i64;
        assert!(held <= 2 * i64::from(format.rate().hz()) / 1_000, "2 ms at most");
        assert_eq!(due, 50 * there - held, "{what}");
    }
}

#[tokio::test]
async fn speech_of_every_rate_comes_at_the_rate_of_the_call_with_its_marks() {
    let mut lab = Lab::new().await;
    for (call, format) in every_pair() {
        let what = format!("{format} for a call at {}", call.hz());
        let client = client(lab.address, Some(format));
        let session = Synthesizer::open(&client, SessionStart { rate: call, ..start() });
        let mut session = session.await.unwrap();
        let mut far = lab.syntheses.recv().await.unwrap();
        assert_eq!(far.start.rate, format.rate(), "{what}");
        for id in 0..2 {
            let reply = ReplyId(id);
            let half = i64::from(call.hz() / 2);
            for command in [
                SynthesizerCommand::Text { reply, text: "La.".into() },
                SynthesizerCommand::Playback { reply, played_sample: half },
                SynthesizerCommand::Flush { reply },
            ] {
                session.requests.send(command).await.unwrap();
            }
            assert!(matches!(far.requests.recv().await, Some(SynthesizerCommand::Text { .. })));
            let half_there = i64::from(format.rate().hz() / 2);
            let played = SynthesizerCommand::Playback { reply, played_sample: half_there };
            assert_eq!(far.requests.recv().await, Some(played), "{what}");
            assert_eq!(far.requests.recv().await, Some(SynthesizerCommand::Flush { reply }));
            // A second and a bit, in pieces of any length.
            let total = format.rate().hz() as usize + 37;
            let speech = tone(format.rate(), 0, total);
            let mut sent = 0;
            for (index, piece) in speech.chunks(1_111).enumerate() {
                far.say(SynthesizerEvent::Audio { reply, start_sample: sent as i64, pcm: piece.to_vec() }).await;
                sent += piece.len();
                if index == 3 {
                    far.say(SynthesizerEvent::Mark { reply, text_end: 2, sample: half_there }).await;
                }
            }
            far.say(SynthesizerEvent::Done { reply }).await;
            let mut due = 0;
            loop {
                match next(&mut session).await {
                    SynthesizerEvent::Audio { start_sample, pcm, .. } => {
                        assert_eq!(start_sample, due, "{what}: nothing lost, nothing twice");
                        due += pcm.len() as i64;
                        let inside = due < i64::from(call.hz());
                        if start_sample > i64::from(call.hz() / 20) && inside {
                            assert_is_tone(call, start_sample, &pcm, &what);
                        }
                    }
                    SynthesizerEvent::Mark { sample, .. } => assert_eq!(sample, half, "{what}"),
                    SynthesizerEvent::Done { .. } => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(due, format.rate().position_at(call, total as i64), "{what}: all of it");
        }
    }
}

#[tokio::test]
async fn a_cancelled_reply_leaves_nothing_in_the_next_one() {
    let mut lab = Lab::new().await;
    let call = SessionStart { rate: SampleRate::HZ_8000, ..start() };
    let format = PcmFormat::Linear16(SampleRate::HZ_24000);
    let mut session = Synthesizer::open(&client(lab.address, Some(format)), call).await.unwrap();
    let far = lab.syntheses.recv().await.unwrap();
    let speech = |reply, value| SynthesizerEvent::Audio { reply, start_sample: 0, pcm: vec![value; 2_400] };
    for command in [
        SynthesizerCommand::Text { reply: ReplyId(1), text: "loud".into() },
        SynthesizerCommand::Cancel { reply: ReplyId(1), played_sample: 0 },
        SynthesizerCommand::Text { reply: ReplyId(2), text: "quiet".into() },
        SynthesizerCommand::Flush { reply: ReplyId(2) },
    ] {
        session.requests.send(command).await.unwrap();
    }
    far.say(speech(ReplyId(1), 20_000)).await;
    far.say(SynthesizerEvent::Cancelled { reply: ReplyId(1) }).await;
    far.say(speech(ReplyId(2), 0)).await;
    far.say(SynthesizerEvent::Done { reply: ReplyId(2) }).await;
    let mut quiet = Vec::new();
    loop {
        match next(&mut session).await {
            SynthesizerEvent::Audio { reply: ReplyId(2), pcm, .. } => quiet.extend(pcm),
            SynthesizerEvent::Done { .. } => break,
            _ => {}
        }
    }
    assert_eq!(quiet, [0; 800]);
}

/// An engine as the wire sees it.
#[derive(Clone)]
struct Wire {
    messages: mpsc::UnboundedSender<RecognizeRequest>,
    /// `None`: there is no catalogue.
    formats: Option<Vec<PcmFormat>>,
    asked: Arc<AtomicU32>,
}

impl Wire {
    async fn serve(formats: Option<Vec<PcmFormat>>) -> (Self, SocketAddr, Messages, AbortOnDropHandle<()>) {
        let (messages, received) = mpsc::unbounded_channel();
        let wire = Self { messages, formats, asked: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = TcpListenerStream::new(listener).map(|stream| stream.and_then(Tcp::new));
        let server = tonic::transport::Server::builder().add_service(RecognitionServiceServer::new(wire.clone()));
        let server = server.add_service(CatalogServiceServer::new(wire.clone()));
        let server = tokio::spawn(async move { server.serve_with_incoming(incoming).await.unwrap() });
        (wire, address, received, AbortOnDropHandle::new(server))
    }
}

type Messages = mpsc::UnboundedReceiver<RecognizeRequest>;

#[tonic::async_trait]
impl RecognitionService for Wire {
    type RecognizeStream = Pin<Box<dyn Stream<Item = Result<RecognizeResponse, Status>> + Send>>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let messages = self.messages.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = requests.message().await {
                let _ = messages.send(message);
            }
        });
        let payload = Some(recognize_response::Payload::Started(Started::default()));
        let started = tokio_stream::once(Ok(RecognizeResponse { payload }));
        Ok(Response::new(Box::pin(started.chain(tokio_stream::pending()))))
    }
}

#[tonic::async_trait]
impl CatalogService for Wire {
    async fn get_catalog(&self, _: Request<GetCatalogRequest>) -> Result<Response<GetCatalogResponse>, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let formats = self.formats.as_ref().ok_or_else(|| Status::unimplemented("none"))?;
        let formats = formats.iter().copied().map(audio_format).collect();
        let offer = ServiceOffer { service: SpeechService::Recognition.into(), formats, ..ServiceOffer::default() };
        Ok(Response::new(GetCatalogResponse { services: vec![offer], ..GetCatalogResponse::default() }))
    }
}

#[tokio::test]
async fn codes_reach_an_engine_that_wants_them_as_they_were_on_the_callers_wire() {
    for law in [Law::Mu, Law::A] {
        let (_, address, mut messages, _server) = Wire::serve(Some(vec![PcmFormat::G711(law)])).await;
        let call = SessionStart { law: Some(law), ..start() };
        let session = Recognizer::open(&client(address, None), call).await.unwrap();
        // All but the negative zero of the µ-law, for which the encoder writes the positive one.
        let wire: Vec<u8> = (0..=255).filter(|code| law == Law::A || *code != 0x7F).collect();
        let mut pcm = vec![0; wire.len()];
        law.decode(&wire, &mut pcm);
        session.requests.send(RecognizerRequest::Audio { start_sample: 160, pcm: pcm.into() }).await.unwrap();
        let Some(recognize_request::Payload::Start(start)) = messages.recv().await.unwrap().payload else { panic!() };
        assert_eq!(start.format, Some(audio_format(PcmFormat::G711(law))));
        let Some(recognize_request::Payload::Audio(audio)) = messages.recv().await.unwrap().payload else { panic!() };
        assert_eq!((audio.start_sample, audio.data.as_ref()), (160, &wire[..]));
    }
}

#[tokio::test]
async fn the_catalogue_is_asked_once_a_connection_and_decides() {
    let wideband = SessionStart { rate: SampleRate::HZ_16000, ..start() };
    let formats = RATES.map(PcmFormat::Linear16).to_vec();
    for (formats, expected) in [(Some(formats), SampleRate::HZ_16000), (None, SampleRate::HZ_8000)] {
        let (wire, address, mut messages, _server) = Wire::serve(formats).await;
        let client = client(address, None);
        let sessions = [(); 5].map(|()| Recognizer::open(&client, wideband.clone()));
        for session in futures_util::future::join_all(sessions).await {
            drop(session.unwrap());
            let Some(recognize_request::Payload::Start(start)) = messages.recv().await.unwrap().payload else {
                panic!()
            };
            assert_eq!(start.format, Some(audio_format(PcmFormat::Linear16(expected))));
        }
        assert_eq!(wire.asked.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn the_reference_engine_takes_what_the_callers_leg_has() {
    let mut lab = Lab::new().await;
    let client = client(lab.address, None);
    for (rate, law) in
        RATES.map(|rate| (rate, None)).into_iter().chain([Law::Mu, Law::A].map(|law| (RATES[0], Some(law))))
    {
        let call = SessionStart { rate, law, ..start() };
        let _session = Recognizer::open(&client, call.clone()).await.unwrap();
        let far = lab.recognitions.recv().await.unwrap();
        assert_eq!((far.start.rate, far.start.law), (rate, law));
        let _session = Synthesizer::open(&client, call).await.unwrap();
        let far = lab.syntheses.recv().await.unwrap();
        assert_eq!((far.start.rate, far.start.law), (rate, law));
    }
}

/// A server that ends with its handle, and the sessions of its recogniser.
async fn recognizer() -> (
    SocketAddr,
    crate::speech::scripted::Sessions<RecognizerRequest, crate::call::RecognizerEvent>,
    AbortOnDropHandle<()>,
) {
    let (recognizer, sessions) = ScriptedRecognizer::new();
    let engines = ServedEngines { recognizer: Some(recognizer), ..ServedEngines::default() };
    let server = EngineServer::bind(any_port(), engines).await.unwrap();
    let address = server.local_addr().unwrap();
    let server = tokio::spawn(async move { server.run(std::future::pending()).await.unwrap() });
    (address, sessions, AbortOnDropHandle::new(server))
}

#[tokio::test]
async fn an_utterance_goes_on_at_an_engine_of_another_rate_without_a_sample_lost_or_twice() {
    let (first, mut first_sessions, _one) = recognizer().await;
    let (second, mut second_sessions, _two) = recognizer().await;
    let call = SampleRate::HZ_8000;
    let frame = call.frame_samples() as i64;
    let candidate = |name, address, rate| {
        let engine = client(address, Some(PcmFormat::Linear16(rate)));
        Candidate::new(name, Arc::new(engine) as Arc<dyn Recognizer>)
    };
    let set = EngineSet {
        recognizers: vec![
            candidate("first", first, SampleRate::HZ_16000),
            candidate("second", second, SampleRate::HZ_24000),
        ],
        synthesizers: vec![Candidate::new("none", ScriptedSynthesizer::new().0 as Arc<dyn Synthesizer>)],
        dialogs: vec![Candidate::new("none", ScriptedDialog::new().0 as Arc<dyn Dialog>)],
    };
    let (inputs, mut events) = queue::bounded(64);
    let engines = CallEngines::open(&set, start(), std::time::Duration::from_millis(800), inputs);
    let audio = engines.audio_sender();
    let say = |frames: std::ops::Range<i64>| {
        for index in frames {
            audio.audio(index * frame, &tone(call, index * frame, frame as usize));
        }
    };
    let utterance = UtteranceIndex(3);
    let mut far = first_sessions.recv().await.unwrap();
    say(0..40);
    // Not at the beginning of a frame, as the pre-roll may have it.
    let begin = 30 * frame - 70;
    engines.recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample: begin }).await;
    while !matches!(far.requests.recv().await, Some(RecognizerRequest::Command(_))) {}
    drop(far);
    let switched = |input| matches!(input, Some(Input::EngineSwitched { service: Service::Recognition, .. }));
    while !switched(events.recv().await) {}
    say(40..60);
    engines.recognizer(RecognizerCommand::EndUtterance { utterance, end_sample: 60 * frame }).await;

    let mut far: Far<_, _> = second_sessions.recv().await.unwrap();
    let (mut due, mut begun) = (None, None);
    let ended = loop {
        match far.requests.recv().await.unwrap() {
            RecognizerRequest::Audio { start_sample, pcm } => {
                assert_eq!(start_sample, due.unwrap_or(29 * 3 * frame), "from the frame of the beginning on");
                due = Some(start_sample + pcm.len() as i64);
                if start_sample > 32 * 3 * frame {
                    assert_is_tone(SampleRate::HZ_24000, start_sample, &pcm, "the second engine");
                }
            }
            RecognizerRequest::Command(RecognizerCommand::BeginUtterance { start_sample, .. }) => {
                begun = Some(start_sample);
            }
            RecognizerRequest::Command(RecognizerCommand::EndUtterance { end_sample, .. }) => break end_sample,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((begun, Some(ended)), (Some(3 * begin), due));
    let held = FrameResampler::new(call, SampleRate::HZ_24000).unwrap().trail_samples() as i64;
    assert_eq!(60 * 3 * frame - ended, held);
}
