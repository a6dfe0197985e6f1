//! The bot's side of a call: the question to the dialogue, its text to the synthesiser clause by clause, the audio to
//! the caller, and stopping all of that at once.

use super::engines::{
    DialogAction, DialogCommand, DialogEvent, DialogNotice, Service, SynthesizerCommand, SynthesizerEvent,
};
use super::event::{CallEvent, EndReason, HangUpBy, ReplyEnd};
use super::ids::{ReplyId, UtteranceIndex};
use super::reply::Reply;
use super::timer::Timer;
use super::{Call, Output, Phase};
use std::time::{Duration, Instant};

/// Text is held back while so much audio waits to be played: a barge-in would only throw it away, and it bounds memory.
const ENOUGH_AUDIO: Duration = Duration::from_secs(8);

/// A reply that is ready waits at most so long for a caller who goes on. Long enough for somebody who only took breath;
/// short enough for a caller whose music, television or bad line never falls silent.
const MAX_HOLD: Duration = Duration::from_secs(5);

/// A mark may be so far ahead of its audio.
const MARK_TOLERANCE: Duration = Duration::from_secs(1);

/// The synthesiser is told how far the caller has heard about this often.
const PLAYBACK_REPORT: Duration = Duration::from_secs(1);

impl Call {
    /// Prepares the first reply: the greeting, or whatever the dialogue opens with.
    pub(super) fn open_conversation(&mut self, now: Instant) {
        if let Some(greeting) = self.settings.greeting.clone() {
            let mut reply = Reply::new(self.take_reply_id(), None, None);
            let dropped = reply.append(&greeting, now);
            reply.complete_text();
            self.report_text_overflow(reply.id, dropped);
            self.reply = Some(reply);
            self.feed_synthesizer(now);
        } else {
            let question = DialogCommand::Notice { notice: DialogNotice::CallStarted, reply: self.next_reply };
            self.ask(None, question, now);
        }
    }

    /// Puts a question, which carries [`Call::next_reply`] as its id, to the dialogue, and makes its answer the reply.
    pub(super) fn ask(&mut self, utterance: Option<UtteranceIndex>, question: DialogCommand, now: Instant) {
        self.timers.stop(Timer::NoInput);
        let id = self.take_reply_id();
        self.outputs.push_back(Output::Dialog(question.clone()));
        self.reply = Some(Reply::new(id, utterance, Some(question)));
        self.expect_text(now);
    }

    fn take_reply_id(&mut self) -> ReplyId {
        let id = self.next_reply;
        self.next_reply = id.next();
        self.playback_reported = 0;
        id
    }

