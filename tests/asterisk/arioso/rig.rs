//! An Asterisk, an `arioso serve` on it, and callers: what each of these tests stands on.

use crate::shared::SOON;
use arioso::audio::SampleRate;
use arioso::bench::asterisk::{LocalAsterisk, LocalAsteriskSettings};
use arioso::bench::caller::{ActiveCall, Caller, CallerSettings};
use arioso::bench::prompts::{self, Prompts};
use arioso::call::{CallId, RecognizerCommand, RecognizerEvent, UtteranceIndex};
use arioso::speech::local::models::ModelCache;
use arioso::speech::local::{InferencePool, LocalEngines};
use arioso::speech::{Recognizer, RecognizerRequest, SessionStart};
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

/// What a test may want differently.
pub(crate) struct Options {
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
        Self { media: "", bot: LOCAL_BOT.to_owned(), number: "*", site_dialplan: "", flow: String::new() }
    }
}

pub(crate) struct Rig {
    pub(crate) asterisk: LocalAsterisk,
    server: Option<Process>,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
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
        let turn = TURN.lock().await;
        let settings = LocalAsteriskSettings {
            site_dialplan: options.site_dialplan.to_owned(),
            ..LocalAsteriskSettings::default()
        };
        let asterisk = LocalAsterisk::start(settings).await.expect("an Asterisk of our own");
        let folder = TempDir::new().expect("a temporary folder");
        let rig = Self { asterisk, server: None, folder, _turn: turn };
        rig.configure(&options, &rig.asterisk.ari_password_file().display().to_string());
        rig
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, options: &Options, password_file: &str) {
        let port = free_port();
        let text = format!(
            r#"
[[asterisk]]
name = "pbx"
url = "{url}"
username = "{user}"
password_file = "{password_file}"
app = "{app}"
transport = "rtp"
dead_man = "{dead_man}s"

[media]
ports = "{port}-{port}"
{media}

{bot}

[[routes]]
number = "{number}"
bot = "reception"
"#,
            url = self.asterisk.ari_url(),
            user = self.asterisk.ari_user(),
            app = self.asterisk.app(),
            dead_man = DEAD_MAN.as_secs(),
            media = options.media,
            bot = options.bot,
            number = options.number,
        );
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

/// A UDP port that is free now.
pub(crate) fn free_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("a bound socket has an address").port()
}

/// A TCP port that is free now.
pub(crate) fn free_tcp_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
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
