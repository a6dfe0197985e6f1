//! How much of our audio waits in Asterisk's queue on a WebSocket leg, and keeping it there.
//!
//! Asterisk takes one frame every 20 ms by its own clock, and what is sent too early waits for ever: nothing in Asterisk
//! lets a backlog drain. What is sent too late is a gap. So two frames are kept waiting (never more than three, except
//! while a measurement is on its way), and how it stands is measured once a second and at the start of each reply, with
//! a mark: the time from the mark to Asterisk's answer is how long the frame before it waited. An Asterisk that does not
//! answer marks (before 22.8) is asked for the length of its queue instead.
//!
//! Arithmetic only: the time is passed in, what is to be done comes out.

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Correction {
    None,
    /// One frame more.
    Refill,
    /// One frame less.
    Trim,
    /// One frame less, whatever is in it.
    TrimAnything,
}

#[derive(Debug)]
pub(super) struct Lookahead {
    /// How long the last frame of a tick waits.
    delay: Duration,
    correction: Correction,
    /// When the last frame was sent.
    sent: Instant,
    measure: Instant,
    pending: Option<(u32, Instant)>,
    next_mark: u32,
    unanswered: u32,
}

impl Lookahead {
    /// Nothing waits yet.
    pub(super) const fn new(now: Instant) -> Self {
        let correction = Correction::Refill;
        Self { delay: LOW, correction, sent: now, measure: now, pending: None, next_mark: 0, unanswered: 0 }
    }

    /// What this tick sends.
    pub(super) fn due(&mut self, silent: bool, now: Instant) -> Due {
        let due = match self.correction {
            Correction::Refill => Due::SilenceAndFrame,
            Correction::TrimAnything => Due::Nothing,
            Correction::Trim if silent => Due::Nothing,
            Correction::Trim | Correction::None => Due::Frame,
        };
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
        self.correction = Correction::None;
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
        if self.pending.take().is_some() {
            self.unanswered += 1;
        }
        if self.unanswered >= UNANSWERED {
            return Some(Question::Status);
        }
        let mark = self.next_mark;
        self.next_mark = mark.wrapping_add(1);
        self.pending = Some((mark, now));
        Some(Question::Mark(mark))
    }

    /// Asterisk has come to a mark. Whether so much waits that the queue is to be emptied.
    pub(super) fn marked(&mut self, mark: u32, now: Instant) -> bool {
        // One that was flushed, or that a correction has overtaken, tells nothing.
        let Some((_, sent)) = self.pending.take_if(|(pending, _)| *pending == mark) else { return false };
        self.unanswered = 0;
        self.measured(now.saturating_duration_since(sent))
    }

    /// Asterisk has said how many frames wait. Whether that is so much that the queue is to be emptied.
    pub(super) fn counted(&mut self, frames: u32) -> bool {
        self.measured((FRAME_TIME * frames.min(1_000)).saturating_sub(FRAME_TIME / 2))
    }

    fn measured(&mut self, delay: Duration) -> bool {
        self.delay = delay;
        self.correction = if delay < LOW {
            Correction::Refill
        } else if delay > TOO_HIGH {
            Correction::TrimAnything
        } else if delay > HIGH {
            Correction::Trim
        } else {
            Correction::None
        };
        delay > BACKLOG
    }

    /// Frames that Asterisk has not taken yet.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        let rest = self.delay.saturating_sub(now.saturating_duration_since(self.sent));
        rest.as_nanos().div_ceil(FRAME_TIME.as_nanos()) as usize
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asterisk's side: takes a frame every 20 ms by a clock of its own.
    struct Queue {
        start: Instant,
        frames: Vec<Option<u32>>,
        takes: Duration,
        period: Duration,
        gaps: u32,
        marks: bool,
    }

    impl Queue {
        fn new(start: Instant, ppm: f64) -> Self {
            let period = FRAME_TIME.mul_f64(1.0 + ppm / 1e6);
            Self { start, frames: Vec::new(), takes: Duration::from_millis(7), period, gaps: 0, marks: true }
        }

        /// Runs until `now`; the marks that were come to, and when.
        fn run(&mut self, now: Instant) -> Vec<(u32, Instant)> {
            let mut marks = Vec::new();
            while self.start + self.takes <= now {
                let at = self.start + self.takes;
                self.takes += self.period;
                if self.frames.is_empty() {
                    self.gaps += 1;
                    continue;
                }
                self.frames.remove(0);
                while let Some(Some(mark)) = self.frames.first() {
                    marks.push((*mark, at));
                    self.frames.remove(0);
                }
            }
            marks
        }

