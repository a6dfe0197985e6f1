//! Any datagram as RTP: its parts lie within it, and what is written from them reads the same.
#![no_main]

use arioso::wire::rtp::{HEADER_BYTES, RtpHeader, RtpPacket};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
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
});
