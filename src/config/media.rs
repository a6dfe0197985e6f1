//! `[media]`: the sockets of the media workers and the limit on calls.

use super::asterisk::Asterisk;
use super::document::Section;
use super::error::{Caution, Fault};
use super::secret::{self, Secret};
use super::values::{invalid, ip_address, number, parsed, username};
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// From these Linux gives ports to whoever asks for any (`net.ipv4.ip_local_port_range`).
pub(super) const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
const PORTS_DEFAULT: RangeInclusive<u16> = 31_000..=31_007;
const MAX_CALLS_DEFAULT: u32 = 500;

/// The TCP port of AudioSocket that most examples for Asterisk have, and the one after it.
const AUDIOSOCKET_PORT_DEFAULT: u16 = 9092;
const WEBSOCKET_PORT_DEFAULT: u16 = 9093;
/// What the kernel can be built for.
const MAX_CPU: usize = 8191;

/// The media side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Address of all sockets.
    pub listen: IpAddr,
    /// UDP ports of the workers' sockets, one a worker; never empty.
    pub ports: RangeInclusive<u16>,
    /// The address that Asterisk is told to send or connect to.
    pub advertise: IpAddr,
    /// Calls at the same time; a caller beyond goes back to the dialplan at once.
    pub max_calls: u32,
    /// TCP port for AudioSocket connections; another one than `websocket_port`.
    pub audiosocket_port: u16,
    /// TCP port for the WebSockets that Asterisk opens.
    pub websocket_port: u16,
    /// What Asterisk must log in with when it opens a WebSocket; without it anybody may.
    pub websocket_login: Option<Login>,
    /// Processors that the workers are bound to, a worker each; none twice, not more than ports. Empty: not bound.
    pub cpus: Vec<usize>,
}

/// A user and a password for HTTP Basic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Without a colon.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Default for Media {
    fn default() -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            listen: loopback,
            ports: PORTS_DEFAULT,
            advertise: loopback,
            max_calls: MAX_CALLS_DEFAULT,
            audiosocket_port: AUDIOSOCKET_PORT_DEFAULT,
            websocket_port: WEBSOCKET_PORT_DEFAULT,
            websocket_login: None,
            cpus: Vec::new(),
        }
    }
}

/// Reads `[media]`, all of whose keys have defaults.
pub(super) fn read(root: &Section<'_, '_>, asterisks: &[Option<Asterisk>]) -> Option<Media> {
    let Some(section) = root.section("media") else {
        let media = Media::default();
        warn_about(&media, None, root, asterisks);
        return Some(media);
    };
    let default = Media::default();
    let listen = section.optional("listen", ip_address).unwrap_or(default.listen);
    let ports = section.optional("ports", parsed("\"31000-31007\"", ports)).unwrap_or(default.ports);
    let advertise = section.optional("advertise", ip_address);
    let max_calls = section.optional("max_calls", number(1..=10_000)).unwrap_or(default.max_calls);
    let tcp_port = |key, default| section.optional(key, number(1024..=u16::MAX)).unwrap_or(default);
    let audiosocket_port = tcp_port("audiosocket_port", default.audiosocket_port);
    let websocket_port = tcp_port("websocket_port", default.websocket_port);
    if audiosocket_port == websocket_port {
        let key = if section.contains("websocket_port") { "websocket_port" } else { "audiosocket_port" };
        let why = "is the port of AudioSocket and of WebSocket at once; give each its own";
        section.problem(key, invalid(&websocket_port.to_string(), why));
    }
    let websocket_login = read_login(&section);
    let cpus = read_cpus(&section, &ports);
    refuse_law(&section);
    section.finish();
    let advertise = read_advertise(&section, listen, advertise);
    let media = Media {
        listen,
        ports,
        advertise: advertise?,
        max_calls,
        audiosocket_port,
        websocket_port,
        websocket_login: websocket_login?,
        cpus: cpus?,
    };
    warn_about(&media, Some(&section), root, asterisks);
    Some(media)
}

/// The address for Asterisk; `None` if there is none that it could use.
fn read_advertise(section: &Section<'_, '_>, listen: IpAddr, advertise: Option<IpAddr>) -> Option<IpAddr> {
    match advertise {
        Some(address) if address.is_unspecified() => {
            let why =
                "is no address that audio can be sent to; write the one under which Asterisk reaches this machine";
            section.problem("advertise", invalid(&address.to_string(), why));
            None
        }
        Some(address) if address.is_ipv4() != listen.is_ipv4() && !listen.is_unspecified() => {
            let why = "is of another IP version than media.listen; write both as IPv4 or both as IPv6";
            section.problem("advertise", invalid(&address.to_string(), why));
            None
        }
        None if listen.is_unspecified() => {
            // A wrong value has been noted already.
            if !section.contains("advertise") {
                section.problem("advertise", Fault::Missing { example: "advertise = \"192.0.2.10\"".to_owned() });
            }
            None
        }
        address => Some(address.unwrap_or(listen)),
    }
}

