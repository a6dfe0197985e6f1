//! How much of a reply's text the caller has heard, from the samples that were played.

/// Speech runs at about so many characters a second; used only where nothing better is known.
const CHARACTERS_A_SECOND: f64 = 15.0;

/// Marks of one reply that are kept: one a word for half an hour. Beyond that the newest takes the place of the one before.
const MAX_MARKS: usize = 4096;

/// What ties the text of a reply to its audio.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alignment {
    /// (characters of the text, sample at which they have been spoken), both growing.
    marks: Vec<(usize, i64)>,
}

impl Alignment {
    /// Adds a mark. One that runs backwards in text or audio tells nothing and is left out.
    pub(super) fn mark(&mut self, text_end: usize, sample: i64) {
        let (last_text, last_sample) = self.last();
        if text_end >= last_text && sample >= last_sample {
            if self.marks.len() == MAX_MARKS {
                self.marks.pop();
            }
            self.marks.push((text_end, sample));
        }
    }

    /// What follows belongs to another voice, which begins with this character at this sample: marks of the one before
    /// that lie beyond are forgotten.
    pub(super) fn restart(&mut self, text_end: usize, sample: i64) {
        self.marks.retain(|mark| mark.0 <= text_end && mark.1 <= sample);
        self.mark(text_end, sample);
    }

    /// The last mark: characters and sample, (0, 0) before the first.
    fn last(&self) -> (usize, i64) {
        self.marks.last().copied().unwrap_or((0, 0))
    }

    /// The last mark at or before `sample`.
    pub(super) fn last_before(&self, sample: i64) -> (usize, i64) {
        let after = self.marks.partition_point(|mark| mark.1 <= sample);
        after.checked_sub(1).map_or((0, 0), |last| self.marks[last])
    }

    /// The part of `text` that has been heard after `played` samples at `hz`, cut between words.
    pub(super) fn heard<'t>(&self, text: &'t str, played: i64, hz: u32) -> &'t str {
        let (text_from, sample_from) = self.last_before(played);
        let next = self.marks.iter().copied().find(|mark| mark.1 > played);
        let into = (played - sample_from) as f64;
        let characters = match next {
            Some((text_to, sample_to)) => (text_to - text_from) as f64 * into / (sample_to - sample_from) as f64,
            None => into / f64::from(hz) * CHARACTERS_A_SECOND,
        };
        cut_between_words(text, text_from.saturating_add(characters as usize))
    }
}

/// The longest beginning of `text` with whole words in at most `characters` characters, without trailing space.
fn cut_between_words(text: &str, characters: usize) -> &str {
    let Some((end, _)) = text.char_indices().nth(characters) else { return text.trim_end() };
    let inside_word = !text[end..].starts_with(char::is_whitespace);
    let heard = &text[..end];
    let whole = if inside_word { heard.rfind(char::is_whitespace).map_or("", |space| &heard[..space]) } else { heard };
    whole.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "We are open from nine to five. On Sunday we are closed.";

    fn aligned() -> Alignment {
        let mut alignment = Alignment::default();
        alignment.mark(31, 16_000);
        alignment.mark(TEXT.chars().count(), 30_000);
        alignment
    }

    #[test]
    fn nothing_played_is_nothing_heard_and_all_is_all() {
        assert_eq!(aligned().heard(TEXT, 0, 8000), "");
        assert_eq!(aligned().heard(TEXT, 30_000, 8000), TEXT);
    }

    #[test]
    fn at_a_mark_the_heard_text_is_exact() {
        assert_eq!(aligned().heard(TEXT, 16_000, 8000), "We are open from nine to five.");
    }

    #[test]
    fn between_marks_it_is_cut_between_words() {
        assert_eq!(aligned().heard(TEXT, 8_000, 8000), "We are open");
    }

    #[test]
    fn without_marks_the_rate_of_speech_is_assumed() {
        assert_eq!(Alignment::default().heard(TEXT, 8_000, 8000), "We are open");
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let mut alignment = Alignment::default();
        alignment.mark(7, 1000);
        assert_eq!(alignment.heard("Привет всем", 1000, 8000), "Привет");
    }

    #[test]
    fn marks_without_end_take_no_room_without_end_and_the_last_one_counts() {
        let mut alignment = Alignment::default();
        for n in 0..100_000 {
            alignment.mark(n, n as i64);
        }
        assert_eq!(alignment.marks.len(), MAX_MARKS);
        assert_eq!(alignment.last(), (99_999, 99_999));
    }

    #[test]
    fn a_mark_that_runs_backwards_is_ignored() {
        let mut alignment = aligned();
        alignment.mark(3, 40_000);
        assert_eq!(alignment, aligned());
    }
}
