//! What a worker counts. The worker's thread is the only writer; everyone may read at any time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A counter that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, more: u64) {
        // Relaxed: each counter stands for itself and orders nothing.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one worker since it started.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct WorkerStats {
            /// Calls that it owns now.
            pub calls: usize,
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The living counters behind [`WorkerStats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            /// Calls that the worker owns or is about to own. Changed by `handle::Place` only.
            pub(super) calls: AtomicUsize,
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> WorkerStats {
                WorkerStats { calls: self.calls.load(Ordering::Relaxed), $($name: self.$name.get(),)* }
            }
        }
    };
}

counters! {
    /// Datagrams received, from anyone.
    packets_received,
    /// Datagrams given to the kernel.
    packets_sent,
    /// Datagrams that the kernel refused to send (no route, full buffer, firewall).
    packets_unsent,
    /// Datagrams from addresses that belong to no call; dropped.
    stranger_packets,
    /// Datagrams of calls that have left, from their address or to the next call at it; dropped.
    late_packets,
    /// RTCP from the address of a call. Asterisk sends none on such legs; dropped.
    rtcp_packets,
    /// Datagrams from the address of a call that are not usable RTP; dropped.
    malformed_packets,
    /// Errors of the socket when receiving.
    receive_errors,
    /// Frames sent over connections.
    messages_sent,
    /// Frames, and answers to pings, that were not sent over a connection since it took nothing, or Asterisk wanted none.
    frames_unsent,
    /// Messages that cannot be read, or audio that cannot be decoded; dropped.
    malformed_messages,
    /// Messages that say nothing to us, or that a command failed.
    unexpected_messages,
    /// Key presses told by a leg whose keys are taken from ARI.
    keys_passed_over,
    /// Legs lost before their call was over.
    legs_lost,
    /// WebSocket legs: times that what waited at Asterisk was taken back, since a reply was stopped or too much waited.
    websocket_flushes,
    /// WebSocket legs: times that Asterisk asked for a pause.
    websocket_pauses,
    /// WebSocket legs: frames of silence sent since too little waited at Asterisk.
    lookahead_refills,
    /// WebSocket legs: frames not sent since too much waited at Asterisk.
    lookahead_trims,
    /// Frames of an echo that were dropped to keep its delay short.
    echo_frames_dropped,
    /// Batches of caller audio that were dropped because the consumer of the batches was behind.
    dropped_batches,
    /// Frames of caller audio in these.
    dropped_frames,
    /// Wake-ups that came one slot or more too late.
    overruns,
    /// Slots given up after a stall: the calls of each lost one frame of sending time.
    skipped_slots,
    /// Calls whose media was stopped because their outputs were not taken.
    calls_out_of_control,
    /// Messages for calls that were gone already.
    stale_messages,
}
