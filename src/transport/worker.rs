//! The media thread. The order of work in a slot is that of the module's documentation.

use super::batch::BatchQueue;
use super::clock::{Due, SlotClock, SlotTime};
use super::error::LegRefusal;
use super::handle::{AttachError, CallKey, INBOX_MESSAGES, Message};
use super::leg::Leg;
use super::media_call::{FRAME_SAMPLES, MediaCall, Scratch, Sinks};
use super::socket::{Receiver, Sender, as_seen_by};
use super::stats::Counters;
use super::table::{CallTable, Seat};
use crate::audio::Codec;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::mpsc;

/// Datagrams that one slot takes in; the rest stays in the kernel until the next. More than 1,000 calls send in 60 ms.
const PACKETS_PER_SLOT: usize = 4096;

/// What a thread is started with.
#[derive(Debug)]
pub(super) struct WorkerParts {
    pub(super) socket: UdpSocket,
    pub(super) local: SocketAddr,
    pub(super) slot: SlotTime,
    /// Calls to make room for.
    pub(super) expected: usize,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) filled: mpsc::Sender<super::AudioBatch>,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Arc<AtomicBool>,
}

/// Everything that a media thread owns. Nothing of it is shared but the counters.
pub(super) struct MediaThread {
    socket: UdpSocket,
    local: SocketAddr,
    receiver: Receiver,
    outgoing: Outgoing,
    inbox: mpsc::Receiver<Message>,
    batches: BatchQueue,
    calls: CallTable,
    scratch: Scratch,
    due: Vec<Seat>,
    abandoned: Vec<CallKey>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    logged: Logged,
}

/// The send queue with what is needed to empty it.
struct Outgoing {
    queue: Sender,
    refusal_logged: bool,
}

/// What was logged once already.
#[derive(Default)]
struct Logged {
    stranger: bool,
    receive_error: bool,
    dropped_batch: bool,
}

impl MediaThread {
    /// To be called on the thread itself.
    pub(super) fn new(parts: WorkerParts) -> Self {
        let WorkerParts { socket, local, slot, expected, inbox, filled, counters, stop } = parts;
        Self {
            socket,
            local,
            receiver: Receiver::new(local),
            outgoing: Outgoing { queue: Sender::new(), refusal_logged: false },
            inbox,
            batches: BatchQueue::new(filled, expected.div_ceil(slot.slots_per_frame()), FRAME_SAMPLES),
            calls: CallTable::new(slot, expected),
            scratch: Scratch::new(),
            due: Vec::with_capacity(expected),
            abandoned: Vec::with_capacity(expected),
            counters,
            stop,
            logged: Logged::default(),
        }
    }

    /// Runs slot after slot until it is told to stop.
    pub(super) fn run(mut self, mut clock: SlotClock) {
        while !self.stop.load(Ordering::Relaxed) {
            let Due { slots, given_up } = clock.wait();
            if slots.end - slots.start > 1 || given_up > 0 {
                self.counters.overruns.add(1);
                self.counters.skipped_slots.add(given_up);
            }
            for slot in slots {
                self.slot(clock.phase(slot), Instant::now());
            }
        }
    }

    /// One slot.
    fn slot(&mut self, phase: usize, now: Instant) {
        self.receive(now);
        self.take_messages(now);
        self.wake_calls(now);
        self.run_frames(phase, now);
        self.outgoing.flush(&self.socket, &self.counters);
        self.hand_over();
    }

    /// Packets to the jitter buffers of their calls. Their time of arrival is that of the slot, which is exact enough for
    /// a buffer that counts in frames, so the kernel is not asked for it.
    fn receive(&mut self, now: Instant) {
        let Self { receiver, socket, calls, counters, logged, .. } = self;
        let mut packets = 0;
        let outcome = receiver.drain(socket, PACKETS_PER_SLOT, |datagram| {
            packets += 1;
            if let Some(call) = calls.at_address(datagram.from) {
                call.packet(datagram.bytes, datagram.truncated, now, counters);
                return;
            }
            counters.stranger_packets.add(1);
            if !std::mem::replace(&mut logged.stranger, true) {
                let from = datagram.from;
                tracing::debug!(%from, "a packet from an address that belongs to no call; further ones are only counted");
            }
        });
        counters.packets_received.add(packets);
        if let Err(error) = outcome {
            counters.receive_errors.add(1);
            if !std::mem::replace(&mut logged.receive_error, true) {
                tracing::warn!(local = %self.local, %error, "cannot receive; further errors are only counted");
            }
        }
    }

