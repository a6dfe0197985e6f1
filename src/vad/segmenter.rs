//! From frame decisions to utterances: an utterance begins when enough of the recent past was speech, and ends after a
//! stretch of silence or at its greatest length.

use crate::audio::{FRAME_TIME, SampleRate};
use std::time::Duration;

/// Frames of the past that are remembered: 64 × 20 ms.
const HISTORY_FRAMES: u32 = u64::BITS;

/// The window in which the evidence for a start is counted, in frames (200 ms).
const START_WINDOW: u32 = 10;

/// When an utterance begins and ends. Durations are rounded down to whole frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpointing {
    /// Speech within the last 200 ms that makes an utterance begin.
    pub start_evidence: Duration,
    /// Silence that ends it.
    pub silence: Duration,
    /// Audio before the first speech that is counted to it.
    pub pre_roll: Duration,
    /// Where it is cut, however long the caller goes on.
    pub max_utterance: Duration,
}

impl Default for Endpointing {
    fn default() -> Self {
        Self {
            start_evidence: Duration::from_millis(100),
            silence: Duration::from_millis(600),
            pre_roll: Duration::from_millis(300),
            max_utterance: Duration::from_secs(30),
        }
    }
}

impl Endpointing {
    /// How long ago an utterance may have begun that is noticed now: its pre-roll, and the time in which the evidence for it
    /// came together.
    pub fn reach(&self) -> Duration {
        self.pre_roll + FRAME_TIME * START_WINDOW
    }
}

/// What the segmenter found. Positions are samples since the first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEvent {
    /// An utterance has begun.
    Started {
        /// Its first sample, pre-roll included.
        start_sample: i64,
        /// Whether it goes on from one that was cut at its greatest length: between them was no silence that would have
        /// ended it.
        continues: bool,
    },
    /// It is over.
    Ended {
        /// The end of the last speech in it.
        speech_end_sample: i64,
        /// First sample that no longer belongs to it.
        end_sample: i64,
        /// Why.
        end: SegmentEnd,
    },
}

/// Why an utterance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEnd {
    /// The caller fell silent.
    Silence,
    /// It reached its greatest length.
    MaxLength,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Silent,
    Speaking { start_sample: i64, speech_end_sample: i64 },
}

/// Makes utterances of frame decisions; one for each call.
#[derive(Debug)]
pub struct Segmenter {
    frame_samples: i64,
    /// One bit a frame, the newest lowest: was it speech?
    history: u64,
    evidence_frames: u32,
    silence_samples: i64,
    pre_roll_samples: i64,
    max_samples: i64,
    /// Samples seen so far.
    position: i64,
    /// End of the utterance before: the next one cannot begin earlier.
    floor: i64,
    /// Whether that one was cut at its greatest length.
    cut: bool,
    state: State,
}

impl Segmenter {
    /// A segmenter at the start of a call.
    pub fn new(settings: &Endpointing, rate: SampleRate) -> Self {
        Self {
            frame_samples: rate.frame_samples() as i64,
            history: 0,
            evidence_frames: frames(settings.start_evidence).clamp(1, START_WINDOW),
            silence_samples: rate.samples_in(settings.silence),
            pre_roll_samples: rate.samples_in(settings.pre_roll),
            max_samples: rate.samples_in(settings.max_utterance),
            position: 0,
            floor: 0,
            cut: false,
            state: State::Silent,
        }
    }

    /// Takes in the decision for the next frame.
    pub fn frame(&mut self, speech: bool) -> Option<SegmentEvent> {
        self.history = self.history << 1 | u64::from(speech);
        self.position += self.frame_samples;
        match self.state {
            State::Silent => self.look_for_start(),
            State::Speaking { start_sample, speech_end_sample } => self.look_for_end(start_sample, speech_end_sample),
        }
    }

    fn look_for_start(&mut self) -> Option<SegmentEvent> {
        let window = self.history & (u64::MAX >> (HISTORY_FRAMES - START_WINDOW));
        if window.count_ones() < self.evidence_frames {
            return None;
        }
        let frames_since_first = i64::from(HISTORY_FRAMES - window.leading_zeros());
        let first_speech = self.position - frames_since_first * self.frame_samples;
        let start_sample = (first_speech - self.pre_roll_samples).max(self.floor);
        self.state = State::Speaking { start_sample, speech_end_sample: self.position };
        let continues = self.cut && first_speech - self.floor < self.silence_samples;
        Some(SegmentEvent::Started { start_sample, continues })
    }

    fn look_for_end(&mut self, start_sample: i64, mut speech_end_sample: i64) -> Option<SegmentEvent> {
        // A single frame of "speech" amid silence is a click: two of the last three are needed to go on.
        if (self.history & 0b111).count_ones() >= 2 {
            speech_end_sample = self.position;
        }
        let end = if self.position - speech_end_sample >= self.silence_samples {
            SegmentEnd::Silence
        } else if self.position - start_sample >= self.max_samples {
            SegmentEnd::MaxLength
        } else {
            self.state = State::Speaking { start_sample, speech_end_sample };
            return None;
        };
        self.reset();
        self.cut = end == SegmentEnd::MaxLength;
        Some(SegmentEvent::Ended { speech_end_sample, end_sample: self.position, end })
    }

