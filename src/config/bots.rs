//! `[bots.NAME]`: engines, words and manners of a bot.

use super::document::Section;
use super::engines::{self, BuiltIn, Engines};
use super::error::{Caution, Fault};
use super::names::{BotName, EngineName, Language};
use super::values::{boolean, duration, invalid, parsed, text};
use crate::call::{BargeIn, Endpointing, NoInput, Watchdogs};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bot {
    /// It converses.
    Conversation(Box<ConversationBot>),
    /// It plays back what the caller says, without any engine: a test of the line.
    Echo,
}

impl Bot {
    /// What a bot that converses is made of.
    pub fn conversation(&self) -> Option<&ConversationBot> {
        match self {
            Self::Conversation(bot) => Some(bot),
            Self::Echo => None,
        }
    }
}

/// A bot that converses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationBot {
    /// What it speaks and understands.
    pub language: Language,
    /// Recognisers in order of preference; never empty.
    pub recognizer: Vec<EngineName>,
    /// Synthesisers in order of preference; never empty.
    pub synthesizer: Vec<EngineName>,
    /// Dialogues in order of preference; never empty.
    pub dialog: Vec<EngineName>,
    /// Spoken first, without asking the dialogue.
    pub greeting: Option<String>,
    /// When the caller has begun and finished.
    pub endpointing: Endpointing,
    /// When the caller may interrupt.
    pub barge_in: BargeIn,
    /// When silence becomes an event.
    pub no_input: NoInput,
    /// How long engines may take.
    pub watchdogs: Watchdogs,
}

/// Every `[bots.NAME]` by name; `None` for one that exists and is wrong.
pub(super) type Bots = BTreeMap<BotName, Option<Bot>>;

/// Reads every `[bots.NAME]`.
pub(super) fn read_all(root: &Section<'_, '_>, engines: &Engines) -> Bots {
    let mut bots = Bots::new();
    for (name, span, section) in root.named_sections("bots") {
        let bot = read(&section, engines);
        match BotName::new(&name) {
            Ok(name) => drop(bots.insert(name, bot)),
            Err(error) => root.context.problem(span, &root.key("bots"), invalid(&name, error)),
        }
    }
    bots
}

/// The keys that only a bot that converses has.
const CONVERSATION_KEYS: [&str; 9] =
    ["language", "recognizer", "synthesizer", "dialog", "greeting", "no_input", "endpointing", "barge_in", "watchdogs"];

fn read(section: &Section<'_, '_>, engines: &Engines) -> Option<Bot> {
    if section.optional("echo", boolean) == Some(true) {
        for key in CONVERSATION_KEYS.into_iter().filter(|key| section.contains(key)) {
            let why = "means nothing to a bot that only echoes; take it out, or take out echo";
            section.refuse(key, Fault::OutOfPlace { why });
        }
        section.finish();
        return Some(Bot::Echo);
    }
    read_conversation(section, engines).map(|bot| Bot::Conversation(Box::new(bot)))
}

fn read_conversation(section: &Section<'_, '_>, engines: &Engines) -> Option<ConversationBot> {
    let language = section.required("language", "\"en-US\"", parsed("\"en-US\"", Language::new));
    let recognizer = engines::read_list(section, "recognizer", engines);
    let synthesizer = engines::read_list(section, "synthesizer", engines);
    let dialog = engines::read_list(section, "dialog", engines);
    let greeting = section.optional("greeting", text);
    let no_input = section.optional("no_input", duration(seconds(1)..=seconds(300)));
    let endpointing = section.section("endpointing").map(|section| endpointing(&section)).unwrap_or_default();
    let barge_in = section.section("barge_in").map(|section| barge_in(&section)).unwrap_or_default();
    let watchdogs = section.section("watchdogs").map(|section| watchdogs(&section)).unwrap_or_default();
    section.finish();
    if let Some(language) = language.as_ref().filter(|language| !language.is_english()) {
        for (key, list) in [("recognizer", &recognizer), ("synthesizer", &synthesizer)] {
            match list.as_deref().map(|list| engines::built_in_of(list, engines)) {
                Some(BuiltIn::All) => {
                    section.problem("language", Fault::EnglishOnly { language: language.clone(), key })
                }
                Some(BuiltIn::Some) => {
                    section.warn("language", Caution::EnglishOnly { language: language.clone(), key });
                }
                Some(BuiltIn::None) | None => {}
            }
        }
    }
    Some(ConversationBot {
        language: language?,
        recognizer: recognizer?,
        synthesizer: synthesizer?,
        dialog: dialog?,
        greeting,
        endpointing,
        barge_in,
        no_input: no_input.map_or_else(NoInput::default, |timeout| NoInput { timeout }),
        watchdogs,
    })
}

fn endpointing(section: &Section<'_, '_>) -> Endpointing {
    let default = Endpointing::default();
    let read = |key, range, default| section.optional(key, duration(range)).unwrap_or(default);
    let endpointing = Endpointing {
        start_evidence: read("start_evidence", millis(20)..=millis(200), default.start_evidence),
        silence: read("silence", millis(100)..=seconds(5), default.silence),
        pre_roll: read("pre_roll", millis(0)..=seconds(1), default.pre_roll),
        max_utterance: read("max_utterance", seconds(1)..=seconds(300), default.max_utterance),
    };
    section.finish();
    endpointing
}

fn barge_in(section: &Section<'_, '_>) -> BargeIn {
    let enabled = section.optional("enabled", boolean).unwrap_or(true);
    let evidence = section.optional("evidence", duration(millis(20)..=millis(300)));
    section.finish();
    match (enabled, evidence) {
        (false, _) => BargeIn::Off,
        (true, None) => BargeIn::default(),
        (true, Some(evidence)) => BargeIn::OnSpeech { evidence },
    }
}

fn watchdogs(section: &Section<'_, '_>) -> Watchdogs {
    const RANGE: RangeInclusive<Duration> = millis(100)..=seconds(60);
    let default = Watchdogs::default();
    let read = |key, default| section.optional(key, duration(RANGE)).unwrap_or(default);
    let watchdogs = Watchdogs {
        final_hypothesis: read("final_hypothesis", default.final_hypothesis),
        first_text: read("first_text", default.first_text),
        first_audio: read("first_audio", default.first_audio),
        next_audio: read("next_audio", default.next_audio),
    };
    section.finish();
    watchdogs
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
