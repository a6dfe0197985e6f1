//! Datagrams of one RTP leg to frames for the call: order, loss, and the caller's time.

use super::assembler::{FrameAssembler, ReceivedFrame};
use super::delay::{InterarrivalJitter, TargetDelay};
use super::held::{HeldPackets, Stamp};
use super::payload;
use super::sequence::{Arrival, SequenceCounts, SequenceTracker};
use super::stall::StallClock;
use super::stats::ReceiveStats;
use super::timeline::{Due, Timeline, microseconds};
use crate::audio::{ByteOrder, Codec, CodecError, Decoder};
use crate::wire::rtcp::is_rtcp;
use crate::wire::rtp::{RtpError, RtpPacket, extend_timestamp};
use std::time::{Duration, Instant};

/// The most audio that one packet may carry. Asterisk sends up to 60 ms.
pub const MAX_PACKET_TIME: Duration = Duration::from_millis(120);
/// Gaps that were given up, of which it is remembered when they were seen.
const GIVEN_UP: usize = 4;

/// The stream that we receive on one RTP leg. Takes its memory when it is made, 6 KiB at 8 kHz; more only for
/// packets of over 20 ms, when the first one comes.
#[derive(Debug)]
pub struct RtpReceiver {
    decoders: Decoders,
    sequence: SequenceTracker,
    /// Ordinal and timestamp of the newest packet.
    newest: i64,
    newest_timestamp: i64,
    /// Ordinal of the packet whose turn it is.
    turn: i64,
    /// Ordinal of the first packet of the present stream: what lacks before it will not come.
    stream_begin: i64,
    held: HeldPackets,
    /// Packets before `turn` that are lost and not made up for yet.
    missing: i64,
    /// What is still due before the first of the packets held, once its turn has come; and whether it is continuous.
    due: Option<(Due, bool)>,
    given_up: [GivenUp; GIVEN_UP],
    delay: TargetDelay,
    jitter: InterarrivalJitter,
    timeline: Timeline,
    stall: StallClock,
    assembler: FrameAssembler,
    counts: ReceiveStats,
}

/// Packets from one ordinal up to another were not waited for any longer.
#[derive(Clone, Copy, Debug, Default)]
struct GivenUp {
    from: i64,
    to: i64,
    seen: Option<Instant>,
}

/// Why a datagram was not taken. All of these are counted in [`ReceiveStats`]; none ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// RTCP on the port of RTP (RFC 5761). No fault, and no loss.
    #[error("an RTCP packet on the port of RTP")]
    Rtcp,
    /// Not RTP.
    #[error(transparent)]
    Malformed(#[from] RtpError),
    /// RTP, but no codec that can be decoded on this leg.
    #[error(
        "packet {sequence} of SSRC {ssrc:#010x} has payload type {payload_type}, which is no codec of {} Hz: create the \
         external-media channel with format={}",
        .codec.rate().hz(),
        .codec.asterisk_format()
    )]
    PayloadType {
        /// 0 to 127.
        payload_type: u8,
        /// What was agreed.
        codec: Codec,
        /// Sequence number of the packet.
        sequence: u16,
        /// Stream of the packet.
        ssrc: u32,
    },
    /// The payload cannot be decoded: it is damaged, or longer than [`MAX_PACKET_TIME`].
    #[error("packet {sequence} of SSRC {ssrc:#010x}: {error}")]
    Payload {
        /// What is wrong with it.
        error: CodecError,
        /// Sequence number of the packet.
        sequence: u16,
        /// Stream of the packet.
        ssrc: u32,
    },
}

impl RtpReceiver {
    /// A stream that has not begun. `codec` is what was agreed; packets of another codec of its rate are decoded too, and
    /// counted.
    ///
    /// # Errors
    /// The decoder cannot be made: [`Decoder::new`].
    pub fn new(codec: Codec) -> Result<Self, CodecError> {
        Ok(Self {
            decoders: Decoders { codec, own: Decoder::new(codec, ByteOrder::Big)?, other: None },
            sequence: SequenceTracker::default(),
            newest: -1,
            newest_timestamp: 0,
            turn: 0,
            stream_begin: 0,
            held: HeldPackets::new(codec),
            missing: 0,
            due: None,
            given_up: [GivenUp::default(); GIVEN_UP],
            delay: TargetDelay::new(),
            jitter: InterarrivalJitter::default(),
            timeline: Timeline::new(codec.rate()),
            stall: StallClock::new(codec.rate()),
            assembler: FrameAssembler::new(codec.rate(), MAX_PACKET_TIME),
            counts: ReceiveStats::default(),
        })
    }

