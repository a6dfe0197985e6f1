//! A line test: the caller's own audio goes back, through a queue that is as short as unsteady arrival allows.

use crate::audio::SampleRate;

/// Frames that may wait: one for the next packet and 60 ms for what arrives in a bunch.
const FRAMES: usize = 4;

/// Frames given in 1 s: a frame that was to spare for so long is too much delay.
const CALM: u32 = 50;

/// The highest sample of a frame that nobody misses: −42 dBFS, above the noise of a telephone line and below speech.
const QUIET: u16 = 256;

/// What the caller has said and not yet heard again. When it is full the oldest frame is dropped; and when a frame was to
/// spare all the time it is left out, so that the delay of a line that was once disturbed does not stay. Only while the
/// caller is quiet: what shows the quality of a line must not tear a tone or a word.
#[derive(Debug)]
pub(super) struct Echo {
    /// A ring of [`FRAMES`] frames.
    samples: Box<[i16]>,
    frame_samples: usize,
    /// Index of the oldest frame.
    oldest: usize,
    waiting: usize,
    /// Quiet frames given since one was last loud, or none was to spare.
    spare_for: u32,
}

impl Echo {
    pub(super) fn new(rate: SampleRate) -> Self {
        let frame_samples = rate.frame_samples();
        Self { samples: vec![0; FRAMES * frame_samples].into(), frame_samples, oldest: 0, waiting: 0, spare_for: 0 }
    }

    /// A frame from the caller. Whether another one had to make room for it.
    pub(super) fn hear(&mut self, frame: &[i16]) -> bool {
        let full = self.waiting == FRAMES;
        if full {
            self.take();
        }
        let at = (self.oldest + self.waiting) % FRAMES * self.frame_samples;
        let length = frame.len().min(self.frame_samples);
        self.samples[at..at + length].copy_from_slice(&frame[..length]);
        self.waiting += 1;
        full
    }

    /// The next frame for the caller: silence when nothing waits, so that the audio to Asterisk never pauses. Whether one
    /// was left out to shorten the delay; then two become one, which begins as the first and ends as the second.
    pub(super) fn speak(&mut self, out: &mut [i16]) -> bool {
        let Some(frame) = self.take() else {
            out.fill(0);
            self.spare_for = 0;
            return false;
        };
        out.copy_from_slice(&self.samples[frame..frame + self.frame_samples]);
        let spare = self.waiting > 0 && is_quiet(out) && is_quiet(self.oldest_frame());
        self.spare_for = if spare { self.spare_for + 1 } else { 0 };
        if self.spare_for < CALM {
            return false;
        }
        self.spare_for = 0;
        if let Some(next) = self.take() {
            let length = self.frame_samples as i32;
            for (done, (sample, later)) in (0..).zip(out.iter_mut().zip(&self.samples[next..])) {
                // Between the two, so within their range.
                *sample = ((i32::from(*sample) * (length - done) + i32::from(*later) * done) / length) as i16;
            }
        }
        true
    }

    fn oldest_frame(&self) -> &[i16] {
        let at = self.oldest * self.frame_samples;
        &self.samples[at..at + self.frame_samples]
    }

    /// The place of the oldest frame, which counts as taken.
    fn take(&mut self) -> Option<usize> {
        self.waiting = self.waiting.checked_sub(1)?;
        let at = self.oldest * self.frame_samples;
        self.oldest = (self.oldest + 1) % FRAMES;
        Some(at)
    }
}

fn is_quiet(frame: &[i16]) -> bool {
    frame.iter().all(|sample| sample.unsigned_abs() <= QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(echo: &mut Echo) -> i16 {
        let mut out = [-1; 160];
        echo.speak(&mut out);
        assert!(out.iter().all(|sample| *sample == out[0]));
        out[0]
    }

    #[test]
    fn what_was_said_comes_back_in_order_and_silence_when_there_is_nothing() {
        let mut echo = Echo::new(SampleRate::HZ_8000);
        assert_eq!(heard(&mut echo), 0);
        for round in 0..10 {
            echo.hear(&[2 * round + 1; 160]);
            echo.hear(&[2 * round + 2; 160]);
            assert_eq!((heard(&mut echo), heard(&mut echo)), (2 * round + 1, 2 * round + 2));
        }
        assert_eq!(heard(&mut echo), 0);
    }

    /// A stall of the line lets a bunch arrive at once; a second later the echo is as young as before.
    #[test]
    fn the_delay_of_a_line_that_was_once_disturbed_does_not_stay() {
        let mut echo = Echo::new(SampleRate::HZ_8000);
        for _ in 0..3 {
            echo.hear(&[100; 160]);
        }
        let mut say_for = |frames, level| {
            let mut left_out = 0;
            for _ in 0..frames {
                echo.hear(&[level; 160]);
                let mut out = [0; 160];
                left_out += u32::from(echo.speak(&mut out));
                assert!(out == [100; 160] || out == [1_000; 160], "and nothing of it is heard");
            }
            (left_out, echo.waiting)
        };
        assert_eq!(say_for(10 * CALM, 1_000), (0, 3), "a tone is not torn");
        assert_eq!(say_for(3, 100), (0, 3));
        assert_eq!(say_for(2 * CALM + 10, 100), (2, 1));
        assert_eq!(say_for(CALM, 100), (1, 0));
    }

    /// Two 20 ms clocks that are not one: the queue neither runs empty every 700 ms nor grows without end.
    #[test]
    fn two_unsynchronised_clocks_drop_a_frame_now_and_then_and_the_delay_stays_bounded() {
        let mut echo = Echo::new(SampleRate::HZ_8000);
        let (mut dropped, mut silent) = (0, 0);
        // An hour of a far end whose clock is 200 ppm fast, then as long one that is as slow.
        for ppm in [200.0, -200.0] {
            let mut said = 0.0;
            for tick in 1..=180_000 {
                while said < f64::from(tick) * (1.0 + ppm / 1e6) {
                    dropped += u32::from(echo.hear(&[1; 160]));
                    said += 1.0;
                }
                let mut out = [0; 160];
                dropped += u32::from(echo.speak(&mut out));
                silent += u32::from(out[0] == 0);
                assert!(echo.waiting <= FRAMES);
            }
        }
        assert!(dropped <= 37 && silent <= 37, "one in 100 s each: {dropped} dropped, {silent} silent");
        assert!(dropped > 20 && silent > 20, "drift is not made to vanish: {dropped} dropped, {silent} silent");
    }
}
