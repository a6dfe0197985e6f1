//! Whisper's decoder: what the encoder heard, and the tokens so far, become a guess at the next token.

use super::attention::Attention;
use super::linear::{LayerNorm, Linear, QuantizedLinear, add};
use super::vocabulary::Token;
use super::weights::{Weights, WeightsError};
use rten_gemm::{GemmError, GemmExecutor};
use rten_simd::SimdUnaryOp;
use rten_vecmath::Gelu;

/// The decoder of one model.
pub(super) struct Decoder {
    width: usize,
    heads: usize,
    /// `[tokens, width]`: a row is a token as input, and the matrix turns the last vector into logits.
    embeddings: QuantizedLinear,
    tokens: usize,
    /// `[positions, width]`.
    positions: Vec<f32>,
    layers: Vec<DecoderLayer>,
    norm: LayerNorm,
}

struct DecoderLayer {
    self_norm: LayerNorm,
    /// To query, key and value, side by side.
    self_in: QuantizedLinear,
    self_out: QuantizedLinear,
    heard_norm: LayerNorm,
    heard_query: QuantizedLinear,
    /// To keys and values of what the encoder heard, side by side; for all its positions at once.
    heard_memory: Linear,
    heard_out: QuantizedLinear,
    feed_forward_norm: LayerNorm,
    feed_forward_in: QuantizedLinear,
    feed_forward_out: QuantizedLinear,
}

/// What the encoder heard, prepared for each layer of the decoder: `[positions, 2 · width]`, key then value.
pub(super) struct Heard {
    layers: Vec<Vec<f32>>,
}

/// A transcript in the making.
pub(super) struct Transcript<'a> {
    /// For each layer, the stretches of what was heard.
    heard: Vec<[&'a [f32]; 2]>,
    /// For each layer, keys and values of the tokens so far: `[tokens, 2 · width]`.
    spoken: Vec<Vec<f32>>,
    length: usize,
}

impl<'a> Transcript<'a> {
    /// A transcript of `utterance`, which is followed by silence: all positions of `silence` from where the utterance
    /// ends.
    pub(super) fn new(utterance: &'a Heard, silence: &'a Heard) -> Self {
        let layers = utterance.layers.iter().zip(&silence.layers);
        let heard: Vec<_> =
            layers.map(|(said, silence)| [&said[..], silence.get(said.len()..).unwrap_or(&[])]).collect();
        Self { spoken: vec![Vec::new(); heard.len()], heard, length: 0 }
    }
}

impl Decoder {
    pub(super) fn load(weights: &Weights<'_>, gemm: &GemmExecutor) -> Result<Self, WeightsError> {
        const EMBEDDINGS: &str = "decoder/embeddings/weight";
        const POSITIONS: &str = "decoder/position_encodings/encodings";
        let [tokens, width] = weights.matrix_shape(EMBEDDINGS)?;
        let [positions, _] = weights.matrix_shape(POSITIONS)?;
        let mut layers = Vec::new();
        while weights.contains(&format!("decoder/layer_{}/ffn/linear_0/weight", layers.len())) {
            layers.push(DecoderLayer::load(weights, gemm, &format!("decoder/layer_{}", layers.len()), width)?);
        }
        Ok(Self {
            width,
            heads: weights.heads("decoder", width)?,
            embeddings: QuantizedLinear::new(&weights.tensor(EMBEDDINGS, &[tokens, width])?, vec![0.0; tokens], width),
            tokens,
            positions: weights.tensor(POSITIONS, &[positions, width])?,
            layers,
            norm: LayerNorm::load(weights, "decoder/layer_norm", width)?,
        })
    }

    /// How many tokens there are, and so how many logits.
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    /// How many tokens a transcript may have.
    pub(super) fn max_length(&self) -> usize {
        self.positions.len() / self.width
    }

    /// Prepares `[positions, width]` of the encoder.
    pub(super) fn listen(&self, gemm: &GemmExecutor, encoded: &[f32]) -> Result<Heard, GemmError> {
        let memories = self.layers.iter().map(|layer| layer.heard_memory.forward(gemm, encoded));
        Ok(Heard { layers: memories.collect::<Result<_, _>>()? })
    }

    /// Appends a token (less than [`Self::tokens`]) to a transcript shorter than [`Self::max_length`]; returns the
    /// logits of the next one, `[tokens]`.
    pub(super) fn push(&self, transcript: &mut Transcript<'_>, token: Token) -> Vec<f32> {
        let mut x: Vec<f32> = self.embeddings.row(token).collect();
        add(&mut x, &self.positions[transcript.length * self.width..][..self.width]);
        transcript.length += 1;
        let memories = transcript.spoken.iter_mut().zip(&transcript.heard);
        for (layer, (spoken, heard)) in self.layers.iter().zip(memories) {
            layer.forward(&mut x, spoken, heard, self.heads);
        }
        self.embeddings.forward(&self.norm.forward(&x))
    }
}

impl DecoderLayer {
    fn load(weights: &Weights<'_>, gemm: &GemmExecutor, name: &str, width: usize) -> Result<Self, WeightsError> {
        let linear =
            |part: &str, outputs, inputs| QuantizedLinear::load(weights, &format!("{name}/{part}"), outputs, inputs);
        let norm = |part: &str| LayerNorm::load(weights, &format!("{name}/{part}/layer_norm"), width);
        Ok(Self {
            self_norm: norm("self_attention")?,
            self_in: linear("self_attention/linear_0", 3 * width, width)?,
            self_out: linear("self_attention/linear_1", width, width)?,
            heard_norm: norm("attention")?,
            heard_query: linear("attention/linear_0", width, width)?,
            heard_memory: Linear::load(weights, gemm, &format!("{name}/attention/linear_1"), 2 * width, width)?,
            heard_out: linear("attention/linear_2", width, width)?,
            feed_forward_norm: norm("ffn")?,
            feed_forward_in: linear("ffn/linear_0", 4 * width, width)?,
            feed_forward_out: linear("ffn/linear_1", width, 4 * width)?,
        })
    }

    /// `x`: `[width]`, changed in place; `spoken` grows by one row.
    fn forward(&self, x: &mut [f32], spoken: &mut Vec<f32>, heard: &[&[f32]], heads: usize) {
        let projected = self.self_in.forward(&self.self_norm.forward(x));
        let (query, key_and_value) = projected.split_at(x.len());
        spoken.extend_from_slice(key_and_value);
        let mixed = Attention { query, memory: &[spoken], heads }.run();
        add(x, &self.self_out.forward(&mixed));

        let query = self.heard_query.forward(&self.heard_norm.forward(x));
        let mixed = Attention { query: &query, memory: heard, heads }.run();
        add(x, &self.heard_out.forward(&mixed));

        let mut hidden = self.feed_forward_in.forward(&self.feed_forward_norm.forward(x));
        Gelu {}.map_mut(&mut hidden);
        add(x, &self.feed_forward_out.forward(&hidden));
    }
}
