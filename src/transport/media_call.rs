//! One call on its worker: the state machine, its leg, and the way between them. Here a packet becomes a frame for the
//! call and a frame of the call becomes a packet.

use super::batch::BatchQueue;
use super::handle::{Admission, CallKey, Driver, MediaOutput, Place};
use super::stats::Counters;
use crate::audio::SampleRate;
use crate::audio::g711::Law;
use crate::call::{Call, CallId, CallerFrame, Input, Output};
use crate::media::{MediaStats, ReceiveStream, ReceivedFrame, SendStream};
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use uuid::Uuid;

/// Samples of a frame on an RTP leg: all calls of a worker have its rate.
pub(super) const FRAME_SAMPLES: usize = SampleRate::HZ_8000.frame_samples();

/// A call and everything that belongs to it alone.
#[derive(Debug)]
pub(super) struct MediaCall {
    pub(super) key: CallKey,
    id: CallId,
    call: Call,
    leg: Option<Leg>,
    control: Control,
    handles: Weak<()>,
    malformed_logged: bool,
    _place: Place,
}

/// Both directions of the RTP leg.
#[derive(Debug)]
struct Leg {
    remote: SocketAddr,
    receive: ReceiveStream,
    send: SendStream,
}

/// Whether somebody acts on what the call wants.
#[derive(Debug)]
enum Control {
    Held(mpsc::Sender<MediaOutput>),
    /// Nobody: the media has stopped.
    Lost,
}

/// Where the outputs of a call go besides its owner.
pub(super) struct Sinks<'a> {
    pub(super) batches: &'a mut BatchQueue,
    pub(super) counters: &'a Counters,
}

/// One frame of each direction; shared by all calls of a worker, since one is driven at a time.
#[derive(Debug)]
pub(super) struct Scratch {
    caller: [i16; FRAME_SAMPLES],
    reply: [i16; FRAME_SAMPLES],
}

impl Scratch {
    pub(super) const fn new() -> Self {
        Self { caller: [0; FRAME_SAMPLES], reply: [0; FRAME_SAMPLES] }
    }
}

impl MediaCall {
    /// Builds the call here, on the thread that will own it: a [`Call`] cannot change threads.
    pub(super) fn new(admission: Admission, now: Instant) -> Self {
        let Admission { key, new, place, handles } = admission;
        let Driver::Conversation(settings) = new.driver else { unreachable!("echo is to come") };
        Self {
            key,
            id: new.call,
            call: Call::new(settings, now),
            leg: None,
            control: Control::Held(new.outputs),
            handles,
            malformed_logged: false,
            _place: place,
        }
    }

