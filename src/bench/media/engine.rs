//! The engine of a measurement: hears the stamps of the callers, and answers at once with audio that carries one.

use super::arrivals::{Arrival, Sequence};
use super::messages::{Arrivals, Done, EngineFigures, EngineOrder, Listening, answer, orders};
use super::real_time_ns;
use super::stamp::{STAMP_SAMPLES, Source, Stamp};
use super::stats::{Distribution, nanoseconds};
use crate::audio::g711::Law;
use crate::bench::random_u64;
use crate::speech::load::{self, LoadFormat, LoadListener, LoadScript};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Room for latencies: 1,000 calls for 40 s.
const EXPECTED_FRAMES: usize = 2_000_000;
/// Pieces that are more than this on their way count as late.
const LATE_NS: u32 = 20_000_000;
/// Length of a reply.
const REPLY_SECONDS: usize = 1;
/// Level of a reply: quiet, and no stamp.
const REPLY_LEVEL: i16 = 400;

/// Runs until standard input is closed.
pub(super) fn be() -> io::Result<()> {
    super::processes::raise_file_limit();
    // One thread: the engine has a part of one processor, and what its messages cost here is no figure.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut orders = orders();
        let Some(EngineOrder::Begin { answers }) = orders.recv().await else { return Ok(()) };
        let script = Arc::new(Script { answers, state: Mutex::new(State::default()) });
        let listener = load::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        answer(&Listening { address: listener.local_addr()? })?;
        let serving = load::serve(listener, Arc::clone(&script), std::future::pending());
        tokio::select! {
            served = serving => served.map_err(io::Error::other),
            obeyed = obey(&script, &mut orders) => obeyed,
        }
    })
}

async fn obey(script: &Script, orders: &mut tokio::sync::mpsc::Receiver<EngineOrder>) -> io::Result<()> {
    while let Some(order) = orders.recv().await {
        match order {
            EngineOrder::Begin { .. } => {}
            EngineOrder::Measure => {
                *script.state() =
                    State { measuring: true, latencies: Vec::with_capacity(EXPECTED_FRAMES), ..State::default() };
                answer(&Done {})?;
            }
            EngineOrder::Report => answer(&std::mem::take(&mut *script.state()).figures())?,
        }
    }
    Ok(())
}

struct Script {
    answers: bool,
    state: Mutex<State>,
}

/// What is counted from one order to measure to the next.
#[derive(Default)]
struct State {
    measuring: bool,
    calls: HashMap<u16, Sequence>,
    late: u64,
    duplicated: u64,
    unmarked: u64,
    latencies: Vec<u32>,
}

impl State {
    fn hear(&mut self, stamp: Option<Stamp>, now_ns: u64) {
        let stamp = match stamp {
            Some(stamp @ Stamp { source: Source::Caller, .. }) => stamp,
            _ => return self.unmarked += u64::from(self.measuring),
        };
        if !stamp.measured {
            return;
        }
        let latency = nanoseconds(now_ns as i64 - stamp.sent_ns as i64);
        match self.calls.entry(stamp.call).or_default().take(stamp.sequence) {
            Arrival::Duplicate => self.duplicated += 1,
            Arrival::New { overtaken } => {
                self.late += u64::from(overtaken || latency > LATE_NS);
                self.latencies.push(latency);
            }
        }
    }

