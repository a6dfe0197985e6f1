//! The numbers of the recommendation, and what can be worked out from them once: the compiler makes all tables.

/// Every second coefficient of the band filter of 24 taps, scaled by 2^13.
pub const QMF: [i16; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band, in units of a scale factor of 2^12 (Q6).
pub const LEVELS: [u16; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// The steps of the lower band without a sign: how many decision levels lie at or below a magnitude.
pub const LOW_STEPS: usize = LEVELS.len() + 1;

/// A step of the lower band to its code of six bits, for negative and positive differences (QUANTL).
pub static LOW_CODES: [[u8; LOW_STEPS]; 2] = low_codes();

/// Quantised differences of the lower band by their code of six bits, for the decoder's output (INVQBL).
pub static LOW_OUTPUT: [i16; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];

/// What a code does to the adaptation of its band.
#[derive(Clone, Copy, Debug)]
pub struct Adaptation {
    /// Quantised difference, in units of a scale factor of 2^15 (INVQAL, INVQAH).
    pub difference: i16,
    /// What is added to the logarithm of the scale factor (LOGSCL, LOGSCH).
    pub step: i16,
}

/// The adaptation of the lower band by the upper four bits of its code.
pub static LOW_ADAPTATION: [Adaptation; 16] = {
    const DIFFERENCES: [i16; 16] = [
        0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200,
        0,
    ];
    const STEPS: [i16; 8] = [-60, -30, 58, 172, 334, 538, 1_198, 3_042];
    let mut table = [Adaptation { difference: 0, step: 0 }; 16];
    let mut code = 0;
    while code < table.len() {
        // The magnitudes fall from code 1 to 7 and again from 8 to 14; 0 and 15 are the smallest.
        let magnitude = match code {
            0 | 15 => 0,
            1..=7 => 8 - code,
            _ => 15 - code,
        };
        table[code] = Adaptation { difference: DIFFERENCES[code], step: STEPS[magnitude] };
        code += 1;
    }
    table
};

/// The adaptation of the upper band by its code: minus large, minus small, plus large, plus small.
pub static HIGH_ADAPTATION: [Adaptation; 4] = [
    Adaptation { difference: -7_408, step: 798 },
    Adaptation { difference: -1_616, step: -214 },
    Adaptation { difference: 7_408, step: 798 },
    Adaptation { difference: 1_616, step: -214 },
];

/// The only decision level of the upper band (Q2).
pub const HIGH_DECISION: i32 = 564;

/// The greatest logarithm of a scale factor in the lower and the upper band (LOGSCL, LOGSCH). 2,048 are a factor of 2.
pub const LOW_MAX_LOG: i32 = 18_432;
/// See [`LOW_MAX_LOG`].
pub const HIGH_MAX_LOG: i32 = 22_528;

/// The scale factor of the lower band by its logarithm / 64 (SCALEL).
pub static LOW_SCALE: [i16; (LOW_MAX_LOG >> 6) as usize + 1] = scale_factors(8);
/// The same for the upper one (SCALEH).
pub static HIGH_SCALE: [i16; (HIGH_MAX_LOG >> 6) as usize + 1] = scale_factors(10);

/// 2^(11 + n/32), rounded (ILB): the fraction of a scale factor.
const FRACTIONS: [i16; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];

const fn scale_factors<const N: usize>(shift: usize) -> [i16; N] {
    let mut table = [0; N];
    let mut log = 0;
    while log < N {
        let (fraction, octave) = (FRACTIONS[log % 32], log / 32);
        table[log] = if octave > shift { fraction << (octave - shift) } else { fraction >> (shift - octave) } << 2;
        log += 1;
    }
    table
}

const fn low_codes() -> [[u8; LOW_STEPS]; 2] {
    let mut table = [[0; LOW_STEPS]; 2];
    let mut step = 0;
    while step < LOW_STEPS {
        // The two smallest negative steps stand at the very end; what would be codes 0 to 3 is never sent, so that no
        // byte is without a bit set.
        table[0][step] = if step < 2 { 63 - step } else { 33 - step } as u8;
        table[1][step] = (61 - step) as u8;
        step += 1;
    }
    table
}

/// Width of a bin of [`quantize`]. Any two decision levels are at least 35 apart.
const BIN: usize = 32;

/// How many decision levels lie below each bin, the last level aside.
static LEVELS_BELOW: [u8; LEVELS[LEVELS.len() - 1] as usize / BIN + 1] = {
    let mut table = [0; LEVELS[LEVELS.len() - 1] as usize / BIN + 1];
    let mut bin = 0;
    while bin < table.len() {
        let mut below = 0;
        while below + 1 < LEVELS.len() && (LEVELS[below] as usize) < bin * BIN {
            below += 1;
        }
        table[bin] = below as u8;
        bin += 1;
    }
    table
};

/// 2^27 / scale factor, by the logarithm as [`LOW_SCALE`].
static LOW_RECIPROCAL: [u32; LOW_SCALE.len()] = {
    let mut table = [0; LOW_SCALE.len()];
    let mut log = 0;
    while log < table.len() {
        table[log] = (1 << 27) / LOW_SCALE[log] as u32;
        log += 1;
    }
    table
};

/// QUANTL: how many decision levels, scaled by the factor at `log`, lie at or below `magnitude` (15 bits).
///
/// The recommendation compares with one level after the other. Here a division, made of a multiplication, finds the
/// only one that is in doubt: `level * scale >> 12 <= magnitude` holds for all levels below `(magnitude + 1) * 2^12 /
/// scale`. That is found up to 2 too small, so that the one in doubt lies in its bin or at the beginning of the next.
pub fn quantize(magnitude: i32, log: usize, scale: i32) -> usize {
    let limit = (u64::from(magnitude as u32 + 1) * u64::from(LOW_RECIPROCAL[log])) >> 15;
    let bin = (limit as usize / BIN).min(LEVELS_BELOW.len() - 1);
    let below = usize::from(LEVELS_BELOW[bin]);
    below + usize::from(magnitude >= (i32::from(LEVELS[below]) * scale) >> 12)
}
