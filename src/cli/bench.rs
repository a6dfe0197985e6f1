//! `arioso bench`: load tests.

use super::{UsageError, print, runtime};
use crate::audio::Codec;
use crate::bench::media::{self, Assertion, CallerAudio, METRICS, Mode, Peer, Plan, Progress, Transport, usable_cpus};
use crate::config::{LegCodec, LinearCodec, RtpCodec};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Measure the server under load.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// What to measure.
    #[command(subcommand)]
    pub command: BenchCommand,
}

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the media path: packets in time, delay, cost and memory a call, for a growing number of calls.
    ///
    /// Starts a real `arioso serve` and, in processes of their own, an Asterisk and engines that are played, so nothing
    /// else is needed. Use a release build, and a machine that does nothing else.
    #[command(after_long_help = metrics())]
    Media(Box<MediaArgs>),
}

/// What `arioso bench media` measures.
#[derive(Clone, Debug, Args)]
pub struct MediaArgs {
    /// Calls at the same time, a step each.
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', default_values_t = [1, 50, 250, 500, 1000])]
    pub calls: Vec<usize>,
    /// How long each step is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub seconds: u64,
    /// How long the calls run before they are measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=300))]
    pub warm_up: u64,
    /// How often each step is repeated, with new processes each time.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub repeat: u64,
    /// What the server does with the calls.
    #[arg(long, value_enum, default_value_t = Mode::Full)]
    pub mode: Mode,
    /// How audio travels between Asterisk and the server.
    #[arg(long, value_enum, default_value_t = Transport::Rtp)]
    pub transport: Transport,
    /// How audio is written, as Asterisk names it (default: ulaw; slin for AudioSocket).
    #[arg(long, value_name = "NAME", value_parser = codec)]
    pub codec: Option<Codec>,
    /// What callers say.
    #[arg(long, value_enum, default_value_t = CallerAudio::Speech)]
    pub audio: CallerAudio,
    /// Calls that arrive a second.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub set_up_rate: u32,
    /// Packets a second that a stranger sends to the server's port meanwhile.
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub flood: u32,
    /// Leave the bare echo out, with which the server is compared.
    #[arg(long)]
    pub no_baseline: bool,
    /// Processors of the server (default: the first that may be used, if there are two).
    #[arg(long, value_name = "NUMBER,…", value_delimiter = ',')]
    pub server_cpus: Option<Vec<usize>>,
    /// Processors of everything else (default: the others).
    #[arg(long, value_name = "NUMBER,…", value_delimiter = ',')]
    pub tool_cpus: Option<Vec<usize>>,
    /// Write all figures as JSON to this file; `-`: to standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Fail unless this holds in every step, such as 'pacing_p99<1ms', or in one, such as 'lost_out=0@500'. Can be repeated.
    #[arg(long, value_name = "CONDITION", value_parser = assertion)]
    pub assert: Vec<Assertion>,
}

/// Which process to be.
#[derive(Clone, Debug, Args)]
pub struct BenchPeerArgs {
    /// Its part.
    #[arg(value_enum)]
    pub peer: Peer,
}

/// Stamps have room for so many calls, and a machine that carries more is not this tool's.
const MAX_CALLS: usize = 10_000;

fn codec(name: &str) -> Result<Codec, &'static str> {
    media::codec(name).ok_or("write one of ulaw, alaw, g722, opus, slin, slin16, slin24, slin48")
}

fn assertion(text: &str) -> Result<Assertion, String> {
    text.parse().map_err(|error: media::AssertionError| error.to_string())
}

/// The list of all metrics, for the help.
fn metrics() -> String {
    let mut text = String::from(
        "Figures, for --assert (times in ns, us, ms or s, memory in KiB or MiB, shares in %):\n\
         Of repetitions the median counts; of events and shares (lost_out, loss_in) the worst.\n\n",
    );
    for metric in &METRICS {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {:<25} {}", metric.name, metric.about);
    }
    let _ = write!(text, "\n{}", super::EXIT_CODES);
    text
}

/// Runs the command.
///
/// # Errors
/// When something cannot be started or measured, or an assertion does not hold.
pub fn run(args: &BenchArgs) -> Result<()> {
    match &args.command {
        BenchCommand::Media(args) => measure(args),
    }
}

