//! `--assert 'pacing_p99<1ms'`: what has to hold for the command to succeed.

use super::metric::{self, Dimension, METRICS, Metric};
use super::report::StepReport;
use std::fmt;
use std::str::FromStr;

/// How a figure is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

impl Comparison {
    /// Longer ones first, since they begin alike.
    const ALL: [(&'static str, Self); 6] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Equal),
        ("<", Self::Below),
        (">", Self::Above),
        ("=", Self::Equal),
    ];

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Equal => value == limit,
        }
    }
}

/// A condition on a figure, in all steps or in the one with so many calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    text: String,
    metric: &'static Metric,
    comparison: Comparison,
    limit: f64,
    calls: Option<usize>,
}

/// Why a text is no assertion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// No comparison in it.
    #[error("\"{0}\" compares nothing; write a metric, a comparison and a value: pacing_p99<1ms")]
    NoComparison(String),
    /// There is no such metric.
    #[error("there is no metric \"{name}\"{}; `arioso bench media --help` lists them", nearest(name))]
    UnknownMetric {
        /// As written.
        name: String,
    },
    /// The value is no number, or has another unit.
    #[error("\"{value}\" is no value of {metric}; write {}", example(*dimension))]
    Value {
        /// As written.
        value: String,
        /// Name of the metric.
        metric: &'static str,
        /// What it is.
        dimension: Dimension,
    },
    /// After `@` comes no number of calls.
    #[error("\"{0}\" is no number of calls; after @ comes the step that is meant: pacing_p99<1ms@500")]
    Calls(String),
}

fn nearest(name: &str) -> String {
    let near = METRICS.iter().map(|metric| (strsim::damerau_levenshtein(metric.name, name), metric.name)).min();
    near.filter(|(distance, _)| *distance <= 3)
        .map_or_else(String::new, |(_, near)| format!("; did you mean \"{near}\"?"))
}

const fn example(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Time => "a time, such as 1.5ms or 300us",
        Dimension::Cost => "a time, such as 850us",
        Dimension::Memory => "an amount, such as 48KiB",
        Dimension::Count => "a whole number, such as 0",
        Dimension::Share => "a share, such as 0.1%",
        Dimension::Factor => "a number, such as 1.5",
    }
}

impl FromStr for Assertion {
    type Err = AssertionError;

    fn from_str(text: &str) -> Result<Self, AssertionError> {
        let no_comparison = || AssertionError::NoComparison(text.to_owned());
        let at = text.find(['<', '>', '=']).ok_or_else(no_comparison)?;
        let (name, rest) = (text[..at].trim(), &text[at..]);
        let (sign, comparison) =
            Comparison::ALL.iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(no_comparison)?;
        let metric = metric::find(name).ok_or_else(|| AssertionError::UnknownMetric { name: name.to_owned() })?;
        let (value, calls) = match rest[sign.len()..].split_once('@') {
            Some((value, calls)) => {
                let wrong = || AssertionError::Calls(calls.trim().to_owned());
                (value.trim(), Some(calls.trim().parse().map_err(|_| wrong())?))
            }
            None => (rest[sign.len()..].trim(), None),
        };
        let dimension = metric.dimension;
        let wrong = || AssertionError::Value { value: value.to_owned(), metric: metric.name, dimension };
        let limit = parse_value(value, dimension).ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), metric, comparison: *comparison, limit, calls })
    }
}

