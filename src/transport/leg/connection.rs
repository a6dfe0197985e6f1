//! A TCP connection to Asterisk that never waits: whole messages go out or do not, and never a part of one.
//!
//! AudioSocket and WebSocket are streams of messages with lengths in front. A message that was begun must be finished
//! before anything else is sent, or the far end takes audio for a length and the stream is lost for good.

use super::LegLoss;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4Tos, Ipv6TClass, SndBuf, TcpUserTimeout};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Audio that the kernel may hold for a peer that does not read. What is sent later than this is of no use.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// A peer that takes nothing for so long is lost.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(in crate::transport) struct Connection {
    stream: TcpStream,
    /// The end of a message whose beginning was sent.
    rest: Vec<u8>,
    /// Since when nothing was taken.
    full_since: Option<Instant>,
    /// Whether the worker waits for it to take bytes.
    pub(in crate::transport) watched_for_writing: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is sent, or will be before anything else.
    Whole,
    /// There is no room: nothing of it was sent.
    Not,
}

impl Connection {
    /// Takes over a connection.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // The others are improvements, not needs.
        let _ = setsockopt(&stream, SndBuf, &SEND_BUFFER_BYTES);
        let _ = setsockopt(&stream, TcpUserTimeout, &(STUCK_AFTER.as_millis() as u32));
        let _ = match stream.peer_addr()? {
            SocketAddr::V4(_) => setsockopt(&stream, Ipv4Tos, &crate::transport::socket::EXPEDITED_FORWARDING.into()),
            SocketAddr::V6(_) => {
                setsockopt(&stream, Ipv6TClass, &crate::transport::socket::EXPEDITED_FORWARDING.into())
            }
        };
        Ok(Self { stream, rest: Vec::new(), full_since: None, watched_for_writing: false })
    }

    pub(in crate::transport) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What has come, in the beginning of `buffer`; empty when nothing has.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, LegLoss> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(LegLoss::Closed),
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(LegLoss::Broken(error.kind())),
            }
        }
    }

    /// Sends a message in one write, if there is room for at least its beginning.
    pub(super) fn send(&mut self, message: &[u8], now: Instant) -> Result<Sent, LegLoss> {
        if !self.finish(now)? {
            return Ok(Sent::Not);
        }
        let written = self.write(message, now)?;
        if written == 0 {
            return Ok(Sent::Not);
        }
        self.rest.extend_from_slice(&message[written..]);
        Ok(Sent::Whole)
    }

    /// Sends the end of the message that was begun; whether there is nothing left of it.
    pub(in crate::transport) fn finish(&mut self, now: Instant) -> Result<bool, LegLoss> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            let written = self.write(&rest, now);
            self.rest = rest;
            self.rest.drain(..written?);
        }
        Ok(self.rest.is_empty())
    }

    /// Whether a message is half sent.
    pub(in crate::transport) fn is_unfinished(&self) -> bool {
        !self.rest.is_empty()
    }

    fn write(&mut self, bytes: &[u8], now: Instant) -> Result<usize, LegLoss> {
        loop {
            match self.stream.write(bytes) {
                Ok(written) => {
                    self.full_since = None;
                    return Ok(written);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let since = *self.full_since.get_or_insert(now);
                    let stuck = now.saturating_duration_since(since) >= STUCK_AFTER;
                    return if stuck { Err(LegLoss::Stuck) } else { Ok(0) };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(LegLoss::Broken(error.kind())),
            }
        }
    }

    /// The stream, to be closed.
    pub(in crate::transport) fn into_stream(self) -> TcpStream {
        self.stream
    }
}
