//! The playout queue: audio of the current reply on its way to the caller, frame by frame, with a count of what was
//! really played.

use crate::audio::SampleRate;
use std::collections::VecDeque;
use std::time::Duration;

/// Reply audio that waits to be played. Holds the buffers of the engine as they came; a frame is copied out of them.
#[derive(Debug)]
pub struct Playout {
    chunks: VecDeque<Vec<i16>>,
    /// Samples of the front chunk that are played already.
    head: usize,
    queued: usize,
    capacity: usize,
    played: i64,
    /// What is left of a reply that was stopped: less than one frame, fading to silence.
    tail: Vec<i16>,
    frame_samples: usize,
    /// See [`Self::set_lookahead`].
    lookahead: i64,
}

impl Playout {
    /// An empty queue which holds at most `capacity` of audio.
    pub fn new(rate: SampleRate, capacity: Duration) -> Self {
        Self {
            chunks: VecDeque::with_capacity(64),
            head: 0,
            queued: 0,
            capacity: rate.samples_in(capacity) as usize,
            played: 0,
            tail: Vec::with_capacity(rate.frame_samples()),
            frame_samples: rate.frame_samples(),
            lookahead: 0,
        }
    }

    /// So many of the samples that were taken last wait at the far end, and will be taken back when the reply is stopped: then
    /// the first frame of them fades out and the rest is not heard. 0 where what is taken is heard.
    pub fn set_lookahead(&mut self, samples: usize) {
        self.lookahead = samples as i64;
    }

    /// Appends audio of the current reply. What does not fit is dropped from its end; returns how many samples that was.
    pub fn push(&mut self, mut pcm: Vec<i16>) -> usize {
        let fits = pcm.len().min(self.capacity - self.queued);
        let dropped = pcm.len() - fits;
        pcm.truncate(fits);
        if !pcm.is_empty() {
            self.queued += fits;
            self.chunks.push_back(pcm);
        }
        dropped
    }

    /// Writes what is left of a stopped reply into `out`, and silence; what waits goes on waiting.
    pub fn hold(&mut self, out: &mut [i16]) {
        let faded = self.tail.len().min(out.len());
        out[..faded].copy_from_slice(&self.tail[..faded]);
        out[faded..].fill(0);
        self.tail.clear();
    }

    /// Writes the next frame into `out`, silence where there is nothing to play. Returns the number of samples that are
    /// audio of the current reply (not of one that fades out).
    pub fn frame(&mut self, out: &mut [i16]) -> usize {
        if !self.tail.is_empty() {
            // The frame that fades out belongs to the stopped reply alone; a new one begins with the next frame.
            self.hold(out);
            return 0;
        }
        let taken = self.take(out);
        out[taken..].fill(0);
        self.played += taken as i64;
        taken
    }

    /// Ends the reply: the next frame fades to silence and nothing of it follows. Returns the samples of the reply that
    /// will then have been played.
    pub fn stop(&mut self) -> i64 {
        if self.lookahead > 0 {
            // What fades out is a frame that was taken already.
            let unheard = self.lookahead - self.frame_samples as i64;
            self.played = (self.played - unheard.max(0)).max(0);
            return self.discard();
        }
        let mut tail = std::mem::take(&mut self.tail);
        if tail.is_empty() {
            tail.resize(self.frame_samples, 0);
            let taken = self.take(&mut tail);
            tail.truncate(taken);
            self.played += taken as i64;
            for (left, sample) in (0..taken).rev().zip(&mut tail) {
                *sample = (i64::from(*sample) * left as i64 / taken as i64) as i16;
            }
        }
        self.tail = tail;
        self.discard()
    }

    /// Drops what waits, without a fade. Returns the samples of the reply that were played; the count starts again.
    pub fn discard(&mut self) -> i64 {
        self.chunks.clear();
        self.head = 0;
        self.queued = 0;
        std::mem::take(&mut self.played)
    }

    /// Shortens what waits so that the reply ends at position `end` (or at what is already played, if that is later).
    pub fn truncate(&mut self, end: i64) {
        let mut surplus = self.queued - usize::try_from(end - self.played).unwrap_or(0).min(self.queued);
        self.queued -= surplus;
        while surplus > 0 {
            let Some(last) = self.chunks.back_mut() else { break };
            let keep = last.len().saturating_sub(surplus);
            surplus -= last.len() - keep;
            last.truncate(keep);
            if keep == 0 {
                self.chunks.pop_back();
            }
        }
        if self.chunks.is_empty() {
            self.head = 0;
        }
    }

