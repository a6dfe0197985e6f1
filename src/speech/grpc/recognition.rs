//! Recognition on the wire. Endpointing is the call's, so the engine may only speak of utterances that were begun, and
//! give the final of those that were ended.

use super::caller_audio::CallerAudio;
use super::session::{Contract, Received, Recent, Sent};
use super::{accepted, call_context};
use crate::audio::PcmFormat;
use crate::call::{RecognizerCommand, RecognizerEvent, Stage, UtteranceIndex};
use crate::speech::proto::{
    self, BeginUtterance, ClientEndpointing, DiscardUtterance, EndUtterance, Finish, Hypothesis, HypothesisStage,
    RecognitionStart, RecognizeRequest, RecognizeResponse, UtteranceEndReason, UtteranceEnded, recognition_start,
    recognize_request, recognize_response,
};
use crate::speech::{EngineError, RecognizerRequest, SessionStart};
use std::sync::Arc;

/// One session.
pub(super) struct Recognition {
    /// As it begins.
    audio: CallerAudio,
    format: PcmFormat,
    sent: Arc<Sent>,
    utterances: Recent<Utterance>,
}

/// The sending side of a session.
pub(super) struct Sender {
    audio: CallerAudio,
    sent: Arc<Sent>,
}

/// What the engine has said of an utterance.
#[derive(Debug, Default)]
struct Utterance {
    is_final: bool,
    ended: bool,
}

impl Recognition {
    /// A session in which the engine gets audio of this format.
    ///
    /// # Errors
    /// When the caller's audio cannot be brought into that format.
    pub(super) fn new(start: &SessionStart, format: PcmFormat) -> Result<Self, EngineError> {
        let audio = CallerAudio::new(start, format)?;
        Ok(Self { audio, format, sent: Sent::new(), utterances: Recent::new() })
    }

    fn hypothesis(&mut self, hypothesis: Hypothesis) -> Result<Received<RecognizerEvent>, String> {
        let index = hypothesis.utterance_index;
        if !self.sent.is_open(index) {
            return Err(format!("a hypothesis of utterance {index}, which was never begun"));
        }
        let stage = match hypothesis.stage() {
            HypothesisStage::Partial => Stage::Partial,
            HypothesisStage::EagerFinal => Stage::EagerFinal,
            HypothesisStage::Final => Stage::Final,
            HypothesisStage::Refined => Stage::Refined,
            HypothesisStage::Unspecified => return Err(format!("a hypothesis of utterance {index} without a stage")),
        };
        let Some(utterance) = self.utterances.get(index) else { return Ok(Received::Nothing) };
        match stage {
            // An engine with an endpointing of its own; the call goes by its own and would not hear the final.
            Stage::Final if !self.sent.is_closed(index) => {
                return Err(format!(
                    "a final of utterance {index} before `end_utterance`: with `client` endpointing it comes after"
                ));
            }
            Stage::Final if utterance.is_final => return Err(format!("a second final of utterance {index}")),
            Stage::Partial | Stage::EagerFinal if utterance.is_final => {
                return Err(format!("a partial hypothesis of utterance {index} after its final"));
            }
            Stage::Refined if !utterance.is_final => {
                return Err(format!("a refined hypothesis of utterance {index} before its final"));
            }
            Stage::Partial | Stage::EagerFinal | Stage::Final if utterance.ended => {
                return Err(format!("a hypothesis of utterance {index} after its end"));
            }
            _ => {}
        }
        utterance.is_final |= stage == Stage::Final;
        let best = hypothesis.alternatives.into_iter().next().unwrap_or_default();
        if let Some(confidence) = best.confidence.filter(|confidence| !(0.0..=1.0).contains(confidence)) {
            return Err(format!("a confidence of {confidence} in utterance {index}: it is 0 to 1, or not set"));
        }
        let utterance = UtteranceIndex(index);
        let event = RecognizerEvent::Hypothesis { utterance, stage, text: best.text, confidence: best.confidence };
        Ok(Received::Event(event))
    }

