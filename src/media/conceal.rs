//! Concealment of lost audio at 8 kHz, in the manner of ITU-T G.711 Appendix I: the last pitch periods are repeated and
//! faded, so that a lost packet sounds like a held sound and not like a click or a hole.
//!
//! Unlike the appendix this adds no delay. There, output trails input by 3.75 ms so that the end of the good audio can
//! be bent towards the repetition. Here the good audio is left as it is, and the step that remains at the joint is added
//! to the repetition and faded out over a quarter of a period.

/// Shortest and longest pitch period: 5 to 15 ms, 200 to 66 Hz.
const MIN_LAG: usize = 40;
const MAX_LAG: usize = 120;
/// What is compared when the pitch is looked for: 20 ms.
const TEMPLATE: usize = 160;
/// At most three periods are repeated, and the quarter before them is needed to make the seam.
const HISTORY: usize = 3 * MAX_LAG + MAX_LAG / 4;
/// 10 ms: after each one more period is repeated, which keeps a long gap from buzzing, and the fade goes a step further.
const STEP: usize = 80;
/// Nothing is heard after 60 ms.
const FADED_OUT: usize = 6 * STEP;

/// Fills gaps in one direction of audio. All of what is heard passes through it, in pieces of any size.
#[derive(Debug)]
pub struct Concealer {
    /// The last samples that were heard.
    history: [i16; HISTORY],
    /// What fills the gap; of no meaning while good audio is heard.
    repetition: Repetition,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Good audio.
    Heard,
    /// In a gap.
    Filling,
    /// Good audio again, still mixed with what filled the gap: `mixed` of `overlap` samples are done.
    Joining { mixed: usize, overlap: usize },
}

impl Default for Concealer {
    fn default() -> Self {
        let history = [0; HISTORY];
        Self { history, repetition: Repetition::of(&history), state: State::Heard }
    }
}

impl Concealer {
    /// Passes good audio through. After a gap its beginning is mixed with what filled the gap.
    pub fn good(&mut self, pcm: &mut [i16]) {
        if self.state == State::Filling {
            self.state = State::Joining { mixed: 0, overlap: self.repetition.overlap() };
        }
        if let State::Joining { mut mixed, overlap } = self.state {
            for sample in pcm.iter_mut().take(overlap - mixed) {
                mixed += 1;
                let weight = mixed as f32 / (overlap + 1) as f32;
                *sample = (f32::from(*sample) * weight + self.repetition.next() * (1.0 - weight)).round() as i16;
            }
            self.state = if mixed == overlap { State::Heard } else { State::Joining { mixed, overlap } };
        }
        self.remember(pcm);
    }

    /// Makes up audio where there is none. `false` if it is silence by now: the gap is longer than 60 ms, or nothing
    /// was heard before it.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> bool {
        if self.state != State::Filling {
            self.repetition = Repetition::of(&self.history);
            self.state = State::Filling;
        }
        let audible = self.repetition.is_audible();
        for sample in pcm.iter_mut() {
            *sample = self.repetition.next().round() as i16;
        }
        self.remember(pcm);
        audible
    }

    fn remember(&mut self, pcm: &[i16]) {
        let kept = HISTORY.saturating_sub(pcm.len());
        self.history.copy_within(HISTORY - kept.., 0);
        self.history[kept..].copy_from_slice(&pcm[pcm.len() - (HISTORY - kept)..]);
    }
}

/// The sound that fills a gap, sample by sample.
#[derive(Debug)]
struct Repetition {
    /// What was heard before the gap.
    source: [i16; HISTORY],
    /// Pitch period in samples.
    lag: usize,
    /// How many periods are repeated, 1 to 3.
    periods: usize,
    /// Next sample of the repeated stretch.
    position: usize,
    /// Samples made so far.
    made: usize,
    /// Difference between what was heard last and what the repetition would have had there.
    step: f32,
    /// While one more period is being taken in: where the shorter stretch would go on, and how much of it is still mixed in.
    previous: Option<(usize, usize)>,
}

