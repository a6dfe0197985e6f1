//! What the caller says: frames and key presses, queued without a clock and sent by a thread of its own that keeps an
//! absolute one.

use super::codec::{CallerCodec, RTP_CLOCK};
use super::sdp::RemoteMedia;
use crate::audio::{ByteOrder, CodecError, Encoder, FRAME_TIME, SampleRate};
use crate::bench::random_u64;
use rtp_rs::RtpPacketBuilder;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a frame lasts on the RTP clock. Each of the codecs takes one byte for each of its ticks.
const FRAME_TICKS: usize = RTP_CLOCK.frame_samples();

/// What a queue holds at most: five minutes. More is refused as a whole.
const LONGEST_QUEUE: usize = 5 * 60 * 50;

/// A key is held for 100 ms and followed by a pause of 60 ms, as a person in a hurry does.
const KEY_FRAMES: u16 = 5;
const PAUSE_AFTER_KEY: usize = 3;
/// The last packet of a key is sent three times, because nobody repeats it when it is lost (RFC 4733 section 2.5.1.4).
const LAST_PACKET_COPIES: usize = 3;
/// −10 dBm0 (RFC 4733 section 2.3.3).
const KEY_VOLUME: u8 = 10;

/// A key of a telephone, as the event code of RFC 4733 table 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u8);

impl Key {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub(super) fn new(digit: char) -> Option<Self> {
        let code = "0123456789*#ABCD".find(digit.to_ascii_uppercase())?;
        u8::try_from(code).ok().map(Self)
    }
}

/// One frame time on the wire.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A frame of PCM at the rate of the call.
    Voice(Vec<i16>),
    /// The `step`-th frame, from 1, of a key that is held.
    Key { key: Key, step: u16 },
}

/// The queue between those who speak and the thread that sends. Frame `n` leaves at `clock_start + n × 20 ms`.
#[derive(Debug)]
pub(super) struct SpeechQueue {
    clock_start: Instant,
    rate: SampleRate,
    next_frame: u64,
    waiting: VecDeque<Outgoing>,
}

/// The queue holds five minutes already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueFull;

/// When something that was queued is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// When the packet with its first sample leaves.
    pub first_packet_at: Instant,
    /// When the packet with its last sample leaves.
    pub last_packet_at: Instant,
    /// Number of the last frame on the sender's clock.
    pub(super) last_frame: u64,
    rate: SampleRate,
}

impl Said {
    /// When the packet with the sample `index` (at the rate of the call, from the first sample that was said) leaves.
    pub fn sent_at(&self, index: usize) -> Instant {
        self.first_packet_at + frames(u32::try_from(index / self.rate.frame_samples()).unwrap_or(u32::MAX))
    }
}

fn frames(count: u32) -> Duration {
    FRAME_TIME * count
}

impl SpeechQueue {
    pub(super) fn new(clock_start: Instant, rate: SampleRate) -> Self {
        Self { clock_start, rate, next_frame: 0, waiting: VecDeque::new() }
    }

    /// Queues speech, filled up to a whole frame with silence. It leaves when everything queued before has left.
    pub(super) fn say(&mut self, pcm: &[i16]) -> Result<Said, QueueFull> {
        let length = self.rate.frame_samples();
        let chunks = pcm.chunks(length).map(|chunk| {
            let mut frame = chunk.to_vec();
            frame.resize(length, 0);
            Outgoing::Voice(frame)
        });
        self.push(chunks.collect())
    }

    /// Queues a key press and the pause after it.
    pub(super) fn press(&mut self, key: Key) -> Result<Said, QueueFull> {
        let held = self.push((1..=KEY_FRAMES).map(|step| Outgoing::Key { key, step }).collect())?;
        let silence = || Outgoing::Voice(vec![0; self.rate.frame_samples()]);
        self.push(std::iter::repeat_with(silence).take(PAUSE_AFTER_KEY).collect())?;
        Ok(held)
    }

