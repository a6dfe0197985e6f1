//! What the listeners count.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a listener has seen since it began. Every connection but those that are still to say what they want is in exactly
/// one of the fields behind the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenCounts {
    /// Connections accepted.
    pub connections: u64,
    /// Belonged to an expected call.
    pub expected: u64,
    /// Belonged to a call that comes straight from the dialplan, and were handed over.
    pub dialplan: u64,
    /// Named a call that nobody expects.
    pub unknown: u64,
    /// Did not speak the protocol, or went away before they said for which call they are.
    pub malformed: u64,
    /// Had no or a wrong user name and password.
    pub unauthorized: u64,
    /// Did not say in time for which call they are.
    pub timed_out: u64,
    /// Had to give way to a newer one before they had said for which call they are.
    pub crowded_out: u64,
    /// Belonged to a call from the dialplan, but those before it have not been taken yet.
    pub queue_full: u64,
    /// Connections that the system could not give to us: as a rule there are too few file descriptors. Not in `connections`.
    pub accept_failed: u64,
}

/// How a connection that was accepted ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Expected,
    Dialplan,
    Unknown,
    Malformed,
    Unauthorized,
    TimedOut,
    CrowdedOut,
    QueueFull,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    accept_failed: AtomicU64,
    fates: [AtomicU64; 8],
}

impl Counters {
    /// Counts an accepted connection.
    pub(super) fn accepted(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that could not be accepted; whether it is the first one.
    pub(super) fn accept_failed(&self) -> bool {
        self.accept_failed.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Counts it; whether it is the first with this fate. Anyone can cause the others by the thousand, so only the first is
    /// for the log.
    pub(super) fn settled(&self, fate: Fate) -> bool {
        self.fates[fate as usize].fetch_add(1, Ordering::Relaxed) == 0
    }

    pub(super) fn snapshot(&self) -> ListenCounts {
        let fate = |fate: Fate| self.fates[fate as usize].load(Ordering::Relaxed);
        ListenCounts {
            connections: self.connections.load(Ordering::Relaxed),
            expected: fate(Fate::Expected),
            dialplan: fate(Fate::Dialplan),
            unknown: fate(Fate::Unknown),
            malformed: fate(Fate::Malformed),
            unauthorized: fate(Fate::Unauthorized),
            timed_out: fate(Fate::TimedOut),
            crowded_out: fate(Fate::CrowdedOut),
            queue_full: fate(Fate::QueueFull),
            accept_failed: self.accept_failed.load(Ordering::Relaxed),
        }
    }
}
