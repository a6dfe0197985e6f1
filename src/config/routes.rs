//! `[[routes]]`: which number reaches which bot.

use super::bots::Bots;
use super::document::{Section, nearest};
use super::error::{Caution, Fault};
use super::names::BotName;
use super::values::{parsed, text};
use std::fmt;

/// The longest extension of an Asterisk dialplan.
const MAX_NUMBER_BYTES: usize = 79;

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whom it is for.
    pub number: Number,
    /// The bot that answers; it exists.
    pub bot: BotName,
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

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.pad("*"),
            Self::Exact(number) => f.pad(number),
        }
    }
}

/// Reads every `[[routes]]`; `None` if one is wrong.
pub(super) fn read_all(root: &Section<'_, '_>, bots: &Bots) -> Option<Vec<Route>> {
    let sections = root.sections("routes");
    if sections.is_empty() && !root.contains("routes") {
        root.context.warn(0..0, "", Caution::NoRoute);
    }
    let routes: Vec<_> = sections.iter().map(|section| read(section, bots)).collect();
    for (later, section) in sections.iter().enumerate() {
        let same = |earlier: &&Option<Route>| match (&routes[later], earlier) {
            (Some(one), Some(other)) => one.number == other.number,
            _ => false,
        };
        if let Some(earlier) = routes[..later].iter().position(|earlier| same(&earlier)) {
            let number = routes[later].as_ref().map(|route| route.number.to_string()).unwrap_or_default();
            let first = section.context.place(&sections[earlier].span());
            section.problem("number", Fault::Duplicate { what: format!("the route of number \"{number}\""), first });
        }
    }
    routes.into_iter().collect()
}

fn read(section: &Section<'_, '_>, bots: &Bots) -> Option<Route> {
    let number = section.required("number", "\"100\"", parsed("\"100\"", Number::new));
    let example = bots.keys().next().map_or("reception", BotName::as_str);
    let bot = section.required("bot", &format!("\"{example}\""), |value| {
        let written = text(value)?;
        bots.keys().find(|name| name.as_str() == written).cloned().ok_or_else(|| unknown_bot(written, bots))
    });
    section.finish();
    Some(Route { number: number?, bot: bot? })
}

fn unknown_bot(name: String, bots: &Bots) -> Fault {
    let known: Vec<String> = bots.keys().map(BotName::to_string).collect();
    Fault::UnknownName { kind: "bot", nearest: nearest(&name, &known), name, known }
}
