//! What a call costs on the media path, a frame of 20 ms at a time: `cargo bench`. One core carries 1 s / 50 / (time a
//! frame) calls of this, the kernel's share not counted.

use arioso::audio::g711::Law;
use arioso::audio::{Codec, SampleRate};
use arioso::call::{BargeIn, Call, CallSettings, CallerFrame, Endpointing, Input, NoInput, Watchdogs};
use arioso::media::{RtpReceiver, RtpSender};
use arioso::vad::Detector;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};

const FRAME: usize = 160;

fn settings() -> CallSettings {
    CallSettings {
        rate: SampleRate::HZ_8000,
        greeting: None,
        endpointing: Endpointing::default(),
        barge_in: BargeIn::default(),
        no_input: NoInput::default(),
        watchdogs: Watchdogs::default(),
        apology: [0; FRAME].into(),
    }
}

fn noise(frame: usize) -> [i16; FRAME] {
    std::array::from_fn(|i| ((frame * FRAME + i).wrapping_mul(2_654_435_761) >> 22) as i16)
}

#[allow(clippy::disallowed_methods)]
fn media_path(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(1));

    group.bench_function("g711 decode and encode", |bencher| {
        let (mut pcm, mut coded) = ([0; FRAME], [0x55; FRAME]);
        bencher.iter(|| {
            Law::Mu.decode(black_box(&coded), &mut pcm);
            Law::Mu.encode(black_box(&pcm), &mut coded);
        });
    });

    group.bench_function("detector", |bencher| {
        let mut detector = Detector::webrtc(SampleRate::HZ_8000).expect("8 kHz is one of its rates");
        let mut frame = 0;
        bencher.iter(|| {
            frame += 1;
            detector.is_speech(black_box(&noise(frame)))
        });
    });

    group.bench_function("receive: packet to frame", |bencher| {
        let codec = Codec::G711(Law::Mu);
        let mut send = RtpSender::new(codec, 7, 0, 0).expect("G.711 has no state");
        let mut receive = RtpReceiver::new(codec).expect("G.711 has no state");
        let (mut datagram, mut pcm) = ([0; 512], [0; FRAME]);
        let mut now = Instant::now();
        bencher.iter(|| {
            let bytes = send.packet(&[1000; FRAME], &mut datagram);
            now += Duration::from_millis(20);
            receive.packet(&datagram[..bytes], now).expect("a packet of our own making");
            receive.poll_frame(&mut pcm, now)
        });
    });

    group.bench_function("call", |bencher| {
        let mut now = Instant::now();
        let mut call = Call::new(settings(), now);
        call.handle(Input::Connected, now);
        let (mut out, mut frame) = ([0; FRAME], 0);
        bencher.iter(|| {
            frame += 1;
            now += Duration::from_millis(20);
            call.hear(CallerFrame::Audio(&noise(frame)), now);
            call.speak(&mut out, now);
            while let Some(output) = call.poll_output() {
                black_box(output);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, media_path);
criterion_main!(benches);
