//! A real Asterisk on loopback, of our own: made with debootstrap, run in a `chroot`, gone when we are gone.
//!
//! Several instances run from one [`AsteriskRoot`] at the same time, each with its own folder and ports.
//!
//! ```no_run
//! # async fn f() -> Result<(), arioso::bench::asterisk::LocalAsteriskError> {
//! use arioso::bench::asterisk::{LocalAsterisk, LocalAsteriskSettings};
//! let asterisk = LocalAsterisk::start(LocalAsteriskSettings::default()).await?;
//! println!("Asterisk {} answers at {}", asterisk.version(), asterisk.ari_url());
//! println!("{}", asterisk.cli("core show uptime").await?);
//! # Ok(()) }
//! ```

mod console;
mod debian;
mod error;
mod instance;
mod ports;
mod privilege;
mod process;
mod root;
mod template;

pub use debian::DebianRelease;
pub use error::{LeftOver, LocalAsteriskError};
pub use privilege::PrivilegeError;
pub use root::{AsteriskRoot, RootError};
pub use template::TemplateError;

use instance::Instance;
use ports::Ports;
use privilege::Privilege;
use process::{AsteriskProcess, Folder};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use template::Values;

/// Everything listens here, and nowhere else.
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ARI_USER: &str = "arioso";

/// How often a condition is looked at that Asterisk does not tell us about.
const POLL: Duration = Duration::from_millis(10);

/// How long one question whether it is there may take while it starts.
const BOOT_ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// A port that was free when we looked can be taken before Asterisk binds it; then others are tried.
const PORT_ATTEMPTS: usize = 3;

/// Modules without which no call reaches a bot. Asterisk starts without them, and says so in its log only.
const NEEDED_MODULES: [&str; 6] =
    ["chan_pjsip.so", "chan_rtp.so", "app_stasis.so", "res_ari_channels.so", "func_timeout.so", "bridge_simple.so"];

/// What an instance may differ in.
#[derive(Clone, Debug)]
pub struct LocalAsteriskSettings {
    /// Which Debian, and so which Asterisk.
    pub release: DebianRelease,
    /// The folder with that Debian; made if it is not there. [`DebianRelease::root_path`] by default.
    pub root: PathBuf,
    /// Name of the ARI application that `Stasis()` hands calls to: letters, digits, `-` and `_`, at most 64.
    pub app: String,
    /// Lines of dialplan (`exten => 901,1,Echo()`) that can be dialled besides the numbers that go to `app`, and win.
    pub site_dialplan: String,
    /// Sections of `websocket_client.conf`: whom Asterisk may connect to for audio over WebSocket.
    pub websocket_clients: String,
    /// Ports for the audio of callers and external-media legs. Instances may share them: one that is in use is skipped.
    pub rtp_ports: RangeInclusive<u16>,
    /// How long a start may take once the folder is there; a second is usual.
    pub start_timeout: Duration,
}

