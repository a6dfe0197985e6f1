//! The receive path over a simulated link, in virtual time. Times are microseconds since the call began.

use super::*;
use crate::audio::g711::Law;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const FRAME: usize = 160;
const FRAME_TIME: i64 = 20_000;

#[allow(clippy::disallowed_methods)]
fn base() -> Instant {
    Instant::now()
}

/// Repeatable randomness (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A talker whose every frame sounds different: frame *n* is constant at one of [`TONES`] levels, so that what is heard
/// says which frame it was.
const TONES: usize = 100;

fn tone_code(frame: usize) -> u8 {
    // Positive µ-law codes; 0x80 is the loudest.
    0x80 + (frame % TONES) as u8
}

fn tone_level(frame: usize) -> i16 {
    let mut pcm = [0];
    Law::Mu.decode(&[tone_code(frame)], &mut pcm);
    pcm[0]
}

/// One packet of the talker's audio.
#[derive(Clone)]
struct Packet {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload_type: u8,
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
}

const FIRST_SEQUENCE: u16 = 65_500;
const FIRST_TIMESTAMP: u32 = u32::MAX - 4_000;

/// Packet `n` of a talker who sends `samples` in each; both numbers wrap early on.
fn packet(n: usize, samples: usize) -> Packet {
    let first = n * samples;
    Packet {
        sequence: FIRST_SEQUENCE.wrapping_add(n as u16),
        timestamp: FIRST_TIMESTAMP.wrapping_add(first as u32),
        ssrc: 0xCAFE,
        payload_type: 0,
        payload: (first..first + samples).map(|sample| tone_code(sample / FRAME)).collect(),
    }
}

/// What a link does to packets.
#[derive(Clone)]
struct Link {
    /// Part of the packets that are lost.
    loss: f64,
    /// Each packet is late by up to this, and never overtaken.
    jitter: i64,
    /// Part of the packets that arrive after the next one, and how long after.
    swapped: f64,
    swapped_by: i64,
    /// Part of the packets that arrive twice.
    doubled: f64,
    /// The far end's clock against ours, in parts per million.
    drift: f64,
    /// Delay between a packet's arrival on a link without jitter and our next frame.
    phase: i64,
    /// Samples in a packet.
    samples: usize,
}

const CLEAN: Link = Link {
    loss: 0.0,
    jitter: 0,
    swapped: 0.0,
    swapped_by: 1_000,
    doubled: 0.0,
    drift: 0.0,
    phase: 7_000,
    samples: FRAME,
};

