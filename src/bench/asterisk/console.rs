//! The control socket of Asterisk, spoken as `asterisk -rx` speaks it: one command a connection.
//!
//! Asterisk greets with `host/pid/version` and a line end; a command that begins with `cli quit after` and ends with a
//! zero byte is run, its output follows, and Asterisk closes the connection.

use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Longer than any command here takes on a busy machine; only a hanging Asterisk reaches it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs one command; the answer is without the greeting.
pub(super) async fn command(socket: &Path, command: &str) -> io::Result<String> {
    match tokio::time::timeout(ANSWER_TIMEOUT, exchange(socket, command)).await {
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
    Ok(answer.to_owned())
}

/// Names of the channels in the answer to `core show channels concise`.
pub(super) fn channel_names(answer: &str) -> Vec<String> {
    answer.lines().filter_map(|line| line.split_once('!')).map(|(name, _)| name.to_owned()).collect()
}

/// Ids of the bridges in the answer to `bridge show all`.
pub(super) fn bridge_ids(answer: &str) -> Vec<String> {
    let rows = answer.lines().filter(|line| !line.starts_with("Bridge-ID"));
    rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names_of_channels() {
        let answer = "PJSIP/caller-00000001!callers!901!1!Up!Echo!!caller!!!3!7!!1732438580.1\n\
                      Local/5@site-00000000;2!site!5!1!Ring!Wait!5!!!!3!1!!1732438581.2\n\n";
        assert_eq!(channel_names(answer), ["PJSIP/caller-00000001", "Local/5@site-00000000;2"]);
        assert!(channel_names("\n").is_empty());
    }

    #[test]
    fn reads_the_ids_of_bridges() {
        let head = "Bridge-ID                            Name   Chans Type            Technology      Duration\n";
        let row = "6bb5e4f4-1c1e-4d7a-9a3c-0a8b1d1f0001          2     stasis          simple_bridge   00:00:07\n";
        assert!(bridge_ids(head).is_empty());
        assert_eq!(bridge_ids(&format!("{head}{row}")), ["6bb5e4f4-1c1e-4d7a-9a3c-0a8b1d1f0001"]);
    }
}
