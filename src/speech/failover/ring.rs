//! The caller's latest audio, kept small until no engine can want it any more: one ring a call, one byte a sample where the
//! caller's leg has a companding law.

use super::blocks::Blocks;
use crate::audio::SampleRate;
use crate::audio::g711::Law;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The ring grows and shrinks in steps of 100 ms and not by doubling: memory is counted in calls.
const BLOCK_FRAMES: usize = 5;

/// Audio by its position: samples since the call began. Where none came there is a gap.
#[derive(Debug)]
pub(super) struct Ring {
    samples: Samples,
    /// Where the samples lie in the call, in order: one span as long as there is no gap.
    spans: VecDeque<Range<i64>>,
    /// Position behind the last sample that came.
    end: i64,
    /// Samples of 20 ms.
    frame: usize,
}

#[derive(Debug)]
enum Samples {
    Linear16(Blocks<i16>),
    /// What came from a leg with this law is one of its 256 values, so nothing is lost but for concealed frames, and of those
    /// no more than the law takes from any sound.
    G711(Law, Blocks<u8>),
}

impl Ring {
    /// An empty ring for a call of this rate, from a leg with this law.
    pub(super) fn new(rate: SampleRate, law: Option<Law>) -> Self {
        let block = rate.frame_samples() * BLOCK_FRAMES;
        let samples = match law {
            Some(law) => Samples::G711(law, Blocks::new(block)),
            None => Samples::Linear16(Blocks::new(block)),
        };
        Self { samples, spans: VecDeque::new(), end: 0, frame: rate.frame_samples() }
    }

    /// Position behind the last sample.
    pub(super) const fn end(&self) -> i64 {
        self.end
    }

    /// Takes in what follows. Samples before the end are there already and are not taken again.
    pub(super) fn push(&mut self, start_sample: i64, pcm: &[i16]) {
        let known = usize::try_from(self.end - start_sample).unwrap_or(0).min(pcm.len());
        let (start_sample, pcm) = (start_sample + known as i64, &pcm[known..]);
        if pcm.is_empty() {
            return;
        }
        self.end = start_sample + pcm.len() as i64;
        match self.spans.back_mut() {
            Some(span) if span.end == start_sample => span.end = self.end,
            _ => self.spans.push_back(start_sample..self.end),
        }
        match &mut self.samples {
            Samples::Linear16(samples) => samples.extend(pcm),
            Samples::G711(law, codes) => {
                let mut piece = [0; 160];
                for pcm in pcm.chunks(piece.len()) {
                    let piece = &mut piece[..pcm.len()];
                    law.encode(pcm, piece);
                    codes.extend(piece);
                }
            }
        }
    }

    /// Forgets what is before `position`.
    pub(super) fn forget_before(&mut self, position: i64) {
        let mut count = 0;
        while let Some(span) = self.spans.front_mut() {
            let end = span.end.min(position);
            count += usize::try_from(end - span.start).unwrap_or(0);
            if end < span.end {
                span.start = span.start.max(end);
                break;
            }
            self.spans.pop_front();
        }
        match &mut self.samples {
            Samples::Linear16(samples) => samples.forget(count),
            Samples::G711(_, codes) => codes.forget(count),
        }
    }

    /// Position of the first sample from `position` on; `None` if there is none.
    pub(super) fn first_from(&self, position: i64) -> Option<i64> {
        self.spans.iter().find(|span| span.end > position).map(|span| span.start.max(position))
    }

    /// How many samples came in a range of positions and are kept.
    pub(super) fn count(&self, range: Range<i64>) -> u64 {
        let within = |span: &Range<i64>| (span.end.min(range.end) - span.start.max(range.start)).max(0);
        self.spans.iter().map(within).sum::<i64>().unsigned_abs()
    }

    /// The first frame from `position` on, with its own position: what is there up to the next multiple of 20 ms, as it came.
    /// `None` if there is none.
    pub(super) fn frame(&self, position: i64) -> Option<(i64, Arc<[i16]>)> {
        let mut index = 0;
        for span in &self.spans {
            let start = span.start.max(position);
            if start < span.end {
                let frame = self.frame as i64;
                let end = span.end.min(start - start.rem_euclid(frame) + frame);
                let first = index + (start - span.start) as usize;
                return Some((start, self.samples(first..first + (end - start) as usize)));
            }
            index += (span.end - span.start) as usize;
        }
        None
    }