impl Link {
    /// When what arrives, for so many packets, and which of them are lost.
    fn carry(&self, packets: usize) -> (Vec<(i64, Packet)>, BTreeSet<usize>) {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let (mut arrivals, mut lost, mut last) = (Vec::new(), BTreeSet::new(), 0);
        let spacing = self.samples as f64 * 125.0 / (1.0 + self.drift / 1e6);
        for n in 0..packets {
            let sent = (n as f64 * spacing) as i64;
            let at = (sent + (dice.roll() * self.jitter as f64) as i64).max(last);
            last = at;
            if n > 0 && dice.roll() < self.loss {
                lost.insert(n);
                continue;
            }
            let at = if n > 0 && dice.roll() < self.swapped { at + spacing as i64 + self.swapped_by } else { at };
            arrivals.push((at, packet(n, self.samples)));
            if dice.roll() < self.doubled {
                arrivals.push((at + 500, packet(n, self.samples)));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        (arrivals, lost)
    }
}

/// A frame that came out.
struct Heard {
    /// When.
    at: i64,
    kind: ReceivedFrame,
    pcm: [i16; FRAME],
}

/// Runs arrivals against the frame clock, until `tail` frames after the last arrival.
fn play(stream: &mut ReceiveStream, arrivals: &[(i64, Packet)], phase: i64, tail: usize) -> Vec<Heard> {
    let base = base();
    let mut heard = Vec::new();
    let mut waiting = arrivals.iter().peekable();
    let mut at = phase;
    let mut left = tail;
    while left > 0 {
        while let Some((arrival, packet)) = waiting.next_if(|(arrival, _)| *arrival <= at) {
            _ = stream.packet(&packet.datagram(), base + Duration::from_micros(*arrival as u64));
        }
        let mut pcm = [0; FRAME];
        let kind = stream.frame(&mut pcm);
        assert!(stream.stats().buffered_samples <= 1_600, "more than 200 ms are waiting");
        heard.push(Heard { at, kind, pcm });
        left -= usize::from(waiting.peek().is_none());
        at += FRAME_TIME;
    }
    heard
}

fn over(link: &Link, packets: usize) -> (Vec<Heard>, ReceiveStats, BTreeSet<usize>) {
    let (arrivals, lost) = link.carry(packets);
    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, link.phase, 10);
    (heard, stream.stats(), lost)
}

fn all_samples(heard: &[Heard]) -> Vec<i16> {
    heard.iter().flat_map(|frame| frame.pcm).collect()
}

/// Which of the talker's frames were heard (for at least 5 ms), in the order in which they were heard, and when each began.
fn frames_heard(heard: &[Heard]) -> Vec<(usize, i64)> {
    let mut found: Vec<(usize, i64)> = Vec::new();
    let samples = all_samples(heard);
    let mut start = 0;
    for run in samples.chunk_by(|a, b| a == b) {
        let at = heard[start / FRAME].at + (start % FRAME) as i64 * 125;
        start += run.len();
        let Some(tone) = (0..TONES).find(|tone| tone_level(*tone) == run[0]).filter(|_| run.len() >= 40) else {
            continue;
        };
        match found.last() {
            Some((last, _)) if last % TONES == tone => {}
            // Of all frames that sound so, the nearest to the one before.
            Some((last, _)) => {
                let ahead = (tone + TONES - last % TONES) % TONES;
                let next = if ahead <= TONES / 2 { last + ahead } else { (last + ahead).saturating_sub(TONES) };
                found.push((next, at));
            }
            None => found.push((tone, at)),
        }
    }
    found
}

fn assert_in_order(frames: &[(usize, i64)]) {
    for pair in frames.windows(2) {
        assert!(pair[0].0 < pair[1].0, "frame {} was heard before frame {}", pair[0].0, pair[1].0);
    }
}

/// The longest time from when a frame would have arrived on a clean link to when it was heard.
fn longest_delay(frames: &[(usize, i64)]) -> i64 {
    frames.iter().map(|(frame, at)| at - *frame as i64 * FRAME_TIME).max().unwrap()
}

#[test]
fn a_clean_link_is_heard_sample_by_sample_within_a_frame() {
    for phase in [100, 7_000, 19_900] {
        let (heard, stats, _) = over(&Link { phase, ..CLEAN }, 500);
        let samples = all_samples(&heard);
        for (n, sample) in samples[..500 * FRAME].iter().enumerate() {
            assert_eq!(*sample, tone_level(n / FRAME), "sample {n}");
        }
        assert!(heard[..500].iter().all(|frame| frame.kind == ReceivedFrame::Audio));
        assert_eq!(longest_delay(&frames_heard(&heard)), phase);
        let expected = ReceiveStats {
            received: 500,
            // The talker has stopped, which cannot be told from loss at first.
            concealed_frames: 3,
            ..ReceiveStats::default()
        };
        assert_eq!(stats, expected);
    }
}

#[test]
fn packets_of_any_length_become_frames() {
    for samples in [80, 100, 160, 240, 320, 480] {
        let (heard, stats, _) = over(&Link { samples, ..CLEAN }, 200);
        let frames = frames_heard(&heard);
        assert_in_order(&frames);
        assert!(frames.len() >= 200 * samples / FRAME, "{samples}: {} frames", frames.len());
        assert!(longest_delay(&frames) <= 20_000 + samples as i64 * 125, "{samples}: {}", longest_delay(&frames));
        assert!(stats.inserted_samples <= 160, "{samples}: {stats:?}");
        let concealed = heard[..heard.len() - 10].iter().filter(|frame| frame.kind == ReceivedFrame::Concealed).count();
        assert!(concealed <= 2, "{samples}: {concealed} frames were made up on a clean link");
    }
}

#[test]
fn lost_packets_are_concealed_and_cost_no_delay() {
    let (heard, stats, lost) = over(&Link { loss: 0.05, ..CLEAN }, 2_000);
    assert!(lost.len() > 50);
    assert_eq!(stats.lost, lost.len() as u64);
    assert_eq!(stats.received, 2_000 - lost.len() as u64);
    let frames = frames_heard(&heard);
    assert_in_order(&frames);
    assert!((0..2_000).filter(|n| !lost.contains(n)).all(|n| frames.iter().any(|(frame, _)| *frame == n)));
    assert!(
        heard[..2_000]
            .iter()
            .enumerate()
            .all(|(n, frame)| lost.contains(&n) == (frame.kind == ReceivedFrame::Concealed))
    );
    // The packets that arrived begin where they should, at most bent at the joint.
    assert!(longest_delay(&frames) <= CLEAN.phase + 10_000, "{}", longest_delay(&frames));
    assert_eq!((stats.inserted_samples, stats.skipped_samples, stats.late), (0, 0, 0));
}

#[test]
fn a_long_outage_fades_to_silence_and_ends_without_delay() {
    let (mut arrivals, _) = CLEAN.carry(200);
    arrivals.retain(|(at, _)| !(1_000_000..1_300_000).contains(at));
    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, CLEAN.phase, 1);
    let kinds: Vec<ReceivedFrame> = heard[49..66].iter().map(|frame| frame.kind).collect();
    let mut expected = vec![ReceivedFrame::Audio];
    expected.extend([ReceivedFrame::Concealed; 3]);
    expected.extend([ReceivedFrame::Silence; 12]);
    expected.push(ReceivedFrame::Audio);
    assert_eq!(kinds, expected);
    assert_eq!(heard[100].pcm, [tone_level(100); FRAME]);
    assert_eq!((stream.stats().lost, stream.stats().inserted_samples), (15, 0));
}

