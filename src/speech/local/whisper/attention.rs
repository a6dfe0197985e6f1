//! What the decoder looks back at: attention of one position to many, with the keys and values kept from before.

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use rten_vecmath::Softmax;

/// Attention of one query to rows of keys and values.
///
/// Every head sees its own part of the width; `width` is that of the query, and the heads divide it evenly.
pub(super) struct Attention<'a> {
    /// `[width]`.
    pub(super) query: &'a [f32],
    /// Stretches of rows that follow each other, each `[rows, 2 · width]`: the key, then the value.
    pub(super) memory: &'a [&'a [f32]],
    pub(super) heads: usize,
}

impl Attention<'_> {
    /// The mixture of values, `[width]`.
    pub(super) fn run(&self) -> Vec<f32> {
        let width = self.query.len();
        let head_width = width / self.heads;
        let positions = self.memory.iter().map(|stretch| stretch.len() / (2 * width)).sum();
        let mut output = vec![0.0; width];
        let mut weights = vec![0.0; positions];
        for (head, output) in output.chunks_exact_mut(head_width).enumerate() {
            let offset = head * head_width;
            let query = &self.query[offset..][..head_width];
            let mut rest = &mut weights[..];
            for stretch in self.memory {
                let (scores, behind) = rest.split_at_mut(stretch.len() / (2 * width));
                Score { query, memory: stretch, stride: 2 * width, offset, scores }.dispatch();
                rest = behind;
            }
            Softmax::new_mut(&mut weights).dispatch();
            let mut rest = &weights[..];
            for stretch in self.memory {
                let (weights, behind) = rest.split_at(stretch.len() / (2 * width));
                Mix { weights, memory: stretch, stride: 2 * width, offset: width + offset, output }.dispatch();
                rest = behind;
            }
        }
        output
    }
}

/// `scores[r] = query · row[r][offset..] / √length`.
struct Score<'a> {
    query: &'a [f32],
    memory: &'a [f32],
    stride: usize,
    offset: usize,
    scores: &'a mut [f32],
}

impl SimdOp for Score<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let floats = isa.f32();
        let lanes = floats.len();
        let scale = 1.0 / (self.query.len() as f32).sqrt();
        for (row, score) in self.memory.chunks_exact(self.stride).zip(self.scores) {
            let key = &row[self.offset..][..self.query.len()];
            let (queries, keys) = (self.query.chunks_exact(lanes), key.chunks_exact(lanes));
            let rest = queries.remainder().iter().zip(keys.remainder()).map(|(q, k)| q * k).sum::<f32>();
            let mut sum = floats.zero();
            for (query, key) in queries.zip(keys) {
                sum = floats.mul_add(floats.load(query), floats.load(key), sum);
            }
            *score = (floats.sum(sum) + rest) * scale;
        }
    }
}

/// `output += Σ weights[r] · row[r][offset..]`.
struct Mix<'a> {
    weights: &'a [f32],
    memory: &'a [f32],
    stride: usize,
    offset: usize,
    output: &'a mut [f32],
}

impl SimdOp for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        /// A position of less weight than this changes nothing that can be heard of.
        const NEGLIGIBLE: f32 = 1e-7;
        let floats = isa.f32();
        let lanes = floats.len();
        for (row, weight) in self.memory.chunks_exact(self.stride).zip(self.weights) {
            if *weight < NEGLIGIBLE {
                continue;
            }
            let value = &row[self.offset..][..self.output.len()];
            let factor = floats.splat(*weight);
            let (mut outputs, values) = (self.output.chunks_exact_mut(lanes), value.chunks_exact(lanes));
            let rest = values.remainder();
            for (output, value) in outputs.by_ref().zip(values) {
                floats.store(floats.mul_add(factor, floats.load(value), floats.load(output)), output);
            }
            for (output, value) in outputs.into_remainder().iter_mut().zip(rest) {
                *output += weight * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two heads of width `half`; `rows` of memory.
    fn attend(half: usize, query: &[f32], memory: &[&[f32]]) -> Vec<f32> {
        assert_eq!(query.len(), 2 * half);
        Attention { query, memory, heads: 2 }.run()
    }

    fn row(half: usize, keys: [f32; 2], values: [f32; 2]) -> Vec<f32> {
        [keys[0], keys[1], values[0], values[1]].into_iter().flat_map(|value| vec![value; half]).collect()
    }

    #[test]
    fn each_head_takes_the_value_whose_key_it_asks_for() {
        for half in [64, 5] {
            let memory = [row(half, [9.0, -9.0], [1.0, 2.0]), row(half, [-9.0, 9.0], [3.0, 4.0])].concat();
            let output = attend(half, &vec![9.0; 2 * half], &[&memory]);
            assert!(output[..half].iter().all(|value| (value - 1.0).abs() < 1e-3), "{output:?}");
            assert!(output[half..].iter().all(|value| (value - 4.0).abs() < 1e-3), "{output:?}");
        }
    }

    #[test]
    fn equal_keys_give_the_mean() {
        let memory = [row(16, [1.0, 1.0], [1.0, 5.0]), row(16, [1.0, 1.0], [3.0, 7.0])].concat();
        let output = attend(16, &[0.5; 32], &[&memory]);
        assert!((output[0] - 2.0).abs() < 1e-5 && (output[31] - 6.0).abs() < 1e-5);
    }

    #[test]
    fn memory_in_stretches_is_the_same_as_in_one() {
        let rows: Vec<Vec<f32>> = (0..7).map(|i| row(8, [i as f32, -1.0], [i as f32, 1.0])).collect();
        let query: Vec<f32> = (0..16).map(|i| i as f32 / 16.0).collect();
        let whole = attend(8, &query, &[&rows.concat()]);
        let parted = attend(8, &query, &[&rows[..3].concat(), &rows[3..].concat()]);
        assert!(whole.iter().zip(parted).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
