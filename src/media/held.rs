//! Packets that came behind a gap, as they came, until their turn.

use crate::audio::Codec;
use std::time::{Duration, Instant};

/// So much audio may wait: more than [`TargetDelay::MAX`](super::delay::TargetDelay::MAX), with room for one packet more.
const CAPACITY: Duration = Duration::from_millis(200);
/// As many packets as there are in [`CAPACITY`] at the shortest usual packet time, 10 ms.
const MAX_PACKETS: usize = 20;

/// A packet without its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Counts packets through the whole life of a receiver, across wraps and new beginnings.
    pub(super) ordinal: i64,
    /// Extended, in ticks of the codec's clock.
    pub(super) timestamp: i64,
    pub(super) arrival: Instant,
    /// `None` for a packet without audio, which only uses up a number.
    pub(super) codec: Option<Codec>,
    /// The first of a stream: its timestamp has nothing to do with those before it.
    pub(super) begins: bool,
}

/// Ordered by ordinal. Memory is taken once.
#[derive(Debug)]
pub(super) struct HeldPackets {
    packets: Vec<Stamp>,
    /// The payloads, in the same order, one behind the other, and the length of each.
    payloads: Vec<u8>,
    lengths: Vec<u16>,
    /// The longest payload that came.
    longest: usize,
}

impl HeldPackets {
    pub(super) fn new(codec: Codec) -> Self {
        // Opus has no fixed rate: 64 kbit/s are more than speech at 16 kHz takes.
        let frame_bytes = codec.frame_bytes().unwrap_or(160);
        let frames = CAPACITY.as_millis() / crate::audio::FRAME_TIME.as_millis();
        Self {
            packets: Vec::with_capacity(MAX_PACKETS),
            payloads: Vec::with_capacity(frame_bytes * frames as usize),
            lengths: Vec::with_capacity(MAX_PACKETS),
            longest: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes a packet in at its place. `false` if there is no room: it is not taken.
    pub(super) fn insert(&mut self, stamp: Stamp, payload: &[u8]) -> bool {
        self.longest = self.longest.max(payload.len());
        let room = self.payloads.capacity() - self.payloads.len();
        let Ok(bytes) = u16::try_from(payload.len()) else { return false };
        if self.packets.len() == MAX_PACKETS || payload.len() > room {
            return false;
        }
        let place = self.packets.partition_point(|held| held.ordinal < stamp.ordinal);
        let offset = self.lengths[..place].iter().map(|bytes| usize::from(*bytes)).sum::<usize>();
        self.packets.insert(place, stamp);
        self.lengths.insert(place, bytes);
        self.payloads.extend_from_slice(payload);
        self.payloads[offset..].rotate_right(payload.len());
        true
    }

    /// Whether one more packet, as long as the longest so far, would find no room.
    pub(super) fn is_full(&self) -> bool {
        self.packets.len() == MAX_PACKETS || self.payloads.len() + self.longest > self.payloads.capacity()
    }

    /// The packet with the lowest ordinal.
    pub(super) fn first(&self) -> Option<(Stamp, &[u8])> {
        let (stamp, bytes) = (self.packets.first()?, self.lengths.first()?);
        Some((*stamp, &self.payloads[..usize::from(*bytes)]))
    }

    /// Drops the packet with the lowest ordinal.
    pub(super) fn drop_first(&mut self) {
        if !self.packets.is_empty() {
            self.packets.remove(0);
            let bytes = self.lengths.remove(0);
            self.payloads.drain(..usize::from(bytes));
        }
    }

    /// When the first of the packets that are here arrived: when it was seen that something lacks before them.
    pub(super) fn earliest_arrival(&self) -> Option<Instant> {
        self.packets.iter().map(|stamp| stamp.arrival).min()
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.packets.capacity() * size_of::<Stamp>()
            + self.lengths.capacity() * size_of::<u16>()
            + self.payloads.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::Law;
    use proptest::prelude::*;

    #[allow(clippy::disallowed_methods)]
    fn stamp(ordinal: i64) -> Stamp {
        Stamp { ordinal, timestamp: 0, arrival: Instant::now(), codec: None, begins: false }
    }

    #[test]
    fn it_holds_more_than_the_longest_delay_and_says_when_it_is_full() {
        for (bytes, fit) in [(80, 20), (160, 10), (480, 3)] {
            let mut held = HeldPackets::new(Codec::G711(Law::Mu));
            let heap = held.heap_bytes();
            for n in 0..fit {
                assert!(!held.is_full(), "after {n} of {fit} packets");
                assert!(held.insert(stamp(n), &vec![0; bytes]));
            }
            assert!(held.is_full());
            assert!(!held.insert(stamp(50), &vec![0; bytes]));
            held.drop_first();
            assert!(!held.is_full() && held.insert(stamp(51), &vec![0; bytes]));
            assert_eq!(held.heap_bytes(), heap, "memory is taken once");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_order_in_they_come_out_in_order(
            ordinals in (1i64..20).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle()),
        ) {
            let mut held = HeldPackets::new(Codec::G711(Law::Mu));
            for ordinal in &ordinals {
                prop_assert!(held.insert(stamp(*ordinal), &vec![*ordinal as u8; *ordinal as usize * 5]));
            }
            for ordinal in 0..ordinals.len() as i64 {
                let (stamp, payload) = held.first().unwrap();
                prop_assert_eq!(stamp.ordinal, ordinal);
                prop_assert_eq!(payload, vec![ordinal as u8; ordinal as usize * 5]);
                held.drop_first();
            }
            prop_assert!(held.is_empty() && held.payloads.is_empty());
        }
    }
}