#[test]
fn a_jittery_link_is_heard_in_full_once_its_jitter_is_known() {
    let (heard, stats, _) = over(&Link { jitter: 40_000, ..CLEAN }, 3_000);
    let frames = frames_heard(&heard);
    assert_in_order(&frames);
    let missed = 3_000 - frames.len();
    assert!(missed <= 15, "{missed} frames of 3,000 were not heard: {stats:?}");
    assert!(stats.concealed_frames <= 15, "{stats:?}");
    assert!(longest_delay(&frames[500..]) <= 80_000, "{}", longest_delay(&frames[500..]));
    assert!((5..20).contains(&stats.jitter.as_millis()), "{stats:?}");
}

#[test]
fn reordered_packets_are_put_in_order_once_it_is_known_that_they_come() {
    for swapped_by in [1_000, 10_000] {
        let (heard, stats, _) = over(&Link { swapped: 0.05, swapped_by, ..CLEAN }, 3_000);
        assert!(stats.reordered > 100, "{stats:?}");
        let frames = frames_heard(&heard);
        assert_in_order(&frames);
        let missed = frames.windows(2).skip(1_000).filter(|pair| pair[1].0 != pair[0].0 + 1).count();
        assert!(missed == 0 && stats.late <= 6, "{swapped_by}: {missed} frames were missed later on: {stats:?}");

        assert_eq!(stats.lost, 0);
        assert!(longest_delay(&frames) <= 80_000, "{}", longest_delay(&frames));
    }
}

#[test]
fn doubled_packets_are_heard_once() {
    let (heard, stats, _) = over(&Link { doubled: 0.3, ..CLEAN }, 500);
    assert!(stats.duplicated > 100);
    assert_eq!(stats.received, 500);
    assert!(heard[..500].iter().enumerate().all(|(n, frame)| frame.pcm == [tone_level(n); FRAME]));
}

