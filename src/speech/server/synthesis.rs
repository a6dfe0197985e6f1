//! SynthesisService over a [`Synthesizer`].

use super::session::{self, Contract, Responses, Sessions, Taken};
use crate::audio::PcmFormat;
use crate::call::{ReplyId, SynthesizerCommand, SynthesizerEvent};
use crate::speech::proto::synthesis_service_server::SynthesisService;
use crate::speech::proto::{
    self, Capability, SynthesisAudio, SynthesisCancelled, SynthesisMark, SynthesisReplyDone, SynthesisStart,
    SynthesizeRequest, SynthesizeResponse, synthesis_text, synthesize_request, synthesize_response,
};
use crate::speech::{SessionStart, Synthesizer};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub(super) struct Service {
    pub(super) engine: Option<Arc<dyn Synthesizer>>,
    pub(super) sessions: Sessions,
}

#[tonic::async_trait]
impl SynthesisService for Service {
    type SynthesizeStream = Responses<SynthesizeResponse>;

    async fn synthesize(
        &self,
        request: Request<Streaming<SynthesizeRequest>>,
    ) -> Result<Response<Self::SynthesizeStream>, Status> {
        let engine = self.engine.clone().ok_or_else(|| Status::unimplemented("no synthesiser is served here"))?;
        session::begin::<Synthesis, _, _>(&self.sessions, request, |start| async move { engine.open(start).await })
    }
}

/// One session. Replies follow one another, so one position is enough.
struct Synthesis {
    format: PcmFormat,
    reply: u32,
    end_sample: i64,
    text_end: u32,
}

impl Default for Synthesis {
    fn default() -> Self {
        Self { format: PcmFormat::MANDATORY, reply: 0, end_sample: 0, text_end: 0 }
    }
}

impl Synthesis {
    /// Moves on to the reply that an event is about.
    fn at(&mut self, reply: ReplyId) -> &mut Self {
        if self.reply != reply.0 {
            *self = Self { format: self.format, reply: reply.0, end_sample: 0, text_end: 0 };
        }
        self
    }
}

impl Contract for Synthesis {
    type Request = SynthesizeRequest;
    type Response = SynthesizeResponse;
    type Start = SynthesisStart;
    type Command = SynthesizerCommand;
    type Event = SynthesizerEvent;

    fn start(request: SynthesizeRequest) -> Option<SynthesisStart> {
        match request.payload {
            Some(synthesize_request::Payload::Start(start)) => Some(start),
            _ => None,
        }
    }

    fn session_start(&mut self, start: SynthesisStart) -> Result<SessionStart, Status> {
        self.format = session::format(start.format)?;
        Ok(SessionStart {
            call: session::call_id(start.call)?,
            language: start.language_code,
            rate: self.format.rate(),
            law: match self.format {
                PcmFormat::G711(law) => Some(law),
                PcmFormat::Linear16(_) => None,
            },
            greeting: None,
        })
    }

    fn started(&self) -> SynthesizeResponse {
        let started = session::started(Some(self.format), &[Capability::Marks]);
        SynthesizeResponse { payload: Some(synthesize_response::Payload::Started(started)) }
    }

    fn request(&mut self, request: SynthesizeRequest) -> Result<Taken<Self>, Status> {
        use synthesize_request::Payload;
        let command = match request.payload {
            Some(Payload::Start(_)) => return Err(session::second_start()),
            Some(Payload::Text(text)) => match text.content {
                Some(synthesis_text::Content::Text(words)) if !words.is_empty() => {
                    SynthesizerCommand::Text { reply: ReplyId(text.reply_id), text: words }
                }
                Some(synthesis_text::Content::Ssml(_)) => {
                    return Err(Status::invalid_argument("SSML is not served: `started` does not list it"));
                }
                _ => return Err(Status::invalid_argument("`text` without text")),
            },
            Some(Payload::Flush(flush)) => SynthesizerCommand::Flush { reply: ReplyId(flush.reply_id) },
            Some(Payload::Playback(playback)) => SynthesizerCommand::Playback {
                reply: ReplyId(playback.reply_id),
                played_sample: playback.played_sample,
            },
            Some(Payload::Cancel(cancel)) => {
                SynthesizerCommand::Cancel { reply: ReplyId(cancel.reply_id), played_sample: cancel.played_sample }
            }
            Some(Payload::Finish(_)) => return Ok(Taken::Finish),
            None => return Ok(Taken::Nothing),
        };
        Ok(Taken::Command(command, None))
    }

    fn event(&mut self, event: SynthesizerEvent) -> Option<SynthesizeResponse> {
        use synthesize_response::Payload;
        let payload = match event {
            SynthesizerEvent::Audio { reply, start_sample, pcm } => {
                self.at(reply).end_sample = start_sample + pcm.len() as i64;
                let chunk = Some(proto::chunk(self.format, start_sample, &pcm));
                Payload::Audio(SynthesisAudio { reply_id: reply.0, chunk })
            }
            SynthesizerEvent::Mark { reply, text_end, sample } => {
                let text_end = u32::try_from(text_end).unwrap_or(u32::MAX);
                let text_start = std::mem::replace(&mut self.at(reply).text_end, text_end);
                Payload::Mark(SynthesisMark { reply_id: reply.0, text_start, text_end, sample, ..Default::default() })
            }
            SynthesizerEvent::Done { reply } => {
                let end_sample = self.at(reply).end_sample;
                Payload::ReplyDone(SynthesisReplyDone { reply_id: reply.0, end_sample })
            }
            SynthesizerEvent::Cancelled { reply } => {
                let last_sample = self.at(reply).end_sample;
                Payload::Cancelled(SynthesisCancelled { reply_id: reply.0, last_sample })
            }
        };
        Some(SynthesizeResponse { payload: Some(payload) })
    }
}