    /// Takes in a datagram. `arrival` is when it came, best as the kernel saw it. Then take what is ready with
    /// [`Self::poll_frame`], until there is nothing more: a packet for which there is no room is dropped, and counted.
    ///
    /// # Errors
    /// See [`PacketError`]. A packet that is kept for later and then found to be damaged is only counted.
    pub fn packet(&mut self, datagram: &[u8], arrival: Instant) -> Result<(), PacketError> {
        if is_rtcp(datagram) {
            self.counts.rtcp += 1;
            return Err(PacketError::Rtcp);
        }
        let packet = RtpPacket::parse(datagram).inspect_err(|_| self.counts.malformed += 1)?;
        let (ssrc, sequence, payload_type) = (packet.ssrc(), packet.sequence(), packet.payload_type());
        let agreed = self.decoders.codec;
        let codec = payload::codec(payload_type).filter(|codec| codec.rate() == agreed.rate());
        let refused = codec.is_none() && payload_type != payload::COMFORT_NOISE;
        let refusal = PacketError::PayloadType { payload_type, codec: agreed, sequence, ssrc };
        if refused {
            self.counts.refused_payload_types += 1;
            if !self.sequence.follows(ssrc) {
                return Err(refusal);
            }
            // It has used up a sequence number, which must not be taken for loss.
        }

        let noted = self.sequence.note(ssrc, sequence, packet.timestamp(), arrival);
        if let Some(stamp) =
            self.stamp(noted, packet.timestamp(), arrival, codec.filter(|_| !packet.payload().is_empty()))
        {
            self.take(stamp, packet.payload()).map_err(|error| PacketError::Payload { error, sequence, ssrc })?;
        }
        if refused { Err(refusal) } else { Ok(()) }
    }

    /// `None` for a packet that is of no use.
    fn stamp(&mut self, noted: Arrival, timestamp: u32, arrival: Instant, codec: Option<Codec>) -> Option<Stamp> {
        let mut begins = false;
        let ordinal = match noted {
            Arrival::Duplicate | Arrival::Stray => return None,
            Arrival::First => {
                begins = true;
                self.jitter.restart();
                self.newest_timestamp = timestamp.into();
                self.stream_begin = self.newest + 1;
                self.stream_begin
            }
            Arrival::Next { missing } => self.newest + 1 + i64::from(missing),
            Arrival::Reordered { behind } => self.newest - i64::from(behind),
        };
        let timestamp = extend_timestamp(self.newest_timestamp, timestamp);
        if ordinal > self.newest {
            (self.newest, self.newest_timestamp) = (ordinal, timestamp);
        } else {
            self.note_reordered(ordinal, arrival);
        }
        let stamp = Stamp { ordinal, timestamp, arrival, codec, begins };
        if codec.is_some() {
            self.jitter.note(microseconds(&stamp), arrival);
        }
        if ordinal < self.turn.max(self.stream_begin) {
            self.counts.late += u64::from(codec.is_some());
            return None;
        }
        Some(stamp)
    }

    /// Learns how long it would have been worth waiting for this packet.
    fn note_reordered(&mut self, ordinal: i64, arrival: Instant) {
        let seen = if ordinal >= self.turn {
            self.held.earliest_arrival()
        } else {
            self.given_up.iter().find(|gap| (gap.from..gap.to).contains(&ordinal)).and_then(|gap| gap.seen)
        };
        if let Some(seen) = seen.filter(|_| ordinal >= self.stream_begin) {
            let lateness = arrival.saturating_duration_since(seen);
            self.delay.note_reordered(lateness);
            if ordinal >= self.turn {
                self.delay.note_held(lateness);
            }
        }
    }

    /// Decodes a packet whose turn it is right away; keeps any other.
    fn take(&mut self, stamp: Stamp, payload: &[u8]) -> Result<(), CodecError> {
        if stamp.ordinal == self.turn && self.held.is_empty() && self.assembler.wants_more() {
            let (due, continuous) = self.place(&stamp);
            if due.is_nothing() {
                return self.decode(&stamp, Some(payload), continuous);
            }
            self.due = Some((due, continuous));
        }
        let payload = if stamp.codec.is_some() { payload } else { &[] };
        if !self.held.insert(stamp, payload) {
            self.counts.discarded += 1;
        }
        Ok(())
    }

    /// What is due before a packet whose turn has come, and whether it is continuous. To be asked once a packet.
    fn place(&mut self, stamp: &Stamp) -> (Due, bool) {
        // What was lost before a packet without audio is made up for with the next one that has some.
        let Some(codec) = stamp.codec else { return (Due::default(), false) };
        let missing = std::mem::take(&mut self.missing);
        let placement = self.timeline.place(stamp, payload::clock(codec), missing, self.stall.given());
        self.counts.inserted_samples += placement.inserted as u64;
        if placement.jumped {
            self.counts.resets += 1;
            self.jitter.restart();
        }
        (placement.due, placement.continuous)
    }

