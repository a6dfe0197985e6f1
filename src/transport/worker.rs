//! The media thread. The order of work in a slot is that of the module's documentation.

use super::batch::BatchQueue;
use super::clock::{Due, SlotClock, SlotTime};
use super::closing::Closing;
use super::error::LegRefusal;
use super::handle::{AttachError, CallKey, INBOX_MESSAGES, Message};
use super::leg::{AttachedLeg, AudioSocket, AudioSocketLeg, Leg, RtpLeg, RtpStreams, WebSocket, WebSocketLeg};
use super::media_call::{MediaCall, Scratch, Sinks};
use super::quarantine::{self, Quarantine};
use super::readiness::Readiness;
use super::socket::{Receiver, Sender, as_seen_by};
use super::stats::Counters;
use super::table::{CallTable, Seat};
use crate::media::MediaStats;
use nix::errno::Errno;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Datagrams that one slot takes in; the rest stays in the kernel until the next. More than 1,000 calls send in 10 ms, so
/// neither a flood nor what came in while the thread was held up can hold it for long.
const PACKETS_PER_SLOT: usize = 512;

/// How long a thread that is to stop waits for far ends to close. Asterisk needs a few milliseconds.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

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
    scratch: Box<Scratch>,
    readiness: Readiness,
    quarantine: Quarantine,
    closing: Closing,
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
    pub(super) fn new(parts: WorkerParts) -> Result<Self, Errno> {
        let WorkerParts { socket, local, slot, expected, inbox, filled, counters, stop } = parts;
        Ok(Self {
            socket,
            local,
            receiver: Receiver::new(local),
            outgoing: Outgoing { queue: Sender::new(), refusal_logged: false },
            inbox,
            batches: BatchQueue::new(filled, expected.div_ceil(slot.slots_per_frame())),
            calls: CallTable::new(slot, expected),
            scratch: Box::new(Scratch::new()),
            readiness: Readiness::new()?,
            quarantine: Quarantine::new(expected),
            closing: Closing::default(),
            due: Vec::with_capacity(expected),
            abandoned: Vec::with_capacity(expected),
            counters,
            stop,
            logged: Logged::default(),
        })
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
        self.inbox.close();
        // Whoever waits for an answer is to know at once.
        while self.inbox.try_recv().is_ok() {}
        // The end of the process would cut off those that have just left.
        let until = Instant::now() + CLOSE_WITHIN;
        while !self.closing.is_empty() && Instant::now() < until {
            clock.wait();
            self.closing.drain(&mut self.scratch.input, Instant::now());
        }
    }

    /// One slot.
    pub(super) fn slot(&mut self, phase: usize, now: Instant) {
        self.receive(now);
        self.read_connections(now);
        self.take_messages(now);
        self.wake_calls(now);
        self.run_frames(phase, now);
        self.outgoing.flush(&self.socket, &self.counters);
        self.hand_over();
        // Once a frame time is often enough for what has ended.
        if phase == 0 {
            self.quarantine.expire(now);
            self.closing.drain(&mut self.scratch.input, now);
        }
    }

    /// Packets to their calls, which hear at once what is in order. Their time of arrival is that of the slot: a jitter of
    /// less than a slot time would tell the receiving side nothing.
    fn receive(&mut self, now: Instant) {
        let Self { receiver, socket, calls, counters, logged, scratch, batches, quarantine, .. } = self;
        let mut packets = 0;
        let outcome = receiver.drain(socket, PACKETS_PER_SLOT, |datagram| {
            packets += 1;
            let from = datagram.from;
            // What belongs to nobody is dropped after one look-up, so that a flood of it costs little more than the kernel
            // takes for it.
            let Some(seat) = calls.at_address(from) else {
                if quarantine.holds(from, quarantine::ssrc(datagram.bytes)) {
                    return counters.late_packets.add(1);
                }
                counters.stranger_packets.add(1);
                if !std::mem::replace(&mut logged.stranger, true) {
                    tracing::debug!(%from, "a packet from an address that belongs to no call; further ones are only counted");
                }
                return;
            };
            let Some(call) = calls.get_mut(seat) else { return };
            call.datagram(datagram.bytes, datagram.truncated, now, scratch, &mut Sinks { batches, counters });
            let wake = call.wake();
            calls.set_wake(seat, wake);
        });
        counters.packets_received.add(packets);
        if let Err(error) = outcome {
            counters.receive_errors.add(1);
            if !std::mem::replace(&mut logged.receive_error, true) {
                tracing::warn!(local = %self.local, %error, "cannot receive; further errors are only counted");
            }
        }
    }

    /// What has come over connections to their calls.
    fn read_connections(&mut self, now: Instant) {
        for n in 0..self.readiness.ask() {
            let seat = self.readiness.ready(n);
            self.drive(seat, |call, scratch, sinks| call.readable(now, scratch, sinks));
        }
    }

    #[cfg(test)]
    pub(super) fn ready_connections(&mut self) -> usize {
        self.readiness.ask()
    }

    fn take_messages(&mut self, now: Instant) {
        for _ in 0..INBOX_MESSAGES {
            let Ok(message) = self.inbox.try_recv() else { return };
            match message {
                Message::Add(admission) => {
                    let seat = self.calls.insert(MediaCall::new(*admission, now));
                    self.drive(seat, |call, scratch, sinks| call.begin(now, scratch, sinks));
                }
                Message::Input(key, input) => match self.calls.seat(key) {
                    Some(seat) => self.drive(seat, |call, scratch, sinks| call.input(input, now, scratch, sinks)),
                    None => self.counters.stale_messages.add(1),
                },
                // Whoever no longer waits for the answer has no use for it.
                Message::Attach(key, leg, reply) => {
                    let _ = reply.send(self.attach(key, *leg, now));
                }
                Message::Stats(key, reply) => {
                    let seat = self.calls.seat(key);
                    let _ = reply.send(seat.and_then(|seat| self.calls.get_mut(seat)).and_then(|call| call.stats()));
                }
                Message::Remove(key, reply) => {
                    let _ = reply.send(self.remove(key, now));
                }
            }
        }
    }

    fn attach(&mut self, key: CallKey, leg: Leg, now: Instant) -> Result<(), AttachError> {
        let seat = match self.seat_for(key, &leg) {
            Ok(seat) => seat,
            Err(refusal) => {
                match leg {
                    Leg::Rtp(_) => {}
                    Leg::AudioSocket(AudioSocketLeg { stream, .. }) | Leg::WebSocket(WebSocketLeg { stream, .. }) => {
                        self.closing.put(stream, now);
                    }
                }
                return Err(refusal);
            }
        };
        let (attached, mut read) = match leg {
            Leg::Rtp(leg) => return self.attach_rtp(seat, &leg, now),
            Leg::AudioSocket(leg) => {
                let (leg, read) = AudioSocket::new(leg)?;
                (AttachedLeg::AudioSocket(Box::new(leg)), read)
            }
            Leg::WebSocket(leg) => {
                let (leg, read) = WebSocket::new(leg, now)?;
                (AttachedLeg::WebSocket(Box::new(leg)), read)
            }
        };
        if let Some(connection) = attached.connection() {
            self.readiness.watch(connection.stream(), seat).map_err(|_| LegRefusal::Disconnected)?;
        }
        self.drive(seat, |call, scratch, sinks| {
            call.attach(attached);
            call.bytes(&mut read, now, scratch, sinks);
        });
        Ok(())
    }

    /// The call, if it can have the leg.
    fn seat_for(&mut self, key: CallKey, leg: &Leg) -> Result<Seat, AttachError> {
        let seat = self.calls.seat(key).ok_or(AttachError::CallGone)?;
        let call = self.calls.get_mut(seat).ok_or(AttachError::CallGone)?;
        if call.has_leg() {
            return Err(LegRefusal::AlreadyAttached.into());
        }
        if leg.rate() != Some(call.rate()) {
            return Err(LegRefusal::Rate.into());
        }
        Ok(seat)
    }

    fn attach_rtp(&mut self, seat: Seat, leg: &RtpLeg, now: Instant) -> Result<(), AttachError> {
        let remote = as_seen_by(self.local, leg.remote).ok_or(LegRefusal::AddressFamily)?;
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() {
            return Err(LegRefusal::NotAHost.into());
        }
        if self.calls.at_address(remote).is_some() {
            return Err(LegRefusal::AddressTaken.into());
        }
        let streams = RtpStreams::new(leg, remote, self.quarantine.take(remote, now)).map_err(LegRefusal::from)?;
        self.drive(seat, |call, _, _| call.attach(AttachedLeg::Rtp(Box::new(streams))));
        self.calls.set_address(seat, remote);
        Ok(())
    }

    fn remove(&mut self, key: CallKey, now: Instant) -> Option<MediaStats> {
        let mut call = self.calls.remove(key)?;
        if let Some(connection) = call.connection_mut() {
            self.readiness.forget(connection.stream());
        }
        call.leave(now, &mut self.scratch.desk, &mut self.quarantine, &mut self.closing)
    }

    fn wake_calls(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        self.calls.due_at(now, &mut due);
        for &seat in &due {
            self.drive(seat, |call, scratch, sinks| call.timeout(now, scratch, sinks));
        }
        self.due = due;
    }

    /// A frame out for every call of the phase.
    fn run_frames(&mut self, phase: usize, now: Instant) {
        let mut next = 0;
        while let Some(seat) = self.calls.due_in(phase, next) {
            next += 1;
            let Self { calls, scratch, batches, outgoing, socket, counters, abandoned, .. } = self;
            let Some(call) = calls.get_mut(seat) else { continue };
            if call.is_abandoned() {
                abandoned.push(call.key);
            } else if call.is_live() {
                let mut sinks = Sinks { batches, counters };
                call.tick(now, scratch, &mut sinks, |remote, write| outgoing.push(remote, write, socket, counters));
                self.after(seat);
            }
        }
        while let Some(key) = self.abandoned.pop() {
            self.remove(key, now);
        }
    }

    /// Lets one call act.
    fn drive(&mut self, seat: Seat, act: impl FnOnce(&mut MediaCall, &mut Scratch, &mut Sinks<'_>)) {
        let Some(call) = self.calls.get_mut(seat) else { return };
        act(call, &mut self.scratch, &mut Sinks { batches: &mut self.batches, counters: &self.counters });
        self.after(seat);
    }

    /// Notes what a call that has acted waits for: a time, and a connection that takes the rest of a message.
    fn after(&mut self, seat: Seat) {
        let Some(call) = self.calls.get_mut(seat) else { return };
        let wake = call.wake();
        if let Some(connection) = call.connection_mut()
            && connection.is_unfinished() != connection.watched_for_writing
        {
            connection.watched_for_writing = connection.is_unfinished();
            // If it cannot be watched, the rest is sent with the next frame.
            let _ = self.readiness.watch_writing(connection.stream(), seat, connection.is_unfinished());
        }
        self.calls.set_wake(seat, wake);
    }

    fn hand_over(&mut self) {
        if let Err(dropped) = self.batches.hand_over() {
            self.counters.dropped_batches.add(dropped.batches);
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
