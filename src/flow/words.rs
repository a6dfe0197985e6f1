//! Finding a phrase in what a recogniser made of the caller's words: case, punctuation, small words in between and
//! one wrong letter in a longer word do not matter.

use super::definition::FlowError;
use std::fmt;

/// Words of the caller that may stand between two words of a phrase: "opening [your] hours".
const MAX_GAP: usize = 1;
/// Shorter words must be exact: one letter makes "sell" a "bell".
const MIN_LETTERS_TOLERANT: usize = 5;

/// What a caller says to mean something: one or more normalised words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    words: Vec<String>,
}

impl Phrase {
    /// Takes the words of `text`; case and punctuation are ignored.
    ///
    /// # Errors
    /// [`FlowError::BlankPhrase`] if there are none.
    pub fn new(text: &str) -> Result<Self, FlowError> {
        let words = normalized_words(text);
        if words.is_empty() {
            return Err(FlowError::BlankPhrase { phrase: text.to_owned() });
        }
        Ok(Self { words })
    }

    /// How well the phrase fits anywhere in `words` (as [`normalized_words`] gives them): more matched letters are
    /// better, exact words better than near ones. `None` if it is not there.
    pub(super) fn fit(&self, words: &[String]) -> Option<Fit> {
        (0..words.len()).filter_map(|start| self.fit_from(&words[start..])).max()
    }

    /// The same with the first word of the phrase at the first of `words`.
    fn fit_from(&self, words: &[String]) -> Option<Fit> {
        let mut fit = Fit::default();
        let mut at = 0;
        for (index, wanted) in self.words.iter().enumerate() {
            let gap = if index == 0 { 0 } else { MAX_GAP };
            let candidates = words.get(at..)?.iter().take(gap + 1);
            let (skipped, score) =
                candidates.enumerate().find_map(|(skipped, word)| Some((skipped, word_fit(wanted, word)?)))?;
            fit = fit.and(score);
            at += skipped + 1;
        }
        Some(fit)
    }
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// How well something fits; greater is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    letters: usize,
    exact_letters: usize,
}

impl Fit {
    fn and(self, other: Self) -> Self {
        Self { letters: self.letters + other.letters, exact_letters: self.exact_letters + other.exact_letters }
    }
}

/// Lower-case words of letters and digits; apostrophes vanish ("what's" is "whats"), all else separates.
pub(super) fn normalized_words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .replace(['\'', '\u{2019}'], "")
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn word_fit(wanted: &str, heard: &str) -> Option<Fit> {
    let letters = wanted.chars().count();
    if wanted == heard {
        return Some(Fit { letters, exact_letters: letters });
    }
    // A recogniser that is unsure gets the end of a word wrong (a plural, a tense) more often than its beginning; other
    // words that differ in the first letter are too many ("sales", "tales").
    let tolerant = letters >= MIN_LETTERS_TOLERANT && wanted.chars().next() == heard.chars().next();
    (tolerant && one_edit_apart(wanted, heard)).then_some(Fit { letters, exact_letters: 0 })
}

/// Whether one letter put in, left out or changed makes the one word the other.
fn one_edit_apart(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (short, long) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    let same_start = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    match long.len() - short.len() {
        0 => short.len() > same_start && short[same_start + 1..] == long[same_start + 1..],
        1 => short[same_start..] == long[same_start + 1..],
        _ => false,
    }
}
