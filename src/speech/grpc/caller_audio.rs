//! The caller's audio as the engine wants it: its rate, its bytes, its positions.

use crate::audio::{FrameResampler, PcmFormat, SampleRate};
use crate::speech::proto::{self, AudioChunk};
use crate::speech::{EngineError, SessionStart};
use std::time::Duration;

/// A gap up to this length is filled with silence, so that the filter goes on. After a longer one it begins anew, and what it
/// still held is lost as the audio in the gap is.
const FILLED_GAP: Duration = Duration::from_secs(1);

/// The stream of one session.
#[derive(Clone)]
pub(super) struct CallerAudio {
    call: SampleRate,
    format: PcmFormat,
    /// Where the two rates differ. Boxed: most calls have none.
    resampled: Option<Box<Resampled>>,
}

/// The output trails the input by what the filter holds (2 ms at most); its positions are exact.
#[derive(Clone)]
struct Resampled {
    resampler: FrameResampler,
    /// Samples at the rate of the engine in which the filter swings in; cut off.
    lead_in: usize,
    /// Position behind the last sample that was taken in, at the rate of the call; `None` before the first.
    taken: Option<i64>,
    /// Position behind the last sample that was given out, at the rate of the engine.
    given: i64,
    /// What is being given out.
    out: Vec<i16>,
}

impl CallerAudio {
    /// A stream that begins.
    ///
    /// # Errors
    /// When there is no way from the rate of the call to that of the format.
    pub(super) fn new(start: &SessionStart, format: PcmFormat) -> Result<Self, EngineError> {
        let (call, rate) = (start.rate, format.rate());
        let resampled = if call == rate {
            None
        } else {
            let resampler = FrameResampler::new(call, rate).ok_or_else(|| {
                EngineError::Local(format!("audio of a call at {} Hz cannot be made {format}", call.hz()))
            })?;
            Some(Box::new(Resampled { resampler, lead_in: 0, taken: None, given: 0, out: Vec::new() }))
        };
        Ok(Self { call, format, resampled })
    }

    /// Samples of the call as a message, if the filter has let any through.
    pub(super) fn chunk(&mut self, start_sample: i64, pcm: &[i16]) -> Option<AudioChunk> {
        let (call, rate) = (self.call, self.format.rate());
        let Some(resampled) = &mut self.resampled else {
            return (!pcm.is_empty()).then(|| proto::chunk(self.format, start_sample, pcm));
        };
        resampled.out.clear();
        match resampled.taken.map(|taken| start_sample - taken) {
            Some(0) => {}
            Some(gap) if gap > 0 && gap <= call.samples_in(FILLED_GAP) => resampled.push(&vec![0; gap as usize]),
            _ => {
                if let Some(fresh) = FrameResampler::new(call, rate) {
                    resampled.resampler = fresh;
                }
                resampled.lead_in = resampled.resampler.trail_samples();
                resampled.given = call.position_at(rate, start_sample);
            }
        }
        resampled.push(pcm);
        resampled.taken = Some(start_sample + pcm.len() as i64);
        let cut = resampled.lead_in.min(resampled.out.len());
        resampled.lead_in -= cut;
        let out = &resampled.out[cut..];
        let start_sample = resampled.given;
        resampled.given += out.len() as i64;
        (!out.is_empty()).then(|| proto::chunk(self.format, start_sample, out))
    }

    /// Where an utterance begins, at the rate of the engine.
    pub(super) fn begin(&self, start_sample: i64) -> i64 {
        self.call.position_at(self.format.rate(), start_sample)
    }

    /// Where an utterance ends, at the rate of the engine. What the filter still holds (of the silence after the words) comes
    /// too late for it: the engine has all audio before the end that it is told.
    pub(super) fn end(&self, end_sample: i64) -> i64 {
        let end = self.call.position_at(self.format.rate(), end_sample);
        self.resampled.as_ref().map_or(end, |resampled| end.min(resampled.given))
    }
}

impl Resampled {
    /// Appends what these samples make to `out`.
    fn push(&mut self, pcm: &[i16]) {
        let made = self.out.len();
        self.out.resize(made + self.resampler.output_samples(pcm.len()), 0);
        self.resampler.push(pcm, &mut self.out[made..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::Law;
    use crate::speech::scripted;
    use std::f64::consts::PI;

    fn rate(hz: u32) -> SampleRate {
        SampleRate::new(hz).expect("a rate")
    }

    fn audio(call: SampleRate, format: PcmFormat) -> CallerAudio {
        CallerAudio::new(&SessionStart { rate: call, ..scripted::start() }, format).expect("a way")
    }

    fn tone(rate: SampleRate, from: i64, samples: usize) -> Vec<i16> {
        let at = |index| ((from + index as i64) as f64 * 2.0 * PI * 440.0 / f64::from(rate.hz())).sin() * 10_000.0;
        (0..samples).map(|index| at(index) as i16).collect()
    }

    #[test]
    fn every_sample_is_where_it_was_at_every_pair_of_rates() {
        for from in [8_000, 16_000, 24_000, 48_000].map(rate) {
            for to in [8_000, 16_000, 24_000, 48_000].map(rate) {
                let format = PcmFormat::Linear16(to);
                let mut audio = audio(from, format);
                let frame = from.frame_samples();
                // From the fifth second on, without the seventh frame.
                let first = 5 * i64::from(from.hz());
                let mut due = audio.begin(first);
                assert_eq!(due, 5 * i64::from(to.hz()));
                let mut heard = 0;
                for index in (0..50).filter(|index| *index != 7) {
                    let start = first + index * frame as i64;
                    let Some(chunk) = audio.chunk(start, &tone(from, start, frame)) else { panic!("{index}") };
                    let pcm = format.decode(&chunk.data).expect("whole samples");
                    if from == to && index == 8 {
                        due += frame as i64;
                    }
                    assert_eq!(chunk.start_sample, due, "{from:?} to {to:?}: nothing lost, nothing twice");
                    due += pcm.len() as i64;
                    // Away from the beginning and the gap, where the filter rings.
                    if index > 12 {
                        heard += pcm.len();
                        // Half a sample is what cutting whole samples can leave.
                        let tolerance = (10_000.0 * 2.0 * PI * 440.0 * 0.51 / f64::from(to.hz())) as i16 + 100;
                        for (got, ideal) in pcm.iter().zip(tone(to, chunk.start_sample, pcm.len())) {
                            assert!((got - ideal).abs() < tolerance, "{from:?} to {to:?}: {got} for {ideal}");
                        }
                    }
                }
                assert_eq!(heard, 37 * to.frame_samples(), "{from:?} to {to:?}");
                let end = first + 50 * frame as i64;
                let told = audio.end(end);
                assert_eq!(told, due, "the end is that of the audio which was sent");
                let held = FrameResampler::new(from, to).expect("a way").trail_samples() as i64;
                assert_eq!(from.position_at(to, end) - told, held, "{from:?} to {to:?}: no more is held back");
            }
        }
    }

    #[test]
    fn codes_pass_as_they_were_on_the_wire() {
        for law in [Law::Mu, Law::A] {
            let codes: Vec<u8> = (0..160).map(|index| index as u8 | 0x80).collect();
            let mut pcm = vec![0; codes.len()];
            law.decode(&codes, &mut pcm);
            let chunk = audio(SampleRate::HZ_8000, PcmFormat::G711(law)).chunk(320, &pcm).expect("audio");
            assert_eq!((chunk.start_sample, chunk.data.as_ref()), (320, &codes[..]));
        }
    }
}
