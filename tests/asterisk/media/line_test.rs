//! The measure of a line: a caller speaks to an echo, and what comes back is compared with what was said.

use super::signal::{Measured, correlation, measure, resampled, tone};
use crate::arioso::rig::Rig;
use crate::shared::SOON;
use arioso::audio::SampleRate;
use arioso::bench::caller::{Caller, CallerCodec, CallerSettings};
use arioso::bench::prompts::Prompts;
use std::fmt;
use std::time::{Duration, Instant};

/// Every codec carries it.
pub(crate) const LOW: f64 = 1_000.0;
/// Only wideband codecs carry it.
pub(crate) const HIGH: f64 = 5_000.0;

const TONE_TIME: Duration = Duration::from_millis(1_000);
/// The part of a tone that is measured, from the moment at which its first packet left: an echo takes less than a quarter of
/// a second to come back.
const MEASURED: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(900));
const PAUSE: Duration = Duration::from_millis(300);

/// How long a caller who says nothing listens first.
const LISTEN_FIRST: Duration = Duration::from_millis(800);

/// A prompt with many different sounds: "Nobody is available to take your call at the moment."
const PROMPT: &str = "vm-nobodyavail";
pub(crate) const PROMPT_WORDS: &str = "nobody is available to take your call at the moment";

/// What a caller found.
#[derive(Debug)]
pub(crate) struct LineTest {
    /// Packets that came while the caller had not said anything yet, and how many should have come.
    pub(crate) silent_start: (usize, usize),
    /// From the first packet of a tone on its way to the first that came back.
    pub(crate) delay: Duration,
    pub(crate) low: Measured,
    pub(crate) high: Option<Measured>,
    /// 1 is the same speech.
    pub(crate) speech: f64,
    /// The speech, 8 kHz.
    pub(crate) heard: Vec<i16>,
    /// The longest time without a packet, from the first to the last.
    pub(crate) gap: Duration,
}

impl fmt::Display for LineTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { silent_start: (came, expected), delay, low, high, speech, gap, .. } = self;
        write!(f, "{came}/{expected} packets of silence, echo after {} ms, ", delay.as_millis())?;
        write!(f, "1 kHz {:.1} dBFS (SNR {:.0} dB), ", low.level, low.snr)?;
        if let Some(high) = high {
            write!(f, "5 kHz {:.1} dBFS (SNR {:.0} dB), ", high.level, high.snr)?;
        }
        write!(f, "speech {speech:.3}, longest gap {} ms", gap.as_millis())
    }
}

/// Calls `number`, which echoes. The caller says nothing at first, and sends no packets then; between what it says it sends
/// silence, as `sends_silence` says.
pub(crate) async fn line_test(rig: &Rig, number: &str, codec: CallerCodec, sends_silence: bool) -> LineTest {
    let settings = CallerSettings {
        sends_silence,
        ..CallerSettings::new(rig.asterisk.sip_address(), number).with_codecs([codec])
    };
    let call = Caller::call(settings).await.unwrap_or_else(|error| panic!("{number}: {error}\n{}", rig.logs()));
    let rate = codec.rate();
    let answered = call.answered_at().expect("answered");
    tokio::time::sleep_until((answered + LISTEN_FIRST).into()).await;
    let came = call.packets_since(answered).iter().filter(|packet| packet.arrived < answered + LISTEN_FIRST).count();
    let expected = LISTEN_FIRST.as_millis() as usize / 20;

    let mut measured = Vec::new();
    let mut delay = Duration::ZERO;
    let tones: &[f64] = if rate == SampleRate::HZ_16000 { &[LOW, HIGH] } else { &[LOW] };
    for &hz in tones {
        let said = call.say(&[tone(hz, rate, TONE_TIME), vec![0; samples(rate, PAUSE)]].concat()).expect("said");
        call.wait_said(said).await.expect("said");
        let heard = call.heard_since(said.first_packet_at);
        measured.push(measure(&heard[samples(rate, MEASURED.0)..samples(rate, MEASURED.1)], hz, rate));
        if hz == LOW {
            let back = call.wait_for_voice(said.first_packet_at, SOON).await;
            let back =
                back.unwrap_or_else(|error| panic!("{number}: the tone did not come back: {error}\n{}", rig.logs()));
            delay = back - said.first_packet_at;
        }
    }

    let prompts = Prompts::open(rig.asterisk.root()).expect("the prompts of Asterisk");
    let prompt = resampled(&prompts.get(PROMPT).expect("one of them").pcm, SampleRate::HZ_8000, rate);
    let said = call.say(&[prompt.clone(), vec![0; samples(rate, 2 * PAUSE)]].concat()).expect("said");
    call.wait_said(said).await.expect("said");
    let heard = call.heard_since(said.first_packet_at);
    let speech = tokio::task::spawn_blocking({
        let heard = heard.clone();
        move || correlation(&prompt, &heard)
    });
    let packets = call.packets_since(answered);
    let gap = packets.windows(2).map(|pair| pair[1].arrived - pair[0].arrived).max().unwrap_or(LISTEN_FIRST);
    call.hang_up().await.expect("hung up");
    LineTest {
        silent_start: (came, expected),
        delay,
        low: measured[0],
        high: measured.get(1).copied(),
        speech: speech.await.expect("computed"),
        heard: resampled(&heard, rate, SampleRate::HZ_8000),
        gap,
    }
}

fn samples(rate: SampleRate, time: Duration) -> usize {
    usize::try_from(rate.samples_in(time)).expect("not negative")
}

/// What is wrong with a line that should be as good as `reference`, Asterisk's own echo for the same caller.
pub(crate) fn complaints(line: &LineTest, reference: &LineTest, is_wideband: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut demand = |is_good: bool, what: &str| {
        if !is_good {
            complaints.push(what.to_owned());
        }
    };
    let (came, expected) = line.silent_start;
    demand(came * 10 >= expected * 8, "too little was sent before the caller said anything");
    demand(line.delay < Duration::from_millis(250), "the echo is late");
    demand((line.low.level - reference.low.level).abs() <= 1.5, "1 kHz has another level");
    demand(line.low.snr >= (reference.low.snr - 6.0).min(28.0), "1 kHz is not pure");
    demand(line.speech >= 0.97 * reference.speech, "the speech is not what was said");
    demand(line.gap < Duration::from_millis(250), "there is a gap");
    if let (Some(high), Some(reference)) = (line.high, reference.high) {
        if is_wideband {
            demand((high.level - reference.level).abs() <= 3.0, "5 kHz has another level");
            demand(high.snr >= (reference.snr - 6.0).min(15.0), "5 kHz is not pure");
        } else {
            demand(high.level <= reference.level - 30.0, "5 kHz comes back over a narrowband codec");
        }
    }
    complaints
}

/// When everything of a test is over, what happened until then counts.
pub(crate) fn report(started: Instant, name: &str, line: &LineTest) {
    eprintln!("{:5.1} s {name:34} {line}", started.elapsed().as_secs_f32());
}
