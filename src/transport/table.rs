//! The calls of a worker and the ways to find one: by key, by the address its packets come from, by the phase in which
//! it is due, by the time at which it wants to be woken.
//!
//! Calls sit in a vector of seats and keep theirs until they leave; freed seats are used again, last first, so the
//! vector stays as short and as warm as the busiest moment needed. All tables are made for the expected number of calls;
//! more of them cost one reallocation, not a refusal.

use super::clock::SlotTime;
use super::handle::CallKey;
use super::media_call::MediaCall;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

/// Index of a call in the table, valid while the call is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat(usize);

impl Seat {
    /// As the kernel keeps it with a connection.
    pub(super) const fn number(self) -> u64 {
        self.0 as u64
    }

    pub(super) const fn from_number(number: u64) -> Self {
        Self(number as usize)
    }
}

#[derive(Debug)]
pub(super) struct CallTable {
    seats: Vec<Option<Seated>>,
    free: Vec<Seat>,
    by_key: HashMap<CallKey, Seat>,
    by_address: HashMap<SocketAddr, Seat>,
    /// Who is due in each phase of the frame time.
    phases: Vec<Vec<Seat>>,
    /// By seat. Apart from the calls, because all of them are looked at.
    wakes: Vec<Option<Instant>>,
    /// Not later than the earliest of `wakes`.
    earliest: Option<Instant>,
}

#[derive(Debug)]
struct Seated {
    call: MediaCall,
    phase: usize,
}

impl CallTable {
    pub(super) fn new(slot: SlotTime, expected: usize) -> Self {
        let phases = slot.slots_per_frame();
        Self {
            seats: Vec::with_capacity(expected),
            free: Vec::with_capacity(expected),
            by_key: HashMap::with_capacity(expected),
            by_address: HashMap::with_capacity(expected),
            phases: (0..phases).map(|_| Vec::with_capacity(expected.div_ceil(phases) + 1)).collect(),
            wakes: Vec::with_capacity(expected),
            earliest: None,
        }
    }

    /// Takes a call in, due in the phase that has the fewest.
    pub(super) fn insert(&mut self, call: MediaCall) -> Seat {
        let (key, wake) = (call.key, call.wake());
        // There is at least one phase: a frame has at least one slot.
        let phase = (0..self.phases.len()).min_by_key(|&phase| self.phases[phase].len()).unwrap_or(0);
        let seated = Some(Seated { call, phase });
        let seat = match self.free.pop() {
            Some(seat) => {
                self.seats[seat.0] = seated;
                seat
            }
            None => {
                self.seats.push(seated);
                self.wakes.push(None);
                Seat(self.seats.len() - 1)
            }
        };
        self.phases[phase].push(seat);
        self.by_key.insert(key, seat);
        self.set_wake(seat, wake);
        seat
    }

    /// Lets a call go.
    pub(super) fn remove(&mut self, key: CallKey) -> Option<MediaCall> {
        let seat = self.by_key.remove(&key)?;
        let Seated { call, phase } = self.seats[seat.0].take()?;
        self.phases[phase].retain(|&other| other != seat);
        if let Some(remote) = call.remote() {
            self.by_address.remove(&remote);
        }
        self.wakes[seat.0] = None;
        self.free.push(seat);
        Some(call)
    }

    pub(super) fn seat(&self, key: CallKey) -> Option<Seat> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn get_mut(&mut self, seat: Seat) -> Option<&mut MediaCall> {
        self.seats.get_mut(seat.0)?.as_mut().map(|seated| &mut seated.call)
    }

    /// Whose packets come from this address.
    pub(super) fn at_address(&self, remote: SocketAddr) -> Option<Seat> {
        self.by_address.get(&remote).copied()
    }

    /// From now on packets from this address are those of this call.
    pub(super) fn set_address(&mut self, seat: Seat, remote: SocketAddr) {
        self.by_address.insert(remote, seat);
    }

    /// The `n`th call that is due in this phase.
    pub(super) fn due_in(&self, phase: usize, n: usize) -> Option<Seat> {
        self.phases[phase].get(n).copied()
    }

