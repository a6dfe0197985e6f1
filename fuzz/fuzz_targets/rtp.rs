//! Any datagram as RTP: its parts lie within it, and what is written from them reads the same. The same bytes as a
//! stream of datagrams: however odd, each is taken or refused, and the buffer stays within its bounds.
#![no_main]

use arioso::audio::g711::Law;
use arioso::audio::{FRAME_TIME, SampleRate};
use arioso::media::ReceiveStream;
use arioso::wire::rtp::{HEADER_BYTES, RtpHeader, RtpPacket};
use libfuzzer_sys::fuzz_target;
use std::time::Instant;

/// A second of audio: far more than any buffer may hold back.
const MAX_BUFFERED: u32 = SampleRate::HZ_8000.hz();

fuzz_target!(|bytes: &[u8]| {
    check_packet(bytes);
    check_stream(bytes);
});

/// Datagrams one after another, each behind a byte with its length and one with the frames that are played after it.
fn check_stream(mut bytes: &[u8]) {
    let mut stream = ReceiveStream::new(Law::Mu);
    let mut frame = [0; SampleRate::HZ_8000.frame_samples()];
    let mut now = Instant::now();
    while let [length, frames, rest @ ..] = bytes {
        let (datagram, next) = rest.split_at(rest.len().min((*length).into()));
        let malformed = stream.stats().malformed;
        if RtpPacket::parse(datagram).is_err() {
            assert!(stream.packet(datagram, now).is_err());
            assert_eq!(stream.stats().malformed, malformed + 1);
        } else {
            // Taken, or refused with a reason: both are fine.
            let _ = stream.packet(datagram, now);
        }
        for _ in 0..frames % 8 {
            stream.frame(&mut frame);
            now += FRAME_TIME;
        }
        assert!(stream.stats().buffered_samples <= MAX_BUFFERED, "{:?}", stream.stats());
        bytes = next;
    }
}

fn check_packet(datagram: &[u8]) {
    let Ok(packet) = RtpPacket::parse(datagram) else { return };
    assert!(HEADER_BYTES + packet.payload().len() <= datagram.len());

    let header = RtpHeader {
        payload_type: packet.payload_type(),
        marker: packet.marker(),
        sequence: packet.sequence(),
        timestamp: packet.timestamp(),
        ssrc: packet.ssrc(),
    };
    let mut head = [0; HEADER_BYTES];
    header.write(&mut head);
    let written = [&head, packet.payload()].concat();
    let again = RtpPacket::parse(&written).expect("what we write is RTP");
    assert_eq!(again.payload(), packet.payload());
    assert_eq!(
        (again.payload_type(), again.marker(), again.sequence(), again.timestamp(), again.ssrc()),
        (header.payload_type, header.marker, header.sequence, header.timestamp, header.ssrc)
    );
}
