//! `[[asterisk]]`: an Asterisk to take calls from.

use super::document::Section;
use super::error::{Caution, Fault};
use super::names::{AppName, AsteriskName, HttpUrl};
use super::secret::{self, Secret};
use super::transport::{self, MediaTransport};
use super::values::{asterisk_url, duration, invalid, parsed, text, username};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Shorter, and a hiccup of the network would end calls; longer, and the caller of a dead server waits for ever.
const DEAD_MAN_RANGE: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(3600);
const DEAD_MAN_DEFAULT: Duration = Duration::from_secs(60);

/// One Asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asterisk {
    /// What it is called in logs; unique.
    pub name: AsteriskName,
    /// Where its HTTP server is, without the `/ari`.
    pub url: HttpUrl,
    /// The login: a `type=user` section of its `ari.conf`.
    pub username: String,
    /// The password of that user.
    pub password: Secret,
    /// Our application there.
    pub app: AppName,
    /// PEM file with the certificates to trust for `https`, in place of those of the system.
    pub ca_file: Option<PathBuf>,
    /// How the audio of its media legs travels.
    pub transport: MediaTransport,
    /// A leg ends by itself so long after this server was last alive.
    pub dead_man: Duration,
}

impl Asterisk {
    /// How often the dead-man time-out of a leg is renewed: twice before it would be missed.
    pub fn dead_man_renewal(&self) -> Duration {
        self.dead_man / 3
    }
}

/// Reads every `[[asterisk]]`; `None` for one that is wrong.
pub(super) fn read_all(root: &Section<'_, '_>) -> Vec<Option<Asterisk>> {
    let sections = root.sections("asterisk");
    if sections.is_empty() && !root.contains("asterisk") {
        root.context.warn(0..0, "", Caution::NoAsterisk);
    }
    let asterisks: Vec<_> = sections.iter().map(read).collect();
    for (later, section) in sections.iter().enumerate() {
        for (earlier, earlier_section) in sections[..later].iter().enumerate() {
            let (Some(one), Some(other)) = (&asterisks[later], &asterisks[earlier]) else { continue };
            let first = section.context.place(&earlier_section.span());
            if one.name == other.name {
                section.problem("name", Fault::Duplicate { what: format!("Asterisk \"{}\"", one.name), first });
            } else if one.url == other.url && one.app == other.app {
                // Asterisk would give the events to the later of the two connections only.
                let what = format!("application \"{}\" at {}", one.app, one.url);
                section.problem("app", Fault::Duplicate { what, first });
            }
        }
    }
    asterisks
}

fn read(section: &Section<'_, '_>) -> Option<Asterisk> {
    let name = section.required("name", "\"pbx\"", parsed("\"pbx\"", AsteriskName::new));
    let url = section.required("url", "\"http://127.0.0.1:8088\"", asterisk_url);
    let username = section.required("username", "\"bot\"", username);
    let password = secret::required(section, &secret::PASSWORD);
    let app = section.required("app", "\"arioso\"", parsed("\"arioso\"", AppName::new));
    let ca_file = section.optional("ca_file", text).map(|path| section.context.path(&path));
    let transport = transport::read(section);
    let dead_man = section.optional("dead_man", duration(DEAD_MAN_RANGE)).unwrap_or(DEAD_MAN_DEFAULT);
    section.finish();
    if url.as_ref().is_some_and(|url| !url.is_encrypted() && !url.is_loopback()) {
        section.warn("url", Caution::SecretInTheClear);
    }
    if let (Some(url), Some(transport)) = (&url, &transport)
        && url.is_encrypted()
        && transport.is_websocket_dial()
    {
        let why = "is encrypted, and we cannot open an encrypted WebSocket for audio; write http://, or websocket = \
                   \"listen\", so that Asterisk connects to us";
        section.problem("url", invalid(url.as_str(), why));
    }
    Some(Asterisk {
        name: name?,
        url: url?,
        username: username?,
        password: password?,
        app: app?,
        ca_file,
        transport: transport?,
        dead_man,
    })
}
