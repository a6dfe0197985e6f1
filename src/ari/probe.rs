//! Looks at an Asterisk and says what a voice-bot host would miss there, and how to mend it.
//!
//! The external-media leg is really made, under an application name of its own, so that neither a running server nor
//! its calls are disturbed; it is removed again, and carries a dead-man timer in case that this program is killed.

mod connection;

pub use connection::{NoConnection, connection};

use super::events_socket::{EventStream, Signal};
use super::requirements::{Capabilities, Lack, Lacks};
use super::{
    AppUse, Ari, AriError, AriSettings, AsteriskVersion, ChannelId, Event, ExternalMedia, Feature, HangupReason,
    Variables, absolute_timeout,
};
use crate::config::{AppName, MediaTransport};
use async_trait::async_trait;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// How long an event may take that Asterisk sends at once.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Played to the leg that is made for a try: made by Asterisk itself, so that no file is needed.
const TEST_SOUND: &str = "tone:350+440/2000";
/// The dead-man timer of the leg that is made for a try.
const LEG_LIFE: Duration = Duration::from_secs(30);

/// What one look came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Works, with a limit.
    Warning {
        /// What to do about it.
        fix: String,
    },
    /// Calls will not work.
    Failed {
        /// What to do about it.
        fix: String,
    },
    /// Not looked at, because something before it failed.
    Skipped,
}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
}

impl Check {
    fn passed(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Passed, detail: detail.into() }
    }

    fn warning(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warning { fix: fix.into() }, detail: detail.into() }
    }

    fn failed(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed { fix: fix.into() }, detail: detail.into() }
    }

    fn skipped(name: &'static str, because: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, detail: because.into() }
    }
}

/// All looks at one Asterisk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its configured name.
    pub asterisk: String,
    /// Its configured address.
    pub url: String,
    /// In the order in which they were taken.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether calls will work.
    pub fn passed(&self) -> bool {
        !self.checks.iter().any(|check| matches!(check.outcome, Outcome::Failed { .. }))
    }
}

const REACH: &str = "reach ARI";
const LOGIN: &str = "log in";
const WRITE: &str = "write access";
const VERSION: &str = "version";
const MODULES: &str = "modules";
const APPLICATION: &str = "application";
const EVENTS: &str = "events socket";
const ADDRESS: &str = "media address";
const MEDIA: &str = "external media";
const AUDIO: &str = "audio";
const DEAD_MAN: &str = "dead-man timer";
const CLEAN: &str = "nothing left";

/// The media legs that are wanted of an Asterisk.
pub struct Wanted<'a> {
    /// What they are.
    pub transport: &'a MediaTransport,
    /// The address that Asterisk is told to send to, or to connect to.
    pub advertise: IpAddr,
    /// Makes one for a try.
    pub test: &'a mut dyn TestLeg,
}

/// Our end of the leg that is made for a try.
#[async_trait]
pub trait TestLeg: Send {
    /// Makes the leg, as a call would, and begins to listen. The sentence says between whom audio travels then.
    ///
    /// # Errors
    /// A sentence on what is wrong, and one on what to do.
    async fn make(&mut self, ari: &Ari, media: ExternalMedia, asterisk: &Capabilities) -> Result<String, TestLegError>;

    /// Waits until audio has come from Asterisk; `false` if none comes in time.
    async fn hears(&mut self) -> bool;

    /// Ends our side.
    async fn end(&mut self);
}

/// Why no leg could be made for a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestLegError {
    /// What is wrong.
    pub detail: String,
    /// What to do.
    pub fix: String,
    /// Only the try is not possible; calls may well be.
    pub only_here: bool,
}

/// Takes all looks at one Asterisk.
pub async fn probe(settings: &AriSettings, wanted: Wanted<'_>) -> Report {
    let mut checks = Vec::new();
    look(settings, wanted, &mut checks).await;
    Report { asterisk: settings.name.clone(), url: settings.url.to_string(), checks }
}

