//! What came out: a table for people, JSON for programs.

use super::metric::{Dimension, Figures, METRICS, Metric, show};
use super::plan::Plan;
use super::stats::Spread;
use super::usage::machine;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// All repetitions with the same number of calls.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// How many calls.
    pub calls: usize,
    /// Figures of each repetition.
    pub repetitions: Vec<Figures>,
}

impl StepReport {
    /// A figure over the repetitions; `None` if it was not measured.
    pub fn spread(&self, metric: &Metric) -> Option<Spread> {
        Spread::of(self.repetitions.iter().filter_map(|figures| figures.get(metric.name)))
    }
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub plan: Plan,
    /// In the order of the plan.
    pub steps: Vec<StepReport>,
    /// What a reader should know before believing the figures.
    pub notes: Vec<String>,
}

impl Report {
    /// A row a figure, a column a step; where repetitions differ, the median and from where to where they go.
    pub fn table(&self) -> String {
        let mut rows = vec![header(&self.steps)];
        for metric in &METRICS {
            let cells: Vec<_> = self.steps.iter().map(|step| step.spread(metric)).collect();
            if cells.iter().any(Option::is_some) {
                let cell = |spread: &Option<Spread>| {
                    spread.map_or_else(|| "-".to_owned(), |spread| cell(metric.dimension, spread))
                };
                rows.push(std::iter::once(metric.name.to_owned()).chain(cells.iter().map(cell)).collect());
            }
        }
        let mut text = format!("{}; {}\n", self.plan.heading(), machine());
        text.push_str(&aligned(&rows));
        for note in &self.notes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// The same for a program; times in ns, memory in KiB, shares of 1.
    pub fn json(&self, failures: &[String]) -> Value {
        let steps = self.steps.iter().map(|step| {
            let spreads =
                METRICS.iter().filter_map(|metric| Some((metric.name.to_owned(), json!(step.spread(metric)?))));
            json!({
                "calls": step.calls,
                "figures": spreads.collect::<Map<_, _>>(),
                "repetitions": step.repetitions,
            })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "debug_build": cfg!(debug_assertions),
            "machine": machine(),
            "plan": self.plan.json(),
            "units": {"time": "ns", "cpu": "ns a call and second", "memory": "KiB"},
            "steps": steps.collect::<Vec<_>>(),
            "notes": self.notes,
            "failed_assertions": failures,
        })
    }
}

fn header(steps: &[StepReport]) -> Vec<String> {
    let calls = |step: &StepReport| if step.calls == 1 { "1 call".to_owned() } else { format!("{} calls", step.calls) };
    std::iter::once(String::new()).chain(steps.iter().map(calls)).collect()
}

fn cell(dimension: Dimension, spread: Spread) -> String {
    let (min, median, max) = (show(dimension, spread.min), show(dimension, spread.median), show(dimension, spread.max));
    if min == max {
        return median;
    }
    let bare = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    format!("{median} ({}–{})", bare(&min), bare(&max))
}

/// Columns side by side: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[(&'static str, f64)]) -> Figures {
        let mut figures = Figures::default();
        values.iter().for_each(|(name, value)| figures.set(name, *value));
        figures
    }

    #[test]
    fn the_table_has_a_row_a_figure_and_shows_the_spread() {
        let one = StepReport { calls: 1, repetitions: vec![figures(&[("pacing_p99", 50e3), ("lost_out", 0.0)])] };
        let many = StepReport {
            calls: 500,
            repetitions: vec![
                figures(&[("pacing_p99", 100e3), ("cpu", 600e3), ("lost_out", 0.0)]),
                figures(&[("pacing_p99", 300e3), ("cpu", 650e3), ("lost_out", 0.0)]),
                figures(&[("pacing_p99", 120e3), ("cpu", 620e3), ("lost_out", 0.0)]),
            ],
        };
        let report = Report { plan: Plan::default(), steps: vec![one, many], notes: vec!["a note".to_owned()] };
        let expected = [
            "              1 call               500 calls",
            "lost_out           0                       0",
            "pacing_p99  0.050 ms  0.120 ms (0.100–0.300)",
            "cpu                -        620 µs (600–650)",
            "note: a note",
        ];
        assert!(report.table().starts_with("full, rtp ulaw, 3 × 20 s after 5 s; "), "{}", report.table());
        assert_eq!(report.table().lines().skip(1).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_program_finds_medians_and_repetitions() {
        let step = StepReport { calls: 2, repetitions: vec![figures(&[("cpu", 5.0)]), figures(&[("cpu", 7.0)])] };
        let report = Report { plan: Plan::default(), steps: vec![step], notes: Vec::new() };
        let json = report.json(&["cpu<1us: at 2 calls it is 0.005 µs".to_owned()]);
        assert_eq!(json["steps"][0]["figures"]["cpu"]["max"], 7.0);
        assert_eq!(json["steps"][0]["repetitions"][1]["cpu"], 7.0);
        assert_eq!(json["failed_assertions"].as_array().unwrap().len(), 1);
    }
}
