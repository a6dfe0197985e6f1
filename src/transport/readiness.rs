//! Which connections have something to be read. A thousand connections that were each asked in every slot would cost a
//! thousand system calls a slot; `epoll` says in one which of them are worth asking.
//!
//! Level-triggered: what one slot leaves unread is reported again in the next, so a connection that sends without end
//! cannot hold the thread, and nothing is forgotten.

use super::table::Seat;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::net::TcpStream;

/// Connections that one slot looks at; further ones are seen in the next.
const MOST: usize = 1024;

pub(super) struct Readiness {
    epoll: Epoll,
    events: Box<[EpollEvent]>,
    ready: usize,
    /// Whether there ever was a connection.
    used: bool,
}

impl Readiness {
    pub(super) fn new() -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); MOST].into(), ready: 0, used: false })
    }

    /// From now on `stream` is reported as that of this seat, until it is closed or [`Self::forget`] is told.
    pub(super) fn watch(&mut self, stream: &TcpStream, seat: Seat) -> Result<(), Errno> {
        self.epoll.add(stream, event(seat, false))?;
        self.used = true;
        Ok(())
    }

    /// Whether to report as well that it takes bytes again.
    pub(super) fn watch_writing(&self, stream: &TcpStream, seat: Seat, writing: bool) -> Result<(), Errno> {
        self.epoll.modify(stream, &mut event(seat, writing))
    }

    /// Before the stream is handed on.
    pub(super) fn forget(&self, stream: &TcpStream) {
        let _ = self.epoll.delete(stream);
    }

    /// Asks which connections are ready, without waiting; how many. Costs nothing on a worker without connections.
    pub(super) fn ask(&mut self) -> usize {
        // It can only be interrupted; then the next slot asks again.
        self.ready = if self.used { self.epoll.wait(&mut self.events, EpollTimeout::ZERO).unwrap_or(0) } else { 0 };
        self.ready
    }

    /// The `n`th of those.
    pub(super) fn ready(&self, n: usize) -> Seat {
        Seat::from_number(self.events[n].data())
    }
}

fn event(seat: Seat, writing: bool) -> EpollEvent {
    let reading = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
    EpollEvent::new(if writing { reading | EpollFlags::EPOLLOUT } else { reading }, seat.number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn a_connection_is_reported_while_something_is_unread_and_when_it_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut near, _) = listener.accept().unwrap();
        let mut readiness = Readiness::new().unwrap();
        assert_eq!(readiness.ask(), 0);
        readiness.watch(&near, Seat::from_number(7)).unwrap();
        assert_eq!(readiness.ask(), 0);
        far.write_all(b"ab").unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            while readiness.ask() == 0 {}
            assert_eq!(readiness.ready(0), Seat::from_number(7));
            near.read_exact(&mut byte).unwrap();
        }
        assert_eq!(readiness.ask(), 0);
        readiness.watch_writing(&near, Seat::from_number(7), true).unwrap();
        assert_eq!(readiness.ask(), 1);
        readiness.watch_writing(&near, Seat::from_number(7), false).unwrap();
        assert_eq!(readiness.ask(), 0);
        drop(far);
        while readiness.ask() == 0 {}
        readiness.forget(&near);
        assert_eq!(readiness.ask(), 0);
    }
}