impl LocalAsteriskSettings {
    /// The Asterisk of `release`.
    pub fn of(release: DebianRelease) -> Self {
        Self {
            release,
            root: release.root_path(),
            app: "arioso".to_owned(),
            site_dialplan: String::new(),
            websocket_clients: String::new(),
            rtp_ports: 20_000..=29_999,
            start_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for LocalAsteriskSettings {
    fn default() -> Self {
        Self::of(DebianRelease::Sid)
    }
}

/// A running Asterisk. Dropping it kills it and removes its folder; so does the end of this process, however it comes.
pub struct LocalAsterisk {
    // Declared in this order: the process ends before the folder goes.
    process: Option<AsteriskProcess>,
    instance: Instance,
    root: AsteriskRoot,
    privilege: Privilege,
    settings: LocalAsteriskSettings,
    ports: Ports,
    ari_password: String,
    version: String,
}

impl LocalAsterisk {
    /// Makes the root if needed (minutes, once), starts an instance on free ports and waits until it takes calls.
    ///
    /// # Errors
    ///
    /// Each variant of [`LocalAsteriskError`]; nothing is left running after one.
    pub async fn start(settings: LocalAsteriskSettings) -> Result<Self, LocalAsteriskError> {
        if !is_app_name(&settings.app) {
            return Err(LocalAsteriskError::AppName { app: settings.app });
        }
        let privilege = Privilege::obtain().map_err(RootError::from)?;
        let (path, release) = (settings.root.clone(), settings.release);
        let mut progress = |line: &str| tracing::info!(%line, "making the Asterisk root");
        let root = tokio::task::spawn_blocking(move || AsteriskRoot::ensure(&path, release, &mut progress))
            .await
            .map_err(|source| LocalAsteriskError::Launch { source: source.into() })??;
        let parent = std::env::temp_dir();
        Instance::remove_abandoned(&parent);
        let mut attempt = 1;
        loop {
            let ports = Ports::find(ADDRESS).map_err(|source| LocalAsteriskError::NoPorts { source })?;
            let mut asterisk = Self {
                process: None,
                instance: Instance::create(&parent)?,
                root: root.clone(),
                privilege,
                settings: settings.clone(),
                ports,
                ari_password: uuid::Uuid::new_v4().simple().to_string(),
                version: String::new(),
            };
            asterisk.configure()?;
            match asterisk.start_again().await {
                Err(LocalAsteriskError::PortTaken { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(()) => return Ok(asterisk),
            }
        }
    }

    /// Base of the ARI URLs, without a slash at the end: `http://127.0.0.1:8088`.
    pub fn ari_url(&self) -> String {
        format!("http://{ADDRESS}:{}", self.ports.http)
    }

    /// Who logs in to ARI.
    pub fn ari_user(&self) -> &'static str {
        ARI_USER
    }

    /// The password of [`Self::ari_user`]: random, of this instance only.
    pub fn ari_password(&self) -> &str {
        &self.ari_password
    }

    /// A file with the password and nothing else, readable by its owner.
    pub fn ari_password_file(&self) -> PathBuf {
        self.instance.password_file()
    }

    /// Name of the ARI application that the dialplan hands calls to.
    pub fn app(&self) -> &str {
        &self.settings.app
    }

    /// Where callers send their INVITE, over UDP.
    pub fn sip_address(&self) -> SocketAddr {
        SocketAddr::new(ADDRESS, self.ports.sip)
    }

    /// The version as Asterisk says it: `22.10.1+dfsg+~cs6.17.60671434-1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The Debian that it runs from, with its prompts.
    pub fn root(&self) -> &AsteriskRoot {
        &self.root
    }

    /// The private folder of this instance: `etc`, `log`, `spool`, `run`, `db`.
    pub fn folder(&self) -> &Path {
        self.instance.folder()
    }

    /// What Asterisk wrote to its log so far.
    pub fn log(&self) -> String {
        self.instance.log()
    }

    /// Runs a console command, as `asterisk -rx` does, and gives its answer.
    ///
    /// # Errors
    ///
    /// [`LocalAsteriskError::Console`] if Asterisk is not running or does not answer.
    pub async fn cli(&self, command: &str) -> Result<String, LocalAsteriskError> {
        let answer = console::command(&self.instance.control_socket(), command, console::ANSWER_TIMEOUT).await;
        answer.map_err(|source| LocalAsteriskError::Console { command: command.to_owned(), source })
    }

    /// Names of all channels.
    ///
    /// # Errors
    ///
    /// As [`Self::cli`].
    pub async fn channels(&self) -> Result<Vec<String>, LocalAsteriskError> {
        Ok(console::channel_names(&self.cli("core show channels concise").await?))
    }

    /// Ids of all bridges.
    ///
    /// # Errors
    ///
    /// As [`Self::cli`].
    pub async fn bridges(&self) -> Result<Vec<String>, LocalAsteriskError> {
        Ok(console::bridge_ids(&self.cli("bridge show all").await?))
    }

    /// Waits until there is no channel and no bridge.
    ///
    /// # Errors
    ///
    /// [`LocalAsteriskError::LeftOver`] with what is there when `timeout` has passed, and as [`Self::cli`].
    pub async fn wait_until_empty(&self, timeout: Duration) -> Result<(), LocalAsteriskError> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = LeftOver { channels: self.channels().await?, bridges: self.bridges().await? };
            if left.is_nothing() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(LocalAsteriskError::LeftOver { left, waited: timeout });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills it as a crash would: no BYE to callers, no goodbye to ARI clients. Its folder and ports stay for
    /// [`Self::start_again`].
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.end(Folder::Keep);
        }
    }

    /// Starts it after [`Self::kill`], on the same ports, with the same password. Does nothing if it is running.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn start_again(&mut self) -> Result<(), LocalAsteriskError> {
        if self.process.as_mut().is_some_and(|process| process.ended().is_none()) {
            return Ok(());
        }
        let launched = self.instance.output().and_then(|output| {
            AsteriskProcess::launch(self.privilege, self.root.path(), self.instance.folder(), output)
        });
        self.process = Some(launched.map_err(|source| LocalAsteriskError::Launch { source })?);
        self.wait_until_booted().await?;
        self.check_listeners().await?;
        self.check_modules().await?;
        let version = console::version(&self.cli("core show version").await?);
        self.version = version.unwrap_or_else(|| "unknown".to_owned());
        Ok(())
    }

    /// A crash and a start: [`Self::kill`] and [`Self::start_again`].
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<(), LocalAsteriskError> {
        self.kill();
        self.start_again().await
    }

    /// Ends it and removes its folder. The same as dropping it, said aloud.
    pub fn stop(self) {}

    fn configure(&self) -> Result<(), LocalAsteriskError> {
        let (http_port, sip_port) = (self.ports.http.to_string(), self.ports.sip.to_string());
        let rtp_first = self.settings.rtp_ports.start().to_string();
        let rtp_last = self.settings.rtp_ports.end().to_string();
        let values = Values(&[
            ("instance", instance::inside()),
            ("address", &ADDRESS.to_string()),
            ("http_port", &http_port),
            ("sip_port", &sip_port),
            ("rtp_first", &rtp_first),
            ("rtp_last", &rtp_last),
            ("ari_user", ARI_USER),
            ("ari_password", &self.ari_password),
            ("app", &self.settings.app),
            ("site_dialplan", &self.settings.site_dialplan),
            ("websocket_clients", &self.settings.websocket_clients),
        ]);
        Ok(self.instance.configure(self.settings.release, &values, &self.ari_password)?)
    }

    async fn wait_until_booted(&mut self) -> Result<(), LocalAsteriskError> {
        let deadline = Instant::now() + self.settings.start_timeout;
        loop {
            if let Some(status) = self.process.as_mut().and_then(AsteriskProcess::ended) {
                let log = last_lines(&self.instance.log());
                return Err(if process::mounts_failed(status) {
                    LocalAsteriskError::Mount { root: self.root.path().to_owned(), log }
                } else {
                    LocalAsteriskError::Died { status, log }
                });
            }
            // Until the socket is there, and again after a crash that left it, connecting fails.
            // One that is just starting may accept and not answer; asking again is all that helps.
            let socket = self.instance.control_socket();
            let answer = console::command(&socket, "core waitfullybooted", BOOT_ANSWER_TIMEOUT).await;
            if answer.is_ok_and(|answer| answer.contains("fully booted")) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = last_lines(&self.instance.log());
                return Err(LocalAsteriskError::NotReady { waited: self.settings.start_timeout, log });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asterisk starts even when it cannot bind; only what it shows tells.
    async fn check_listeners(&self) -> Result<(), LocalAsteriskError> {
        for (command, port) in [("http show status", self.ports.http), ("pjsip show transports", self.ports.sip)] {
            let listener = format!("{ADDRESS}:{port}");
            if !self.cli(command).await?.split_whitespace().any(|word| word == listener) {
                return Err(LocalAsteriskError::PortTaken { port, log: last_lines(&self.instance.log()) });
            }
        }
        Ok(())
    }

    async fn check_modules(&self) -> Result<(), LocalAsteriskError> {
        let shown = self.cli("module show").await?;
        let running = |module: &&str| {
            shown.lines().any(|line| line.split_whitespace().next() == Some(module) && line.contains(" Running "))
        };
        match NEEDED_MODULES.iter().find(|module| !running(module)) {
            None => Ok(()),
            Some(module) => Err(LocalAsteriskError::Module { module, log: last_lines(&self.instance.log()) }),
        }
    }
}

impl fmt::Debug for LocalAsterisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("LocalAsterisk");
        debug.field("version", &self.version).field("ari_url", &self.ari_url()).field("sip", &self.sip_address());
        debug.field("folder", &self.folder()).finish_non_exhaustive()
    }
}

/// Whether `app` can stand in a dialplan and in a URL as it is.
fn is_app_name(app: &str) -> bool {
    (1..=64).contains(&app.len()) && app.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The end of a log, short enough for an error message.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join(" / ")
}
