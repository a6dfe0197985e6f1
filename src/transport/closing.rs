//! Connections of calls that have left, until the far end has closed too. A connection that is dropped with bytes unread is
//! reset, and for the dialplan application `AudioSocket()` a reset is an error that hangs the caller up, where an orderly
//! end lets the dialplan go on.

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the far end has to close. Asterisk needs a few milliseconds.
const LINGER: Duration = Duration::from_secs(2);
/// Connections that are kept so; beyond it one is dropped at once.
const MOST: usize = 1024;
/// Reads a connection gets at a time.
const READS: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Closing {
    streams: Vec<(TcpStream, Instant)>,
}

impl Closing {
    /// A stream on which nothing more will be sent.
    pub(super) fn put(&mut self, stream: TcpStream, now: Instant) {
        if self.streams.len() < MOST {
            self.streams.push((stream, now + LINGER));
        }
    }

    /// Reads and forgets what comes, and drops what has ended. To be called now and then.
    pub(super) fn drain(&mut self, buffer: &mut [u8], now: Instant) {
        self.streams.retain_mut(|(stream, until)| *until > now && is_open(stream, buffer));
    }
}

fn is_open(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    for _ in 0..READS {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }
    true
}
