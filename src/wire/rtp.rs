//! RTP packets: RFC 3550, section 5. Reading and writing of the header is `rtp-rs`'s; this module adds errors that say
//! which packet it was, and the arithmetic of numbers that wrap.

use rtp_rs::{RtpPacketBuilder, RtpReader, RtpReaderError, Seq};

/// Bytes of a header without contributing sources and extension, which is the only kind that we send.
pub const HEADER_BYTES: usize = RtpReader::MIN_HEADER_LEN;

/// A datagram that is known to be a well-formed RTP packet. Contributing sources, a header extension and padding are
/// allowed, and are stepped over.
#[derive(Debug)]
pub struct RtpPacket<'a> {
    reader: RtpReader<'a>,
}

impl<'a> RtpPacket<'a> {
    /// Checks every length once, so that all the rest cannot fail.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        match RtpReader::new(datagram) {
            Ok(reader) => Ok(Self { reader }),
            Err(error) => Err(RtpError::locate(&error, datagram)),
        }
    }

    /// 0 to 127.
    pub fn payload_type(&self) -> u8 {
        self.reader.payload_type()
    }

    /// The marker bit. Asterisk does not set it dependably: do not build on it.
    pub fn marker(&self) -> bool {
        self.reader.mark()
    }

    /// Counts packets; wraps.
    pub fn sequence(&self) -> u16 {
        self.reader.sequence_number().into()
    }

    /// Counts samples at the clock rate of the payload type; wraps.
    pub fn timestamp(&self) -> u32 {
        self.reader.timestamp()
    }

    /// The synchronisation source: the stream that the packet belongs to.
    pub fn ssrc(&self) -> u32 {
        self.reader.ssrc()
    }

    /// What is carried, without padding. May be empty.
    pub fn payload(&self) -> &'a [u8] {
        self.reader.payload()
    }
}

/// Why a datagram is not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than the fixed header.
    #[error("a datagram of {bytes} bytes is too short for RTP, whose header alone has {HEADER_BYTES}")]
    TooShort {
        /// Length of the datagram.
        bytes: usize,
    },
    /// Something else that uses UDP (STUN, DTLS, a scan), or damage.
    #[error(
        "a datagram of {bytes} bytes says RTP version {version}, only 2 exists: something other than RTP was sent here"
    )]
    Version {
        /// 0, 1 or 3.
        version: u8,
        /// Length of the datagram.
        bytes: usize,
    },
    /// Contributing sources or extension announce more bytes than there are.
    #[error("packet {sequence} of SSRC {ssrc:#010x}: the header needs {needed} bytes, the datagram has {bytes}")]
    HeaderTruncated {
        /// Sequence number of the packet.
        sequence: u16,
        /// Stream of the packet.
        ssrc: u32,
        /// What the header, with all that it announces, would need.
        needed: usize,
        /// Length of the datagram.
        bytes: usize,
    },
    /// The padding is longer than what follows the header, or has no length at all.
    #[error("packet {sequence} of SSRC {ssrc:#010x}: {padding} bytes of padding do not fit a datagram of {bytes}")]
    Padding {
        /// Sequence number of the packet.
        sequence: u16,
        /// Stream of the packet.
        ssrc: u32,
        /// What the last byte says.
        padding: u8,
        /// Length of the datagram.
        bytes: usize,
    },
}

impl RtpError {
    fn locate(error: &RtpReaderError, datagram: &[u8]) -> Self {
        let bytes = datagram.len();
        // Errors other than the first two come after the fixed header was found to be there.
        let sequence = datagram.get(2..4).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
        let ssrc = datagram.get(8..12).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        match *error {
            RtpReaderError::BufferTooShort(_) => Self::TooShort { bytes },
            RtpReaderError::UnsupportedVersion(version) => Self::Version { version, bytes },
            // A padded packet that ends with its header lacks the byte that says how much padding there is.
            RtpReaderError::HeadersTruncated { header_len, .. } => {
                Self::HeaderTruncated { sequence, ssrc, needed: header_len.max(bytes + 1), bytes }
            }
            RtpReaderError::PaddingLengthInvalid(padding) => Self::Padding { sequence, ssrc, padding, bytes },
        }
    }
}

/// The header of a packet that we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// 0 to 127; the top bit is not sent.
    pub payload_type: u8,
    /// Set on the first packet after silence (RFC 3551, section 4.1).
    pub marker: bool,
    /// Counts packets.
    pub sequence: u16,
    /// Counts samples at the clock rate of the payload type.
    pub timestamp: u32,
    /// The stream.
    pub ssrc: u32,
}

impl RtpHeader {
    /// Writes the header; the payload follows it.
    pub fn write(&self, bytes: &mut [u8; HEADER_BYTES]) {
        // "Unchecked" leaves out the checks of the payload type, which the mask makes, and of the length, which the type makes.
        RtpPacketBuilder::new()
            .payload_type(self.payload_type & 0x7F)
            .marked(self.marker)
            .sequence(Seq::from(self.sequence))
            .timestamp(self.timestamp)
            .ssrc(self.ssrc)
            .build_into_unchecked(bytes);
    }
}

/// The number that a wrapped `sequence` stands for: of all that end in these 16 bits, the nearest to `reference`.
pub const fn extend_sequence(reference: i64, sequence: u16) -> i64 {
    reference + sequence.wrapping_sub(reference as u16) as i16 as i64
}

