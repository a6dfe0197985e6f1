//! The player: plays Asterisk. Its ARI (`http.rs`, `ari.rs`) runs on one asynchronous thread; the media of all calls
//! (`legs.rs`) on another, over datagrams (`rtp.rs`) or connections (`streams.rs`), judged by `meter.rs`.

mod ari;
mod flood;
mod http;
mod legs;
mod meter;
mod rtp;
mod streams;

use super::caller_audio::Program;
use super::messages::{
    Arrivals, Done, Listening, PlayerFigures, PlayerOrder, PlayerSettings, SetUp, TornDown, answer, orders,
};
use super::plan::{self, Transport};
use super::stats::{Distribution, nanoseconds};
use super::{processes, usage};
use crate::audio::{ByteOrder, Codec};
use ari::FakeAsterisk;
use flood::Flood;
use legs::{Collected, Command, Far, Legs, Wire};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::mpsc as commands;
use tokio::time::{sleep, timeout};

/// What is on its way when the window ends arrives within this.
const SETTLE: Duration = Duration::from_millis(400);
/// Beyond the time that all calls need to arrive.
const SET_UP_GRACE: Duration = Duration::from_secs(20);
const TEAR_DOWN_LIMIT: Duration = Duration::from_secs(30);

/// Runs until standard input is closed.
pub(super) fn be() -> io::Result<()> {
    processes::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut orders = orders();
        let Some(PlayerOrder::Begin(settings)) = orders.recv().await else { return Ok(()) };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let player = Player::new(settings)?;
        answer(&Listening { address })?;
        tokio::select! {
            served = http::serve(listener, player.asterisk.clone()) => served,
            obeyed = async {
                while let Some(order) = orders.recv().await {
                    player.obey(order).await?;
                }
                Ok(())
            } => obeyed,
        }
    })
}

struct Player {
    settings: PlayerSettings,
    asterisk: FakeAsterisk,
    commands: commands::Sender<Command>,
    rtp_port: u16,
}

impl Player {
    /// Starts the media thread.
    fn new(settings: PlayerSettings) -> io::Result<Self> {
        let codec = plan::codec(&settings.codec).ok_or_else(|| io::Error::other("no such codec"))?;
        // Room for all that is ever said to a call, so it is never full. Not a queue of the standard library: a thread with
        // real-time priority would spin for a sender that it has interrupted itself.
        let (commands, received) = commands::channel(4 * settings.calls + 64);
        let socket = rtp::open()?;
        let rtp_port = socket.local_addr()?.port();
        start_media(&settings, codec, socket, received)?;
        let leg_address = move |call| SocketAddrV4::new(rtp::address(call), rtp_port);
        let asterisk =
            FakeAsterisk::new(settings.app.clone(), settings.transport, settings.calls, leg_address, commands.clone());
        Ok(Self { settings, asterisk, commands, rtp_port })
    }

    async fn obey(&self, order: PlayerOrder) -> io::Result<()> {
        match order {
            PlayerOrder::Begin(_) => Ok(()),
            PlayerOrder::AwaitServer => {
                self.asterisk.server_is_there().await;
                answer(&Done {})
            }
            PlayerOrder::SetUp { calls_a_second } => answer(&self.set_up(calls_a_second).await?),
            PlayerOrder::SendTo { remote } => answer(&self.send_to(remote)),
            PlayerOrder::Measure { window_ms, flood } => {
                answer(&self.measure(Duration::from_millis(window_ms), flood).await?)
            }
            PlayerOrder::TearDown => {
                self.asterisk.hang_up_all();
                // What is left then is told.
                let _ = timeout(TEAR_DOWN_LIMIT, self.asterisk.is_empty()).await;
                let (bridges_left, legs_left) = self.asterisk.left();
                answer(&TornDown { bridges_left, legs_left })
            }
        }
    }

