//! Whisper's encoder: a spectrogram becomes one vector for every 20 ms of audio.

use super::linear::{LayerNorm, Linear, add, matrix};
use super::mel::BANDS;
use super::weights::{Weights, WeightsError};
use rten_gemm::{GemmError, GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_simd::{SimdOp, SimdUnaryOp};
use rten_vecmath::{Gelu, Softmax};

/// Taps of both convolutions.
const TAPS: usize = 3;

/// The encoder of one model.
pub(super) struct Encoder {
    width: usize,
    heads: usize,
    /// `[columns, BANDS]` → `[columns, width]`.
    first_convolution: Linear,
    /// `[columns, width]` → `[columns / 2, width]`.
    second_convolution: Linear,
    /// `[positions, width]`.
    positions: Vec<f32>,
    layers: Vec<EncoderLayer>,
    norm: LayerNorm,
}

struct EncoderLayer {
    attention_norm: LayerNorm,
    /// To queries, keys and values, side by side.
    attention_in: Linear,
    attention_out: Linear,
    feed_forward_norm: LayerNorm,
    feed_forward_in: Linear,
    feed_forward_out: Linear,
}

impl Encoder {
    pub(super) fn load(weights: &Weights<'_>, gemm: &GemmExecutor) -> Result<Self, WeightsError> {
        const POSITIONS: &str = "encoder/position_encodings/encodings";
        let [positions, width] = weights.matrix_shape(POSITIONS)?;
        let mut layers = Vec::new();
        while weights.contains(&format!("encoder/layer_{}/ffn/linear_0/weight", layers.len())) {
            layers.push(EncoderLayer::load(weights, gemm, &format!("encoder/layer_{}", layers.len()), width)?);
        }
        Ok(Self {
            width,
            heads: weights.heads("encoder", width)?,
            first_convolution: load_convolution(weights, gemm, "encoder/conv1", BANDS, width)?,
            second_convolution: load_convolution(weights, gemm, "encoder/conv2", width, width)?,
            positions: weights.tensor(POSITIONS, &[positions, width])?,
            layers,
            norm: LayerNorm::load(weights, "encoder/layer_norm", width)?,
        })
    }

    /// How many columns of a spectrogram the encoder can look at: those of 30 s.
    pub(super) fn max_columns(&self) -> usize {
        2 * self.positions.len() / self.width
    }

    /// `[BANDS, columns]` → `[columns / 2, width]`; `columns` is even and at most [`Self::max_columns`].
    pub(super) fn forward(
        &self,
        gemm: &GemmExecutor,
        spectrogram: &[f32],
        columns: usize,
    ) -> Result<Vec<f32>, GemmError> {
        let patches = patches(columns, 1, BANDS, |column, band| spectrogram[band * columns + column]);
        let mut hidden = self.first_convolution.forward(gemm, &patches)?;
        Gelu {}.map_mut(&mut hidden);
        let patches = self::patches(columns, 2, self.width, |column, i| hidden[column * self.width + i]);
        let mut x = self.second_convolution.forward(gemm, &patches)?;
        Gelu {}.map_mut(&mut x);
        add(&mut x, &self.positions);
        for layer in &self.layers {
            layer.forward(gemm, &mut x, self.width, self.heads)?;
        }
        Ok(self.norm.forward(&x))
    }
}

impl EncoderLayer {
    fn load(weights: &Weights<'_>, gemm: &GemmExecutor, name: &str, width: usize) -> Result<Self, WeightsError> {
        let linear =
            |part: &str, outputs, inputs| Linear::load(weights, gemm, &format!("{name}/{part}"), outputs, inputs);
        let norm = |part: &str| LayerNorm::load(weights, &format!("{name}/{part}/layer_norm"), width);
        Ok(Self {
            attention_norm: norm("self_attention")?,
            attention_in: linear("self_attention/linear_0", 3 * width, width)?,
            attention_out: linear("self_attention/linear_1", width, width)?,
            feed_forward_norm: norm("ffn")?,
            feed_forward_in: linear("ffn/linear_0", 4 * width, width)?,
            feed_forward_out: linear("ffn/linear_1", width, 4 * width)?,
        })
    }

    /// `x`: `[positions, width]`, changed in place.
    fn forward(&self, gemm: &GemmExecutor, x: &mut [f32], width: usize, heads: usize) -> Result<(), GemmError> {
        let projected = self.attention_in.forward(gemm, &self.attention_norm.forward(x))?;
        let mixed = self_attention(gemm, &projected, width, heads)?;
        add(x, &self.attention_out.forward(gemm, &mixed)?);
        let mut hidden = self.feed_forward_in.forward(gemm, &self.feed_forward_norm.forward(x))?;
        Gelu {}.map_mut(&mut hidden);
        add(x, &self.feed_forward_out.forward(gemm, &hidden)?);
        Ok(())
    }
}

/// Attention of all positions to all: `[positions, 3 · width]` (queries, keys, values) → `[positions, width]`.
fn self_attention(gemm: &GemmExecutor, projected: &[f32], width: usize, heads: usize) -> Result<Vec<f32>, GemmError> {
    let positions = projected.len() / (3 * width);
    let head_width = width / heads;
    let scale = 1.0 / (head_width as f32).sqrt();
    let all = matrix(projected, positions, 3 * width);
    let mut output = vec![0.0; positions * width];
    let mut scores = vec![0.0; positions * positions];
    let mut mixed = vec![0.0; positions * head_width];
    for head in 0..heads {
        let part = |kind: usize| {
            let first = kind * width + head * head_width;
            all.slice((.., first..first + head_width))
        };
        let (queries, keys, values) = (part(0), part(1), part(2));
        let options = GemmOptions { alpha: scale, ..Default::default() };
        let keys = GemmInputB::Unpacked(keys.transposed());
        gemm.gemm(&mut scores, GemmInputA::Unpacked(queries), keys, options)?;
        for row in scores.chunks_exact_mut(positions) {
            Softmax::new_mut(row).dispatch();
        }
        let weights = GemmInputA::Unpacked(matrix(&scores, positions, positions));
        gemm.gemm(&mut mixed, weights, GemmInputB::Unpacked(values), GemmOptions::default())?;
        for (row, output) in mixed.chunks_exact(head_width).zip(output.chunks_exact_mut(width)) {
            output[head * head_width..][..head_width].copy_from_slice(row);
        }
    }
    Ok(output)
}

/// A convolution over time as a matrix product; its weights `[outputs, inputs, TAPS]` are put in the order of
/// [`patches`].
fn load_convolution(
    weights: &Weights<'_>,
    gemm: &GemmExecutor,
    name: &str,
    inputs: usize,
    outputs: usize,
) -> Result<Linear, WeightsError> {
    let kernels = weights.tensor(&format!("{name}/weight"), &[outputs, inputs, TAPS])?;
    let bias = weights.tensor(&format!("{name}/bias"), &[outputs])?;
    let mut rows = vec![0.0; kernels.len()];
    for (kernel, row) in kernels.chunks_exact(inputs * TAPS).zip(rows.chunks_exact_mut(inputs * TAPS)) {
        for input in 0..inputs {
            for tap in 0..TAPS {
                row[tap * inputs + input] = kernel[input * TAPS + tap];
            }
        }
    }
    Ok(Linear::new(gemm, &rows, bias, inputs * TAPS))
}

/// What each output of a convolution over `columns` sees, at every `stride`-th column: `[columns / stride, TAPS ·
/// inputs]`. Beyond the ends there is zero.
fn patches(columns: usize, stride: usize, inputs: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let mut rows = vec![0.0; columns / stride * TAPS * inputs];
    for (position, row) in rows.chunks_exact_mut(TAPS * inputs).enumerate() {
        for (tap, slots) in row.chunks_exact_mut(inputs).enumerate() {
            // The middle tap is at the column itself.
            let Some(column) = (position * stride + tap).checked_sub(1).filter(|column| *column < columns) else {
                continue;
            };
            for (input, slot) in slots.iter_mut().enumerate() {
                *slot = value(column, input);
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_hold_a_column_and_its_neighbours() {
        let at = |column: usize, input: usize| (10 * column + input + 1) as f32;
        assert_eq!(patches(2, 1, 2, at), [0.0, 0.0, 1.0, 2.0, 11.0, 12.0, 1.0, 2.0, 11.0, 12.0, 0.0, 0.0]);
        assert_eq!(patches(4, 2, 1, at), [0.0, 1.0, 11.0, 11.0, 21.0, 31.0]);
    }

    #[test]
    fn a_position_that_looks_for_its_own_key_finds_its_own_value() {
        // One head of width 2; keys and queries of the two positions are orthogonal and long.
        let projected = [20.0, 0.0, 20.0, 0.0, 1.0, 2.0, 0.0, 20.0, 0.0, 20.0, 3.0, 4.0];
        let output = self_attention(&GemmExecutor::new(), &projected, 2, 1).unwrap();
        for (got, expected) in output.iter().zip([1.0, 2.0, 3.0, 4.0]) {
            assert!((got - expected).abs() < 1e-3, "{output:?}");
        }
    }
}
