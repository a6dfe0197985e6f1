//! The per-call state machine: who is speaking, whose turn it is, what is said next. Sans-I/O.
//!
//! The owner (a media worker, or a test) calls
//!
//! - [`Call::handle`] for everything that happens,
//! - [`Call::hear`] with each frame of the caller's audio, when it comes,
//! - [`Call::speak`] once every 20 ms, to take one frame for the caller,
//! - [`Call::handle_timeout`] when [`Call::poll_timeout`] is due,
//!
//! and after each of these [`Call::poll_output`] until it returns `None`.

mod clauses;
mod engines;
mod event;
mod failing;
mod heard;
mod ids;
mod listening;
mod reply;
mod settings;
mod speaking;
mod timer;

pub use crate::vad::Endpointing;
pub use engines::{
    DialogAction, DialogCommand, DialogEvent, DialogNotice, DialplanTarget, RecognizerCommand, RecognizerEvent,
    Service, Stage, SynthesizerCommand, SynthesizerEvent,
};
pub use event::{CallEvent, EndReason, HangUpBy, ReplyEnd, Timeline};
pub use ids::{CallId, ReplyId, UtteranceIndex};
pub use settings::{BargeIn, CallSettings, NoInput, Watchdogs};

use crate::media::playout::Playout;
use crate::vad::{Detector, Segmenter};
use failing::Patience;
use listening::{AwaitedFinal, OpenUtterance};
use reply::Reply;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use timer::{Timer, TimerTable};

/// Reply audio that may wait to be played. Text is held back long before ([`speaking`]); this bounds an engine that
/// sends without being asked.
const PLAYOUT_CAPACITY: Duration = Duration::from_secs(60);

/// What happens to a call, other than audio.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Both legs are in the bridge: from now on the two sides hear each other.
    Connected,
    /// The caller pressed a key: `0`–`9`, `*`, `#`, `A`–`D`.
    Dtmf(char),
    /// From the recogniser.
    Recognizer(RecognizerEvent),
    /// From the synthesiser.
    Synthesizer(SynthesizerEvent),
    /// From the dialogue.
    Dialog(DialogEvent),
    /// The engine of this service failed and another one has taken its place, with a fresh session.
    EngineSwitched {
        /// Which service.
        service: Service,
        /// Configured name of the engine that failed.
        from: String,
        /// Configured name of the one in use now.
        to: String,
    },
    /// A fail-over was asked for, but there is no other engine: the one in use is kept.
    EngineKept {
        /// Which service.
        service: Service,
    },
    /// The engine of this service is gone and no other is left.
    EnginesExhausted {
        /// Which service.
        service: Service,
    },
    /// The caller is gone.
    CallerHungUp,
    /// The server wants the call to end, politely (drain).
    EndRequested,
}

/// What a call wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Give these samples of caller audio to the recogniser. The samples are those that were passed to [`Call::hear`] last;
    /// `start_sample` is the position of the first.
    CallerAudio {
        /// Position since the call began.
        start_sample: i64,
    },
    /// To the recogniser.
    Recognizer(RecognizerCommand),
    /// To the synthesiser.
    Synthesizer(SynthesizerCommand),
    /// To the dialogue.
    Dialog(DialogCommand),
    /// The engine of this service has not answered in time: take the next one. Answered by [`Input::EngineSwitched`],
    /// [`Input::EngineKept`] or [`Input::EnginesExhausted`].
    FailOver {
        /// Which service.
        service: Service,
        /// What was not done in time, for the log: "no final hypothesis within 2 s".
        overdue: &'static str,
    },
    /// The call has taken note of an [`Input::EngineSwitched`]: what follows is meant for the new engine.
    EngineAccepted {
        /// Which service.
        service: Service,
    },
    /// Something for the log and for whoever looks on.
    Event(CallEvent),
    /// The conversation is over; nothing follows. The owner ends the call accordingly.
    End(EndReason),
}

/// One frame of the caller's audio, as the receive path gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerFrame<'a> {
    /// What the caller sent, or what concealment made of a lost packet.
    Audio(&'a [i16]),
    /// Nothing has been received (before the first packet, hold, silence suppression).
    Silence,
}

/// How far the conversation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// The legs are not in the bridge yet; engines may work, nobody hears.
    Preparing,
    /// The two sides hear each other.
    Conversing,
    /// No engine is left for this service: the apology is playing.
    Apologizing { service: Service },
    /// The last audio is on its way; then the call ends like this.
    Leaving(EndReason),
    /// [`Output::End`] has been given.
    Ended,
}

/// One call. See the module's documentation for how it is driven.
#[derive(Debug)]
pub struct Call {
    settings: CallSettings,
    phase: Phase,
    // the caller's side
    detector: Detector,
    segmenter: Segmenter,
    /// Samples of caller audio so far.
    position: i64,
    open: Option<OpenUtterance>,
    next_utterance: UtteranceIndex,
    /// Utterances that were ended and whose final text is not complete.
    awaited: VecDeque<AwaitedFinal>,
    no_input_count: u32,
    nothing_recognized_count: u32,
    /// Noises that the dialogue was not told of since it was last told of one.
    passed_over: u32,
    // the bot's side
    reply: Option<Reply>,
    next_reply: ReplyId,
    playout: Playout,
    /// Position at which the caller was last reported to be in the reply.
    playback_reported: i64,
    // what is due, and what is wanted
    patience: Patience,
    timers: TimerTable,
    outputs: VecDeque<Output>,
}

