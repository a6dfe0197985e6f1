//! The playout queue: audio of the current reply on its way to the caller, frame by frame, with a count of what was
//! really played.

#[cfg(test)]
mod tests;

use crate::audio::SampleRate;
use std::collections::VecDeque;
use std::time::Duration;

/// Reply audio that waits to be played. Holds the buffers of the engine as they came; a frame is copied out of them. Takes
/// almost no memory while nothing waits.
#[derive(Debug)]
pub struct Playout {
    chunks: VecDeque<Vec<i16>>,
    /// Samples of the front chunk that are played already.
    head: usize,
    queued: usize,
    capacity: usize,
    played: i64,
    pace: Pace,
    /// The last frame was audio of the current reply to its end, so stopping now would be heard as a click.
    sounding: bool,
    /// What is still heard of a reply that was stopped or paused: less than one frame, fading to silence.
    tail: Vec<i16>,
    frame_samples: usize,
    /// See [`Self::set_lookahead`].
    lookahead: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Playing,
    Paused,
    /// The next frame goes on after a pause, and fades in.
    Resuming,
}

/// Chunks for which there is room at all times. More takes memory until the reply ends.
const USUAL_CHUNKS: usize = 16;

impl Playout {
    /// An empty queue which holds at most `capacity` of audio.
    pub fn new(rate: SampleRate, capacity: Duration) -> Self {
        Self {
            chunks: VecDeque::new(),
            head: 0,
            queued: 0,
            capacity: rate.samples_in(capacity) as usize,
            played: 0,
            pace: Pace::Playing,
            sounding: false,
            tail: Vec::new(),
            frame_samples: rate.frame_samples(),
            lookahead: 0,
        }
    }

    /// So many of the samples that were taken last wait at the far end, and will be taken back when the reply is stopped: then
    /// the first frame of them fades out and the rest is not heard. 0 where what is taken is heard. A pause takes nothing
    /// back: it is heard when what waits has been played.
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

    /// Writes what still fades of a reply into `out`, and silence; what waits goes on waiting.
    pub fn hold(&mut self, out: &mut [i16]) {
        let faded = self.tail.len().min(out.len());
        out[..faded].copy_from_slice(&self.tail[..faded]);
        out[faded..].fill(0);
        self.tail.clear();
        self.sounding = false;
    }

    /// Writes the next frame into `out`, silence where there is nothing to play. Returns the number of samples that are
    /// audio of the current reply (not of one that fades out).
    pub fn frame(&mut self, out: &mut [i16]) -> usize {
        if !self.tail.is_empty() || self.pace == Pace::Paused {
            // The frame that fades out belongs to the stopped reply alone; a new one begins with the next frame.
            self.hold(out);
            return 0;
        }
        let taken = self.take(out);
        out[taken..].fill(0);
        if self.pace == Pace::Resuming && taken > 0 {
            let fade = self.pause_fade().min(taken);
            fade_in(&mut out[..fade]);
            self.pace = Pace::Playing;
        }
        self.sounding = taken == out.len();
        self.played += taken as i64;
        taken
    }

    /// Stops playing for now. What is heard fades out over 5 ms; these do not count as played, so that
    /// [`Self::resume`] goes on at the very sample at which it was paused.
    pub fn pause(&mut self) {
        if self.pace == Pace::Playing && self.sounding {
            let mut tail = std::mem::take(&mut self.tail);
            tail.resize(self.pause_fade().min(self.queued), 0);
            self.peek(&mut tail);
            fade_out(&mut tail);
            self.tail = tail;
        }
        self.pace = Pace::Paused;
    }

    /// Goes on after [`Self::pause`], fading in over 5 ms. Where the pause was never heard, nothing is heard of it.
    pub fn resume(&mut self) {
        if self.pace == Pace::Paused {
            self.pace = if self.sounding { Pace::Playing } else { Pace::Resuming };
            if self.sounding {
                self.tail.clear();
            }
        }
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.pace == Pace::Paused
    }

    /// Ends the reply: the next frame fades to silence and nothing of it follows. Returns the samples of the reply that
    /// will then have been played.
    pub fn stop(&mut self) -> i64 {
        if self.lookahead > 0 {
            if self.pace == Pace::Playing {
                // What fades out is a frame that was taken already.
                let unheard = self.lookahead - self.frame_samples as i64;
                self.played = (self.played - unheard.max(0)).max(0);
            }
            return self.discard();
        }
        if self.pace == Pace::Playing && self.sounding {
            let mut tail = std::mem::take(&mut self.tail);
            tail.resize(self.frame_samples, 0);
            let taken = self.take(&mut tail);
            tail.truncate(taken);
            self.played += taken as i64;
            fade_out(&mut tail);
            self.tail = tail;
        }
        self.discard()
    }

    /// Drops what waits, without a fade. Returns the samples of the reply that were played; the count starts again, and
    /// nothing is paused.
    pub fn discard(&mut self) -> i64 {
        self.chunks.clear();
        self.chunks.shrink_to(USUAL_CHUNKS);
        self.head = 0;
        self.queued = 0;
        self.pace = Pace::Playing;
        self.sounding = false;
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

    /// Copies what will be played next, which must be as much as `out` holds.
    fn peek(&self, out: &mut [i16]) {
        let chunks = self.chunks.iter().flatten().skip(self.head);
        for (sample, next) in out.iter_mut().zip(chunks) {
            *sample = *next;
        }
    }

    /// Samples over which a pause fades: 5 ms.
    fn pause_fade(&self) -> usize {
        self.frame_samples / 4
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

fn fade_out(pcm: &mut [i16]) {
    let length = pcm.len();
    for (left, sample) in (0..length).rev().zip(pcm) {
        *sample = (i64::from(*sample) * left as i64 / length as i64) as i16;
    }
}

fn fade_in(pcm: &mut [i16]) {
    let length = pcm.len();
    for (passed, sample) in pcm.iter_mut().enumerate() {
        *sample = (i64::from(*sample) * (passed as i64 + 1) / (length as i64 + 1)) as i16;
    }
}