/// Is one of the processes of a measurement.
///
/// # Errors
/// What the operating system says.
pub fn be(args: &BenchPeerArgs) -> Result<()> {
    media::be(args.peer).context("a process of the bench")
}

fn measure(args: &MediaArgs) -> Result<()> {
    let plan = plan(args)?;
    // Opened first: what was measured for an hour is not to be lost for a folder that is not there.
    let mut json_file = match args.json.as_deref().filter(|file| *file != Path::new("-")) {
        Some(file) => Some(File::create(file).with_context(|| format!("cannot write {}", file.display()))?),
        None => None,
    };
    let mut display = Display::new(&plan);
    let report = runtime()?.block_on(async {
        let mut stop = super::stop::StopSignals::listen()?;
        tokio::select! {
            report = media::run(plan, &mut display) => report.map_err(anyhow::Error::from),
            () = stop.next() => bail!("interrupted"),
        }
    })?;
    display.bar.finish_and_clear();
    let failures: Vec<String> = args.assert.iter().flat_map(|assertion| assertion.failures(&report.steps)).collect();
    let json = || format!("{:#}\n", report.json(&failures));
    match (&mut json_file, &args.json) {
        (None, Some(_)) => print(&json())?,
        (None, None) => print(&report.table())?,
        (Some(file), _) => {
            print(&report.table())?;
            file.write_all(json().as_bytes()).context("cannot write the file of --json")?;
        }
    }
    match failures.as_slice() {
        [] => Ok(()),
        failures => bail!("not as asserted:\n  {}", failures.join("\n  ")),
    }
}

fn plan(args: &MediaArgs) -> Result<Plan> {
    if let Some(wrong) = args.calls.iter().find(|calls| !(1..=MAX_CALLS).contains(*calls)) {
        return Err(UsageError(format!("--calls: {wrong} is not from 1 to {MAX_CALLS}")).into());
    }
    for assertion in &args.assert {
        if let Some(calls) = assertion.calls().filter(|calls| !args.calls.contains(calls)) {
            return Err(UsageError(format!("--assert '{assertion}': there is no step with {calls} calls")).into());
        }
    }
    let codec = args.codec.unwrap_or(args.transport.default_codec());
    if let Some(why) = refusal(args.transport, codec) {
        return Err(UsageError(format!("--codec {}: {why}", codec.asterisk_format())).into());
    }
    let (server_cpus, tool_cpus) = placement(args)?;
    let plan = Plan {
        calls: args.calls.clone(),
        window: Duration::from_secs(args.seconds),
        warm_up: Duration::from_secs(args.warm_up),
        repeat: usize::try_from(args.repeat).unwrap_or(1),
        mode: args.mode,
        transport: args.transport,
        codec,
        audio: args.audio,
        set_up_rate: args.set_up_rate,
        flood: args.flood,
        baseline: !args.no_baseline,
        server_cpus,
        tool_cpus,
    };
    if let Some(assertion) = args.assert.iter().find(|assertion| !plan.measures(assertion.metric())) {
        let text = format!("--assert '{assertion}': this run does not measure {}", assertion.metric());
        return Err(UsageError(text).into());
    }
    Ok(plan)
}

/// Why Asterisk cannot carry this codec so, if it cannot.
fn refusal(transport: Transport, codec: Codec) -> Option<&'static str> {
    let codec = LegCodec::ALL.into_iter().find(|of_legs| of_legs.codec() == codec)?;
    match transport {
        Transport::Rtp => RtpCodec::try_from(codec).err(),
        Transport::Audiosocket => LinearCodec::try_from(codec).err(),
        Transport::Websocket => None,
    }
}

/// Who runs where. Nothing is placed on a machine with one processor.
fn placement(args: &MediaArgs) -> Result<(Vec<usize>, Vec<usize>)> {
    let usable = usable_cpus();
    let named = args.server_cpus.iter().chain(&args.tool_cpus).flatten();
    if let Some(wrong) = named.clone().find(|cpu| !usable.contains(cpu)) {
        let usable = usable.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        return Err(UsageError(format!("there is no processor {wrong} here; there is: {usable}")).into());
    }
    if usable.len() < 2 {
        return Ok((Vec::new(), Vec::new()));
    }
    let server = match (&args.server_cpus, &args.tool_cpus) {
        (Some(server), _) => server.clone(),
        (None, Some(tool)) => usable.iter().copied().filter(|cpu| !tool.contains(cpu)).take(1).collect(),
        (None, None) => vec![usable[0]],
    };
    let tool = match &args.tool_cpus {
        Some(tool) => tool.clone(),
        None => usable.iter().copied().filter(|cpu| !server.contains(cpu)).collect(),
    };
    if server.iter().any(|cpu| tool.contains(cpu)) || server.is_empty() || tool.is_empty() {
        let text = "--server-cpus and --tool-cpus must not share processors: the tool would disturb what it measures";
        return Err(UsageError(text.to_owned()).into());
    }
    Ok((server, tool))
}

