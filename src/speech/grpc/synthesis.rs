//! Synthesis on the wire. Audio of a reply has to come without gaps, or the caller would hear it in the wrong places.

use super::session::{Contract, Received, Recent, Sent};
use super::{accepted, call_context};
use crate::audio::{PcmFormat, Resampler, SampleRate};
use crate::call::{ReplyId, SynthesizerCommand, SynthesizerEvent};
use crate::speech::SessionStart;
use crate::speech::proto::{
    self, Finish, SynthesisAudio, SynthesisCancel, SynthesisFlush, SynthesisMark, SynthesisPlayback, SynthesisStart,
    SynthesisText, SynthesizeRequest, SynthesizeResponse, synthesis_text, synthesize_request, synthesize_response,
};
use std::sync::Arc;

/// What an engine may be ahead of the caller's ear. Enough for any stutter; more would be thrown away at a barge-in.
const MAX_AHEAD_MS: u32 = 30_000;

/// One session.
pub(super) struct Synthesis {
    call: SampleRate,
    format: PcmFormat,
    sent: Arc<Sent>,
    replies: Recent<Reply>,
}

/// The sending side of a session.
pub(super) struct Sender {
    call: SampleRate,
    engine: SampleRate,
    sent: Arc<Sent>,
}

/// What the engine has said of a reply.
#[derive(Debug, Default)]
struct Reply {
    /// At the engine's rate.
    next_sample: i64,
    /// Where the two rates differ: once there is audio, until the reply is over.
    resampler: Option<Box<Resampler>>,
    /// At the rate of the call.
    given: i64,
    mark: (u32, i64),
    over: bool,
}

impl Synthesis {
    /// A session in which the engine gives audio of this format.
    pub(super) fn new(start: &SessionStart, format: PcmFormat) -> Self {
        Self { call: start.rate, format, sent: Sent::new(), replies: Recent::new() }
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
        let (format, call) = (self.format, self.call);
        let Some(reply) = self.reply(id, "audio")? else { return Ok(Received::Nothing) };
        let chunk = audio.chunk.ok_or_else(|| format!("audio of reply {id} without a chunk"))?;
        if chunk.start_sample != reply.next_sample {
            let (start, due) = (chunk.start_sample, reply.next_sample);
            return Err(format!("audio of reply {id} goes on at sample {start} where {due} was due"));
        }
        let wrong = || format!("audio of reply {id} with {} bytes: LINEAR16 has 2 a sample", chunk.data.len());
        let pcm = format.decode(&chunk.data).ok_or_else(wrong)?;
        reply.next_sample += pcm.len() as i64;
        let pcm = if format.rate() == call {
            pcm
        } else {
            let fresh = || Box::new(Resampler::new(format.rate(), call));
            let mut resampled = Vec::new();
            reply.resampler.get_or_insert_with(fresh).push(&pcm, &mut resampled);
            resampled
        };
        Ok(reply.speech(id, pcm).map_or(Received::Nothing, Received::Event))
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
        let sample = self.format.rate().position_at(self.call, mark.sample);
        Ok(Received::Event(SynthesizerEvent::Mark { reply: ReplyId(id), text_end, sample }))
    }

    fn done(&mut self, id: u32) -> Result<Received<SynthesizerEvent>, String> {
        if self.sent.is_open(id) && !self.sent.is_closed(id) {
            return Err(format!("`reply_done` for reply {id} before `flush`"));
        }
        let (engine, call) = (self.format.rate(), self.call);
        let Some(reply) = self.reply(id, "`reply_done`")? else { return Ok(Received::Nothing) };
        let rest = reply.end(engine, call).and_then(|pcm| reply.speech(id, pcm));
        let done = SynthesizerEvent::Done { reply: ReplyId(id) };
        Ok(match rest {
            Some(rest) => Received::Last(rest, done),
            None => Received::Event(done),
        })
    }

    fn cancelled(&mut self, id: u32) -> Result<Received<SynthesizerEvent>, String> {
        if !self.sent.is_closed(id) {
            return Err(format!("`cancelled` for reply {id}, which was not cancelled"));
        }
        // A cancel may cross with the end of the reply, and not every engine notices.
        match self.replies.get(id) {
            Some(reply) if !reply.over => {
                reply.over = true;
                reply.resampler = None;
            }
            _ => return Ok(Received::Nothing),
        }
        Ok(Received::Event(SynthesizerEvent::Cancelled { reply: ReplyId(id) }))
    }
}

impl Reply {
    /// Samples for the call, if there are any.
    fn speech(&mut self, id: u32, pcm: Vec<i16>) -> Option<SynthesizerEvent> {
        if pcm.is_empty() {
            return None;
        }
        let start_sample = self.given;
        self.given += pcm.len() as i64;
        Some(SynthesizerEvent::Audio { reply: ReplyId(id), start_sample, pcm })
    }

    /// What is still on its way through the resampler. All audio of the reply has been taken in.
    fn end(&mut self, engine: SampleRate, call: SampleRate) -> Option<Vec<i16>> {
        self.over = true;
        let mut rest = Vec::new();
        self.resampler.take()?.finish(&mut rest);
        // A part of a sample at the very end is left out, so that no position in it is beyond what the engine has made.
        let whole = engine.position_at(call, self.next_sample) - self.given;
        rest.truncate(usize::try_from(whole).unwrap_or(0));
        Some(rest)
    }
}

