//! The caller's audio over a link that loses, reorders, delays and doubles packets, in virtual time: what is heard of it,
//! in which order, and when. Times are microseconds since the call began; packets are spoken at multiples of their length
//! and arrive at once on a perfect link.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use arioso::audio::g711::Law;
use arioso::audio::{ByteOrder, Codec, Encoder, SampleRate};
use arioso::media::{ReceiveStats, ReceivedFrame, RtpReceiver, quality};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const ULAW: Codec = Codec::G711(Law::Mu);
/// Samples of 20 ms at 8 kHz.
const FRAME: usize = 160;
const FRAME_MICROS: i64 = 20_000;

/// Repeatable randomness (xorshift).
struct Dice(u64);

impl Dice {
    /// 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The talker's frame *n* is constant at one of so many levels, so that what is heard says which frame it was.
const LEVELS: usize = 100;

fn level(frame: usize) -> i16 {
    let mut pcm = [0];
    // The positive µ-law codes, from the loudest down: every codec here carries their values unchanged.
    Law::Mu.decode(&[0x80 + (frame % LEVELS) as u8], &mut pcm);
    pcm[0]
}

/// One packet of the talker's audio.
#[derive(Clone)]
struct Packet {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
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

/// Who speaks, and what the link does to the packets.
#[derive(Clone, Copy)]
struct Link {
    codec: Codec,
    payload_type: u8,
    packet_millis: usize,
    /// Chance that a packet is lost after one that was not, and after one that was.
    loss: f64,
    loss_after_loss: f64,
    /// Each packet is delayed by up to this.
    jitter: i64,
    /// Whether a delayed packet can be overtaken.
    overtaking: bool,
    /// Part of the packets that are delayed by so much more, and always overtaken then.
    swapped: f64,
    swapped_by: i64,
    /// Part of the packets that arrive twice.
    doubled: f64,
    /// The talker's clock against ours, in parts per million.
    drift: f64,
}

const PERFECT: Link = Link {
    codec: ULAW,
    payload_type: 0,
    packet_millis: 20,
    loss: 0.0,
    loss_after_loss: 0.0,
    jitter: 0,
    overtaking: false,
    swapped: 0.0,
    swapped_by: 0,
    doubled: 0.0,
    drift: 0.0,
};

impl Link {
    fn random_loss(loss: f64) -> Self {
        Self { loss, loss_after_loss: loss, ..PERFECT }
    }

    fn samples(&self) -> usize {
        self.packet_millis * self.codec.rate().hz() as usize / 1_000
    }

    /// Microseconds from one packet to the next, by our clock.
    fn spacing(&self) -> f64 {
        self.packet_millis as f64 * 1_000.0 / (1.0 + self.drift / 1e6)
    }

    /// Packet `n`. Both numbers wrap early on.
    fn packet(&self, n: usize) -> Packet {
        let (samples, frame_samples) = (self.samples(), self.codec.rate().frame_samples());
        let first = n * samples;
        let pcm: Vec<i16> = (first..first + samples).map(|sample| level(sample / frame_samples)).collect();
        let mut payload = vec![0; 2 * samples];
        let bytes = Encoder::new(self.codec, ByteOrder::Big).unwrap().encode(&pcm, &mut payload).unwrap();
        payload.truncate(bytes);
        Packet {
            ssrc: 0xCAFE,
            sequence: 65_500u16.wrapping_add(n as u16),
            timestamp: (u32::MAX - 4_000).wrapping_add(first as u32),
            payload_type: self.payload_type,
            payload,
        }
    }