#[test]
fn a_clock_that_is_off_is_followed() {
    for drift in [-200.0, 200.0] {
        let minutes = 10;
        let (heard, stats, _) = over(&Link { drift, jitter: 2_000, ..CLEAN }, minutes * 3_000);
        let frames = frames_heard(&heard);
        assert_in_order(&frames);
        // 200 ppm are six frames in ten minutes; each is skipped or put in once, not again and again.
        let (fewer, more) = (stats.skipped_samples / 160, stats.inserted_samples / 160);
        assert_eq!((fewer as i64 - more as i64).signum(), drift.signum() as i64, "{stats:?}");
        assert!(fewer + more <= 16, "{stats:?}");
        assert!(frames.len() + 16 >= minutes * 3_000, "{} frames", frames.len());
        let spacing = FRAME_TIME as f64 / (1.0 + drift / 1e6);
        let delay = frames.iter().map(|(frame, at)| *at - (*frame as f64 * spacing) as i64).max().unwrap();
        assert!(delay <= 65_000, "{drift} ppm: {delay} µs");
        assert_eq!((stats.lost, stats.discarded_samples), (0, 0));
    }
}

#[test]
fn a_slow_drift_past_the_edge_of_a_frame_is_not_corrected_to_and_fro() {
    // For a minute or so packets come just before or just after they are needed.
    let (_, stats, _) = over(&Link { drift: 20.0, jitter: 1_000, phase: 1_500, ..CLEAN }, 30 * 3_000);
    let corrections = (stats.skipped_samples + stats.inserted_samples) / 160;
    assert!(corrections <= 3, "{corrections}: {stats:?}");
}

#[test]
fn what_a_stalled_link_delivers_at_once_is_heard_and_the_delay_goes_away_again() {
    let (mut arrivals, _) = CLEAN.carry(1_500);
    for (at, _) in &mut arrivals {
        if (2_000_000..2_140_000).contains(at) {
            *at = 2_140_000;
        }
    }
    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, CLEAN.phase, 1);
    let frames = frames_heard(&heard);
    assert_in_order(&frames);
    for n in 90..120 {
        assert!(frames.iter().any(|(frame, _)| *frame == n), "frame {n} was not heard");
    }
    assert_eq!((stream.stats().lost, stream.stats().late, stream.stats().discarded_samples), (0, 0, 0));
    let settled: Vec<_> = frames.into_iter().filter(|(_, at)| *at > 20_000_000).collect();
    assert!(longest_delay(&settled) <= 30_000, "{}", longest_delay(&settled));
}

#[test]
fn more_than_the_buffer_holds_loses_the_oldest_and_says_so() {
    let (mut arrivals, _) = CLEAN.carry(200);
    for (at, _) in &mut arrivals {
        if (1_000_000..1_500_000).contains(at) {
            *at = 1_500_000;
        }
    }
    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, CLEAN.phase, 1);
    let stats = stream.stats();
    assert_in_order(&frames_heard(&heard));
    assert!((1_600..=2_880).contains(&stats.discarded_samples), "{stats:?}");
    assert_eq!((stats.lost, stats.resets), (0, 0));
}

#[test]
fn hold_is_silence_whatever_its_timestamps_say() {
    // The sequence numbers go on; the timestamps say that as much time has passed as did, less, none, or far more.
    for (passed, said) in
        [(5_000_000, 40_000), (5_000_000, 39_200), (5_000_000, 40_720), (5_000_000, 0), (0, 400_000), (60_000, 1_120)]
    {
        let (mut arrivals, _) = CLEAN.carry(200);
        for (at, packet) in &mut arrivals[100..] {
            *at += passed;
            packet.timestamp = packet.timestamp.wrapping_add(said);
        }
        let mut stream = ReceiveStream::new(Law::Mu);
        let heard = play(&mut stream, &arrivals, CLEAN.phase, 10);
        let frames = frames_heard(&heard);
        assert_in_order(&frames);
        assert_eq!(frames.len(), 200, "{passed} {said}");
        let after: Vec<_> = frames[100..].iter().map(|(frame, at)| (*frame, at - passed)).collect();
        assert!(longest_delay(&after) <= 47_000, "{passed} {said}: {}", longest_delay(&after));
        assert_eq!(stream.stats().lost, 0);
        let concealed = stream.stats().concealed_frames;
        assert!(concealed <= 6, "{passed} {said}: {concealed}");
    }
}