    fn figures(mut self) -> EngineFigures {
        let unique = self.calls.values().map(Sequence::unique).sum();
        EngineFigures {
            heard: Arrivals { unique, late: self.late, duplicated: self.duplicated },
            unmarked: self.unmarked,
            latency: Distribution::of(&mut self.latencies),
        }
    }
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadScript for Script {
    fn listen(self: Arc<Self>, format: LoadFormat, rate_hz: u32) -> Box<dyn LoadListener> {
        Box::new(Listener { script: self, format, frame_samples: rate_hz as usize / 50 })
    }

    fn hypothesis(&self) -> &str {
        if self.answers { "yes" } else { "" }
    }

    fn answer(&self) -> &str {
        "Certainly."
    }

    /// Anywhere in a packet time: what follows at once from a packet of the caller would always come at the same place in
    /// the server's own period.
    fn hesitation(&self) -> Duration {
        Duration::from_micros(random_u64() % 20_000)
    }

    fn speak(&self, reply: u32, rate_hz: u32) -> Vec<i16> {
        let measured = self.state().measuring;
        let mut pcm: Vec<i16> = (0..rate_hz as usize * REPLY_SECONDS)
            .map(|n| if n / 20 % 2 == 0 { REPLY_LEVEL } else { -REPLY_LEVEL })
            .collect();
        let stamp = Stamp { source: Source::Reply, measured, call: 0, sequence: reply as u16, sent_ns: real_time_ns() };
        pcm[..STAMP_SAMPLES].copy_from_slice(&stamp.samples());
        pcm
    }
}

struct Listener {
    script: Arc<Script>,
    format: LoadFormat,
    frame_samples: usize,
}

impl LoadListener for Listener {
    fn audio(&mut self, _: i64, data: &[u8]) {
        let now_ns = real_time_ns();
        let sample_bytes = if self.format == LoadFormat::Linear16 { 2 } else { 1 };
        let mut state = self.script.state();
        for frame in data.chunks(self.frame_samples * sample_bytes) {
            let mut samples = [0; STAMP_SAMPLES];
            match self.format {
                LoadFormat::Linear16 => {
                    let pairs = frame.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
                    samples.iter_mut().zip(pairs).for_each(|(sample, pair)| *sample = pair);
                }
                LoadFormat::MuLaw => Law::Mu.decode(frame, &mut samples),
                LoadFormat::ALaw => Law::A.decode(frame, &mut samples),
            }
            state.hear(Stamp::read(&samples, now_ns), now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> Arc<Script> {
        Arc::new(Script { answers: true, state: Mutex::new(State { measuring: true, ..State::default() }) })
    }

    fn stamp(call: u16, sequence: u16) -> Stamp {
        Stamp { source: Source::Caller, measured: true, call, sequence, sent_ns: real_time_ns() }
    }

    #[test]
    fn stamps_are_heard_in_every_format_and_what_has_none_is_counted() {
        for format in [LoadFormat::Linear16, LoadFormat::MuLaw, LoadFormat::ALaw] {
            let script = script();
            let mut listener = Arc::clone(&script).listen(format, 8000);
            let mut pcm = [0i16; 320];
            pcm[160..160 + STAMP_SAMPLES].copy_from_slice(&stamp(1, 7).samples());
            let data = match format {
                LoadFormat::Linear16 => pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect(),
                LoadFormat::MuLaw | LoadFormat::ALaw => {
                    let law = if format == LoadFormat::MuLaw { Law::Mu } else { Law::A };
                    let mut codes = vec![0; 320];
                    law.encode(&pcm, &mut codes);
                    codes
                }
            };
            listener.audio(0, &data);
            let figures = std::mem::take(&mut *script.state()).figures();
            assert_eq!((figures.heard.unique, figures.unmarked, figures.latency.count), (1, 1, 1), "{format:?}");
        }
    }

    #[test]
    fn calls_are_counted_apart() {
        let mut state = State::default();
        for stamp in [stamp(1, 7), stamp(2, 7), stamp(1, 7), stamp(1, 9)] {
            state.hear(Some(stamp), stamp.sent_ns);
        }
        let figures = state.figures();
        assert_eq!((figures.heard.unique, figures.heard.duplicated, figures.heard.late), (3, 1, 0));
    }

    #[test]
    fn a_reply_begins_with_a_stamp() {
        let pcm = script().speak(5, 8000);
        let stamp = Stamp::read(&pcm, real_time_ns()).unwrap();
        assert_eq!((stamp.source, stamp.sequence, pcm.len()), (Source::Reply, 5, 8000));
    }
}
