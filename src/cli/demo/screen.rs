//! What the demo prints: steps of the preparation, the conversation as it happens, a table at the end.

use super::caller::{Conversation, Turn};
use crate::call::{ReplyEnd, Timeline};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

/// Widest label of a line.
const LABEL: usize = 9;

pub(super) fn title() {
    line("Arioso demo: a caller, a real Asterisk, a bot at the reception.\n");
}

/// One step of the preparation.
pub(super) struct Step {
    name: &'static str,
    begun: Instant,
}

impl Step {
    pub(super) fn begin(name: &'static str) -> Self {
        Self { name, begun: Instant::now() }
    }

    /// Something that takes its time.
    pub(super) fn note(&self, text: &str) {
        line(&format!("  {:<LABEL$} {}", self.name, dim(text)));
    }

    pub(super) fn done(self, text: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        line(&format!("  {:<LABEL$} {text} {}", self.name, dim(&format!("({seconds:.1} s)"))));
    }
}

/// Something that happened in the call.
pub(super) fn event(start: Instant, who: &str, what: &str) {
    let at = start.elapsed().as_secs_f64();
    if at < 0.05 {
        line("");
    }
    line(&format!("  {at:6.2} s  {who:<LABEL$} {what}"));
}

/// The times of a turn, under its last line.
pub(super) fn timeline(timeline: &Timeline) {
    line(&format!("            {:<LABEL$} {}", "", dim(&timeline.to_string())));
}

/// The table at the end.
pub(super) fn summary(conversation: &Conversation) -> String {
    let mut text = String::from("\n  turn  endpoint  final  text  audio  packet   total  understood / answered\n");
    let answers = conversation.turns.iter().filter(|turn| turn.understood.is_some());
    for (index, turn) in answers.enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:>4}  {}", index + 1, row(turn));
    }
    let good = conversation.understood_and_answered();
    let _ = writeln!(
        text,
        "\n  Times in ms, each from the step before; total is from the end of speech to the first packet of the answer,"
    );
    let _ = writeln!(text, "  the wait for silence (endpoint) included.");
    let _ = writeln!(
        text,
        "  {good} turns were understood, and their answers recognised again from what arrived at the caller."
    );
    if let Some(stop) = conversation.barge_in {
        let _ = writeln!(
            text,
            "  Interrupted: the bot's last packet came {} ms after the caller's first syllable.",
            stop.as_millis()
        );
    }
    text
}

fn row(turn: &Turn) -> String {
    let t = &turn.timeline;
    let between = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
        (Some(from), Some(to)) => to.saturating_duration_since(from).as_millis().to_string(),
        _ => "-".to_owned(),
    };
    let understood = turn.understood.as_deref().unwrap_or_default();
    let arrived = match (turn.end, turn.arrived()) {
        (ReplyEnd::BargedIn, _) => "interrupted",
        (_, true) => "heard",
        (_, false) => "not recognised at the caller",
    };
    format!(
        "{:>8}  {:>5}  {:>4}  {:>5}  {:>6}  {:>6}  \"{understood}\" / {arrived}",
        between(t.speech_end, t.endpoint),
        between(t.endpoint, t.final_text),
        between(t.final_text, t.first_text),
        between(t.first_text, t.first_audio),
        between(t.first_audio, t.first_packet),
        between(t.speech_end, t.first_packet),
    )
}

fn dim(text: &str) -> String {
    let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if color { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn line(text: &str) {
    // A reader that has gone away is no reason to end the call untidily.
    let _ = writeln!(io::stdout(), "{text}");
}
