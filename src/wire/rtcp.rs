//! RTCP: RFC 3550, section 6, and how to tell it from RTP on the same port: RFC 5761, section 4. The packets are read by
//! `rtcp-types`; this module walks through the datagram, and adds errors that say where in it something is wrong.
//!
//! Asterisk's `chan_rtp` sends none. It comes from other senders, and must not be taken for audio.

use rtcp_types::{App, Bye, ReceiverReport as Receiver, RtcpPacketParser, RtcpParseError, SenderReport as Sender};

/// Bytes that every packet begins with.
const HEADER_BYTES: usize = 4;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;

/// Whether a datagram on a port of RTP is RTCP: by the payload type, which in RTCP is 192 to 223 and in RTP never 64 to 95
/// (RFC 5761, section 4). What is not version 2 is neither.
pub const fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [first, 192..=223, ..] if *first >> 6 == 2)
}

/// One packet of a datagram, which is a compound of several as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtcpPacket<'a> {
    /// What a sender has sent, and how it receives.
    SenderReport(SenderReport<'a>),
    /// How somebody receives who does not send.
    ReceiverReport(ReceiverReport<'a>),
    /// Names of sources.
    SourceDescription {
        /// How many sources it describes.
        sources: u8,
    },
    /// Sources that are no more.
    Goodbye(Goodbye<'a>),
    /// Something between two programs.
    Application {
        /// Who sends it.
        ssrc: u32,
        /// What it is; ASCII if all is well.
        name: [u8; 4],
    },
    /// Feedback, extended reports, or a type that is not known.
    Other {
        /// 192 to 223.
        packet_type: u8,
    },
}

/// A sender report: RFC 3550, section 6.4.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderReport<'a>(Sender<'a>);

impl SenderReport<'_> {
    /// Who sends it.
    pub fn ssrc(&self) -> u32 {
        self.0.ssrc()
    }

    /// The time of the report: seconds since 1900 in the upper half, fractions of a second in the lower one.
    pub fn ntp_time(&self) -> u64 {
        self.0.ntp_timestamp()
    }

    /// The same time by the clock of the audio.
    pub fn rtp_timestamp(&self) -> u32 {
        self.0.rtp_timestamp()
    }

    /// Packets sent so far; wraps.
    pub fn packets(&self) -> u32 {
        self.0.packet_count()
    }

    /// Bytes of payload sent so far; wraps.
    pub fn payload_bytes(&self) -> u32 {
        self.0.octet_count()
    }

    /// How it receives: at most 31.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> {
        self.0.report_blocks().map(ReportBlock::from)
    }
}

/// A receiver report: RFC 3550, section 6.4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a>(Receiver<'a>);

impl ReceiverReport<'_> {
    /// Who sends it.
    pub fn ssrc(&self) -> u32 {
        self.0.ssrc()
    }

    /// How it receives: at most 31.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> {
        self.0.report_blocks().map(ReportBlock::from)
    }
}

/// How one source is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// Packets lost since the last report, in 1/256 of those that were expected.
    pub fraction_lost: u8,
    /// Packets lost so far; below zero when duplicates came.
    pub lost: i32,
    /// The highest sequence number that came, with the number of its wraps in the upper half.
    pub highest_sequence: u32,
    /// Interarrival jitter, in units of the timestamp.
    pub jitter: u32,
    /// The middle 32 bits of the time in the last sender report; 0 if none came.
    pub last_sender_report: u32,
    /// How long ago that report came, in 1/65536 s.
    pub delay_since: u32,
}

impl From<rtcp_types::ReportBlock<'_>> for ReportBlock {
    fn from(block: rtcp_types::ReportBlock<'_>) -> Self {
        Self {
            ssrc: block.ssrc(),
            fraction_lost: block.fraction_lost(),
            // 24 bits with a sign.
            lost: ((block.cumulative_lost() << 8) as i32) >> 8,
            highest_sequence: block.extended_sequence_number(),
            jitter: block.interarrival_jitter(),
            last_sender_report: block.last_sender_report_timestamp(),
            delay_since: block.delay_since_last_sender_report_timestamp(),
        }
    }
}