    fn push(&mut self, frames: Vec<Outgoing>) -> Result<Said, QueueFull> {
        if self.waiting.len() + frames.len() > LONGEST_QUEUE {
            return Err(QueueFull);
        }
        let first = self.next_frame + self.waiting.len() as u64;
        // Nothing to say is said at once.
        let last_frame = first + (frames.len() as u64).saturating_sub(1);
        self.waiting.extend(frames);
        let (first_packet_at, last_packet_at) = (self.leaves_at(first), self.leaves_at(last_frame));
        Ok(Said { first_packet_at, last_packet_at, last_frame, rate: self.rate })
    }

    /// Takes back what has not left yet.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether frame `frame` has left.
    pub(super) fn has_left(&self, frame: u64) -> bool {
        self.next_frame > frame
    }

    fn leaves_at(&self, frame: u64) -> Instant {
        self.clock_start + frames(u32::try_from(frame).unwrap_or(u32::MAX))
    }

    /// When [`Self::take`] is to be called next.
    pub(super) fn next_leaves_at(&self) -> Instant {
        self.leaves_at(self.next_frame)
    }

    /// The frame that leaves now; `None` is silence.
    pub(super) fn take(&mut self) -> Option<Outgoing> {
        self.next_frame += 1;
        self.waiting.pop_front()
    }
}

/// How punctual the sending was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeechTiming {
    /// Frames that left.
    pub frames: u64,
    /// How late the latest of them was.
    pub worst_lateness: Duration,
}

/// Turns frames into packets. One for the whole call: sequence and timestamps go on.
pub(super) struct Packetizer {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    key_timestamp: u32,
    /// Nothing was sent in the last frame time.
    paused: bool,
    /// The codec last spoken, and its state; a re-INVITE may change it.
    encoder: Option<(CallerCodec, Encoder)>,
    datagram: [u8; 12 + FRAME_TICKS],
}

impl Packetizer {
    /// A sender that begins at random, as RFC 3550 section 5.1 asks for.
    pub(super) fn new() -> Self {
        let (ssrc, timestamp, sequence) = (random_u64() as u32, random_u64() as u32, random_u64() as u16);
        let datagram = [0; 12 + FRAME_TICKS];
        Self { ssrc, sequence, timestamp, key_timestamp: timestamp, paused: false, encoder: None, datagram }
    }

