//! What the demo needs around the call: models, an Asterisk, engines in a process of their own, a server.

use super::DemoArgs;
use super::screen::{self, Step};
use crate::bench::asterisk::{DebianRelease, LocalAsterisk, LocalAsteriskSettings};
use crate::config::{Config, System};
use crate::host::{Observation, Server};
use crate::speech::local::models::{Manifest, ModelCache};
use crate::speech::local::{InferencePool, LocalEngines};
use anyhow::{Context as _, Result, bail};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// The number that the caller dials.
pub(super) const NUMBER: &str = "100";

/// Loading the models takes a second; a busy machine may take longer.
const ENGINE_START_LIMIT: Duration = Duration::from_secs(60);

/// After the call nothing of it is left in Asterisk within this time.
const EMPTY_LIMIT: Duration = Duration::from_secs(10);

/// Everything that was started. Dropping it ends all of it.
pub(super) struct Stage {
    pub(super) asterisk: LocalAsterisk,
    /// For finding out what the caller heard.
    pub(super) listener: LocalEngines,
    pub(super) observations: broadcast::Receiver<Observation>,
    server: Server,
    engine: Child,
}

/// Starts everything, and says so step by step.
pub(super) async fn set(args: &DemoArgs) -> Result<Stage> {
    screen::title();
    let cache = models(args).await?;
    let asterisk = asterisk(args).await?;
    let (engine, engine_url) = engine(&cache).await?;
    let listener = {
        let cache = cache.clone();
        tokio::task::spawn_blocking(move || LocalEngines::load(&cache, InferencePool::default_threads())).await??
    };
    let step = Step::begin("server");
    let config = config(&asterisk, &engine_url)?;
    let server = Server::start(config, false).await?;
    let observations = server.observe();
    step.done("the bot \"reception\" answers number 100");
    Ok(Stage { asterisk, listener, observations, server, engine })
}

impl Stage {
    /// Ends everything in order, and checks that the call left nothing in Asterisk.
    pub(super) async fn clear(mut self) -> Result<()> {
        let empty = self.asterisk.wait_until_empty(EMPTY_LIMIT).await;
        self.server.drain(EMPTY_LIMIT, std::future::pending()).await;
        // It may have ended by itself, then there is nothing to kill.
        let _ = self.engine.kill().await;
        self.asterisk.stop();
        empty.context("the call left something behind in Asterisk")
    }
}

async fn models(args: &DemoArgs) -> Result<ModelCache> {
    let cache = args.models.as_ref().map_or_else(ModelCache::of_user, |folder| Ok(ModelCache::at(folder)))?;
    let step = Step::begin("models");
    let names: Vec<_> = Manifest::bundled().models().iter().map(|model| model.name.as_str()).collect();
    let fetching = cache.clone();
    tokio::task::spawn_blocking(move || {
        Manifest::bundled().models().iter().try_for_each(|model| fetching.fetch(model, &mut |_| {}).map(drop))
    })
    .await??;
    step.done(&names.join(", "));
    Ok(cache)
}

async fn asterisk(args: &DemoArgs) -> Result<LocalAsterisk> {
    let root = args.asterisk_root.clone().unwrap_or_else(|| DebianRelease::Sid.root_path());
    let step = Step::begin("asterisk");
    if !root.exists() {
        step.note("installing one into its own folder, once; this takes a minute or two");
    }
    let asterisk = LocalAsterisk::start(LocalAsteriskSettings { root, ..LocalAsteriskSettings::default() }).await?;
    step.done(&format!("{}, SIP at {}", asterisk.version(), asterisk.sip_address()));
    Ok(asterisk)
}

/// `arioso engine serve` as a child, and its address.
async fn engine(cache: &ModelCache) -> Result<(Child, String)> {
    let step = Step::begin("engines");
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.local_addr())
        .context("no free port")?
        .port();
    let address = format!("127.0.0.1:{port}");
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut child = Command::new(program)
        .args(["--log-json", "engine", "serve", "--while-stdin-open", "--listen", &address, "--models"])
        .arg(cache.root())
        .env("ARIOSO_LOG", "info")
        // Closed by the system however we end, so that the engines cannot outlive us.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the engines")?;
    let Some(log) = child.stderr.take() else { bail!("the log of the engines cannot be read") };
    let mut lines = BufReader::new(log).lines();
    let ready = async {
        let mut last = String::new();
        while let Some(line) = lines.next_line().await? {
            if line.contains("engines can be used") {
                return Ok(());
            }
            last = line;
        }
        bail!("the engines ended before they could be used: {last}")
    };
    timeout(ENGINE_START_LIMIT, ready).await.context("the engines took too long to load")??;
    // Read on, so that the child never waits for room in the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    step.done(&format!("recogniser, synthesiser and dialogue over gRPC at {address}"));
    Ok((child, format!("http://{address}")))
}

fn config(asterisk: &LocalAsterisk, engine_url: &str) -> Result<Config> {
    let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.local_addr())
        .context("no free port")?
        .port();
    let text = format!(
        r#"
[[asterisk]]
name = "demo"
url = "{url}"
username = "{user}"
password_file = "{password}"
app = "{app}"
transport = "rtp"

[media]
ports = "{port}-{port}"

[engines.lab]
kind = "grpc"
url = "{engine_url}"

[bots.reception]
language = "en-US"
recognizer = ["lab"]
synthesizer = ["lab"]
dialog = ["lab"]
greeting = "Hello, this is the reception. How can I help you?"

[[routes]]
number = "{NUMBER}"
bot = "reception"
"#,
        url = asterisk.ari_url(),
        user = asterisk.ari_user(),
        password = asterisk.ari_password_file().display(),
        app = asterisk.app(),
    );
    Ok(Config::parse(&text, "the demo's own configuration", &PathBuf::new(), &System)?)
}
