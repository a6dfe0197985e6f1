//! An Asterisk, an `arioso serve` on it, and callers: what each of these tests stands on.

use crate::shared::SOON;
use arioso::audio::SampleRate;
use arioso::bench::asterisk::{DebianRelease, LocalAsterisk, LocalAsteriskSettings};
use arioso::bench::caller::{ActiveCall, Caller, CallerSettings};
use arioso::bench::prompts::{self, Prompts};
use arioso::call::{CallId, RecognizerCommand, RecognizerEvent, UtteranceIndex};
use arioso::speech::local::models::ModelCache;
use arioso::speech::local::{InferencePool, LocalEngines};
use arioso::speech::{Recognizer, RecognizerRequest, SessionStart};
use std::fmt::{self, Write as _};
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// One of these tests at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// How often a condition is looked at that nobody tells us about.
const POLL: Duration = Duration::from_millis(20);

/// The shortest dead-man timer that the configuration allows.
pub(crate) const DEAD_MAN: Duration = Duration::from_secs(10);

/// The bot and engines of the usual configuration: everything in the server's own process.
pub(crate) const LOCAL_BOT: &str = r#"
[engines.local]
kind = "local"

[bots.reception]
language = "en-US"
recognizer = ["local"]
synthesizer = ["local"]
dialog = ["local"]
greeting = "Hello, this is the reception. How can I help you?"
"#;

/// How audio travels between Asterisk and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Rtp,
    AudioSocket,
    WebSocketDial,
    WebSocketListen,
}

/// A carrier and a codec: an `[[asterisk]]` of its own in the configuration, all of them the same Asterisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaLeg {
    pub(crate) carrier: Carrier,
    pub(crate) codec: &'static str,
}

impl MediaLeg {
    pub(crate) const fn new(carrier: Carrier, codec: &'static str) -> Self {
        Self { carrier, codec }
    }

    fn configuration(self) -> String {
        let transport = match self.carrier {
            Carrier::Rtp => "transport = \"rtp\"",
            Carrier::AudioSocket => "transport = \"audiosocket\"",
            Carrier::WebSocketDial => "transport = \"websocket\"\nwebsocket = \"dial\"",
            Carrier::WebSocketListen => {
                "transport = \"websocket\"\nwebsocket = \"listen\"\nwebsocket_client = \"arioso\""
            }
        };
        format!("{transport}\ncodec = \"{}\"", self.codec)
    }
}

impl fmt::Display for MediaLeg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:?} {}", self.carrier, self.codec))
    }
}

/// Dialled for the echo of [`Options::legs`]`[leg]`.
pub(crate) fn echo_number(leg: usize) -> String {
    format!("7{leg:02}")
}

/// Dialled for the bot `reception` on [`Options::legs`]`[leg]`.
pub(crate) fn reception_number(leg: usize) -> String {
    format!("8{leg:02}")
}

/// Dialled for what the dialplan connects by `AudioSocket()` alone: an echo, the bot `reception`, and a UUID that nobody
/// routed.
pub(crate) const PLAIN_ECHO: &str = "600";
pub(crate) const PLAIN_RECEPTION: &str = "601";
pub(crate) const PLAIN_UNKNOWN: &str = "602";

/// The dialplan hangs up with this cause after a call that was given back, or whose `AudioSocket()` let it go on.
pub(crate) const GIVEN_BACK: u8 = 41;

/// A line test, which the numbers of [`echo_number`] reach.
const ECHO_BOT: &str = "[bots.echo]\necho = true\n\n[[routes]]\nnumber = \"echo\"\nbot = \"echo\"\n";

const ECHO_UUID: &str = "6f0b6a52-1a3c-4c11-9d5e-0a35c1a2b001";
const RECEPTION_UUID: &str = "6f0b6a52-1a3c-4c11-9d5e-0a35c1a2b002";
const UNKNOWN_UUID: &str = "6f0b6a52-1a3c-4c11-9d5e-0a35c1a2b003";

/// What Asterisk logs in with when it opens a WebSocket to the server.
const WEBSOCKET_PASSWORD: &str = "a word for this test only";

