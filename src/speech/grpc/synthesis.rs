//! Synthesis on the wire. Audio of a reply has to come without gaps, or the caller would hear it in the wrong places.

use super::session::{Contract, Received, Recent, Sent};
use super::{accepted, call_context};
use crate::call::{ReplyId, SynthesizerCommand, SynthesizerEvent};
use crate::speech::SessionStart;
use crate::speech::proto::{
    self, AudioFormat, Finish, SynthesisAudio, SynthesisCancel, SynthesisFlush, SynthesisMark, SynthesisPlayback,
    SynthesisStart, SynthesisText, SynthesizeRequest, SynthesizeResponse, synthesis_text, synthesize_request,
    synthesize_response,
};
use std::sync::Arc;

/// What an engine may be ahead of the caller's ear. Enough for any stutter; more would be thrown away at a barge-in.
const MAX_AHEAD_MS: u32 = 30_000;

/// One session.
pub(super) struct Synthesis {
    format: AudioFormat,
    sent: Arc<Sent>,
    replies: Recent<Reply>,
}

/// What the engine has said of a reply.
#[derive(Debug, Default)]
struct Reply {
    next_sample: i64,
    mark: (u32, i64),
    over: bool,
}

impl Synthesis {
    pub(super) fn new(start: &SessionStart) -> Self {
        Self { format: proto::linear16(start.rate), sent: Sent::new(), replies: Recent::new() }
    }

    /// The reply that a message is about; `Ok(None)` if it is too old to matter.
    fn reply(&mut self, id: u32, what: &str) -> Result<Option<&mut Reply>, String> {
        if !self.sent.is_open(id) {
            return Err(format!("{what} of reply {id}, for which no text was sent"));
        }
        match self.replies.get(id) {
            Some(reply) if reply.over => Err(format!("{what} of reply {id} after it was over")),
            reply => Ok(reply),
        }
    }

    fn audio(&mut self, audio: SynthesisAudio) -> Result<Received<SynthesizerEvent>, String> {
        let id = audio.reply_id;
        let Some(reply) = self.reply(id, "audio")? else { return Ok(Received::Nothing) };
        let chunk = audio.chunk.ok_or_else(|| format!("audio of reply {id} without a chunk"))?;
        if chunk.start_sample != reply.next_sample {
            let (start, due) = (chunk.start_sample, reply.next_sample);
            return Err(format!("audio of reply {id} goes on at sample {start} where {due} was due"));
        }
        let samples = proto::samples(&chunk.data)
            .ok_or_else(|| format!("audio of reply {id} with {} bytes: LINEAR16 has 2 a sample", chunk.data.len()))?;
        let pcm: Vec<i16> = samples.collect();
        if pcm.is_empty() {
            return Ok(Received::Nothing);
        }
        reply.next_sample += pcm.len() as i64;
        let event = SynthesizerEvent::Audio { reply: ReplyId(id), start_sample: chunk.start_sample, pcm };
        Ok(Received::Event(event))
    }

    fn mark(&mut self, mark: SynthesisMark) -> Result<Received<SynthesizerEvent>, String> {
        let id = mark.reply_id;
        let Some(reply) = self.reply(id, "a mark")? else { return Ok(Received::Nothing) };
        let (text_end, sample) = reply.mark;
        if mark.text_end < text_end || mark.sample < sample {
            let (text, at) = (mark.text_end, mark.sample);
            return Err(format!("a mark of reply {id} at {text} characters, sample {at}, after {text_end}, {sample}"));
        }
        reply.mark = (mark.text_end, mark.sample);
        let text_end = mark.text_end as usize;
        Ok(Received::Event(SynthesizerEvent::Mark { reply: ReplyId(id), text_end, sample: mark.sample }))
    }

    fn done(&mut self, id: u32) -> Result<Received<SynthesizerEvent>, String> {
        if self.sent.is_open(id) && !self.sent.is_closed(id) {
            return Err(format!("`reply_done` for reply {id} before `flush`"));
        }
        let Some(reply) = self.reply(id, "`reply_done`")? else { return Ok(Received::Nothing) };
        reply.over = true;
        Ok(Received::Event(SynthesizerEvent::Done { reply: ReplyId(id) }))
    }

    fn cancelled(&mut self, id: u32) -> Result<Received<SynthesizerEvent>, String> {
        if !self.sent.is_closed(id) {
            return Err(format!("`cancelled` for reply {id}, which was not cancelled"));
        }
        // A cancel may cross with the end of the reply, and not every engine notices.
        match self.replies.get(id) {
            Some(reply) if !reply.over => reply.over = true,
            _ => return Ok(Received::Nothing),
        }
        Ok(Received::Event(SynthesizerEvent::Cancelled { reply: ReplyId(id) }))
    }
}

/// The first message.
pub(super) fn start(start: &SessionStart) -> SynthesizeRequest {
    request(synthesize_request::Payload::Start(SynthesisStart {
        call: Some(call_context(start)),
        format: Some(proto::linear16(start.rate)),
        language_code: start.language.clone(),
        max_ahead_ms: MAX_AHEAD_MS,
        marks: true,
        ..SynthesisStart::default()
    }))
}

fn request(payload: synthesize_request::Payload) -> SynthesizeRequest {
    SynthesizeRequest { payload: Some(payload) }
}

impl Contract for Synthesis {
    type Command = SynthesizerCommand;
    type Event = SynthesizerEvent;
    type Request = SynthesizeRequest;
    type Response = SynthesizeResponse;

    fn sent(&self) -> Arc<Sent> {
        Arc::clone(&self.sent)
    }

    fn request(command: SynthesizerCommand, sent: &Sent) -> SynthesizeRequest {
        use synthesize_request::Payload;
        request(match command {
            SynthesizerCommand::Text { reply, text } => {
                sent.open(reply.0);
                let content = Some(synthesis_text::Content::Text(text));
                Payload::Text(SynthesisText { reply_id: reply.0, content })
            }
            SynthesizerCommand::Flush { reply } => {
                sent.close(reply.0);
                Payload::Flush(SynthesisFlush { reply_id: reply.0 })
            }
            SynthesizerCommand::Playback { reply, played_sample } => {
                Payload::Playback(SynthesisPlayback { reply_id: reply.0, played_sample })
            }
            SynthesizerCommand::Cancel { reply, played_sample } => {
                sent.close(reply.0);
                Payload::Cancel(SynthesisCancel { reply_id: reply.0, played_sample })
            }
        })
    }

    fn finish() -> SynthesizeRequest {
        request(synthesize_request::Payload::Finish(Finish {}))
    }

    fn response(&mut self, response: SynthesizeResponse) -> Result<Received<SynthesizerEvent>, String> {
        use synthesize_response::Payload;
        match response.payload {
            Some(Payload::Started(started)) => {
                accepted(&started, &self.format)?;
                Ok(Received::Started(started))
            }
            Some(Payload::Audio(audio)) => self.audio(audio),
            Some(Payload::Mark(mark)) => self.mark(mark),
            Some(Payload::ReplyDone(done)) => self.done(done.reply_id),
            Some(Payload::Cancelled(cancelled)) => self.cancelled(cancelled.reply_id),
            Some(Payload::Warning(warning)) => Ok(Received::Warning(warning)),
            Some(Payload::Usage(_)) | None => Ok(Received::Nothing),
        }
    }
}
