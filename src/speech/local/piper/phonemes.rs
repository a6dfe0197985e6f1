//! English text to the phonemes that the voice was trained with: those that espeak-ng writes for `en-us`.
//!
//! The dictionary and the grammar are those of `misaki-rs`, which writes diphthongs and affricates as one capital
//! letter or ligature each, does not mark length, and spells the r-coloured vowels out. [`espeak_word`] turns one into
//! the other.

use super::spelling::spelled;
use misaki_rs::{G2P, Language, MToken};
use std::fmt;

/// Marks what the dictionary does not know.
const UNKNOWN: char = '❓';
/// Primary and secondary stress; both stand before the vowel.
const STRESSES: [char; 2] = ['ˈ', 'ˌ'];
/// All vowels of misaki.
const VOWELS: &str = "AIOQWYaiuæɑɐɒɔəɛɜɪʊʌᵊᵻ";

/// Turns English text into phonemes. Loading it takes a while and some megabytes; it is shared by all calls.
pub struct Phonemizer {
    g2p: G2P,
}

/// The text could not be turned into phonemes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no phonemes for {text:?}: {cause}")]
pub struct PhonemeError {
    /// The text.
    pub text: String,
    /// What the dictionary said.
    pub cause: String,
}

impl fmt::Debug for Phonemizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Phonemizer").finish_non_exhaustive()
    }
}

impl Phonemizer {
    /// Loads the American dictionary, which is part of the program.
    pub fn american() -> Self {
        let mut g2p = G2P::new(Language::EnglishUS);
        g2p.unk = UNKNOWN.to_string();
        Self { g2p }
    }

    /// The phonemes of one sentence, with its punctuation; it always ends in some. Numbers are read, words that are not
    /// known are spelled out. Empty if there is nothing to say.
    ///
    /// # Errors
    /// [`PhonemeError`] if the dictionary refuses the text.
    pub fn phonemes(&self, sentence: &str) -> Result<String, PhonemeError> {
        // Brackets are markup to the dictionary: [word](/phonemes/).
        let plain: String = sentence.chars().map(|c| if matches!(c, '[' | ']' | '❓') { ' ' } else { c }).collect();
        let (_, tokens) = self
            .g2p
            .g2p(plain.trim())
            .map_err(|cause| PhonemeError { text: plain.clone(), cause: cause.to_string() })?;
        let mut phonemes = String::new();
        for token in &tokens {
            push_words(&mut phonemes, &token_phonemes(token));
            if !token.whitespace.is_empty() {
                push_blank(&mut phonemes);
            }
        }
        Ok(with_ending(phonemes.trim_end()))
    }
}

/// What a token sounds like, in the voice's alphabet.
fn token_phonemes(token: &MToken) -> String {
    match &token.phonemes {
        Some(known) if !known.contains(UNKNOWN) => {
            let words: Vec<String> = known.split(' ').map(espeak_word).collect();
            words.join(" ")
        }
        _ => spelled(&token.text),
    }
}

/// Appends words; two blanks never follow each other.
fn push_words(phonemes: &mut String, words: &str) {
    for (index, word) in words.split_whitespace().enumerate() {
        if index > 0 {
            push_blank(phonemes);
        }
        phonemes.push_str(word);
    }
}

fn push_blank(phonemes: &mut String) {
    if !phonemes.is_empty() && !phonemes.ends_with(' ') {
        phonemes.push(' ');
    }
}

/// A sentence that ends in punctuation: without, the voice stops in the middle of the melody. Without words it is
/// empty.
fn with_ending(phonemes: &str) -> String {
    let is_pause = |character: char| matches!(character, '.' | ',' | '!' | '?' | ';' | ':');
    if phonemes.chars().all(|character| is_pause(character) || character == ' ') {
        String::new()
    } else if phonemes.ends_with(is_pause) {
        phonemes.to_owned()
    } else {
        format!("{phonemes}.")
    }
}