    fn utterance_ended(&mut self, ended: UtteranceEnded) -> Result<Received<RecognizerEvent>, String> {
        let index = ended.utterance_index;
        if !self.sent.is_open(index) {
            return Err(format!("`utterance_ended` for utterance {index}, which was never begun"));
        }
        let Some(utterance) = self.utterances.get(index) else { return Ok(Received::Nothing) };
        if std::mem::replace(&mut utterance.ended, true) {
            return Err(format!("a second `utterance_ended` for utterance {index}"));
        }
        // The call has forgotten a discarded utterance and waits for nothing.
        if ended.reason() == UtteranceEndReason::Discarded {
            return Ok(Received::Nothing);
        }
        if !self.sent.is_closed(index) {
            return Err(format!("`utterance_ended` for utterance {index} before `end_utterance`"));
        }
        if !utterance.is_final {
            return Err(format!("utterance {index} ended without a final hypothesis"));
        }
        Ok(Received::Event(RecognizerEvent::UtteranceEnded { utterance: UtteranceIndex(index) }))
    }
}

/// The first message.
pub(super) fn start(start: &SessionStart, format: PcmFormat) -> RecognizeRequest {
    request(recognize_request::Payload::Start(RecognitionStart {
        call: Some(call_context(start)),
        format: Some(proto::audio_format(format)),
        language_codes: vec![start.language.clone()],
        partial_hypotheses: true,
        endpointing: Some(recognition_start::Endpointing::Client(ClientEndpointing {})),
        ..RecognitionStart::default()
    }))
}

fn request(payload: recognize_request::Payload) -> RecognizeRequest {
    RecognizeRequest { payload: Some(payload) }
}

impl Contract for Recognition {
    type Command = RecognizerRequest;
    type Event = RecognizerEvent;
    type Request = RecognizeRequest;
    type Response = RecognizeResponse;

    type Sender = Sender;

    fn sender(&self) -> Sender {
        Sender { audio: self.audio.clone(), sent: Arc::clone(&self.sent) }
    }

