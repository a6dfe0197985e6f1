//! What the caller hears: every packet with its arrival, and the audio on one continuous timeline.
//!
//! The timeline is that of a telephone: a packet has its place by its RTP timestamp as long as that agrees with the
//! clock, so that jitter does not tear the audio, and begins anew where the sender made a jump. What did not arrive is
//! silence.

use super::codec::{CallerCodec, RTP_CLOCK};
use crate::audio::{ByteOrder, Decoder, FRAME_TIME, MAX_PAYLOAD_SAMPLES, SampleRate};
use rtp_rs::RtpReader;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Timestamps and the clock may disagree by so much before the sender is taken to have made a jump.
const JUMP: Duration = Duration::from_millis(100);

/// After so much audio no more is kept; packets go on being counted.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Pauses up to this length are part of the speech around them.
const PAUSE_IN_SPEECH: Duration = Duration::from_millis(250);

/// So many packets in a row above the threshold are a voice; fewer are a click.
const VOICE_PACKETS: usize = 3;

/// Loudness of a packet relative to full scale.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Dbfs(pub f32);

impl Dbfs {
    /// What a packet must have to count as voice: well above the noise of a G.711 line, well below quiet speech.
    pub const VOICE: Self = Self(-45.0);
    /// The level of digital silence, where a logarithm has no value.
    pub const SILENCE: Self = Self(-100.0);

    /// Root mean square of `pcm`; a full-scale square wave is 0 dBFS, a sine −3.
    pub fn of(pcm: &[i16]) -> Self {
        if pcm.is_empty() {
            return Self::SILENCE;
        }
        let energy: f64 = pcm.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / pcm.len() as f64;
        let level = 10.0 * (energy / f64::from(i16::MAX).powi(2)).log10();
        Self((level as f32).max(Self::SILENCE.0))
    }
}

/// One packet of audio as it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeardPacket {
    /// When it was read from the socket.
    pub arrived: Instant,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP source.
    pub ssrc: u32,
    /// How it was encoded.
    pub codec: CallerCodec,
    /// RTP marker bit.
    pub marker: bool,
    /// First sample on the timeline, counted from the beginning of the recording.
    pub start: usize,
    /// Length in samples.
    pub samples: usize,
    /// Loudness.
    pub level: Dbfs,
}

/// A stretch of voice, pauses of up to 250 ms included.
#[derive(Clone, Debug, PartialEq)]
pub struct VoiceSegment {
    /// When its first voiced packet arrived.
    pub started: Instant,
    /// When its last voiced packet arrived.
    pub ended: Instant,
    /// Where it is on the timeline, counted from the beginning of the recording.
    pub samples: Range<usize>,
}

/// What came that is not in the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingLosses {
    /// Packets that came twice.
    pub duplicates: u64,
    /// Datagrams that are no RTP, or of a payload type that was not agreed.
    pub unreadable: u64,
    /// Packets after an hour.
    pub overrun: u64,
}

/// The line of packets that the sender is in.
#[derive(Clone, Copy, Debug)]
struct Run {
    ssrc: u32,
    /// Of the packet at `position`.
    timestamp: u32,
    position: i64,
    highest_sequence: u16,
    /// Which of the 64 sequence numbers up to the highest have come; bit 0 is the highest.
    seen: u64,
}

/// Everything heard in one call, from the moment of dialling.
#[derive(Clone, Debug)]
pub struct Recording {
    origin: Instant,
    rate: SampleRate,
    samples: Vec<i16>,
    packets: Vec<HeardPacket>,
    losses: RecordingLosses,
}

/// Makes the recording.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) recording: Recording,
    /// The codec that was agreed last.
    codec: Option<(CallerCodec, Decoder)>,
    run: Option<Run>,
}

impl Recorder {
    /// An empty recording whose timeline begins at `origin` and has samples at `rate`.
    pub(super) fn new(origin: Instant, rate: SampleRate) -> Self {
        let losses = RecordingLosses::default();
        let recording = Recording { origin, rate, samples: Vec::new(), packets: Vec::new(), losses };
        Self { recording, codec: None, run: None }
    }

