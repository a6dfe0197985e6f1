//! The receiver with packets made by hand: payload types, order, numbers that wrap or begin anew, and what is no audio.
//! What a bad link does to a whole call is in `tests/scenarios/lossy_link.rs`.

use super::*;
use crate::audio::g711::Law;
use crate::audio::{ByteOrder, Codec, Encoder, SampleRate};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const ULAW: Codec = Codec::G711(Law::Mu);
const FRAME: usize = 160;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    Instant::now()
}

#[derive(Clone, Debug)]
struct Packet {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Vec<u8>,
}

impl Packet {
    fn datagram(&self) -> Vec<u8> {
        let mut datagram = vec![0x80, self.payload_type];
        datagram.extend(self.sequence.to_be_bytes());
        datagram.extend(self.timestamp.to_be_bytes());
        datagram.extend(self.ssrc.to_be_bytes());
        datagram.extend(&self.payload);
        datagram
    }

    fn with(self, change: impl FnOnce(&mut Self)) -> Self {
        let mut packet = self;
        change(&mut packet);
        packet
    }
}

/// Packet `n` of a µ-law talker: 20 ms, each at a level of its own. Both numbers wrap after a few packets.
fn packet(n: usize) -> Packet {
    let payload = vec![0x80 + (n % 100) as u8; FRAME];
    let (sequence, timestamp) = (65_530u16.wrapping_add(n as u16), (u32::MAX - 999).wrapping_add((n * FRAME) as u32));
    Packet { payload_type: 0, sequence, timestamp, ssrc: 7, payload }
}

fn level(n: usize) -> i16 {
    let mut pcm = [0];
    Law::Mu.decode(&[0x80 + (n % 100) as u8], &mut pcm);
    pcm[0]
}

/// A receiver and what was heard of it.
struct Line {
    receiver: RtpReceiver,
    base: Instant,
    heard: Vec<(ReceivedFrame, Vec<i16>)>,
}

impl Line {
    fn new(codec: Codec) -> Self {
        Self { receiver: RtpReceiver::new(codec).unwrap(), base: base(), heard: Vec::new() }
    }

    /// A packet arrives; everything that is ready is heard.
    fn packet(&mut self, packet: &Packet, millis: u64) -> Result<(), PacketError> {
        self.datagram(&packet.datagram(), millis)
    }

    fn datagram(&mut self, datagram: &[u8], millis: u64) -> Result<(), PacketError> {
        let taken = self.receiver.packet(datagram, self.base + ms(millis));
        self.poll(millis);
        taken
    }

    fn poll(&mut self, millis: u64) {
        let mut out = vec![0; 960];
        while let Some(kind) = self.receiver.poll_frame(&mut out, self.base + ms(millis)) {
            self.heard.push((kind, out.clone()));
        }
    }

    fn kinds(&self) -> Vec<ReceivedFrame> {
        self.heard.iter().map(|(kind, _)| *kind).collect()
    }

    /// The packets whose audio is heard (for so long that it is no joint), in the order in which it is.
    fn levels(&self) -> Vec<usize> {
        let samples: Vec<i16> = self.heard.iter().flat_map(|(_, pcm)| &pcm[..FRAME]).copied().collect();
        let runs = samples.chunk_by(|a, b| a == b).filter(|run| run.len() >= 60);
        let mut levels: Vec<usize> = runs.filter_map(|run| (0..100).find(|n| run[0] == level(*n))).collect();
        levels.dedup();
        levels
    }
}

// Payloads

