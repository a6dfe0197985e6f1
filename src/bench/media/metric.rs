//! What can be measured: the name of each figure, its unit, what it means, and how repetitions are judged.

use super::stats::Distribution;
use serde::Serialize;
use std::collections::BTreeMap;

/// What kind of number a figure is; all figures of a kind have the same unit inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// In nanoseconds.
    Time,
    /// CPU time a call and second of the call, in nanoseconds.
    Cost,
    /// In KiB.
    Memory,
    /// How often something happened.
    Count,
    /// A share of 1.
    Share,
    /// A quotient.
    Factor,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// In assertions and in JSON.
    pub name: &'static str,
    /// Unit.
    pub dimension: Dimension,
    /// What it says.
    pub about: &'static str,
}

/// Figures of one repetition by name; one that does not apply is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures(BTreeMap<&'static str, f64>);

impl Figures {
    /// Notes a figure under a name of [`METRICS`].
    pub(super) fn set(&mut self, name: &'static str, value: f64) {
        debug_assert!(find(name).is_some(), "{name} is in the list");
        self.0.insert(name, value);
    }

    /// Notes a distribution under the names that begin alike; without values, nothing.
    pub(super) fn set_all(&mut self, names: [&'static str; 4], distribution: &Distribution) {
        if distribution.count > 0 {
            let values = [distribution.mean, distribution.p50, distribution.p99, distribution.max];
            names
                .into_iter()
                .zip(values)
                .filter(|(name, _)| !name.is_empty())
                .for_each(|(name, value)| self.set(name, value));
        }
    }

    /// The figure with this name, if it was measured.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

/// The metric with this name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

const fn metric(name: &'static str, dimension: Dimension, about: &'static str) -> Metric {
    Metric { name, dimension, about }
}

use Dimension::{Cost, Count, Factor, Memory, Share, Time};

/// All figures, in the order of the table.
pub static METRICS: [Metric; 46] = [
    metric("set_up_p50", Time, "from StasisStart to the first packet of the server"),
    metric("set_up_p99", Time, "the same"),
    metric("set_up_max", Time, "the same"),
    metric("set_up_failed", Count, "calls that did not come up"),
    metric("lost_in", Count, "packets of callers that did not reach the engine (echo: that did not come back)"),
    metric("loss_in", Share, "the same, of all that were sent"),
    metric("late_in", Count, "of those that did, over 20 ms on their way, or after a later one"),
    metric("duplicated_in", Count, "audio of callers that came more than once"),
    metric("unmarked_in", Count, "pieces of audio at the engine that no caller has sent: concealment, silence"),
    metric("lost_out", Count, "packets of the server that are missing in their sequence or in time"),
    metric("loss_out", Share, "the same, of all that were due"),
    metric("late_out", Count, "over 20 ms behind their place in the stream, or after a later one"),
    metric("duplicated_out", Count, "packets of the server that came more than once"),
    metric("pacing_p50", Time, "distance of the server's packets from the best-fitting 20 ms grid of their stream"),
    metric("pacing_p99", Time, "the same"),
    metric("pacing_max", Time, "the same"),
    metric("interval_p99", Time, "by how much the time between two packets of a stream is off 20 ms"),
    metric("interval_max", Time, "the same"),
    metric("turnaround_mean", Time, "echo: from sending a packet to its return"),
    metric("turnaround_p50", Time, "the same"),
    metric("turnaround_p99", Time, "the same"),
    metric("turnaround_max", Time, "the same"),
    metric("to_engine_mean", Time, "from sending a packet to the arrival of its audio in the engine's process"),
    metric("to_engine_p50", Time, "the same"),
    metric("to_engine_p99", Time, "the same"),
    metric("to_engine_max", Time, "the same"),
    metric("first_audio_mean", Time, "from the engine's sending the first audio of a reply to its first packet"),
    metric("first_audio_p50", Time, "the same"),
    metric("first_audio_p99", Time, "the same"),
    metric("first_audio_max", Time, "the same"),
    metric("replies", Count, "replies that were heard while measuring"),
    metric("cpu", Cost, "CPU time of the server a call and second"),
    metric("cpu_media", Cost, "of this, its media threads"),
    metric("cpu_other", Cost, "of this, all other threads"),
    metric("memory", Memory, "growth of the server's memory (Pss) a call"),
    metric("memory_total", Memory, "all of it at the end"),
    metric("baseline_cpu", Cost, "CPU time of a bare batched UDP echo a call and second"),
    metric("baseline_ratio", Factor, "cpu as a multiple of baseline_cpu"),
    metric("baseline_pacing_p99", Time, "pacing error of the bare echo"),
    metric("baseline_turnaround_mean", Time, "turnaround of the bare echo"),
    metric("flood_sent", Count, "packets from a stranger's address that were sent to the server's port"),
    metric("tool_late_p99", Time, "how late this tool sent its own packets"),
    metric("tool_late_max", Time, "the same"),
    metric("tool_player_cpu", Share, "of one processor, what the player of this tool used"),
    metric("tool_engine_cpu", Share, "of one processor, what the engine of this tool used"),
    metric(
        "tool_dropped",
        Count,
        "packets that this tool's own sockets lost: with more than 0, distrust lost_out and lost_in",
    ),
];

/// A value for people.
pub(super) fn show(dimension: Dimension, value: f64) -> String {
    match dimension {
        Dimension::Time => format!("{} ms", digits(value / 1e6)),
        Dimension::Cost => format!("{} µs", digits(value / 1e3)),
        Dimension::Memory => format!("{} KiB", digits(value)),
        Dimension::Count => format!("{value:.0}"),
        Dimension::Share => format!("{} %", digits(value * 100.0)),
        Dimension::Factor => format!("{value:.2}"),
    }
}

/// About three digits.
fn digits(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (n, metric) in METRICS.iter().enumerate() {
            assert!(METRICS[n + 1..].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
    }

    #[test]
    fn values_have_units_and_about_three_digits() {
        assert_eq!(show(Dimension::Time, 1_234_567.0), "1.23 ms");
        assert_eq!(show(Dimension::Time, 34_000.0), "0.034 ms");
        assert_eq!(show(Dimension::Cost, 656_000.0), "656 µs");
        assert_eq!(show(Dimension::Memory, 31.25), "31.2 KiB");
        assert_eq!(show(Dimension::Share, 0.0012), "0.120 %");
        assert_eq!(show(Dimension::Count, 3.0), "3");
    }

    #[test]
    fn what_was_not_measured_is_not_there() {
        let mut figures = Figures::default();
        figures.set_all(
            ["turnaround_mean", "turnaround_p50", "turnaround_p99", "turnaround_max"],
            &Distribution::default(),
        );
        assert_eq!(figures, Figures::default());
    }
}
