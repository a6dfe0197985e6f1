//! What a flow consists of, and the checks after which a [`Conversation`](super::Conversation) cannot get stuck.

use super::words::Phrase;
use crate::call::DialplanTarget;
use std::fmt;

/// A key of the telephone: `0`–`9`, `*`, `#`, `A`–`D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(char);

impl Key {
    /// `None` for anything that is no key of a telephone.
    pub const fn new(key: char) -> Option<Self> {
        match key {
            '0'..='9' | '*' | '#' | 'A'..='D' => Some(Self(key)),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Something to be said: plain text in which `{heard}` stands for the caller's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(String);

impl Prompt {
    /// The place of the caller's words in a prompt.
    pub const HEARD: &'static str = "{heard}";

    /// Wraps a text. It must not be blank, and its only braces are those of [`Self::HEARD`].
    ///
    /// # Errors
    /// [`FlowError::BlankPrompt`] or [`FlowError::UnknownPlaceholder`].
    pub fn new(text: impl Into<String>) -> Result<Self, FlowError> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(FlowError::BlankPrompt);
        }
        if text.replace(Self::HEARD, "").contains(['{', '}']) {
            return Err(FlowError::UnknownPlaceholder { prompt: text });
        }
        Ok(Self(text))
    }

    /// Whether the caller's words are part of it.
    pub fn repeats_the_caller(&self) -> bool {
        self.0.contains(Self::HEARD)
    }

    /// The text with the caller's words in place. Full stops and the like at their ends are left out, so that they
    /// fit into a sentence.
    pub(super) fn render(&self, heard: &str) -> String {
        let heard = heard.trim_matches(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | ';' | ':' | '!' | '?'));
        self.0.replace(Self::HEARD, heard)
    }
}

/// What follows an answer, once it has been heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// The conversation goes on.
    #[default]
    Listen,
    /// The call ends.
    HangUp,
    /// The caller goes back to the dialplan: to the next priority, or to the place named.
    Continue {
        /// Where to.
        target: Option<DialplanTarget>,
    },
}

/// Something that a caller may want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What it is called: said for `{heard}` when the caller pressed a key, unique in its flow.
    pub name: String,
    /// What callers say when they want it.
    pub phrases: Vec<Phrase>,
    /// Pressed instead of saying it.
    pub key: Option<Key>,
    /// The answer.
    pub answer: Prompt,
    /// What follows it.
    pub then: Then,
}

/// The parts of a flow before they are known to fit together; see [`Flow::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowParts {
    /// Said first when the bot has no greeting of its own.
    pub opening: Option<Prompt>,
    /// What callers may want. The one whose phrase fits best wins, the first one listed when two fit equally.
    pub intents: Vec<Intent>,
    /// Said when the words or the key fit no intent: the first of these at the first time, the next at the second
    /// time in a row, and so on. After the last of them comes `give_up`.
    pub not_understood: Vec<Prompt>,
    /// Likewise when the caller spoke and no words were recognised.
    pub nothing_recognized: Vec<Prompt>,
    /// Likewise when the caller said nothing.
    pub no_input: Vec<Prompt>,
    /// Said before the call is ended because nothing was understood too often in a row.
    pub give_up: Prompt,
}

/// A conversation as data, consistent: names and keys are unambiguous and every way leads to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    parts: FlowParts,
}

impl Flow {
    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Says which part does not.
    pub fn new(parts: FlowParts) -> Result<Self, FlowError> {
        if parts.intents.is_empty() {
            return Err(FlowError::NoIntent);
        }
        for (index, intent) in parts.intents.iter().enumerate() {
            let name = || intent.name.clone();
            if intent.name.trim().is_empty() {
                return Err(FlowError::BlankName);
            }
            if intent.phrases.is_empty() && intent.key.is_none() {
                return Err(FlowError::Unreachable { intent: name() });
            }
            for earlier in &parts.intents[..index] {
                if earlier.name == intent.name {
                    return Err(FlowError::SameName { intent: name() });
                }
                if let Some(key) = intent.key.filter(|key| earlier.key == Some(*key)) {
                    return Err(FlowError::SameKey { intent: name(), other: earlier.name.clone(), key });
                }
                if let Some(phrase) = intent.phrases.iter().find(|phrase| earlier.phrases.contains(phrase)) {
                    let phrase = phrase.to_string();
                    return Err(FlowError::SamePhrase { intent: name(), other: earlier.name.clone(), phrase });
                }
            }
        }
        let spoken_without_words =
            parts.no_input.iter().chain(&parts.nothing_recognized).chain([&parts.give_up]).chain(&parts.opening);
        if let Some(prompt) = spoken_without_words.into_iter().find(|prompt| prompt.repeats_the_caller()) {
            return Err(FlowError::NothingHeardYet { prompt: prompt.0.clone() });
        }
        Ok(Self { parts })
    }

    /// The parts.
    pub fn parts(&self) -> &FlowParts {
        &self.parts
    }
}

/// Why parts do not make a flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// There is nothing that a caller could want.
    #[error("has no intent: add at least one, with phrases and an answer")]
    NoIntent,
    /// An intent without a name.
    #[error("an intent has a blank name: give it the word that is said back to the caller")]
    BlankName,
    /// Nothing leads to an intent.
    #[error("intent `{intent}` has neither phrases nor a key, so no caller can reach it: add one of them")]
    Unreachable {
        /// Which.
        intent: String,
    },
    /// Two intents have one name.
    #[error("two intents are called `{intent}`: rename one of them")]
    SameName {
        /// The name.
        intent: String,
    },
    /// Two intents have one key.
    #[error("intents `{other}` and `{intent}` both have key {key}: give one of them another key")]
    SameKey {
        /// The later one.
        intent: String,
        /// The earlier one.
        other: String,
        /// The key.
        key: Key,
    },
    /// Two intents have one phrase.
    #[error("intents `{other}` and `{intent}` both have the phrase \"{phrase}\": take it out of one of them")]
    SamePhrase {
        /// The later one.
        intent: String,
        /// The earlier one.
        other: String,
        /// The phrase.
        phrase: String,
    },
    /// Something else than a key.
    #[error("\"{key}\" is no key of a telephone: write one of 0 to 9, *, # or A to D")]
    NotAKey {
        /// As it was written.
        key: String,
    },
    /// A phrase without words.
    #[error("phrase \"{phrase}\" has no letters or digits: write what a caller says")]
    BlankPhrase {
        /// As it was written.
        phrase: String,
    },
    /// A prompt without text.
    #[error("a prompt is blank: write what is to be said, or take it out")]
    BlankPrompt,
    /// A prompt has braces that mean nothing.
    #[error("prompt \"{prompt}\" has braces other than {{heard}}: take them out")]
    UnknownPlaceholder {
        /// The prompt.
        prompt: String,
    },
    /// A prompt would repeat words where the caller has said none.
    #[error("prompt \"{prompt}\" contains {{heard}} but is said when the caller has said nothing: take it out")]
    NothingHeardYet {
        /// The prompt.
        prompt: String,
    },
}

impl FlowError {
    /// The intent to be changed, if it is about one.
    pub fn intent(&self) -> Option<&str> {
        match self {
            Self::Unreachable { intent }
            | Self::SameName { intent }
            | Self::SameKey { intent, .. }
            | Self::SamePhrase { intent, .. } => Some(intent),
            _ => None,
        }
    }
}
