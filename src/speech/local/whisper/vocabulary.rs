//! Whisper's tokens: their numbers, and the text that they stand for.
//!
//! A token is written in the byte alphabet of GPT-2: every byte of the UTF-8 text is one character, those that do not
//! print moved to 256 and up. So ` café` is `ĠcafÃ©`. Special tokens look like `<|endoftext|>`.

use std::collections::HashMap;

/// The number of a token.
pub(crate) type Token = usize;

/// All tokens of a model.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    tokens: Vec<String>,
    special: SpecialTokens,
}

/// The tokens that steer the decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SpecialTokens {
    /// The end of what was said. All tokens of text are below it, all other special ones above.
    pub(crate) end_of_text: Token,
    /// Begins every transcript.
    pub(crate) start_of_transcript: Token,
    /// Says that the transcript has no times.
    pub(crate) no_timestamps: Token,
    /// Predicted in place of the first token when nobody speaks; not every model has it.
    pub(crate) no_speech: Option<Token>,
}

/// A vocabulary without a token that every Whisper has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vocabulary has no {0}")]
pub struct MissingToken(&'static str);

impl Vocabulary {
    /// Reads `vocabulary.txt`: one token a line, its number is the line's.
    pub(crate) fn parse(text: &str) -> Result<Self, MissingToken> {
        let tokens: Vec<String> = text.lines().map(str::to_owned).collect();
        let find = |name: &'static str| tokens.iter().position(|token| token == name);
        let need = |name: &'static str| find(name).ok_or(MissingToken(name));
        let special = SpecialTokens {
            end_of_text: need("<|endoftext|>")?,
            start_of_transcript: need("<|startoftranscript|>")?,
            no_timestamps: need("<|notimestamps|>")?,
            no_speech: find("<|nospeech|>").or_else(|| find("<|nocaptions|>")),
        };
        Ok(Self { tokens, special })
    }

    /// How many tokens there are.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens that steer the decoder.
    pub(crate) fn special(&self) -> SpecialTokens {
        self.special
    }

    /// The text that `tokens` stand for, without blanks around it. Special and unknown tokens stand for nothing; bytes
    /// that are no UTF-8 (a character of which only a part was predicted) become U+FFFD.
    pub(crate) fn text(&self, tokens: &[Token]) -> String {
        let alphabet = byte_alphabet();
        let words = tokens.iter().filter(|token| **token < self.special.end_of_text);
        let characters = words.filter_map(|token| self.tokens.get(*token)).flat_map(|token| token.chars());
        let bytes: Vec<u8> = characters.filter_map(|character| alphabet.get(&character).copied()).collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// The byte that each character of the alphabet stands for. Printing bytes of Latin-1 stand for themselves, the others
/// are counted up from 256.
fn byte_alphabet() -> HashMap<char, u8> {
    let prints = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let moved = (0..=u8::MAX).filter(|byte| !prints(*byte)).zip('\u{100}'..);
    let same = (0..=u8::MAX).filter(|byte| prints(*byte)).map(|byte| (byte, char::from(byte)));
    same.chain(moved).map(|(byte, character)| (character, byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let lines = ["Hello", ",", "Ġworld", "ĠcafÃ©", "Ã", "Ċ", "<|endoftext|>", "<|startoftranscript|>"];
        Vocabulary::parse(&[&lines[..], &["<|nocaptions|>", "<|notimestamps|>"]].concat().join("\n")).unwrap()
    }

    #[test]
    fn tokens_become_text_without_blanks_around() {
        assert_eq!(vocabulary().text(&[2, 1, 2]), "world, world");
        assert_eq!(vocabulary().text(&[0, 3, 5]), "Hello café");
    }

    #[test]
    fn special_and_unknown_tokens_are_no_text() {
        assert_eq!(vocabulary().text(&[7, 9, 0, 6, 4711]), "Hello");
        assert_eq!(vocabulary().text(&[]), "");
    }

    #[test]
    fn half_a_character_is_replaced() {
        assert_eq!(vocabulary().text(&[0, 4]), "Hello\u{fffd}");
    }

    #[test]
    fn the_special_tokens_are_found_under_either_name() {
        let special = vocabulary().special();
        assert_eq!((special.end_of_text, special.no_timestamps, special.no_speech), (6, 9, Some(8)));
    }

    #[test]
    fn a_vocabulary_of_another_model_is_refused() {
        assert_eq!(Vocabulary::parse("a\nb").unwrap_err(), MissingToken("<|endoftext|>"));
    }

    #[test]
    fn every_byte_has_a_character() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        assert_eq!(alphabet[&'Ġ'], b' ');
        assert_eq!(alphabet[&'Ċ'], b'\n');
    }
}
