//! How much of our audio waits in Asterisk's queue on a WebSocket leg, and keeping it there.
//!
//! Asterisk takes one frame every 20 ms by its own clock, and what is sent too early waits for ever: nothing in Asterisk
//! lets a backlog drain. What is sent too late is a gap. So two frames are kept waiting (never more than three, except
//! while a measurement is on its way), and how it stands is measured once a second and at the start of each reply, with
//! a mark: the time from the mark to Asterisk's answer is how long the frame before it waited. An Asterisk that does not
//! answer marks (before 22.8), or answers them before it should, is asked for the length of its queue instead; so is one
//! that passes frames through as they come ([`Mode::PassThrough`]).
//!
//! Arithmetic only: the time is passed in, what is to be done comes out.

#[cfg(test)]
mod tests;

use crate::audio::FRAME_TIME;
use std::time::{Duration, Instant};

/// What a frame waits at least; less is refilled. The second frame of the look-ahead is about to be taken then.
const LOW: Duration = FRAME_TIME;
/// What a frame waits at most; more is made good where the caller cannot hear it, in silence.
const HIGH: Duration = Duration::from_millis(45);
/// From here it is made good even in the middle of a word.
const TOO_HIGH: Duration = Duration::from_millis(65);
/// No longer a matter of frames: the queue is to be emptied.
const BACKLOG: Duration = Duration::from_millis(200);
/// What is assumed where nothing is known: two frames, one of which is taken at any moment.
const USUAL: Duration = Duration::from_millis(30);

const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// After a correction it is looked again whether it helped.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Marks in a row without an answer, after which they are taken to be unknown to this Asterisk.
const UNANSWERED: u32 = 2;
/// Refills in a row that were measured to be still too little, after which the measure is not believed: one is enough.
const FUTILE: u32 = 3;
/// Where nothing else can be asked, one more is tried in so many measurements.
const TRY_AGAIN: u32 = 16;
/// Frames that wait when Asterisk wants no more (`QUEUE_LENGTH_XOFF_LEVEL` of `chan_websocket`).
const XOFF_FRAMES: u32 = 900;

/// What Asterisk does with what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It knows the frames of the codec: it takes marks, and can forget what waits.
    Framed,
    /// It passes messages through (Opus). It takes them just as slowly, but answers marks and a flush with `ERROR`; the
    /// status alone it tells (`handle_command` of `chan_websocket`, 22.10). So nothing can be taken back, and a backlog
    /// is left out at our end.
    PassThrough,
}

/// What to do with the frame of this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Frame,
    /// A frame of silence before it.
    SilenceAndFrame,
    /// It is not sent.
    Nothing,
}

/// What to ask Asterisk, behind the frame of this tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Mark(u32),
    Status,
}

/// What is asked until it proves to be of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Marks,
    Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Correction {
    None,
    /// One frame more.
    Refill,
    /// One frame less.
    Trim,
    /// So many frames less, whatever is in them.
    TrimAnything(u32),
}

#[derive(Debug)]
pub(super) struct Lookahead {
    mode: Mode,
    asks: Asks,
    /// How long the last frame of a tick waits.
    delay: Duration,
    correction: Correction,
    /// When the last frame was sent.
    sent: Instant,
    measure: Instant,
    pending: Option<(Question, Instant)>,
    next_mark: u32,
    unanswered: u32,
    /// Measurements in a row of too little.
    low: u32,
}

