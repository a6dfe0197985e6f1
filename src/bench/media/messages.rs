//! What the bench and the processes that it starts say to each other: JSON, a line each, over standard input and output.
//! A process ends when its standard input is closed.

use super::plan::{CallerAudio, Transport};
use super::stats::Distribution;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead as _, Write as _};
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// To the player, which plays Asterisk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum PlayerOrder {
    /// First: take ports. Answered by [`Listening`], the address that of the ARI.
    Begin(PlayerSettings),
    /// Wait until the server is connected to the ARI. Answered by [`Done`].
    AwaitServer,
    /// Let calls come in. Answered by [`SetUp`] when all are up, or as many as will be.
    SetUp { calls_a_second: u32 },
    /// No ARI: just send, to this address. Answered by [`SetUp`].
    SendTo { remote: SocketAddr },
    /// Measure for so long. Answered by [`PlayerFigures`].
    Measure { window_ms: u64, flood: u32 },
    /// All callers hang up. Answered by [`TornDown`].
    TearDown,
}

/// What the player plays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlayerSettings {
    pub(super) calls: usize,
    pub(super) transport: Transport,
    /// Asterisk's name for it.
    pub(super) codec: String,
    pub(super) audio: CallerAudio,
    pub(super) app: String,
    /// The longest window, for which memory is taken beforehand.
    pub(super) window_ms: u64,
}

/// To the engine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum EngineOrder {
    /// First: take a port. Answered by [`Listening`].
    Begin { answers: bool },
    /// Forget what was counted and mark replies as measured. Answered by [`Done`].
    Measure,
    /// Answered by [`EngineFigures`].
    Report,
}

/// To the bare echo.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum BaselineOrder {
    /// Take a port. Answered by [`Listening`].
    Begin { calls: usize, port: u16 },
}

/// A process is ready.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
}

/// Nothing else to say.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Done {}

/// How calls came up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SetUp {
    pub(super) failed: usize,
    /// From StasisStart to the first packet.
    pub(super) time: Distribution,
    /// Requests of the server that this Asterisk did not know, the first few.
    pub(super) unknown_requests: Vec<String>,
}

/// What the player saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PlayerFigures {
    /// Packets sent with a stamp that says "measured".
    pub(super) sent: u64,
    /// Stamps that came back.
    pub(super) echoed: Arrivals,
    pub(super) turnaround: Distribution,
    /// Packets of the server.
    pub(super) received: u64,
    pub(super) due: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    pub(super) duplicated: u64,
    pub(super) pacing: Distribution,
    pub(super) interval: Distribution,
    pub(super) first_audio: Distribution,
    pub(super) own_lateness: Distribution,
    pub(super) own_drops: u64,
    pub(super) flood_sent: u64,
}

/// Stamped frames that reached their goal.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Arrivals {
    /// Different ones.
    pub(super) unique: u64,
    pub(super) late: u64,
    pub(super) duplicated: u64,
}

/// What the engine saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EngineFigures {
    pub(super) heard: Arrivals,
    pub(super) unmarked: u64,
    pub(super) latency: Distribution,
}

/// What is left after all callers have gone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct TornDown {
    pub(super) bridges_left: usize,
    pub(super) legs_left: usize,
}

/// The orders that come, read by a thread of its own; ends when standard input is closed.
pub(super) fn orders<T: DeserializeOwned + Send + 'static>() -> mpsc::Receiver<T> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            match serde_json::from_str(&line) {
                Ok(order) => {
                    if sender.blocking_send(order).is_err() {
                        return;
                    }
                }
                Err(error) => return tracing::error!(%error, "an order of the bench makes no sense"),
            }
        }
    });
    receiver
}

/// Answers an order.
pub(super) fn answer(answer: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}