    /// Notes when a call wants to be woken. To be done whenever it was driven.
    pub(super) fn set_wake(&mut self, seat: Seat, wake: Option<Instant>) {
        self.wakes[seat.0] = wake;
        self.earliest = [self.earliest, wake].into_iter().flatten().min();
    }

    /// Collects the calls that want to be woken by `now`. Costs nothing while none does.
    pub(super) fn due_at(&mut self, now: Instant, due: &mut Vec<Seat>) {
        due.clear();
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return;
        }
        self.earliest = None;
        for (index, wake) in self.wakes.iter().enumerate() {
            match *wake {
                Some(wake) if wake <= now => due.push(Seat(index)),
                later => self.earliest = [self.earliest, later].into_iter().flatten().min(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::handle::{Admission, Driver, NewCall, Place};
    use super::*;
    use crate::call::CallId;
    use std::sync::{Arc, Weak};
    use std::time::Duration;

    fn call(serial: u64) -> MediaCall {
        let (outputs, _) = tokio::sync::mpsc::channel(1);
        let new = NewCall {
            call: CallId::new("test").unwrap(),
            driver: Driver::Conversation(Box::new(super::super::tests::settings())),
            outputs,
        };
        let key = CallKey::from_serial(serial);
        MediaCall::new(
            Admission { key, new, place: Place::take(&Arc::default()), handles: Weak::new() },
            Instant::now(),
        )
    }

    fn phase_sizes(table: &CallTable) -> Vec<usize> {
        table.phases.iter().map(Vec::len).collect()
    }

    #[test]
    fn two_hundred_calls_are_spread_evenly_over_the_frame_time() {
        let mut table = CallTable::new(SlotTime::default(), 200);
        for serial in 0..200 {
            table.insert(call(serial));
        }
        assert_eq!(phase_sizes(&table), [10; 20]);
        // When many leave from the same phases, the next ones fill the holes.
        for serial in (0..200).filter(|serial| serial % 20 < 6) {
            assert!(table.remove(CallKey::from_serial(serial)).is_some());
        }
        for serial in 200..260 {
            table.insert(call(serial));
        }
        assert_eq!(phase_sizes(&table), [10; 20]);
        assert_eq!(table.seats.len(), 200, "the seats of those who left are used again");
    }

    #[test]
    fn a_call_that_left_is_found_no_more() {
        let mut table = CallTable::new(SlotTime::default(), 1);
        let key = CallKey::from_serial(1);
        let seat = table.insert(call(1));
        assert_eq!(table.seat(key), Some(seat));
        assert_eq!(table.remove(key).unwrap().key, key);
        assert!(table.remove(key).is_none());
        assert_eq!(table.seat(key), None);
        assert!(table.get_mut(seat).is_none());
        assert!((0..20).all(|phase| table.due_in(phase, 0).is_none()));
    }

    #[test]
    fn calls_are_woken_when_they_asked_for_it_and_not_before() {
        let mut table = CallTable::new(SlotTime::default(), 3);
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let seats: Vec<_> = (0..3).map(|serial| table.insert(call(serial))).collect();
        table.set_wake(seats[0], Some(at(30)));
        table.set_wake(seats[1], Some(at(10)));
        table.set_wake(seats[2], Some(at(10)));
        let mut due = Vec::new();
        table.due_at(at(9), &mut due);
        assert_eq!(due, []);
        table.due_at(at(10), &mut due);
        assert_eq!(due, seats[1..]);
        table.set_wake(seats[1], None);
        table.set_wake(seats[2], Some(at(40)));
        table.due_at(at(35), &mut due);
        assert_eq!(due, seats[..1]);
        // One that was postponed, and one that left, are not woken at the old time.
        table.set_wake(seats[0], Some(at(100)));
        table.remove(CallKey::from_serial(2));
        table.due_at(at(99), &mut due);
        assert_eq!(due, []);
        table.due_at(at(100), &mut due);
        assert_eq!(due, seats[..1]);
    }
}
