//! `arioso doctor`: shows what [`crate::ari::probe`] finds at each Asterisk, and whether the engines are there, as a
//! table or as JSON.

use super::{ConfigArgs, UsageError, print, runtime};
use crate::ari::BaseUrlError;
use crate::ari::probe::{Check, Outcome, Report, Wanted, connection, probe};
use crate::config::{Bot, Config, EngineKind, EngineName, GrpcEngine, LocalEngine};
use crate::host::{LineTest, ari_settings};
use crate::speech::local::models::{Manifest, ModelCache};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// Look at every configured Asterisk and engine and say what is missing.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write the findings as JSON: `{"asterisks", "engines"}`.
    #[arg(long)]
    pub json: bool,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Findings {
    asterisks: Vec<Report>,
    engines: Vec<EngineReport>,
}

/// What was found of one engine.
#[derive(Debug, Serialize)]
struct EngineReport {
    engine: String,
    /// Where it is; none for one of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    checks: Vec<Check>,
}

/// Looks at each configured Asterisk and engine and prints what it found.
///
/// # Errors
/// When calls will not work with all of them.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let config = args.config.load()?;
    if config.asterisks.is_empty() {
        return Err(UsageError("no [[asterisk]] is configured: there is nothing to look at".to_owned()).into());
    }
    let asterisks: Vec<_> = config
        .asterisks
        .iter()
        .map(|asterisk| Ok((asterisk, ari_settings(asterisk)?)))
        .collect::<Result<_, BaseUrlError>>()?;
    let findings = runtime()?.block_on(async {
        let mut findings = Findings { asterisks: Vec::with_capacity(asterisks.len()), engines: Vec::new() };
        for (asterisk, settings) in &asterisks {
            let transport = &asterisk.transport;
            let mut test = LineTest::new(config.media.clone(), transport.clone());
            let dialplan_calls = config.audiosocket_routes().next().is_some();
            let wanted = Wanted { transport, dialplan_calls, advertise: config.media.advertise, test: &mut test };
            findings.asterisks.push(probe(settings, wanted).await);
        }
        for (name, engine) in &config.engines {
            findings.engines.push(look_at(name, engine, &config).await);
        }
        findings
    });
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&findings)?)
    } else {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        table(&findings, color)
    };
    print(&text).context("cannot write the result")?;
    let failed = findings.checks().filter(|checks| checks.iter().any(is_failed)).count();
    ensure!(
        failed == 0,
        "{failed} of {} Asterisks and engines not ready for calls: the fixes are above",
        findings.checks().count()
    );
    Ok(())
}

fn is_failed(check: &Check) -> bool {
    matches!(check.outcome, Outcome::Failed { .. })
}

impl Findings {
    fn checks(&self) -> impl Iterator<Item = &[Check]> {
        let asterisks = self.asterisks.iter().map(|report| report.checks.as_slice());
        asterisks.chain(self.engines.iter().map(|report| report.checks.as_slice()))
    }
}

async fn look_at(name: &EngineName, engine: &EngineKind, config: &Config) -> EngineReport {
    let (url, checks) = match engine {
        EngineKind::Local(local) => (None, vec![models(local)]),
        EngineKind::Grpc(grpc) => (Some(grpc.url.to_string()), vec![port(grpc, has_stand_in(name, config)).await]),
    };
    EngineReport { engine: name.to_string(), url, checks }
}

/// Whether calls go on without this engine: every list that names it names another one.
fn has_stand_in(name: &EngineName, config: &Config) -> bool {
    let lists = config
        .bots
        .values()
        .filter_map(Bot::conversation)
        .flat_map(|bot| [&bot.recognizer, &bot.synthesizer, &bot.dialog]);
    lists.filter(|list| list.contains(name)).all(|list| list.len() > 1)
}

fn models(local: &LocalEngine) -> Check {
    const NAME: &str = "models";
    let failed = |detail: String, fix: String| Check { name: NAME, outcome: Outcome::Failed { fix }, detail };
    let cache = match local.models.as_ref().map_or_else(ModelCache::of_user, |folder| Ok(ModelCache::at(folder))) {
        Ok(cache) => cache,
        Err(error) => return failed(error.to_string(), "set HOME, or `models` of the engine".to_owned()),
    };
    let known = Manifest::bundled().models();
    let absent: Vec<_> = known.iter().filter(|model| cache.locate(model).is_err()).map(|m| m.name.as_str()).collect();
    let folder = cache.root().display();
    if absent.is_empty() {
        return Check { name: NAME, outcome: Outcome::Passed, detail: format!("all of them are in {folder}") };
    }
    failed(format!("{} not complete in {folder}", absent.join(", ")), cache.fetch_command())
}

