//! One call on its worker: who the caller talks to, its leg, and the way between them. Here packets become frames for the
//! call and a frame of the call becomes a packet.

use super::batch::BatchQueue;
use super::closing::Closing;
use super::echo::Echo;
use super::handle::{Admission, CallKey, Driver, MediaOutput, Place};
use super::leg::{Arrived, AttachedLeg, Came, Connection, Desk, LegFault, LegKeys, LegLoss};
use super::quarantine::Quarantine;
use super::stats::Counters;
use crate::audio::{MAX_FRAME_SAMPLES, SampleRate};
use crate::call::{Call, CallEvent, CallId, CallerFrame, EndReason, HangUpBy, Input, Output, ReplyEnd};
use crate::media::{MediaStats, ReceivedFrame};
use crate::wire::rtcp::{self, RtcpPacket};
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Reads that a connection gets in a slot. What it has sent beyond that is read in the next.
const READS_PER_SLOT: usize = 4;
/// What a read takes at most: more than 100 ms at the highest rate.
const READ_BYTES: usize = 16 * 1024;

/// A call and everything that belongs to it alone.
#[derive(Debug)]
pub(super) struct MediaCall {
    pub(super) key: CallKey,
    id: CallId,
    talk: Talk,
    leg: LegState,
    control: Control,
    handles: Weak<()>,
    fault_logged: bool,
    _place: Place,
}

/// Who the caller talks to.
#[derive(Debug)]
enum Talk {
    Conversation(Box<Call>),
    Echo(Echo, SampleRate),
}

/// A call has one leg, once.
#[derive(Debug)]
enum LegState {
    Awaited,
    Attached(AttachedLeg),
    Lost(Box<MediaStats>),
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

/// Room to work in; shared by all calls of a worker, since one is driven at a time.
#[derive(Debug)]
pub(super) struct Scratch {
    caller: [i16; MAX_FRAME_SAMPLES],
    reply: [i16; MAX_FRAME_SAMPLES],
    pub(super) input: Box<[u8]>,
    pub(super) desk: Desk,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            caller: [0; MAX_FRAME_SAMPLES],
            reply: [0; MAX_FRAME_SAMPLES],
            input: vec![0; READ_BYTES].into(),
            desk: Desk::new(),
        }
    }
}

impl MediaCall {
    /// Builds the call here, on the thread that will own it: a [`Call`] cannot change threads.
    pub(super) fn new(admission: Admission, now: Instant) -> Self {
        let Admission { key, new, place, handles } = admission;
        let talk = match new.driver {
            Driver::Conversation(settings) => Talk::Conversation(Box::new(Call::new(*settings, now))),
            Driver::Echo(rate) => Talk::Echo(Echo::new(rate), rate),
        };
        Self {
            key,
            id: new.call,
            talk,
            leg: LegState::Awaited,
            control: Control::Held(new.outputs),
            handles,
            fault_logged: false,
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
        match &self.talk {
            Talk::Conversation(call) if self.is_live() => call.poll_timeout(),
            _ => None,
        }
    }

    /// Rate of its audio in both directions.
    pub(super) fn rate(&self) -> SampleRate {
        match &self.talk {
            Talk::Conversation(call) => call.settings().rate,
            Talk::Echo(_, rate) => *rate,
        }
    }

    /// The address that its packets come from.
    pub(super) const fn remote(&self) -> Option<SocketAddr> {
        match &self.leg {
            LegState::Attached(AttachedLeg::Rtp(leg)) => Some(leg.remote),
            _ => None,
        }
    }

    /// The connection of its leg.
    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.leg {
            LegState::Attached(leg) => leg.connection_mut(),
            _ => None,
        }
    }

    /// Whether it has, or has had, its leg.
    pub(super) const fn has_leg(&self) -> bool {
        !matches!(self.leg, LegState::Awaited)
    }

    /// Gives it its leg.
    pub(super) fn attach(&mut self, leg: AttachedLeg) {
        let remote = match &leg {
            AttachedLeg::Rtp(leg) => Some(leg.remote),
            AttachedLeg::AudioSocket(_) | AttachedLeg::WebSocket(_) => {
                leg.connection().and_then(|connection| connection.stream().peer_addr().ok())
            }
        };
        tracing::debug!(call = %self.id, key = %self.key, ?remote, "media leg attached");
        self.leg = LegState::Attached(leg);
    }

    /// The statistics of its leg, once it has one.
    pub(super) fn stats(&self) -> Option<MediaStats> {
        match &self.leg {
            LegState::Awaited => None,
            LegState::Lost(stats) => Some(**stats),
            LegState::Attached(leg) => Some(leg.stats()),
        }
    }