    fn take_messages(&mut self, now: Instant) {
        for _ in 0..INBOX_MESSAGES {
            let Ok(message) = self.inbox.try_recv() else { return };
            match message {
                Message::Add(admission) => {
                    let seat = self.calls.insert(MediaCall::new(*admission, now));
                    self.drive(seat, |call, sinks| call.begin(sinks));
                }
                Message::Input(key, input) => match self.calls.seat(key) {
                    Some(seat) => self.drive(seat, |call, sinks| call.input(input, now, sinks)),
                    None => self.counters.stale_messages.add(1),
                },
                // Whoever no longer waits for the answer has no use for it.
                Message::Attach(key, leg, reply) => {
                    let _ = reply.send(self.attach(key, *leg));
                }
                Message::Stats(key, reply) => {
                    let seat = self.calls.seat(key);
                    let _ = reply.send(seat.and_then(|seat| self.calls.get_mut(seat)).and_then(|call| call.stats()));
                }
                Message::Remove(key, reply) => {
                    let _ = reply.send(self.calls.remove(key).and_then(|call| call.stats()));
                }
            }
        }
    }

    fn attach(&mut self, key: CallKey, leg: Leg) -> Result<(), AttachError> {
        let Leg::Rtp(leg) = leg else { return Err(AttachError::Refused(LegRefusal::Codec)) };
        let (Codec::G711(receive), Codec::G711(send)) = (leg.receive, leg.send) else {
            return Err(AttachError::Refused(LegRefusal::Codec));
        };
        let seat = self.calls.seat(key).ok_or(AttachError::CallGone)?;
        let remote = as_seen_by(self.local, leg.remote).ok_or(AttachError::Refused(LegRefusal::AddressFamily))?;
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() {
            return Err(AttachError::Refused(LegRefusal::NotAHost));
        }
        let taken = self.calls.has_address(remote);
        let call = self.calls.get_mut(seat).ok_or(AttachError::CallGone)?;
        if call.remote().is_some() {
            return Err(AttachError::Refused(LegRefusal::AlreadyAttached));
        }
        if taken {
            return Err(AttachError::Refused(LegRefusal::AddressTaken));
        }
        call.attach(receive, send, remote);
        self.calls.set_address(seat, remote);
        Ok(())
    }

    fn wake_calls(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.calls.due_at(now, &mut due);
        for &seat in &due {
            self.drive(seat, |call, sinks| call.timeout(now, sinks));
        }
        self.due = due;
    }

    /// A frame in and a frame out for every call of the phase.
    fn run_frames(&mut self, phase: usize, now: Instant) {
        let Self { calls, scratch, batches, outgoing, socket, counters, abandoned, .. } = self;
        let mut next = 0;
        while let Some(seat) = calls.due_in(phase, next) {
            next += 1;
            let Some(call) = calls.get_mut(seat) else { continue };
            if call.is_abandoned() {
                abandoned.push(call.key);
            } else if call.is_live() {
                let mut sinks = Sinks { batches, counters };
                call.frame(scratch, now, &mut sinks, |remote, write| outgoing.push(remote, write, socket, counters));
                let wake = call.wake();
                calls.set_wake(seat, wake);
            }
        }
        for key in self.abandoned.drain(..) {
            self.calls.remove(key);
        }
    }

    /// Lets one call act, and notes when it wants to be woken next.
    fn drive(&mut self, seat: Seat, act: impl FnOnce(&mut MediaCall, &mut Sinks<'_>)) {
        let Some(call) = self.calls.get_mut(seat) else { return };
        act(call, &mut Sinks { batches: &mut self.batches, counters: &self.counters });
        let wake = call.wake();
        self.calls.set_wake(seat, wake);
    }

    fn hand_over(&mut self) {
        if let Err(dropped) = self.batches.hand_over() {
            self.counters.dropped_batches.add(1);
            self.counters.dropped_frames.add(dropped.frames);
            if !std::mem::replace(&mut self.logged.dropped_batch, true) {
                tracing::warn!(local = %self.local, "caller audio is not taken in time and is dropped; from now on only counted");
            }
        }
    }
}

impl Outgoing {
    fn push(
        &mut self,
        remote: SocketAddr,
        write: &mut dyn FnMut(&mut [u8]) -> usize,
        socket: &UdpSocket,
        counters: &Counters,
    ) {
        if self.queue.push(remote, write) {
            self.flush(socket, counters);
        }
    }

    fn flush(&mut self, socket: &UdpSocket, counters: &Counters) {
        let outcome = self.queue.flush(socket);
        counters.packets_sent.add(outcome.sent);
        counters.packets_unsent.add(outcome.refused);
        if let Some(error) = outcome.error
            && !std::mem::replace(&mut self.refusal_logged, true)
        {
            tracing::warn!(%error, "the system refused to send a media packet; further refusals are only counted");
        }
    }
}