#[test]
fn every_payload_type_of_asterisk_is_decoded_the_moment_it_comes() {
    let linear16 = |hz| Codec::Linear16(SampleRate::new(hz).unwrap());
    for (payload_type, codec, step, bytes) in [
        (0, ULAW, 160, Some(160)),
        (8, Codec::G711(Law::A), 160, Some(160)),
        (9, Codec::G722, 160, Some(160)),
        (10, linear16(8_000), 160, Some(320)),
        (11, linear16(8_000), 160, Some(320)),
        (122, linear16(12_000), 240, Some(480)),
        (118, linear16(16_000), 320, Some(640)),
        (123, linear16(24_000), 480, Some(960)),
        (124, linear16(32_000), 640, Some(1_280)),
        (125, linear16(44_100), 882, Some(1_764)),
        (126, linear16(48_000), 960, Some(1_920)),
        (107, Codec::Opus, 960, None),
    ] {
        let (mut line, mut encoder) = (Line::new(codec), Encoder::new(codec, ByteOrder::Big).unwrap());
        let samples = codec.rate().frame_samples();
        let tone = |n: usize| {
            ((n as f64 * 400.0 / f64::from(codec.rate().hz()) * std::f64::consts::TAU).sin() * 8_000.0) as i16
        };
        let mut energy = 0.0;
        for n in 0..20 {
            let pcm: Vec<i16> = (n * samples..(n + 1) * samples).map(tone).collect();
            let mut payload = vec![0; 2_000];
            let length = encoder.encode(&pcm, &mut payload).unwrap();
            assert!(bytes.is_none_or(|bytes| bytes == length));
            payload.truncate(length);
            let (sequence, timestamp) = (n as u16, (n * step) as u32);
            line.packet(&Packet { payload_type, sequence, timestamp, ssrc: 1, payload }, n as u64 * 20).unwrap();
            assert_eq!(line.heard.len(), n + 1, "payload type {payload_type}");
            energy += line.heard[n].1[..samples].iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        }
        assert!(line.kinds().iter().all(|kind| *kind == ReceivedFrame::Audio), "payload type {payload_type}");
        let level = (energy / (20 * samples) as f64).sqrt();
        assert!((4_500.0..6_500.0).contains(&level), "payload type {payload_type}: {level}");
        let stats = line.receiver.stats();
        assert_eq!((stats.received, stats.other_codec, stats.resets, stats.inserted_samples), (20, 0, 0, 0));
    }
}

#[test]
fn both_laws_and_linear_are_heard_on_one_stream_of_8_khz() {
    let mut line = Line::new(ULAW);
    line.packet(&packet(0), 0).unwrap();
    line.packet(&packet(1).with(|p| (p.payload_type, p.payload) = (8, vec![0xAA; FRAME])), 20).unwrap();
    line.packet(&packet(2).with(|p| (p.payload_type, p.payload) = (10, [0x12, 0x34].repeat(FRAME))), 40).unwrap();
    line.packet(&packet(3), 60).unwrap();
    assert_eq!((line.heard[1].1[0], line.heard[2].1[0], line.heard[3].1[0]), (32_256, 0x1234, level(3)));
    assert_eq!((line.receiver.stats().other_codec, line.receiver.stats().resets), (2, 0));
}

#[test]
fn comfort_noise_is_silence_of_the_sender_and_no_loss() {
    let mut line = Line::new(ULAW);
    line.packet(&packet(0), 0).unwrap();
    line.packet(&packet(1).with(|p| (p.payload_type, p.payload) = (13, vec![0x40])), 20).unwrap();
    line.packet(&packet(2).with(|p| (p.payload_type, p.payload) = (13, vec![0x40])), 40).unwrap();
    line.packet(&packet(3), 60).unwrap();
    let (audio, silence) = (ReceivedFrame::Audio, ReceivedFrame::Silence);
    assert_eq!(line.kinds(), [audio, silence, silence, audio]);
    let stats = line.receiver.stats();
    assert_eq!((stats.received, stats.lost, stats.refused_payload_types, stats.concealed_frames), (4, 0, 0, 0));
}

#[test]
fn rtcp_on_the_same_port_is_told_apart_and_is_no_loss() {
    let mut line = Line::new(ULAW);
    line.packet(&packet(0), 0).unwrap();
    for packet_type in 200..=204 {
        let mut report = packet(40).datagram();
        report[1] = packet_type;
        assert_eq!(line.datagram(&report, 10), Err(PacketError::Rtcp));
    }
    line.packet(&packet(1), 20).unwrap();
    assert_eq!(line.levels(), [0, 1]);
    let stats = line.receiver.stats();
    assert_eq!((stats.rtcp, stats.received, stats.lost, stats.stray, stats.malformed), (5, 2, 0, 0, 0));
}