async fn port(grpc: &GrpcEngine, has_stand_in: bool) -> Check {
    const NAME: &str = "connection";
    let (host, port) = grpc.url.host_and_port();
    match connection(host, port).await {
        Ok(()) => Check { name: NAME, outcome: Outcome::Passed, detail: format!("{} answers", grpc.url) },
        Err(error) => {
            let fix = error.fix().unwrap_or("start the engine, or correct its `url`").to_owned();
            let outcome = if has_stand_in { Outcome::Warning { fix } } else { Outcome::Failed { fix } };
            Check { name: NAME, outcome, detail: error.to_string() }
        }
    }
}

/// The reports for people: a line a check, and under each one that is not well what to do.
fn table(findings: &Findings, color: bool) -> String {
    let asterisks =
        findings.asterisks.iter().map(|report| (format!("{} ({})", report.asterisk, report.url), &report.checks));
    let engines = findings.engines.iter().map(|report| {
        let place = report.url.as_deref().unwrap_or("in this process");
        (format!("engine {} ({place})", report.engine), &report.checks)
    });
    let mut text = String::new();
    for (index, (title, checks)) in asterisks.chain(engines).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        write_checks(&mut text, &title, checks, color);
    }
    text
}

fn write_checks(text: &mut String, title: &str, checks: &[Check], color: bool) {
    let widest = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{title}");
    // Several in a row that were skipped for the same reason are one line.
    let alike = |a: &Check, b: &Check| a.outcome == Outcome::Skipped && a == &Check { name: a.name, ..b.clone() };
    for group in checks.chunk_by(alike) {
        let check = &group[0];
        let (word, paint, fix) = look_of(check);
        let word = if color { format!("\u{1b}[{paint}m{word:<4}\u{1b}[0m") } else { format!("{word:<4}") };
        let name = if group.len() > 1 { format!("{} checks", group.len()) } else { check.name.to_owned() };
        let _ = writeln!(text, "  {word}  {name:<widest$}  {}", check.detail);
        if let Some(fix) = fix {
            let _ = writeln!(text, "        {:<widest$}  fix: {fix}", "");
        }
    }
    let count = |wanted: fn(&Outcome) -> bool| checks.iter().filter(|check| wanted(&check.outcome)).count();
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

    fn samples() -> Findings {
        let fix = |text: &str| text.to_owned();
        let asterisks = vec![
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
        ];
        let models = check("models", Outcome::Failed { fix: fix("arioso models fetch") }, "x not complete in /models");
        let engines = vec![EngineReport { engine: "local".to_owned(), url: None, checks: vec![models] }];
        Findings { asterisks, engines }
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

    engine local (in this process)
      FAIL  models  x not complete in /models
                    fix: arioso models fetch
      not ready: 1 check failed
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
        let failed = &json["asterisks"][0]["checks"][1];
        assert_eq!(failed["name"], "modules");
        assert_eq!(failed["outcome"], "failed");
        assert_eq!(failed["fix"], "load it: module load chan_rtp.so");
        assert_eq!(json["asterisks"][0]["checks"][0]["outcome"], "passed");
        assert!(json["asterisks"][0]["checks"][0].get("fix").is_none());
    }

    #[tokio::test]
    async fn engines_that_are_not_there_are_found_with_their_fix() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap().port();
        // A port that was free a moment ago and that nobody listens on now.
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let engine =
            |name: &str, port: u16| format!("[engines.{name}]\nkind = \"grpc\"\nurl = \"http://127.0.0.1:{port}\"\n");
        let text = format!(
            "{}{}{}[engines.local]\nkind = \"local\"\nmodels = \"no-models\"\n[bots.b]\nlanguage = \"en\"\n\
             recognizer = [\"first\", \"there\"]\nsynthesizer = [\"only\"]\ndialog = [\"there\"]\n",
            engine("there", there),
            engine("first", nobody),
            engine("only", nobody),
        );
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse(&text, "arioso.toml", folder.path(), &crate::config::System).unwrap();
        let mut outcomes = Vec::new();
        for (name, engine) in &config.engines {
            outcomes.push(look_at(name, engine, &config).await.checks.remove(0).outcome);
        }
        let start = "start the engine, or correct its `url`".to_owned();
        let fetch = format!("arioso models fetch --models {}", folder.path().join("no-models").display());
        let expected = [
            Outcome::Warning { fix: start.clone() },
            Outcome::Failed { fix: fetch },
            Outcome::Failed { fix: start },
            Outcome::Passed,
        ];
        assert_eq!(outcomes, expected);
    }
}