/// One word (or punctuation mark) of misaki in the spelling of espeak.
fn espeak_word(word: &str) -> String {
    let phonemes: Vec<char> = word.chars().collect();
    let vowels = phonemes.iter().filter(|phoneme| is_vowel(**phoneme)).count();
    let mut out = String::new();
    let mut index = 0;
    while let Some(phoneme) = phonemes.get(index).copied() {
        let next = phonemes.get(index + 1).copied();
        let starts_word = index == 0;
        index += 1;
        match phoneme {
            'A' => out.push_str("eɪ"),
            'I' => out.push_str("aɪ"),
            'O' => out.push_str("oʊ"),
            'Q' => out.push_str("əʊ"),
            'W' => out.push_str("aʊ"),
            'Y' => out.push_str("ɔɪ"),
            'ʤ' => out.push_str("dʒ"),
            'ʧ' => out.push_str("tʃ"),
            'T' => out.push('ɾ'),
            'ᵊ' => out.push('ə'),
            'ɑ' => out.push_str("ɑː"),
            'ɔ' => out.push_str("ɔː"),
            'u' => out.push_str("uː"),
            'i' => {
                let stressed = index >= 2 && STRESSES.contains(&phonemes[index - 2]);
                let light = vowels > 1 && !stressed && next.is_none_or(starts_vowel);
                out.push_str(if light { "i" } else { "iː" });
            }
            // Vowels with an r in them: bird, better. The r is only heard for itself before another vowel.
            'ɜ' | 'ə' if next == Some('ɹ') && !(starts_word && phoneme == 'ə') => {
                out.push_str(if phoneme == 'ɜ' { "ɜː" } else { "ɚ" });
                if !phonemes.get(index + 1).copied().is_some_and(starts_vowel) {
                    index += 1;
                }
            }
            'ɜ' => out.push_str("ɜː"),
            'ə' if starts_word && next.is_some() => out.push('ɐ'),
            '—' | '–' => out.push(','),
            '…' => out.push('.'),
            '"' | '“' | '”' | '(' | ')' => {}
            other => out.push(other),
        }
    }
    out
}

fn is_vowel(phoneme: char) -> bool {
    VOWELS.contains(phoneme)
}

/// A stress mark stands before the vowel that it belongs to.
fn starts_vowel(phoneme: char) -> bool {
    is_vowel(phoneme) || STRESSES.contains(&phoneme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    static PHONEMIZER: LazyLock<Phonemizer> = LazyLock::new(Phonemizer::american);

    fn phonemes(text: &str) -> String {
        PHONEMIZER.phonemes(text).unwrap()
    }

    #[test]
    fn words_are_written_as_espeak_writes_them() {
        for (misaki, espeak) in [
            ("həlˈO", "həlˈoʊ"),
            ("plˈiz", "plˈiːz"),
            ("hˈæpi", "hˈæpi"),
            ("ɹˈAdiO", "ɹˈeɪdioʊ"),
            ("bˈi", "bˈiː"),
            ("hi", "hiː"),
            ("bˈɛTəɹ", "bˈɛɾɚ"),
            ("ˈɛɹəɹ", "ˈɛɹɚ"),
            ("mˈɛməɹi", "mˈɛmɚɹi"),
            ("wˈɜɹld", "wˈɜːld"),
            ("hˈɜɹi", "hˈɜːɹi"),
            ("əbˈWt", "ɐbˈaʊt"),
            ("əɹˈWnd", "ɐɹˈaʊnd"),
            ("ˈAʤᵊnt", "ˈeɪdʒənt"),
            ("ʧˈYs", "tʃˈɔɪs"),
            ("ju", "juː"),
            ("fˈɔɹ", "fˈɔːɹ"),
            ("—", ","),
        ] {
            assert_eq!(espeak_word(misaki), espeak, "{misaki}");
        }
    }

    #[test]
    fn a_sentence_keeps_its_punctuation_and_gets_an_end() {
        assert_eq!(phonemes("Hello, how are you?"), "həlˈoʊ, hˌaʊ ɑːɹ juː?");
        assert_eq!(phonemes("  Good-bye "), "ɡˌʊdbˈaɪ.");
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!(phonemes("Press 1 or 23"), phonemes("Press one or twenty three"));
        assert!(!phonemes("It costs $4.50, order 1007.").contains(UNKNOWN));
    }

    #[test]
    fn words_that_are_not_known_are_spelled_out() {
        assert_eq!(phonemes("qzxwv"), format!("{}.", spelled("qzxwv")));
        assert!(phonemes("Welcome to Xyzqkl").contains(&spelled("xyzqkl")));
    }

    #[test]
    fn text_without_anything_to_say_is_silent() {
        for silent in ["", "   ", "...", "?!", "Привет", "漢字", "()"] {
            assert_eq!(phonemes(silent), "", "{silent:?}");
        }
    }

    #[test]
    fn markup_of_the_dictionary_is_plain_text_here() {
        assert_eq!(phonemes("[hello](/ˈɛks/)").find("həlˈoʊ"), Some(0));
    }

    #[test]
    fn hostile_text_is_survived() {
        for text in [
            "-",
            "--",
            "a-",
            "1-",
            "--1",
            "$",
            "$$5",
            "1e9",
            "'",
            "''",
            "_",
            "\u{0}\u{200b}",
            "((((",
            "\u{301}",
            "2",
            "0x1F",
            "9".repeat(40).as_str(),
        ] {
            let _ = PHONEMIZER.phonemes(text);
        }
    }
}