#[test]
fn what_is_no_audio_is_counted_and_changes_nothing() {
    let mut line = Line::new(Codec::G711(Law::A));
    assert!(matches!(line.datagram(b"OPTIONS sip:x", 0), Err(PacketError::Malformed(_))));
    let long = packet(0).with(|p| p.payload = vec![0; 1_200]);
    let refused = line.packet(&long, 0).unwrap_err();
    assert!(matches!(refused, PacketError::Payload { sequence: 65_530, ssrc: 7, .. }), "{refused}");
    assert_eq!(line.heard, []);
    line.packet(&packet(1), 20).unwrap();
    assert_eq!(line.kinds().last(), Some(&ReceivedFrame::Audio));
    assert_eq!((line.receiver.stats().malformed, line.receiver.stats().lost), (2, 0));
}

#[test]
fn a_damaged_payload_is_concealed_like_a_lost_one_whether_it_waited_or_not() {
    let codec = Codec::Linear16(SampleRate::HZ_8000);
    for held in [false, true] {
        let mut line = Line::new(codec);
        let linear = |n: usize| packet(n).with(|p| (p.payload_type, p.payload) = (10, vec![0x10; 2 * FRAME]));
        line.packet(&linear(0), 0).unwrap();
        let damaged = linear(2).with(|p| _ = p.payload.pop());
        if held {
            line.packet(&damaged, 20).unwrap();
            line.packet(&linear(1), 25).unwrap();
        } else {
            line.packet(&linear(1), 20).unwrap();
            assert!(matches!(line.packet(&damaged, 40), Err(PacketError::Payload { .. })));
        }
        line.packet(&linear(3), 60).unwrap();
        let (audio, concealed) = (ReceivedFrame::Audio, ReceivedFrame::Concealed);
        assert_eq!(line.kinds(), [audio, audio, concealed, audio], "{held}");
        assert_eq!((line.receiver.stats().malformed, line.receiver.stats().inserted_samples), (1, 0));
    }
}

// What went wrong in AVA's RTP (read in its source)

#[test]
fn ava_does_not_reorder_here_a_swapped_pair_is_heard_in_order() {
    let mut line = Line::new(ULAW);
    for (n, millis) in [(0, 0), (2, 40), (1, 41), (3, 60)] {
        line.packet(&packet(n), millis).unwrap();
    }
    assert_eq!(line.levels(), [0, 1, 2, 3]);
    let stats = line.receiver.stats();
    assert_eq!((stats.reordered, stats.lost, stats.late, stats.concealed_frames), (1, 0, 0, 0));
}

#[test]
fn ava_hears_header_extensions_and_sources_as_audio_here_they_are_stepped_over() {
    let mut line = Line::new(ULAW);
    let plain = packet(0).datagram();
    // Two contributing sources, an extension of one word, and four bytes of padding.
    let mut datagram = plain[..12].to_vec();
    datagram[0] = 0x80 | 0x20 | 0x10 | 2;
    datagram.extend([0x11; 8]);
    datagram.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
    datagram.extend(&plain[12..]);
    datagram.extend([0, 0, 0, 4]);
    line.datagram(&datagram, 0).unwrap();
    assert_eq!(line.heard.len(), 1, "160 samples and not one more");
    assert_eq!(line.heard[0].1[..FRAME], [level(0); FRAME]);
    line.packet(&packet(1), 20).unwrap();
    assert_eq!(line.heard[1].1[..FRAME], [level(1); FRAME]);
}

#[test]
fn ava_ignores_the_payload_type_here_what_is_no_codec_of_the_rate_is_refused_and_no_loss() {
    let mut line = Line::new(ULAW);
    for n in 0..10 {
        let taken = match n {
            3 => line.packet(&packet(n).with(|p| (p.payload_type, p.payload) = (101, vec![1, 2, 3, 4])), 60),
            5 => line.packet(&packet(n).with(|p| (p.payload_type, p.payload) = (118, vec![1; 640])), 100),
            _ => line.packet(&packet(n), n as u64 * 20),
        };
        match taken {
            Err(PacketError::PayloadType { payload_type, codec, ssrc: 7, .. }) => {
                assert!((n == 3 && payload_type == 101) || (n == 5 && payload_type == 118));
                assert_eq!(codec, ULAW);
            }
            taken => assert!(taken.is_ok() && n != 3 && n != 5, "{n}: {taken:?}"),
        }
    }
    assert_eq!(line.levels(), [0, 1, 2, 4, 6, 7, 8, 9]);
    let stats = line.receiver.stats();
    assert_eq!((stats.received, stats.lost, stats.refused_payload_types, stats.concealed_frames), (10, 0, 2, 0));
    // A stream does not begin with such a packet.
    let mut line = Line::new(ULAW);
    let error = line.packet(&packet(0).with(|p| p.payload_type = 101), 0).unwrap_err();
    assert!(error.to_string().contains("payload type 101") && error.to_string().contains("format=ulaw"), "{error}");
    assert_eq!(line.receiver.stats().received, 0);
}

