//! `[media]`: the sockets of the media workers and the limit on calls.

use super::asterisk::Asterisk;
use super::document::Section;
use super::error::{Caution, Fault};
use super::values::{invalid, ip_address, number, parsed, word};
use crate::audio::g711::Law;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// From these Linux gives ports to whoever asks for any (`net.ipv4.ip_local_port_range`).
pub(super) const EPHEMERAL: RangeInclusive<u16> = 32_768..=60_999;
const PORTS_DEFAULT: RangeInclusive<u16> = 31_000..=31_007;
const MAX_CALLS_DEFAULT: u32 = 500;

/// The media side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Address of the workers' sockets.
    pub listen: IpAddr,
    /// Ports of the workers' sockets, one a worker; never empty.
    pub ports: RangeInclusive<u16>,
    /// The address that Asterisk is told to send to.
    pub advertise: IpAddr,
    /// Calls at the same time; a caller beyond goes back to the dialplan at once.
    pub max_calls: u32,
    /// Companding of the audio to and from Asterisk.
    pub law: Law,
}

/// Reads `[media]`, all of whose keys have defaults.
pub(super) fn read(root: &Section<'_, '_>, asterisks: &[Option<Asterisk>]) -> Option<Media> {
    let Some(section) = root.section("media") else {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let media = Media {
            listen: loopback,
            ports: PORTS_DEFAULT,
            advertise: loopback,
            max_calls: MAX_CALLS_DEFAULT,
            law: Law::Mu,
        };
        warn_about(&media, None, root, asterisks);
        return Some(media);
    };
    let listen = section.optional("listen", ip_address).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ports = section.optional("ports", parsed("\"31000-31007\"", ports)).unwrap_or(PORTS_DEFAULT);
    let advertise = section.optional("advertise", ip_address);
    let max_calls = section.optional("max_calls", number(1..=10_000)).unwrap_or(MAX_CALLS_DEFAULT);
    let law = section.optional("law", word(&[("ulaw", Law::Mu), ("alaw", Law::A)])).unwrap_or(Law::Mu);
    section.finish();
    let advertise = match advertise {
        Some(address) if address.is_unspecified() => {
            let why =
                "is no address that audio can be sent to; write the one under which Asterisk reaches this machine";
            section.problem("advertise", invalid(&address.to_string(), why));
            return None;
        }
        Some(address) if address.is_ipv4() != listen.is_ipv4() && !listen.is_unspecified() => {
            let why = "is of another IP version than media.listen; write both as IPv4 or both as IPv6";
            section.problem("advertise", invalid(&address.to_string(), why));
            return None;
        }
        None if listen.is_unspecified() => {
            // A wrong value has been noted already.
            if !section.contains("advertise") {
                section.problem("advertise", Fault::Missing { example: "advertise = \"192.0.2.10\"".to_owned() });
            }
            return None;
        }
        address => address.unwrap_or(listen),
    };
    let media = Media { listen, ports, advertise, max_calls, law };
    warn_about(&media, Some(&section), root, asterisks);
    Some(media)
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
    if media.advertise.is_loopback() {
        for elsewhere in asterisks.iter().flatten().filter(|asterisk| !asterisk.url.is_loopback()) {
            let (asterisk, advertise) = (elsewhere.name.clone(), media.advertise);
            warn("advertise", Caution::AdvertisesLoopback { asterisk, advertise });
        }
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