    fn samples(&self, range: Range<usize>) -> Arc<[i16]> {
        match &self.samples {
            Samples::Linear16(samples) => samples.range(range).collect(),
            Samples::G711(law, codes) => {
                let codes: Vec<u8> = codes.range(range).collect();
                let mut pcm = vec![0; codes.len()];
                law.decode(&codes, &mut pcm);
                pcm.into()
            }
        }
    }

    #[cfg(test)]
    fn capacity(&self) -> usize {
        match &self.samples {
            Samples::Linear16(samples) => samples.capacity(),
            Samples::G711(_, codes) => codes.capacity(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> Ring {
        Ring::new(SampleRate::HZ_8000, None)
    }

    #[test]
    fn samples_are_found_at_their_positions_and_gaps_between_them() {
        let mut ring = ring();
        ring.push(10, &[1, 2, 3]);
        ring.push(15, &[4, 5]);
        ring.push(17, &[6]);
        assert_eq!((ring.first_from(0), ring.end()), (Some(10), 18));
        assert_eq!(ring.frame(0), Some((10, [1, 2, 3].into())));
        assert_eq!(ring.frame(12), Some((12, [3].into())));
        assert_eq!(ring.frame(13), Some((15, [4, 5, 6].into())));
        assert_eq!(ring.first_from(13), Some(15));
        assert_eq!(ring.count(12..16), 2);
        ring.forget_before(16);
        assert_eq!(ring.frame(0), Some((16, [5, 6].into())));
        ring.forget_before(100);
        assert_eq!((ring.first_from(0), ring.end(), ring.frame(0)), (None, 18, None));
    }

    #[test]
    fn frames_come_as_they_came_and_no_longer() {
        let mut ring = ring();
        ring.push(0, &[1; 480]);
        let starts: Vec<_> = [0, 100, 160, 479].map(|at| ring.frame(at).map(|(start, pcm)| (start, pcm.len()))).into();
        assert_eq!(starts, [Some((0, 160)), Some((100, 60)), Some((160, 160)), Some((479, 1))]);
    }

    #[test]
    fn what_comes_twice_is_kept_once() {
        let mut ring = ring();
        ring.push(0, &[1, 2, 3]);
        ring.push(1, &[9, 9, 4]);
        ring.push(0, &[9]);
        assert_eq!(ring.frame(0), Some((0, [1, 2, 3, 4].into())));
    }

    #[test]
    fn audio_of_a_g711_leg_takes_a_byte_a_sample_and_comes_back_as_it_was() {
        for law in [Law::Mu, Law::A] {
            let codes: Vec<u8> = (0..=255).collect();
            let mut pcm = [0; 256];
            law.decode(&codes, &mut pcm);
            let mut ring = Ring::new(SampleRate::HZ_8000, Some(law));
            ring.push(0, &pcm);
            let (first, second) = (ring.frame(0).unwrap().1, ring.frame(160).unwrap().1);
            assert_eq!([first, second].concat(), pcm, "{law:?}");
        }
    }

    #[test]
    fn memory_grows_with_an_utterance_and_shrinks_again() {
        let mut ring = ring();
        for frame in 0..500 {
            ring.push(frame * 160, &[0; 160]);
        }
        assert!(ring.capacity() == 80_000, "{}", ring.capacity());
        ring.forget_before(ring.end() - 8_000);
        assert!(ring.capacity() == 8_000, "{}", ring.capacity());
        for frame in 500..1_000 {
            ring.push(frame * 160, &[0; 160]);
            ring.forget_before(ring.end() - 8_000);
            assert!(ring.capacity() <= 8_800, "{}", ring.capacity());
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_list_holds(
            steps in prop::collection::vec((0i64..400, 1usize..300, 0i64..800), 1..40),
        ) {
            let mut ring = ring();
            let mut plain: Vec<(i64, i16)> = Vec::new();
            let mut next = 0;
            for (gap, length, kept) in steps {
                let start = ring.end() + if gap < 200 { 0 } else { gap };
                let pcm: Vec<i16> = (0..length).map(|_| { next += 1; next }).collect();
                ring.push(start, &pcm);
                plain.extend(pcm.iter().enumerate().map(|(index, sample)| (start + index as i64, *sample)));
                ring.forget_before(ring.end() - kept);
                plain.retain(|(position, _)| *position >= ring.end() - kept);
                let mut read = Vec::new();
                let mut position = 0;
                while let Some((start, pcm)) = ring.frame(position) {
                    read.extend(pcm.iter().enumerate().map(|(index, sample)| (start + index as i64, *sample)));
                    position = start + pcm.len() as i64;
                }
                prop_assert_eq!(&read, &plain);
                prop_assert_eq!(ring.count(0..i64::MAX), plain.len() as u64);
            }
        }
    }
}
