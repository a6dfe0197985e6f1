//! One repetition after another: starts the processes, has them measure, puts their figures together.

use super::BenchError;
use super::messages::{
    BaselineOrder, Done, EngineFigures, EngineOrder, Listening, PlayerFigures, PlayerOrder, PlayerSettings, SetUp,
    TornDown,
};
use super::metric::Figures;
use super::plan::{Mode, Plan, Transport};
use super::processes::{ANSWER_LIMIT, Folder, Process, place, raise_file_limit};
use super::report::{Report, StepReport};
use super::usage::{CpuTime, memory_kib, stolen_time};
use crate::bench::random_u64;
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;
use tokio::time::sleep;

/// Media threads of the server, and of the baseline, are called this and a number.
const MEDIA_THREADS: &str = "media-";
/// A server that has nothing to do yet comes to rest within this.
const REST: Duration = Duration::from_millis(500);
/// The bare echo knows its callers from their first packets.
const BASELINE_WARM_UP: Duration = Duration::from_secs(1);
/// Beyond the window, what an answer to "measure" takes.
const MEASURE_GRACE: Duration = Duration::from_secs(30);

/// Somebody who wants to know how far it is.
pub trait Progress {
    /// This begins now.
    fn phase(&mut self, step: usize, repetition: usize, what: &str);
}

/// Measures everything in the plan.
///
/// # Errors
/// The first thing that goes wrong; nothing is left running then.
pub async fn run(plan: Plan, progress: &mut dyn Progress) -> Result<Report, BenchError> {
    raise_file_limit();
    place(&plan.tool_cpus)?;
    let mut notes = BTreeSet::new();
    let mut steps = Vec::new();
    for (step, &calls) in plan.calls.iter().enumerate() {
        let mut repetitions = Vec::new();
        for repetition in 0..plan.repeat {
            let mut phase = |what: &str| progress.phase(step, repetition, what);
            let folder = Folder::new()?;
            let mut figures = Figures::default();
            let mut repetition =
                Repetition { plan: &plan, calls, folder: &folder, figures: &mut figures, notes: &mut notes };
            repetition.server(&mut phase).await?;
            if plan.has_baseline() {
                phase("bare echo");
                repetition.baseline().await?;
            }
            repetitions.push(figures);
        }
        steps.push(StepReport { calls, repetitions });
    }
    if cfg!(debug_assertions) {
        notes.insert("this is a debug build, whose figures say little: build with --release".to_owned());
    }
    if !plan.follows_packets() {
        let codec = plan.codec.asterisk_format();
        notes.insert(format!(
            "no mark survives the way of {codec}: nothing is said of packets from callers (…_in) or delay"
        ));
    }
    if plan.server_cpus.is_empty() {
        notes.insert("server and tool share their processors, so each disturbs the other".to_owned());
    }
    Ok(Report { plan, steps, notes: notes.into_iter().collect() })
}

struct Repetition<'a> {
    plan: &'a Plan,
    calls: usize,
    folder: &'a Folder,
    figures: &'a mut Figures,
    notes: &'a mut BTreeSet<String>,
}

