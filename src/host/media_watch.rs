//! Says once a minute what the media path has counted that a healthy system does not: each such packet would be a line of its
//! own otherwise, or nobody would ever hear of it.

use crate::transport::listen::{AudioSocketListener, ListenCounts, WebSocketListener};
use crate::transport::{WorkerStats, Workers};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

const EVERY: Duration = Duration::from_secs(60);

/// A count by its name, and where it is.
type Count<Of> = (&'static str, fn(&Of) -> u64);

/// Counts of the workers that mean trouble, as docs/media.md calls and explains them.
const OF_WORKERS: [Count<WorkerStats>; 10] = [
    ("stranger-packets", |stats| stats.stranger_packets),
    ("malformed-packets", |stats| stats.malformed_packets),
    ("malformed-messages", |stats| stats.malformed_messages),
    ("receive-errors", |stats| stats.receive_errors),
    ("packets-unsent", |stats| stats.packets_unsent),
    ("frames-unsent", |stats| stats.frames_unsent),
    ("caller-frames-dropped", |stats| stats.dropped_frames),
    ("websocket-pauses", |stats| stats.websocket_pauses),
    ("slots-skipped", |stats| stats.skipped_slots),
    ("calls-out-of-control", |stats| stats.calls_out_of_control),
];

/// The same of the listeners.
const OF_LISTENERS: [Count<ListenCounts>; 7] = [
    ("connections-unknown", |counts| counts.unknown),
    ("connections-malformed", |counts| counts.malformed),
    ("connections-unauthorized", |counts| counts.unauthorized),
    ("connections-timed-out", |counts| counts.timed_out),
    ("connections-crowded-out", |counts| counts.crowded_out),
    ("connections-too-many", |counts| counts.queue_full),
    ("connections-not-accepted", |counts| counts.accept_failed),
];

const COUNTS: usize = OF_WORKERS.len() + OF_LISTENERS.len();

/// See the module's documentation.
pub(super) struct MediaWatch {
    workers: Arc<Workers>,
    audiosocket: Option<Arc<AudioSocketListener>>,
    websocket: Option<Arc<WebSocketListener>>,
    told: [u64; COUNTS],
}

impl MediaWatch {
    pub(super) fn new(
        workers: Arc<Workers>,
        audiosocket: Option<Arc<AudioSocketListener>>,
        websocket: Option<Arc<WebSocketListener>>,
    ) -> Self {
        Self { workers, audiosocket, websocket, told: [0; COUNTS] }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one comes at once.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let counts = self.counts();
            if let Some(line) = news(&mut self.told, counts) {
                warn!("media, in the last minute: {line} (docs/media.md explains the counts)");
            }
        }
    }

    fn counts(&self) -> [u64; COUNTS] {
        let workers: Vec<WorkerStats> = self.workers.workers().iter().map(|worker| worker.stats()).collect();
        let audiosocket = self.audiosocket.as_ref().map(|listener| listener.counts());
        let websocket = self.websocket.as_ref().map(|listener| listener.counts());
        let mut counts = [0; COUNTS];
        for (count, (_, of)) in counts.iter_mut().zip(OF_WORKERS) {
            *count = workers.iter().map(of).sum();
        }
        for (count, (_, of)) in counts[OF_WORKERS.len()..].iter_mut().zip(OF_LISTENERS) {
            *count = audiosocket.iter().chain(&websocket).map(of).sum();
        }
        counts
    }
}

/// What has grown since it was last told, by how much; `None` if nothing has.
fn news(told: &mut [u64; COUNTS], counts: [u64; COUNTS]) -> Option<String> {
    let names = OF_WORKERS.iter().map(|(name, _)| name).chain(OF_LISTENERS.iter().map(|(name, _)| name));
    let mut line = String::new();
    for ((told, count), name) in told.iter_mut().zip(counts).zip(names) {
        let more = count.saturating_sub(std::mem::replace(told, count));
        if more > 0 {
            let comma = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{comma}{name}={more}");
        }
    }
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let mut told = [0; COUNTS];
        assert_eq!(news(&mut told, [0; COUNTS]), None);
        let mut counts = [0; COUNTS];
        (counts[0], counts[COUNTS - 1]) = (3, 1);
        assert_eq!(news(&mut told, counts).as_deref(), Some("stranger-packets=3, connections-not-accepted=1"));
        assert_eq!(news(&mut told, counts), None);
        counts[0] += 20_000;
        assert_eq!(news(&mut told, counts).as_deref(), Some("stranger-packets=20000"));
    }
}
