//! Adaptive differential coding of one band: what both sides do with each code, so that they stay in step.

use super::saturate;
use super::tables::{
    Adaptation, HIGH_ADAPTATION, HIGH_DECISION, HIGH_MAX_LOG, HIGH_SCALE, LOW_ADAPTATION, LOW_CODES, LOW_MAX_LOG,
    LOW_OUTPUT, LOW_SCALE, quantize,
};

/// Zeros of the predictor.
const ZEROS: usize = 6;

/// The lower band: 0 to 4 kHz, six bits a sample.
#[derive(Clone, Debug)]
pub struct LowBand {
    predictor: Predictor,
    /// Logarithm of the scale factor (NBL).
    log: i32,
    /// The scale factor (DETL).
    scale: i32,
}

impl LowBand {
    pub const fn new() -> Self {
        Self { predictor: Predictor::new(), log: 0, scale: 32 }
    }

    /// Codes a sample of 15 bits.
    pub fn encode(&mut self, sample: i32) -> u8 {
        let difference = saturate(sample - self.predictor.next);
        // One's complement, so that the smallest value needs no special case.
        let magnitude = difference ^ (difference >> 31);
        let step = quantize(magnitude, (self.log >> 6) as usize, self.scale);
        let code = LOW_CODES[usize::from(difference >= 0)][step];
        self.adapt(code);
        code
    }

    /// The sample that a code of six bits stands for, not limited yet.
    pub fn decode(&mut self, code: u8) -> i32 {
        let difference = (self.scale * i32::from(LOW_OUTPUT[usize::from(code & 0x3F)])) >> 15;
        let sample = self.predictor.next + difference;
        self.adapt(code);
        sample
    }

    fn adapt(&mut self, code: u8) {
        let Adaptation { difference, step } = LOW_ADAPTATION[usize::from(code >> 2 & 0x0F)];
        self.predictor.update((self.scale * i32::from(difference)) >> 15);
        self.log = next_log(self.log, step, LOW_MAX_LOG);
        self.scale = i32::from(LOW_SCALE[(self.log >> 6) as usize]);
    }
}

/// The upper band: 4 to 8 kHz, two bits a sample.
#[derive(Clone, Debug)]
pub struct HighBand {
    predictor: Predictor,
    /// Logarithm of the scale factor (NBH).
    log: i32,
    /// The scale factor (DETH).
    scale: i32,
}

impl HighBand {
    pub const fn new() -> Self {
        Self { predictor: Predictor::new(), log: 0, scale: 8 }
    }

    /// Codes a sample of 15 bits.
    pub fn encode(&mut self, sample: i32) -> u8 {
        let difference = saturate(sample - self.predictor.next);
        let magnitude = difference ^ (difference >> 31);
        let large = magnitude >= (HIGH_DECISION * self.scale) >> 12;
        let code = u8::from(difference >= 0) << 1 | u8::from(!large);
        self.adapt(code);
        code
    }

    /// The sample that a code of two bits stands for, not limited yet.
    pub fn decode(&mut self, code: u8) -> i32 {
        let predicted = self.predictor.next;
        predicted + self.adapt(code)
    }

    fn adapt(&mut self, code: u8) -> i32 {
        let Adaptation { difference, step } = HIGH_ADAPTATION[usize::from(code & 3)];
        let difference = (self.scale * i32::from(difference)) >> 15;
        self.predictor.update(difference);
        self.log = next_log(self.log, step, HIGH_MAX_LOG);
        self.scale = i32::from(HIGH_SCALE[(self.log >> 6) as usize]);
        difference
    }
}

/// LOGSCL, LOGSCH: the logarithm leaks and takes the step of the code.
fn next_log(log: i32, step: i16, max: i32) -> i32 {
    (((log * 127) >> 7) + i32::from(step)).clamp(0, max)
}

/// The adaptive predictor with two poles and six zeros (block 4).
#[derive(Clone, Debug)]
struct Predictor {
    /// What the next sample is expected to be (S).
    next: i32,
    /// The part of it that comes from the zeros (SZ).
    zeros_part: i32,
    /// Pole coefficients, scaled by 2^14 (A1, A2).
    poles: [i32; 2],
    /// Twice the last reconstructed sample, limited (RLT1).
    doubled_output: i32,
    /// The signs, as -1 or 0, of the last two partial reconstructions (PLT1, PLT2).
    partial_signs: [i32; 2],
    /// Zero coefficients, scaled by 2^14 (B1 to B6).
    zeros: [i32; ZEROS],
    /// Twice the last quantised differences, limited, the newest first (DLT1 to DLT6).
    doubled: [i32; ZEROS],
}

impl Predictor {
    const fn new() -> Self {
        Self {
            next: 0,
            zeros_part: 0,
            poles: [0; 2],
            doubled_output: 0,
            partial_signs: [0; 2],
            zeros: [0; ZEROS],
            doubled: [0; ZEROS],
        }
    }

    /// Takes in the quantised difference of this sample and predicts the next.
    fn update(&mut self, difference: i32) {
        // RECONS, PARREC. Of the partial reconstruction only the sign is wanted.
        let doubled_output = saturate(saturate(self.next + difference) << 1);
        let partial_sign = (self.zeros_part + difference) >> 31;
        let differs = [partial_sign ^ self.partial_signs[0], partial_sign ^ self.partial_signs[1]];

        // UPPOL2. Where signs differ, `differs` is -1, and complement and one more make a number its negative.
        let quadrupled = saturate(self.poles[0] << 2);
        let turned = if differs[0] == 0 { (-quadrupled).min(32_767) } else { quadrupled };
        let second = (turned >> 7) + ((128 ^ differs[1]) - differs[1]) + ((self.poles[1] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        // UPPOL1
        let bound = 15_360 - second;
        let first = ((192 ^ differs[0]) - differs[0]) + ((self.poles[0] * 32_640) >> 15);
        let first = first.max(-bound).min(bound);
        // FILTEP
        let poles_part = ((first * doubled_output) >> 15) + ((second * self.doubled_output) >> 15);

        // UPZERO, FILTEZ. A coefficient leaks 1/256 and moves by at most 128: it never leaves its 16 bits.
        let step = if difference == 0 { 0 } else { 128 };
        let mut doubled = [difference << 1; ZEROS];
        doubled[1..].copy_from_slice(&self.doubled[..ZEROS - 1]);
        let mut sum = 0;
        for ((zero, older), newer) in self.zeros.iter_mut().zip(&self.doubled).zip(&doubled) {
            let differs = (older ^ difference) >> 31;
            *zero = ((step ^ differs) - differs) + ((*zero * 32_640) >> 15);
            sum += (*zero * newer) >> 15;
        }
        self.doubled = doubled;

        self.poles = [first, second];
        self.doubled_output = doubled_output;
        self.partial_signs = [partial_sign, self.partial_signs[0]];
        self.zeros_part = saturate(sum);
        // PREDIC
        self.next = saturate(saturate(poles_part) + self.zeros_part);
    }
}

#[cfg(test)]
impl LowBand {
    /// The band after a first code that met a scale factor of 0.
    pub fn behind_silence_without_scale(code: u8) -> Self {
        let mut band = Self { scale: 0, ..Self::new() };
        band.adapt(code);
        band
    }
}

#[cfg(test)]
impl HighBand {
    /// The band after a first code that met a scale factor of 0.
    pub fn behind_silence_without_scale(code: u8) -> Self {
        let mut band = Self { scale: 0, ..Self::new() };
        band.adapt(code);
        band
    }
}