/// Shows how far it is: a moving line on a terminal, nothing anywhere else.
struct Display {
    bar: ProgressBar,
    calls: Vec<usize>,
    repeat: usize,
}

impl Display {
    fn new(plan: &Plan) -> Self {
        let total = (plan.calls.len() * plan.repeat) as u64;
        let bar = if io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
        // A template that cannot be read would only make the line plainer.
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}, {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, calls: plan.calls.clone(), repeat: plan.repeat }
    }
}

impl Progress for Display {
    fn phase(&mut self, step: usize, repetition: usize, what: &str) {
        self.bar.set_position((step * self.repeat + repetition) as u64);
        let calls = self.calls.get(step).copied().unwrap_or(0);
        self.bar.set_message(format!("{calls} calls, {} of {}: {what}", repetition + 1, self.repeat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Mounted {
        #[command(flatten)]
        args: MediaArgs,
    }

    fn parse(arguments: &[&str]) -> Result<MediaArgs, clap::Error> {
        Mounted::try_parse_from([&["media"], arguments].concat()).map(|mounted| mounted.args)
    }

    #[test]
    fn an_unknown_metric_is_wrong_usage() {
        let error = parse(&["--assert", "pace<1ms"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("there is no metric \"pace\""), "{error}");
    }

    #[test]
    fn a_step_that_is_not_measured_cannot_be_asserted() {
        let args = parse(&["--calls", "1,2", "--assert", "lost_out=0@3"]).unwrap();
        assert!(plan(&args).unwrap_err().is::<UsageError>());
    }

    #[test]
    fn what_a_run_does_not_measure_cannot_be_asserted() {
        for (arguments, metric) in [
            (vec!["--mode", "echo"], "replies>0"),
            (vec!["--mode", "echo", "--codec", "slin16"], "lost_in=0"),
            (vec!["--codec", "g722"], "to_engine_p99<2ms"),
            (vec!["--no-baseline"], "baseline_ratio<2"),
            (vec!["--transport", "audiosocket"], "baseline_ratio<2"),
        ] {
            let error = plan(&parse(&[&arguments[..], &["--assert", metric]].concat()).unwrap()).unwrap_err();
            assert!(error.is::<UsageError>() && error.to_string().contains("does not measure"), "{error}");
        }
        assert!(plan(&parse(&["--mode", "echo", "--assert", "turnaround_p99<30ms"]).unwrap()).is_ok());
    }

    #[test]
    fn a_codec_that_the_transport_cannot_carry_is_refused_with_the_reason() {
        for arguments in [["--codec", "opus", "--transport", "rtp"], ["--codec", "ulaw", "--transport", "audiosocket"]]
        {
            let error = plan(&parse(&arguments).unwrap()).unwrap_err();
            assert!(error.is::<UsageError>() && error.to_string().contains("cannot be carried by"), "{error}");
        }
        assert!(plan(&parse(&["--codec", "opus", "--transport", "websocket"]).unwrap()).is_ok());
    }

    #[test]
    fn processors_that_are_shared_or_not_there_are_refused() {
        let shared = parse(&["--server-cpus", "0", "--tool-cpus", "0"]).unwrap();
        let absent = parse(&["--server-cpus", "4095"]).unwrap();
        assert!(plan(&absent).unwrap_err().to_string().contains("no processor 4095"));
        if usable_cpus().len() > 1 && usable_cpus().contains(&0) {
            assert!(plan(&shared).unwrap_err().to_string().contains("must not share"));
        }
    }

    #[test]
    fn the_help_names_every_metric() {
        assert!(METRICS.iter().all(|metric| metrics().contains(metric.name)));
    }
}
