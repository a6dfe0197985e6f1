//! RTCP packets: RFC 3550, section 6, and how to tell them from RTP on the same port: RFC 5761, section 4.

/// Whether a datagram on a port of RTP is RTCP: by the payload type, which in RTCP is 192 to 223 and in RTP never 64 to 95
/// (RFC 5761, section 4). What is not version 2 is neither.
pub const fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if *first >> 6 == 2)
}
