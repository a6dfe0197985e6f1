//! A queue of samples in blocks of one size: it takes what it holds and less than two blocks more, and what grows and
//! shrinks in a thousand calls at once leaves no holes in the heap that only another size would fit.

use std::collections::VecDeque;
use std::ops::Range;

#[derive(Debug)]
pub(super) struct Blocks<T> {
    blocks: VecDeque<Box<[T]>>,
    block: usize,
    /// Samples at the beginning of the first block that are forgotten.
    forgotten: usize,
    length: usize,
}

impl<T: Copy + Default> Blocks<T> {
    /// An empty queue with blocks of so many samples.
    pub(super) const fn new(block: usize) -> Self {
        Self { blocks: VecDeque::new(), block, forgotten: 0, length: 0 }
    }

    pub(super) fn extend(&mut self, mut samples: &[T]) {
        while !samples.is_empty() {
            let end = self.forgotten + self.length;
            if end == self.blocks.len() * self.block {
                self.blocks.push_back(vec![T::default(); self.block].into());
            }
            let Some(last) = self.blocks.back_mut() else { return };
            let free = &mut last[end % self.block..];
            let (now, later) = samples.split_at(free.len().min(samples.len()));
            free[..now.len()].copy_from_slice(now);
            self.length += now.len();
            samples = later;
        }
    }

    /// Forgets the oldest samples.
    pub(super) fn forget(&mut self, count: usize) {
        let count = count.min(self.length);
        self.length -= count;
        self.forgotten += count;
        while self.forgotten >= self.block {
            self.blocks.pop_front();
            self.forgotten -= self.block;
        }
    }

    /// The samples with these indices, counted from the oldest.
    pub(super) fn range(&self, range: Range<usize>) -> impl Iterator<Item = T> {
        debug_assert!(range.end <= self.length);
        range.map(move |index| {
            let at = self.forgotten + index;
            self.blocks[at / self.block][at % self.block]
        })
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.blocks.len() * self.block
    }
}
