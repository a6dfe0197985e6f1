//! When an engine is late or gone: ask for the next one and give it what it needs to go on; when none is left, say so to
//! the caller and give the call back.

use super::engines::Service;
use super::event::{CallEvent, EndReason, ReplyEnd};
use super::timer::Timer;
use super::{Call, Output, Phase};
use std::time::{Duration, Instant};

/// How often in a row the only engine of a service may be late, with twice the time each time, before it is given up.
const CHANCES: u32 = 3;

/// How often each service was late in a row.
#[derive(Debug, Default)]
pub(super) struct Patience {
    late: [u32; Service::ALL.len()],
}

impl Patience {
    /// It has answered.
    pub(super) fn restore(&mut self, service: Service) {
        self.late[service as usize] = 0;
    }

    fn stretched(&self, service: Service, limit: Duration) -> Duration {
        limit * 2u32.pow(self.late[service as usize])
    }
}

impl Call {
    /// Starts the watchdog of the recogniser if something is owed and it does not run.
    pub(super) fn expect_final(&mut self, now: Instant) {
        if self.awaited.is_empty() {
            self.timers.stop(Timer::FinalOverdue);
        } else if !self.timers.is_set(Timer::FinalOverdue) {
            let limit = self.patience.stretched(Service::Recognition, self.settings.watchdogs.final_hypothesis);
            self.timers.set(Timer::FinalOverdue, now + limit);
        }
    }

    /// Starts the watchdog of the dialogue if it owes text and the watchdog does not run.
    pub(super) fn expect_text(&mut self, now: Instant) {
        let owed = self.reply.as_ref().is_some_and(|reply| !reply.text_is_complete());
        if !owed {
            self.timers.stop(Timer::TextOverdue);
        } else if !self.timers.is_set(Timer::TextOverdue) {
            let limit = self.patience.stretched(Service::Dialog, self.settings.watchdogs.first_text);
            self.timers.set(Timer::TextOverdue, now + limit);
        }
    }

    /// Starts the watchdog of the synthesiser if it owes audio, nothing is left to play, and the watchdog does not run.
    pub(super) fn expect_audio(&mut self, now: Instant) {
        let owed = self.reply.as_ref().filter(|reply| reply.waits_for_audio() && self.playout.queued() == 0);
        let Some(reply) = owed else { return self.timers.stop(Timer::AudioOverdue) };
        if !self.timers.is_set(Timer::AudioOverdue) {
            let watchdogs = &self.settings.watchdogs;
            let limit = if reply.received() == 0 { watchdogs.first_audio } else { watchdogs.next_audio };
            self.timers.set(Timer::AudioOverdue, now + self.patience.stretched(Service::Synthesis, limit));
        }
    }

    /// A watchdog has fired. It starts again when the answer to this comes.
    pub(super) fn overdue(&mut self, service: Service, overdue: &'static str) {
        self.outputs.push_back(Output::FailOver { service, overdue });
    }

    /// There is no other engine: the late one gets more time, a few times.
    pub(super) fn engine_kept(&mut self, service: Service, now: Instant) {
        let late = &mut self.patience.late[service as usize];
        *late += 1;
        if *late >= CHANCES {
            return self.engines_exhausted(service, now);
        }
        match service {
            Service::Recognition => self.expect_final(now),
            Service::Synthesis => self.expect_audio(now),
            Service::Dialog => self.expect_text(now),
        }
    }

    pub(super) fn engine_switched(&mut self, service: Service, from: String, to: String, now: Instant) {
        self.outputs.push_back(Output::EngineAccepted { service });
        self.report(CallEvent::EngineSwitched { service, from, to });
        self.patience.restore(service);
        match service {
            // The session has replayed the audio that was not final; the text is owed from now on.
            Service::Recognition => {
                self.timers.stop(Timer::FinalOverdue);
                self.expect_final(now);
            }
            Service::Synthesis => self.resume_synthesis(now),
            Service::Dialog => self.ask_again(now),
        }
    }

    /// The new synthesiser goes on after the last clause that the old one finished.
    fn resume_synthesis(&mut self, now: Instant) {
        self.timers.stop(Timer::AudioOverdue);
        let played = self.playout.played();
        let hz = self.settings.rate.hz();
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.is_being_synthesized() && !reply.is_complete()) {
            let end = reply.restart_synthesis(played, hz);
            self.playout.truncate(end);
            self.feed_synthesizer(now);
        }
    }

    /// The new dialogue gets the question again, unless the old one had begun to answer: then what there is of the
    /// answer is spoken, and the caller can go on from there.
    fn ask_again(&mut self, now: Instant) {
        self.timers.stop(Timer::TextOverdue);
        let Some(reply) = self.reply.as_mut().filter(|reply| !reply.text_is_complete()) else { return };
        match &reply.question {
            Some(question) if !reply.has_words() => {
                // What is to be done with the call is asked again too.
                reply.action = None;
                self.outputs.push_back(Output::Dialog(question.clone()));
                self.expect_text(now);
            }
            _ => {
                reply.complete_text();
                self.feed_synthesizer(now);
            }
        }
    }

    /// Nothing is left: a recorded apology, then back to the dialplan. Before the caller hears us, at once.
    pub(super) fn engines_exhausted(&mut self, service: Service, now: Instant) {
        match self.phase {
            Phase::Preparing => self.end(EndReason::EnginesExhausted { service }, now),
            Phase::Conversing => {
                self.stop_reply(ReplyEnd::EnginesExhausted, now);
                self.timers.stop_all();
                self.playout.push(self.settings.apology.to_vec());
                self.phase = Phase::Apologizing { service };
            }
            Phase::Apologizing { .. } | Phase::Leaving(_) | Phase::Ended => {}
        }
    }
}