#[test]
fn ava_does_not_swap_the_bytes_of_l16_here_the_high_byte_comes_first() {
    let mut line = Line::new(Codec::Linear16(SampleRate::HZ_16000));
    line.packet(&packet(0).with(|p| (p.payload_type, p.payload) = (118, [0x12, 0x34].repeat(320))), 0).unwrap();
    assert_eq!(line.heard[0].1[..320], [0x1234; 320]);
}

#[test]
fn ava_counts_loss_wrongly_at_the_wrap_here_it_is_counted_right() {
    // Sequence numbers wrap with packet 6, timestamps with packet 7; 4, 5, 6 and 8 are lost.
    let mut line = Line::new(ULAW);
    let came = [0, 1, 2, 3, 7, 9, 10, 11];
    for n in came {
        line.packet(&packet(n), n as u64 * 20).unwrap();
    }
    line.poll(250);
    let stats = line.receiver.stats();
    assert_eq!((stats.received, stats.lost, stats.loss_runs, stats.resets, stats.stray), (8, 4, 2, 0, 0));
    assert_eq!(line.levels(), came);
    assert_eq!(stats.concealed_frames, 4);
}

// Gaps

#[test]
fn what_is_behind_a_gap_waits_as_long_as_the_link_has_shown_to_be_worth_it() {
    let mut line = Line::new(ULAW);
    line.packet(&packet(0), 0).unwrap();
    line.packet(&packet(2), 40).unwrap();
    assert_eq!(line.receiver.poll_timeout(), Some(line.base + ms(60)), "one packet time, the first time");
    line.poll(59);
    assert_eq!(line.heard.len(), 1);
    line.poll(60);
    assert_eq!(line.kinds()[1..], [ReceivedFrame::Concealed, ReceivedFrame::Audio]);

    // It comes after all, 30 ms late: of no use, but the next one would be waited for.
    line.packet(&packet(1), 70).unwrap();
    let stats = line.receiver.stats();
    assert_eq!((stats.late, stats.lost, stats.longest_delay), (1, 0, ms(20)));
    assert!(stats.target_delay > ms(30) && stats.target_delay < ms(45), "{:?}", stats.target_delay);
    line.packet(&packet(4), 80).unwrap();
    line.packet(&packet(3), 110).unwrap();
    assert_eq!(line.levels(), [0, 2, 3, 4]);
    assert_eq!(line.receiver.stats().late, 1);
}

#[test]
fn a_new_source_or_a_new_beginning_ends_the_wait() {
    let mut line = Line::new(ULAW);
    line.packet(&packet(0), 0).unwrap();
    line.packet(&packet(2), 40).unwrap();
    line.packet(&packet(90).with(|p| p.ssrc = 8), 45).unwrap();
    assert_eq!(line.levels(), [0, 2, 90]);
    line.packet(&packet(3), 60).unwrap();
    let stats = line.receiver.stats();
    assert_eq!((stats.resets, stats.stray, stats.lost), (1, 1, 1), "a straggler of the old source is not heard");
    assert_eq!(line.levels(), [0, 2, 90]);
}

#[test]
fn a_sender_that_begins_again_is_heard_from_its_second_packet_on() {
    // Far away; and among numbers that were there before, with timestamps that were not.
    for (sequence, timestamp) in [(20_000u16, 77u32), (65_535, 900_000)] {
        let mut line = Line::new(ULAW);
        for n in 0..20 {
            line.packet(&packet(n), n as u64 * 20).unwrap();
        }
        for n in 20..40 {
            let renumbered = packet(n).with(|p| {
                p.sequence = sequence.wrapping_add(n as u16 - 20);
                p.timestamp = timestamp + (n as u32 - 20) * 160;
            });
            line.packet(&renumbered, n as u64 * 20).unwrap();
        }
        assert_eq!(line.levels(), (0..20).chain(21..40).collect::<Vec<_>>());
        let stats = line.receiver.stats();
        assert_eq!((stats.resets, stats.stray, stats.lost, stats.duplicated), (1, 1, 0, 0));
    }
}

