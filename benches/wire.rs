//! What reading and writing of the wire formats costs, a frame of 20 ms at a time: `cargo bench --bench wire`.

use arioso::wire::audiosocket::{self, AudioType};
use arioso::wire::rtp::{HEADER_BYTES, RtpHeader, RtpPacket};
use arioso::wire::websocket::{self, DEFAULT_MAX_MESSAGE_BYTES, Message, Role};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// 20 ms of µ-law.
const ULAW: [u8; 160] = [0xFF; 160];
/// 20 ms of LINEAR16 at 8 kHz.
const SLIN: [u8; 320] = [0; 320];

fn rtp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rtp");
    let header = RtpHeader { payload_type: 0, marker: false, sequence: 7, timestamp: 160, ssrc: 99 };
    let mut datagram = [0xFF; HEADER_BYTES + ULAW.len()];
    group.throughput(Throughput::Bytes(datagram.len() as u64));
    group.bench_function("write the header", |bencher| {
        let bytes = datagram.first_chunk_mut().expect("longer than a header");
        bencher.iter(|| black_box(header).write(bytes));
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let packet = RtpPacket::parse(black_box(&datagram)).expect("written above");
            (packet.sequence(), packet.timestamp(), packet.payload().len())
        });
    });
    group.finish();
}

fn audiosocket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audiosocket");
    let frame = audiosocket::Frame::Audio(AudioType::Slin8, &SLIN);
    let mut bytes = vec![0; audiosocket::HEADER_BYTES + SLIN.len()];
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("write", |bencher| bencher.iter(|| black_box(&frame).write(&mut bytes)));
    group.bench_function("parse, a frame a read", |bencher| {
        let mut reader = audiosocket::Reader::new();
        bencher.iter(|| {
            let mut input = black_box(&bytes[..]);
            assert!(matches!(reader.next_frame(&mut input), Some(Ok(_))));
        });
    });
    group.bench_function("parse, two reads a frame", |bencher| {
        let mut reader = audiosocket::Reader::new();
        bencher.iter(|| {
            let (mut head, mut tail) = black_box(&bytes[..]).split_at(100);
            assert!(reader.next_frame(&mut head).is_none());
            assert!(matches!(reader.next_frame(&mut tail), Some(Ok(_))));
        });
    });
    group.finish();
}

fn websocket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("websocket");
    for (name, sender, receiver) in [("masked", Role::Client, Role::Server), ("plain", Role::Server, Role::Client)] {
        let mut bytes = vec![0; websocket::MAX_HEADER_BYTES + ULAW.len()];
        let message = Message::Binary(&ULAW);
        let length = message.write(sender, [1, 2, 3, 4], &mut bytes).expect("room enough");
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("write, {name}"), |bencher| {
            bencher.iter(|| black_box(&message).write(sender, [1, 2, 3, 4], &mut bytes));
        });
        group.bench_function(format!("parse, {name}"), |bencher| {
            let mut decoder = websocket::Decoder::new(receiver, DEFAULT_MAX_MESSAGE_BYTES);
            bencher.iter(|| {
                // Unmasked in place: the next round masks it again.
                let mut input = black_box(&mut bytes[..length]);
                assert!(matches!(decoder.next_message(&mut input), Ok(Some(_))));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rtp, audiosocket, websocket);
criterion_main!(benches);