    /// Ends its media: the statistics of its leg.
    pub(super) fn leave(
        self,
        now: Instant,
        desk: &mut Desk,
        quarantine: &mut Quarantine,
        closing: &mut Closing,
    ) -> Option<MediaStats> {
        let leg = match self.leg {
            LegState::Awaited => return None,
            LegState::Lost(stats) => return Some(*stats),
            LegState::Attached(leg) => leg,
        };
        let stats = leg.stats();
        match leg {
            AttachedLeg::Rtp(leg) => quarantine.put(leg.remote, leg.ssrc(), now),
            AttachedLeg::AudioSocket(leg) => closing.put(leg.into_connection().into_stream(), now),
            AttachedLeg::WebSocket(leg) => closing.put(leg.into_connection(now, desk).into_stream(), now),
        }
        Some(stats)
    }

    /// Takes in a datagram from its address, and what is to be heard with it.
    pub(super) fn datagram(
        &mut self,
        bytes: &[u8],
        truncated: bool,
        now: Instant,
        scratch: &mut Scratch,
        sinks: &mut Sinks<'_>,
    ) {
        let LegState::Attached(AttachedLeg::Rtp(leg)) = &mut self.leg else { return };
        if !matches!(self.control, Control::Held(_)) {
            return;
        }
        let remote = leg.remote;
        let arrived = if truncated { None } else { Some(leg.datagram(bytes, now)) };
        let refused = match arrived {
            None => None,
            Some(Arrived::Taken) => return self.hear(now, scratch, sinks),
            Some(Arrived::OfOldStream) => return sinks.counters.late_packets.add(1),
            Some(Arrived::Rtcp) => {
                if sinks.counters.rtcp_packets.get() == 0 {
                    log_rtcp(&self.id, bytes);
                }
                return sinks.counters.rtcp_packets.add(1);
            }
            Some(Arrived::Refused(error)) => Some(error),
        };
        sinks.counters.malformed_packets.add(1);
        if !std::mem::replace(&mut self.fault_logged, true) {
            let length = bytes.len();
            let reason =
                refused.map_or_else(|| "longer than any packet of audio".to_owned(), |error| error.to_string());
            tracing::warn!(call = %self.id, %remote, length, reason, "unusable packet from the media leg; further ones are only counted");
        }
    }

    /// Reads its connection, and takes in what came.
    pub(super) fn readable(&mut self, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        let mut input = std::mem::take(&mut scratch.input);
        for _ in 0..READS_PER_SLOT {
            let LegState::Attached(leg) = &mut self.leg else { break };
            match leg.read(&mut input) {
                Ok(0) => break,
                Ok(length) => {
                    self.bytes(&mut input[..length], now, scratch, sinks);
                    if length < input.len() {
                        break;
                    }
                }
                Err(loss) => self.lose_leg(loss, now, scratch, sinks),
            }
        }
        scratch.input = input;
        let LegState::Attached(leg) = &mut self.leg else { return };
        if let Some(Err(loss)) = leg.connection_mut().map(|connection| connection.finish(now)) {
            self.lose_leg(loss, now, scratch, sinks);
        }
    }

    /// Takes in what came over its connection.
    pub(super) fn bytes(&mut self, mut input: &mut [u8], now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        loop {
            let LegState::Attached(leg) = &mut self.leg else { return };
            match leg.next(&mut input, now, &mut scratch.desk, sinks.counters) {
                Ok(Some(Came::Audio)) => self.hear(now, scratch, sinks),
                Ok(Some(Came::Key(key))) => match leg.keys() {
                    LegKeys::FromLeg => self.input(Input::Dtmf(key), now, scratch, sinks),
                    LegKeys::FromAri => sinks.counters.keys_passed_over.add(1),
                },
                Ok(Some(Came::Nothing)) => {}
                Ok(Some(Came::Fault(fault))) => {
                    self.log_fault(&fault);
                    // What was usable of it.
                    self.hear(now, scratch, sinks);
                }
                Ok(None) => return,
                Err(loss) => return self.lose_leg(loss, now, scratch, sinks),
            }
        }
    }

    /// Logs what is wrong with a message, once a call.
    fn log_fault(&mut self, fault: &LegFault) {
        if std::mem::replace(&mut self.fault_logged, true) {
            return;
        }
        let LegState::Attached(leg) = &self.leg else { return };
        let remote = leg.connection().and_then(|connection| connection.stream().peer_addr().ok());
        let reason = fault.to_string();
        tracing::warn!(call = %self.id, ?remote, reason, "unusable message from the media leg; further ones are only counted");
    }

