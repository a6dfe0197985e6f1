//! The measure of a line: a caller speaks to an echo, and what comes back is compared with what was said.

use super::signal::{Line, measure_pieces, resampled, same_speech, tone};
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

const TONE_TIME: Duration = Duration::from_millis(2_400);
/// The part of a tone that is measured, from the moment at which its first packet left: an echo takes less than a quarter of
/// a second to come back.
const MEASURED: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(2_300));
const PAUSE: Duration = Duration::from_millis(300);

/// How long a caller who says nothing listens first.
const LISTEN_FIRST: Duration = Duration::from_millis(1_400);
/// Asterisk waits up to half a second for the first packet of a caller whom it answers.
const FIRST_PACKET: Duration = Duration::from_millis(900);
/// On a busy machine a frame may come too late for the one who waits for it; once in a while, not all the time.
const TORN_PIECES: usize = 2;

/// A prompt with many different sounds: "Nobody is available to take your call at the moment."
const PROMPT: &str = "vm-nobodyavail";
pub(crate) const PROMPT_WORDS: &str = "nobody is available to take your call at the moment";

/// What a caller found.
#[derive(Debug)]
pub(crate) struct LineTest {
    /// From the answer to the first packet, while the caller says nothing.
    pub(crate) first_packet: Duration,
    /// Packets that came from then on while the caller had not said anything yet, and how many should have come.
    pub(crate) silent_start: (usize, usize),
    /// From the first packet of a tone on its way to the first that came back.
    pub(crate) delay: Duration,
    pub(crate) low: Line,
    pub(crate) high: Option<Line>,
    /// 1 is the same speech.
    pub(crate) speech: f64,
    /// The speech, 8 kHz.
    pub(crate) heard: Vec<i16>,
    /// The longest time without a packet, from the first to the last.
    pub(crate) gap: Duration,
}

impl fmt::Display for LineTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first_packet, silent_start: (came, expected), delay, low, high, speech, gap, .. } = self;
        write!(f, "first packet after {} ms, then {came}/{expected}", first_packet.as_millis())?;
        write!(f, ", echo after {} ms", delay.as_millis())?;
        let mut tone = |hz: f64, line: &Line| {
            let Line { usual, torn, pieces } = line;
            write!(f, ", {hz} Hz {:.1} dBFS, SNR {:.0} dB, {torn}/{pieces} torn", usual.level, usual.snr)
        };
        tone(LOW, low)?;
        if let Some(high) = high {
            tone(HIGH, high)?;
        }
        write!(f, ", speech {speech:.3}, longest gap {} ms", gap.as_millis())
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
    let packets = call.packets_since(answered);
    let first = packets.first().map_or(answered + LISTEN_FIRST, |packet| packet.arrived);
    let first_packet = first - answered;
    let came = packets.iter().filter(|packet| packet.arrived < answered + LISTEN_FIRST).count();
    let expected = LISTEN_FIRST.saturating_sub(first_packet).as_millis() as usize / 20;

    let mut measured = Vec::new();
    let mut delay = Duration::ZERO;
    let tones: &[f64] = if rate == SampleRate::HZ_16000 { &[LOW, HIGH] } else { &[LOW] };
    for &hz in tones {
        let said = call.say(&[tone(hz, rate, TONE_TIME), vec![0; samples(rate, PAUSE)]].concat()).expect("said");
        call.wait_said(said).await.unwrap_or_else(|error| panic!("{number}: {error}\n{}", rig.logs()));
        let heard = call.heard_since(said.first_packet_at);
        measured.push(measure_pieces(&heard[samples(rate, MEASURED.0)..samples(rate, MEASURED.1)], hz, rate));
        if hz == LOW {
            let back = call.wait_for_voice(said.first_packet_at, SOON).await;
            let back =
                back.unwrap_or_else(|error| panic!("{number}: the tone did not come back: {error}\n{}", rig.logs()));
            delay = back - said.first_packet_at;
        }
    }

    let prompts = Prompts::open(rig.asterisk.root()).expect("the prompts of Asterisk");
    let prompt = prompts.get(PROMPT).expect("one of them").pcm;
    let spoken = resampled(&prompt, SampleRate::HZ_8000, rate);
    let said = call.say(&[spoken, vec![0; samples(rate, PAUSE)]].concat()).expect("said");
    call.wait_said(said).await.unwrap_or_else(|error| panic!("{number}: {error}\n{}", rig.logs()));
    let heard = resampled(&call.heard_since(said.first_packet_at), rate, SampleRate::HZ_8000);
    let speech = tokio::task::spawn_blocking({
        let heard = heard.clone();
        move || same_speech(&prompt, &heard, SampleRate::HZ_8000, PAUSE)
    });
    let packets = call.packets_since(answered);
    let gap = packets.windows(2).map(|pair| pair[1].arrived - pair[0].arrived).max().unwrap_or(LISTEN_FIRST);
    call.hang_up().await.expect("hung up");
    LineTest {
        first_packet,
        silent_start: (came, expected),
        delay,
        low: measured[0],
        high: measured.get(1).copied(),
        speech: speech.await.expect("computed"),
        heard,
        gap,
    }
}

fn samples(rate: SampleRate, time: Duration) -> usize {
    usize::try_from(rate.samples_in(time)).expect("not negative")
}

/// What is wrong with a line that should be as good as `reference`, Asterisk's own echo for the same caller.
/// `shape` is how much of the shape of speech must be left, 1 for all of it.
pub(crate) fn complaints(line: &LineTest, reference: &LineTest, is_wideband: bool, shape: f64) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut demand = |is_good: bool, what: &str| {
        if !is_good {
            complaints.push(what.to_owned());
        }
    };
    let (came, expected) = line.silent_start;
    demand(line.first_packet < FIRST_PACKET, "nothing was sent before the caller said anything");
    demand(came * 10 >= expected * 8, "too little was sent before the caller said anything");
    demand(line.delay < Duration::from_millis(250), "the echo is late");
    demand((line.low.usual.level - reference.low.usual.level).abs() <= 1.5, "1 kHz has another level");
    demand(line.low.usual.snr >= (reference.low.usual.snr - 6.0).min(28.0), "1 kHz is not pure");
    demand(line.low.torn <= TORN_PIECES, "1 kHz is torn");
    demand(line.speech >= shape * reference.speech, "the speech is not what was said");
    demand(line.gap < Duration::from_millis(250), "there is a gap");
    if let (Some(high), Some(reference)) = (line.high, reference.high) {
        if is_wideband {
            demand((high.usual.level - reference.usual.level).abs() <= 3.0, "5 kHz has another level");
            demand(high.torn <= TORN_PIECES, "5 kHz is torn");
            demand(high.usual.snr >= (reference.usual.snr - 6.0).min(15.0), "5 kHz is not pure");
        } else {
            demand(high.usual.level <= reference.usual.level - 30.0, "5 kHz comes back over a narrowband codec");
        }
    }
    complaints
}

/// When everything of a test is over, what happened until then counts.
pub(crate) fn report(started: Instant, name: &str, line: &LineTest) {
    eprintln!("{:5.1} s {name:34} {line}", started.elapsed().as_secs_f32());
}
