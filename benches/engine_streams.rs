//! What the way of caller audio to a gRPC recogniser costs: many calls, one message each 20 ms, as a media worker hands
//! them over, to an engine in a process (and on a core) of its own. Prints what the media server's side takes: processor time
//! a message, memory a call, and the time from the worker's batch to the engine's code.
//!
//! `cargo bench --bench engine_streams -- [CALLS…]` (default: 50 250 1000).

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "the result")]
#![allow(clippy::disallowed_methods, reason = "not the core: it measures time")]

use arioso::audio::g711::Law;
use arioso::audio::{PcmFormat, SampleRate};
use arioso::call::{CallId, DialogCommand, DialogEvent, Endpointing, SynthesizerCommand, SynthesizerEvent};
use arioso::speech::failover::{CallEngines, Candidate, EngineSet};
use arioso::speech::grpc::{GrpcEngine, GrpcSettings};
use arioso::speech::server::{EngineServer, ListenSettings, ServedEngines};
use arioso::speech::{
    Dialog, EngineError, Recognizer, RecognizerRequest, RecognizerSession, Session, SessionStart, Synthesizer, queue,
};
use async_trait::async_trait;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Slots of the worker whose place this program takes.
const SLOT: Duration = Duration::from_millis(2);
const SLOTS_A_FRAME: usize = 10;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(8);
/// Says to the engine that it is this program's child.
const ENGINE: &str = "--as-engine";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == ENGINE) {
        return engine();
    }
    let calls: Vec<usize> = arguments.iter().filter_map(|count| count.parse().ok()).collect();
    let calls = if calls.is_empty() { vec![50, 250, 1_000] } else { calls };
    println!(
        "{:>6} {:>14} {:>14} {:>10} {:>10} {:>10}",
        "calls", "us a message", "us/call-s", "p50 ms", "p99 ms", "KiB/call"
    );
    for count in calls {
        // A process for each count, so that memory is counted from the same beginning.
        if arguments.len() == 1 {
            client(count);
        } else {
            let me = std::env::current_exe().unwrap();
            let output = Command::new(me).arg(count.to_string()).output().unwrap();
            println!("{}", String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or("failed"));
        }
    }
}

fn pin(core: usize) {
    let mut cores = CpuSet::new();
    // A machine with one core measures without.
    if cores.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &cores);
    }
}