/// A goodbye: RFC 3550, section 6.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goodbye<'a>(Bye<'a>);

impl Goodbye<'_> {
    /// The sources that are no more: at most 31.
    pub fn sources(&self) -> impl Iterator<Item = u32> {
        self.0.ssrcs()
    }
}

/// What is wrong with a datagram. The packets in front of the place were good.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// A packet does not begin as one, or not in version 2.
    #[error("byte {offset} of an RTCP datagram of {bytes} does not begin a packet")]
    NotRtcp {
        /// Where it should begin.
        offset: usize,
        /// Length of the datagram.
        bytes: usize,
    },
    /// A packet announces more bytes than there are.
    #[error("the RTCP packet of type {packet_type} at byte {offset} needs {needed} bytes, of which {bytes} are there")]
    Truncated {
        /// Where it begins.
        offset: usize,
        /// Its type.
        packet_type: u8,
        /// What it announces.
        needed: usize,
        /// What is there.
        bytes: usize,
    },
    /// What is in a packet does not fit into it.
    #[error("the RTCP packet of type {packet_type} at byte {offset} is malformed: {cause}")]
    Malformed {
        /// Where it begins.
        offset: usize,
        /// Its type.
        packet_type: u8,
        /// What is wrong.
        #[source]
        cause: RtcpParseError,
    },
}

/// The packets of a datagram. Ends behind the first one that is wrong.
pub const fn packets(datagram: &[u8]) -> Packets<'_> {
    Packets { datagram, offset: 0 }
}

/// See [`packets`].
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    datagram: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.datagram.get(offset..).filter(|rest| !rest.is_empty())?;
        // For all that is wrong; set right at the end.
        self.offset = self.datagram.len();
        let Some(&[_, packet_type, high, low]) = rest.first_chunk::<HEADER_BYTES>().filter(|_| is_rtcp(rest)) else {
            return Some(Err(RtcpError::NotRtcp { offset, bytes: self.datagram.len() }));
        };
        let needed = HEADER_BYTES * (usize::from(u16::from_be_bytes([high, low])) + 1);
        let Some(packet) = rest.get(..needed) else {
            return Some(Err(RtcpError::Truncated { offset, packet_type, needed, bytes: rest.len() }));
        };
        let read = read(packet_type, packet).map_err(|cause| RtcpError::Malformed { offset, packet_type, cause });
        if read.is_ok() {
            self.offset = offset + needed;
        }
        Some(read)
    }
}