    /// Once every 20 ms: what is to be heard although nothing came, and a frame for the caller. `send` gets the address and
    /// the writer of a datagram, if there is one to be sent.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        scratch: &mut Scratch,
        sinks: &mut Sinks<'_>,
        send: impl FnOnce(SocketAddr, &mut dyn FnMut(&mut [u8]) -> usize),
    ) {
        self.hear(now, scratch, sinks);
        let samples = self.rate().frame_samples();
        let Scratch { reply, desk, .. } = scratch;
        let reply = &mut reply[..samples];
        match &mut self.talk {
            Talk::Conversation(call) => call.speak(reply, now),
            Talk::Echo(echo, _) => sinks.counters.echo_frames_dropped.add(u64::from(echo.speak(reply))),
        }
        let sent = match &mut self.leg {
            LegState::Awaited | LegState::Lost(_) => Ok(()),
            LegState::Attached(AttachedLeg::Rtp(leg)) => {
                send(leg.remote, &mut |datagram| leg.packet(reply, datagram));
                Ok(())
            }
            LegState::Attached(AttachedLeg::AudioSocket(leg)) => leg.speak(reply, now, desk, sinks.counters),
            LegState::Attached(AttachedLeg::WebSocket(leg)) => leg.speak(reply, now, desk, sinks.counters),
        };
        match sent {
            Ok(()) => self.drain(None, now, scratch, sinks),
            Err(loss) => self.lose_leg(loss, now, scratch, sinks),
        }
    }

    /// Passes on what a new call wants done first.
    pub(super) fn begin(&mut self, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        self.drain(None, now, scratch, sinks);
    }

    pub(super) fn input(&mut self, input: Input, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        if !self.is_live() {
            return;
        }
        self.tell_lookahead(now);
        match &mut self.talk {
            Talk::Conversation(call) => call.handle(input, now),
            // The caller who hangs up ends an echo too, and so does a server that stops. Nothing else concerns it.
            Talk::Echo(..) => {
                let end = match input {
                    Input::CallerHungUp => EndReason::HangUp(HangUpBy::Caller),
                    Input::EndRequested => EndReason::Drained,
                    _ => return,
                };
                self.control.pass(MediaOutput::Call(Output::End(end)), &self.id, sinks.counters);
            }
        }
        self.drain(None, now, scratch, sinks);
    }

    pub(super) fn timeout(&mut self, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        if self.is_live()
            && let Talk::Conversation(call) = &mut self.talk
        {
            call.handle_timeout(now);
            self.drain(None, now, scratch, sinks);
        }
    }

    /// Gives the call all frames that are there.
    fn hear(&mut self, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        if !self.is_live() {
            return;
        }
        self.tell_lookahead(now);
        let samples = self.rate().frame_samples();
        loop {
            let pcm = &mut scratch.caller[..samples];
            let received = match &mut self.leg {
                LegState::Attached(leg) => match leg.poll_frame(pcm, now) {
                    Some(received) => received,
                    None => return,
                },
                LegState::Awaited | LegState::Lost(_) => return,
            };
            match &mut self.talk {
                Talk::Conversation(call) => {
                    let frame = match received {
                        ReceivedFrame::Audio | ReceivedFrame::Concealed => CallerFrame::Audio(pcm),
                        ReceivedFrame::Silence => CallerFrame::Silence,
                    };
                    call.hear(frame, now);
                    self.drain(Some(samples), now, scratch, sinks);
                }
                Talk::Echo(echo, _) => sinks.counters.echo_frames_dropped.add(u64::from(echo.hear(pcm))),
            }
        }
    }

    /// The call must know what was not heard when it stops a reply.
    fn tell_lookahead(&mut self, now: Instant) {
        if let (Talk::Conversation(call), LegState::Attached(leg)) = (&mut self.talk, &self.leg) {
            call.set_lookahead(leg.lookahead_frames(now) * call.settings().rate.frame_samples());
        }
    }

    /// The leg is no more. Where it is all that is known of the caller, the caller is gone.
    fn lose_leg(&mut self, loss: LegLoss, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        let LegState::Attached(leg) = std::mem::replace(&mut self.leg, LegState::Awaited) else { return };
        let keys = leg.keys();
        self.leg = LegState::Lost(Box::new(leg.stats()));
        tracing::debug!(call = %self.id, %loss, "media leg lost");
        if keys == LegKeys::FromLeg && loss.is_hang_up() {
            self.input(Input::CallerHungUp, now, scratch, sinks);
        } else {
            sinks.counters.legs_lost.add(1);
            self.control.pass(MediaOutput::LegLost(loss), &self.id, sinks.counters);
            self.drain(None, now, scratch, sinks);
        }
    }

    /// Passes on what the call wants done. The first `heard` samples of the caller's audio are the frame that it was given
    /// just now.
    fn drain(&mut self, heard: Option<usize>, now: Instant, scratch: &mut Scratch, sinks: &mut Sinks<'_>) {
        let Talk::Conversation(call) = &mut self.talk else { return };
        let mut failed = None;
        while let Some(output) = call.poll_output() {
            match (output, heard) {
                (Output::CallerAudio { start_sample }, Some(samples)) => {
                    sinks.batches.push(self.key, start_sample, &scratch.caller[..samples]);
                }
                // The call has asked for audio that is gone: its samples can only be missed, so they count as dropped.
                (Output::CallerAudio { .. }, None) => sinks.counters.dropped_frames.add(1),
                (output, _) => {
                    if let (Output::Event(event), LegState::Attached(AttachedLeg::WebSocket(leg))) =
                        (&output, &mut self.leg)
                    {
                        let done = match event {
                            CallEvent::ReplyStarted { .. } => {
                                leg.reply_started(now);
                                Ok(())
                            }
                            // The call counts on it that nothing waits any more, whatever the reply was stopped by.
                            CallEvent::ReplyEnded { end, .. } if *end != ReplyEnd::Finished => {
                                leg.take_back(now, &mut scratch.desk, sinks.counters)
                            }
                            _ => Ok(()),
                        };
                        failed = failed.or(done.err());
                    }
                    self.control.pass(MediaOutput::Call(output), &self.id, sinks.counters);
                }
            }
        }
        if let Some(loss) = failed {
            self.lose_leg(loss, now, scratch, sinks);
        }
    }
}