    /// Sets the codec that was agreed, which has the rate of the recording; before that, audio is not understood.
    pub(super) fn set_codec(&mut self, codec: CallerCodec) {
        if self.codec.as_ref().is_none_or(|(agreed, _)| *agreed != codec) {
            // No decoder of a telephone's codec fails to be made; without one, audio is not understood and counted.
            self.codec = Decoder::new(codec.audio(), ByteOrder::Big).ok().map(|decoder| (codec, decoder));
        }
    }

    /// Takes a datagram that arrived at `now`.
    pub(super) fn packet(&mut self, datagram: &[u8], now: Instant) {
        let agreed = self.codec.as_mut().map(|(codec, decoder)| (*codec, decoder));
        let readable = RtpReader::new(datagram).ok().zip(agreed);
        let readable = readable.filter(|(packet, (codec, _))| packet.payload_type() == codec.payload_type());
        let mut pcm = [0; MAX_PAYLOAD_SAMPLES];
        let decoded = readable.and_then(|(packet, (codec, decoder))| {
            let samples = decoder.decode(packet.payload(), &mut pcm).ok()?;
            Some((packet, codec, samples))
        });
        let Some((packet, codec, samples)) = decoded else {
            self.recording.losses.unreadable += 1;
            return;
        };
        let sequence = u16::from(packet.sequence_number());
        let (timestamp, ssrc) = (packet.timestamp(), packet.ssrc());
        let Some(start) = self.place(ssrc, sequence, timestamp, now) else {
            self.recording.losses.duplicates += 1;
            return;
        };
        let Recording { rate, samples: timeline, packets, losses, .. } = &mut self.recording;
        let end = start + samples;
        if end as i64 > rate.samples_in(LONGEST) {
            losses.overrun += 1;
            return;
        }
        if timeline.len() < end {
            timeline.resize(end, 0);
        }
        let pcm = &pcm[..samples];
        timeline[start..end].copy_from_slice(pcm);
        let level = Dbfs::of(pcm);
        let marker = packet.mark();
        packets.push(HeardPacket { arrived: now, sequence, timestamp, ssrc, codec, marker, start, samples, level });
    }

    /// Where a packet belongs on the timeline; `None` if it came before.
    fn place(&mut self, ssrc: u32, sequence: u16, timestamp: u32, now: Instant) -> Option<usize> {
        let Recording { origin, rate, samples, .. } = &self.recording;
        let by_clock = rate.samples_in(now.saturating_duration_since(*origin));
        if let Some(run) = self.run.as_mut().filter(|run| run.ssrc == ssrc) {
            // Both wrap; the shorter way round is the way it went.
            let ahead = sequence.wrapping_sub(run.highest_sequence).cast_signed();
            if ahead > 0 {
                run.seen = run.seen.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0) | 1;
                run.highest_sequence = sequence;
            } else {
                let bit = 1_u64.checked_shl(u32::from(ahead.unsigned_abs())).unwrap_or(0);
                if bit == 0 || run.seen & bit != 0 {
                    return None;
                }
                run.seen |= bit;
            }
            let since = i64::from(timestamp.wrapping_sub(run.timestamp).cast_signed());
            let by_timestamp = run.position + since * i64::from(rate.hz() / RTP_CLOCK.hz());
            if (by_timestamp - by_clock).abs() <= rate.samples_in(JUMP) && by_timestamp >= 0 {
                (run.timestamp, run.position) = (timestamp, by_timestamp);
                return usize::try_from(by_timestamp).ok();
            }
        }
        // A new run never overwrites what is there: a telephone would play a burst one after the other.
        let position = by_clock.max(samples.len() as i64);
        let seen = if let Some(run) = self.run.filter(|run| run.ssrc == ssrc) { run.seen } else { 1 };
        let highest_sequence = match self.run {
            Some(run) if run.ssrc == ssrc => run.highest_sequence,
            _ => sequence,
        };
        self.run = Some(Run { ssrc, timestamp, position, highest_sequence, seen });
        usize::try_from(position).ok()
    }
}

