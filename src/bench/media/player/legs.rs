//! The media thread of the player: every call speaks each 20 ms, at its own place in the period, and is listened to.

use super::super::caller_audio::{Program, StampCode};
use super::super::pace::{Pace, hurry};
use super::super::real_time_ns;
use super::super::stamp::{Source, Stamp};
use super::super::stats::nanoseconds;
use super::meter::{Arrived, Meter, Sum};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::mpsc as commands;
use tokio::sync::mpsc::error::TryRecvError;

/// How often the thread looks what is due and what has come. Short, so that callers are spread over the slots of the server.
const STEP: Duration = Duration::from_micros(250);
const PERIOD: Duration = Duration::from_millis(20);
/// Longest payload of a frame.
const PAYLOAD_BYTES: usize = crate::audio::MAX_FRAME_BYTES;

/// Where the audio of a call goes.
#[derive(Debug)]
pub(super) enum Far {
    /// Datagrams to this address.
    Address(SocketAddr),
    /// A connection, and what was read from it already.
    Stream(TcpStream, Vec<u8>),
}

/// To the media thread.
#[derive(Debug)]
pub(super) enum Command {
    /// The server's end of a call is known.
    Attach(usize, Far),
    /// The caller is bridged: begin to speak.
    Start(usize),
    /// The leg is gone.
    Stop(usize),
    /// Begin to measure.
    Measure,
    /// The window is over; what is still under way is waited for.
    Close,
    /// Hand over what was measured in a window of this length.
    Collect(Duration, mpsc::Sender<Collected>),
    /// When the first packet of each call came, in real time; 0 where none did.
    FirstPackets(mpsc::Sender<Vec<u64>>),
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) sum: Sum,
    /// Packets with a stamp that says "measured".
    pub(super) sent: u64,
    pub(super) own_lateness: Vec<u32>,
}

/// How frames travel.
pub(super) trait Wire {
    /// The server's end of a call.
    fn attach(&mut self, call: usize, far: Far);
    /// The leg is gone.
    fn detach(&mut self, call: usize);
    /// Passes on what has come for any call. Called in every step.
    fn drain(&mut self, each: &mut dyn FnMut(usize, Arrived));
    /// Passes on what has come for one call. Called before each of its frames.
    fn visit(&mut self, call: usize, each: &mut dyn FnMut(usize, Arrived));
    /// Sends a frame.
    fn send(&mut self, call: usize, payload: &[u8]);
    /// How stamps are written.
    fn stamps(&self) -> StampCode;
}

#[derive(Debug, Default)]
struct Leg {
    speaking: bool,
    frames: u64,
    first_packet_ns: u64,
    meter: Meter,
    /// Frames with a stamp that says "measured".
    sent: u64,
}

/// Everything of the thread.
pub(super) struct Legs<W> {
    wire: W,
    program: Program,
    legs: Vec<Leg>,
    /// Calls in the order in which they speak within a period.
    turns: Vec<usize>,
    window: Duration,
    measuring: bool,
    own_lateness: Vec<u32>,
}

/// The calls in an order that has nothing to do with that of their arrival: the server spreads its own calls in some order
/// over the same period, and two orders that are alike would make every call wait for the same time.
fn shuffled(calls: usize) -> Vec<usize> {
    let mut turns: Vec<usize> = (0..calls).collect();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for n in (1..calls).rev() {
        // Knuth's multiplicative generator; always the same order, so that repetitions can be compared.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        turns.swap(n, (state >> 33) as usize % (n + 1));
    }
    turns
}

impl<W: Wire> Legs<W> {
    pub(super) fn new(wire: W, program: Program, calls: usize, window: Duration) -> Self {
        let legs = (0..calls).map(|_| Leg::default()).collect();
        Self { wire, program, legs, turns: shuffled(calls), window, measuring: false, own_lateness: Vec::new() }
    }

    /// Runs until nobody gives commands any more.
    pub(super) fn run(mut self, mut commands: commands::Receiver<Command>) -> io::Result<()> {
        hurry();
        let mut pace = Pace::start(STEP)?;
        let calls = self.legs.len();
        // Of all frames of all calls in order of time: the next.
        let (mut period, mut turn) = (0u32, 0usize);
        loop {
            let mut now = pace.wait();
            self.listen();
            loop {
                let due = PERIOD * period + PERIOD * turn as u32 / calls as u32;
                if due > now {
                    break;
                }
                let call = self.turns[turn];
                if self.legs[call].speaking {
                    now = pace.elapsed();
                    self.speak(call, nanoseconds(now.saturating_sub(due).as_nanos() as i64));
                }
                turn += 1;
                if turn == calls {
                    (period, turn) = (period + 1, 0);
                }
            }
            loop {
                match commands.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                }
            }
        }
    }

    fn listen(&mut self) {
        let (legs, measuring) = (&mut self.legs, self.measuring);
        self.wire.drain(&mut |call, arrived| take(legs, measuring, call, &arrived));
    }

    fn speak(&mut self, call: usize, late: u32) {
        let (legs, measuring) = (&mut self.legs, self.measuring);
        self.wire.visit(call, &mut |call, arrived| take(legs, measuring, call, &arrived));
        let leg = &mut self.legs[call];
        let frame = self.program.frame(call, leg.frames);
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..frame.len()].copy_from_slice(frame);
        let stamp = Stamp {
            source: Source::Caller,
            measured: self.measuring,
            call: call as u16,
            sequence: leg.frames as u16,
            sent_ns: real_time_ns(),
        };
        self.wire.stamps().write(&stamp, &mut payload[..frame.len()]);
        self.wire.send(call, &payload[..frame.len()]);
        leg.frames += 1;
        if self.measuring {
            leg.sent += 1;
            self.own_lateness.push(late);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Attach(call, far) => self.wire.attach(call, far),
            Command::Start(call) => self.legs[call].speaking = true,
            Command::Stop(call) => {
                self.legs[call].speaking = false;
                self.wire.detach(call);
            }
            Command::Measure => {
                let packets = (self.window.as_millis() / 20) as usize + 50;
                self.own_lateness = Vec::with_capacity(packets * self.legs.len());
                for leg in &mut self.legs {
                    (leg.meter, leg.sent) = (Meter::new(self.window), 0);
                }
                self.measuring = true;
            }
            Command::Close => self.measuring = false,
            Command::Collect(window, answer) => {
                let mut collected =
                    Collected { own_lateness: std::mem::take(&mut self.own_lateness), ..Collected::default() };
                for leg in &mut self.legs {
                    std::mem::take(&mut leg.meter).add_to(&mut collected.sum, window);
                    collected.sent += leg.sent;
                }
                // Whoever no longer waits has no use for it.
                let _ = answer.send(collected);
            }
            Command::FirstPackets(answer) => {
                let _ = answer.send(self.legs.iter().map(|leg| leg.first_packet_ns).collect());
            }
        }
    }
}

fn take(legs: &mut [Leg], measuring: bool, call: usize, arrived: &Arrived) {
    let Some(leg) = legs.get_mut(call) else { return };
    if leg.first_packet_ns == 0 {
        leg.first_packet_ns = arrived.at_ns;
    }
    if measuring {
        leg.meter.take(call as u16, arrived);
    } else {
        leg.meter.take_stamp(call as u16, arrived);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_turn() {
        for calls in [1, 2, 50, 1000] {
            let mut turns = shuffled(calls);
            assert!(calls < 50 || turns.windows(2).any(|pair| pair[0] > pair[1]));
            turns.sort_unstable();
            assert!(turns.into_iter().eq(0..calls));
        }
    }
}
