//! How deep the jitter buffer should be: measures of the link, and from them when to shorten or lengthen the delay.
//!
//! The delay grows by itself when audio comes too late (the buffer plays it all the same, later). This module decides the
//! rest: how much to wait when a stretch of speech begins, when a frame may be skipped since audio has been waiting for
//! long, and when to wait a frame more since reordered packets come too late again and again. The far end's clock is
//! followed by the same means: a faster one makes audio wait longer and longer, a slower one makes it late.

use super::jitter::FRAME;
use std::time::{Duration, Instant};

/// Frames in a window of observation: 2 s.
const WINDOW: u32 = 100;
/// Windows that a single spare frame has to last until it is skipped: 10 s. A clean link whose packets come just before
/// they are needed would otherwise be skipped and refilled all the time.
const CALM_WINDOWS: u32 = 5;
/// Late packets in a window that ask for a frame more.
const LATE_TO_GROW: u32 = 2;
/// Frames between two skips in audible audio, 200 ms: a tenth faster at most.
const SKIP_SPACING: u32 = 10;
/// Jitter never asks for more than this before a stretch of speech: 80 ms.
const MAX_TARGET: i64 = 4 * FRAME;
/// A change of transit time above this (0.5 s) is a jump of the timestamps and not jitter.
const MAX_JITTER_STEP: u64 = 4_000;

/// Interarrival jitter: RFC 3550, section 6.4.1 and appendix A.8.
#[derive(Debug, Default)]
pub(super) struct InterarrivalJitter {
    first: Option<Instant>,
    /// Arrival minus timestamp of the packet before, in samples.
    transit: Option<i64>,
    /// In sixteenths of a sample.
    scaled: u64,
}

impl InterarrivalJitter {
    pub(super) fn note(&mut self, timestamp: i64, arrival: Instant) {
        let first = *self.first.get_or_insert(arrival);
        // Arrival times may go back a little, for they come from the network card and packets from several queues.
        let samples = |time: Duration| time.as_micros() as i64 * 8 / 1_000;
        let arrival =
            samples(arrival.saturating_duration_since(first)) - samples(first.saturating_duration_since(arrival));
        let transit = arrival - timestamp;
        if let Some(before) = self.transit.replace(transit) {
            let step = transit.abs_diff(before);
            if step < MAX_JITTER_STEP {
                self.scaled = self.scaled + step - ((self.scaled + 8) >> 4);
            }
        }
    }

    /// Timestamps have begun anew: the next packet cannot be compared with the one before.
    pub(super) fn restart(&mut self) {
        self.transit = None;
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_micros(self.scaled * 1_000 / (16 * 8))
    }

    /// Samples that a stretch of speech should be held back at its beginning: whole frames; none on a steady link.
    pub(super) fn target(&self) -> i64 {
        let twice = (self.scaled / 8) as i64;
        ((twice + FRAME / 2) / FRAME * FRAME).min(MAX_TARGET)
    }
}

/// Decides when a frame is skipped or put in.
#[derive(Debug, Default)]
pub(super) struct DepthControl {
    /// The least that audio was ahead of its time in this window, in samples; `None` before the first observation.
    least: Option<i64>,
    frames: u32,
    calm_windows: u32,
    late: u32,
    skips_due: u32,
    since_skip: u32,
    growth_due: bool,
}

impl DepthControl {
    /// Audio came, or was still waiting, so many samples ahead of its time.
    pub(super) fn note_margin(&mut self, samples: i64) {
        self.least = Some(self.least.map_or(samples, |least| least.min(samples)));
    }

    /// A packet came after its time.
    pub(super) fn note_late(&mut self) {
        self.late += 1;
        if self.late >= LATE_TO_GROW {
            self.growth_due = true;
            self.begin_window();
            self.calm_windows = 0;
            self.skips_due = 0;
        }
    }

    /// There was nothing to play: what was seen until now says nothing about what follows.
    pub(super) fn note_empty(&mut self) {
        self.least = None;
        self.frames = 0;
        self.calm_windows = 0;
        self.skips_due = 0;
    }

