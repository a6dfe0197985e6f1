//! The caller's latest audio, addressed by its position in the call.

use std::collections::VecDeque;
use std::ops::Range;

/// A window on the caller's audio. Positions are samples since the call began; where nothing came there is silence.
#[derive(Debug)]
pub(super) struct CallerAudio {
    /// Position of the first sample that is kept.
    first: i64,
    samples: VecDeque<i16>,
    /// How many samples are kept at most; the oldest go first.
    capacity: usize,
}

impl CallerAudio {
    pub(super) fn new(capacity: usize) -> Self {
        Self { first: 0, samples: VecDeque::new(), capacity }
    }

    /// Position of the first sample that is kept.
    pub(super) fn start(&self) -> i64 {
        self.first
    }

    /// Position of the sample that comes next.
    fn end(&self) -> i64 {
        self.first + self.samples.len() as i64
    }

    /// Takes in samples. A gap before them is silence; what is there already is not taken again.
    pub(super) fn push(&mut self, start_sample: i64, pcm: &[i16]) {
        let gap = start_sample - self.end();
        if gap > self.capacity as i64 {
            self.samples.clear();
            self.first = start_sample;
        } else if gap > 0 {
            self.samples.extend(std::iter::repeat_n(0, gap as usize));
        }
        let known = usize::try_from(self.end() - start_sample).unwrap_or(0).min(pcm.len());
        self.samples.extend(&pcm[known..]);
        let excess = self.samples.len().saturating_sub(self.capacity);
        self.drop_oldest(excess);
    }

    /// Forgets what is before `position`.
    pub(super) fn forget_before(&mut self, position: i64) {
        let count = usize::try_from(position - self.first).unwrap_or(0).min(self.samples.len());
        self.drop_oldest(count);
    }

    /// Forgets all but the last `count` samples.
    pub(super) fn keep_last(&mut self, count: usize) {
        self.forget_before(self.end() - count as i64);
    }

    fn drop_oldest(&mut self, count: usize) {
        self.samples.drain(..count);
        self.first += count as i64;
    }

    /// The samples of a range of positions. Those that were forgotten or have not come are silence. The range is cut
    /// at its beginning to what can be kept.
    pub(super) fn range(&self, range: Range<i64>) -> Vec<i16> {
        let start = range.start.max(range.end - self.capacity as i64);
        (start..range.end).map(|position| self.at(position)).collect()
    }

    fn at(&self, position: i64) -> i16 {
        let index = usize::try_from(position - self.first).ok();
        index.and_then(|index| self.samples.get(index)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_at_their_positions_and_silence_elsewhere() {
        let mut audio = CallerAudio::new(100);
        audio.push(10, &[1, 2, 3]);
        audio.push(15, &[4, 5]);
        assert_eq!(audio.range(8..18), [0, 0, 1, 2, 3, 0, 0, 4, 5, 0]);
    }

    #[test]
    fn what_comes_twice_is_taken_once() {
        let mut audio = CallerAudio::new(100);
        audio.push(0, &[1, 2, 3]);
        audio.push(1, &[9, 9, 4]);
        audio.push(0, &[9]);
        assert_eq!(audio.range(0..5), [1, 2, 3, 4, 0]);
    }

    #[test]
    fn the_oldest_goes_when_there_is_too_much() {
        let mut audio = CallerAudio::new(4);
        audio.push(0, &[1, 2, 3]);
        audio.push(3, &[4, 5, 6]);
        assert_eq!(audio.range(2..6), [3, 4, 5, 6]);
        assert_eq!(audio.range(0..6), [3, 4, 5, 6], "no more than the capacity is given out");
        audio.push(1_000_000_000, &[7]);
        assert_eq!(audio.range(999_999_999..1_000_000_001), [0, 7]);
    }

    #[test]
    fn what_is_forgotten_is_silence() {
        let mut audio = CallerAudio::new(100);
        audio.push(0, &[1, 2, 3, 4]);
        audio.forget_before(2);
        assert_eq!(audio.range(0..4), [0, 0, 3, 4]);
        audio.keep_last(1);
        assert_eq!(audio.range(0..4), [0, 0, 0, 4]);
        audio.forget_before(50);
        audio.push(4, &[5]);
        assert_eq!(audio.range(3..5), [0, 5]);
    }
}
