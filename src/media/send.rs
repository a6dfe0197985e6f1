//! Frames to RTP packets, one for one, with numbers that never have a gap: the stream to Asterisk is continuous.

use super::payload;
use super::stats::SendStats;
use crate::audio::{ByteOrder, Codec, CodecError, Encoder, MAX_FRAME_BYTES};
use crate::wire::rtp::{HEADER_BYTES, RtpHeader};

/// No datagram of an [`RtpSender`] is longer.
pub const MAX_DATAGRAM_BYTES: usize = HEADER_BYTES + MAX_FRAME_BYTES;

/// The stream that we send on one RTP leg.
#[derive(Debug)]
pub struct RtpSender {
    codec: Codec,
    encoder: Encoder,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    stats: SendStats,
}

impl RtpSender {
    /// A stream whose first packet carries these numbers; RFC 3550, section 5.1 wants all three to be random. Asterisk takes
    /// G.711, G.722 and LINEAR16 at 8 kHz on an external-media leg, and drops everything else.
    ///
    /// # Errors
    /// The encoder cannot be made: [`Encoder::new`].
    pub fn new(codec: Codec, ssrc: u32, first_sequence: u16, first_timestamp: u32) -> Result<Self, CodecError> {
        Ok(Self {
            codec,
            encoder: Encoder::new(codec, ByteOrder::Big)?,
            ssrc,
            sequence: first_sequence,
            timestamp: first_timestamp,
            stats: SendStats::default(),
        })
    }

    /// Writes the next packet, with `pcm` (20 ms at the rate of the codec) in it, to the beginning of `datagram`, and says
    /// how long it is. The marker is set on the first packet only. 0 if the frame cannot be encoded: nothing is to be sent
    /// then, and it is counted. [`MAX_DATAGRAM_BYTES`] are room enough.
    ///
    /// # Panics
    /// If there is no room for the header.
    pub fn packet(&mut self, pcm: &[i16], datagram: &mut [u8]) -> usize {
        let room = datagram.len();
        let Some((header, payload)) = datagram.split_first_chunk_mut() else {
            panic!("a datagram of {room} bytes has no room for an RTP header")
        };
        let timestamp = self.timestamp;
        let ticks = pcm.len() as u64 * u64::from(payload::clock(self.codec)) / u64::from(self.codec.rate().hz());
        self.timestamp = timestamp.wrapping_add(ticks as u32);
        let Ok(bytes) = self.encoder.encode(pcm, payload) else {
            self.stats.failed_frames += 1;
            return 0;
        };
        RtpHeader {
            payload_type: payload::payload_type(self.codec),
            marker: self.stats.packets == 0,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
        }
        .write(header);
        self.sequence = self.sequence.wrapping_add(1);
        self.stats.packets += 1;
        self.stats.payload_bytes += bytes as u64;
        HEADER_BYTES + bytes
    }

    /// What was sent so far.
    pub const fn stats(&self) -> SendStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SampleRate;
    use crate::audio::g711::Law;
    use crate::wire::rtp::RtpPacket;

    #[test]
    fn numbers_go_on_across_the_wrap_and_only_the_first_packet_is_marked() {
        let mut sender = RtpSender::new(Codec::G711(Law::A), 7, 65_535, u32::MAX - 159).unwrap();
        let mut datagram = [0; 172];
        let mut seen = Vec::new();
        for _ in 0..3 {
            assert_eq!(sender.packet(&[0; 160], &mut datagram), 172);
            let packet = RtpPacket::parse(&datagram).unwrap();
            assert_eq!((packet.payload_type(), packet.ssrc()), (8, 7));
            assert_eq!(packet.payload(), [Law::A.silence(); 160]);
            seen.push((packet.sequence(), packet.timestamp(), packet.marker()));
        }
        assert_eq!(seen, [(65_535, u32::MAX - 159, true), (0, 0, false), (1, 160, false)]);
        assert_eq!(sender.stats(), SendStats { packets: 3, payload_bytes: 480, failed_frames: 0 });
    }

    #[test]
    fn linear_audio_is_sent_high_byte_first_and_counted_by_its_own_clock() {
        let mut sender = RtpSender::new(Codec::Linear16(SampleRate::HZ_16000), 7, 0, 0).unwrap();
        let mut datagram = [0; MAX_DATAGRAM_BYTES];
        sender.packet(&[0x1234; 320], &mut datagram);
        let bytes = sender.packet(&[0x1234; 320], &mut datagram);
        let packet = RtpPacket::parse(&datagram[..bytes]).unwrap();
        assert_eq!((packet.payload_type(), packet.timestamp(), bytes), (118, 320, 652));
        assert_eq!(packet.payload()[..2], [0x12, 0x34]);
    }

    #[test]
    fn g722_counts_at_8_khz_and_carries_16() {
        let mut sender = RtpSender::new(Codec::G722, 7, 0, 0).unwrap();
        let mut datagram = [0; MAX_DATAGRAM_BYTES];
        sender.packet(&[500; 320], &mut datagram);
        let bytes = sender.packet(&[500; 320], &mut datagram);
        let packet = RtpPacket::parse(&datagram[..bytes]).unwrap();
        assert_eq!((packet.payload_type(), packet.timestamp(), packet.payload().len()), (9, 160, 160));
    }

    #[test]
    fn a_frame_that_finds_no_room_is_counted_and_its_time_passes() {
        let mut sender = RtpSender::new(Codec::G711(Law::Mu), 7, 5, 0).unwrap();
        assert_eq!(sender.packet(&[0; 160], &mut [0; 100]), 0);
        let mut datagram = [0; 172];
        assert_eq!(sender.packet(&[0; 160], &mut datagram), 172);
        let packet = RtpPacket::parse(&datagram).unwrap();
        assert_eq!((packet.sequence(), packet.timestamp()), (5, 160));
        assert_eq!(sender.stats().failed_frames, 1);
    }
}
