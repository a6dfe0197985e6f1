//! Looks at an Asterisk and says what a voice-bot host would miss there, and how to mend it.
//!
//! The external-media leg is really made, under an application name of its own, so that neither a running server nor
//! its calls are disturbed; it is removed again, and carries a dead-man timer in case that this program is killed.

mod connection;
mod live;

pub use connection::{NoConnection, connection};

use super::requirements::{Capabilities, Lack, Lacks};
use super::{AppUse, Ari, AriError, AriSettings, AsteriskVersion, ExternalMedia, Feature, HangupReason};
use crate::config::MediaTransport;
use async_trait::async_trait;
use live::{live, throw_away_channel};
use serde::Serialize;
use std::net::IpAddr;

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
    /// Whether dialplans may give calls to a bot by `AudioSocket()` besides.
    pub dialplan_calls: bool,
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
    /// Only the try is not possible; calls may well be, if a server runs already.
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
            module_checks(&asterisk, &wanted, checks);
        }
        Err(error) => {
            checks.push(Check::warning(MODULES, error.to_string(), "look yourself: asterisk -rx 'module show'"));
        }
    }
    let application = application(&ari).await;
    // Somebody is connected as our application, or was: a running server, which has its ports.
    let served = matches!(application.outcome, Outcome::Warning { .. });
    checks.push(application);
    if wanted.transport.is_sent_to_us() {
        checks.push(media_address(settings, wanted.advertise));
    }
    if may_write {
        live(&ari, &asterisk, wanted, served, checks).await;
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
fn module_checks(asterisk: &Capabilities, wanted: &Wanted<'_>, checks: &mut Vec<Check>) {
    let before = checks.len();
    add_lacks(MODULES, &asterisk.missing_modules(wanted.transport), checks);
    if wanted.dialplan_calls {
        // Which of several Asterisks has such a dialplan is not known here.
        add_lacks(MODULES, &asterisk.missing_for_dialplan_calls(), checks);
    }
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
        Ok(AppUse::Free) => {
            Check::passed(APPLICATION, format!("the name `{app}` is free (the dialplan must say Stasis({app},…))"))
        }
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

#[cfg(test)]
mod tests;
