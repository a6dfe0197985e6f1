//! G.722 at 64 kbit/s (ITU-T G.722, 09/2012): 16 kHz audio in two bands of 8 kHz, each coded as the difference from a
//! prediction. Six bits a sample carry the lower band and two the upper one: a byte for two samples.
//!
//! Names in capitals are those of the recommendation's blocks and tables. The arithmetic is its 16-bit fixed point. In
//! one place it is that of the implementations in use, Asterisk's among them: the sum of the six zeros of the predictor
//! (FILTEZ) is limited once, not after each addition.
//!
//! A block of 20 ms goes through the filter that splits the bands as a whole, then through the bands, so that the
//! filter becomes vector code and nothing has to be moved for each sample.

mod band;
mod tables;

use band::{HighBand, LowBand};
use tables::QMF;

/// Pairs of samples, which is bytes, that are worked on at a time: 20 ms.
const BLOCK: usize = 160;

/// What each half of the band filter remembers.
const HISTORY: usize = QMF.len() - 1;

/// One half of the band filter: every second tap, for every second sample.
#[derive(Clone, Debug)]
struct HalfFilter {
    /// Taps, that of the oldest sample first.
    taps: [i16; QMF.len()],
    history: [i16; HISTORY],
}

impl HalfFilter {
    const fn new(taps: [i16; QMF.len()]) -> Self {
        Self { taps, history: [0; HISTORY] }
    }

    /// The half for the earlier sample of each pair.
    const fn early() -> Self {
        Self::new(QMF)
    }

    /// The half for the later one: the whole filter is symmetric.
    const fn late() -> Self {
        let mut taps = QMF;
        let mut tap = 0;
        while tap < taps.len() {
            taps[tap] = QMF[HISTORY - tap];
            tap += 1;
        }
        Self::new(taps)
    }

    /// Filters the first `count` of the samples that stand in `window` behind [`HISTORY`] free places.
    fn run(&mut self, window: &mut [i16; HISTORY + BLOCK], count: usize, sums: &mut [i32; BLOCK]) {
        window[..HISTORY].copy_from_slice(&self.history);
        for (sum, samples) in sums[..count].iter_mut().zip(window.windows(QMF.len())) {
            *sum = samples.iter().zip(&self.taps).map(|(sample, tap)| i32::from(*sample) * i32::from(*tap)).sum();
        }
        self.history.copy_from_slice(&window[count..count + HISTORY]);
    }
}

/// Encodes one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    early: HalfFilter,
    late: HalfFilter,
    low: LowBand,
    high: HighBand,
}

impl Encoder {
    /// An encoder after reset.
    pub const fn new() -> Self {
        Self { early: HalfFilter::early(), late: HalfFilter::late(), low: LowBand::new(), high: HighBand::new() }
    }

    /// Encodes as many pairs of samples as there are bytes, up to the shorter of the two.
    pub fn encode(&mut self, pcm: &[i16], codes: &mut [u8]) {
        let (pairs, _) = pcm.as_chunks::<2>();
        for (pairs, codes) in pairs.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)) {
            self.encode_block(pairs, codes);
        }
    }

    fn encode_block(&mut self, pairs: &[[i16; 2]], codes: &mut [u8]) {
        let (mut early, mut late) = ([0; HISTORY + BLOCK], [0; HISTORY + BLOCK]);
        for ((early, late), pair) in early[HISTORY..].iter_mut().zip(&mut late[HISTORY..]).zip(pairs) {
            [*early, *late] = *pair;
        }
        let count = pairs.len().min(codes.len());
        let (mut early_sums, mut late_sums) = ([0; BLOCK], [0; BLOCK]);
        self.early.run(&mut early, count, &mut early_sums);
        self.late.run(&mut late, count, &mut late_sums);
        for ((code, early), late) in codes.iter_mut().zip(&early_sums[..count]).zip(&late_sums) {
            let low = self.low.encode(limit((late + early) >> 14));
            let high = self.high.encode(limit((late - early) >> 14));
            *code = high << 6 | low;
        }
    }
}

/// Decodes one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    sums: HalfFilter,
    differences: HalfFilter,
    low: LowBand,
    high: HighBand,
}

impl Decoder {
    /// A decoder after reset.
    pub const fn new() -> Self {
        Self { sums: HalfFilter::early(), differences: HalfFilter::late(), low: LowBand::new(), high: HighBand::new() }
    }

    /// Decodes each byte into two samples, up to the shorter of the two.
    pub fn decode(&mut self, codes: &[u8], pcm: &mut [i16]) {
        let (pairs, _) = pcm.as_chunks_mut::<2>();
        for (codes, pairs) in codes.chunks(BLOCK).zip(pairs.chunks_mut(BLOCK)) {
            self.decode_block(codes, pairs);
        }
    }

    fn decode_block(&mut self, codes: &[u8], pairs: &mut [[i16; 2]]) {
        let (mut sums, mut differences) = ([0; HISTORY + BLOCK], [0; HISTORY + BLOCK]);
        let count = codes.len().min(pairs.len());
        for ((sum, difference), code) in
            sums[HISTORY..].iter_mut().zip(&mut differences[HISTORY..]).zip(&codes[..count])
        {
            let low = limit(self.low.decode(code & 0x3F));
            let high = limit(self.high.decode(code >> 6));
            // Two values of 15 bits: 16 bits hold both results.
            *sum = (low + high) as i16;
            *difference = (low - high) as i16;
        }
        let (mut second, mut first) = ([0; BLOCK], [0; BLOCK]);
        self.sums.run(&mut sums, count, &mut second);
        self.differences.run(&mut differences, count, &mut first);
        for ((pair, first), second) in pairs.iter_mut().zip(&first[..count]).zip(&second) {
            *pair = [saturate(first >> 11) as i16, saturate(second >> 11) as i16];
        }
    }
}

/// LIMIT: a band has 15 bits.
fn limit(sample: i32) -> i32 {
    sample.clamp(-16_384, 16_383)
}

/// Everything else has 16.
fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN as i32, i16::MAX as i32)
}

#[cfg(test)]
mod tests;