async fn look(settings: &AriSettings, wanted: Wanted<'_>, checks: &mut Vec<Check>) {
    let ari = match Ari::new(settings.clone()) {
        Ok(ari) => ari,
        Err(error) => return checks.push(Check::failed(REACH, error.to_string(), "correct the configuration")),
    };
    let info = ari.info().await;
    let reached = match &info {
        Err(AriError::Unreachable { .. }) => no_connection(settings).await.unwrap_or_else(|| reach(&info, settings)),
        _ => reach(&info, settings),
    };
    let stop = reached.iter().any(|check| matches!(check.outcome, Outcome::Failed { .. }));
    checks.extend(reached);
    let info = match info {
        Ok(info) if !stop => info,
        _ => {
            let rest = [WRITE, VERSION, MODULES, APPLICATION, ADDRESS, EVENTS, MEDIA, DEAD_MAN, AUDIO, CLEAN];
            return checks.extend(rest.map(|name| Check::skipped(name, "Asterisk cannot be asked")));
        }
    };
    let write = write_access(&ari).await;
    let may_write = write.outcome == Outcome::Passed;
    checks.push(write);
    let version = AsteriskVersion::parse(&info.system.version);
    let mut asterisk = Capabilities { version_text: info.system.version, version, modules: None };
    version_checks(&asterisk, wanted.transport, checks);
    match ari.modules().await {
        Ok(modules) => {
            asterisk.modules = Some(modules);
            module_checks(&asterisk, wanted.transport, checks);
        }
        Err(error) => {
            checks.push(Check::warning(MODULES, error.to_string(), "look yourself: asterisk -rx 'module show'"));
        }
    }
    checks.push(application(&ari).await);
    if wanted.transport.is_sent_to_us() {
        checks.push(media_address(settings, wanted.advertise));
    }
    if may_write {
        live(&ari, &asterisk, wanted, checks).await;
    } else {
        let rest = [EVENTS, MEDIA, DEAD_MAN, AUDIO, CLEAN];
        checks.extend(rest.map(|name| Check::skipped(name, "nothing may be changed there")));
    }
}

/// What is in the way of any connection, as far as it is not Asterisk's own settings.
async fn no_connection(settings: &AriSettings) -> Option<Vec<Check>> {
    let (host, port) = settings.url.host_and_port();
    let error = connection(&host, port).await.err()?;
    let fix = error.fix()?;
    Some(vec![Check::failed(REACH, format!("{}: {error}", settings.url), fix)])
}

/// Whether somebody answers, and lets us in.
fn reach(info: &Result<super::AsteriskInfo, AriError>, settings: &AriSettings) -> Vec<Check> {
    let url = &settings.url;
    let answers = || Check::passed(REACH, format!("{url} answers"));
    match info {
        Ok(_) => vec![answers(), Check::passed(LOGIN, format!("as `{}`", settings.username))],
        Err(AriError::Unauthorized { .. }) => vec![
            answers(),
            Check::failed(
                LOGIN,
                format!("the login of `{}` is refused", settings.username),
                format!(
                    "compare username and password with the [{}] section (type=user) of ari.conf, then: module reload \
                     res_ari.so",
                    settings.username
                ),
            ),
        ],
        Err(AriError::Forbidden { message, .. }) => vec![
            answers(),
            Check::failed(
                LOGIN,
                format!("`{}` may not come in from here: {message}", settings.username),
                format!("check permit, deny and acl of the [{}] section of ari.conf", settings.username),
            ),
        ],
        Err(AriError::NotFound { .. }) => vec![
            answers(),
            Check::failed(
                LOGIN,
                "ARI does not know /asterisk/info",
                "load it: module load res_ari_asterisk.so, and put load=res_ari_asterisk.so into modules.conf",
            ),
        ],
        Err(AriError::Unreachable { cause, .. }) => vec![Check::failed(
            REACH,
            format!("{url}: {cause}"),
            "start Asterisk; set enabled=yes, bindaddr and bindport in http.conf to what the URL says, then: module reload \
             http (see it with: http show status)",
        )],
        Err(AriError::Tls { cause, .. }) => vec![Check::failed(
            REACH,
            format!("{url}: no TLS: {cause}"),
            "check that the port is that of tlsbindaddr in http.conf and that the certificate names the host of the URL; set \
             ca_file to the certificate of the authority that signed it",
        )],
        Err(AriError::NoAri { .. }) => vec![Check::failed(
            REACH,
            format!("{url} is an HTTP server without ARI"),
            "set enabled=yes in ari.conf; load it: module load res_ari.so, and put load=res_ari.so into modules.conf; if \
             http.conf has a prefix, it belongs into the URL",
        )],
        Err(AriError::Starting { .. }) => vec![Check::failed(
            REACH,
            format!("Asterisk at {url} is still starting"),
            "wait for it: asterisk -rx 'core waitfullybooted'",
        )],
        Err(error) => vec![Check::failed(REACH, error.to_string(), "look into Asterisk's log: asterisk -rvvv")],
    }
}