impl Lookahead {
    /// Nothing waits yet.
    pub(super) const fn new(mode: Mode, now: Instant) -> Self {
        Self {
            mode,
            asks: match mode {
                Mode::Framed => Asks::Marks,
                Mode::PassThrough => Asks::Status,
            },
            delay: LOW,
            correction: Correction::Refill,
            sent: now,
            measure: now,
            pending: None,
            next_mark: 0,
            unanswered: 0,
            low: 0,
        }
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    /// What this tick sends.
    pub(super) fn due(&mut self, silent: bool, now: Instant) -> Due {
        let (due, next) = match self.correction {
            Correction::Refill => (Due::SilenceAndFrame, Correction::None),
            Correction::TrimAnything(more @ 2..) => (Due::Nothing, Correction::TrimAnything(more - 1)),
            Correction::TrimAnything(_) => (Due::Nothing, Correction::None),
            Correction::Trim if silent => (Due::Nothing, Correction::None),
            Correction::Trim | Correction::None => (Due::Frame, self.correction),
        };
        self.correction = next;
        match due {
            Due::Frame => {}
            Due::SilenceAndFrame => self.corrected(self.delay + FRAME_TIME, now),
            Due::Nothing => self.corrected(self.delay.saturating_sub(FRAME_TIME), now),
        }
        if due != Due::Nothing {
            self.sent = now;
        }
        due
    }

    fn corrected(&mut self, delay: Duration, now: Instant) {
        self.delay = delay;
        self.pending = None;
        self.measure = self.measure.min(now + LOOK_AGAIN);
    }

    /// A reply begins: how it stands is worth knowing now.
    pub(super) fn measure_now(&mut self, now: Instant) {
        self.measure = now;
    }

    /// What to ask behind the frame that was sent just now, if anything.
    pub(super) fn question(&mut self, now: Instant) -> Option<Question> {
        if now < self.measure {
            return None;
        }
        self.measure = now + MEASURE_EVERY;
        if let Some((Question::Mark(_), _)) = self.pending.take() {
            self.unanswered += 1;
            if self.unanswered >= UNANSWERED {
                self.asks = Asks::Status;
            }
        }
        let question = match self.asks {
            Asks::Marks => {
                let mark = self.next_mark;
                self.next_mark = mark.wrapping_add(1);
                Question::Mark(mark)
            }
            Asks::Status => Question::Status,
        };
        self.pending = Some((question, now));
        Some(question)
    }

    /// Asterisk has come to a mark. Whether so much waits that the queue is to be emptied.
    pub(super) fn marked(&mut self, mark: u32, now: Instant) -> bool {
        let Some(asked) = self.answered(Question::Mark(mark)) else { return false };
        self.unanswered = 0;
        self.measured(now.saturating_duration_since(asked))
    }

    /// Asterisk has said how many frames wait. Whether that is so much that the queue is to be emptied.
    pub(super) fn counted(&mut self, frames: u32) -> bool {
        self.answered(Question::Status).is_some() && self.measured(waits(frames))
    }

    /// When that was asked. An answer that a flush or a correction has overtaken tells nothing.
    fn answered(&mut self, question: Question) -> Option<Instant> {
        self.pending.take_if(|(pending, _)| *pending == question).map(|(_, asked)| asked)
    }

    /// Asterisk wants no more, and it cannot be told to forget what it has.
    pub(super) fn full(&mut self) {
        self.pending = None;
        self.measured(waits(XOFF_FRAMES));
    }

    fn measured(&mut self, delay: Duration) -> bool {
        self.delay = delay;
        if delay >= LOW {
            self.low = 0;
        }
        self.correction = if delay < LOW {
            self.refill()
        } else if delay > BACKLOG {
            // Where it cannot be emptied, all that is too much is left out.
            Correction::TrimAnything(((delay - USUAL).as_nanos() / FRAME_TIME.as_nanos()) as u32)
        } else if delay > TOO_HIGH {
            Correction::TrimAnything(1)
        } else if delay > HIGH {
            Correction::Trim
        } else {
            Correction::None
        };
        delay > BACKLOG && self.mode == Mode::Framed
    }

    /// What to do about too little: more of it, as long as that is of use.
    fn refill(&mut self) -> Correction {
        let tried = self.low;
        self.low = tried.saturating_add(1);
        match self.asks {
            _ if tried < FUTILE => Correction::Refill,
            Asks::Marks => {
                self.asks = Asks::Status;
                self.low = 0;
                Correction::None
            }
            Asks::Status if tried.is_multiple_of(TRY_AGAIN) => Correction::Refill,
            Asks::Status => Correction::None,
        }
    }

    /// Frames that Asterisk has not taken yet, and that can be taken back.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        match self.mode {
            Mode::Framed => {
                let rest = self.delay.saturating_sub(now.saturating_duration_since(self.sent));
                rest.as_nanos().div_ceil(FRAME_TIME.as_nanos()) as usize
            }
            Mode::PassThrough => 0,
        }
    }

    /// All that waited was taken back, and `frames` were sent in its place.
    pub(super) fn flushed(&mut self, frames: usize, now: Instant) {
        if self.delay > TOO_HIGH || frames == 0 {
            self.delay = USUAL;
        }
        self.correction = Correction::None;
        self.pending = None;
        self.measure = self.measure.min(now + LOOK_AGAIN);
    }

    /// Nothing waits, as at the beginning.
    pub(super) fn emptied(&mut self, now: Instant) {
        self.correction = Correction::Refill;
        self.delay = LOW;
        self.pending = None;
        self.measure = now;
    }
}

/// How long the last of so many frames waits.
fn waits(frames: u32) -> Duration {
    (FRAME_TIME * frames.min(1_000)).saturating_sub(FRAME_TIME / 2)
}
