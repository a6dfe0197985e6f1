//! `arioso doctor`: shows what [`crate::ari::probe`] finds, as a table or as JSON.

use super::{ConfigArgs, print, runtime};
use crate::ari::probe::{Check, Outcome, Report, probe};
use crate::host::ari_settings;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::net::SocketAddr;

/// Look at every configured Asterisk and say what is missing.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write the findings as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Looks at each configured Asterisk and prints what it found.
///
/// # Errors
/// When calls will not work on all of them.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let config = args.config.load()?;
    ensure!(!config.asterisks.is_empty(), "no [[asterisk]] is configured: there is nothing to look at");
    let asterisks: Vec<_> = config.asterisks.iter().map(ari_settings).collect::<Result<_, _>>()?;
    // What Asterisk is told to send a caller's audio to.
    let media = SocketAddr::new(config.media.advertise, *config.media.ports.start());
    let reports = runtime()?.block_on(async {
        let mut reports = Vec::with_capacity(asterisks.len());
        for settings in &asterisks {
            reports.push(probe(settings, media).await);
        }
        reports
    });
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&reports)?)
    } else {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        table(&reports, color)
    };
    print(&text).context("cannot write the result")?;
    let failed = reports.iter().filter(|report| !report.passed()).count();
    ensure!(failed == 0, "{failed} of {} cannot take calls yet: the fixes are above", reports.len());
    Ok(())
}

/// The reports for people: a line a check, and under each one that is not well what to do.
fn table(reports: &[Report], color: bool) -> String {
    let mut text = String::new();
    for (index, report) in reports.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        write_report(&mut text, report, color);
    }
    text
}

fn write_report(text: &mut String, report: &Report, color: bool) {
    let widest = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{} ({})", report.asterisk, report.url);
    // Several in a row that were skipped for the same reason are one line.
    let alike = |a: &Check, b: &Check| a.outcome == Outcome::Skipped && a == &Check { name: a.name, ..b.clone() };
    for group in report.checks.chunk_by(alike) {
        let check = &group[0];
        let (word, paint, fix) = look_of(check);
        let word = if color { format!("\u{1b}[{paint}m{word:<4}\u{1b}[0m") } else { format!("{word:<4}") };
        let name = if group.len() > 1 { format!("{} checks", group.len()) } else { check.name.to_owned() };
        let _ = writeln!(text, "  {word}  {name:<widest$}  {}", check.detail);
        if let Some(fix) = fix {
            let _ = writeln!(text, "        {:<widest$}  fix: {fix}", "");
        }
    }
    let count = |wanted: fn(&Outcome) -> bool| report.checks.iter().filter(|check| wanted(&check.outcome)).count();
    let failed = count(|outcome| matches!(outcome, Outcome::Failed { .. }));
    let warnings = count(|outcome| matches!(outcome, Outcome::Warning { .. }));
    let verdict = match (failed, warnings) {
        (0, 0) => "ready for calls".to_owned(),
        (0, 1) => "ready for calls, with 1 warning".to_owned(),
        (0, warnings) => format!("ready for calls, with {warnings} warnings"),
        (1, _) => "not ready: 1 check failed".to_owned(),
        (failed, _) => format!("not ready: {failed} checks failed"),
    };
    let _ = writeln!(text, "  {verdict}");
}

/// The word, its colour (ANSI) and the fix of a check.
fn look_of(check: &Check) -> (&'static str, &'static str, Option<&str>) {
    match &check.outcome {
        Outcome::Passed => ("ok", "32", None),
        Outcome::Warning { fix } => ("warn", "33", Some(fix)),
        Outcome::Failed { fix } => ("FAIL", "1;31", Some(fix)),
        Outcome::Skipped => ("skip", "2", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(checks: Vec<Check>) -> Report {
        Report { asterisk: "pbx".to_owned(), url: "http://127.0.0.1:8088".to_owned(), checks }
    }

    fn check(name: &'static str, outcome: Outcome, detail: &str) -> Check {
        Check { name, outcome, detail: detail.to_owned() }
    }

    fn samples() -> Vec<Report> {
        let fix = |text: &str| text.to_owned();
        vec![
            report(vec![
                check("reach ARI", Outcome::Passed, "http://127.0.0.1:8088 answers"),
                check(
                    "modules",
                    Outcome::Failed { fix: fix("load it: module load chan_rtp.so") },
                    "chan_rtp.so is not loaded",
                ),
                check("application", Outcome::Warning { fix: fix("nothing") }, "a program is connected as `arioso`"),
                check("external media", Outcome::Skipped, "there is no events socket"),
                check("dead-man timer", Outcome::Skipped, "there is no events socket"),
            ]),
            report(vec![check("reach ARI", Outcome::Passed, "http://127.0.0.1:8088 answers")]),
        ]
    }

    #[test]
    fn a_table_is_aligned_and_tells_the_fix() {
        insta::assert_snapshot!(table(&samples(), false), @r"
    pbx (http://127.0.0.1:8088)
      ok    reach ARI       http://127.0.0.1:8088 answers
      FAIL  modules         chan_rtp.so is not loaded
                            fix: load it: module load chan_rtp.so
      warn  application     a program is connected as `arioso`
                            fix: nothing
      skip  2 checks        there is no events socket
      not ready: 1 check failed

    pbx (http://127.0.0.1:8088)
      ok    reach ARI  http://127.0.0.1:8088 answers
      ready for calls
    ");
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        assert!(!table(&samples(), false).contains('\u{1b}'));
        assert!(table(&samples(), true).contains("\u{1b}[1;31mFAIL\u{1b}[0m"));
    }

    #[test]
    fn json_holds_outcome_and_fix_side_by_side() {
        let json = serde_json::to_value(samples()).unwrap();
        let failed = &json[0]["checks"][1];
        assert_eq!(failed["name"], "modules");
        assert_eq!(failed["outcome"], "failed");
        assert_eq!(failed["fix"], "load it: module load chan_rtp.so");
        assert_eq!(json[0]["checks"][0]["outcome"], "passed");
        assert!(json[0]["checks"][0].get("fix").is_none());
    }
}
