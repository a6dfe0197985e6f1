//! The caller's side of a call: audio to utterances, utterances to final text, final text to the question for the
//! dialogue. Keys and silence are answers of the caller too.

use super::engines::{DialogCommand, DialogNotice, RecognizerCommand, RecognizerEvent, Service, Stage};
use super::event::{CallEvent, ReplyEnd};
use super::ids::UtteranceIndex;
use super::settings::BargeIn;
use super::timer::Timer;
use super::{Call, CallerFrame, Output, Phase};
use crate::vad::{SegmentEnd, SegmentEvent};
use std::time::{Duration, Instant};

/// The window in which speech counts as evidence for a barge-in.
const BARGE_IN_WINDOW: Duration = Duration::from_millis(300);

/// Ended utterances that may wait for their text at once; the oldest is given up beyond that.
const MAX_AWAITED: usize = 8;

/// So many noises in a row (speech without words) may be passed over because the caller was making the next one already;
/// then the dialogue is told all the same, or a sound that comes and goes would silence the bot for ever.
const MAX_PASSED_OVER: u32 = 3;

/// The utterance that is being spoken.
#[derive(Debug)]
pub(super) struct OpenUtterance {
    utterance: UtteranceIndex,
    /// Whether it can stop a reply. One that was there before the reply began cannot, nor can what goes on from one that
    /// was cut: the reply has begun in spite of that sound.
    pub(super) may_barge_in: bool,
}

/// An utterance that the caller has finished and whose text is not complete.
#[derive(Debug)]
pub(super) struct AwaitedFinal {
    utterance: UtteranceIndex,
    speech_end: Instant,
    endpoint: Instant,
    end: SegmentEnd,
    /// The final text, once it has come.
    text: Option<String>,
}

impl Call {
    /// Takes in a frame of the caller's audio.
    pub(super) fn listen(&mut self, caller: CallerFrame<'_>, now: Instant) {
        self.outputs.push_back(Output::CallerAudio { start_sample: self.position });
        self.position += self.settings.rate.frame_samples() as i64;
        let may_speak = self.may_speak();
        let speech = match caller {
            CallerFrame::Audio(pcm) if may_speak => self.detector.is_speech(pcm),
            _ => false,
        };
        match self.segmenter.frame(speech) {
            Some(SegmentEvent::Started { start_sample, continues }) => self.utterance_started(start_sample, !continues),
            Some(SegmentEvent::Ended { speech_end_sample, end_sample, end }) => {
                self.utterance_ended(speech_end_sample, end_sample, end, now);
            }
            None => {}
        }
        if self.is_barge_in() {
            self.stop_reply(ReplyEnd::BargedIn, now);
        }
    }

    /// While a reply plays that may not be interrupted, nothing that the caller says begins an utterance.
    fn may_speak(&self) -> bool {
        self.settings.barge_in != BargeIn::Off || !self.is_speaking()
    }

    fn is_barge_in(&self) -> bool {
        match self.settings.barge_in {
            BargeIn::Off => false,
            BargeIn::OnSpeech { evidence } => {
                self.is_speaking()
                    && self.open.as_ref().is_some_and(|open| open.may_barge_in)
                    && self.segmenter.speech_within(BARGE_IN_WINDOW) >= evidence
            }
        }
    }

    fn utterance_started(&mut self, start_sample: i64, may_barge_in: bool) {
        let utterance = self.next_utterance;
        self.next_utterance = utterance.next();
        self.open = Some(OpenUtterance { utterance, may_barge_in });
        self.timers.stop(Timer::NoInput);
        self.outputs.push_back(Output::Recognizer(RecognizerCommand::BeginUtterance { utterance, start_sample }));
        self.report(CallEvent::SpeechStarted { utterance });
    }

    fn utterance_ended(&mut self, speech_end_sample: i64, end_sample: i64, end: SegmentEnd, now: Instant) {
        let Some(OpenUtterance { utterance, .. }) = self.open.take() else { return };
        if self.awaited.len() == MAX_AWAITED {
            self.awaited.pop_front();
            self.report(CallEvent::StaleMessage { service: Service::Recognition });
        }
        let silence = self.settings.rate.time_of(end_sample - speech_end_sample);
        self.awaited.push_back(AwaitedFinal {
            utterance,
            speech_end: now.checked_sub(silence).unwrap_or(now),
            endpoint: now,
            end,
            text: None,
        });
        self.outputs.push_back(Output::Recognizer(RecognizerCommand::EndUtterance { utterance, end_sample }));
        self.report(CallEvent::Endpoint { utterance });
        self.expect_final(now);
    }

