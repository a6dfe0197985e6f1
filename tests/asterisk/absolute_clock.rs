//! Ten minutes of continuous playback on one absolute clock, by every transport at the same time. The first of the tests
//! in the order of their names, and beside all others, so that nobody waits for it.

use crate::arioso::rig::{Carrier, MediaLeg, Options, Rig, echo_number};
use crate::media::signal::tone;
use arioso::audio::{FRAME_TIME, SampleRate};
use arioso::bench::caller::{ActiveCall, HeardPacket};
use futures_util::future::join_all;
use std::time::{Duration, Instant};

const PLAYBACK: Duration = Duration::from_secs(600);
/// Of the packets, where the server sets the pace. On a WebSocket Asterisk does, by a timer of its own.
const DRIFT_LIMIT: f64 = 0.020;

/// How much older or younger what is played may be in the last minute than in the first. An echo gives back the delay of a
/// hiccup in the next second of quiet; on a WebSocket between 20 and 45 ms wait in Asterisk. A backlog that nothing holds
/// down is far beyond this after ten minutes: a busy Asterisk loses hundreds of milliseconds.
const AGE_LIMIT: f64 = 0.050;

/// A burst of tone every so often; its echo shows how old what is played is.
const BURST_EVERY: Duration = Duration::from_secs(5);

const LEGS: [MediaLeg; 4] = [
    MediaLeg::new(Carrier::Rtp, "ulaw"),
    MediaLeg::new(Carrier::AudioSocket, "slin"),
    MediaLeg::new(Carrier::WebSocketDial, "ulaw"),
    MediaLeg::new(Carrier::WebSocketListen, "slin16"),
];

#[tokio::test(flavor = "multi_thread")]
async fn ten_minutes_of_playback_drift_less_than_20_ms_by_every_transport() {
    let rig = Rig::start(Options { legs: LEGS.to_vec(), beside_others: true, ..Options::default() }).await;
    let numbers: Vec<String> = (0..LEGS.len()).map(echo_number).collect();
    let calls: Vec<ActiveCall> = join_all(numbers.iter().map(|number| rig.call(number))).await;
    let started = Instant::now();
    let mut problems = Vec::new();
    for (leg, found) in LEGS.iter().zip(join_all(calls.iter().map(|call| play(call, started))).await) {
        eprintln!("{leg}: {found}");
        let complaint = found.complaint(leg.carrier);
        problems.extend(complaint.map(|complaint| format!("{leg}: {complaint}: {found}")));
    }
    for call in &calls {
        call.hang_up().await.expect("hung up");
    }
    assert!(problems.is_empty(), "{problems:#?}\n{}", rig.logs());
    rig.wait_until_nothing_is_left().await;
}

/// What ten minutes showed.
struct Found {
    packets: usize,
    /// How much later than the clock the packets came in the end than in the beginning, seconds.
    drift: f64,
    /// How much later what the caller said came back in the last minute than in the first, seconds.
    aged: f64,
    /// The worst time from a burst to its echo.
    worst_echo: Duration,
    /// Bursts that did not come back.
    lost_bursts: usize,
    /// The longest time without a packet, and when.
    gap: (Duration, Duration),
}

impl Found {
    fn complaint(&self, carrier: Carrier) -> Option<&'static str> {
        let expected = PLAYBACK.as_millis() as usize / 20;
        let is_paced_by_us = matches!(carrier, Carrier::Rtp | Carrier::AudioSocket);
        if is_paced_by_us && self.drift.abs() >= DRIFT_LIMIT {
            Some("the packets drift")
        } else if self.aged.abs() >= AGE_LIMIT {
            Some("what is played gets older or younger")
        } else if self.lost_bursts > 0 {
            Some("something was not played")
        } else if self.packets.abs_diff(expected) > if is_paced_by_us { expected / 1_000 } else { expected / 100 } {
            Some("there are too many packets or too few")
        } else {
            None
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { packets, drift, aged, worst_echo, lost_bursts, gap: (gap, gap_at) } = self;
        write!(f, "{packets} packets, drift {:.2} ms, echo {:.2} ms later in the end", drift * 1e3, aged * 1e3)?;
        write!(f, ", latest echo {} ms, {lost_bursts} bursts lost", worst_echo.as_millis())?;
        write!(f, ", longest gap {} ms after {:.1} s", gap.as_millis(), gap_at.as_secs_f32())
    }
}

async fn play(call: &ActiveCall, started: Instant) -> Found {
    let burst = tone(700.0, SampleRate::HZ_8000, Duration::from_millis(200));
    let mut echoes = Vec::new();
    let (mut worst_echo, mut lost_bursts) = (Duration::ZERO, 0);
    let mut next = started + Duration::from_secs(1);
    while next < started + PLAYBACK {
        tokio::time::sleep_until(next.into()).await;
        let said = call.say_to_end(&burst).await.expect("the call lasts");
        match call.wait_for_voice(said.first_packet_at, Duration::from_secs(2)).await {
            Ok(back) => {
                let delay = back - said.first_packet_at;
                worst_echo = worst_echo.max(delay);
                echoes.push(delay.as_secs_f64());
            }
            Err(_) => lost_bursts += 1,
        }
        next += BURST_EVERY;
    }
    tokio::time::sleep_until((started + PLAYBACK).into()).await;
    let packets: Vec<HeardPacket> = call.packets_since(started);
    let packets = &packets[..packets.partition_point(|packet| packet.arrived < started + PLAYBACK)];
    // How much later each came than one packet every 20 ms would have it.
    let lateness = packets.iter().enumerate().map(|(index, packet)| {
        let since = (packet.arrived - packets[0].arrived).as_secs_f64();
        (since, since - index as f64 * FRAME_TIME.as_secs_f64())
    });
    let gaps = packets.windows(2).map(|pair| (pair[1].arrived - pair[0].arrived, pair[0].arrived - started));
    let minute = 60 / BURST_EVERY.as_secs() as usize;
    Found {
        packets: packets.len(),
        drift: slope(&lateness.collect::<Vec<_>>()) * PLAYBACK.as_secs_f64(),
        aged: median(&echoes[echoes.len().saturating_sub(minute)..]) - median(&echoes[..minute.min(echoes.len())]),
        worst_echo,
        lost_bursts,
        gap: gaps.max().unwrap_or_default(),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

/// Of the straight line that fits best.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
    above / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>().max(f64::MIN_POSITIVE)
}