        fn length(&self) -> usize {
            self.frames.iter().filter(|frame| frame.is_none()).count()
        }
    }

    /// Runs for so long; `speaks` tells when the frames are not silence. The most and the fewest frames that waited after
    /// the first second, and how often there was nothing to take.
    fn run(ppm: f64, marks: bool, time: Duration, speaks: impl Fn(u64) -> bool) -> (usize, usize, u32) {
        let start = Instant::now();
        let (mut queue, mut lookahead) = (Queue { marks, ..Queue::new(start, ppm) }, Lookahead::new(start));
        let (mut most, mut fewest, mut gaps) = (0, usize::MAX, 0);
        for tick in 0..(time.as_millis() / 20) as u64 {
            let now = start + FRAME_TIME * tick as u32;
            for (mark, at) in queue.run(now) {
                if queue.marks {
                    assert!(!lookahead.marked(mark, at));
                }
            }
            let sent = match lookahead.due(!speaks(tick), now) {
                Due::Frame => 1,
                Due::SilenceAndFrame => 2,
                Due::Nothing => 0,
            };
            queue.frames.extend(std::iter::repeat_n(None, sent));
            match lookahead.question(now) {
                Some(Question::Mark(mark)) => queue.frames.push(Some(mark)),
                Some(Question::Status) => assert!(!lookahead.counted(queue.length() as u32)),
                None => {}
            }
            if tick < 150 {
                gaps = queue.gaps;
            } else {
                most = most.max(queue.length());
                fewest = fewest.min(queue.length());
            }
        }
        (most, fewest, queue.gaps - gaps)
    }

    #[test]
    fn two_frames_wait_and_never_a_gap_with_two_unsynchronised_clocks() {
        for ppm in [0.0, 200.0, -200.0] {
            for marks in [true, false] {
                let (most, fewest, gaps) = run(ppm, marks, Duration::from_secs(1800), |_| false);
                assert!(gaps == 0 && fewest >= 1 && most <= 3, "{ppm} ppm, {marks}: {fewest} to {most}, {gaps} gaps");
            }
        }
    }

    /// asterisk#2115: a backlog never drains by itself.
    #[test]
    fn a_queue_that_has_grown_shrinks_in_the_next_silence_or_at_four_frames_at_once() {
        let time = Duration::from_secs(3600);
        let (most, _, gaps) = run(200.0, true, time, |tick| tick % 500 > 100);
        assert!(most <= 3 && gaps == 0, "{most} waiting, {gaps} gaps");
        // Somebody who never pauses, on a clock that is slower than ours.
        let (most, _, gaps) = run(200.0, true, time, |_| true);
        assert!(most <= 4 && gaps == 0, "{most} waiting, {gaps} gaps");
    }

    #[test]
    fn a_mark_that_was_flushed_is_forgotten_and_what_comes_of_it_is_nothing() {
        let start = Instant::now();
        let mut lookahead = Lookahead::new(start);
        lookahead.due(true, start);
        let Some(Question::Mark(mark)) = lookahead.question(start) else { panic!("a measurement") };
        lookahead.flushed(2, start);
        let before = lookahead.waiting(start);
        assert!(!lookahead.marked(mark, start + Duration::from_secs(9)));
        assert_eq!(lookahead.waiting(start), before);
        assert_eq!(lookahead.unanswered, 0, "a mark that was taken back says nothing about Asterisk");
    }

    #[test]
    fn seconds_of_backlog_are_to_be_flushed() {
        let start = Instant::now();
        let mut lookahead = Lookahead::new(start);
        assert!(lookahead.counted(800));
        lookahead.flushed(1, start);
        assert_eq!(lookahead.waiting(start), 2);
    }

    #[test]
    fn what_waits_is_known_between_the_ticks() {
        let start = Instant::now();
        let mut lookahead = Lookahead::new(start);
        lookahead.due(true, start);
        let Some(Question::Mark(mark)) = lookahead.question(start) else { panic!("a measurement") };
        lookahead.marked(mark, start + Duration::from_millis(27));
        lookahead.due(true, start + FRAME_TIME * 2);
        let at = |millis| lookahead.waiting(start + FRAME_TIME * 2 + Duration::from_millis(millis));
        assert_eq!([at(0), at(6), at(8), at(26), at(28)], [2, 2, 1, 1, 0]);
    }
}