/// The first message.
pub(super) fn start(start: &SessionStart, format: PcmFormat) -> SynthesizeRequest {
    request(synthesize_request::Payload::Start(SynthesisStart {
        call: Some(call_context(start)),
        format: Some(proto::audio_format(format)),
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

    type Sender = Sender;

    fn sender(&self) -> Sender {
        Sender { call: self.call, engine: self.format.rate(), sent: Arc::clone(&self.sent) }
    }

    fn request(command: SynthesizerCommand, sender: &mut Sender) -> Option<SynthesizeRequest> {
        use synthesize_request::Payload;
        let Sender { call, engine, sent } = sender;
        Some(request(match command {
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
                let played_sample = call.position_at(*engine, played_sample);
                Payload::Playback(SynthesisPlayback { reply_id: reply.0, played_sample })
            }
            SynthesizerCommand::Cancel { reply, played_sample } => {
                let played_sample = call.position_at(*engine, played_sample);
                sent.close(reply.0);
                Payload::Cancel(SynthesisCancel { reply_id: reply.0, played_sample })
            }
        }))
    }

    fn finish() -> SynthesizeRequest {
        request(synthesize_request::Payload::Finish(Finish {}))
    }

    fn response(&mut self, response: SynthesizeResponse) -> Result<Received<SynthesizerEvent>, String> {
        use synthesize_response::Payload;
        match response.payload {
            Some(Payload::Started(started)) => {
                accepted(&started, self.format)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::proto::{AudioChunk, SynthesisCancelled, SynthesisReplyDone};
    use crate::speech::scripted;
    use synthesize_response::Payload;

    fn audio(reply_id: u32, start_sample: i64, data: &'static [u8]) -> Payload {
        let chunk = Some(AudioChunk { start_sample, data: data.into() });
        Payload::Audio(SynthesisAudio { reply_id, chunk })
    }

    fn mark(text_end: u32, sample: i64) -> Payload {
        Payload::Mark(SynthesisMark { reply_id: 3, text_end, sample, ..SynthesisMark::default() })
    }

    fn done(reply_id: u32) -> Payload {
        Payload::ReplyDone(SynthesisReplyDone { reply_id, end_sample: 0 })
    }

    fn cancelled(reply_id: u32) -> Payload {
        Payload::Cancelled(SynthesisCancelled { reply_id, last_sample: 0 })
    }

    /// A session in which reply 3 was flushed and reply 4 has text.
    fn session() -> Synthesis {
        let session = Synthesis::new(&scripted::start(), PcmFormat::MANDATORY);
        session.sent.close(3);
        session.sent.open(4);
        session
    }

    fn violation(payloads: impl IntoIterator<Item = Payload>) -> String {
        let mut session = session();
        let results = payloads.into_iter().map(|p| session.response(SynthesizeResponse { payload: Some(p) }));
        let mut results: Vec<_> = results.collect();
        let last = results.pop().expect("a message");
        assert!(results.iter().all(Result::is_ok), "only the last is wrong");
        last.err().expect("a violation")
    }

    #[test]
    fn an_engine_that_breaks_the_rules_of_synthesis_is_told_which_one() {
        assert_eq!(violation([audio(5, 0, &[0, 0])]), "audio of reply 5, for which no text was sent");
        assert_eq!(
            violation([audio(3, 0, &[0, 0]), audio(3, 0, &[0, 0])]),
            "audio of reply 3 goes on at sample 0 where 1 was due"
        );
        assert_eq!(violation([audio(3, 8, &[0, 0])]), "audio of reply 3 goes on at sample 8 where 0 was due");
        assert_eq!(violation([audio(3, 0, &[0])]), "audio of reply 3 with 1 bytes: LINEAR16 has 2 a sample");
        assert_eq!(violation([done(3), audio(3, 0, &[0, 0])]), "audio of reply 3 after it was over");
        assert_eq!(violation([done(3), done(3)]), "`reply_done` of reply 3 after it was over");
        assert_eq!(violation([done(4)]), "`reply_done` for reply 4 before `flush`");
        assert_eq!(violation([done(9)]), "`reply_done` of reply 9, for which no text was sent");
        assert_eq!(violation([cancelled(4)]), "`cancelled` for reply 4, which was not cancelled");
        assert_eq!(violation([cancelled(3), audio(3, 0, &[0, 0])]), "audio of reply 3 after it was over");
        assert_eq!(violation([mark(5, 80), mark(4, 90)]), "a mark of reply 3 at 4 characters, sample 90, after 5, 80");
    }

    #[test]
    fn a_cancel_that_crosses_with_the_end_of_the_reply_is_no_violation() {
        let mut session = session();
        for payload in [done(3), cancelled(3)] {
            assert!(session.response(SynthesizeResponse { payload: Some(payload) }).is_ok());
        }
    }

    #[test]
    fn replies_of_long_ago_are_forgotten_and_what_comes_of_them_ignored() {
        let mut session = session();
        session.sent.close(100);
        for reply in 3..=100 {
            let payload = Some(audio(reply, 0, &[0, 0]));
            assert!(matches!(session.response(SynthesizeResponse { payload }), Ok(Received::Event(_))));
        }
        let late = SynthesizeResponse { payload: Some(audio(3, 1, &[0, 0])) };
        assert!(matches!(session.response(late), Ok(Received::Nothing)));
    }
}