    /// Gives a packet whose turn has come to the call: `payload`, or the first of those held.
    fn decode(&mut self, stamp: &Stamp, payload: Option<&[u8]>, continuous: bool) -> Result<(), CodecError> {
        self.turn = stamp.ordinal + 1;
        let Some(codec) = stamp.codec else { return Ok(()) };
        let payload = payload.or_else(|| self.held.first().map(|(_, payload)| payload)).unwrap_or_default();
        self.counts.other_codec += u64::from(codec != self.decoders.codec);
        let decoded = self.decoders.get(codec).and_then(|decoder| self.assembler.decode(decoder, payload));
        let samples = decoded.as_ref().map_or(0, |samples| *samples as i64);
        self.timeline.advance(stamp, payload::clock(codec), samples);
        if let Err(error) = decoded {
            // As good as lost, from its beginning on.
            self.counts.malformed += 1;
            self.missing = 1;
            self.stall.forget_given();
            return Err(error);
        }
        self.stall.note_audio(stamp.arrival, self.decoders.codec.rate().time_of(samples), continuous);
        Ok(())
    }

    /// The next frame, if there is one: 20 ms at the rate of the codec, written to the beginning of `out`. To be called
    /// until `None` after each packet, and when [`Self::poll_timeout`] says (or at least every 20 ms), so that time goes on
    /// while nothing comes. The caller's time begins with the first call.
    ///
    /// # Panics
    /// If `out` is shorter than a frame.
    pub fn poll_frame(&mut self, out: &mut [i16], now: Instant) -> Option<ReceivedFrame> {
        self.stall.start(now);
        loop {
            if let Some(frame) = self.assembler.take(out) {
                self.counts.note_frame(frame);
                return Some(frame);
            }
            let ready =
                if self.held.is_empty() { self.stall.fill(&mut self.assembler, now) } else { self.release(now) };
            if !ready {
                return None;
            }
        }
    }

    /// Goes one step on with the first of the packets held. `false` if it has to wait.
    fn release(&mut self, now: Instant) -> bool {
        let Some((stamp, _)) = self.held.first() else { return false };
        if stamp.ordinal > self.turn && !self.give_up(&stamp, now) {
            return false;
        }
        let (mut due, continuous) = match self.due {
            Some(due) => due,
            None => self.place(&stamp),
        };
        if due.is_nothing() {
            // An error is counted, and that packet is treated as lost.
            let _ = self.decode(&stamp, None, continuous);
            self.held.drop_first();
            self.due = None;
        } else {
            due.fill(&mut self.assembler);
            self.due = Some((due, continuous));
        }
        true
    }

    /// Whether what lacks before `first`, the first of the packets held, is not to be waited for any longer.
    fn give_up(&mut self, first: &Stamp, now: Instant) -> bool {
        let seen = self.held.earliest_arrival().unwrap_or(first.arrival);
        let hopeless = first.ordinal <= self.stream_begin || self.held.is_full();
        let packet_time = self.timeline.packet_time();
        if !hopeless {
            if now < seen + self.delay.get(self.jitter.time(), packet_time) {
                return false;
            }
            self.delay.note_lost(packet_time);
        }
        self.delay.note_held(now.saturating_duration_since(seen));
        self.given_up.rotate_right(1);
        self.given_up[0] = GivenUp { from: self.turn, to: first.ordinal, seen: Some(seen) };
        self.missing += first.ordinal - self.turn;
        self.counts.loss_runs += 1;
        self.turn = first.ordinal;
        true
    }

    /// When [`Self::poll_frame`] will have something to give even if nothing comes: a gap is given up, or a stall begins
    /// or goes on. `None` before the caller's time has begun.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.held.earliest_arrival() {
            Some(seen) => Some(seen + self.delay.get(self.jitter.time(), self.timeline.packet_time())),
            None => self.stall.due(),
        }
    }

    /// What was received so far.
    pub fn stats(&self) -> ReceiveStats {
        let SequenceCounts { received, lost, duplicated, reordered, stray, restarts } = self.sequence.counts();
        let jitter = self.jitter.time();
        ReceiveStats {
            received,
            lost,
            duplicated,
            reordered,
            stray,
            resets: restarts + self.counts.resets,
            jitter,
            target_delay: self.delay.get(jitter, self.timeline.packet_time()),
            longest_delay: self.delay.longest(),
            ..self.counts
        }
    }

    /// Bytes of memory, the decoder's own heap not counted.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.held.heap_bytes() + self.assembler.heap_bytes()
    }
}

/// The decoder of the stream, and one for packets of another codec that has the same rate.
#[derive(Debug)]
struct Decoders {
    codec: Codec,
    own: Decoder,
    /// Made when the first such packet comes.
    other: Option<Box<(Codec, Decoder)>>,
}

impl Decoders {
    fn get(&mut self, codec: Codec) -> Result<&mut Decoder, CodecError> {
        if codec == self.codec {
            return Ok(&mut self.own);
        }
        if self.other.as_ref().is_none_or(|other| other.0 != codec) {
            self.other = None;
        }
        let other = match self.other.take() {
            Some(other) => other,
            None => Box::new((codec, Decoder::new(codec, ByteOrder::Big)?)),
        };
        Ok(&mut self.other.insert(other).1)
    }
}
