//! An engine for load tests, at the least cost a message: one task a session and nothing between it and the wire, where
//! the reference engines have traits, queues and rules. What it is told and what it answers is a [`LoadScript`]'s.

use super::proto::catalog_service_server::CatalogServiceServer;
use super::proto::dialog_service_server::{DialogService, DialogServiceServer};
use super::proto::recognition_service_server::{RecognitionService, RecognitionServiceServer};
use super::proto::synthesis_service_server::{SynthesisService, SynthesisServiceServer};
use super::proto::{
    self, Alternative, AudioEncoding, AudioFormat, CONNECTION_WINDOW_BYTES, CallContext, ExchangeRequest,
    ExchangeResponse, FinishReason, Hypothesis, HypothesisStage, MAX_STREAMS, RecognizeRequest, RecognizeResponse,
    ResponseDone, STREAM_WINDOW_BYTES, Started, SynthesisAudio, SynthesisCancelled, SynthesisReplyDone,
    SynthesizeRequest, SynthesizeResponse, TextDelta, UtteranceEndReason, UtteranceEnded, exchange_request,
    exchange_response, recognize_request, recognize_response, synthesis_text, synthesize_request, synthesize_response,
};
use super::server::{Catalog, CatalogService};
use super::tcp::Tcp;
use crate::audio::PcmFormat;
use crate::call::Service;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Responses that wait for the connection; a session that has more waits.
const RESPONSES: usize = 32;
/// Longest piece of reply audio, in milliseconds.
const CHUNK_MS: usize = 100;

/// How the bytes of caller audio are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFormat {
    /// 16 bits a sample, little-endian.
    Linear16,
    /// G.711 µ-law.
    MuLaw,
    /// G.711 A-law.
    ALaw,
}

/// What the engine does.
pub trait LoadScript: Send + Sync + 'static {
    /// A recogniser's session begins.
    fn listen(self: Arc<Self>, format: LoadFormat, rate_hz: u32) -> Box<dyn LoadListener>;
    /// What was understood of an utterance; empty for nothing.
    fn hypothesis(&self) -> &str;
    /// What the dialogue answers to words of the caller; empty for nothing.
    fn answer(&self) -> &str;
    /// How long an engine thinks before it speaks.
    fn hesitation(&self) -> Duration;
    /// What a clause of the reply with this id sounds like, made at the moment at which it is sent.
    fn speak(&self, reply: u32, rate_hz: u32) -> Vec<i16>;
}

/// Takes the audio of one call.
pub trait LoadListener: Send {
    /// A message with audio has just arrived.
    fn audio(&mut self, start_sample: i64, data: &[u8]);
}

/// Serves the script to whoever connects, until `shutdown`.
///
/// # Errors
/// When the transport fails.
pub async fn serve(
    listener: TcpListener,
    script: Arc<impl LoadScript>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let engine = Engine(script);
    let catalog = CatalogService { catalog: Catalog::default(), kinds: Service::ALL.to_vec() };
    let incoming = TcpListenerStream::new(listener).map(|stream| stream.and_then(Tcp::new));
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .add_service(RecognitionServiceServer::new(engine.clone()))
        .add_service(SynthesisServiceServer::new(engine.clone()))
        .add_service(DialogServiceServer::new(engine))
        .add_service(CatalogServiceServer::new(catalog))
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await
}

/// The port that [`serve`] is given.
///
/// # Errors
/// What the operating system says.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

struct Engine<S>(Arc<S>);

impl<S> Clone for Engine<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Responses<T> = ReceiverStream<Result<T, Status>>;
type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// The call is over, or its connection.
struct Gone;

async fn send<T>(responses: &Sender<T>, response: T) -> Result<(), Gone> {
    responses.send(Ok(response)).await.map_err(|_| Gone)
}

