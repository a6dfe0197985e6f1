//! In the steady state the media path allocates nothing: a frame costs the same at the first minute of a call and at the
//! last, on whatever transport.
//!
//! The media thread is this thread and time is virtual ([`SteppedWorker`]); sockets and everything behind them are real.
//! Allocations are counted for this thread alone, and not while the far ends act, which run on it too.

// A test is the outside world: it has sockets and a clock, and fails by panicking.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

use arioso::audio::g711::Law;
use arioso::audio::{
    ByteOrder, Codec, Decoder, Encoder, FrameResampler, MAX_FRAME_BYTES, MAX_FRAME_SAMPLES, SampleRate,
};
use arioso::call::{BargeIn, CallId, CallSettings, Endpointing, Input, NoInput, Watchdogs};
use arioso::transport::{
    AudioBatch, AudioSocketLeg, CallHandle, Driver, Leg, LegKeys, MediaOutput, NewCall, RtpLeg, SteppedWorker,
    WebSocketLeg, Worker, WorkerSettings,
};
use arioso::vad::Detector;
use arioso::wire::audiosocket::{AudioType, Frame};
use arioso::wire::media_websocket::Format;
use arioso::wire::websocket::{Message, Role};
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SLOT: Duration = Duration::from_millis(1);
const WARM_UP: u32 = 3_000;
const MEASURED: u32 = 5_000;

/// The far end of a leg.
enum Peer {
    Rtp(UdpSocket),
    AudioSocket(TcpStream),
    WebSocket(TcpStream),
}

impl Peer {
    /// A connected pair: the far end and ours.
    fn streams() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_nonblocking(true).unwrap();
        far.set_nodelay(true).unwrap();
        (far, listener.accept().unwrap().0)
    }

    fn new(kind: usize) -> (Self, Leg) {
        let codec = Codec::Linear16(SampleRate::HZ_8000);
        let (read, keys) = (Vec::new(), LegKeys::FromAri);
        match kind % 3 {
            0 => {
                let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
                socket.set_nonblocking(true).unwrap();
                let (remote, law) = (socket.local_addr().unwrap(), Codec::G711(Law::Mu));
                (Self::Rtp(socket), Leg::Rtp(RtpLeg { remote, receive: law, send: law }))
            }
            1 => {
                let (far, stream) = Self::streams();
                (Self::AudioSocket(far), Leg::AudioSocket(AudioSocketLeg { stream, codec, read, keys }))
            }
            _ => {
                let (far, stream) = Self::streams();
                let (role, control) = (Role::Server, Format::PlainText);
                (Self::WebSocket(far), Leg::WebSocket(WebSocketLeg { stream, role, codec, control, read, keys }))
            }
        }
    }

    /// Sends the `n`th frame of what the caller says.
    fn speak(&mut self, worker: &Worker, n: u32) {
        let mut pcm = [0u8; 320];
        // Two seconds of a buzz that a detector takes for speech, two of silence.
        if n % 200 < 100 {
            for (i, sample) in pcm.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let t = (n as usize * 160 + i) as f64 / 8000.0 * 130.0 * std::f64::consts::TAU;
                let buzz: f64 = (1..20).map(|h| (t * f64::from(h)).sin() / f64::from(h)).sum();
                *sample = ((buzz * 6000.0) as i16).to_le_bytes();
            }
        }
        let mut message = [0; 512];
        match self {
            Self::Rtp(socket) => {
                message[..4].copy_from_slice(&[0x80, 0, (n >> 8) as u8, n as u8]);
                message[4..8].copy_from_slice(&(n * 160).to_be_bytes());
                message[8..12].copy_from_slice(&7u32.to_be_bytes());
                let samples: Vec<i16> = pcm.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
                Law::Mu.encode(&samples, &mut message[12..172]);
                socket.send_to(&message[..172], worker.local_addr()).unwrap();
            }
            Self::AudioSocket(stream) => {
                let length = Frame::Audio(AudioType::Slin8, &pcm).write(&mut message).unwrap();
                stream.write_all(&message[..length]).unwrap();
            }
            Self::WebSocket(stream) => {
                let length = Message::Binary(&pcm).write(Role::Client, [1, 2, 3, 4], &mut message).unwrap();
                stream.write_all(&message[..length]).unwrap();
            }
        }
    }

    /// Reads what has come; how many bytes of it.
    fn drain(&mut self) -> usize {
        let mut buffer = [0; 8192];
        let mut bytes = 0;
        let mut read = || match self {
            Self::Rtp(socket) => socket.recv(&mut buffer).ok(),
            Self::AudioSocket(stream) | Self::WebSocket(stream) => stream.read(&mut buffer).ok(),
        };
        while let Some(length) = read().filter(|length| *length > 0) {
            bytes += length;
        }
        bytes
    }
}