impl Recording {
    /// The moment of the first sample of the timeline: when the call was dialled.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// The place on the timeline that belongs to `moment`; 0 for anything before it begins.
    pub fn position(&self, moment: Instant) -> usize {
        usize::try_from(self.rate.samples_in(moment.saturating_duration_since(self.origin))).unwrap_or(usize::MAX)
    }

    /// Rate of the audio.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// The audio, at [`Self::rate`].
    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    /// The audio from `moment` on.
    pub fn samples_since(&self, moment: Instant) -> &[i16] {
        self.samples.get(self.position(moment)..).unwrap_or_default()
    }

    /// Every packet, in order of arrival.
    pub fn packets(&self) -> &[HeardPacket] {
        &self.packets
    }

    /// What is missing.
    pub fn losses(&self) -> RecordingLosses {
        self.losses
    }

    /// When the last packet with a level of at least `threshold` arrived.
    pub fn last_voice(&self, threshold: Dbfs) -> Option<Instant> {
        self.packets.iter().rev().find(|packet| packet.level >= threshold).map(|packet| packet.arrived)
    }

    /// When the first packet of a voice arrived, looking at packets that came at `since` or later.
    pub fn first_voice(&self, threshold: Dbfs, since: Instant) -> Option<Instant> {
        let from = self.packets.partition_point(|packet| packet.arrived < since);
        let mut windows = self.packets[from..].windows(VOICE_PACKETS);
        let voice = windows.find(|window| window.iter().all(|packet| packet.level >= threshold));
        voice.map(|window| window[0].arrived)
    }

    /// The stretches of voice, in order. Clicks of less than three packets are left out.
    pub fn voice_segments(&self, threshold: Dbfs) -> Vec<VoiceSegment> {
        let mut segments: Vec<(VoiceSegment, usize)> = Vec::new();
        for packet in self.packets.iter().filter(|packet| packet.level >= threshold) {
            let samples = packet.start..packet.start + packet.samples;
            match segments.last_mut() {
                Some((last, packets)) if packet.arrived < last.ended + FRAME_TIME + PAUSE_IN_SPEECH => {
                    last.ended = packet.arrived;
                    last.samples.end = last.samples.end.max(samples.end);
                    *packets += 1;
                }
                _ => segments.push((VoiceSegment { started: packet.arrived, ended: packet.arrived, samples }, 1)),
            }
        }
        segments.retain(|(_, packets)| *packets >= VOICE_PACKETS);
        segments.into_iter().map(|(segment, _)| segment).collect()
    }
}