    pub(super) fn recognizer_event(&mut self, event: RecognizerEvent, now: Instant) {
        match event {
            RecognizerEvent::Hypothesis { utterance, stage: Stage::Final, text, .. } => {
                let awaited = self.awaited.iter_mut().find(|awaited| awaited.utterance == utterance);
                let Some(awaited) = awaited else { return self.report_stale(Service::Recognition) };
                // A final never changes: the first one stands.
                if awaited.text.is_some() {
                    return self.report_stale(Service::Recognition);
                }
                awaited.text = Some(text.trim().to_owned());
            }
            // Partial and eager hypotheses change nothing yet: the end of the utterance is ours to decide.
            RecognizerEvent::Hypothesis { .. } => {}
            RecognizerEvent::UtteranceEnded { utterance } => {
                let at = self.awaited.iter().position(|awaited| awaited.utterance == utterance);
                let Some(awaited) = at.and_then(|at| self.awaited.remove(at)) else {
                    return self.report_stale(Service::Recognition);
                };
                self.patience.restore(Service::Recognition);
                self.timers.stop(Timer::FinalOverdue);
                self.expect_final(now);
                self.caller_said(awaited, now);
            }
        }
    }

    fn caller_said(&mut self, said: AwaitedFinal, now: Instant) {
        let text = said.text.unwrap_or_default();
        self.report(CallEvent::CallerSaid { utterance: said.utterance, text: text.clone() });
        if self.phase != Phase::Conversing {
            return;
        }
        if text.is_empty() {
            return match said.end {
                SegmentEnd::Silence => self.nothing_recognized(now),
                SegmentEnd::MaxLength => self.only_noise(now),
            };
        }
        self.caller_is_there();
        self.stop_reply(ReplyEnd::BargedIn, now);
        let reply = self.next_reply;
        let question = DialogCommand::UserTurn { utterance: said.utterance, text, reply };
        self.ask(Some(said.utterance), question, now);
        if let Some(reply) = &mut self.reply {
            reply.timeline.speech_end = Some(said.speech_end);
            reply.timeline.endpoint = Some(said.endpoint);
            reply.timeline.final_text = Some(now);
        }
    }

    /// Speech without words: a cough, a noise. What the bot was about to say stays valid; only if it has nothing to say
    /// and the caller is not speaking, the dialogue is asked.
    fn nothing_recognized(&mut self, now: Instant) {
        self.no_input_count = 0;
        if self.reply.is_some() {
            return;
        }
        let caller_goes_on = self.open.is_some() || !self.awaited.is_empty();
        if caller_goes_on && self.passed_over < MAX_PASSED_OVER {
            self.passed_over += 1;
            return;
        }
        self.passed_over = 0;
        self.nothing_recognized_count += 1;
        let notice = DialogNotice::NothingRecognized { count: self.nothing_recognized_count };
        self.ask(None, DialogCommand::Notice { notice, reply: self.next_reply }, now);
    }

    /// A sound without words that is as long as an utterance can be: music, a television, a hum. It hides the caller's
    /// silence, so it counts as that.
    fn only_noise(&mut self, now: Instant) {
        if self.reply.is_none() {
            self.no_input(now);
        }
    }

    /// Words or a key: whatever was counted in a row begins again.
    fn caller_is_there(&mut self) {
        self.no_input_count = 0;
        self.nothing_recognized_count = 0;
        self.passed_over = 0;
    }

    pub(super) fn dtmf(&mut self, digit: char, now: Instant) {
        self.report(CallEvent::Dtmf { digit });
        if self.phase != Phase::Conversing {
            return;
        }
        self.caller_is_there();
        self.stop_reply(ReplyEnd::Dtmf, now);
        self.ask(None, DialogCommand::Dtmf { digit, reply: self.next_reply }, now);
    }

    /// Nothing is being said and nothing is to be said: it is the caller's turn.
    pub(super) fn wait_for_input(&mut self, now: Instant) {
        if self.phase == Phase::Conversing && self.open.is_none() && self.awaited.is_empty() {
            self.timers.set(Timer::NoInput, now + self.settings.no_input.timeout);
        }
    }

    pub(super) fn no_input(&mut self, now: Instant) {
        self.no_input_count += 1;
        let notice = DialogNotice::NoInput { count: self.no_input_count };
        self.ask(None, DialogCommand::Notice { notice, reply: self.next_reply }, now);
    }

    pub(super) fn report_stale(&mut self, service: Service) {
        self.report(CallEvent::StaleMessage { service });
    }
}