#[test]
fn timestamps_that_jump_without_time_passing_mean_nothing() {
    for jump in [1_000_000u32, 4_000_000_000] {
        let mut line = Line::new(ULAW);
        for n in 0..40 {
            let jumped = packet(n).with(|p| p.timestamp = p.timestamp.wrapping_add(if n < 20 { 0 } else { jump }));
            line.packet(&jumped, n as u64 * 20).unwrap();
        }
        assert_eq!(line.heard.len(), 40);
        assert_eq!(line.levels(), (0..40).collect::<Vec<_>>());
        assert_eq!(line.receiver.stats().resets, 1);
    }
}

// Time

#[test]
fn the_callers_time_goes_on_before_anything_comes_and_while_nothing_does() {
    let mut line = Line::new(ULAW);
    assert_eq!(line.receiver.poll_timeout(), None);
    for millis in (0..=1_000).step_by(20) {
        line.poll(millis);
    }
    assert_eq!(line.kinds(), [ReceivedFrame::Silence; 49], "all but the 40 ms before it is sure");
    assert!(line.heard.iter().all(|(_, pcm)| pcm[..FRAME] == [0; FRAME]));
    assert_eq!(line.receiver.poll_timeout(), Some(line.base + ms(1_020)));
    line.packet(&packet(0), 1_001).unwrap();
    assert_eq!(line.levels(), [0]);
    assert_eq!((line.receiver.stats().silence_frames, line.receiver.stats().inserted_samples), (49, 0));
}

#[test]
fn nobody_takes_the_frames_so_packets_are_dropped_and_counted() {
    let mut receiver = RtpReceiver::new(ULAW).unwrap();
    let base = base();
    for n in 0..50 {
        receiver.packet(&packet(n).datagram(), base + ms(n as u64 * 20)).unwrap();
    }
    let mut out = [0; FRAME];
    let frames = std::iter::from_fn(|| receiver.poll_frame(&mut out, base + ms(1_000)));
    let audio = frames.filter(|kind| *kind == ReceivedFrame::Audio).count() as u64;
    assert!(audio >= 10);
    assert_eq!(audio + receiver.stats().discarded, 50);
}