#[test]
fn a_pause_of_the_sender_is_played_as_silence_and_not_made_up() {
    let mut buffer = JitterBuffer::default();
    let now = base();
    for (sequence, timestamp) in [(1, 0), (2, 320), (4, 640)] {
        buffer.insert(RtpStamp { ssrc: 1, sequence, timestamp }, &[100; FRAME], now);
    }
    let mut out = [0; FRAME];
    let runs: [Run; 6] = std::array::from_fn(|_| buffer.take(&mut out));
    let (audio, quiet, missing) = (Run::Audio(FRAME), Run::Quiet(FRAME), Run::Missing(FRAME));
    assert_eq!(runs, [audio, quiet, audio, missing, audio, missing]);
}

#[test]
fn another_source_goes_on_where_the_first_one_ended() {
    let (mut arrivals, _) = CLEAN.carry(200);
    for (_, packet) in &mut arrivals[100..] {
        packet.ssrc = 0xBEEF;
        packet.sequence = packet.sequence.wrapping_add(20_000);
        packet.timestamp = packet.timestamp.wrapping_mul(7);
    }
    for (n, (_, packet)) in arrivals[100..].iter_mut().enumerate() {
        packet.timestamp = 5_000 + n as u32 * 160;
    }
    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, CLEAN.phase, 1);
    assert!(heard[..200].iter().enumerate().all(|(n, frame)| frame.pcm == [tone_level(n); FRAME]));
    let stats = stream.stats();
    assert_eq!((stats.resets, stats.lost, stats.received, stats.concealed_frames), (1, 0, 200, 0));
}

#[test]
fn a_sender_that_restarts_is_heard_again_after_one_packet() {
    let (mut arrivals, _) = CLEAN.carry(200);
    for (n, (_, packet)) in arrivals[100..].iter_mut().enumerate() {
        packet.sequence = 20_000 + n as u16;
        packet.timestamp = 77 + n as u32 * 160;
    }
    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, CLEAN.phase, 1);
    let frames = frames_heard(&heard);
    assert_in_order(&frames);
    assert_eq!(frames.len(), 199);
    let stats = stream.stats();
    assert_eq!((stats.resets, stats.stray, stats.lost), (1, 1, 0));
}

#[test]
fn both_laws_are_heard_and_other_payloads_are_refused_without_being_taken_for_loss() {
    let (mut arrivals, _) = CLEAN.carry(30);
    arrivals[10].1.payload_type = 8;
    arrivals[10].1.payload = vec![0xAA; FRAME];
    for n in [15, 16] {
        arrivals[n].1.payload_type = 101;
        arrivals[n].1.payload = vec![1, 2, 3, 4];
    }
    let mut stream = ReceiveStream::new(Law::Mu);
    let refused = stream.packet(&arrivals[15].1.datagram(), base()).unwrap_err();
    let expected =
        PacketError::PayloadType { payload_type: 101, sequence: FIRST_SEQUENCE.wrapping_add(15), ssrc: 0xCAFE };
    assert_eq!(refused, expected);
    assert!(!refused.to_string().is_empty());

    let mut stream = ReceiveStream::new(Law::Mu);
    let heard = play(&mut stream, &arrivals, CLEAN.phase, 1);
    assert_eq!(heard[10].pcm, [32_256; FRAME]);
    assert_eq!(heard[17].pcm[80..], [tone_level(17); FRAME][80..]);
    let stats = stream.stats();
    assert_eq!((stats.received, stats.lost, stats.other_law, stats.refused_payload_types), (30, 0, 1, 2));
}