impl Repetition {
    fn of(source: &[i16; HISTORY]) -> Self {
        let lag = pitch_lag(source);
        let step = f32::from(source[HISTORY - 1]) - f32::from(source[HISTORY - 1 - lag]);
        let silent = source.iter().all(|sample| sample.unsigned_abs() <= 8);
        let made = if silent { FADED_OUT } else { 0 };
        Self { source: *source, lag, periods: 1, position: 0, made, step, previous: None }
    }

    fn is_audible(&self) -> bool {
        self.made < FADED_OUT
    }

    /// Length of a seam: a quarter of a period.
    fn quarter(&self) -> usize {
        self.lag / 4
    }

    /// How long the good audio after the gap is mixed with this: longer after a longer gap, 10 ms at most.
    fn overlap(&self) -> usize {
        (self.quarter() + 32 * (self.made / STEP)).min(STEP)
    }

    /// Full for 10 ms, then a fifth less every 10 ms.
    fn gain(&self) -> f32 {
        let faded = self.made.saturating_sub(STEP) as f32 / (FADED_OUT - STEP) as f32;
        (1.0 - faded).max(0.0)
    }

    /// Sample `position` of a stretch of `periods` periods, whose end is bent towards its beginning.
    fn stretch(&self, periods: usize, position: usize) -> f32 {
        let (length, quarter) = (periods * self.lag, self.quarter());
        let start = HISTORY - length;
        let plain = f32::from(self.source[start + position]);
        let bent = (position + quarter + 1).saturating_sub(length);
        if bent == 0 {
            return plain;
        }
        let weight = bent as f32 / (quarter + 1) as f32;
        plain * (1.0 - weight) + f32::from(self.source[start + position - length]) * weight
    }

    fn next(&mut self) -> f32 {
        if !self.is_audible() {
            return 0.0;
        }
        if self.made == self.periods * STEP && self.periods < 3 {
            self.previous = Some((self.position, self.quarter()));
            // The same place in its period, in the oldest period of the longer stretch.
            self.position %= self.lag;
            self.periods += 1;
        }

        let mut sample = self.stretch(self.periods, self.position);
        self.position = (self.position + 1) % (self.periods * self.lag);
        if let Some((position, left)) = self.previous {
            let weight = left as f32 / (self.quarter() + 1) as f32;
            sample = sample * (1.0 - weight) + self.stretch(self.periods - 1, position) * weight;
            let position = (position + 1) % ((self.periods - 1) * self.lag);
            self.previous = (left > 1).then_some((position, left - 1));
        }
        if self.made < self.quarter() {
            sample += self.step * (1.0 - (self.made + 1) as f32 / (self.quarter() + 1) as f32);
        }
        sample *= self.gain();
        self.made += 1;
        sample
    }
}