/// A number with a unit of the dimension, in the unit in which the figures are.
fn parse_value(text: &str, dimension: Dimension) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let factor = match (dimension, text[end..].trim()) {
        (Dimension::Time | Dimension::Cost, "ns") => 1.0,
        (Dimension::Time | Dimension::Cost, "us" | "µs") => 1e3,
        (Dimension::Time | Dimension::Cost, "ms") => 1e6,
        (Dimension::Time | Dimension::Cost, "s") => 1e9,
        (Dimension::Memory, "KiB") => 1.0,
        (Dimension::Memory, "MiB") => 1024.0,
        (Dimension::Share, "%") => 0.01,
        (Dimension::Count | Dimension::Share | Dimension::Factor, "") => 1.0,
        _ => return None,
    };
    Some(number * factor)
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Assertion {
    /// Name of the figure.
    pub const fn metric(&self) -> &'static str {
        self.metric.name
    }

    /// The step that it is about; `None`: all.
    pub fn calls(&self) -> Option<usize> {
        self.calls
    }

    /// What does not hold, a line each; nothing if all is well. Of repetitions the median counts, of events (a packet lost)
    /// the worst.
    pub fn failures(&self, steps: &[StepReport]) -> Vec<String> {
        let meant: Vec<_> = steps.iter().filter(|step| self.calls.is_none_or(|calls| calls == step.calls)).collect();
        if meant.is_empty() {
            return vec![format!("{self}: there is no such step")];
        }
        let failure = |step: &&StepReport| {
            let Some(spread) = step.spread(self.metric) else {
                return Some(format!("{self}: at {} calls {} was not measured", step.calls, self.metric.name));
            };
            let value = match (self.metric.dimension, self.comparison) {
                (Dimension::Count | Dimension::Share, Comparison::Above | Comparison::AtLeast) => spread.min,
                (Dimension::Count | Dimension::Share, _) => spread.max,
                _ => spread.median,
            };
            let shown = metric::show(self.metric.dimension, value);
            (!self.comparison.holds(value, self.limit))
                .then(|| format!("{self}: at {} calls it is {shown}", step.calls))
        };
        meant.iter().filter_map(failure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::media::metric::Figures;

    fn parse(text: &str) -> Result<Assertion, AssertionError> {
        text.parse()
    }

    fn step(calls: usize, name: &'static str, values: &[f64]) -> StepReport {
        let repetition = |value: &f64| {
            let mut figures = Figures::default();
            figures.set(name, *value);
            figures
        };
        StepReport { calls, repetitions: values.iter().map(repetition).collect() }
    }

    #[test]
    fn units_are_converted() {
        let limit = |text| parse(text).unwrap().limit;
        assert_eq!(limit("pacing_p99<1ms"), 1e6);
        assert_eq!(limit("pacing_p99 <= 1.5 ms"), 1.5e6);
        assert_eq!(limit("cpu<850us"), 850e3);
        assert_eq!(limit("cpu<0.85ms"), 850e3);
        assert_eq!(limit("memory<48KiB"), 48.0);
        assert_eq!(limit("loss_out<0.1%"), 0.001);
        assert_eq!(limit("lost_out=0"), 0.0);
        assert_eq!(limit("baseline_ratio<=1.5"), 1.5);
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        let error = |text| parse(text).unwrap_err().to_string();
        assert!(error("pacing_p99").contains("compares nothing"));
        assert_eq!(
            error("pacing_99<1ms"),
            "there is no metric \"pacing_99\"; did you mean \"pacing_p99\"?; `arioso bench media --help` lists them"
        );
        assert_eq!(error("pacing_p99<1"), "\"1\" is no value of pacing_p99; write a time, such as 1.5ms or 300us");
        assert!(error("pacing_p99<fastms").contains("no value"));
        assert!(error("memory<1ms").contains("KiB"));
        assert!(error("pacing_p99<1ms@many").contains("number of calls"));
    }

    #[test]
    fn every_step_must_hold_and_the_median_of_its_repetitions_counts() {
        let steps = [step(1, "pacing_p99", &[0.1e6, 9e6, 0.2e6]), step(500, "pacing_p99", &[1.5e6, 0.1e6, 1.2e6])];
        assert_eq!(parse("pacing_p99<1ms").unwrap().failures(&steps), ["pacing_p99<1ms: at 500 calls it is 1.20 ms"]);
        assert!(parse("pacing_p99<1ms@1").unwrap().failures(&steps).is_empty());
        assert!(parse("pacing_p99<2ms").unwrap().failures(&steps).is_empty());
    }

    #[test]
    fn of_events_the_worst_repetition_counts() {
        let steps = [step(50, "lost_out", &[0.0, 3.0, 0.0])];
        assert_eq!(parse("lost_out=0").unwrap().failures(&steps), ["lost_out=0: at 50 calls it is 3"]);
        assert_eq!(parse("lost_out>0").unwrap().failures(&steps).len(), 1, "not in every repetition");
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        let steps = [step(50, "lost_out", &[0.0])];
        assert!(parse("turnaround_p99<1ms").unwrap().failures(&steps)[0].contains("was not measured"));
        assert!(parse("lost_out=0@7").unwrap().failures(&steps)[0].contains("no such step"));
    }
}