    fn request(command: RecognizerRequest, sender: &mut Sender) -> Option<RecognizeRequest> {
        use recognize_request::Payload;
        let Sender { audio, sent } = sender;
        Some(request(match command {
            RecognizerRequest::Audio { start_sample, pcm } => Payload::Audio(audio.chunk(start_sample, &pcm)?),
            RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample }) => {
                sent.open(utterance.0);
                let start_sample = audio.begin(start_sample);
                Payload::BeginUtterance(BeginUtterance { utterance_index: utterance.0, start_sample })
            }
            RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample }) => {
                sent.close(utterance.0);
                let end_sample = audio.end(end_sample);
                Payload::EndUtterance(EndUtterance { utterance_index: utterance.0, end_sample })
            }
            RecognizerRequest::Command(RecognizerCommand::DiscardUtterance { utterance }) => {
                Payload::DiscardUtterance(DiscardUtterance { utterance_index: utterance.0 })
            }
        }))
    }

    fn finish() -> RecognizeRequest {
        request(recognize_request::Payload::Finish(Finish {}))
    }

    fn response(&mut self, response: RecognizeResponse) -> Result<Received<RecognizerEvent>, String> {
        use recognize_response::Payload;
        match response.payload {
            Some(Payload::Started(started)) => {
                accepted(&started, self.format)?;
                Ok(Received::Started(started))
            }
            Some(Payload::Hypothesis(hypothesis)) => self.hypothesis(hypothesis),
            Some(Payload::UtteranceEnded(ended)) => self.utterance_ended(ended),
            Some(Payload::Warning(warning)) => Ok(Received::Warning(warning)),
            Some(Payload::SpeechStarted(_) | Payload::Progress(_) | Payload::Usage(_)) | None => Ok(Received::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::proto::{Alternative, AudioFormat, Started};
    use crate::speech::scripted;

    fn hypothesis(utterance_index: u32, stage: HypothesisStage, confidence: Option<f32>) -> RecognizeResponse {
        let alternatives = vec![Alternative { text: "yes".into(), confidence, words: Vec::new() }];
        let stage = stage.into();
        let hypothesis = Hypothesis { utterance_index, stage, alternatives, ..Hypothesis::default() };
        RecognizeResponse { payload: Some(recognize_response::Payload::Hypothesis(hypothesis)) }
    }

    fn heard(utterance_index: u32, stage: HypothesisStage) -> RecognizeResponse {
        hypothesis(utterance_index, stage, None)
    }

    fn ended(utterance_index: u32) -> RecognizeResponse {
        let reason = UtteranceEndReason::Client.into();
        let ended = UtteranceEnded { utterance_index, reason, end_sample: 0 };
        RecognizeResponse { payload: Some(recognize_response::Payload::UtteranceEnded(ended)) }
    }

    /// What is wrong with the last of these messages, when utterance 0 has ended and utterance 1 is open.
    fn violation(messages: impl IntoIterator<Item = RecognizeResponse>) -> String {
        let mut session = Recognition::new(&scripted::start(), PcmFormat::MANDATORY).expect("a session");
        session.sent.close(0);
        session.sent.open(1);
        let mut results: Vec<_> = messages.into_iter().map(|message| session.response(message)).collect();
        let last = results.pop().expect("a message");
        assert!(results.iter().all(Result::is_ok), "only the last is wrong");
        last.err().expect("a violation")
    }

    #[test]
    fn an_engine_that_breaks_the_rules_of_recognition_is_told_which_one() {
        use HypothesisStage::{EagerFinal, Final, Partial, Refined, Unspecified};
        assert_eq!(violation([heard(2, Partial)]), "a hypothesis of utterance 2, which was never begun");
        assert_eq!(violation([heard(0, Unspecified)]), "a hypothesis of utterance 0 without a stage");
        assert_eq!(violation([heard(0, Final), heard(0, Final)]), "a second final of utterance 0");
        assert_eq!(
            violation([heard(0, EagerFinal), heard(0, Partial), heard(0, Final), heard(0, Partial)]),
            "a partial hypothesis of utterance 0 after its final"
        );
        assert_eq!(violation([heard(0, Refined)]), "a refined hypothesis of utterance 0 before its final");
        assert_eq!(
            violation([hypothesis(0, Final, Some(-1.0))]),
            "a confidence of -1 in utterance 0: it is 0 to 1, or not set"
        );
        assert_eq!(violation([ended(0)]), "utterance 0 ended without a final hypothesis");
        assert_eq!(
            violation([heard(0, Final), ended(0), heard(0, Refined), ended(0)]),
            "a second `utterance_ended` for utterance 0"
        );
        assert_eq!(
            violation([heard(1, Partial), heard(1, EagerFinal), heard(1, Final)]),
            "a final of utterance 1 before `end_utterance`: with `client` endpointing it comes after"
        );
        assert_eq!(violation([ended(1)]), "`utterance_ended` for utterance 1 before `end_utterance`");
        assert_eq!(violation([ended(2)]), "`utterance_ended` for utterance 2, which was never begun");
    }

    #[test]
    fn a_format_that_was_not_asked_for_is_refused() {
        let accepted_format = Some(AudioFormat { sample_rate_hz: 16_000, ..proto::audio_format(PcmFormat::MANDATORY) });
        let started = Started { accepted_format, ..Started::default() };
        let started = RecognizeResponse { payload: Some(recognize_response::Payload::Started(started)) };
        assert_eq!(violation([started]), "`started` accepts LINEAR16/16000, but LINEAR16/8000 was asked for");
    }

    #[test]
    fn a_payload_of_a_newer_contract_is_ignored() {
        let mut session = Recognition::new(&scripted::start(), PcmFormat::MANDATORY).expect("a session");
        assert!(matches!(session.response(RecognizeResponse { payload: None }), Ok(Received::Nothing)));
    }
}