    async fn set_up(&self, calls_a_second: u32) -> io::Result<SetUp> {
        let calls = self.settings.calls;
        let mut clock = tokio::time::interval(Duration::from_secs(1) / calls_a_second.max(1));
        for number in 0..calls {
            clock.tick().await;
            self.asterisk.announce(number);
        }
        // Those that are not up then have failed.
        let _ = timeout(SET_UP_GRACE, self.asterisk.are_up(calls)).await;
        // The first packet of the last one.
        sleep(SETTLE).await;
        let first_packets = self.first_packets()?;
        let took = self.asterisk.arrivals().into_iter().filter_map(|(announced_ns, leg)| {
            let first = *first_packets.get(leg?)?;
            (first != 0).then(|| nanoseconds(first as i64 - announced_ns as i64))
        });
        let mut took: Vec<u32> = took.collect();
        let (failed, unknown_requests) = (calls - took.len(), self.asterisk.unknown_requests());
        Ok(SetUp { failed, time: Distribution::of(&mut took), unknown_requests })
    }

    /// Without ARI: every call just sends.
    fn send_to(&self, remote: SocketAddr) -> SetUp {
        for call in 0..self.settings.calls {
            self.command(Command::Attach(call, Far::Address(remote)));
            self.command(Command::Start(call));
        }
        SetUp { failed: 0, time: Distribution::default(), unknown_requests: Vec::new() }
    }

    async fn measure(&self, window: Duration, flood: u32) -> io::Result<PlayerFigures> {
        let flood = match self.asterisk.remote() {
            Some(remote) if flood > 0 => Some(Flood::start(remote, flood)?),
            _ => None,
        };
        let drops_before = usage::udp_drops(self.rtp_port);
        self.command(Command::Measure);
        sleep(window).await;
        self.command(Command::Close);
        sleep(SETTLE).await;
        let flood_sent = flood.map_or(0, Flood::stop);
        let Collected { sum, sent, mut own_lateness } = self.ask(|answer| Command::Collect(window, answer))?;
        let mut sum = sum;
        Ok(PlayerFigures {
            sent,
            echoed: Arrivals { unique: sum.echoed, late: sum.echo_late, duplicated: sum.echo_duplicated },
            turnaround: Distribution::of(&mut sum.turnaround),
            received: sum.received,
            due: meter::due(window) * self.settings.calls as u64,
            lost: sum.lost,
            late: sum.late,
            duplicated: sum.duplicated,
            pacing: Distribution::of(&mut sum.pacing),
            interval: Distribution::of(&mut sum.interval),
            first_audio: Distribution::of(&mut sum.first_audio),
            own_lateness: Distribution::of(&mut own_lateness),
            own_drops: usage::udp_drops(self.rtp_port).saturating_sub(drops_before),
            flood_sent,
        })
    }

    fn first_packets(&self) -> io::Result<Vec<u64>> {
        self.ask(Command::FirstPackets)
    }

    fn command(&self, command: Command) {
        // The thread ends only with the process.
        let _ = self.commands.try_send(command);
    }

    /// The media thread answers within a step; waiting for it here is no harm.
    fn ask<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> io::Result<T> {
        let (sender, answer) = mpsc::channel();
        self.command(command(sender));
        answer.recv().map_err(|_| io::Error::other("the media thread is gone"))
    }
}

fn start_media(
    settings: &PlayerSettings,
    codec: Codec,
    socket: UdpSocket,
    commands: commands::Receiver<Command>,
) -> io::Result<()> {
    let (calls, window, transport) = (settings.calls, Duration::from_millis(settings.window_ms), settings.transport);
    let order = if transport == Transport::Rtp { ByteOrder::Big } else { ByteOrder::Little };
    let program = Program::new(settings.audio, codec, order).map_err(io::Error::other)?;
    std::thread::Builder::new().name("player".to_owned()).spawn(move || {
        let ended = match transport {
            Transport::Rtp => run(rtp::RtpWire::new(socket, codec, calls), program, calls, window, commands),
            Transport::Audiosocket => {
                run(streams::StreamWire::audiosocket(codec, calls), program, calls, window, commands)
            }
            Transport::Websocket => run(streams::StreamWire::websocket(codec, calls), program, calls, window, commands),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the media thread has failed");
        }
    })?;
    Ok(())
}

fn run<W: Wire>(
    wire: W,
    program: Program,
    calls: usize,
    window: Duration,
    commands: commands::Receiver<Command>,
) -> io::Result<()> {
    Legs::new(wire, program, calls, window).run(commands)
}
