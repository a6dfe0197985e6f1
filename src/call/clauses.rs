//! Cuts the text of a reply into clauses, so that the first words can be spoken while the rest is still being written.

/// A comma ends a clause only after so many characters: shorter pieces sound chopped.
const COMMA_FROM: usize = 24;

/// Without any punctuation a clause is cut at the last space before so many characters, without any space just there.
/// No more than that (and the white space after it) is looked at.
pub(super) const LONGEST: usize = 160;

/// The length in bytes of the first clause of `text`, its trailing white space included; 0 if it is not complete yet.
///
/// `complete` says that no more text follows, so that the rest is a clause whatever it ends with.
pub(super) fn first_clause(text: &str, complete: bool) -> usize {
    let mut length = 0;
    let mut last_space = None;
    let mut has_word = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        length += 1;
        let after = at + c.len_utf8();
        let followed_by_space = chars.peek().is_some_and(|(_, next)| next.is_whitespace());
        let ends = match c {
            // "3.5" and "10:30" go on; "e.g." costs a pause, which is better than waiting for the next word
            '.' | '!' | '?' | ';' | ':' | '…' => followed_by_space,
            ',' => followed_by_space && length >= COMMA_FROM,
            '\n' => has_word,
            '。' | '！' | '？' => true,
            _ => false,
        };
        if ends {
            return after + leading_space(&text[after..]);
        }
        if !c.is_whitespace() {
            has_word = true;
        } else if has_word {
            last_space = Some(after);
        }
        if length >= LONGEST {
            return last_space.unwrap_or(after);
        }
    }
    if complete { text.len() } else { 0 }
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clauses(text: &str) -> Vec<&str> {
        let mut rest = text;
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (clause, tail) = rest.split_at(first_clause(rest, true));
            out.push(clause);
            rest = tail;
        }
        out
    }

    #[test]
    fn sentences_and_long_comma_clauses_are_cut() {
        let text = "Hello. We are open from 9:30 to 5.30, Monday to Friday, and on Saturday morning. Bye!";
        assert_eq!(
            clauses(text),
            ["Hello. ", "We are open from 9:30 to 5.30, ", "Monday to Friday, and on Saturday morning. ", "Bye!"]
        );
    }

    #[test]
    fn an_unfinished_sentence_waits_for_its_end() {
        assert_eq!(first_clause("We are op", false), 0);
        assert_eq!(first_clause("We are open.", false), 0, "a digit may follow the point");
        assert_eq!(first_clause("We are open. F", false), 13);
        assert_eq!(first_clause("We are op", true), 9);
    }

    #[test]
    fn blank_lines_before_the_text_do_not_hold_it_up() {
        assert_eq!(first_clause("\n\nHello. I", false), 9);
    }

    #[test]
    fn endless_text_is_cut_between_words() {
        let text = "word ".repeat(100);
        let cut = first_clause(&text, false);
        assert!(cut > 0 && cut <= LONGEST && text[..cut].ends_with(' '));
    }

    #[test]
    fn endless_text_without_spaces_is_cut_too() {
        assert_eq!(first_clause(&"ä".repeat(1000), false), 2 * LONGEST);
        assert_eq!(first_clause(&" ".repeat(1000), false), LONGEST);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "\\PC*") {
            prop_assert_eq!(clauses(&text).concat(), text);
        }
    }
}