/// Whether the user may change anything: removes a channel that does not exist.
async fn write_access(ari: &Ari) -> Check {
    let user = &ari.settings().username;
    match ari.hang_up(&throw_away_channel(), HangupReason::Normal).await {
        Ok(_) => Check::passed(WRITE, format!("`{user}` may control calls")),
        Err(AriError::Forbidden { .. }) => Check::failed(
            WRITE,
            format!("`{user}` may only read"),
            format!("set read_only=no in the [{user}] section of ari.conf, then: module reload res_ari.so"),
        ),
        Err(error) => Check::failed(WRITE, error.to_string(), "look into Asterisk's log: asterisk -rvvv"),
    }
}

/// Whether the version has what is needed, and what it does not have.
fn version_checks(asterisk: &Capabilities, transport: &MediaTransport, checks: &mut Vec<Check>) {
    let text = &asterisk.version_text;
    let Some(version) = asterisk.version else {
        let fix = format!("make sure that it is {} or newer; 20 or 22 are recommended", needed_versions(transport));
        let detail = format!("Asterisk {text} does not say how old it is");
        return checks.push(Check::warning(VERSION, detail, fix));
    };
    let lacks = asterisk.missing_features(transport);
    let before = checks.len();
    add_lacks(VERSION, &lacks, checks);
    if lacks.fatal.is_empty() && version < (AsteriskVersion { major: 18, minor: 0 }) {
        let detail = format!("Asterisk {text}: phones may get a re-INVITE without need when the bot joins a call");
        checks.push(Check::warning(VERSION, detail, "install 18 or newer; 20 or 22 are recommended"));
    }
    if checks.len() == before {
        checks.push(Check::passed(VERSION, format!("Asterisk {text}")));
    }
}

fn needed_versions(transport: &MediaTransport) -> String {
    // Each kind of leg needs something, and names the youngest need last.
    Feature::needed_by(transport).last().map(|feature| feature.versions()).unwrap_or_default()
}

/// Whether the modules are loaded that a call needs.
fn module_checks(asterisk: &Capabilities, transport: &MediaTransport, checks: &mut Vec<Check>) {
    let before = checks.len();
    add_lacks(MODULES, &asterisk.missing_modules(transport), checks);
    if checks.len() == before {
        checks.push(Check::passed(MODULES, "all that a call needs are loaded"));
    }
}

fn add_lacks(name: &'static str, lacks: &Lacks, checks: &mut Vec<Check>) {
    checks.extend(lacks.fatal.iter().map(|lack: &Lack| Check::failed(name, lack.to_string(), lack.fix())));
    checks.extend(lacks.tolerable.iter().map(|lack| Check::warning(name, lack.to_string(), lack.fix())));
}