    /// When what arrives of so many packets, and which of them are lost. The first one comes in time.
    fn carry(&self, packets: usize) -> (Vec<(i64, Packet)>, BTreeSet<usize>) {
        let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
        let (mut arrivals, mut lost, mut last) = (Vec::new(), BTreeSet::new(), 0);
        for n in 0..packets {
            let mut at = (n as f64 * self.spacing()) as i64;
            if n > 0 {
                at += (dice.roll() * self.jitter as f64) as i64;
                let chance = if lost.contains(&(n - 1)) { self.loss_after_loss } else { self.loss };
                if dice.roll() < chance {
                    lost.insert(n);
                    continue;
                }
                if !self.overtaking {
                    at = at.max(last);
                }
                last = last.max(at);
                if dice.roll() < self.swapped {
                    at += self.spacing() as i64 + self.swapped_by;
                }
            }
            arrivals.push((at, self.packet(n)));
            if dice.roll() < self.doubled {
                arrivals.push((at + (dice.roll() * 30_000.0) as i64, self.packet(n)));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        (arrivals, lost)
    }
}

/// A frame that came out.
struct Heard {
    at: i64,
    kind: ReceivedFrame,
    pcm: Vec<i16>,
}

/// What came out of a call.
struct Call {
    rate: SampleRate,
    heard: Vec<Heard>,
    stats: ReceiveStats,
}

/// Runs arrivals through a receiver that is asked after each of them and every 20 ms, until `tail` after the last.
#[allow(clippy::disallowed_methods)]
fn listen(codec: Codec, arrivals: &[(i64, Packet)], tail: i64) -> Call {
    let base = Instant::now();
    let instant = |micros: i64| base + Duration::from_micros(micros as u64);
    let mut receiver = RtpReceiver::new(codec).unwrap();
    let mut heard = Vec::new();
    let mut pcm = vec![0; codec.rate().frame_samples()];
    let mut poll = |receiver: &mut RtpReceiver, at: i64| {
        while let Some(kind) = receiver.poll_frame(&mut pcm, instant(at)) {
            heard.push(Heard { at, kind, pcm: pcm.clone() });
        }
    };
    let end = arrivals.last().unwrap().0 + tail;
    let mut waiting = arrivals.iter().peekable();
    for tick in (0i64..).map(|n| (7_000 + n * FRAME_MICROS).min(end)) {
        while let Some((at, packet)) = waiting.next_if(|(at, _)| *at <= tick) {
            _ = receiver.packet(&packet.datagram(), instant(*at));
            poll(&mut receiver, *at);
        }
        poll(&mut receiver, tick);
        if tick == end {
            break;
        }
    }
    Call { rate: codec.rate(), heard, stats: receiver.stats() }
}

fn over(link: &Link, packets: usize) -> (Call, BTreeSet<usize>) {
    let (arrivals, lost) = link.carry(packets);
    (listen(link.codec, &arrivals, 1_000), lost)
}

impl Call {
    fn count(&self, kind: ReceivedFrame) -> usize {
        self.heard.iter().filter(|frame| frame.kind == kind).count()
    }

    /// Time that passed for the caller, in milliseconds.
    fn caller_millis(&self) -> i64 {
        self.heard.len() as i64 * 20
    }

    /// Which of the talker's frames were heard (for at least 5 ms), in the order in which they were, and when.
    fn frames(&self) -> Vec<(usize, i64)> {
        let frame_samples = self.rate.frame_samples();
        let samples: Vec<i16> = self.heard.iter().flat_map(|frame| frame.pcm.iter().copied()).collect();
        let mut found: Vec<(usize, i64)> = Vec::new();
        let mut start = 0;
        for run in samples.chunk_by(|a, b| a == b) {
            let at = self.heard[start / frame_samples].at;
            start += run.len();
            let same = |n: &usize| level(*n) == run[0];
            let Some(tone) = (0..LEVELS).find(same).filter(|_| run.len() >= frame_samples / 4) else { continue };
            match found.last() {
                Some((last, _)) if last % LEVELS == tone => {}
                // Of all frames that sound so, the nearest to the one before.
                Some((last, _)) => {
                    let ahead = (tone + LEVELS - last % LEVELS) % LEVELS;
                    let next = if ahead <= LEVELS / 2 { last + ahead } else { (last + ahead).saturating_sub(LEVELS) };
                    found.push((next, at));
                }
                None => found.push((tone, at)),
            }
        }
        found
    }

    /// The frames, after a look at their order.
    #[track_caller]
    fn frames_in_order(&self) -> Vec<(usize, i64)> {
        let frames = self.frames();
        for pair in frames.windows(2) {
            assert!(pair[0].0 < pair[1].0, "frame {} was heard before frame {}", pair[0].0, pair[1].0);
        }
        frames
    }
}

/// The longest time from when a frame would have arrived on a perfect link to when it was heard.
fn longest_delay(frames: &[(usize, i64)], link: &Link) -> i64 {
    let spacing = link.spacing() * 20.0 / link.packet_millis as f64;
    frames.iter().map(|(frame, at)| at - (*frame as f64 * spacing) as i64).max().unwrap()
}

#[track_caller]
fn assert_all_heard(frames: &[(usize, i64)], expected: impl Iterator<Item = usize>) {
    let heard: BTreeSet<usize> = frames.iter().map(|(frame, _)| *frame).collect();
    let missing: Vec<usize> = expected.filter(|frame| !heard.contains(frame)).collect();
    assert!(missing.is_empty(), "not heard: {missing:?}");
}

#[test]
fn on_a_perfect_link_every_sample_is_heard_the_moment_it_comes() {
    for codec in [ULAW, Codec::Linear16(SampleRate::HZ_16000), Codec::Linear16(SampleRate::HZ_48000)] {
        let payload_type =
            [(8_000, 0), (16_000, 118), (48_000, 126)].into_iter().find(|(hz, _)| *hz == codec.rate().hz());
        let link = Link { codec, payload_type: payload_type.unwrap().1, ..PERFECT };
        let (call, _) = over(&link, 500);
        assert_eq!(call.heard.len(), 500);
        for (n, frame) in call.heard.iter().enumerate() {
            assert_eq!((frame.at, frame.kind), (n as i64 * FRAME_MICROS, ReceivedFrame::Audio));
            assert!(frame.pcm.iter().all(|sample| *sample == level(n)), "frame {n}");
        }
        let expected = ReceiveStats {
            received: 500,
            jitter: call.stats.jitter,
            target_delay: Duration::from_millis(20),
            ..ReceiveStats::default()
        };
        assert_eq!(call.stats, expected);
        assert!(quality::mean_opinion_score(quality::rating(codec, &call.stats, Duration::ZERO)) > 4.4);
    }
}

#[test]
fn packets_of_any_length_become_frames_without_a_sample_lost() {
    for packet_millis in [10, 20, 30, 40, 60, 100] {
        let (call, _) = over(&Link { packet_millis, ..PERFECT }, 300);
        let samples: Vec<i16> = call.heard.iter().flat_map(|frame| frame.pcm.iter().copied()).collect();
        assert_eq!(samples.len(), 300 * packet_millis / 20 * FRAME, "{packet_millis} ms");
        assert!(samples.iter().enumerate().all(|(n, sample)| *sample == level(n / FRAME)), "{packet_millis} ms");
        assert_eq!((call.stats.concealed_frames, call.stats.silence_frames), (0, 0), "{packet_millis} ms");
    }
}

#[test]
fn of_five_percent_loss_only_the_lost_is_made_up_and_soon_nothing_waits_for_it() {
    let link = Link::random_loss(0.05);
    let (call, lost) = over(&link, 5_000);
    let frames = call.frames_in_order();
    assert!(lost.len() > 200);
    assert_all_heard(&frames, (0..4_990).filter(|n| !lost.contains(n)));
    assert_eq!((call.stats.lost, call.stats.received), (lost.len() as u64, 5_000 - lost.len() as u64));
    assert_eq!(call.count(ReceivedFrame::Concealed), lost.len());
    assert_eq!(call.caller_millis(), 100_000, "the caller's time neither stretches nor shrinks");
    assert_eq!((call.stats.late, call.stats.inserted_samples), (0, 0));
    assert!(longest_delay(&frames, &link) <= 20_000, "{}", longest_delay(&frames, &link));
    // A gap is seen with the packet behind it; only the clock that asks again makes that packet wait a little.
    assert!(longest_delay(&frames[500..], &link) <= 7_000, "{}", longest_delay(&frames[500..], &link));
    assert!((0.9..1.2).contains(&call.stats.burst_ratio()), "{}", call.stats.burst_ratio());
    let score = quality::mean_opinion_score(quality::rating(link.codec, &call.stats, Duration::from_millis(50)));
    assert!((3.7..4.1).contains(&score), "{score}");
}

#[test]
fn bursts_of_loss_cost_what_is_lost_and_nothing_more() {
    // Gilbert's model: 5 % of the packets, in bursts of four.
    let link = Link { loss: 0.013, loss_after_loss: 0.75, ..PERFECT };
    let (call, lost) = over(&link, 10_000);
    let frames = call.frames_in_order();
    assert!((300..700).contains(&lost.len()), "{}", lost.len());
    assert_all_heard(&frames, (0..9_980).filter(|n| !lost.contains(n)));
    assert_eq!(call.stats.lost, lost.len() as u64);
    let off = call.caller_millis() - 200_000;
    assert!(off.abs() <= 20, "the caller's time is {off} ms off");
    assert!(call.count(ReceivedFrame::Audio) >= 10_000 - lost.len() - 2);
    assert!((3.0..5.0).contains(&call.stats.burst_ratio()), "{}", call.stats.burst_ratio());
    // Nothing comes during a burst of loss; the packet behind it ends the wait.
    assert!(longest_delay(&frames, &link) <= 20_000, "{}", longest_delay(&frames, &link));
    let of_random_loss = ReceiveStats { loss_runs: call.stats.lost, ..call.stats };
    let rating = |stats| quality::rating(link.codec, stats, Duration::ZERO);
    assert!(rating(&call.stats) < rating(&of_random_loss));
}

#[test]
fn reordered_packets_are_heard_in_order_and_once_it_is_known_that_they_come_so_none_is_missed() {
    for swapped_by in [1_000, 15_000, 45_000] {
        let link = Link { swapped: 0.05, swapped_by, ..PERFECT };
        let (call, _) = over(&link, 5_000);
        let frames = call.frames_in_order();
        assert!(call.stats.reordered > 200, "{:?}", call.stats);
        assert_eq!(call.stats.lost, 0);
        let missed = frames[100..].windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count();
        assert!(missed == 0 && call.stats.late <= 2, "{swapped_by}: {missed} frames missed later on: {:?}", call.stats);
        // A packet is late by its own length and what was put on top; those behind it wait for it.
        assert!(longest_delay(&frames, &link) <= 20_000 + swapped_by + 7_000, "{}", longest_delay(&frames, &link));
        assert!(call.stats.target_delay < Duration::from_micros(swapped_by as u64 * 5 / 4 + 8_000), "{:?}", call.stats);
    }
}

#[test]
fn jitter_of_sixty_milliseconds_is_heard_in_full_and_waits_for_nothing() {
    let link = Link { jitter: 60_000, ..PERFECT };
    let (call, _) = over(&link, 5_000);
    let frames = call.frames_in_order();
    assert_all_heard(&frames, 0..5_000);
    // Nothing waits: a frame is heard when its packet comes, and the link makes that 60 ms at most.
    assert!(longest_delay(&frames, &link) <= 60_000, "{}", longest_delay(&frames, &link));
    // Until the link is known, a late packet is taken for a pause a few times.
    assert!(call.stats.concealed_frames + call.stats.silence_frames <= 4, "{:?}", call.stats);
    assert!((8..30).contains(&call.stats.jitter.as_millis()), "{:?}", call.stats);
}

#[test]
fn jitter_that_lets_packets_overtake_each_other_is_put_in_order() {
    let link = Link { jitter: 60_000, overtaking: true, ..PERFECT };
    let (call, _) = over(&link, 5_000);
    let frames = call.frames_in_order();
    assert!(call.stats.reordered > 1_000, "{:?}", call.stats);
    let missed = 5_000 - frames.len();
    assert!(missed <= 10 && call.stats.late <= 10, "{missed} frames missed: {:?}", call.stats);
    assert!(longest_delay(&frames, &link) <= 120_000, "{}", longest_delay(&frames, &link));
}

#[test]
fn doubled_packets_are_heard_once() {
    let (call, _) = over(&Link { doubled: 0.3, ..PERFECT }, 1_000);
    assert!(call.stats.duplicated > 200);
    assert_eq!((call.stats.received, call.stats.lost, call.heard.len()), (1_000, 0, 1_000));
    assert!(call.heard.iter().enumerate().all(|(n, frame)| frame.pcm.iter().all(|sample| *sample == level(n))));
}

#[test]
fn voiceblender_drops_out_between_two_clocks_here_an_hour_of_drift_neither_loses_nor_adds_nor_delays_a_sample() {
    for drift in [-200.0, 200.0] {
        let link = Link { drift, jitter: 2_000, ..PERFECT };
        let packets = (3_600_000_000.0 / link.spacing()) as usize;
        let (call, _) = over(&link, packets);
        assert_eq!(call.heard.len(), packets);
        let frames = call.frames_in_order();
        assert_eq!(frames.len(), packets);
        assert!(longest_delay(&frames, &link) <= 2_000, "{drift} ppm: {}", longest_delay(&frames, &link));
        let expected = ReceiveStats {
            received: packets as u64,
            jitter: call.stats.jitter,
            target_delay: call.stats.target_delay,
            ..ReceiveStats::default()
        };
        assert_eq!(call.stats, expected);
    }
}

#[test]
fn what_a_stalled_link_delivers_at_once_is_heard_in_full_and_leaves_no_delay() {
    let (mut arrivals, _) = PERFECT.carry(500);
    for (at, _) in &mut arrivals {
        if (2_000_000..2_500_000).contains(at) {
            *at = 2_500_000;
        }
    }
    let call = listen(ULAW, &arrivals, 1_000);
    let frames = call.frames_in_order();
    assert_all_heard(&frames, 0..500);
    let after: Vec<_> = frames.iter().copied().filter(|(_, at)| *at > 2_500_000).collect();
    assert_eq!(longest_delay(&after, &PERFECT), 0, "the delay ends with the stall");
    // What the call was given meanwhile has stretched its time, and is counted.
    assert!((2_880..=4_000).contains(&call.stats.inserted_samples), "{:?}", call.stats);
    let given = call.stats.concealed_frames + call.stats.silence_frames;
    assert_eq!(given * FRAME as u64, call.stats.inserted_samples);
    assert_eq!(call.stats.concealed_frames, 3, "it fades out");
    assert_eq!((call.stats.lost, call.stats.late, call.stats.discarded), (0, 0, 0));
    assert_eq!(call.caller_millis(), 10_000 + given as i64 * 20);
}

#[test]
fn of_a_burst_with_a_loss_in_it_the_rest_is_heard() {
    let (mut arrivals, _) = PERFECT.carry(500);
    for (at, _) in &mut arrivals {
        if (2_000_000..2_500_000).contains(at) {
            *at = 2_500_000;
        }
    }
    // Frames 101, 103 and 118 to 119 were lost; more than can be held comes behind the first of them, at one moment.
    arrivals.retain(|(_, packet)| ![101, 103, 118, 119].contains(&usize::from(packet.sequence.wrapping_sub(65_500))));
    let call = listen(ULAW, &arrivals, 1_000);
    let frames = call.frames_in_order();
    assert_all_heard(&frames, (0..500).filter(|n| ![101, 103, 118, 119].contains(n)));
    assert_eq!((call.stats.lost, call.stats.late, call.stats.discarded), (4, 0, 0));
}

#[test]
fn a_long_outage_fades_out_and_ends_without_delay() {
    let (mut arrivals, _) = PERFECT.carry(200);
    arrivals.retain(|(at, _)| !(1_000_000..1_300_000).contains(at));
    let call = listen(ULAW, &arrivals, 1_000);
    assert_eq!((call.stats.lost, call.stats.inserted_samples), (15, 0));
    assert_eq!(call.caller_millis(), 4_000);
    assert_eq!((call.count(ReceivedFrame::Concealed), call.count(ReceivedFrame::Silence)), (3, 12));
    let frames = call.frames_in_order();
    assert!(longest_delay(&frames, &PERFECT) <= 20_000, "{}", longest_delay(&frames, &PERFECT));
}

#[test]
fn another_source_goes_on_where_the_first_one_ended() {
    let (mut arrivals, _) = PERFECT.carry(200);
    for (n, (_, packet)) in arrivals[100..].iter_mut().enumerate() {
        packet.ssrc = 0xBEEF;
        packet.sequence = packet.sequence.wrapping_add(20_000);
        packet.timestamp = 5_000 + n as u32 * 160;
    }
    let call = listen(ULAW, &arrivals, 1_000);
    assert_eq!(call.heard.len(), 200);
    assert!(call.heard.iter().enumerate().all(|(n, frame)| frame.pcm.iter().all(|sample| *sample == level(n))));
    assert_eq!((call.stats.resets, call.stats.lost, call.stats.received, call.stats.concealed_frames), (1, 0, 200, 0));
}

#[test]
fn what_was_held_of_the_old_source_is_heard_before_the_new_one() {
    let (mut arrivals, _) = PERFECT.carry(200);
    for (n, (_, packet)) in arrivals[100..].iter_mut().enumerate() {
        packet.ssrc = 0xBEEF;
        packet.sequence = n as u16;
        packet.timestamp = n as u32 * 160;
    }
    // The gap before frame 99 is still being waited for when the new source begins.
    arrivals.remove(98);
    let call = listen(ULAW, &arrivals, 1_000);
    let frames = call.frames_in_order();
    assert_all_heard(&frames, (0..200).filter(|n| *n != 98));
    assert_eq!((call.stats.resets, call.stats.lost), (1, 1));
}

#[test]
fn hold_is_silence_for_as_long_as_it_lasts_whatever_the_timestamps_say() {
    // The sequence numbers go on; the timestamps say that as much time has passed as did, less, none, or far more.
    for (passed, said) in [(5_000_000, 40_000), (5_000_000, 39_200), (5_000_000, 40_720), (5_000_000, 0), (0, 400_000)]
    {
        let (mut arrivals, _) = PERFECT.carry(200);
        for (at, packet) in &mut arrivals[100..] {
            *at += passed;
            packet.timestamp = packet.timestamp.wrapping_add(said);
        }
        let call = listen(ULAW, &arrivals, 1_000);
        let frames = call.frames_in_order();
        assert_all_heard(&frames, 0..200);
        let after: Vec<_> = frames[100..].iter().map(|(frame, at)| (*frame, at - passed)).collect();
        assert_eq!(longest_delay(&after, &PERFECT), 0, "{passed} {said}");
        let off = call.caller_millis() - 4_000 - passed / 1_000;
        assert!(off.abs() <= 90, "{passed} {said}: the caller's time is {off} ms off");
        assert_eq!((call.stats.lost, call.stats.late), (0, 0));
        assert!(call.stats.concealed_frames <= 3, "{passed} {said}: {:?}", call.stats);
    }
}

#[test]
fn silence_suppression_costs_no_word_and_no_time() {
    // A second of speech, 600 ms of nothing: timestamps go on, packets do not.
    let mut arrivals = PERFECT.carry(3_000).0;
    arrivals.retain(|(at, _)| at / FRAME_MICROS % 80 < 50);
    for (n, (_, packet)) in arrivals.iter_mut().enumerate() {
        packet.sequence = n as u16;
    }
    let call = listen(ULAW, &arrivals, 1_000);
    let frames = call.frames_in_order();
    assert_all_heard(&frames, (0..3_000).filter(|n| n % 80 < 50));
    assert_eq!(longest_delay(&frames, &PERFECT), 0);
    assert_eq!((call.stats.lost, call.stats.resets, call.stats.inserted_samples), (0, 0, 0));
    let spoken_until = arrivals.last().unwrap().0 / 1_000 + 20;
    assert_eq!(call.caller_millis(), spoken_until);
}

#[test]
fn a_wideband_call_over_a_link_that_does_everything_at_once() {
    let link = Link {
        codec: Codec::Linear16(SampleRate::HZ_16000),
        payload_type: 118,
        loss: 0.02,
        loss_after_loss: 0.4,
        jitter: 40_000,
        overtaking: true,
        doubled: 0.05,
        drift: 150.0,
        ..PERFECT
    };
    for packet_millis in [10, 20, 30, 60] {
        let link = Link { packet_millis, ..link };
        let packets = 120_000 / packet_millis;
        let (call, lost) = over(&link, packets);
        let frames = call.frames_in_order();
        // Of what is lost at the very end nothing is known.
        assert!(lost.len() as u64 - call.stats.lost <= 5, "{packet_millis} ms");
        assert!(call.stats.late as usize <= packets / 200, "{packet_millis} ms: {:?}", call.stats);
        let lost_millis = (lost.len() + call.stats.late as usize) * packet_millis;
        assert!(frames.len() * 20 + lost_millis + 600 >= 120_000, "{packet_millis} ms: {} heard", frames.len());
        let inserted = call.stats.inserted_samples as i64 / 16;
        let off = call.caller_millis() - inserted - 120_000;
        assert!(off.abs() <= 150 && inserted <= 400, "{packet_millis} ms: {off} ms off, {inserted} ms inserted");
        assert!(longest_delay(&frames, &link) <= 210_000, "{}", longest_delay(&frames, &link));
    }
}