fn clock(id: ClockId) -> Duration {
    clock_gettime(id).unwrap().into()
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

// ---- the media server's side --------------------------------------------------------------------------------------------

fn client(calls: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(ENGINE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut far = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = format!("http://{}", far.next().unwrap().unwrap());
    pin(0);
    runtime().block_on(async {
        // The time in the samples would not survive a law.
        let settings = GrpcSettings { audio: Some(PcmFormat::MANDATORY), ..GrpcSettings::new("far", url) };
        let engine = Arc::new(GrpcEngine::new(settings).unwrap());
        let set = EngineSet {
            recognizers: vec![Candidate::new("far", Arc::clone(&engine) as Arc<dyn Recognizer>)],
            synthesizers: vec![Candidate::new("far", Arc::clone(&engine) as Arc<dyn Synthesizer>)],
            dialogs: vec![Candidate::new("far", engine as Arc<dyn Dialog>)],
        };
        let open = |index: usize| {
            let (inputs, events) = queue::bounded(64);
            (CallEngines::open(&set, start(index), Endpointing::default().reach(), inputs), events)
        };
        // The first call brings the connection and everything that is made once.
        let _first = open(calls);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = resident_bytes();
        let mut lines = Vec::with_capacity(calls);
        for index in 0..calls {
            lines.push(open(index));
            if index % 50 == 49 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        let (slots, mut due) = mpsc::channel::<Vec<(usize, i64, [i16; 160])>>(64);
        let senders: Vec<_> = lines.iter().map(|(engines, _)| engines.audio_sender()).collect();
        let pump = tokio::spawn(async move {
            while let Some(batch) = due.recv().await {
                for (call, start_sample, pcm) in &batch {
                    senders[*call].audio(*start_sample, pcm);
                }
            }
        });
        let worker = std::thread::spawn(move || worker(calls, &slots));
        tokio::time::sleep(WARM_UP).await;
        let cpu = clock(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        let from = Instant::now();
        tokio::time::sleep(MEASURED).await;
        let (cpu, time) = (clock(ClockId::CLOCK_PROCESS_CPUTIME_ID) - cpu, from.elapsed());
        let memory = resident_bytes().saturating_sub(before) as f64 / calls as f64 / 1024.0;
        let messages = calls as f64 * 50.0 * time.as_secs_f64();
        worker.join().unwrap();
        pump.await.unwrap();
        drop(child.stdin.take());
        let latency = far.next().unwrap().unwrap();
        let each = cpu.as_secs_f64() * 1e6 / messages;
        println!("{calls:>6} {each:>14.2} {:>14.0} {latency} {memory:>10.1}", each * 50.0);
        child.wait().unwrap();
    });
}

fn start(index: usize) -> SessionStart {
    let call = CallId::new(format!("call-{index}")).unwrap();
    SessionStart { call, language: "en-US".into(), rate: SampleRate::HZ_8000, law: Some(Law::Mu), greeting: None }
}

/// Hands over the frames of the calls that are due in a slot, on an absolute clock, with the time in each.
fn worker(calls: usize, slots: &mpsc::Sender<Vec<(usize, i64, [i16; 160])>>) {
    let from = Instant::now();
    for slot in 0..usize::MAX {
        let due = from + SLOT * slot as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if from.elapsed() > WARM_UP + MEASURED + Duration::from_millis(500) {
            return;
        }
        let now = clock(ClockId::CLOCK_MONOTONIC).as_nanos() as u64;
        let mut pcm = [500; 160];
        for (index, sample) in pcm[..4].iter_mut().enumerate() {
            *sample = (now >> (16 * index)) as u16 as i16;
        }
        let position = (slot / SLOTS_A_FRAME * 160) as i64;
        let batch = (slot % SLOTS_A_FRAME..calls).step_by(SLOTS_A_FRAME).map(|call| (call, position, pcm)).collect();
        let _ = slots.blocking_send(batch);
    }
}

// ---- the engine's side --------------------------------------------------------------------------------------------------

fn engine() {
    pin(1);
    let latencies = Arc::new(Mutex::new(Vec::<u32>::with_capacity(1_000_000)));
    let served = Arc::clone(&latencies);
    let runtime = runtime();
    runtime.spawn(async move {
        let silent = Arc::new(Silent(served));
        let engines = ServedEngines {
            recognizer: Some(Arc::clone(&silent) as Arc<dyn Recognizer>),
            synthesizer: Some(Arc::clone(&silent) as Arc<dyn Synthesizer>),
            dialog: Some(silent as Arc<dyn Dialog>),
            ..ServedEngines::default()
        };
        let address = ([127, 0, 0, 1], 0).into();
        let server =
            EngineServer::bind(ListenSettings { address, ..ListenSettings::default() }, engines).await.unwrap();
        println!("{}", server.local_addr().unwrap());
        server.run(std::future::pending()).await.unwrap();
    });
    // Until the other side has seen enough.
    let _ = std::io::stdin().lines().next();
    let mut latencies = latencies.lock().unwrap();
    latencies.sort_unstable();
    let at =
        |part: f64| latencies.get((latencies.len() as f64 * part) as usize).map_or(f64::NAN, |us| f64::from(*us) / 1e3);
    println!("{:>10.3} {:>10.3}", at(0.5), at(0.99));
}

/// Reads everything and says nothing. Notes how old the audio is.
struct Silent(Arc<Mutex<Vec<u32>>>);

fn listen<Request: Send + 'static, Event: Send + 'static>(
    mut each: impl FnMut(Request) + Send + 'static,
) -> Session<Request, Event> {
    let (requests, mut incoming) = queue::bounded(64);
    let (quiet, events) = queue::bounded(1);
    tokio::spawn(async move {
        while let Some(request) = incoming.recv().await {
            each(request);
        }
        drop(quiet);
    });
    Session { requests, events }
}

#[async_trait]
impl Recognizer for Silent {
    async fn open(&self, _: SessionStart) -> Result<RecognizerSession, EngineError> {
        let latencies = Arc::clone(&self.0);
        Ok(listen(move |request| {
            if let RecognizerRequest::Audio { pcm, start_sample } = request
                && start_sample >= 8_000 * WARM_UP.as_secs() as i64
            {
                let stamp = pcm[..4].iter().rev().fold(0, |ns, sample| ns << 16 | u64::from(*sample as u16));
                let age = clock(ClockId::CLOCK_MONOTONIC).saturating_sub(Duration::from_nanos(stamp));
                latencies.lock().unwrap().push(age.as_micros() as u32);
            }
        }))
    }
}

#[async_trait]
impl Synthesizer for Silent {
    async fn open(&self, _: SessionStart) -> Result<Session<SynthesizerCommand, SynthesizerEvent>, EngineError> {
        Ok(listen(|_| {}))
    }
}

#[async_trait]
impl Dialog for Silent {
    async fn open(&self, _: SessionStart) -> Result<Session<DialogCommand, DialogEvent>, EngineError> {
        Ok(listen(|_| {}))
    }
}