/// Whether our application's name is free.
async fn application(ari: &Ari) -> Check {
    let app = &ari.settings().app;
    match ari.app_use().await {
        Ok(AppUse::Free) => Check::passed(APPLICATION, format!("the name `{app}` is free")),
        Ok(AppUse::Connected) => Check::warning(
            APPLICATION,
            format!("a program is connected as `{app}`"),
            "nothing, if that is your running server; else choose another `app` here and in the dialplan",
        ),
        Ok(AppUse::HasCalls) => Check::warning(
            APPLICATION,
            format!("`{app}` has calls"),
            "nothing, if they belong to your running server, or to one that stopped: the next to start takes them over",
        ),
        Err(error) => Check::failed(
            APPLICATION,
            error.to_string(),
            "load it: module load res_ari_applications.so, and put load=res_ari_applications.so into modules.conf",
        ),
    }
}

/// Whether Asterisk can send to the address that it is told.
fn media_address(settings: &AriSettings, ip: IpAddr) -> Check {
    if ip.is_unspecified() || ip.is_multicast() {
        let fix = "set `advertise` under [media] to the address of this machine as Asterisk reaches it";
        return Check::failed(ADDRESS, format!("{ip} is no address that Asterisk could send to"), fix);
    }
    if ip.is_loopback() && !settings.url.is_loopback() {
        let fix =
            "set `advertise` under [media] to the address of this machine as Asterisk reaches it, and `listen` too";
        return Check::failed(ADDRESS, format!("Asterisk is on another machine, and {ip} is its own loopback"), fix);
    }
    Check::passed(ADDRESS, format!("Asterisk is told {ip}"))
}

/// The looks that change something: an events socket, and a media leg that comes and goes.
async fn live(ari: &Ari, asterisk: &Capabilities, wanted: Wanted<'_>, checks: &mut Vec<Check>) {
    let ari = ari.with_app(throw_away_app());
    let mut events = ari.events(256);
    let socket = events_socket(&mut events).await;
    let connected = socket.outcome == Outcome::Passed;
    checks.push(socket);
    if connected {
        media_leg(&ari, &mut events, asterisk, wanted, checks).await;
    } else {
        checks.extend([MEDIA, DEAD_MAN, AUDIO].map(|name| Check::skipped(name, "there is no events socket")));
    }
    events.close().await;
    checks.push(nothing_left(&ari).await);
}

async fn events_socket(events: &mut EventStream) -> Check {
    let fix = "load it: module load res_ari_events.so and res_http_websocket.so, and put both into modules.conf; a proxy in \
               between must pass WebSocket upgrades on";
    match timeout(EVENT_TIMEOUT, events.next()).await {
        Ok(Some(Signal::Connected)) => Check::passed(EVENTS, "opens, and takes a filter"),
        Ok(Some(Signal::Unavailable { error, .. })) => Check::failed(EVENTS, error.to_string(), fix),
        Ok(other) => Check::failed(EVENTS, format!("unexpected: {other:?}"), fix),
        Err(_) => Check::failed(EVENTS, format!("does not open within {EVENT_TIMEOUT:?}"), fix),
    }
}

async fn media_leg(
    ari: &Ari,
    events: &mut EventStream,
    asterisk: &Capabilities,
    wanted: Wanted<'_>,
    checks: &mut Vec<Check>,
) {
    let (channel, test) = (throw_away_channel(), wanted.test);
    let media = ExternalMedia {
        channel: channel.clone(),
        format: wanted.transport.codec().asterisk_format(),
        variables: Variables::from([absolute_timeout(LEG_LIFE)]),
    };
    let made = test.make(ari, media, asterisk).await;
    let entered = made.is_ok() && timeout(EVENT_TIMEOUT, wait_for(events, &channel)).await.is_ok();
    checks.push(external_media(made, entered));
    if entered {
        checks.push(dead_man(ari, &channel).await);
        checks.push(audio(ari, &channel, test).await);
    } else {
        checks.extend([DEAD_MAN, AUDIO].map(|name| Check::skipped(name, "there is no media leg")));
    }
    test.end().await;
    // Also after an error: an answer that came too late leaves a leg as well. What remains is seen at the end.
    let _ = ari.hang_up(&channel, HangupReason::Normal).await;
}