/// Where the voice begins in 8 kHz audio that is to be spoken: the first sample of the first 20 ms frame of at least
/// `threshold`. A prompt rarely begins with its first sample.
pub fn voice_onset(pcm: &[i16], threshold: Dbfs) -> Option<usize> {
    let frame = SampleRate::HZ_8000.frame_samples();
    pcm.chunks(frame).position(|chunk| Dbfs::of(chunk) >= threshold).map(|index| index * frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TONE: u8 = 0x9F;

    struct Line {
        origin: Instant,
        recorder: Recorder,
    }

    impl Line {
        fn new() -> Self {
            let origin = Instant::now();
            let mut recorder = Recorder::new(origin, SampleRate::HZ_8000);
            recorder.set_codec(CallerCodec::ULAW);
            Self { origin, recorder }
        }

        fn at(&self, ms: u64) -> Instant {
            self.origin + Duration::from_millis(ms)
        }

        fn packet(&mut self, ms: u64, sequence: u16, timestamp: u32, code: u8) {
            let payload = [code; 160];
            let builder = rtp_rs::RtpPacketBuilder::new().payload_type(0).ssrc(9).sequence(sequence.into());
            let datagram = builder.timestamp(timestamp).payload(&payload).build().unwrap();
            self.recorder.packet(&datagram, self.at(ms));
        }

        fn starts(&self) -> Vec<usize> {
            self.recorder.recording.packets().iter().map(|packet| packet.start).collect()
        }
    }

    #[test]
    fn jitter_does_not_tear_the_audio_and_a_lost_packet_is_silence() {
        let mut line = Line::new();
        line.packet(100, 65_535, u32::MAX - 159, TONE);
        line.packet(131, 0, 0, TONE);
        line.packet(139, 1, 160, TONE);
        // Sequence number 2 is lost.
        line.packet(180, 3, 480, TONE);
        assert_eq!(line.starts(), [800, 960, 1120, 1440]);
        assert!(line.recorder.recording.samples()[..800].iter().all(|&sample| sample == 0));
        assert!(line.recorder.recording.samples()[1280..1440].iter().all(|&sample| sample == 0));
        assert!(line.recorder.recording.samples()[1440..].iter().all(|&sample| sample != 0));
    }

    #[test]
    fn a_late_packet_takes_its_place_and_a_second_copy_is_counted() {
        let mut line = Line::new();
        line.packet(100, 1, 160, TONE);
        line.packet(140, 3, 480, TONE);
        line.packet(141, 2, 320, TONE);
        line.packet(142, 2, 320, TONE);
        line.packet(160, 4, 640, TONE);
        assert_eq!(line.starts(), [800, 1120, 960, 1280]);
        assert_eq!(line.recorder.recording.losses().duplicates, 1);
    }

    #[test]
    fn a_jump_of_the_timestamp_follows_the_clock() {
        let mut line = Line::new();
        line.packet(100, 1, 160, TONE);
        line.packet(1_100, 2, 90_000, TONE);
        line.packet(1_120, 3, 90_160, TONE);
        assert_eq!(line.starts(), [800, 8_800, 8_960]);
    }

    #[test]
    fn a_burst_is_played_one_after_the_other() {
        let mut line = Line::new();
        for packet in 0..20 {
            line.packet(100, packet, u32::from(packet) * 160, TONE);
        }
        let starts: Vec<usize> = (0..20).map(|packet| 800 + packet * 160).collect();
        assert_eq!(line.starts(), starts);
    }

    #[test]
    fn voice_begins_with_its_first_packet_and_a_click_is_none() {
        let mut line = Line::new();
        let voiced = |frame| frame == 0 || (25..35).contains(&frame) || (39..45).contains(&frame) || frame >= 75;
        for frame in 0..90_u16 {
            let code = if voiced(frame) { TONE } else { 0xFF };
            line.packet(u64::from(frame) * 20, frame, u32::from(frame) * 160, code);
        }
        let recording = &line.recorder.recording;
        let segments = recording.voice_segments(Dbfs::VOICE);
        let times: Vec<_> = segments.iter().map(|segment| (segment.started, segment.ended)).collect();
        assert_eq!(times, [(line.at(500), line.at(880)), (line.at(1_500), line.at(1_780))]);
        assert_eq!(segments[0].samples, 4_000..7_200);
        assert_eq!(recording.first_voice(Dbfs::VOICE, line.at(0)), Some(line.at(500)));
        assert_eq!(recording.first_voice(Dbfs::VOICE, line.at(881)), Some(line.at(1_500)));
        assert_eq!(recording.last_voice(Dbfs::VOICE), Some(line.at(1_780)));
    }

    #[test]
    fn what_is_no_audio_of_the_call_is_counted() {
        let mut line = Line::new();
        line.recorder.packet(b"not rtp", line.origin);
        let other = rtp_rs::RtpPacketBuilder::new().payload_type(8).payload(&[0; 160]).build().unwrap();
        line.recorder.packet(&other, line.origin);
        assert_eq!(line.recorder.recording.losses().unreadable, 2);
        assert!(line.recorder.recording.samples().is_empty());
    }

    #[test]
    fn levels_are_relative_to_full_scale() {
        assert!((Dbfs::of(&[i16::MAX; 160]).0).abs() < 0.01);
        assert!((Dbfs::of(&[3_277; 160]).0 + 20.0).abs() < 0.01);
        assert_eq!(Dbfs::of(&[0; 160]), Dbfs::SILENCE);
        let speech = [vec![0; 500], vec![8_000; 500]].concat();
        assert_eq!(voice_onset(&speech, Dbfs::VOICE), Some(480));
    }
}
