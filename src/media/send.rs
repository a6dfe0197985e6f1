//! Frames to RTP packets, one for one, with numbers that never have a gap: the stream to Asterisk is continuous.

use super::stats::SendStats;
use crate::audio::g711::Law;
use crate::wire::rtp::{HEADER_BYTES, RtpHeader};

/// The stream that we send on one leg.
#[derive(Debug)]
pub struct SendStream {
    law: Law,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    stats: SendStats,
}

impl SendStream {
    /// A stream whose first packet carries these numbers; RFC 3550, section 5.1 wants all three to be random.
    pub const fn new(law: Law, ssrc: u32, first_sequence: u16, first_timestamp: u32) -> Self {
        let stats = SendStats { packets: 0, payload_bytes: 0 };
        Self { law, ssrc, sequence: first_sequence, timestamp: first_timestamp, stats }
    }

    /// How long the datagram for so many samples is.
    pub const fn datagram_bytes(samples: usize) -> usize {
        HEADER_BYTES + samples
    }

    /// Writes the next packet, with `pcm` (8,000 Hz, usually a frame of 160) in it, to the beginning of `datagram`, and
    /// says how long it is. The marker is set on the first packet only.
    ///
    /// # Panics
    ///
    /// If `datagram` is shorter than [`Self::datagram_bytes`] of `pcm`.
    pub fn packet(&mut self, pcm: &[i16], datagram: &mut [u8]) -> usize {
        let bytes = Self::datagram_bytes(pcm.len());
        let Some((header, payload)) = datagram[..bytes].split_first_chunk_mut() else {
            unreachable!("{bytes} bytes are at least a header")
        };
        RtpHeader {
            payload_type: self.law.payload_type(),
            marker: self.stats.packets == 0,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        }
        .write(header);
        self.law.encode(pcm, payload);

        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(pcm.len() as u32);
        self.stats.packets += 1;
        self.stats.payload_bytes += pcm.len() as u64;
        bytes
    }

    /// What was sent so far.
    pub const fn stats(&self) -> SendStats {
        self.stats
    }
}

/// The stream that we send on one RTP leg.
#[derive(Debug)]
pub struct RtpSender {
    _codec: crate::audio::Codec,
}

impl RtpSender {
    /// A stream whose first packet carries these numbers; RFC 3550, section 5.1 wants all three to be random.
    ///
    /// # Errors
    /// The encoder cannot be made: [`Encoder::new`](crate::audio::Encoder::new).
    pub fn new(
        codec: crate::audio::Codec,
        _ssrc: u32,
        _first_sequence: u16,
        _first_timestamp: u32,
    ) -> Result<Self, crate::audio::CodecError> {
        Ok(Self { _codec: codec })
    }

    /// Writes the next packet, with `pcm` (20 ms at the rate of the codec) in it, to the beginning of `datagram` (at
    /// least [`MAX_DATAGRAM_BYTES`]), and says how long it is; 0 if there is nothing to send.
    pub fn packet(&mut self, _pcm: &[i16], _datagram: &mut [u8]) -> usize {
        0
    }

    /// What was sent so far.
    pub fn stats(&self) -> SendStats {
        SendStats::default()
    }
}

/// No datagram of an [`RtpSender`] is longer: 20 ms of LINEAR16 at 48 kHz.
pub const MAX_DATAGRAM_BYTES: usize = HEADER_BYTES + 1_920;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtp::RtpPacket;

    #[test]
    fn numbers_go_on_across_the_wrap_and_only_the_first_packet_is_marked() {
        let mut stream = SendStream::new(Law::A, 7, 65_535, u32::MAX - 159);
        let mut datagram = [0; 172];
        let mut seen = Vec::new();
        for _ in 0..3 {
            assert_eq!(stream.packet(&[0; 160], &mut datagram), 172);
            let packet = RtpPacket::parse(&datagram).unwrap();
            assert_eq!((packet.payload_type(), packet.ssrc()), (8, 7));
            assert_eq!(packet.payload(), [Law::A.silence(); 160]);
            seen.push((packet.sequence(), packet.timestamp(), packet.marker()));
        }
        assert_eq!(seen, [(65_535, u32::MAX - 159, true), (0, 0, false), (1, 160, false)]);
        assert_eq!(stream.stats(), SendStats { packets: 3, payload_bytes: 480 });
    }
}
