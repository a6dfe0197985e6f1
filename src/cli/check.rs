//! `arioso check`: whether the configuration can be used, and what it says.

use super::{AlreadyTold, ConfigArgs, print};
use crate::config::{Asterisk, Bot, BotName, Config, ConfigError, EngineKind, EngineName, Entrance, Place, Route};
use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;

/// What to check, and how to say it.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Write the result as JSON: `{"ok", "errors", "warnings", "summary"}`.
    #[arg(long)]
    pub json: bool,
}

/// Checks the configuration and prints the result.
///
/// # Errors
/// A configuration that cannot be used, after what is wrong with it has been printed where `--json` asks for that.
pub fn run(args: &CheckArgs) -> Result<()> {
    let path = &args.config.config;
    let checked = Config::load(path);
    let result = if args.json {
        format!("{:#}\n", as_json(&checked))
    } else {
        checked.as_ref().map(|config| summary(path, config)).unwrap_or_default()
    };
    print(&result).context("cannot write the result")?;
    match checked {
        Ok(_) => Ok(()),
        // It stands in the result.
        Err(_) if args.json => Err(AlreadyTold.into()),
        Err(error) => Err(error.into()),
    }
}

/// For people: what was understood, aligned, and what is odd.
fn summary(path: &Path, config: &Config) -> String {
    let mut text = format!("{} is in order.\n", path.display());
    // Writing to a string does not fail.
    for Asterisk { name, url, app, transport, .. } in &config.asterisks {
        let _ = writeln!(text, "  asterisk  {name:<16} {url}, application \"{app}\", {transport}");
    }
    let media = &config.media;
    let _ = writeln!(
        text,
        "  media     {:<16} advertised as {}, UDP {}{}, at most {} calls",
        media.listen,
        media.advertise,
        ports(&media.ports),
        tcp_ports(config),
        media.max_calls
    );
    for (name, engine) in &config.engines {
        let _ = match engine {
            EngineKind::Local(_) => writeln!(text, "  engine    {name:<16} in this process"),
            EngineKind::Grpc(grpc) => writeln!(text, "  engine    {name:<16} {}", grpc.url),
        };
    }
    for (name, bot) in &config.bots {
        let _ = writeln!(text, "  bot       {name:<16} {}", engines_of(bot));
    }
    for route in &config.routes {
        let _ = writeln!(text, "  route     {:<16} {}", route.entrance, route.bot);
    }
    for warning in &config.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

fn ports(ports: &RangeInclusive<u16>) -> String {
    match (ports.start(), ports.end()) {
        (from, to) if from == to => format!("port {from}"),
        (from, to) => format!("ports {from}-{to}"),
    }
}

/// The ports to which Asterisks connect, if any do.
fn tcp_ports(config: &Config) -> String {
    let audiosocket =
        config.uses_audiosocket().then(|| format!(", AudioSocket port {}", config.media.audiosocket_port));
    let websocket = config.uses_websocket_port().then(|| format!(", WebSocket port {}", config.media.websocket_port));
    [audiosocket, websocket].into_iter().flatten().collect()
}

fn engines_of(bot: &Bot) -> String {
    let Some(bot) = bot.conversation() else { return "echoes the caller, without engines".to_owned() };
    let list = |names: &[EngineName]| names.iter().map(EngineName::as_str).collect::<Vec<_>>().join(", then ");
    format!(
        "{}; hears by {}; speaks by {}; converses by {}",
        bot.language.as_str(),
        list(&bot.recognizer),
        list(&bot.synthesizer),
        list(&bot.dialog)
    )
}

/// For programs.
fn as_json(checked: &Result<Config, ConfigError>) -> Value {
    match checked {
        Ok(config) => {
            let warnings: Vec<_> =
                config.warnings.iter().map(|w| finding(Some(&w.place), &w.key, &w.caution.to_string())).collect();
            json!({ "ok": true, "errors": [], "warnings": warnings, "summary": json_summary(config) })
        }
        Err(ConfigError::Invalid(problems)) => {
            let errors: Vec<_> =
                problems.iter().map(|p| finding(Some(&p.place), &p.key, &p.fault.to_string())).collect();
            json!({ "ok": false, "errors": errors, "warnings": [], "summary": null })
        }
        Err(error @ ConfigError::Read { .. }) => {
            json!({ "ok": false, "errors": [finding(None, "", &error.to_string())], "warnings": [], "summary": null })
        }
    }
}

fn finding(place: Option<&Place>, key: &str, message: &str) -> Value {
    json!({
        "file": place.map(|place| &place.file),
        "line": place.map(|place| place.line),
        "column": place.map(|place| place.column),
        "key": key,
        "message": message,
    })
}

fn json_summary(config: &Config) -> Value {
    let asterisks = config.asterisks.iter().map(|asterisk| {
        json!({
            "name": asterisk.name.as_str(), "url": asterisk.url.as_str(), "app": asterisk.app.as_str(),
            "transport": asterisk.transport.as_str(), "codec": asterisk.transport.codec().asterisk_format(),
            "dead_man_ms": millis(asterisk.dead_man),
        })
    });
    let engine = |(name, engine): (&EngineName, &EngineKind)| match engine {
        EngineKind::Local(_) => json!({ "name": name.as_str(), "kind": "local" }),
        EngineKind::Grpc(grpc) => json!({ "name": name.as_str(), "kind": "grpc", "url": grpc.url.as_str() }),
    };
    let names = |names: &[EngineName]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let bot = |(name, bot): (&BotName, &Bot)| match bot.conversation() {
        None => json!({ "name": name.as_str(), "echo": true }),
        Some(bot) => json!({
            "name": name.as_str(), "language": bot.language.as_str(), "recognizer": names(&bot.recognizer),
            "synthesizer": names(&bot.synthesizer), "dialog": names(&bot.dialog),
        }),
    };
    let route = |route: &Route| match &route.entrance {
        Entrance::Number(number) => json!({ "number": number.to_string(), "bot": route.bot.as_str() }),
        // The whole UUID is a secret.
        Entrance::AudioSocket(id) => json!({ "audiosocket": id.to_string(), "bot": route.bot.as_str() }),
    };
    let media = &config.media;
    json!({
        "asterisks": asterisks.collect::<Vec<_>>(),
        "media": {
            "listen": media.listen, "ports": [media.ports.start(), media.ports.end()], "advertise": media.advertise,
            "max_calls": media.max_calls, "cpus": media.cpus,
            "audiosocket_port": config.uses_audiosocket().then_some(media.audiosocket_port),
            "websocket_port": config.uses_websocket_port().then_some(media.websocket_port),
        },
        "engines": config.engines.iter().map(engine).collect::<Vec<_>>(),
        "bots": config.bots.iter().map(bot).collect::<Vec<_>>(),
        "routes": config.routes.iter().map(route).collect::<Vec<_>>(),
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_port_is_no_range() {
        assert_eq!(ports(&(31_000..=31_000)), "port 31000");
        assert_eq!(ports(&(31_000..=31_007)), "ports 31000-31007");
    }
}