#[test]
fn what_is_no_audio_is_counted_and_changes_nothing() {
    let mut stream = ReceiveStream::new(Law::A);
    assert!(matches!(stream.packet(b"OPTIONS sip:x", base()), Err(PacketError::Malformed(_))));
    let long = Packet { payload: vec![0; 1_200], ..packet(0, FRAME) };
    assert!(matches!(stream.packet(&long.datagram(), base()), Err(PacketError::TooLong { samples: 1_200, .. })));
    let mut pcm = [7; FRAME];
    assert_eq!(stream.frame(&mut pcm), ReceivedFrame::Silence);
    assert_eq!(pcm, [0; FRAME]);
    assert_eq!(stream.stats(), ReceiveStats { malformed: 2, ..ReceiveStats::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever the first numbers are, and however the packets of one buffer's depth are shuffled.
    #[test]
    fn shuffled_packets_come_out_in_order(
        order in (1usize..=10).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle()),
        sequence: u16,
        timestamp: u32,
        doubled: bool,
    ) {
        let mut stream = ReceiveStream::new(Law::Mu);
        let now = base();
        for n in order.iter().chain(order.iter().filter(|_| doubled)) {
            let packet = Packet {
                sequence: sequence.wrapping_add(*n as u16),
                timestamp: timestamp.wrapping_add((n * FRAME) as u32),
                ..packet(*n, FRAME)
            };
            stream.packet(&packet.datagram(), now).unwrap();
        }
        for n in 0..order.len() {
            let mut pcm = [0; FRAME];
            prop_assert_eq!(stream.frame(&mut pcm), ReceivedFrame::Audio);
            prop_assert_eq!(pcm, [tone_level(n); FRAME]);
        }
        let stats = stream.stats();
        prop_assert_eq!((stats.received, stats.lost, stats.late), (order.len() as u64, 0, 0));
        prop_assert_eq!(stats.duplicated, if doubled { order.len() as u64 } else { 0 });
    }

    #[test]
    fn no_datagram_makes_it_panic(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..40)) {
        let mut stream = ReceiveStream::new(Law::A);
        let now = base();
        let mut refused = 0;
        for datagram in &datagrams {
            refused += u64::from(stream.packet(datagram, now).is_err());
            stream.frame(&mut [0; FRAME]);
        }
        prop_assert_eq!(stream.stats().malformed + stream.stats().refused_payload_types, refused);
    }

    /// Well-formed packets with any numbers at any time: the buffer stays within its bounds, and ordinary packets that
    /// follow are heard.
    #[test]
    fn any_numbers_are_survived(
        wild in prop::collection::vec(
            (any::<u16>(), any::<u32>(), 0u32..3, 0usize..=960, 0u64..100_000, 0usize..3, 0usize..4), 0..60),
    ) {
        let mut stream = ReceiveStream::new(Law::Mu);
        let base = base();
        let (mut sequence, mut timestamp) = (0u16, 0u32);
        for (far, jump, ssrc, samples, micros, frames, kind) in wild {
            match kind {
                0 => (sequence, timestamp) = (far, jump),
                1 => (sequence, timestamp) = (sequence.wrapping_add(far % 8).wrapping_sub(3), timestamp.wrapping_add(jump % 2_000)),
                _ => (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(samples as u32)),
            }
            let packet = Packet { sequence, timestamp, ssrc, payload_type: 0, payload: vec![0x80; samples] };
            _ = stream.packet(&packet.datagram(), base + Duration::from_micros(micros));
            for _ in 0..frames {
                stream.frame(&mut [0; FRAME]);
            }
            prop_assert!(stream.stats().buffered_samples <= 1_600);
        }
        // A talker with an SSRC of its own, after the rest has been played.
        for _ in 0..15 {
            stream.frame(&mut [0; FRAME]);
        }
        let mut pcm = [0; FRAME];
        for n in 0..30 {
            stream.packet(&packet(n, FRAME).datagram(), base).unwrap();
            stream.frame(&mut pcm);
        }
        prop_assert!((20..30).any(|n| pcm == [tone_level(n); FRAME]), "{:?}", pcm);
    }
}
