//! RecognitionService over a [`Recognizer`].

use super::session::{self, Contract, Responses, Sessions, Taken};
use crate::audio::PcmFormat;
use crate::call::{RecognizerCommand, RecognizerEvent, Stage, UtteranceIndex};
use crate::speech::proto::recognition_service_server::RecognitionService;
use crate::speech::proto::{
    Alternative, Capability, Hypothesis, HypothesisStage, RecognitionStart, RecognizeRequest, RecognizeResponse,
    UtteranceEndReason, UtteranceEnded, recognition_start, recognize_request, recognize_response,
};
use crate::speech::{Recognizer, RecognizerRequest, SessionStart};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub(super) struct Service {
    pub(super) engine: Option<Arc<dyn Recognizer>>,
    pub(super) sessions: Sessions,
}

#[tonic::async_trait]
impl RecognitionService for Service {
    type RecognizeStream = Responses<RecognizeResponse>;

    async fn recognize(
        &self,
        request: Request<Streaming<RecognizeRequest>>,
    ) -> Result<Response<Self::RecognizeStream>, Status> {
        let engine = self.engine.clone().ok_or_else(|| Status::unimplemented("no recogniser is served here"))?;
        session::begin::<Recognition, _, _>(&self.sessions, request, |start| async move { engine.open(start).await })
    }
}

/// One session.
struct Recognition {
    format: PcmFormat,
    /// Utterances that were begun and have not ended, with their end where it is known.
    open: BTreeMap<u32, i64>,
    revision: u32,
}

impl Default for Recognition {
    fn default() -> Self {
        Self { format: PcmFormat::MANDATORY, open: BTreeMap::new(), revision: 0 }
    }
}

fn response(payload: recognize_response::Payload) -> RecognizeResponse {
    RecognizeResponse { payload: Some(payload) }
}

fn ended(utterance_index: u32, reason: UtteranceEndReason, end_sample: i64) -> RecognizeResponse {
    let reason = reason.into();
    response(recognize_response::Payload::UtteranceEnded(UtteranceEnded { utterance_index, reason, end_sample }))
}

impl Contract for Recognition {
    type Request = RecognizeRequest;
    type Response = RecognizeResponse;
    type Start = RecognitionStart;
    type Command = RecognizerRequest;
    type Event = RecognizerEvent;

    fn start(request: RecognizeRequest) -> Option<RecognitionStart> {
        match request.payload {
            Some(recognize_request::Payload::Start(start)) => Some(start),
            _ => None,
        }
    }

    fn session_start(&mut self, start: RecognitionStart) -> Result<SessionStart, Status> {
        if !matches!(start.endpointing, Some(recognition_start::Endpointing::Client(_))) {
            return Err(Status::invalid_argument("only `client` endpointing is served: set `start.client`"));
        }
        self.format = session::format(start.format)?;
        Ok(SessionStart {
            call: session::call_id(start.call)?,
            language: start.language_codes.into_iter().next().unwrap_or_default(),
            rate: self.format.rate(),
            law: match self.format {
                PcmFormat::G711(law) => Some(law),
                PcmFormat::Linear16(_) => None,
            },
            greeting: None,
        })
    }

    fn started(&self) -> RecognizeResponse {
        let capabilities = [Capability::PartialHypotheses];
        let started = session::started(Some(self.format), &capabilities);
        response(recognize_response::Payload::Started(started))
    }

    fn request(&mut self, request: RecognizeRequest) -> Result<Taken<Self>, Status> {
        use recognize_request::Payload;
        let command = |command| RecognizerRequest::Command(command);
        Ok(match request.payload {
            Some(Payload::Start(_)) => return Err(session::second_start()),
            Some(Payload::Audio(chunk)) => {
                let pcm = self.format.decode(&chunk.data).ok_or_else(|| {
                    Status::invalid_argument("audio with an odd number of bytes: LINEAR16 has 2 a sample")
                })?;
                let audio = RecognizerRequest::Audio { start_sample: chunk.start_sample, pcm: pcm.into() };
                Taken::Command(audio, None)
            }
            Some(Payload::BeginUtterance(begin)) => {
                self.open.insert(begin.utterance_index, begin.start_sample);
                let utterance = UtteranceIndex(begin.utterance_index);
                let start_sample = begin.start_sample;
                Taken::Command(command(RecognizerCommand::BeginUtterance { utterance, start_sample }), None)
            }
            Some(Payload::EndUtterance(end)) => {
                let Some(known) = self.open.get_mut(&end.utterance_index) else {
                    let text = format!("`end_utterance` for utterance {}, which is not open", end.utterance_index);
                    return Err(Status::invalid_argument(text));
                };
                *known = end.end_sample;
                let utterance = UtteranceIndex(end.utterance_index);
                let end_sample = end.end_sample;
                Taken::Command(command(RecognizerCommand::EndUtterance { utterance, end_sample }), None)
            }
            Some(Payload::DiscardUtterance(discard)) => {
                let index = discard.utterance_index;
                let utterance = UtteranceIndex(index);
                let answer = self.open.remove(&index).map(|end| ended(index, UtteranceEndReason::Discarded, end));
                Taken::Command(command(RecognizerCommand::DiscardUtterance { utterance }), answer)
            }
            Some(Payload::Finish(_)) => Taken::Finish,
            Some(Payload::Dtmf(_) | Payload::Reconfigure(_)) | None => Taken::Nothing,
        })
    }

    fn event(&mut self, event: RecognizerEvent) -> Option<RecognizeResponse> {
        match event {
            RecognizerEvent::Hypothesis { utterance, stage, text, confidence } => {
                // What is late for a discarded utterance must not follow its end.
                if stage != Stage::Refined && !self.open.contains_key(&utterance.0) {
                    return None;
                }
                let stage = match stage {
                    Stage::Partial => HypothesisStage::Partial,
                    Stage::EagerFinal => HypothesisStage::EagerFinal,
                    Stage::Final => HypothesisStage::Final,
                    Stage::Refined => HypothesisStage::Refined,
                };
                let hypothesis = Hypothesis {
                    utterance_index: utterance.0,
                    revision: self.revision,
                    stage: stage.into(),
                    alternatives: vec![Alternative { text, confidence, words: Vec::new() }],
                    ..Hypothesis::default()
                };
                self.revision += 1;
                Some(response(recognize_response::Payload::Hypothesis(hypothesis)))
            }
            RecognizerEvent::UtteranceEnded { utterance } => {
                self.revision = 0;
                let end_sample = self.open.remove(&utterance.0)?;
                Some(ended(utterance.0, UtteranceEndReason::Client, end_sample))
            }
        }
    }
}