/// Both parts of a login, or neither; the outer `None` means that it is wrong.
fn read_login(section: &Section<'_, '_>) -> Option<Option<Login>> {
    let keys = &secret::WEBSOCKET_PASSWORD;
    let username = section.optional("websocket_username", username);
    if section.contains("websocket_username") {
        let password = secret::required(section, keys);
        return Some(Some(Login { username: username?, password: password? }));
    }
    match secret::optional(section, keys)? {
        None => Some(None),
        Some(_) => {
            let example = "websocket_username = \"asterisk\"".to_owned();
            section.problem("websocket_username", Fault::Missing { example });
            None
        }
    }
}

/// The processors of the workers; `None` if the list is wrong.
fn read_cpus(section: &Section<'_, '_>, ports: &RangeInclusive<u16>) -> Option<Vec<usize>> {
    let cpus = section.list("cpus", "[0, 1]", |value| number(0..=MAX_CPU)(value));
    if !section.contains("cpus") {
        return Some(Vec::new());
    }
    let mut chosen: Vec<usize> = Vec::new();
    for (cpu, span) in cpus? {
        if chosen.contains(&cpu) {
            let fault = invalid(&cpu.to_string(), "stands here twice; each processor has one worker");
            section.context.problem(span, &section.key("cpus"), fault);
            return None;
        }
        chosen.push(cpu);
    }
    let why = match chosen.len() {
        0 => "is an empty list; name processors, or take the line out",
        workers if workers > ports.len() => "are more processors than there are media.ports; each worker needs a port",
        _ => return Some(chosen),
    };
    section.problem("cpus", invalid(&format!("{chosen:?}"), why));
    None
}

/// What this key said belongs to each Asterisk now.
fn refuse_law(section: &Section<'_, '_>) {
    if section.contains("law") {
        let instead = "codec = \"ulaw\" or codec = \"alaw\" in [[asterisk]]".to_owned();
        section.refuse("law", Fault::Moved { instead });
    }
}

fn warn_about(
    media: &Media,
    section: Option<&Section<'_, '_>>,
    root: &Section<'_, '_>,
    asterisks: &[Option<Asterisk>],
) {
    let warn = |key, caution| match section {
        Some(section) => section.warn(key, caution),
        None => root.context.warn(0..0, &format!("media.{key}"), caution),
    };
    let (from, to) = (*media.ports.start(), *media.ports.end());
    if from <= *EPHEMERAL.end() && to >= *EPHEMERAL.start() {
        warn("ports", Caution::EphemeralPorts { from, to });
    }
    // A public address may be translated to the one listened on, but nothing is translated to or from loopback.
    if !media.listen.is_unspecified() && media.advertise.is_loopback() != media.listen.is_loopback() {
        warn("advertise", Caution::ListensElsewhere { listen: media.listen, advertise: media.advertise });
    }
    for asterisk in asterisks.iter().flatten() {
        let (name, elsewhere) = (|| asterisk.name.clone(), !asterisk.url.is_loopback());
        if elsewhere && asterisk.transport.is_sent_to_us() && media.advertise.is_loopback() {
            warn("advertise", Caution::AdvertisesLoopback { asterisk: name(), advertise: media.advertise });
        }
        if elsewhere && asterisk.transport.is_websocket_listen() && media.listen.is_loopback() {
            warn("listen", Caution::ListensOnLoopback { asterisk: name(), listen: media.listen });
        }
    }
    let listens = asterisks.iter().flatten().any(|asterisk| asterisk.transport.is_websocket_listen());
    if listens && !media.listen.is_loopback() && media.websocket_login.is_none() {
        warn("websocket_username", Caution::WebSocketWithoutLogin { listen: media.listen });
    }
}

/// `31000-31007`, or one port. Below 1024 a server would have to be root.
fn ports(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    const WRONG: &str = "is not a range of ports; write the first and the last, from 1024 to 65535: \"31000-31007\"";
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse().ok().filter(|port| *port >= 1024);
    match (port(from), port(to)) {
        (Some(from), Some(to)) if from <= to => Ok(from..=to),
        _ => Err(WRONG),
    }
}