/// Asterisk sends no RTCP on such a leg, so whatever does is worth a look, once a worker.
fn log_rtcp(call: &CallId, datagram: &[u8]) {
    for packet in rtcp::packets(datagram) {
        match packet {
            Ok(RtcpPacket::SenderReport(report)) => {
                let (packets, blocks): (_, Vec<_>) = (report.packets(), report.blocks().collect());
                tracing::debug!(%call, packets, ?blocks, "RTCP: a sender report; further ones are only counted");
            }
            Ok(RtcpPacket::ReceiverReport(report)) => {
                let blocks: Vec<_> = report.blocks().collect();
                tracing::debug!(%call, ?blocks, "RTCP: a receiver report; further ones are only counted");
            }
            Ok(other) => tracing::debug!(%call, packet = ?other, "RTCP; further packets are only counted"),
            Err(error) => tracing::debug!(%call, %error, "RTCP that cannot be read; further packets are only counted"),
        }
    }
}

impl Control {
    /// Hands an output to the owner. The thread must not wait and the output must not be lost, so an owner that has no room
    /// loses the call instead: dropping the sender tells it.
    fn pass(&mut self, output: MediaOutput, call: &CallId, counters: &Counters) {
        let Self::Held(outputs) = self else { return };
        match outputs.try_send(output) {
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

    fn end() -> MediaOutput {
        MediaOutput::Call(Output::End(EndReason::Drained))
    }

    fn audio() -> MediaOutput {
        MediaOutput::Call(Output::CallerAudio { start_sample: 7 })
    }

    #[test]
    fn outputs_arrive_in_order() {
        let (outputs, mut taken) = mpsc::channel(2);
        let (mut control, counters) = (Control::Held(outputs), Counters::default());
        control.pass(end(), &id(), &counters);
        control.pass(audio(), &id(), &counters);
        assert_eq!(taken.try_recv(), Ok(end()));
        assert_eq!(taken.try_recv(), Ok(audio()));
        assert_eq!(counters.snapshot().calls_out_of_control, 0);
    }

    #[test]
    fn a_full_owner_loses_the_call_and_is_told() {
        let (outputs, mut taken) = mpsc::channel(1);
        let (mut control, counters) = (Control::Held(outputs), Counters::default());
        for _ in 0..3 {
            control.pass(end(), &id(), &counters);
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
        control.pass(end(), &id(), &counters);
        assert!(matches!(control, Control::Lost));
        assert_eq!(counters.snapshot().calls_out_of_control, 0);
    }
}