/// The number that a wrapped `timestamp` stands for: of all that end in these 32 bits, the nearest to `reference`.
pub const fn extend_timestamp(reference: i64, timestamp: u32) -> i64 {
    reference + timestamp.wrapping_sub(reference as u32) as i32 as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Version 2, PT 8, sequence 0x1234, timestamp 7, SSRC 0xAABBCCDD.
    const HEADER: [u8; 12] = [0x80, 0x08, 0x12, 0x34, 0, 0, 0, 7, 0xAA, 0xBB, 0xCC, 0xDD];

    fn packet(first_byte: u8, rest: &[u8]) -> Vec<u8> {
        let mut datagram = HEADER.to_vec();
        datagram[0] = first_byte;
        datagram.extend_from_slice(rest);
        datagram
    }

    #[test]
    fn a_plain_packet_is_read() {
        let datagram = packet(0x80, &[1, 2, 3]);
        let packet = RtpPacket::parse(&datagram).unwrap();
        assert_eq!((packet.payload_type(), packet.marker(), packet.sequence()), (8, false, 0x1234));
        assert_eq!((packet.timestamp(), packet.ssrc(), packet.payload()), (7, 0xAABB_CCDD, &[1, 2, 3][..]));
    }

    #[test]
    fn sources_extension_and_padding_are_stepped_over() {
        // Two contributing sources, an extension of one word, a payload of two bytes, three bytes of padding.
        let mut rest = vec![0; 8];
        rest.extend_from_slice(&[0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        rest.extend_from_slice(&[0x55, 0xD5, 0, 0, 3]);
        let datagram = packet(0x80 | 0x20 | 0x10 | 2, &rest);
        assert_eq!(RtpPacket::parse(&datagram).unwrap().payload(), [0x55, 0xD5]);
        let only_padding = packet(0xA0, &[0, 0, 0, 4]);
        assert!(RtpPacket::parse(&only_padding).unwrap().payload().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_the_packet() {
        let error = |datagram: &[u8]| RtpPacket::parse(datagram).unwrap_err();
        assert_eq!(error(&[0x80; 11]), RtpError::TooShort { bytes: 11 });
        assert_eq!(error(&packet(0x00, &[])), RtpError::Version { version: 0, bytes: 12 });
        let (sequence, ssrc) = (0x1234, 0xAABB_CCDD);
        assert_eq!(error(&packet(0x8F, &[])), RtpError::HeaderTruncated { sequence, ssrc, needed: 72, bytes: 12 });
        assert_eq!(
            error(&packet(0x90, &[0, 0, 1, 0])),
            RtpError::HeaderTruncated { sequence, ssrc, needed: 16 + 1_024, bytes: 16 }
        );
        assert_eq!(error(&packet(0xA0, &[])), RtpError::HeaderTruncated { sequence, ssrc, needed: 13, bytes: 12 });
        assert_eq!(error(&packet(0xA0, &[1, 2, 0])), RtpError::Padding { sequence, ssrc, padding: 0, bytes: 15 });
        assert_eq!(error(&packet(0xA0, &[1, 2, 4])), RtpError::Padding { sequence, ssrc, padding: 4, bytes: 15 });
        assert_eq!(
            error(&packet(0xA0, &[1, 2, 4])).to_string(),
            "packet 4660 of SSRC 0xaabbccdd: 4 bytes of padding do not fit a datagram of 15"
        );
    }

    #[test]
    fn the_nearest_number_is_meant() {
        assert_eq!(extend_sequence(65_535, 0), 65_536);
        assert_eq!(extend_sequence(65_536, 65_535), 65_535);
        assert_eq!(extend_sequence(0, 65_535), -1);
        assert_eq!(extend_timestamp(i64::from(u32::MAX), 159), i64::from(u32::MAX) + 160);
        assert_eq!(extend_timestamp(1 << 32, u32::MAX), i64::from(u32::MAX));
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic(datagram in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = RtpPacket::parse(&datagram) {
                prop_assert!(packet.payload().len() + HEADER_BYTES <= datagram.len());
                prop_assert!(packet.payload_type() < 128);
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            payload_type in 0u8..128, marker: bool, sequence: u16, timestamp: u32, ssrc: u32, payload: [u8; 5],
        ) {
            let mut datagram = [0; HEADER_BYTES + 5];
            let header = RtpHeader { payload_type, marker, sequence, timestamp, ssrc };
            header.write(datagram.first_chunk_mut().unwrap());
            datagram[HEADER_BYTES..].copy_from_slice(&payload);
            let packet = RtpPacket::parse(&datagram).unwrap();
            prop_assert_eq!((packet.payload_type(), packet.marker()), (payload_type, marker));
            prop_assert_eq!((packet.sequence(), packet.timestamp(), packet.ssrc()), (sequence, timestamp, ssrc));
            prop_assert_eq!(packet.payload(), payload);
        }

        #[test]
        fn extended_numbers_follow_the_stream(start in -100_000i64..100_000, steps in prop::collection::vec(-30_000i64..30_000, 1..50)) {
            let (mut truth, mut reference) = (start, start);
            for step in steps {
                truth += step;
                reference = extend_sequence(reference, truth as u16);
                prop_assert_eq!(reference, truth);
            }
        }
    }
}