impl Call {
    /// A call that is being set up: engines may already work, nothing is heard before [`Input::Connected`].
    ///
    /// Its first outputs ask for the greeting, so that it is ready when the caller is.
    pub fn new(settings: CallSettings, now: Instant) -> Self {
        let mut call = Self {
            phase: Phase::Preparing,
            detector: Detector::new(settings.rate),
            segmenter: Segmenter::new(&settings.endpointing, settings.rate),
            position: 0,
            open: None,
            next_utterance: UtteranceIndex(0),
            awaited: VecDeque::with_capacity(4),
            no_input_count: 0,
            nothing_recognized_count: 0,
            passed_over: 0,
            reply: None,
            next_reply: ReplyId(0),
            playout: Playout::new(settings.rate, PLAYOUT_CAPACITY),
            playback_reported: 0,
            patience: Patience::default(),
            timers: TimerTable::default(),
            outputs: VecDeque::with_capacity(16),
            settings,
        };
        call.open_conversation(now);
        call
    }

    /// Takes in what happened. After [`Output::End`] nothing has an effect.
    pub fn handle(&mut self, input: Input, now: Instant) {
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::Connected => self.connected(now),
            Input::Dtmf(digit) => self.dtmf(digit, now),
            Input::Recognizer(event) => self.recognizer_event(event, now),
            Input::Synthesizer(event) => self.synthesizer_event(event, now),
            Input::Dialog(event) => self.dialog_event(event, now),
            Input::EngineSwitched { service, from, to } => self.engine_switched(service, from, to, now),
            Input::EngineKept { service } => self.engine_kept(service, now),
            Input::EnginesExhausted { service } => self.engines_exhausted(service, now),
            Input::CallerHungUp => self.end(EndReason::HangUp(HangUpBy::Caller), now),
            Input::EndRequested => self.end(EndReason::Drained, now),
        }
    }

    /// Takes the next frame of the caller's audio, as soon as it is there: 20 ms at the rate of the call. Every stretch of
    /// 20 ms comes exactly once, with silence where nothing was received, so that the caller's time goes on.
    pub fn hear(&mut self, caller: CallerFrame<'_>, now: Instant) {
        if self.phase == Phase::Conversing {
            self.listen(caller, now);
        }
    }

    /// Fills the next frame (20 ms at the rate of the call) for the caller; to be called every 20 ms.
    pub fn speak(&mut self, out: &mut [i16], now: Instant) {
        match self.phase {
            Phase::Preparing | Phase::Ended => out.fill(0),
            Phase::Conversing => self.play(out, now),
            Phase::Apologizing { service } => {
                self.playout.frame(out);
                if self.playout.queued() == 0 {
                    self.leave(EndReason::EnginesExhausted { service }, now);
                }
            }
            Phase::Leaving(_) => {
                self.playout.frame(out);
            }
        }
    }

    /// So many samples of the last frames from [`Call::speak`] still wait to be heard and will be taken back by the transport,
    /// the first frame of them faded out, when a reply is stopped. 0 (as at the beginning) where they are heard at once.
    pub fn set_lookahead(&mut self, samples: usize) {
        self.playout.set_lookahead(samples);
    }

    /// When [`Call::handle_timeout`] is wanted, if at all.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Acts on everything that is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::NoInput => self.no_input(now),
                Timer::FinalOverdue => self.overdue(Service::Recognition, "no final hypothesis in time"),
                Timer::TextOverdue => self.overdue(Service::Dialog, "no text in time"),
                Timer::AudioOverdue => self.overdue(Service::Synthesis, "no audio in time"),
                Timer::Leave => {
                    if let Phase::Leaving(reason) = &self.phase {
                        let reason = reason.clone();
                        self.end(reason, now);
                    }
                }
            }
        }
    }

    /// The next thing to do, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the call was made with.
    pub fn settings(&self) -> &CallSettings {
        &self.settings
    }

    fn connected(&mut self, now: Instant) {
        if self.phase == Phase::Preparing {
            self.phase = Phase::Conversing;
            if self.reply.is_none() {
                self.wait_for_input(now);
            }
        }
    }

    /// The last audio has been given to the transport: end when it has been heard.
    fn leave(&mut self, reason: EndReason, now: Instant) {
        /// Packets on their way: the jitter buffers of Asterisk's peer and of the phone.
        const IN_FLIGHT: Duration = Duration::from_millis(200);
        self.timers.stop_all();
        self.timers.set(Timer::Leave, now + IN_FLIGHT);
        self.phase = Phase::Leaving(reason);
    }

    fn end(&mut self, reason: EndReason, now: Instant) {
        self.stop_reply(ReplyEnd::CallEnded, now);
        self.timers.stop_all();
        self.phase = Phase::Ended;
        self.outputs.push_back(Output::End(reason));
    }

    fn report(&mut self, event: CallEvent) {
        self.outputs.push_back(Output::Event(event));
    }
}