fn external_media(made: Result<String, TestLegError>, entered: bool) -> Check {
    match made {
        Ok(between) if entered => Check::passed(MEDIA, between),
        Ok(_) => Check::failed(
            MEDIA,
            format!("the leg was made and did not enter its application within {EVENT_TIMEOUT:?}"),
            "look into Asterisk's log: asterisk -rvvv",
        ),
        Err(TestLegError { detail, fix, only_here: true }) => Check::warning(MEDIA, detail, fix),
        Err(TestLegError { detail, fix, only_here: false }) => Check::failed(MEDIA, detail, fix),
    }
}

/// Whether what Asterisk sends arrives: it is made to play something to the leg.
async fn audio(ari: &Ari, channel: &ChannelId, test: &mut dyn TestLeg) -> Check {
    if let Err(error) = ari.play(channel, TEST_SOUND).await {
        let fix = "load res_stasis_playback.so and res_ari_channels.so; this is needed for the check only";
        return Check::warning(AUDIO, format!("Asterisk plays nothing to the leg: {error}"), fix);
    }
    if test.hears().await {
        Check::passed(AUDIO, "what Asterisk sends arrives")
    } else {
        Check::failed(
            AUDIO,
            "Asterisk plays something to the leg, and nothing arrives here: bots would be deaf",
            "see that media.advertise is an address of this machine that Asterisk reaches, and that no firewall is in \
             between",
        )
    }
}

/// Whether a leg can be made to end by itself. Asterisk accepts the timer also where it does not know it: read it back.
async fn dead_man(ari: &Ari, channel: &ChannelId) -> Check {
    let fix = "load it: module load func_timeout.so, and put load=func_timeout.so into modules.conf";
    let (name, _) = absolute_timeout(LEG_LIFE);
    if let Err(error) = ari.set_absolute_timeout(channel, LEG_LIFE).await {
        return Check::failed(DEAD_MAN, error.to_string(), fix);
    }
    match ari.variable(channel, &name).await {
        Ok(Some(value)) if value.parse::<f64>().is_ok_and(|seconds| seconds > 0.0) => {
            Check::passed(DEAD_MAN, "a leg ends by itself when its server is gone")
        }
        Ok(_) | Err(AriError::Failed { .. }) => {
            Check::failed(DEAD_MAN, "the timer is accepted and not set: calls would outlive a dead server", fix)
        }
        Err(error) => Check::failed(DEAD_MAN, error.to_string(), fix),
    }
}

async fn wait_for(events: &mut EventStream, channel: &ChannelId) {
    while let Some(signal) = events.next().await {
        if matches!(&signal, Signal::Event(event @ Event::StasisStart { .. }) if event.channel_id() == Some(channel)) {
            return;
        }
    }
}

/// Whether everything that was made is gone.
async fn nothing_left(ari: &Ari) -> Check {
    let fix = "it ends by itself within half a minute; if not: channel request hangup all";
    for wait in [0, 20, 50, 100, 200, 500, 1000] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        match ari.channels().await {
            Ok(channels) if channels.iter().any(|channel| channel.id.as_str().starts_with(PREFIX)) => {}
            Ok(_) => return Check::passed(CLEAN, "no channel stays behind"),
            Err(error) => return Check::warning(CLEAN, error.to_string(), fix),
        }
    }
    Check::warning(CLEAN, "a channel of this check is still there", fix)
}

/// What the names of everything begin with that is made here.
const PREFIX: &str = "arioso-doctor-";

fn throw_away_channel() -> ChannelId {
    let id = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    ChannelId::new(id).expect("46 letters, digits and dashes are a valid id")
}

fn throw_away_app() -> AppName {
    let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    AppName::new(&name).expect("46 letters, digits and dashes are a valid name")
}

#[cfg(test)]
mod tests;