/// What a test may want differently.
pub(crate) struct Options {
    /// The Asterisk.
    pub(crate) release: DebianRelease,
    /// How audio travels; not empty. Every number reaches the first; see [`echo_number`] and [`reception_number`].
    pub(crate) legs: Vec<MediaLeg>,
    /// Runs beside other tests, because it measures nothing that they would disturb.
    pub(crate) beside_others: bool,
    /// Lines for `[media]`.
    pub(crate) media: &'static str,
    /// Engines and the bot `reception`.
    pub(crate) bot: String,
    /// The number that is routed to it.
    pub(crate) number: &'static str,
    /// Lines of dialplan that can be dialled besides.
    pub(crate) site_dialplan: &'static str,
    /// What the built-in dialogue says, for a bot with `flow = "flow.toml"`.
    pub(crate) flow: String,
}

impl Default for Options {
    fn default() -> Self {
        let release = DebianRelease::Sid;
        let legs = vec![MediaLeg::new(Carrier::Rtp, "ulaw")];
        Self {
            release,
            legs,
            beside_others: false,
            media: "",
            bot: LOCAL_BOT.to_owned(),
            number: "*",
            site_dialplan: "",
            flow: String::new(),
        }
    }
}

pub(crate) struct Rig {
    pub(crate) asterisk: LocalAsterisk,
    server: Option<Process>,
    folder: TempDir,
    ports: Ports,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// What the server listens on.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) rtp: u16,
    pub(crate) audiosocket: u16,
    pub(crate) websocket: u16,
}

impl Ports {
    fn free() -> Self {
        let (rtp, audiosocket) = (free_port(), free_tcp_port());
        let websocket = std::iter::repeat_with(free_tcp_port).find(|port| *port != audiosocket);
        Self { rtp, audiosocket, websocket: websocket.expect("an endless iterator") }
    }
}