/// A worker with its calls.
struct Rig {
    now: Instant,
    stepped: SteppedWorker,
    worker: Worker,
    batches: mpsc::Receiver<AudioBatch>,
    calls: Vec<(CallHandle, Peer, mpsc::Receiver<MediaOutput>)>,
    ticks: u32,
    frames: usize,
    bytes: usize,
    /// Bytes of memory that the worker has taken for its calls.
    memory: i64,
}

impl Rig {
    fn new(calls: usize, kinds: std::ops::Range<usize>) -> Self {
        let settings = WorkerSettings { expected_calls: calls, ..WorkerSettings::new(LOOPBACK, 0..=0) };
        let (stepped, worker, batches) = SteppedWorker::new(&settings).unwrap();
        let (now, calls_of) = (Instant::now(), Vec::new());
        let mut rig = Self { now, stepped, worker, batches, calls: calls_of, ticks: 0, frames: 0, bytes: 0, memory: 0 };
        for n in 0..calls {
            let (outputs, taken) = mpsc::channel(1024);
            let driver = Driver::Conversation(Box::new(settings_of_call()));
            let new = NewCall { call: CallId::new("test").unwrap(), driver, outputs };
            let worker = rig.worker.clone();
            let handle = rig.run(async move { worker.add(new).await }).unwrap();
            let (peer, leg) = Peer::new(kinds.start + n % kinds.len());
            let call = handle.clone();
            rig.run(async move { call.attach(leg).await }).unwrap();
            let call = handle.clone();
            rig.run(async move { call.input(Input::Connected).await }).unwrap();
            rig.calls.push((handle, peer, taken));
        }
        rig
    }

    /// Steps until `future` is done.
    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut future = std::pin::pin!(future);
        loop {
            let step = runtime.block_on(async {
                tokio::select! {
                    biased;
                    done = &mut future => Some(done),
                    () = tokio::task::yield_now() => None,
                }
            });
            match step {
                Some(done) => return done,
                None => self.memory += allocation_counter::measure(|| self.stepped.slot(self.now)).bytes_current,
            }
        }
    }

    /// Slot after slot, the callers speaking all the time; the allocations on the media path.
    fn slots(&mut self, slots: u32, mut also: impl FnMut()) -> u64 {
        let mut allocations = 0;
        for slot in 0..slots {
            for (n, (_, peer, taken)) in self.calls.iter_mut().enumerate() {
                if slot % 20 == n as u32 % 20 {
                    peer.speak(&self.worker, self.ticks);
                    self.bytes += peer.drain();
                    while taken.try_recv().is_ok() {}
                }
            }
            self.now += SLOT;
            let counted = allocation_counter::measure(|| {
                self.stepped.slot(self.now);
                also();
            });
            allocations += counted.count_total;
            while let Ok(batch) = self.batches.try_recv() {
                self.frames += batch.len();
            }
            self.ticks += u32::from(slot % 20 == 19);
        }
        allocations
    }
}

fn settings_of_call() -> CallSettings {
    let hour = Duration::from_secs(3600);
    CallSettings {
        rate: SampleRate::HZ_8000,
        greeting: None,
        endpointing: Endpointing { start_evidence: hour, ..Endpointing::default() },
        barge_in: BargeIn::default(),
        no_input: NoInput { timeout: hour },
        watchdogs: Watchdogs { final_hypothesis: hour, first_text: hour, first_audio: hour, next_audio: hour },
        apology: Arc::from([]),
    }
}