/// The distance at which the end of `source` is most like what came before it: the peak of the normalised
/// cross-correlation, looked for at every other sample first.
fn pitch_lag(source: &[i16; HISTORY]) -> usize {
    let likeness = |lag: usize, stride: usize| {
        let (mut product, mut energy) = (0.0f32, 1.0f32);
        for n in (HISTORY - TEMPLATE..HISTORY).step_by(stride) {
            let (now, before) = (f32::from(source[n]), f32::from(source[n - lag]));
            product += now * before;
            energy += before * before;
        }
        product / energy.sqrt()
    };
    let best = |lags: &mut dyn Iterator<Item = usize>, stride| {
        let first = (MIN_LAG, f32::NEG_INFINITY);
        lags.map(|lag| (lag, likeness(lag, stride)))
            .fold(first, |best, next| if next.1 > best.1 { next } else { best })
            .0
    };
    let coarse = best(&mut (MIN_LAG..=MAX_LAG).step_by(2), 2);
    best(&mut (coarse.saturating_sub(1).max(MIN_LAG)..=(coarse + 1).min(MAX_LAG)), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    /// A voiced sound: a fundamental of 125 Hz (a period of 64 samples) with harmonics.
    fn voiced(from: usize, samples: usize) -> Vec<i16> {
        (from..from + samples)
            .map(|n| {
                (1..=6).map(|h| 3_000.0 / f64::from(h) * (2.0 * PI * f64::from(h) * n as f64 / 64.0).sin()).sum::<f64>()
                    as i16
            })
            .collect()
    }

    fn largest_step(pcm: &[i16]) -> i32 {
        pcm.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap()
    }

    fn level(pcm: &[i16]) -> f64 {
        (pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64).sqrt()
    }

    /// `good` samples of voice, a gap, and voice again; all of what is heard.
    fn with_gap(good: usize, gap: usize) -> Vec<i16> {
        let mut concealer = Concealer::default();
        let mut heard = voiced(0, good);
        concealer.good(&mut heard);
        let mut filled = vec![0; gap];
        for piece in filled.chunks_mut(160) {
            concealer.conceal(piece);
        }
        let mut after = voiced(good + gap, 480);
        concealer.good(&mut after);
        heard.into_iter().chain(filled).chain(after).collect()
    }

    #[test]
    fn a_lost_frame_of_a_steady_voice_is_hardly_noticed() {
        let heard = with_gap(800, 80);
        let original = voiced(0, heard.len());
        let noise: Vec<i16> = heard.iter().zip(&original).map(|(a, b)| a - b).collect();
        let snr = 20.0 * (level(&original[800..880]) / level(&noise[800..880]).max(1.0)).log10();
        assert!(snr > 30.0, "{snr:.1} dB");
    }

    #[test]
    fn there_is_no_click_at_either_end_whatever_the_length() {
        let usual = largest_step(&voiced(0, 800));
        for good in [800, 817, 843] {
            for gap in [40, 80, 160, 200, 320, 480] {
                let step = largest_step(&with_gap(good, gap));
                assert!(step < usual * 3 / 2, "a step of {step} in a gap of {gap}, usual are {usual}");
            }
        }
    }

    #[test]
    fn the_sound_fades_within_sixty_milliseconds_and_comes_back() {
        let heard = with_gap(800, 800);
        // Period by period, so that the shape of the wave does not count.
        let levels: Vec<f64> = heard[800..1_600].chunks(64).map(level).collect();
        let before = level(&heard[736..800]);
        assert!(levels[0] > 0.95 * before, "{levels:?} after {before}");
        assert!(levels.is_sorted_by(|a, b| *b < a * 1.02 || *b == 0.0), "{levels:?}");
        assert!(levels[8..].iter().all(|level| *level == 0.0), "{levels:?}");
        assert!(level(&heard[1_760..1_920]) > 0.95 * level(&heard[640..800]));
    }

    #[test]
    fn it_says_when_it_has_nothing_to_say() {
        let mut concealer = Concealer::default();
        assert!(!concealer.conceal(&mut [0; 160]), "nothing was heard before");
        let mut concealer = Concealer::default();
        concealer.good(&mut voiced(0, 800));
        let audible: Vec<bool> = (0..5).map(|_| concealer.conceal(&mut [0; 160])).collect();
        assert_eq!(audible, [true, true, true, false, false]);
    }

    #[test]
    fn pieces_do_not_matter() {
        let run = |piece: usize| {
            let mut concealer = Concealer::default();
            let mut all = voiced(0, 2_400);
            for (index, block) in all.chunks_mut(240).enumerate() {
                for part in block.chunks_mut(piece) {
                    if index % 4 == 3 { _ = concealer.conceal(part) } else { concealer.good(part) }
                }
            }
            all
        };
        assert_eq!(run(240), run(7));
    }

    #[test]
    fn loud_noise_is_survived() {
        let mut seed = 1u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if seed & 0x8000_0000 == 0 { i16::MAX } else { i16::MIN }
        };
        let mut concealer = Concealer::default();
        for _ in 0..50 {
            let mut pcm: [i16; 160] = std::array::from_fn(|_| noise());
            concealer.good(&mut pcm);
            concealer.conceal(&mut pcm);
        }
    }
}
