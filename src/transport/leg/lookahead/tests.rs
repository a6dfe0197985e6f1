//! The look-ahead against a queue with a clock of its own.

use super::*;
use std::ops::Range;

/// How Asterisk answers marks and the question for its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Marks,
    StatusOnly,
    /// Marks at once, whatever waits.
    MarksAtOnce,
    /// Marks at once, and that nothing waits.
    NothingWaits,
}

/// Asterisk's side: takes a frame every 20 ms by a clock of its own.
struct Queue {
    start: Instant,
    frames: Vec<Option<u32>>,
    takes: Duration,
    period: Duration,
    gaps: u32,
}

impl Queue {
    fn new(start: Instant, ppm: f64) -> Self {
        let period = FRAME_TIME.mul_f64(1.0 + ppm / 1e6);
        Self { start, frames: Vec::new(), takes: Duration::from_millis(7), period, gaps: 0 }
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

/// A far end, and what is said to it.
struct Course {
    mode: Mode,
    answers: Answers,
    /// How much slower than ours the clock of Asterisk is.
    ppm: f64,
    time: Duration,
    /// Ticks in which the connection stands still; then all that was sent arrives at once.
    stall: Range<u64>,
    /// From when on it is looked at.
    from: u64,
}

/// What became of it.
#[derive(Debug)]
struct Outcome {
    /// Frames that waited after the beginning.
    most: usize,
    fewest: usize,
    /// Times that there was nothing to take.
    gaps: u32,
    refills: usize,
    /// Frames left out that were not silence.
    cut: usize,
}

impl Course {
    fn new(answers: Answers, ppm: f64, time: Duration) -> Self {
        Self { mode: Mode::Framed, answers, ppm, time, stall: 0..0, from: 150 }
    }

    /// `speaks` tells when the frames are not silence.
    fn run(self, speaks: impl Fn(u64) -> bool) -> Outcome {
        let Self { mode, answers, ppm, time, stall, from } = self;
        let start = Instant::now();
        let (mut queue, mut lookahead) = (Queue::new(start, ppm), Lookahead::new(mode, start));
        let mut outcome = Outcome { most: 0, fewest: usize::MAX, gaps: 0, refills: 0, cut: 0 };
        let (mut early, mut on_its_way) = (0, Vec::new());
        for tick in 0..(time.as_millis() / 20) as u64 {
            let now = start + FRAME_TIME * tick as u32;
            for (mark, at) in queue.run(now) {
                if answers == Answers::Marks {
                    assert!(!lookahead.marked(mark, at));
                }
            }
            let sent = match lookahead.due(!speaks(tick), now) {
                Due::Frame => 1,
                Due::SilenceAndFrame => 2,
                Due::Nothing => 0,
            };
            outcome.refills += usize::from(sent == 2);
            outcome.cut += usize::from(sent == 0 && speaks(tick));
            let question = (sent > 0).then(|| lookahead.question(now)).flatten();
            on_its_way.push((sent, question));
            if !stall.contains(&tick) {
                for (sent, question) in on_its_way.drain(..) {
                    queue.frames.extend(std::iter::repeat_n(None, sent));
                    let waits = queue.length() as u32;
                    let flush = match (question, answers) {
                        (Some(Question::Mark(_)), _) if mode == Mode::PassThrough => panic!("it answers ERROR"),
                        (Some(Question::Mark(mark)), Answers::Marks) => {
                            queue.frames.push(Some(mark));
                            false
                        }
                        (Some(Question::Mark(mark)), Answers::MarksAtOnce | Answers::NothingWaits) => {
                            lookahead.marked(mark, now + Duration::from_millis(1))
                        }
                        (Some(Question::Status), Answers::NothingWaits) => lookahead.counted(0),
                        (Some(Question::Status), _) => lookahead.counted(waits),
                        (Some(Question::Mark(_)), Answers::StatusOnly) | (None, _) => false,
                    };
                    assert!(!flush);
                }
            }
            if tick < from {
                early = queue.gaps;
            } else {
                outcome.most = outcome.most.max(queue.length());
                outcome.fewest = outcome.fewest.min(queue.length());
            }
        }
        outcome.gaps = queue.gaps - early;
        outcome
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn two_frames_wait_and_never_a_gap_with_two_unsynchronised_clocks() {
    for ppm in [0.0, 200.0, -200.0] {
        for answers in [Answers::Marks, Answers::StatusOnly] {
            let outcome = Course::new(answers, ppm, HOUR / 2).run(|_| false);
            let held = outcome.gaps == 0 && outcome.fewest >= 1 && outcome.most <= 3;
            assert!(held, "{ppm} ppm, {answers:?}: {outcome:?}");
        }
    }
}

/// asterisk#2115: a backlog never drains by itself.
#[test]
fn a_queue_that_has_grown_shrinks_in_the_next_silence_or_at_four_frames_at_once() {
    let outcome = Course::new(Answers::Marks, 200.0, HOUR).run(|tick| tick % 500 > 100);
    assert!(outcome.most <= 3 && outcome.gaps == 0 && outcome.cut == 0, "{outcome:?}");
    // Somebody who never pauses, on a clock that is slower than ours.
    let outcome = Course::new(Answers::Marks, 200.0, HOUR).run(|_| true);
    assert!(outcome.most <= 4 && outcome.gaps == 0, "{outcome:?}");
}

/// jambonz#811: marks that are returned at once, by a proxy for example, say that nothing waits.
#[test]
fn jambonz_811_marks_that_are_answered_at_once_are_not_believed_for_long() {
    for ppm in [0.0, 200.0, -200.0] {
        let course = Course { from: 500, ..Course::new(Answers::MarksAtOnce, ppm, HOUR / 6) };
        let outcome = course.run(|tick| tick % 500 > 100);
        let held = outcome.gaps == 0 && outcome.fewest >= 1 && outcome.most <= 3;
        assert!(held && outcome.refills < 20, "{ppm} ppm: {outcome:?}");
    }
    // Where nothing that is said is true, little is done about it.
    let outcome = Course::new(Answers::NothingWaits, 0.0, HOUR / 6).run(|_| true);
    assert!(outcome.refills <= 50, "{outcome:?} in ten minutes");
}

#[test]
fn what_is_passed_through_waits_no_longer_after_an_hour_and_after_a_stall() {
    let pass_through = |ppm| Course { mode: Mode::PassThrough, ..Course::new(Answers::StatusOnly, ppm, HOUR) };
    for ppm in [0.0, 200.0, -200.0] {
        let outcome = pass_through(ppm).run(|tick| tick % 500 > 100);
        let held = outcome.gaps == 0 && outcome.fewest >= 1 && outcome.most <= 3;
        assert!(held && outcome.cut == 0, "{ppm} ppm: {outcome:?}");
        // Three seconds, as TCP repeats; what has come too late is left out within five.
        for talks in [true, false] {
            let outcome = Course { stall: 5_000..5_150, from: 5_400, ..pass_through(ppm) }.run(|_| talks);
            assert!(outcome.gaps == 0 && outcome.most <= 4, "{ppm} ppm, talks: {talks}: {outcome:?}");
        }
    }
}

#[test]
fn a_queue_that_is_full_and_cannot_be_emptied_runs_empty() {
    let start = Instant::now();
    let mut lookahead = Lookahead::new(Mode::PassThrough, start);
    lookahead.due(true, start);
    lookahead.full();
    let left_out = (1..).take_while(|tick| lookahead.due(false, start + FRAME_TIME * *tick) == Due::Nothing).count();
    assert_eq!(left_out, 898);
}

#[test]
fn a_mark_that_was_flushed_is_forgotten_and_what_comes_of_it_is_nothing() {
    let start = Instant::now();
    let mut lookahead = Lookahead::new(Mode::Framed, start);
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
    let mut lookahead = Lookahead::new(Mode::Framed, start);
    lookahead.asks = Asks::Status;
    assert_eq!(lookahead.question(start), Some(Question::Status));
    assert!(lookahead.counted(800));
    lookahead.flushed(1, start);
    assert_eq!(lookahead.waiting(start), 2);
}

#[test]
fn what_waits_is_known_between_the_ticks() {
    let start = Instant::now();
    let mut lookahead = Lookahead::new(Mode::Framed, start);
    lookahead.due(true, start);
    let Some(Question::Mark(mark)) = lookahead.question(start) else { panic!("a measurement") };
    lookahead.marked(mark, start + Duration::from_millis(27));
    lookahead.due(true, start + FRAME_TIME * 2);
    let at = |millis| lookahead.waiting(start + FRAME_TIME * 2 + Duration::from_millis(millis));
    assert_eq!([at(0), at(6), at(8), at(26), at(28)], [2, 2, 1, 1, 0]);
}