fn read(packet_type: u8, packet: &[u8]) -> Result<RtcpPacket<'_>, RtcpParseError> {
    Ok(match packet_type {
        SENDER_REPORT => RtcpPacket::SenderReport(SenderReport(Sender::parse(packet)?)),
        RECEIVER_REPORT => RtcpPacket::ReceiverReport(ReceiverReport(Receiver::parse(packet)?)),
        SOURCE_DESCRIPTION => RtcpPacket::SourceDescription { sources: packet[0] & 0x1F },
        GOODBYE => RtcpPacket::Goodbye(Goodbye(Bye::parse(packet)?)),
        APPLICATION => {
            let app = App::parse(packet)?;
            RtcpPacket::Application { ssrc: app.ssrc(), name: app.name() }
        }
        _ => RtcpPacket::Other { packet_type },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A sender report with one block, a description of one source, a goodbye of two sources with a reason, an APP packet, and
    /// feedback (a generic NACK).
    const COMPOUND: &[u8] = &[
        0x81, 200, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 160, 0, 0, 0, 50, 0, 0, 31,
        64, // sender
        0, 0, 0, 9, 64, 0xFF, 0xFF, 0xFE, 0, 1, 0, 7, 0, 0, 0, 20, 0, 0, 0, 5, 0, 0, 0, 6, // its block
        0x81, 202, 0, 2, 0, 0, 0, 1, 1, 1, b'a', 0, // description
        0x82, 203, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, 3, b'b', b'y', b'e', // goodbye
        0x80, 204, 0, 2, 0, 0, 0, 1, b'P', b'I', b'N', b'G', // application
        0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 9, 0, 5, 0, 0, // feedback
    ];

    #[test]
    fn every_packet_of_a_compound_is_read() {
        let read: Vec<_> = packets(COMPOUND).map(Result::unwrap).collect();
        let [
            RtcpPacket::SenderReport(report),
            RtcpPacket::SourceDescription { sources: 1 },
            RtcpPacket::Goodbye(goodbye),
            RtcpPacket::Application { ssrc: 1, name: [b'P', b'I', b'N', b'G'] },
            RtcpPacket::Other { packet_type: 205 },
        ] = &read[..]
        else {
            panic!("{read:?}")
        };
        assert_eq!((report.ssrc(), report.ntp_time(), report.rtp_timestamp()), (1, 0x2_8000_0000, 160));
        assert_eq!((report.packets(), report.payload_bytes()), (50, 8_000));
        let block = ReportBlock {
            ssrc: 9,
            fraction_lost: 64,
            lost: -2,
            highest_sequence: 0x1_0007,
            jitter: 20,
            last_sender_report: 5,
            delay_since: 6,
        };
        assert_eq!(report.blocks().collect::<Vec<_>>(), [block]);
        assert_eq!(goodbye.sources().collect::<Vec<_>>(), [1, 9]);
    }

    #[test]
    fn a_receiver_report_without_blocks_is_read() {
        let mut read = packets(&[0x80, 201, 0, 1, 0xAA, 0xBB, 0xCC, 0xDD]);
        let Some(Ok(RtcpPacket::ReceiverReport(report))) = read.next() else { panic!("no report") };
        assert_eq!((report.ssrc(), report.blocks().count()), (0xAABB_CCDD, 0));
        assert_eq!(read.next(), None);
    }

    #[test]
    fn rtcp_and_rtp_on_one_port_are_told_apart() {
        assert!(is_rtcp(COMPOUND));
        // RTP with every payload type that Asterisk sends (0 to 34, 96 to 127), with and without marker.
        for payload_type in (0..=34).chain(96..=127) {
            assert!(!is_rtcp(&[0x80, payload_type, 0, 1]), "{payload_type}");
            assert!(!is_rtcp(&[0x80, 0x80 | payload_type, 0, 1]), "{payload_type}");
        }
        // STUN, and nothing.
        assert!(!is_rtcp(&[0, 200, 0, 0]));
        assert!(!is_rtcp(&[]));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let error = |datagram: &[u8]| packets(datagram).find_map(Result::err).expect("an error");
        assert_eq!(error(&[0x80, 200]), RtcpError::NotRtcp { offset: 0, bytes: 2 });
        let good = [0x80, 201, 0, 1, 0, 0, 0, 1];
        assert_eq!(error(&[&good[..], &[0x40, 201, 0, 0]].concat()), RtcpError::NotRtcp { offset: 8, bytes: 12 });
        assert_eq!(
            error(&[&good[..], &[0x80, 200, 0, 6, 1]].concat()),
            RtcpError::Truncated { offset: 8, packet_type: 200, needed: 28, bytes: 5 }
        );
        // Announces a report block that is not there.
        let wrong = error(&[0x81, 201, 0, 1, 0, 0, 0, 1]);
        assert!(matches!(wrong, RtcpError::Malformed { offset: 0, packet_type: 201, .. }), "{wrong}");
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic_or_spin(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(packets(&datagram).count() <= datagram.len() / HEADER_BYTES + 1);
        }

        #[test]
        fn damage_is_survived(place in 0..COMPOUND.len(), byte: u8) {
            let mut datagram = COMPOUND.to_vec();
            datagram[place] = byte;
            for packet in packets(&datagram).flatten() {
                match packet {
                    RtcpPacket::SenderReport(report) => prop_assert!(report.blocks().count() <= 31),
                    RtcpPacket::ReceiverReport(report) => prop_assert!(report.blocks().count() <= 31),
                    RtcpPacket::Goodbye(goodbye) => prop_assert!(goodbye.sources().count() <= 31),
                    _ => {}
                }
            }
        }
    }
}
