//! The control socket of Asterisk, spoken as `asterisk -rx` speaks it: one command a connection.
//!
//! Asterisk greets with `host/pid/version` and a line end; a command that begins with `cli quit after` and ends with a
//! zero byte is run, its output follows, and Asterisk closes the connection.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Longer than any command here takes on a busy machine; only a hanging Asterisk reaches it.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs one command; the answer is without the greeting.
pub(super) async fn command(socket: &Path, command: &str, timeout: Duration) -> io::Result<String> {
    match tokio::time::timeout(timeout, exchange(socket, command)).await {
        Ok(answer) => answer,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "Asterisk accepted the command and did not answer")),
    }
}

async fn exchange(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket).await?;
    let request = format!("cli quit after {command}\0");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes);
    let (_greeting, answer) = text.split_once('\n').ok_or_else(|| {
        io::Error::new(io::ErrorKind::UnexpectedEof, "Asterisk closed the console without a greeting")
    })?;
    Ok(without_colours(answer))
}

/// The text without terminal escape sequences (`ESC [ … letter`), which come with messages to every console.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or_default());
    }
    plain
}

// Asterisk writes some messages to every console, at the end of its start for example, and they mix with an answer. So
// each of these looks for lines of the form that it expects.

/// Names of the channels in the answer to `core show channels concise`: lines of 14 fields with `!` between them.
pub(super) fn channel_names(answer: &str) -> Vec<String> {
    let rows = answer.lines().filter(|line| line.matches('!').count() >= 13);
    // A channel that changes while Asterisk lists it can be listed twice.
    let names: BTreeSet<&str> = rows.filter_map(|line| line.split('!').next()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Ids of the bridges in the answer to `bridge show all`: lines that end in a duration.
pub(super) fn bridge_ids(answer: &str) -> Vec<String> {
    let is_duration = |word: &str| word.matches(':').count() == 2 && word.starts_with(|c: char| c.is_ascii_digit());
    let rows = answer.lines().filter(|line| line.split_whitespace().next_back().is_some_and(is_duration));
    rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The version in the answer to `core show version`: `Asterisk 22.10.1 built by …`.
pub(super) fn version(answer: &str) -> Option<String> {
    let mut versions = answer.lines().filter_map(|line| line.strip_prefix("Asterisk ")?.split_once(" built by "));
    versions.next().map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str =
        "\u{1b}[0mPBX UUID: 9ca8d2b8-32d5-4369-8fdb-d31b016b7352\n\u{1b}[1;32mAsterisk Ready.\n\u{1b}[0m\n";

    #[test]
    fn reads_the_names_of_channels() {
        let answer = "PJSIP/caller-00000001!callers!901!1!Up!Echo!!caller!!!3!7!!1732438580.1\n\
                      Local/5@site-00000000;2!site!5!1!Ring!Wait!5!!!!3!1!!1732438581.2\n\n";
        assert_eq!(channel_names(answer), ["Local/5@site-00000000;2", "PJSIP/caller-00000001"]);
        assert_eq!(channel_names(&answer.repeat(2)).len(), 2);
        assert!(channel_names(READY).is_empty());
    }

    #[test]
    fn reads_the_ids_of_bridges() {
        let head = "Bridge-ID                            Name   Chans Type            Technology      Duration\n";
        let row = "6bb5e4f4-1c1e-4d7a-9a3c-0a8b1d1f0001          2     stasis          simple_bridge   00:00:07\n";
        assert!(bridge_ids(head).is_empty());
        assert_eq!(bridge_ids(&format!("{READY}{head}{row}")), ["6bb5e4f4-1c1e-4d7a-9a3c-0a8b1d1f0001"]);
    }

    #[test]
    fn reads_the_version() {
        let answer = "Asterisk 22.10.1+dfsg+~cs6 built by nobody @ debian on a unknown running Linux on 2026-07-20\n";
        let coloured = format!("{}\u{1b}[0m{answer}", READY.trim_end());
        assert_eq!(version(&without_colours(&coloured)).as_deref(), Some("22.10.1+dfsg+~cs6"));
        assert_eq!(version(READY), None);
    }
}
