//! A line test: the caller's own audio goes back, through a queue that is as short as unsteady arrival allows.

use crate::audio::SampleRate;

/// Frames that may wait: one for the next packet and 60 ms for what arrives in a bunch.
const FRAMES: usize = 4;

/// What the caller has said and not yet heard again. When it is full the oldest frame is dropped, so that the delay of a
/// line that was once disturbed does not stay.
#[derive(Debug)]
pub(super) struct Echo {
    /// A ring of [`FRAMES`] frames.
    samples: Box<[i16]>,
    frame_samples: usize,
    /// Index of the oldest frame.
    oldest: usize,
    waiting: usize,
}

impl Echo {
    pub(super) fn new(rate: SampleRate) -> Self {
        let frame_samples = rate.frame_samples();
        Self { samples: vec![0; FRAMES * frame_samples].into(), frame_samples, oldest: 0, waiting: 0 }
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

    /// The next frame for the caller: silence when nothing waits, so that the audio to Asterisk never pauses.
    pub(super) fn speak(&mut self, out: &mut [i16]) {
        match self.take() {
            Some(frame) => out.copy_from_slice(&self.samples[frame..frame + self.frame_samples]),
            None => out.fill(0),
        }
    }

    /// The place of the oldest frame, which counts as taken.
    fn take(&mut self) -> Option<usize> {
        self.waiting = self.waiting.checked_sub(1)?;
        let at = self.oldest * self.frame_samples;
        self.oldest = (self.oldest + 1) % FRAMES;
        Some(at)
    }
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
                silent += u32::from(heard(&mut echo) == 0);
                assert!(echo.waiting <= FRAMES);
            }
        }
        assert!(dropped <= 37 && silent <= 37, "one in 100 s each: {dropped} dropped, {silent} silent");
        assert!(dropped > 20 && silent > 20, "drift is not made to vanish: {dropped} dropped, {silent} silent");
    }
}