#[test]
fn a_receiver_takes_six_kibibytes_at_8_khz_and_no_more_later_on() {
    let mut line = Line::new(ULAW);
    let bytes = line.receiver.bytes();
    assert!(bytes <= 6 * 1_024, "{bytes} bytes, {} of them in place", size_of::<RtpReceiver>());
    for n in (0..400).filter(|n| n % 7 != 3 && n % 50 > 12) {
        line.packet(&packet(n), n as u64 * 20).unwrap();
    }
    assert_eq!(line.receiver.bytes(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Packets of any length, delayed by less than two of their lengths, so that none is later than one packet time after it
    /// was missed: not a sample is lost, doubled, made up or out of order, whatever the first numbers are.
    #[test]
    fn no_sample_is_lost_or_doubled_by_reordering(
        millis in prop::sample::select(vec![10usize, 20, 30, 40, 60]),
        delays in prop::collection::vec(0.0f64..1.99, 1..80),
        sequence: u16,
        timestamp: u32,
        wide: bool,
    ) {
        let codec = Codec::Linear16(if wide { SampleRate::HZ_16000 } else { SampleRate::HZ_8000 });
        let samples = codec.rate().hz() as usize / 1_000 * millis;
        let packet_micros = millis as u64 * 1_000;
        let mut arrivals: Vec<(u64, usize)> = delays.iter().enumerate().map(|(n, delay)| {
            // The first packet sets the stream's beginning, so it comes first.
            let delay = if n == 0 { 0.0 } else { *delay };
            (n as u64 * packet_micros + (delay * packet_micros as f64) as u64, n)
        }).collect();
        arrivals.sort();
        let (mut receiver, base) = (RtpReceiver::new(codec).unwrap(), base());
        let mut heard: Vec<i16> = Vec::new();
        let mut out = vec![0; codec.rate().frame_samples()];
        for (at, n) in arrivals {
            let payload = (n * samples..(n + 1) * samples).flat_map(|sample| ((sample % 30_000) as i16 + 1).to_be_bytes());
            let packet = Packet {
                payload_type: if wide { 118 } else { 10 },
                sequence: sequence.wrapping_add(n as u16),
                timestamp: timestamp.wrapping_add((n * samples) as u32),
                ssrc: 1,
                payload: payload.collect(),
            };
            let now = base + Duration::from_micros(at);
            receiver.packet(&packet.datagram(), now).unwrap();
            while let Some(kind) = receiver.poll_frame(&mut out, now) {
                prop_assert_eq!(kind, ReceivedFrame::Audio);
                heard.extend(&out);
            }
        }
        let total = delays.len() * samples;
        prop_assert_eq!(heard.len(), total / out.len() * out.len());
        for (n, sample) in heard.iter().enumerate() {
            prop_assert_eq!(usize::from(*sample as u16), n % 30_000 + 1);
        }
        let stats = receiver.stats();
        prop_assert_eq!((stats.received, stats.lost, stats.late, stats.duplicated), (delays.len() as u64, 0, 0, 0));
    }

    /// Whatever is lost, doubled or late, what is heard is in order.
    #[test]
    fn what_is_heard_is_in_order(arrivals in prop::collection::vec((0usize..90, 0u64..3_000), 1..200)) {
        let mut line = Line::new(ULAW);
        let mut arrivals: Vec<(u64, usize)> = arrivals.into_iter().map(|(n, late)| (n as u64 * 20 + late / 10, n)).collect();
        arrivals.sort();
        for (at, n) in arrivals {
            line.packet(&packet(n), at).unwrap();
        }
        line.poll(3_000);
        prop_assert!(line.levels().is_sorted(), "{:?}", line.levels());
    }

    #[test]
    fn no_datagram_makes_it_panic(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..40)) {
        let mut line = Line::new(Codec::G711(Law::A));
        let mut refused = 0;
        for (n, datagram) in datagrams.iter().enumerate() {
            refused += u64::from(line.datagram(datagram, n as u64 * 20).is_err());
        }
        let stats = line.receiver.stats();
        prop_assert_eq!(stats.malformed + stats.refused_payload_types + stats.rtcp, refused);
    }

    /// Well-formed packets with any numbers at any time: memory stays what it was, the caller's time does not run ahead of
    /// what came, and ordinary packets that follow are heard.
    #[test]
    fn any_numbers_are_survived(
        wild in prop::collection::vec(
            (any::<u16>(), any::<u32>(), 0u32..3, 0usize..=480, 0u64..100, 0usize..4, 0usize..6), 0..60),
    ) {
        let mut line = Line::new(ULAW);
        let bytes = line.receiver.bytes();
        let (mut sequence, mut timestamp, mut now) = (0u16, 0u32, 0);
        let mut sent = 0;
        for (far, jump, ssrc, samples, passed, kind, payload_kind) in wild {
            match kind {
                0 => (sequence, timestamp) = (far, jump),
                1 => (sequence, timestamp) = (sequence.wrapping_add(far % 8).wrapping_sub(3), timestamp.wrapping_add(jump % 2_000)),
                _ => (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(samples as u32)),
            }
            let payload_type = [0, 0, 0, 8, 13, 101][payload_kind];
            now += passed;
            sent += samples;
            _ = line.packet(&Packet { sequence, timestamp, ssrc, payload_type, payload: vec![0x80; samples] }, now);
        }
        prop_assert!(line.receiver.bytes() <= bytes + 2 * 480, "only the longest packet needs room");
        // A talker with an SSRC of its own.
        for n in 0..30 {
            line.packet(&packet(n).with(|p| p.ssrc = 77), now + 500 + n as u64 * 20).unwrap();
        }
        let expected: Vec<usize> = (20..29).collect();
        prop_assert!(line.levels().windows(9).any(|levels| levels == expected), "{:?}", line.levels());
        // Lost audio is made up only as far as time has passed, with 200 ms for each change of a link's delay.
        let bound = sent / FRAME + (now as usize + 1_300) / 20 + 30 + 60 * 11;
        prop_assert!(line.heard.len() <= bound, "{} frames, at most {bound}", line.heard.len());
    }
}
