//! Where text may be cut so that nobody hears it.

/// A piece longer than this (in bytes) is cut at a comma or, failing that, at a blank: the voice computes a piece as a
/// whole before its first sound can be heard.
const LONGEST: usize = 160;

/// Words that end in a full stop without ending a sentence.
const ABBREVIATIONS: [&str; 13] =
    ["mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "no.", "nr.", "vs.", "approx.", "e.g.", "i.e.", "etc."];

/// Cuts text into sentences, and those that are too long into parts. Joined, the pieces are the text again.
pub fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let sentence = &rest[..sentence_end(rest)];
        let piece = &sentence[..part_end(sentence)];
        rest = &rest[piece.len()..];
        Some(piece)
    })
}

/// Where the first sentence ends, the blanks behind it included.
fn sentence_end(text: &str) -> usize {
    let mut ends = false;
    let mut word_start = 0;
    for (index, character) in text.char_indices() {
        if character.is_whitespace() {
            if character == '\n' || (ends && !is_abbreviation(&text[word_start..index])) {
                return after_blanks(text, index);
            }
            ends = false;
            word_start = index + character.len_utf8();
        } else if matches!(character, '.' | '!' | '?' | '…') {
            ends = true;
        } else if !matches!(character, '"' | '\'' | ')' | '”' | '’') {
            ends = false;
        }
    }
    text.len()
}

/// `e.g.`, `Dr.`, or a single letter as in `J. Smith`.
fn is_abbreviation(word: &str) -> bool {
    let word = word.to_lowercase();
    ABBREVIATIONS.contains(&word.as_str()) || (word.ends_with('.') && word.chars().count() == 2 && word != "i.")
}

/// Where a sentence that is too long is cut: behind the last comma, semicolon or colon of its first [`LONGEST`] bytes,
/// else behind the last blank, else not at all.
fn part_end(sentence: &str) -> usize {
    if sentence.len() <= LONGEST {
        return sentence.len();
    }
    let mut pause = None;
    let mut blank = None;
    let mut previous = ' ';
    for (index, character) in sentence.char_indices().take_while(|(index, _)| *index < LONGEST) {
        if character.is_whitespace() {
            blank = Some(index);
            if matches!(previous, ',' | ';' | ':' | '—' | '–') {
                pause = Some(index);
            }
        }
        previous = character;
    }
    pause.or(blank).map_or(sentence.len(), |index| after_blanks(sentence, index))
}

fn after_blanks(text: &str, index: usize) -> usize {
    text[index..].find(|character: char| !character.is_whitespace()).map_or(text.len(), |length| index + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Vec<&str> {
        sentences(text).collect()
    }

    #[test]
    fn text_is_cut_behind_sentences() {
        assert_eq!(pieces("Hello. How are you?  Fine!"), ["Hello. ", "How are you?  ", "Fine!"]);
        assert_eq!(pieces("He said \"no.\" Then he left"), ["He said \"no.\" ", "Then he left"]);
        assert_eq!(pieces("one\ntwo"), ["one\n", "two"]);
    }

    #[test]
    fn numbers_and_abbreviations_end_no_sentence() {
        for whole in ["It costs 3.50 dollars", "Ask Dr. Smith", "Ask J. Smith", "write to a.b@c.example now"] {
            assert_eq!(pieces(whole), [whole]);
        }
    }

    #[test]
    fn long_sentences_are_cut_at_a_pause() {
        let long = format!("{}, {}.", "word ".repeat(20).trim(), "other ".repeat(20).trim());
        let pieces = pieces(&long);
        assert_eq!(pieces.len(), 2);
        assert!(pieces[0].ends_with(", "), "{pieces:?}");
        let unbroken = "x".repeat(500);
        assert_eq!(super::sentences(&unbroken).count(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-zA-Z0-9 .,!?\\n…é\"—]{0,400}") {
            let pieces: Vec<&str> = sentences(&text).collect();
            prop_assert_eq!(pieces.concat(), text.as_str());
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
    }
}