    /// Forgets the past, and an utterance that has begun; positions go on.
    pub fn reset(&mut self) {
        self.state = State::Silent;
        self.history = 0;
        self.cut = false;
        self.floor = self.position;
    }

    /// How much of the last `window` (at most 1.28 s) was speech.
    pub fn speech_within(&self, window: Duration) -> Duration {
        let frames = frames(window).clamp(1, HISTORY_FRAMES);
        let recent = self.history & (u64::MAX >> (HISTORY_FRAMES - frames));
        crate::audio::FRAME_TIME * recent.count_ones()
    }

    /// Samples seen so far.
    pub fn position(&self) -> i64 {
        self.position
    }
}

fn frames(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / crate::audio::FRAME_TIME.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings() -> Endpointing {
        Endpointing {
            start_evidence: Duration::from_millis(100),
            silence: Duration::from_millis(600),
            pre_roll: Duration::from_millis(300),
            max_utterance: Duration::from_secs(5),
        }
    }

    fn segmenter() -> Segmenter {
        Segmenter::new(&settings(), SampleRate::HZ_8000)
    }

    fn run(segmenter: &mut Segmenter, speech: bool, frames: usize) -> Vec<SegmentEvent> {
        (0..frames).filter_map(|_| segmenter.frame(speech)).collect()
    }

    #[test]
    fn an_utterance_has_its_pre_roll_and_ends_after_the_silence() {
        let mut segmenter = segmenter();
        assert!(run(&mut segmenter, false, 50).is_empty());
        let started = run(&mut segmenter, true, 50);
        assert_eq!(started, [SegmentEvent::Started { start_sample: 50 * 160 - 2400, continues: false }]);
        let ended = run(&mut segmenter, false, 50);
        // one more frame counts as speech: two of the last three still are
        let end = SegmentEvent::Ended { speech_end_sample: 101 * 160, end_sample: 131 * 160, end: SegmentEnd::Silence };
        assert_eq!(ended, [end]);
    }

    #[test]
    fn a_short_yes_is_an_utterance_and_a_click_is_not() {
        let mut segmenter = segmenter();
        run(&mut segmenter, false, 20);
        assert!(run(&mut segmenter, true, 2).is_empty(), "40 ms are a click");
        run(&mut segmenter, false, 20);
        assert_eq!(run(&mut segmenter, true, 5).len(), 1, "100 ms are a word");
    }

    #[test]
    fn a_click_in_the_silence_does_not_prolong_the_utterance() {
        let mut segmenter = segmenter();
        run(&mut segmenter, true, 20);
        let mut events = run(&mut segmenter, false, 15);
        events.extend(segmenter.frame(true));
        events.extend(run(&mut segmenter, false, 15));
        assert_eq!(events.len(), 1, "ended 600 ms after the speech, not after the click");
    }

    #[test]
    fn an_endless_talker_is_cut_and_the_next_utterance_follows_without_overlap() {
        let mut segmenter = segmenter();
        let events = run(&mut segmenter, true, 400);
        let SegmentEvent::Ended { end_sample, end, .. } = events[1] else { panic!("{events:?}") };
        assert_eq!(end, SegmentEnd::MaxLength);
        let SegmentEvent::Started { start_sample, continues } = events[2] else { panic!("{events:?}") };
        assert!(start_sample >= end_sample && continues);
    }

    #[test]
    fn an_utterance_after_a_silence_does_not_continue_the_one_that_was_cut() {
        let mut segmenter = segmenter();
        let events = run(&mut segmenter, true, 250);
        assert!(matches!(events.last(), Some(SegmentEvent::Ended { end: SegmentEnd::MaxLength, .. })), "{events:?}");
        run(&mut segmenter, false, 40);
        let events = run(&mut segmenter, true, 10);
        assert!(matches!(events[..], [SegmentEvent::Started { continues: false, .. }]), "{events:?}");
    }

    proptest! {
        #[test]
        fn events_alternate_and_utterances_never_overlap(frames in prop::collection::vec(any::<bool>(), 0..2000)) {
            let mut segmenter = segmenter();
            let mut open: Option<i64> = None;
            let mut last_end = 0;
            for speech in frames {
                match segmenter.frame(speech) {
                    Some(SegmentEvent::Started { start_sample, .. }) => {
                        prop_assert!(open.is_none());
                        prop_assert!(start_sample >= last_end);
                        open = Some(start_sample);
                    }
                    Some(SegmentEvent::Ended { speech_end_sample, end_sample, .. }) => {
                        let start = open.take();
                        prop_assert!(start.is_some_and(|start| start < speech_end_sample));
                        prop_assert!(speech_end_sample <= end_sample);
                        last_end = end_sample;
                    }
                    None => {}
                }
            }
        }
    }
}
