//! The layers that encoder and decoder are made of: matrix products in single precision for many rows at once, matrix
//! products with 8-bit weights for one row, and normalisation.
//!
//! A matrix of `rows × columns` is a flat slice, row after row.

use super::weights::{Weights, WeightsError};
use rten_gemm::{BiasVector, GemmError, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::ops::{BitOps, Extend, NumOps, ToFloat};
use rten_simd::{Isa, SimdOp};
use rten_tensor::NdTensorView;

/// A view of a flat slice as a matrix.
pub(super) fn matrix(values: &[f32], rows: usize, columns: usize) -> NdTensorView<'_, f32, 2> {
    NdTensorView::from_data([rows, columns], values)
}

/// `y = W x + b` in single precision, for many rows `x` at once.
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    weights: PackedBMatrix<f32>,
    bias: Vec<f32>,
}

impl Linear {
    /// The layer called `name`, which has `outputs` rows of `inputs` weights.
    pub(super) fn load(
        weights: &Weights<'_>,
        gemm: &GemmExecutor,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, WeightsError> {
        let rows = weights.tensor(&format!("{name}/weight"), &[outputs, inputs])?;
        let bias = weights.tensor(&format!("{name}/bias"), &[outputs])?;
        Ok(Self::new(gemm, &rows, bias, inputs))
    }

    /// A layer of these rows of `inputs` weights, one row for each element of `bias`.
    pub(super) fn new(gemm: &GemmExecutor, rows: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let outputs = bias.len();
        let weights = gemm.prepack_b(matrix(rows, outputs, inputs).transposed());
        Self { inputs, outputs, weights, bias }
    }

    /// `[rows, inputs]` → `[rows, outputs]`.
    pub(super) fn forward(&self, gemm: &GemmExecutor, input: &[f32]) -> Result<Vec<f32>, GemmError> {
        let rows = input.len() / self.inputs;
        let mut output = vec![0.0; rows * self.outputs];
        let options = GemmOptions { bias: Some(BiasVector::Row(&self.bias)), ..Default::default() };
        let a = GemmInputA::Unpacked(matrix(input, rows, self.inputs));
        gemm.gemm(&mut output, a, GemmInputB::Packed(&self.weights), options)?;
        Ok(output)
    }
}

/// `y = W x + b` with weights of 8 bits and a scale for each row, for one `x` at a time.
///
/// The decoder makes one token after the other, so it reads all its weights for each and is limited by memory, not by
/// arithmetic: a quarter of the bytes is a quarter of the time. The input stays in single precision.
pub(super) struct QuantizedLinear {
    inputs: usize,
    /// `[outputs, inputs]`.
    weights: Vec<i8>,
    /// What a weight of 1 means, for each row.
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl QuantizedLinear {
    /// The layer called `name`, which has `outputs` rows of `inputs` weights.
    pub(super) fn load(weights: &Weights<'_>, name: &str, outputs: usize, inputs: usize) -> Result<Self, WeightsError> {
        let rows = weights.tensor(&format!("{name}/weight"), &[outputs, inputs])?;
        let bias = weights.tensor(&format!("{name}/bias"), &[outputs])?;
        Ok(Self::new(&rows, bias, inputs))
    }

    /// Quantises rows of `inputs` weights, one row for each element of `bias`.
    pub(super) fn new(rows: &[f32], bias: Vec<f32>, inputs: usize) -> Self {
        let mut weights = Vec::with_capacity(rows.len());
        let mut scales = Vec::with_capacity(bias.len());
        for row in rows.chunks_exact(inputs) {
            let largest = row.iter().fold(f32::MIN_POSITIVE, |largest, weight| largest.max(weight.abs()));
            let scale = largest / 127.0;
            scales.push(scale);
            weights.extend(row.iter().map(|weight| (weight / scale).round() as i8));
        }
        Self { inputs, weights, scales, bias }
    }

    /// `[inputs]` → `[outputs]`.
    pub(super) fn forward(&self, input: &[f32]) -> Vec<f32> {
        let mut output = self.bias.clone();
        MultiplyAdd { input, weights: &self.weights, scales: &self.scales, output: &mut output }.dispatch();
        output
    }

    /// Row `index` of the matrix, as numbers again.
    pub(super) fn row(&self, index: usize) -> impl Iterator<Item = f32> + '_ {
        let scale = self.scales[index];
        self.weights[index * self.inputs..][..self.inputs].iter().map(move |weight| f32::from(*weight) * scale)
    }
}

/// `output[r] += scales[r] · (weights[r] · input)` for all rows, on the widest vectors of the processor.
struct MultiplyAdd<'a> {
    input: &'a [f32],
    weights: &'a [i8],
    scales: &'a [f32],
    output: &'a mut [f32],
}

