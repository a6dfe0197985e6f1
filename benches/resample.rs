//! What a change of rate costs, a frame of 20 ms at a time: the resampler of the per-frame path beside that for engine
//! audio.
//! `cargo bench --bench resample`.
//!
//! One call alone keeps its state in the nearest cache; a thousand calls in turn, as on a media worker, do not.

mod signal;

use arioso::audio::{FrameResampler, MAX_FRAME_SAMPLES, Resampler, SampleRate};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const CALLS: [usize; 2] = [1, 1_000];

fn resample(criterion: &mut Criterion) {
    for (from, to) in pairs() {
        let mut group = criterion.benchmark_group(format!("resample {} to {} Hz", from.hz(), to.hz()));
        group.throughput(Throughput::Elements(from.frame_samples() as u64));
        let frames = signal::voice(from);
        for calls in CALLS {
            group.bench_function(BenchmarkId::new("frame", calls), |bencher| {
                let resampler = FrameResampler::new(from, to).expect("rates of telephony");
                let (mut states, mut call, mut out) = (vec![resampler; calls], 0, [0; MAX_FRAME_SAMPLES]);
                bencher.iter(|| {
                    call += 1;
                    states[call % calls].push(black_box(&frames[call / calls % frames.len()]), &mut out)
                });
            });
            group.bench_function(BenchmarkId::new("engine", calls), |bencher| {
                let mut states: Vec<_> = (0..calls).map(|_| Resampler::new(from, to)).collect();
                let (mut call, mut out) = (0, Vec::with_capacity(2 * MAX_FRAME_SAMPLES));
                bencher.iter(|| {
                    call += 1;
                    out.clear();
                    states[call % calls].push(black_box(&frames[call / calls % frames.len()]), &mut out);
                    out.len()
                });
            });
        }
        group.finish();
    }
}

/// What recognisers want: 8 or 16 kHz, of every rate that a call can have.
fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
    let wanted = [SampleRate::HZ_8000, SampleRate::HZ_16000];
    let all = signal::RATES.into_iter().flat_map(move |from| wanted.into_iter().map(move |to| (from, to)));
    all.filter(|(from, to)| from != to)
}

criterion_group!(benches, resample);
criterion_main!(benches);