impl Repetition<'_> {
    async fn server(&mut self, phase: &mut dyn FnMut(&str)) -> Result<(), BenchError> {
        let Plan { mode, window, warm_up, .. } = *self.plan;
        phase("starting");
        let app = format!("bench-{:016x}", random_u64());
        let mut player = self.peer("player", "player")?;
        let ari = self.begin_player(&mut player, &app).await?;
        let mut engine = match mode {
            Mode::Echo => None,
            Mode::Full | Mode::Conversation => Some(self.peer("engine", "engine")?),
        };
        let engine_address = match &mut engine {
            Some(engine) => {
                let order = EngineOrder::Begin { answers: mode == Mode::Conversation };
                Some(engine.ask::<Listening>(&order, ANSWER_LIMIT).await?.address)
            }
            None => None,
        };
        let config = self.configure(&app, ari, engine_address)?;
        let arguments = ["serve", "--while-stdin-open", "--config", &config];
        let (server_cpus, tool_cpus) = (&self.plan.server_cpus, &self.plan.tool_cpus);
        let mut server = Process::start("server", &arguments, server_cpus, tool_cpus, self.folder.path())?;
        tokio::select! {
            there = player.ask::<Done>(&PlayerOrder::AwaitServer, ANSWER_LIMIT) => { there?; }
            error = server.ended() => return Err(error),
        }
        sleep(REST).await;
        let memory_before = memory_kib(server.pid()).map_err(BenchError::Usage)?;

        let stolen_before = stolen_time();
        phase("calls arrive");
        let rate = self.plan.set_up_rate;
        let limit = ANSWER_LIMIT * 2 + Duration::from_secs(1) * self.calls as u32 / rate.max(1);
        let set_up: SetUp = player.ask(&PlayerOrder::SetUp { calls_a_second: rate }, limit).await?;
        self.note_set_up(&set_up);
        if set_up.failed == self.calls {
            return Err(server.failed("no call came up"));
        }
        phase("warming up");
        sleep(warm_up).await;

        phase("measuring");
        if let Some(engine) = &mut engine {
            engine.ask::<Done>(&EngineOrder::Measure, ANSWER_LIMIT).await?;
        }
        let player_pid = player.pid();
        let before = self.costs(&server, player_pid, engine.as_ref())?;
        let order = PlayerOrder::Measure { window_ms: window.as_millis() as u64, flood: self.plan.flood };
        let (measured, after) = tokio::join!(player.ask::<PlayerFigures>(&order, window + MEASURE_GRACE), async {
            sleep(window).await;
            self.costs(&server, player_pid, engine.as_ref())
        });
        let (measured, after) = (measured?, after?);
        let heard = match &mut engine {
            Some(engine) => Some(engine.ask::<EngineFigures>(&EngineOrder::Report, ANSWER_LIMIT).await?),
            None => None,
        };
        let memory = memory_kib(server.pid()).map_err(BenchError::Usage)?;
        self.note_cost(&before, &after);
        self.figures.set("memory", memory.saturating_sub(memory_before) as f64 / self.calls as f64);
        self.figures.set("memory_total", memory as f64);
        self.note_media(&measured, heard.as_ref());
        let stolen = stolen_time().saturating_sub(stolen_before);
        if !stolen.is_zero() {
            let (calls, stolen) = (self.calls, stolen.as_millis());
            self.notes.insert(format!(
                "at {calls} calls the host of this virtual machine took {stolen} ms of its processors away: distrust what \
                 is the longest or lost"
            ));
        }

        phase("hanging up");
        let down: TornDown = player.ask(&PlayerOrder::TearDown, ANSWER_LIMIT * 2).await?;
        if down.bridges_left + down.legs_left > 0 {
            let TornDown { bridges_left, legs_left } = down;
            self.notes.insert(format!(
                "at {} calls {bridges_left} bridges and {legs_left} legs were left behind",
                self.calls
            ));
        }
        if let Some(line) = server.log_lines().first() {
            self.notes.insert(format!("the server has logged at {} calls: {line}", self.calls));
        }
        // All of them are gone, and their ports free, before the next ones start.
        server.end().await;
        player.end().await;
        if let Some(engine) = engine {
            engine.end().await;
        }
        Ok(())
    }

    /// The same calls with nothing but an echo behind them.
    async fn baseline(&mut self) -> Result<(), BenchError> {
        let mut player = self.peer("baseline-player", "player")?;
        self.begin_player(&mut player, "none").await?;
        let arguments = ["bench-peer", "baseline"];
        let (server_cpus, tool_cpus) = (&self.plan.server_cpus, &self.plan.tool_cpus);
        let mut echo = Process::start("baseline", &arguments, server_cpus, tool_cpus, self.folder.path())?;
        let order = BaselineOrder::Begin { calls: self.calls, port: 0 };
        let remote = echo.ask::<Listening>(&order, ANSWER_LIMIT).await?.address;
        player.ask::<SetUp>(&PlayerOrder::SendTo { remote }, ANSWER_LIMIT).await?;
        sleep(BASELINE_WARM_UP).await;
        let window = self.plan.window;
        let cost = || CpuTime::of(echo.pid(), MEDIA_THREADS).map_err(BenchError::Usage);
        let before = cost()?;
        let order = PlayerOrder::Measure { window_ms: window.as_millis() as u64, flood: 0 };
        let (measured, after) = tokio::join!(player.ask::<PlayerFigures>(&order, window + MEASURE_GRACE), async {
            sleep(window).await;
            cost()
        });
        let (measured, after) = (measured?, after?);
        let bare = self.per_call_second(&before, &after, |cost| cost.total);
        self.figures.set("baseline_cpu", bare);
        if let Some(cpu) = self.figures.get("cpu").filter(|_| bare > 0.0) {
            self.figures.set("baseline_ratio", cpu / bare);
        }
        if measured.pacing.count > 0 {
            self.figures.set("baseline_pacing_p99", measured.pacing.p99);
        }
        if measured.turnaround.count > 0 {
            self.figures.set("baseline_turnaround_mean", measured.turnaround.mean);
        }
        if measured.lost > 0 {
            self.notes.insert(format!("the bare echo lost packets at {} calls: the machine was busy", self.calls));
        }
        player.end().await;
        echo.end().await;
        Ok(())
    }

    fn peer(&self, name: &'static str, role: &str) -> Result<Process, BenchError> {
        let cpus = &self.plan.tool_cpus;
        Process::start(name, &["bench-peer", role], cpus, cpus, self.folder.path())
    }

    async fn begin_player(&self, player: &mut Process, app: &str) -> Result<SocketAddr, BenchError> {
        let plan = self.plan;
        let settings = PlayerSettings {
            calls: self.calls,
            transport: plan.transport,
            codec: plan.codec.asterisk_format().to_owned(),
            audio: plan.audio,
            app: app.to_owned(),
            window_ms: plan.window.as_millis() as u64,
        };
        Ok(player.ask::<Listening>(&PlayerOrder::Begin(settings), ANSWER_LIMIT).await?.address)
    }

    /// Writes what the server is to be like; the path of the file.
    fn configure(&self, app: &str, ari: SocketAddr, engine: Option<SocketAddr>) -> Result<String, BenchError> {
        let Plan { transport, codec, mode, .. } = *self.plan;
        self.folder.write("ari.password", "bench\n")?;
        // A worker a processor.
        let workers = self.plan.server_cpus.len().clamp(1, 64) as u16;
        let port = free_ports(workers)?;
        let (last_port, calls) = (port + workers - 1, self.calls + 1);
        let engines = match engine {
            Some(address) => format!("[engines.load]\nkind = \"grpc\"\nurl = \"http://{address}\"\n"),
            None => String::new(),
        };
        let bot = match mode {
            Mode::Echo => "echo = true".to_owned(),
            Mode::Full | Mode::Conversation => {
                let list = "[\"load\"]";
                format!(
                    "language = \"en-US\"\nrecognizer = {list}\nsynthesizer = {list}\ndialog = {list}\ngreeting = \"Hello.\""
                )
            }
        };
        let connections = match transport {
            Transport::Audiosocket => format!("audiosocket_port = {port}\n"),
            Transport::Rtp | Transport::Websocket => String::new(),
        };
        // Nothing is said that goes without saying.
        let codec = match codec == transport.default_codec() {
            true => String::new(),
            false => format!("codec = \"{}\"\n", codec.asterisk_format()),
        };
        let text = format!(
            "[[asterisk]]\nname = \"bench\"\nurl = \"http://{ari}\"\nusername = \"bench\"\n\
             password_file = \"ari.password\"\napp = \"{app}\"\ntransport = \"{}\"\n{codec}\n\
             [media]\nlisten = \"127.0.0.1\"\nports = \"{port}-{last_port}\"\n{connections}max_calls = {calls}\n\n{engines}\n\
             [bots.load]\n{bot}\n\n[[routes]]\nnumber = \"*\"\nbot = \"load\"\n",
            transport.name(),
        );
        Ok(self.folder.write("arioso.toml", &text)?.display().to_string())
    }

    fn costs(&self, server: &Process, player: u32, engine: Option<&Process>) -> Result<Costs, BenchError> {
        let of = |pid, name| CpuTime::of(pid, name).map_err(BenchError::Usage);
        Ok(Costs {
            server: of(server.pid(), MEDIA_THREADS)?,
            player: of(player, "")?,
            engine: engine.map(|engine| of(engine.pid(), "")).transpose()?,
        })
    }

    fn per_call_second(&self, before: &CpuTime, after: &CpuTime, part: impl Fn(&CpuTime) -> Duration) -> f64 {
        let spent = part(after).saturating_sub(part(before)).as_nanos() as f64;
        spent / (after.at - before.at).as_secs_f64() / self.calls as f64
    }

    fn note_cost(&mut self, before: &Costs, after: &Costs) {
        let total = self.per_call_second(&before.server, &after.server, |cost| cost.total);
        let media = self.per_call_second(&before.server, &after.server, |cost| cost.named);
        self.figures.set("cpu", total);
        self.figures.set("cpu_media", media);
        self.figures.set("cpu_other", (total - media).max(0.0));
        let share = |before: &CpuTime, after: &CpuTime| {
            (after.total - before.total).as_secs_f64() / (after.at - before.at).as_secs_f64()
        };
        self.figures.set("tool_player_cpu", share(&before.player, &after.player));
        if let (Some(before), Some(after)) = (&before.engine, &after.engine) {
            self.figures.set("tool_engine_cpu", share(before, after));
        }
    }

    fn note_set_up(&mut self, set_up: &SetUp) {
        self.figures.set_all(["", "set_up_p50", "set_up_p99", "set_up_max"], &set_up.time);
        self.figures.set("set_up_failed", set_up.failed as f64);
        for request in &set_up.unknown_requests {
            self.notes.insert(format!("the server has asked for what this Asterisk does not play: {request}"));
        }
    }

    fn note_media(&mut self, measured: &PlayerFigures, heard: Option<&EngineFigures>) {
        let Plan { flood, .. } = *self.plan;
        let figures = &mut *self.figures;
        if self.plan.follows_packets() {
            let arrived = heard.map_or(measured.echoed, |heard| heard.heard);
            let lost = measured.sent.saturating_sub(arrived.unique) as f64;
            figures.set("lost_in", lost);
            figures.set("loss_in", lost / (measured.sent as f64).max(1.0));
            figures.set("late_in", arrived.late as f64);
            figures.set("duplicated_in", arrived.duplicated as f64);
        }
        if let Some(heard) = heard {
            figures.set("unmarked_in", heard.unmarked as f64);
            figures.set_all(["to_engine_mean", "to_engine_p50", "to_engine_p99", "to_engine_max"], &heard.latency);
        }
        figures.set("lost_out", measured.lost as f64);
        figures.set("loss_out", measured.lost as f64 / (measured.due as f64).max(1.0));
        figures.set("late_out", measured.late as f64);
        figures.set("duplicated_out", measured.duplicated as f64);
        figures.set_all(["", "pacing_p50", "pacing_p99", "pacing_max"], &measured.pacing);
        figures.set_all(["", "", "interval_p99", "interval_max"], &measured.interval);
        figures
            .set_all(["turnaround_mean", "turnaround_p50", "turnaround_p99", "turnaround_max"], &measured.turnaround);
        figures.set_all(
            ["first_audio_mean", "first_audio_p50", "first_audio_p99", "first_audio_max"],
            &measured.first_audio,
        );
        if measured.first_audio.count > 0 {
            figures.set("replies", measured.first_audio.count as f64);
        }
        if flood > 0 {
            figures.set("flood_sent", measured.flood_sent as f64);
        }
        figures.set_all(["", "", "tool_late_p99", "tool_late_max"], &measured.own_lateness);
        figures.set("tool_dropped", measured.own_drops as f64);
        if measured.own_drops > 0 {
            self.notes
                .insert(format!("this tool lost packets of its own at {} calls: it is too slow here", self.calls));
        }
    }
}

struct Costs {
    server: CpuTime,
    player: CpuTime,
    engine: Option<CpuTime>,
}

/// Ports in a row, for UDP and TCP, that nobody has now: the first. Below those that the system gives to outgoing connections.
fn free_ports(count: u16) -> Result<u16, BenchError> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..100 {
        let first = 20_000 + (random_u64() % 10_000) as u16;
        let free = (first..first + count).try_for_each(|port| {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(drop)
        });
        match free {
            Ok(()) => return Ok(first),
            Err(error) => last = error,
        }
    }
    Err(BenchError::Ports(last))
}
