//! Addresses that calls have just left. Asterisk gives a port to the next call at once, and packets of the old leg may
//! still be on their way: without care they would be taken for the new caller's voice.
//!
//! What tells the legs apart is the SSRC, which is random for each channel. So the address of a call that has left stays
//! here for a while with the SSRC that was last heard from it. Packets from it are counted apart from strangers'; a new call
//! at the same address does not wait, but packets with the old SSRC are not for it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an address stays: much longer than a packet is on its way, or the hang-up of a channel takes.
pub(super) const QUARANTINE: Duration = Duration::from_secs(2);
/// Addresses that are kept, more than calls can leave in that time; beyond it the oldest is let go.
const MOST: usize = 4096;

/// The stream of a leg that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OldStream {
    pub(super) ssrc: u32,
    /// Until when its packets may still come.
    pub(super) until: Instant,
}

#[derive(Debug)]
struct Entry {
    ssrc: Option<u32>,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct Quarantine {
    entries: HashMap<SocketAddr, Entry>,
    /// In the order in which they were put in, which is that of their ends. One that came again is there twice.
    order: VecDeque<(Instant, SocketAddr)>,
}

impl Quarantine {
    pub(super) fn new(expected: usize) -> Self {
        let room = expected.min(MOST);
        Self { entries: HashMap::with_capacity(room), order: VecDeque::with_capacity(room) }
    }

    /// A call with packets from this address has left; `ssrc` was the last one heard.
    pub(super) fn put(&mut self, remote: SocketAddr, ssrc: Option<u32>, now: Instant) {
        if self.order.len() == MOST {
            self.drop_oldest();
        }
        let until = now + QUARANTINE;
        self.entries.insert(remote, Entry { ssrc, until });
        self.order.push_back((until, remote));
    }

    /// Whether a packet that belongs to no call comes from an address that one has left. If that call was never heard, the
    /// packet tells the SSRC that must not reach the next one.
    pub(super) fn holds(&mut self, remote: SocketAddr, ssrc: Option<u32>) -> bool {
        match self.entries.get_mut(&remote) {
            Some(entry) => {
                entry.ssrc = entry.ssrc.or(ssrc);
                true
            }
            None => false,
        }
    }

    /// A new call gets this address: which packets from it are not for that call.
    pub(super) fn take(&mut self, remote: SocketAddr, now: Instant) -> Option<OldStream> {
        let Entry { ssrc, until } = self.entries.remove(&remote)?;
        ssrc.filter(|_| until > now).map(|ssrc| OldStream { ssrc, until })
    }

    /// Lets go of those whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((until, remote)) = self.order.pop_front()
            && self.entries.get(&remote).is_some_and(|entry| entry.until == until)
        {
            self.entries.remove(&remote);
        }
    }
}

/// The SSRC of what may be RTP (RFC 3550, section 5.1).
pub(super) fn ssrc(datagram: &[u8]) -> Option<u32> {
    match datagram {
        [first, _, _, _, _, _, _, _, a, b, c, d, ..] if first >> 6 == 2 => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn an_address_is_held_for_a_while_with_the_stream_that_came_from_it() {
        let (mut quarantine, now) = (Quarantine::new(4), Instant::now());
        quarantine.put(address(1), Some(7), now);
        assert!(quarantine.holds(address(1), Some(9)) && !quarantine.holds(address(2), Some(7)));
        let old = quarantine.take(address(1), now + QUARANTINE / 2);
        assert_eq!(old, Some(OldStream { ssrc: 7, until: now + QUARANTINE }));
        assert!(!quarantine.holds(address(1), Some(7)), "it belongs to a call again");

        // A second call leaves it: the end of the first time is not that of the second.
        quarantine.put(address(1), Some(8), now + QUARANTINE / 2);
        quarantine.expire(now + QUARANTINE);
        assert!(quarantine.holds(address(1), None));
        quarantine.expire(now + QUARANTINE * 2);
        assert!(!quarantine.holds(address(1), None));
        assert!(quarantine.entries.is_empty() && quarantine.order.is_empty());
    }

    #[test]
    fn the_stream_of_a_call_that_was_never_heard_is_learnt_from_what_comes_too_late() {
        let (mut quarantine, now) = (Quarantine::new(4), Instant::now());
        quarantine.put(address(1), None, now);
        assert!(quarantine.holds(address(1), ssrc(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7])));
        assert_eq!(quarantine.take(address(1), now).map(|old| old.ssrc), Some(7));
        quarantine.put(address(2), None, now);
        assert_eq!(quarantine.take(address(2), now), None, "nothing is known that could be kept away");
    }

    #[test]
    fn it_holds_so_many_addresses_and_no_more() {
        let (mut quarantine, now) = (Quarantine::new(0), Instant::now());
        for n in 0..2 * MOST {
            quarantine.put(address(n as u16), Some(7), now);
        }
        assert_eq!((quarantine.entries.len(), quarantine.order.len()), (MOST, MOST));
        assert!(quarantine.holds(address(2 * MOST as u16 - 1), None) && !quarantine.holds(address(0), None));
    }
}
