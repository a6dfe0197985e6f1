//! What a frame of 20 ms costs in each codec: `cargo bench --bench codec`.

mod signal;

use arioso::audio::g711::Law;
use arioso::audio::{ByteOrder, Codec, Decoder, Encoder, MAX_FRAME_BYTES, MAX_FRAME_SAMPLES, SampleRate};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const CODECS: [(&str, Codec, ByteOrder); 8] = [
    ("ulaw", Codec::G711(Law::Mu), ByteOrder::Big),
    ("alaw", Codec::G711(Law::A), ByteOrder::Big),
    ("g722", Codec::G722, ByteOrder::Big),
    ("slin", Codec::Linear16(SampleRate::HZ_8000), ByteOrder::Little),
    ("slin16", Codec::Linear16(SampleRate::HZ_16000), ByteOrder::Little),
    ("slin16, network order", Codec::Linear16(SampleRate::HZ_16000), ByteOrder::Big),
    ("slin48", Codec::Linear16(SampleRate::HZ_48000), ByteOrder::Little),
    ("opus", Codec::Opus, ByteOrder::Little),
];

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (name, codec, order) in CODECS {
        group.throughput(Throughput::Elements(codec.rate().frame_samples() as u64));
        group.bench_function(name, |bencher| {
            let mut encoder = Encoder::new(codec, order).expect("memory");
            let frames = signal::voice(codec.rate());
            let (mut frames, mut payload) = (frames.iter().cycle(), [0; MAX_FRAME_BYTES]);
            bencher.iter(|| encoder.encode(black_box(frames.next().expect("endless")), &mut payload));
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, codec, order) in CODECS {
        group.throughput(Throughput::Elements(codec.rate().frame_samples() as u64));
        group.bench_function(name, |bencher| {
            let mut encoder = Encoder::new(codec, order).expect("memory");
            let mut payload = [0; MAX_FRAME_BYTES];
            let payloads: Vec<Vec<u8>> = signal::voice(codec.rate())
                .iter()
                .map(|frame| {
                    let bytes = encoder.encode(frame, &mut payload).expect("a frame of 20 ms");
                    payload[..bytes].to_vec()
                })
                .collect();
            let mut decoder = Decoder::new(codec, order).expect("memory");
            let (mut payloads, mut pcm) = (payloads.iter().cycle(), [0; MAX_FRAME_SAMPLES]);
            bencher.iter(|| decoder.decode(black_box(payloads.next().expect("endless")), &mut pcm));
        });
    }
    group.finish();
}

criterion_group!(benches, encode, decode);
criterion_main!(benches);
