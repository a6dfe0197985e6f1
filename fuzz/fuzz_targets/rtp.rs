//! Any datagram as RTP: its parts lie within it, and what is written from them reads the same. The same bytes as a
//! stream of datagrams: however odd, each is taken or refused, and the caller's time never runs away.
#![no_main]

use arioso::audio::g711::Law;
use arioso::audio::{Codec, MAX_FRAME_SAMPLES, SampleRate};
use arioso::media::{PacketError, RtpReceiver};
use arioso::wire::rtp::{HEADER_BYTES, RtpHeader, RtpPacket};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

const CODECS: [Codec; 4] =
    [Codec::G711(Law::Mu), Codec::G722, Codec::Linear16(SampleRate::HZ_16000), Codec::Linear16(SampleRate::HZ_48000)];

fuzz_target!(|bytes: &[u8]| {
    check_packet(bytes);
    if let [first, rest @ ..] = bytes {
        check_stream(CODECS[usize::from(first % 4)], rest);
    }
});

/// Datagrams one after another, each behind a byte with its length and one with the time that passes before it.
fn check_stream(codec: Codec, mut bytes: &[u8]) {
    let mut receiver = RtpReceiver::new(codec).expect("none of these codecs needs what may be missing");
    let mut frame = [0; MAX_FRAME_SAMPLES];
    let begin = Instant::now();
    let (mut now, mut frames, mut datagrams) = (begin, 0, 0);
    while let [length, millis, rest @ ..] = bytes {
        let (datagram, next) = rest.split_at(rest.len().min((*length).into()));
        now += Duration::from_millis((*millis).into());
        let before = receiver.stats();
        let taken = receiver.packet(datagram, now);
        let after = receiver.stats();
        match taken {
            Ok(()) => {}
            Err(PacketError::Rtcp) => assert_eq!(after.rtcp, before.rtcp + 1),
            Err(PacketError::PayloadType { .. }) => {
                assert_eq!(after.refused_payload_types, before.refused_payload_types + 1);
            }
            Err(PacketError::Malformed(_) | PacketError::Payload { .. }) => {
                assert_eq!(after.malformed, before.malformed + 1);
            }
        }
        datagrams += 1;
        while receiver.poll_frame(&mut frame, now).is_some() {
            frames += 1;
        }
        bytes = next;
    }
    // A datagram here carries at most 255 bytes, 32 ms; before it 200 ms of loss or silence can be due at once.
    let most = (now - begin).as_millis() / 20 + datagrams * (2 + 11) + 1;
    assert!(frames <= most, "{frames} frames, at most {most}: {:?}", receiver.stats());
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
