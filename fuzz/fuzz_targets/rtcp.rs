//! Any datagram as RTCP: each packet is read or refused, everything that a packet says can be asked for, and it comes to an
//! end.
#![no_main]

use arioso::wire::rtcp::{RtcpPacket, is_rtcp, packets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let mut count = 0;
    for packet in packets(datagram) {
        count += 1;
        match packet {
            Ok(RtcpPacket::SenderReport(report)) => {
                let _ = (report.ssrc(), report.ntp_time(), report.rtp_timestamp(), report.packets());
                assert!(report.blocks().all(|block| block.lost.abs() <= 1 << 23));
            }
            Ok(RtcpPacket::ReceiverReport(report)) => assert!(report.ssrc() > 0 || report.blocks().count() <= 31),
            Ok(RtcpPacket::Goodbye(goodbye)) => assert!(goodbye.sources().count() <= 31),
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(count <= datagram.len().div_ceil(4));
    assert!(!is_rtcp(datagram) || count > 0);
});
