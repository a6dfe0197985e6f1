//! Connections that are given up, until the far end has closed too. A connection that is dropped with bytes unread is
//! reset, and for the dialplan application `AudioSocket()` a reset is an error that hangs the caller up, where an orderly
//! end lets the dialplan go on. The media threads do it between slots ([`Closing`]), everybody else on tokio ([`close`]).

use std::io::{ErrorKind, Read as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;

/// How long the far end has to close. Asterisk needs a few milliseconds.
pub(super) const LINGER: Duration = Duration::from_secs(2);
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
        // It may be broken already; then nothing comes any more.
        let _ = stream.shutdown(Shutdown::Write);
        if self.streams.len() < MOST && stream.set_nonblocking(true).is_ok() {
            self.streams.push((stream, now + LINGER));
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.streams.is_empty()
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

/// Ends a non-blocking stream on which nothing more will be sent.
pub(super) async fn close(stream: TcpStream) {
    // As in `put`.
    let _ = stream.shutdown(Shutdown::Write);
    let Ok(mut stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let read_to_end = async {
        let mut unread = [0; 1024];
        while let Ok(1..) = stream.read(&mut unread).await {}
    };
    // Whoever does not close in time is cut off.
    let _ = tokio::time::timeout(LINGER, read_to_end).await;
}