    /// Lets one frame time pass without a packet.
    pub(super) fn pause(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS as u32);
        self.paused = true;
    }

    /// Sends one frame time to `media`: what was queued, or silence. A key is silence to who takes no telephone events.
    pub(super) fn frame(&mut self, media: &RemoteMedia, outgoing: Option<Outgoing>, mut send: impl FnMut(&[u8])) {
        match (outgoing, media.telephone_event) {
            (Some(Outgoing::Key { key, step }), Some(payload_type)) => {
                if step == 1 {
                    self.key_timestamp = self.timestamp;
                }
                let duration = (step * FRAME_TICKS as u16).to_be_bytes();
                let last = step == KEY_FRAMES;
                let flags = if last { 0x80 } else { 0 } | KEY_VOLUME;
                let event = [key.0, flags, duration[0], duration[1]];
                let copies = if last { LAST_PACKET_COPIES } else { 1 };
                for _ in 0..copies {
                    let length = self.packet(payload_type, step == 1, self.key_timestamp, &event);
                    send(&self.datagram[..length]);
                }
            }
            (outgoing, _) => {
                let silence = vec![0; media.codec.rate().frame_samples()];
                let pcm = if let Some(Outgoing::Voice(pcm)) = &outgoing { pcm } else { &silence };
                let mut codes = [0; FRAME_TICKS];
                // An error would be a frame of another length than 20 ms, which the queue does not make.
                if self.encode(media.codec, pcm, &mut codes) == Ok(FRAME_TICKS) {
                    // The first packet of a talkspurt is marked (RFC 3551 section 4.1).
                    let marker = std::mem::take(&mut self.paused);
                    let length = self.packet(media.codec.payload_type(), marker, self.timestamp, &codes);
                    send(&self.datagram[..length]);
                }
            }
        }
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS as u32);
    }

    fn encode(&mut self, codec: CallerCodec, pcm: &[i16], codes: &mut [u8]) -> Result<usize, CodecError> {
        let encoder = match self.encoder.take() {
            Some(encoder) if encoder.0 == codec => encoder,
            _ => (codec, Encoder::new(codec.audio(), ByteOrder::Big)?),
        };
        self.encoder.insert(encoder).1.encode(pcm, codes)
    }

    fn packet(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) -> usize {
        let packet = RtpPacketBuilder::new()
            .payload_type(payload_type)
            .marked(marker)
            .ssrc(self.ssrc)
            .sequence(self.sequence.into())
            .timestamp(timestamp)
            .payload(payload);
        self.sequence = self.sequence.wrapping_add(1);
        // It fails for payload types over 127 only, which no description has; then nothing is sent.
        packet.build_into(&mut self.datagram).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Dbfs;
    use super::*;
    use crate::audio::Decoder;
    use crate::audio::g711::Law;
    use rtp_rs::RtpReader;

    const RATE: SampleRate = SampleRate::HZ_8000;
    const FRAME: usize = RATE.frame_samples();

    fn media(telephone_event: Option<u8>) -> RemoteMedia {
        RemoteMedia { address: ([127, 0, 0, 1], 4000).into(), codec: CallerCodec::ULAW, telephone_event }
    }

    #[test]
    fn speech_leaves_after_what_was_queued_before_it() {
        let start = Instant::now();
        let mut queue = SpeechQueue::new(start, RATE);
        for _ in 0..7 {
            assert!(queue.take().is_none());
        }
        let first = queue.say(&[1; 400]).unwrap();
        assert_eq!(first.first_packet_at, start + Duration::from_millis(7 * 20));
        assert_eq!(first.last_packet_at, start + Duration::from_millis(9 * 20));
        assert_eq!(first.sent_at(159), first.first_packet_at);
        assert_eq!(first.sent_at(160), start + Duration::from_millis(8 * 20));
        let second = queue.say(&[2; 1]).unwrap();
        assert_eq!(second.first_packet_at, start + Duration::from_millis(10 * 20));
        assert!(!queue.has_left(first.last_frame));
        let third = (0..3).map(|_| queue.take()).last().unwrap();
        let Some(Outgoing::Voice(pcm)) = third else { panic!("no speech") };
        assert_eq!((pcm[79], pcm[80]), (1, 0), "the last frame is filled up with silence");
        assert!(queue.has_left(first.last_frame) && !queue.has_left(second.last_frame));
        queue.clear();
        assert!(queue.take().is_none());
    }

    #[test]
    fn more_than_five_minutes_are_refused_as_a_whole() {
        let mut queue = SpeechQueue::new(Instant::now(), RATE);
        queue.say(&vec![1; LONGEST_QUEUE * FRAME]).unwrap();
        assert_eq!(queue.say(&[1]), Err(QueueFull));
    }

    #[test]
    fn the_stream_goes_on_through_speech_silence_and_keys() {
        let mut queue = SpeechQueue::new(Instant::now(), RATE);
        queue.say(&[8_000; FRAME]).unwrap();
        queue.press(Key::new('#').unwrap()).unwrap();
        let mut packetizer = Packetizer::new();
        packetizer.sequence = u16::MAX;
        let mut packets = Vec::new();
        for _ in 0..12 {
            let outgoing = queue.take();
            packetizer.frame(&media(Some(101)), outgoing, |datagram| packets.push(datagram.to_vec()));
        }
        let packets: Vec<_> = packets.iter().map(|datagram| RtpReader::new(datagram).unwrap()).collect();
        let kinds: Vec<u8> = packets.iter().map(RtpReader::payload_type).collect();
        assert_eq!(kinds, [0, 101, 101, 101, 101, 101, 101, 101, 0, 0, 0, 0, 0, 0]);
        for (a, b) in packets.iter().zip(&packets[1..]) {
            assert_eq!(u16::from(b.sequence_number()), u16::from(a.sequence_number()).wrapping_add(1));
            assert_eq!(a.ssrc(), b.ssrc());
        }
        let start = packets[0].timestamp();
        let since: Vec<u32> = packets.iter().map(|packet| packet.timestamp().wrapping_sub(start)).collect();
        assert_eq!(since, [0, 160, 160, 160, 160, 160, 160, 160, 960, 1120, 1280, 1440, 1600, 1760]);
        let marked: Vec<bool> = packets[1..8].iter().map(RtpReader::mark).collect();
        assert_eq!(marked, [true, false, false, false, false, false, false]);
        assert_eq!(packets[1].payload(), [11, 10, 0, 160]);
        for last in &packets[5..8] {
            assert_eq!(last.payload(), [11, 0x80 | 10, 800_u16.to_be_bytes()[0], 800_u16.to_be_bytes()[1]]);
        }
        assert_eq!(packets[13].payload(), [Law::Mu.silence(); FRAME]);
    }

    #[test]
    fn wideband_speech_is_one_packet_a_frame_with_the_clock_of_narrowband() {
        let media = RemoteMedia { codec: CallerCodec::G722, ..media(None) };
        let mut queue = SpeechQueue::new(Instant::now(), SampleRate::HZ_16000);
        // 5 kHz, which no narrowband codec carries.
        let tone = |n: usize| (10_000.0 * (n as f64 * 5_000.0 * std::f64::consts::TAU / 16_000.0).sin()) as i16;
        let said = queue.say(&(0..1_600).map(tone).collect::<Vec<i16>>()).unwrap();
        assert_eq!(said.last_packet_at - said.first_packet_at, Duration::from_millis(80));
        assert_eq!(said.sent_at(320), said.first_packet_at + FRAME_TIME);
        let mut packetizer = Packetizer::new();
        let mut packets = Vec::new();
        for _ in 0..5 {
            packetizer.frame(&media, queue.take(), |datagram| packets.push(datagram.to_vec()));
        }
        let mut decoder = Decoder::new(crate::audio::Codec::G722, ByteOrder::Big).unwrap();
        let mut heard = Vec::new();
        for (packet, next) in packets.iter().zip(&packets[1..]) {
            let (packet, next) = (RtpReader::new(packet).unwrap(), RtpReader::new(next).unwrap());
            assert_eq!((packet.payload_type(), packet.payload().len()), (9, 160));
            assert_eq!(next.timestamp().wrapping_sub(packet.timestamp()), 160);
            let mut pcm = [0; 320];
            assert_eq!(decoder.decode(packet.payload(), &mut pcm), Ok(320));
            heard.extend(pcm);
        }
        let Dbfs(level) = Dbfs::of(&heard[640..]);
        assert!((level + 13.3).abs() < 1.5, "{level} dBFS");
    }

    #[test]
    fn after_suppressed_silence_the_time_has_gone_on_and_the_first_packet_is_marked() {
        let mut packetizer = Packetizer::new();
        let mut packets = Vec::new();
        for pause in [false, true, true, false, false] {
            if pause {
                packetizer.pause();
            } else {
                packetizer.frame(&media(None), None, |datagram| packets.push(datagram.to_vec()));
            }
        }
        let packets: Vec<_> = packets.iter().map(|datagram| RtpReader::new(datagram).unwrap()).collect();
        let since = |packet: &RtpReader<'_>| packet.timestamp().wrapping_sub(packets[0].timestamp());
        assert_eq!(packets.iter().map(since).collect::<Vec<_>>(), [0, 480, 640]);
        assert_eq!(packets.iter().map(RtpReader::mark).collect::<Vec<_>>(), [false, true, false]);
        let next = u16::from(packets[0].sequence_number()).wrapping_add(1);
        assert_eq!(u16::from(packets[1].sequence_number()), next);
    }

    #[test]
    fn keys_are_those_of_a_telephone() {
        let codes: Vec<_> = "0*#aD".chars().map(|digit| Key::new(digit).map(|key| key.0)).collect();
        assert_eq!(codes, [Some(0), Some(10), Some(11), Some(12), Some(15)]);
        assert_eq!(Key::new('x'), None);
    }
}
