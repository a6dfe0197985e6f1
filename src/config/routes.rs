//! `[[routes]]`: which number, or which UUID of a plain `AudioSocket()` call, reaches which bot.

use super::bots::Bots;
use super::document::{Section, nearest};
use super::error::{Caution, Fault};
use super::media::Media;
use super::names::BotName;
use super::values::{parsed, text};
use std::fmt;

/// The longest extension of an Asterisk dialplan.
const MAX_NUMBER_BYTES: usize = 79;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whom it is for.
    pub entrance: Entrance,
    /// The bot that answers; it exists.
    pub bot: BotName,
}

/// How calls come in that take a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// By `Stasis()`, with this number.
    Number(Number),
    /// By `AudioSocket()` in the dialplan, with this UUID.
    AudioSocket(AudioSocketId),
}

/// The numbers of a route: the first argument of `Stasis()`, else the dialled number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Number {
    /// Those that no other route has: `*`.
    Any,
    /// This one.
    Exact(String),
}

impl Number {
    fn new(text: &str) -> Result<Self, &'static str> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let printable = |c: char| !c.is_whitespace() && !c.is_control() && c != ',';
        if text.len() > MAX_NUMBER_BYTES || !text.chars().all(printable) {
            return Err("is no number; write up to 79 characters without spaces and commas, or \"*\" for all numbers");
        }
        Ok(Self::Exact(text.to_owned()))
    }
}

/// The UUID of `AudioSocket(UUID,host:port)`. Whoever knows it reaches the bot, so it is shown in part only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudioSocketId([u8; 16]);

impl AudioSocketId {
    /// Reads `8-4-4-4-12` hexadecimal digits; `None` for anything else and for the nil UUID, which is no secret.
    pub fn parse(text: &str) -> Option<Self> {
        const DASHES: [usize; 4] = [8, 13, 18, 23];
        let shape = |(at, byte): (usize, u8)| (byte == b'-') == DASHES.contains(&at);
        if text.len() != 36 || !text.bytes().enumerate().all(shape) {
            return None;
        }
        let digits: String = text.split('-').collect();
        // A sign is no digit of a UUID, and all others are told here.
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| !digits.contains('+'))?;
        (number != 0).then(|| Self(number.to_be_bytes()))
    }

    /// The bytes, as they travel.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for AudioSocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        f.pad(&format!("{a:02x}{b:02x}…"))
    }
}

impl fmt::Debug for AudioSocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AudioSocketId({self})")
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("*"),
            Self::Exact(number) => f.pad(number),
        }
    }
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::AudioSocket(id) => f.pad(&format!("audiosocket {id}")),
        }
    }
}

impl Entrance {
    const fn key(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::AudioSocket(_) => "audiosocket",
        }
    }
}

/// Reads every `[[routes]]`; `None` if one is wrong.
pub(super) fn read_all(root: &Section<'_, '_>, bots: &Bots, media: Option<&Media>) -> Option<Vec<Route>> {
    let sections = root.sections("routes");
    if sections.is_empty() && !root.contains("routes") {
        root.context.warn(0..0, "", Caution::NoRoute);
    }
    let routes: Vec<_> = sections.iter().map(|section| read(section, bots, media)).collect();
    for (later, section) in sections.iter().enumerate() {
        let Some(route) = &routes[later] else { continue };
        let same = |earlier: &Option<Route>| earlier.as_ref().is_some_and(|earlier| earlier.entrance == route.entrance);
        if let Some(earlier) = routes[..later].iter().position(same) {
            let what = match &route.entrance {
                Entrance::Number(number) => format!("the route of number \"{number}\""),
                Entrance::AudioSocket(id) => format!("the route of UUID {id}"),
            };
            let first = section.context.place(&sections[earlier].span());
            section.problem(route.entrance.key(), Fault::Duplicate { what, first });
        }
    }
    routes.into_iter().collect()
}

fn read(section: &Section<'_, '_>, bots: &Bots, media: Option<&Media>) -> Option<Route> {
    let entrance = read_entrance(section);
    let example = bots.keys().next().map_or("reception", BotName::as_str);
    let bot = section.required("bot", &format!("\"{example}\""), |value| {
        let written = text(value)?;
        bots.keys().find(|name| name.as_str() == written).cloned().ok_or_else(|| unknown_bot(written, bots))
    });
    section.finish();
    if let (Some(Entrance::AudioSocket(_)), Some(media)) = (&entrance, media)
        && !media.listen.is_loopback()
    {
        section.warn("audiosocket", Caution::UuidInTheClear { listen: media.listen });
    }
    Some(Route { entrance: entrance?, bot: bot? })
}

fn read_entrance(section: &Section<'_, '_>) -> Option<Entrance> {
    if !section.contains("audiosocket") {
        // Known, whether it is there or not.
        let _ = section.get("audiosocket");
        return section.required("number", "\"100\"", parsed("\"100\"", Number::new)).map(Entrance::Number);
    }
    let number = section.get("number");
    let id = section.optional("audiosocket", |value| {
        let written = text(value)?;
        // It may be a secret with a slip of the pen: not shown.
        AudioSocketId::parse(&written).ok_or(Fault::NotAUuid)
    });
    if number.is_some() {
        let why = "and audiosocket are both given; a route has one of them: write two routes";
        section.problem("number", Fault::OutOfPlace { why });
        return None;
    }
    id.map(Entrance::AudioSocket)
}

fn unknown_bot(name: String, bots: &Bots) -> Fault {
    let known: Vec<String> = bots.keys().map(BotName::to_string).collect();
    Fault::UnknownName { kind: "bot", nearest: nearest(&name, &known), name, known }
}