    /// Whether nobody can ever remove it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.handles.strong_count() == 0
    }

    /// Whether its media goes on.
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.control, Control::Held(_))
    }

    /// When [`Self::timeout`] is wanted.
    pub(super) fn wake(&self) -> Option<Instant> {
        if self.is_live() { self.call.poll_timeout() } else { None }
    }

    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.leg.as_ref().map(|leg| leg.remote)
    }

    pub(super) fn stats(&self) -> Option<MediaStats> {
        self.leg.as_ref().map(|leg| MediaStats { receive: leg.receive.stats(), send: leg.send.stats() })
    }

    /// Gives it a leg whose packets carry the address `remote`.
    pub(super) fn attach(&mut self, receive: Law, send: Law, remote: SocketAddr) {
        // RFC 3550 section 5.1: SSRC, first sequence number and first timestamp are random.
        let random = Uuid::new_v4().as_u128();
        let (ssrc, sequence, timestamp) = (random as u32, (random >> 32) as u16, (random >> 80) as u32);
        tracing::debug!(call = %self.id, key = %self.key, %remote, ssrc, "RTP leg attached");
        self.leg = Some(Leg {
            remote,
            receive: ReceiveStream::new(receive),
            send: SendStream::new(send, ssrc, sequence, timestamp),
        });
    }

    /// Takes in a datagram from the leg.
    pub(super) fn packet(&mut self, bytes: &[u8], truncated: bool, now: Instant, counters: &Counters) {
        let Some(leg) = &mut self.leg else { return };
        if !matches!(self.control, Control::Held(_)) {
            return;
        }
        let refused = if truncated {
            Some("longer than any packet of telephone audio".to_owned())
        } else {
            leg.receive.packet(bytes, now).err().map(|error| error.to_string())
        };
        if let Some(reason) = refused {
            counters.malformed_packets.add(1);
            if !self.malformed_logged {
                self.malformed_logged = true;
                let (remote, length) = (leg.remote, bytes.len());
                tracing::warn!(call = %self.id, %remote, length, reason, "unusable packet from the RTP leg; further ones are only counted");
            }
        }
    }

    /// One frame time. `send` gets the address and the writer of the datagram, if one is to be sent.
    pub(super) fn frame(
        &mut self,
        scratch: &mut Scratch,
        now: Instant,
        sinks: &mut Sinks<'_>,
        send: impl FnOnce(SocketAddr, &mut dyn FnMut(&mut [u8]) -> usize),
    ) {
        let Scratch { caller, reply } = scratch;
        let received = match &mut self.leg {
            Some(leg) => leg.receive.frame(caller),
            None => {
                caller.fill(0);
                ReceivedFrame::Silence
            }
        };
        let heard = match received {
            ReceivedFrame::Audio | ReceivedFrame::Concealed => CallerFrame::Audio(caller),
            ReceivedFrame::Silence => CallerFrame::Silence,
        };
        self.call.hear(heard, now);
        self.drain(Some(caller), sinks);
        self.call.speak(reply, now);
        if let Some(leg) = &mut self.leg {
            let Leg { remote, send: stream, .. } = leg;
            send(*remote, &mut |datagram| stream.packet(reply, datagram));
        }
        self.drain(None, sinks);
    }

    /// Passes on what a new call wants done first.
    pub(super) fn begin(&mut self, sinks: &mut Sinks<'_>) {
        self.drain(None, sinks);
    }

    pub(super) fn input(&mut self, input: Input, now: Instant, sinks: &mut Sinks<'_>) {
        if self.is_live() {
            self.call.handle(input, now);
            self.drain(None, sinks);
        }
    }

    pub(super) fn timeout(&mut self, now: Instant, sinks: &mut Sinks<'_>) {
        if self.is_live() {
            self.call.handle_timeout(now);
            self.drain(None, sinks);
        }
    }

    /// Passes on what the call wants done. `heard` is the frame that it was given just now.
    fn drain(&mut self, heard: Option<&[i16]>, sinks: &mut Sinks<'_>) {
        while let Some(output) = self.call.poll_output() {
            match (output, heard) {
                (Output::CallerAudio { start_sample }, Some(pcm)) => sinks.batches.push(self.key, start_sample, pcm),
                // The call has asked for audio that is gone: its samples can only be missed, so they count as dropped.
                (Output::CallerAudio { .. }, None) => sinks.counters.dropped_frames.add(1),
                (output, _) => self.control.pass(output, &self.id, sinks.counters),
            }
        }
    }
}

impl Control {
    /// Hands an output to the owner. The thread must not wait and the output must not be lost, so an owner that has no room
    /// loses the call instead: dropping the sender tells it.
    fn pass(&mut self, output: Output, call: &CallId, counters: &Counters) {
        let Self::Held(outputs) = self else { return };
        match outputs.try_send(MediaOutput::Call(output)) {
            Ok(()) => return,
            Err(TrySendError::Full(output)) => {
                counters.calls_out_of_control.add(1);
                let capacity = outputs.max_capacity();
                tracing::error!(%call, capacity, ?output, "the outputs of the call are not taken: its media stops");
            }
            Err(TrySendError::Closed(_)) => {
                tracing::debug!(%call, "nobody takes the outputs of the call: its media stops")
            }
        }
        *self = Self::Lost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::EndReason;

    fn id() -> CallId {
        CallId::new("test").unwrap()
    }

    #[test]
    fn outputs_arrive_in_order() {
        let (outputs, mut taken) = mpsc::channel(2);
        let (mut control, counters) = (Control::Held(outputs), Counters::default());
        control.pass(Output::End(EndReason::Drained), &id(), &counters);
        control.pass(Output::CallerAudio { start_sample: 7 }, &id(), &counters);
        assert_eq!(taken.try_recv(), Ok(MediaOutput::Call(Output::End(EndReason::Drained))));
        assert_eq!(taken.try_recv(), Ok(MediaOutput::Call(Output::CallerAudio { start_sample: 7 })));
        assert_eq!(counters.snapshot().calls_out_of_control, 0);
    }

    #[test]
    fn a_full_owner_loses_the_call_and_is_told() {
        let (outputs, mut taken) = mpsc::channel(1);
        let (mut control, counters) = (Control::Held(outputs), Counters::default());
        for _ in 0..3 {
            control.pass(Output::End(EndReason::Drained), &id(), &counters);
        }
        assert!(matches!(control, Control::Lost));
        assert_eq!(counters.snapshot().calls_out_of_control, 1, "counted once a call");
        assert!(taken.try_recv().is_ok());
        assert_eq!(taken.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn an_owner_that_has_gone_is_no_fault() {
        let (outputs, taken) = mpsc::channel(1);
        drop(taken);
        let (mut control, counters) = (Control::Held(outputs), Counters::default());
        control.pass(Output::End(EndReason::Drained), &id(), &counters);
        assert!(matches!(control, Control::Lost));
        assert_eq!(counters.snapshot().calls_out_of_control, 0);
    }
}