    /// One frame has been played. `target` is the margin that is to be kept.
    pub(super) fn end_frame(&mut self, target: i64) {
        self.since_skip = self.since_skip.saturating_add(1);
        self.frames += 1;
        if self.frames < WINDOW {
            return;
        }
        let spare = (self.least.unwrap_or(0) - target).max(0) / FRAME;
        self.begin_window();
        self.calm_windows = if spare > 0 { self.calm_windows + 1 } else { 0 };
        self.skips_due = if self.calm_windows >= CALM_WINDOWS {
            self.calm_windows = 0;
            spare as u32
        } else {
            (spare - 1).max(0) as u32
        };
    }

    fn begin_window(&mut self) {
        self.least = None;
        self.frames = 0;
        self.late = 0;
    }

    pub(super) fn skip_due(&self) -> bool {
        self.skips_due > 0
    }

    /// Whether even audible audio may be skipped now.
    pub(super) fn skip_at_any_cost(&self) -> bool {
        self.since_skip >= SKIP_SPACING
    }

    pub(super) fn note_skip(&mut self) {
        self.skips_due = self.skips_due.saturating_sub(1);
        self.since_skip = 0;
        // Observations of this window were made at the old delay.
        self.least = self.least.map(|least| least - FRAME);
    }

    /// Whether the next packet is to be put a frame later than its turn.
    pub(super) fn take_growth(&mut self) -> bool {
        std::mem::take(&mut self.growth_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames until a skip is due, of `frames` in which audio was ahead by what `margin` says of each.
    fn frames_to_skip(frames: usize, margin: impl Fn(usize) -> i64, target: i64) -> Option<usize> {
        let mut depth = DepthControl::default();
        (0..frames).find(|frame| {
            depth.note_margin(margin(*frame));
            depth.end_frame(target);
            depth.skip_due()
        })
    }

    #[test]
    fn a_frame_to_spare_is_skipped_after_ten_seconds_and_more_than_one_after_two() {
        assert_eq!(frames_to_skip(2_000, |_| FRAME, 0), Some(499));
        assert_eq!(frames_to_skip(2_000, |_| 2 * FRAME, 0), Some(99));
        assert_eq!(frames_to_skip(2_000, |_| FRAME - 1, 0), None);
        assert_eq!(frames_to_skip(2_000, |_| 2 * FRAME, 2 * FRAME), None, "what jitter demands is kept");
    }

    #[test]
    fn a_frame_that_is_needed_now_and_then_is_kept() {
        assert_eq!(frames_to_skip(5_000, |frame| if frame % 400 == 0 { 0 } else { FRAME }, 0), None);
    }

    #[test]
    fn every_spare_frame_is_skipped_once() {
        let mut depth = DepthControl::default();
        for _ in 0..WINDOW {
            depth.note_margin(4 * FRAME);
            depth.end_frame(0);
        }
        let mut skips = 0;
        while depth.skip_due() {
            depth.note_skip();
            skips += 1;
        }
        assert_eq!(skips, 3, "the last spare frame has to last longer");
    }

    #[test]
    fn packets_that_come_too_late_again_and_again_ask_for_a_frame_more() {
        let mut depth = DepthControl::default();
        depth.note_late();
        assert!(!depth.take_growth());
        depth.note_late();
        assert!(depth.take_growth());
        assert!(!depth.take_growth());
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn jitter_is_the_mean_deviation_of_transit_times() {
        let (mut jitter, base) = (InterarrivalJitter::default(), Instant::now());
        for n in 0..1_000u64 {
            // Every other packet is late by 8 ms: consecutive transit times differ by 8 ms.
            jitter.note(n as i64 * FRAME, base + Duration::from_millis(n * 20 + n % 2 * 8));
        }
        assert!(jitter.time().abs_diff(Duration::from_millis(8)) < Duration::from_millis(1), "{:?}", jitter.time());
        assert_eq!(jitter.target(), FRAME);
        let before = jitter.time();
        jitter.note(1_000_000, base + Duration::from_secs(21));
        assert_eq!(jitter.time(), before, "a jump of the timestamps is no jitter");
    }
}
