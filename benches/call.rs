//! What a call costs on its media worker, a frame of 20 ms at a time: `cargo bench --bench call`. One core carries 1 s
//! / 50 / (time of a frame) calls of this, the kernel's share not counted.

mod signal;

use arioso::audio::g711::Law;
use arioso::audio::{ByteOrder, Codec, FRAME_TIME, MAX_FRAME_SAMPLES, SampleRate};
use arioso::call::{BargeIn, Call, CallSettings, CallerFrame, Endpointing, Input, NoInput, Watchdogs};
use arioso::media::{MAX_DATAGRAM_BYTES, OrderedReceiver, RtpReceiver, RtpSender};
use arioso::vad::Detector;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Instant;

fn detector(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("detector");
    for rate in signal::RATES {
        group.throughput(Throughput::Elements(rate.frame_samples() as u64));
        group.bench_function(BenchmarkId::from_parameter(rate.hz()), |bencher| {
            let mut detector = Detector::new(rate);
            let frames = signal::voice(rate);
            let mut frames = frames.iter().cycle();
            bencher.iter(|| detector.is_speech(black_box(frames.next().expect("endless"))));
        });
    }
    group.finish();
}

/// What RTP carries: the way from a frame to a datagram, and from a datagram to a frame.
const RTP_CODECS: [(&str, Codec); 3] =
    [("ulaw", Codec::G711(Law::Mu)), ("g722", Codec::G722), ("slin16", Codec::Linear16(SampleRate::HZ_16000))];

#[allow(clippy::disallowed_methods, reason = "a bench is no part of the core")]
fn media(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("media");
    for (name, codec) in RTP_CODECS {
        let frames = signal::voice(codec.rate());
        group.throughput(Throughput::Elements(codec.rate().frame_samples() as u64));
        group.bench_function(BenchmarkId::new("send: frame to RTP", name), |bencher| {
            let mut sender = RtpSender::new(codec, 7, 0, 0).expect("memory");
            let (mut frames, mut datagram) = (frames.iter().cycle(), [0; MAX_DATAGRAM_BYTES]);
            bencher.iter(|| sender.packet(black_box(frames.next().expect("endless")), &mut datagram));
        });
        group.bench_function(BenchmarkId::new("receive: RTP to frame", name), |bencher| {
            let mut sender = RtpSender::new(codec, 7, 0, 0).expect("memory");
            let mut receiver = RtpReceiver::new(codec).expect("memory");
            let (mut pcm, mut now) = ([0; MAX_FRAME_SAMPLES], Instant::now());
            let mut frames = frames.iter().cycle();
            // Made before, so that it is the receiver alone that is measured.
            bencher.iter_batched_ref(
                || {
                    let mut datagram = [0; MAX_DATAGRAM_BYTES];
                    let bytes = sender.packet(frames.next().expect("endless"), &mut datagram);
                    (datagram, bytes)
                },
                |(datagram, bytes)| {
                    now += FRAME_TIME;
                    receiver.packet(&datagram[..*bytes], now).expect("a packet of our own making");
                    let frame = receiver.poll_frame(&mut pcm[..codec.rate().frame_samples()], now);
                    assert!(frame.is_some());
                },
                criterion::BatchSize::NumIterations(1_000),
            );
        });
    }
    let codec = Codec::Linear16(SampleRate::HZ_8000);
    group.throughput(Throughput::Elements(codec.rate().frame_samples() as u64));
    group.bench_function(BenchmarkId::new("receive: TCP payload to frame", "slin"), |bencher| {
        let mut receiver = OrderedReceiver::new(codec, ByteOrder::Little).expect("memory");
        let (payload, mut pcm, mut now) = ([3; 320], [0; 160], Instant::now());
        bencher.iter(|| {
            now += FRAME_TIME;
            receiver.payload(black_box(&payload), now).expect("whole samples");
            assert!(receiver.poll_frame(&mut pcm, now).is_some());
        });
    });
    group.finish();
}

fn settings(rate: SampleRate) -> CallSettings {
    CallSettings {
        rate,
        greeting: None,
        endpointing: Endpointing::default(),
        barge_in: BargeIn::default(),
        no_input: NoInput::default(),
        watchdogs: Watchdogs::default(),
        apology: vec![0; rate.frame_samples()].into(),
    }
}

#[allow(clippy::disallowed_methods, reason = "a bench is no part of the core")]
fn call(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("call: hear and speak");
    for rate in signal::RATES {
        group.throughput(Throughput::Elements(rate.frame_samples() as u64));
        group.bench_function(BenchmarkId::from_parameter(rate.hz()), |bencher| {
            let mut now = Instant::now();
            let mut call = Call::new(settings(rate), now);
            call.handle(Input::Connected, now);
            let frames = signal::voice(rate);
            let (mut frames, mut out) = (frames.iter().cycle(), vec![0; rate.frame_samples()]);
            bencher.iter(|| {
                now += FRAME_TIME;
                call.hear(CallerFrame::Audio(black_box(frames.next().expect("endless"))), now);
                call.speak(&mut out, now);
                while let Some(output) = call.poll_output() {
                    black_box(output);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, detector, media, call);
criterion_main!(benches);