fn nothing_is_allocated(kinds: std::ops::Range<usize>) {
    let mut rig = Rig::new(50, kinds);
    rig.slots(WARM_UP, || {});
    let (frames, bytes) = (rig.frames, rig.bytes);
    let allocations = rig.slots(MEASURED, || {});
    let expected = 50 * MEASURED as usize / 20;
    let heard = rig.frames - frames;
    assert!(heard.abs_diff(expected) <= 100, "{heard} frames were heard, {expected} were said");
    let spoken = rig.bytes - bytes;
    assert!(spoken >= (expected - 100) * 172, "only {spoken} bytes came back: the path was not at work");
    assert_eq!(allocations, 0, "in {heard} frames");
}

#[test]
fn fifty_calls_over_rtp_allocate_nothing() {
    nothing_is_allocated(0..1);
}

#[test]
fn fifty_calls_over_audiosocket_allocate_nothing() {
    nothing_is_allocated(1..2);
}

#[test]
fn fifty_calls_over_websocket_allocate_nothing() {
    nothing_is_allocated(2..3);
}

#[test]
fn codecs_resamplers_and_detectors_allocate_nothing_once_they_are_made() {
    const RATES: [SampleRate; 4] =
        [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000];
    let linear = RATES.map(Codec::Linear16);
    for codec in [Codec::G711(Law::Mu), Codec::G711(Law::A), Codec::G722, Codec::Opus].into_iter().chain(linear) {
        let mut encoder = Encoder::new(codec, ByteOrder::Big).unwrap();
        let mut decoder = Decoder::new(codec, ByteOrder::Big).unwrap();
        let (frame, mut payload, mut pcm) = ([900; MAX_FRAME_SAMPLES], [0; MAX_FRAME_BYTES], [0; MAX_FRAME_SAMPLES]);
        let frame = &frame[..codec.rate().frame_samples()];
        let counted = allocation_counter::measure(|| {
            for _ in 0..50 {
                let bytes = encoder.encode(frame, &mut payload).unwrap();
                assert_eq!(decoder.decode(&payload[..bytes], &mut pcm), Ok(frame.len()));
                assert!(decoder.decode(&[], &mut pcm).is_err());
            }
        });
        assert_eq!(counted.count_total, 0, "{codec:?}");
    }
    for (from, to) in RATES.into_iter().flat_map(|from| RATES.into_iter().map(move |to| (from, to))) {
        let (mut resampler, mut detector) = (FrameResampler::new(from, to).unwrap(), Detector::new(from));
        let (frame, mut out) = (vec![900; from.frame_samples()], [0; MAX_FRAME_SAMPLES]);
        let counted = allocation_counter::measure(|| {
            for _ in 0..50 {
                assert_eq!(resampler.push(&frame, &mut out), to.frame_samples());
                detector.is_speech(&frame);
            }
        });
        assert_eq!(counted.count_total, 0, "from {from:?} to {to:?}");
    }
}

#[test]
fn a_call_takes_so_much_memory_on_its_worker_and_no_more() {
    // RTP, AudioSocket, WebSocket; all at 8 kHz with 16-bit or G.711 samples.
    for (kind, most) in [(0, 16 * 1024), (1, 16 * 1024), (2, 18 * 1024)] {
        let bytes = Rig::new(50, kind..kind + 1).memory / 50;
        assert!(bytes <= most && bytes > 1024, "transport {kind}: {bytes} bytes a call");
    }
}

#[test]
fn an_allocation_a_slot_would_be_noticed() {
    let mut rig = Rig::new(3, 0..3);
    rig.slots(100, || {});
    let allocations = rig.slots(100, || drop(std::hint::black_box(Box::new(7))));
    assert!(allocations >= 100, "{allocations} of 100 were counted");
}