/// A child process with its output in a file; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Rig {
    /// An Asterisk and a server that takes calls.
    pub(crate) async fn start(options: Options) -> Self {
        let mut rig = Self::without_server(options).await;
        rig.start_server().await;
        rig
    }

    /// An Asterisk, and the configuration of a server.
    pub(crate) async fn without_server(options: Options) -> Self {
        let turn = if options.beside_others { None } else { Some(TURN.lock().await) };
        let ports = Ports::free();
        let settings = LocalAsteriskSettings::of(options.release);
        let settings = LocalAsteriskSettings {
            site_dialplan: site_dialplan(&options, &settings.app, ports),
            websocket_clients: format!(
                "[arioso]\ntype = websocket_client\nconnection_type = per_call_config\n\
                 uri = ws://127.0.0.1:{}/media\nprotocols = media\nusername = asterisk\n\
                 password = {WEBSOCKET_PASSWORD}\nconnection_timeout = 2000\n",
                ports.websocket
            ),
            ..settings
        };
        let asterisk = LocalAsterisk::start(settings).await.expect("an Asterisk of our own");
        let folder = TempDir::new().expect("a temporary folder");
        let rig = Self { asterisk, server: None, folder, ports, _turn: turn };
        rig.configure(&options, &rig.asterisk.ari_password_file().display().to_string());
        rig
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, options: &Options, password_file: &str) {
        let Ports { rtp, audiosocket, websocket } = self.ports;
        let mut text = String::new();
        for (index, leg) in options.legs.iter().enumerate() {
            let (url, user) = (self.asterisk.ari_url(), self.asterisk.ari_user());
            let (app, leg, dead_man) = (app(self.asterisk.app(), index), leg.configuration(), DEAD_MAN.as_secs());
            // Writing to a String does not fail.
            let _ = write!(
                text,
                r#"
[[asterisk]]
name = "pbx{index}"
url = "{url}"
username = "{user}"
password_file = "{password_file}"
app = "{app}"
{leg}
dead_man = "{dead_man}s"
"#
            );
        }
        let Options { media, bot, number, .. } = options;
        let _ = write!(
            text,
            r#"
[media]
ports = "{rtp}-{rtp}"
audiosocket_port = {audiosocket}
websocket_port = {websocket}
websocket_username = "asterisk"
websocket_password_file = "websocket.password"
{media}

{bot}

[[routes]]
number = "{number}"
bot = "reception"

{ECHO_BOT}
"#
        );
        if options.legs.iter().any(|leg| leg.carrier == Carrier::AudioSocket) {
            for (uuid, bot) in [(ECHO_UUID, "echo"), (RECEPTION_UUID, "reception")] {
                let _ = write!(text, "[[routes]]\naudiosocket = \"{uuid}\"\nbot = \"{bot}\"\n\n");
            }
        }
        fs::write(self.config().with_file_name("websocket.password"), WEBSOCKET_PASSWORD).expect("written");
        fs::write(self.config(), text).expect("the configuration can be written");
        fs::write(self.config().with_file_name("flow.toml"), &options.flow).expect("the flow can be written");
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("arioso.toml")
    }

    pub(crate) async fn start_server(&mut self) {
        let config = self.config();
        let arguments = ["serve", "--drain", "1", "--config", config.to_str().expect("a path of plain letters")];
        let mut server = Process::start(self.folder.path(), "serve", &arguments);
        server.wait_for_log("calls can come in").await;
        self.server = Some(server);
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    pub(crate) fn server(&mut self) -> &mut Process {
        self.server.as_mut().expect("a server")
    }

    /// Kills the server as `kill -9` does.
    pub(crate) async fn kill_server(&mut self) {
        self.server.take().expect("a server").kill().await;
    }

    /// Calls, and waits for the answer.
    pub(crate) async fn call(&self, number: &str) -> ActiveCall {
        Caller::call(CallerSettings::new(self.asterisk.sip_address(), number)).await.expect("the call is answered")
    }

    /// Another program of ours beside the server.
    pub(crate) fn process(&self, name: &str, arguments: &[&str]) -> Process {
        Process::start(self.folder.path(), name, arguments)
    }

    /// Waits until Asterisk has no channel and no bridge, and the server knows of no call.
    pub(crate) async fn wait_until_nothing_is_left(&self) {
        if let Err(left) = self.asterisk.wait_until_empty(SOON).await {
            panic!("{left}\n{}", self.logs());
        }
        let Some(server) = &self.server else { return };
        let deadline = Instant::now() + SOON;
        let count = |log: &str, text| log.matches(text).count();
        loop {
            let log = server.log();
            if count(&log, "a call has arrived") == count(&log, "the call is over") {
                return;
            }
            assert!(Instant::now() < deadline, "the server still has a call\n{}", self.logs());
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the server and Asterisk logged, for a failure's message.
    pub(crate) fn logs(&self) -> String {
        let server = self.server.as_ref().map(Process::log).unwrap_or_default();
        format!("--- server ---\n{server}\n--- Asterisk ---\n{}", self.asterisk.log())
    }

    /// Waits until the server has logged `text`.
    pub(crate) async fn wait_for_log(&mut self, text: &str) {
        self.server().wait_for_log(text).await;
    }
}

impl Process {
    pub(crate) fn start(folder: &Path, name: &str, arguments: &[&str]) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = fs::File::create(&log).expect("a log file");
        let child = Command::new(env!("CARGO_BIN_EXE_arioso"))
            .args(arguments)
            .env("ARIOSO_LOG", "info,arioso=debug")
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("arioso starts");
        Self { child, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `text` is in the log; fails if the process ends before.
    pub(crate) async fn wait_for_log(&mut self, text: &str) {
        let deadline = Instant::now() + 3 * SOON;
        while !self.log().contains(text) {
            let ended = self.child.try_wait().expect("the process can be asked");
            assert!(ended.is_none(), "ended with {ended:?} before it logged {text:?}:\n{}", self.log());
            assert!(Instant::now() < deadline, "did not log {text:?}:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("the process can be killed");
    }

    /// Asks it to stop, as a service manager does, and waits for its exit code.
    pub(crate) async fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().expect("it runs").to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill(1)");
        assert!(killed.success());
        self.exit_code().await
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(3 * SOON, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("still runs:\n{}", self.log())).expect("the process can be waited for").code()
    }

    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let code = self.exit_code().await;
        (code, self.log())
    }
}

impl Rig {
    /// Takes the server out of the rig, to stop it.
    pub(crate) fn take_server(&mut self) -> Process {
        self.server.take().expect("a server")
    }
}

/// The application of leg `index`.
fn app(first: &str, index: usize) -> String {
    if index == 0 { first.to_owned() } else { format!("{first}-{index}") }
}

fn site_dialplan(options: &Options, first_app: &str, ports: Ports) -> String {
    let mut lines = format!("{}\n", options.site_dialplan);
    // Writing to a String does not fail.
    for index in 0..options.legs.len() {
        for (number, route) in [(echo_number(index), "echo"), (reception_number(index), "100")] {
            let _ = write!(
                lines,
                "exten => {number},1,Stasis({},{route})\n same => n,GotoIf($[\"${{ARIOSO_REASON}}\" != \"\"]?arioso-fallback,returned,1)\n \
                 same => n,Hangup(16)\n",
                app(first_app, index)
            );
        }
    }
    let plain = [(PLAIN_ECHO, ECHO_UUID), (PLAIN_RECEPTION, RECEPTION_UUID), (PLAIN_UNKNOWN, UNKNOWN_UUID)];
    for (number, uuid) in plain {
        let _ = write!(
            lines,
            "exten => {number},1,Answer()\n same => n,AudioSocket({uuid},127.0.0.1:{})\n \
             same => n,Hangup({GIVEN_BACK})\n",
            ports.audiosocket
        );
    }
    lines
}

/// A UDP port that is free now, where neither Asterisk's audio nor the kernel takes one in the meantime.
pub(crate) fn free_port() -> u16 {
    free(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok())
}

/// A TCP port that is free now, likewise.
pub(crate) fn free_tcp_port() -> u16 {
    free(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
}

fn free(is_free: impl Fn(u16) -> bool) -> u16 {
    const PORTS: std::ops::Range<u16> = 30_000..32_768;
    let start = uuid::Uuid::new_v4().as_u128() as usize % PORTS.len();
    PORTS.cycle().skip(start).take(PORTS.len()).find(|port| is_free(*port)).expect("a free port")
}

/// The words as another synthetic voice says them, 8 kHz.
pub(crate) fn voice(text: &str) -> Vec<i16> {
    prompts::synthesize(text, "en-us").expect("espeak-ng is installed").pcm
}

/// "Goodbye!", as a person says it.
pub(crate) fn good_bye(rig: &Rig) -> Vec<i16> {
    let prompts = Prompts::open(rig.asterisk.root()).expect("the prompts of Asterisk");
    prompts.get("goodbye").expect("one of them").pcm
}

/// What the caller heard, as words in lower case without punctuation.
pub(crate) async fn words_of(pcm: &[i16]) -> String {
    static RECOGNIZER: OnceCell<Arc<dyn Recognizer>> = OnceCell::const_new();
    let recognizer = RECOGNIZER
        .get_or_init(|| async {
            let cache = ModelCache::of_user().expect("a cache folder");
            let engines = LocalEngines::load(&cache, InferencePool::default_threads());
            engines.expect("the models; run `arioso models fetch`").recognizer as Arc<dyn Recognizer>
        })
        .await;
    let start = SessionStart {
        call: CallId::new("heard").expect("a valid id"),
        language: "en-US".into(),
        rate: SampleRate::HZ_8000,
        law: None,
        greeting: None,
    };
    let mut session = recognizer.open(start).await.expect("a session");
    let utterance = UtteranceIndex(0);
    // A recogniser wants to hear that it is over.
    let pcm = [pcm, &[0; 4000]].concat();
    let requests = [
        RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }),
        RecognizerRequest::Audio { start_sample: 0, pcm: pcm.as_slice().into() },
        RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample: pcm.len() as i64 }),
    ];
    for request in requests {
        session.requests.send(request).await.expect("an open session");
    }
    let mut words = String::new();
    while let Some(event) = session.events.recv().await {
        match event.expect("a recognition") {
            RecognizerEvent::Hypothesis { text, .. } => words = text,
            RecognizerEvent::UtteranceEnded { .. } => break,
        }
    }
    words.to_lowercase().chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect()
}

/// What the bot says, as [`words_of`] would write it.
pub(crate) const GREETING: &str = "hello this is the reception how can i help you";
pub(crate) const OPENING_HOURS: &str = "we are open from monday to friday from nine to six is there anything else";
pub(crate) const SALES: &str = "i would put you through to our sales team now is there anything else";
pub(crate) const SUPPORT: &str = "i would put you through to our support team now is there anything else";

/// Whether most of the words in `said` were heard. A small recogniser mishears one in twenty, and the bot's voice is never
/// the same twice; the answers differ in far more.
pub(crate) fn is_heard(said: &str, heard: &str) -> bool {
    let heard: Vec<&str> = heard.split_whitespace().collect();
    let words = said.split_whitespace();
    let found = words.clone().filter(|word| heard.contains(word)).count();
    found * 3 >= words.count() * 2
}

/// Waits until the bot has fallen silent, and says what the caller heard since `since`.
pub(crate) async fn answer_since(call: &ActiveCall, since: Instant) -> String {
    call.wait_for_voice(since, SOON).await.expect("an answer");
    call.wait_for_quiet(Duration::from_millis(900), SOON).await.expect("the end of the answer");
    words_of(&call.heard_since(since)).await
}