/// The next message; a session ends alike with `finish` (told by the caller of this), a half-close and a reset.
async fn next<T>(requests: &mut Streaming<T>) -> Result<T, Gone> {
    match requests.message().await {
        Ok(Some(message)) => Ok(message),
        Ok(None) | Err(_) => Err(Gone),
    }
}

fn format_of(format: Option<&AudioFormat>) -> (LoadFormat, u32) {
    let rate = format.map_or(8000, |format| format.sample_rate_hz);
    match format.map(AudioFormat::encoding) {
        Some(AudioEncoding::Mulaw) => (LoadFormat::MuLaw, rate),
        Some(AudioEncoding::Alaw) => (LoadFormat::ALaw, rate),
        _ => (LoadFormat::Linear16, rate),
    }
}

fn started(call: Option<&CallContext>, format: Option<AudioFormat>) -> Started {
    let session_id = call.map(|call| call.call_id.clone()).unwrap_or_default();
    Started { session_id, accepted_format: format, ..Started::default() }
}

#[tonic::async_trait]
impl<S: LoadScript> RecognitionService for Engine<S> {
    type RecognizeStream = Responses<RecognizeResponse>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let (responses, stream) = mpsc::channel(RESPONSES);
        let script = Arc::clone(&self.0);
        tokio::spawn(async move { recognize(request.into_inner(), script, &responses).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn recognize<S: LoadScript>(
    mut requests: Streaming<RecognizeRequest>,
    script: Arc<S>,
    responses: &Sender<RecognizeResponse>,
) -> Result<(), Gone> {
    use recognize_request::Payload as Asked;
    use recognize_response::Payload as Told;
    let say = |payload| send(responses, RecognizeResponse { payload: Some(payload) });
    let ended = |utterance_index, reason: UtteranceEndReason, end_sample| {
        Told::UtteranceEnded(UtteranceEnded { utterance_index, reason: reason.into(), end_sample })
    };
    let mut listener: Option<Box<dyn LoadListener>> = None;
    loop {
        match next(&mut requests).await?.payload {
            Some(Asked::Audio(chunk)) => {
                if let Some(listener) = &mut listener {
                    listener.audio(chunk.start_sample, &chunk.data);
                }
            }
            Some(Asked::Start(start)) => {
                let (format, rate_hz) = format_of(start.format.as_ref());
                listener = Some(Arc::clone(&script).listen(format, rate_hz));
                say(Told::Started(started(start.call.as_ref(), start.format))).await?;
            }
            Some(Asked::EndUtterance(end)) => {
                let text = script.hypothesis().to_owned();
                let hypothesis = Hypothesis {
                    utterance_index: end.utterance_index,
                    stage: HypothesisStage::Final.into(),
                    alternatives: vec![Alternative { text, ..Alternative::default() }],
                    ..Hypothesis::default()
                };
                say(Told::Hypothesis(hypothesis)).await?;
                say(ended(end.utterance_index, UtteranceEndReason::Client, end.end_sample)).await?;
            }
            Some(Asked::DiscardUtterance(discard)) => {
                say(ended(discard.utterance_index, UtteranceEndReason::Discarded, 0)).await?;
            }
            Some(Asked::Finish(_)) => return Ok(()),
            Some(Asked::BeginUtterance(_) | Asked::Dtmf(_) | Asked::Reconfigure(_)) | None => {}
        }
    }
}

#[tonic::async_trait]
impl<S: LoadScript> SynthesisService for Engine<S> {
    type SynthesizeStream = Responses<SynthesizeResponse>;

    async fn synthesize(
        &self,
        request: Request<Streaming<SynthesizeRequest>>,
    ) -> Result<Response<Self::SynthesizeStream>, Status> {
        let (responses, stream) = mpsc::channel(RESPONSES);
        let script = Arc::clone(&self.0);
        tokio::spawn(async move { synthesize(request.into_inner(), &*script, &responses).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn synthesize<S: LoadScript>(
    mut requests: Streaming<SynthesizeRequest>,
    script: &S,
    responses: &Sender<SynthesizeResponse>,
) -> Result<(), Gone> {
    use synthesize_request::Payload as Asked;
    use synthesize_response::Payload as Told;
    let say = |payload| send(responses, SynthesizeResponse { payload: Some(payload) });
    let mut format = PcmFormat::MANDATORY;
    let (mut current, mut sent) = (None, 0);
    loop {
        match next(&mut requests).await?.payload {
            Some(Asked::Start(start)) => {
                format = start.format.as_ref().and_then(proto::pcm_format).unwrap_or(format);
                say(Told::Started(started(start.call.as_ref(), start.format))).await?;
            }
            Some(Asked::Text(text)) => {
                if current.replace(text.reply_id) != Some(text.reply_id) {
                    sent = 0;
                }
                if !matches!(text.content, Some(synthesis_text::Content::Text(_))) {
                    continue;
                }
                tokio::time::sleep(script.hesitation()).await;
                let rate_hz = format.rate().hz();
                let pcm = script.speak(text.reply_id, rate_hz);
                for piece in pcm.chunks(CHUNK_MS * rate_hz as usize / 1000) {
                    let chunk = Some(proto::chunk(format, sent, piece));
                    sent += piece.len() as i64;
                    say(Told::Audio(SynthesisAudio { reply_id: text.reply_id, chunk })).await?;
                }
            }
            Some(Asked::Flush(flush)) => {
                let end_sample = if current == Some(flush.reply_id) { sent } else { 0 };
                say(Told::ReplyDone(SynthesisReplyDone { reply_id: flush.reply_id, end_sample })).await?;
                current = None;
            }
            // One that crosses with the end of the reply is not answered.
            Some(Asked::Cancel(cancel)) if current == Some(cancel.reply_id) => {
                say(Told::Cancelled(SynthesisCancelled { reply_id: cancel.reply_id, last_sample: sent })).await?;
                current = None;
            }
            Some(Asked::Finish(_)) => return Ok(()),
            Some(Asked::Playback(_) | Asked::Cancel(_)) | None => {}
        }
    }
}

#[tonic::async_trait]
impl<S: LoadScript> DialogService for Engine<S> {
    type ExchangeStream = Responses<ExchangeResponse>;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (responses, stream) = mpsc::channel(RESPONSES);
        let script = Arc::clone(&self.0);
        tokio::spawn(async move { converse(request.into_inner(), &*script, &responses).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn converse<S: LoadScript>(
    mut requests: Streaming<ExchangeRequest>,
    script: &S,
    responses: &Sender<ExchangeResponse>,
) -> Result<(), Gone> {
    use exchange_request::Payload as Asked;
    use exchange_response::Payload as Told;
    let say = |payload| send(responses, ExchangeResponse { payload: Some(payload) });
    let done = |reply_id| {
        let finish_reason = FinishReason::Complete.into();
        Told::ResponseDone(ResponseDone { reply_id, finish_reason, usage: None })
    };
    loop {
        match next(&mut requests).await?.payload {
            Some(Asked::Start(start)) => say(Told::Started(started(start.call.as_ref(), None))).await?,
            Some(Asked::UserTurn(turn)) => {
                let (reply_id, text) = (turn.reply_id, script.answer().to_owned());
                if !text.is_empty() {
                    say(Told::TextDelta(TextDelta { reply_id, text })).await?;
                }
                say(done(reply_id)).await?;
            }
            Some(Asked::Dtmf(dtmf)) => say(done(dtmf.reply_id)).await?,
            Some(Asked::Event(event)) => say(done(event.reply_id)).await?,
            Some(Asked::Finish(_)) => return Ok(()),
            // Every answer is complete when the next question is read.
            Some(Asked::Interrupt(_) | Asked::RetractTurn(_) | Asked::ToolResult(_)) | None => {}
        }
    }
}