    fn take(&mut self, out: &mut [i16]) -> usize {
        let mut filled = 0;
        while filled < out.len() {
            let Some(chunk) = self.chunks.front() else { break };
            let available = &chunk[self.head..];
            let n = available.len().min(out.len() - filled);
            out[filled..filled + n].copy_from_slice(&available[..n]);
            filled += n;
            self.head += n;
            if self.head == chunk.len() {
                self.chunks.pop_front();
                self.head = 0;
            }
        }
        self.queued -= filled;
        filled
    }

    /// Samples of the current reply that were played.
    pub fn played(&self) -> i64 {
        self.played
    }

    /// Samples of the current reply that do not wait at the far end.
    pub fn heard(&self) -> i64 {
        (self.played - self.lookahead).max(0)
    }

    /// Samples that wait to be played.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn playout() -> Playout {
        Playout::new(SampleRate::HZ_8000, Duration::from_secs(1))
    }

    #[test]
    fn audio_comes_out_as_it_went_in_and_silence_follows() {
        let mut playout = playout();
        playout.push((1..=100).collect());
        playout.push((101..=200).collect());
        let mut frame = [7; 160];
        assert_eq!(playout.frame(&mut frame), 160);
        assert_eq!(frame[..], (1..=160).collect::<Vec<i16>>()[..]);
        assert_eq!(playout.frame(&mut frame), 40);
        assert_eq!((frame[39], frame[40], frame[159]), (200, 0, 0));
        assert_eq!(playout.played(), 200);
    }

    #[test]
    fn a_stopped_reply_fades_over_one_frame_and_is_gone() {
        let mut playout = playout();
        playout.push(vec![10_000; 1600]);
        let mut frame = [0; 160];
        playout.frame(&mut frame);
        assert_eq!(playout.stop(), 320, "the frame that fades is heard too");
        playout.push(vec![500; 160]);
        assert_eq!(playout.frame(&mut frame), 0, "what fades is not the new reply");
        assert!(frame.windows(2).all(|pair| pair[0] >= pair[1]), "a fade only falls");
        assert!(frame[0] > 9_000 && frame[159] == 0);
        assert_eq!(playout.frame(&mut frame), 160);
        assert_eq!((frame[0], playout.played()), (500, 160), "the new reply counts from its own start");
    }

    #[test]
    fn stopping_twice_does_not_lengthen_the_fade() {
        let mut playout = playout();
        playout.push(vec![10_000; 1600]);
        playout.stop();
        playout.push(vec![10_000; 1600]);
        playout.stop();
        let mut frame = [0; 160];
        playout.frame(&mut frame);
        playout.frame(&mut frame);
        assert_eq!(frame, [0; 160]);
    }

    #[test]
    fn what_waits_at_the_far_end_when_a_reply_stops_was_not_heard() {
        let mut playout = playout();
        playout.push(vec![10_000; 1600]);
        playout.set_lookahead(320);
        let mut frame = [0; 160];
        for _ in 0..5 {
            playout.frame(&mut frame);
        }
        assert_eq!((playout.played(), playout.heard()), (800, 480));
        assert_eq!(playout.stop(), 640, "of the two frames that are taken back, the first fades out");
        playout.push(vec![500; 160]);
        assert_eq!(playout.frame(&mut frame), 160, "the fade is not made here");
        assert_eq!(playout.stop(), 0, "all of a reply that has just begun can be taken back");
    }

    #[test]
    fn more_than_fits_is_reported() {
        let mut playout = playout();
        assert_eq!(playout.push(vec![1; 7_000]), 0);
        assert_eq!(playout.push(vec![1; 7_000]), 6_000);
        assert_eq!(playout.queued(), 8_000);
    }

    #[test]
    fn truncation_keeps_what_comes_before() {
        let mut playout = playout();
        playout.push((0..200).collect());
        playout.push((200..400).collect());
        let mut frame = [0; 160];
        playout.frame(&mut frame);
        playout.truncate(250);
        assert_eq!(playout.queued(), 90);
        playout.push(vec![-1; 10]);
        playout.frame(&mut frame);
        assert_eq!((frame[0], frame[89], frame[90]), (160, 249, -1));
        playout.truncate(0);
        assert_eq!(playout.queued(), 0);
    }

    proptest! {
        #[test]
        fn no_sample_is_lost_or_played_twice(chunks in prop::collection::vec(0usize..500, 0..20)) {
            let mut playout = playout();
            let mut next = 0i16;
            let mut accepted = Vec::new();
            for len in chunks {
                let pcm: Vec<i16> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
                let dropped = playout.push(pcm.clone());
                accepted.extend_from_slice(&pcm[..len - dropped]);
            }
            let mut heard = Vec::new();
            let mut frame = [0; 160];
            while playout.queued() > 0 {
                let n = playout.frame(&mut frame);
                heard.extend_from_slice(&frame[..n]);
            }
            prop_assert_eq!(playout.played(), accepted.len() as i64);
            prop_assert_eq!(heard, accepted);
        }
    }
}