    /// Whether the caller is hearing a reply.
    pub(super) fn is_speaking(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.timeline.first_packet.is_some())
    }

    /// Fills a frame for the caller.
    pub(super) fn play(&mut self, out: &mut [i16], now: Instant) {
        if self.is_held(now) {
            return self.playout.hold(out);
        }
        let played = self.playout.frame(out);
        let Some(reply) = &mut self.reply else { return };
        if played > 0 && reply.timeline.first_packet.is_none() {
            reply.timeline.first_packet = Some(now);
            let reply = reply.id;
            if let Some(open) = &mut self.open {
                open.may_barge_in = false;
            }
            self.report(CallEvent::ReplyStarted { reply });
        }
        self.report_playback();
        self.feed_synthesizer(now);
        self.finish_if_complete(now);
    }

    /// A reply does not begin while the caller speaks: if there are words in what is said, they supersede it. But a sound
    /// that never ends must not silence the bot.
    fn is_held(&mut self, now: Instant) -> bool {
        if self.is_speaking() || self.open.is_none() && self.awaited.is_empty() {
            return false;
        }
        match &mut self.reply {
            Some(reply) if self.playout.queued() > 0 => reply.hold(now) < MAX_HOLD,
            _ => true,
        }
    }

    fn report_playback(&mut self) {
        let Some(reply) = &self.reply else { return };
        let played_sample = self.playout.heard();
        if played_sample - self.playback_reported >= self.settings.rate.samples_in(PLAYBACK_REPORT) {
            self.playback_reported = played_sample;
            let (reply, played_sample) = (reply.id, reply.session_position(played_sample));
            self.outputs.push_back(Output::Synthesizer(SynthesizerCommand::Playback { reply, played_sample }));
        }
    }

    /// Gives the synthesiser what it may have, and keeps its watchdog.
    pub(super) fn feed_synthesizer(&mut self, now: Instant) {
        let Some(reply) = &mut self.reply else { return };
        let enough = self.settings.rate.samples_in(ENOUGH_AUDIO) as usize;
        while self.playout.queued() < enough
            && let Some(text) = reply.next_clause()
        {
            self.outputs.push_back(Output::Synthesizer(SynthesizerCommand::Text { reply: reply.id, text }));
        }
        if reply.take_flush() {
            self.outputs.push_back(Output::Synthesizer(SynthesizerCommand::Flush { reply: reply.id }));
        }
        self.expect_audio(now);
    }

    pub(super) fn dialog_event(&mut self, event: DialogEvent, now: Instant) {
        let (DialogEvent::Text { reply: id, .. }
        | DialogEvent::Action { reply: id, .. }
        | DialogEvent::Done { reply: id }) = event;
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id && !reply.text_is_complete()) else {
            return self.report_stale(Service::Dialog);
        };
        match event {
            DialogEvent::Text { delta, .. } => {
                let dropped = reply.append(&delta, now);
                self.report_text_overflow(id, dropped);
                self.patience.restore(Service::Dialog);
                self.timers.stop(Timer::TextOverdue);
                self.expect_text(now);
            }
            DialogEvent::Action { action, .. } => reply.action = Some(action),
            DialogEvent::Done { .. } => {
                reply.complete_text();
                self.patience.restore(Service::Dialog);
                self.timers.stop(Timer::TextOverdue);
            }
        }
        self.feed_synthesizer(now);
        self.finish_if_complete(now);
    }

    fn report_text_overflow(&mut self, reply: ReplyId, dropped: usize) {
        if dropped > 0 {
            self.report(CallEvent::TextOverflow { reply, bytes: dropped });
        }
    }

    pub(super) fn synthesizer_event(&mut self, event: SynthesizerEvent, now: Instant) {
        let id = match event {
            SynthesizerEvent::Audio { reply, .. }
            | SynthesizerEvent::Mark { reply, .. }
            | SynthesizerEvent::Done { reply } => reply,
            // What was cancelled is forgotten here already.
            SynthesizerEvent::Cancelled { .. } => return,
        };
        let Some(reply) = self.reply.as_mut().filter(|reply| reply.id == id && reply.is_being_synthesized()) else {
            return self.report_stale(Service::Synthesis);
        };
        match event {
            SynthesizerEvent::Audio { pcm, .. } => {
                let samples = pcm.len();
                let is_first = reply.timeline.first_audio.is_none();
                let dropped = self.playout.push(pcm);
                reply.audio(samples - dropped, now);
                self.patience.restore(Service::Synthesis);
                self.timers.stop(Timer::AudioOverdue);
                if is_first && self.phase == Phase::Preparing {
                    self.report(CallEvent::ReplyReady { reply: id });
                }
                if dropped > 0 {
                    self.report(CallEvent::PlayoutOverflow { reply: id, samples: dropped });
                }
            }
            SynthesizerEvent::Mark { text_end, sample, .. } => {
                if !reply.mark(text_end, sample, self.settings.rate.samples_in(MARK_TOLERANCE)) {
                    self.report_stale(Service::Synthesis);
                }
            }
            SynthesizerEvent::Done { .. } if reply.is_flushed() => reply.complete_audio(),
            // More text is to come: it cannot be done.
            SynthesizerEvent::Done { .. } => self.report_stale(Service::Synthesis),
            SynthesizerEvent::Cancelled { .. } => {}
        }
        self.feed_synthesizer(now);
        self.finish_if_complete(now);
    }

    /// Ends the reply if all of it was played; then its action, or the caller's turn.
    fn finish_if_complete(&mut self, now: Instant) {
        let may_finish = self.phase == Phase::Conversing && self.playout.queued() == 0;
        if let Some(reply) = self.reply.take_if(|reply| may_finish && reply.is_complete()) {
            let action = reply.action.clone();
            self.timers.stop(Timer::TextOverdue);
            self.timers.stop(Timer::AudioOverdue);
            let played = self.playout.discard();
            self.close_reply(reply, played, ReplyEnd::Finished, now);
            match action {
                Some(DialogAction::HangUp) => self.leave(EndReason::HangUp(HangUpBy::Bot), now),
                Some(DialogAction::Continue { target }) => self.leave(EndReason::Continue { target }, now),
                None => self.wait_for_input(now),
            }
        }
    }

    /// Stops the reply, if there is one: the next frame fades to silence, the engines are told what was heard.
    pub(super) fn stop_reply(&mut self, end: ReplyEnd, now: Instant) {
        let Some(mut reply) = self.reply.take() else { return };
        self.timers.stop(Timer::TextOverdue);
        self.timers.stop(Timer::AudioOverdue);
        if end == ReplyEnd::BargedIn && reply.timeline.first_packet.is_some() {
            reply.timeline.barge_in = Some(now);
        }
        let played_sample = self.playout.stop();
        if reply.is_being_synthesized() {
            let cancel =
                SynthesizerCommand::Cancel { reply: reply.id, played_sample: reply.session_position(played_sample) };
            self.outputs.push_back(Output::Synthesizer(cancel));
        }
        let heard_text = reply.heard_text(played_sample, self.settings.rate.hz()).to_owned();
        self.outputs.push_back(Output::Dialog(DialogCommand::Interrupt { reply: reply.id, heard_text, played_sample }));
        self.close_reply(reply, played_sample, end, now);
    }

    fn close_reply(&mut self, mut reply: Reply, played: i64, end: ReplyEnd, now: Instant) {
        let heard_text = reply.heard_text(played, self.settings.rate.hz()).to_owned();
        if reply.timeline.first_packet.is_some() {
            reply.timeline.stop = Some(now);
        }
        self.report(CallEvent::ReplyEnded { reply: reply.id, heard_text, end });
        self.report(CallEvent::TurnEnded(Box::new(reply.timeline)));
    }
}