impl SimdOp for MultiplyAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (bytes, words, integers, floats) = (isa.i8(), isa.i16(), isa.i32(), isa.f32());
        // One vector of bytes widens to four vectors of floats.
        let (step, lanes) = (bytes.len(), floats.len());
        let whole = self.input.len() / step * step;
        let (head, tail) = self.input.split_at(whole);
        for ((row, scale), out) in self.weights.chunks_exact(self.input.len()).zip(self.scales).zip(self.output) {
            let (row_head, row_tail) = row.split_at(whole);
            let mut sums = [floats.zero(); 4];
            for (weights, inputs) in row_head.chunks_exact(step).zip(head.chunks_exact(step)) {
                let weights = bytes.load(weights);
                let (low, high) = (bytes.extend_low(weights), bytes.extend_high(weights));
                let widened =
                    [words.extend_low(low), words.extend_high(low), words.extend_low(high), words.extend_high(high)];
                let inputs: [I::F32; 4] = floats.load_many(inputs);
                for lane in 0..4 {
                    sums[lane] = floats.mul_add(integers.to_float(widened[lane]), inputs[lane], sums[lane]);
                }
            }
            debug_assert_eq!(step, 4 * lanes);
            let sum = floats.sum(floats.add(floats.add(sums[0], sums[1]), floats.add(sums[2], sums[3])));
            let rest: f32 = row_tail.iter().zip(tail).map(|(weight, input)| f32::from(*weight) * input).sum();
            *out += (sum + rest) * scale;
        }
    }
}

/// Normalises each row to mean 0 and variance 1, then scales and shifts its elements.
pub(super) struct LayerNorm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl LayerNorm {
    pub(super) fn load(weights: &Weights<'_>, name: &str, width: usize) -> Result<Self, WeightsError> {
        let scale = weights.tensor(&format!("{name}/gamma"), &[width])?;
        let shift = weights.tensor(&format!("{name}/beta"), &[width])?;
        Ok(Self { scale, shift })
    }

    /// `[rows, width]` → the same.
    pub(super) fn forward(&self, input: &[f32]) -> Vec<f32> {
        const EPSILON: f32 = 1e-5;
        let width = self.scale.len();
        let mut output = Vec::with_capacity(input.len());
        for row in input.chunks_exact(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
            let factor = 1.0 / (variance + EPSILON).sqrt();
            let weights = self.scale.iter().zip(&self.shift);
            output.extend(row.iter().zip(weights).map(|(x, (scale, shift))| (x - mean) * factor * scale + shift));
        }
        output
    }
}

/// `a += b`.
pub(super) fn add(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + 13) % 201) as f32 / 100.0 - 1.0).collect()
    }

    /// `W x + b` as written in books.
    fn reference(rows: &[f32], bias: &[f32], input: &[f32]) -> Vec<f32> {
        let product = |row: &[f32]| row.iter().zip(input).map(|(w, x)| w * x).sum::<f32>();
        rows.chunks_exact(input.len()).zip(bias).map(|(row, bias)| product(row) + bias).collect()
    }

    #[test]
    fn both_products_agree_with_the_definition() {
        // 150 is no multiple of any vector length, so the rest of a row counts too.
        for inputs in [384, 150, 7] {
            let (rows, bias, input) = (numbers(20 * inputs), numbers(20), numbers(inputs));
            let expected = reference(&rows, &bias, &input);
            let gemm = GemmExecutor::new();
            let single = Linear::new(&gemm, &rows, bias.clone(), inputs).forward(&gemm, &input).unwrap();
            let quantized = QuantizedLinear::new(&rows, bias, inputs).forward(&input);
            for ((expected, single), quantized) in expected.iter().zip(single).zip(quantized) {
                assert!((expected - single).abs() < 1e-3, "{expected} {single}");
                // Each weight is off by up to 1/254 of the largest; errors of both signs cancel.
                assert!((expected - quantized).abs() < 0.004 * (inputs as f32).sqrt() + 0.01, "{expected} {quantized}");
            }
        }
    }

    #[test]
    fn a_row_comes_back_as_it_was_to_a_step_of_the_quantisation() {
        let rows = numbers(64);
        let layer = QuantizedLinear::new(&rows, vec![0.0; 2], 32);
        assert!(layer.row(1).zip(&rows[32..]).all(|(got, expected)| (got - expected).abs() < 0.004));
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        assert_eq!(QuantizedLinear::new(&[0.0; 4], vec![0.5], 4).forward(&[1.0; 4]), [0.5]);
    }

    #[test]
    fn rows_are_normalised_each_for_itself() {
        let norm = LayerNorm { scale: vec![2.0; 4], shift: vec![1.0; 4] };
        let output = norm.forward(&[1.0, 2.0, 3.0, 4.0, 10.0, 10.0, 10.0, 10.0]);
        let mean = output[..4].iter().sum::<f32>() / 4.0;
        assert!((mean - 1.0).abs() < 1e-5);
        assert_eq!(output[4..], [1.0; 4]);
    }
}
