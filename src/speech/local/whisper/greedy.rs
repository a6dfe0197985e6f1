//! Choosing the tokens of a transcript: always the likeliest one that is allowed, until the end or until the model
//! repeats itself.

use super::vocabulary::{SpecialTokens, Token};

/// Which tokens may be chosen, and how many.
pub(super) struct Rules<'a> {
    /// Never chosen: sounds, music and other things that are not speech.
    pub(super) suppressed: &'a [Token],
    /// Not chosen as the first token.
    pub(super) suppressed_first: &'a [Token],
    pub(super) special: SpecialTokens,
    /// At most so many tokens are chosen.
    pub(super) max_tokens: usize,
}

/// The tokens that were chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// Without the end of text.
    pub(super) tokens: Vec<Token>,
    /// Mean of the natural logarithms of the probabilities of all tokens, the end of text included; 0 if there are
    /// none.
    pub(super) mean_log_probability: f32,
}

/// A stretch of tokens at least this long that comes twice in a row is taken for a loop of the model, not for speech.
/// (A caller may well say "no no no no".)
const SHORTEST_LOOP: usize = 4;

/// Chooses tokens, given the logits for the first; `next` appends a token and returns the logits for the one after it.
pub(super) fn choose(rules: &Rules<'_>, first: Vec<f32>, mut next: impl FnMut(Token) -> Vec<f32>) -> Choice {
    let end = rules.special.end_of_text;
    let mut logits = first;
    let mut tokens = Vec::new();
    let mut choices = 0;
    let mut sum = 0.0;
    while tokens.len() < rules.max_tokens {
        suppress(rules, tokens.is_empty(), &mut logits);
        let (token, log_probability) = likeliest(&logits);
        sum += log_probability;
        choices += 1;
        if token == end {
            break;
        }
        tokens.push(token);
        if let Some(shorter) = before_repetition(&tokens) {
            tokens.truncate(shorter);
            break;
        }
        if tokens.len() < rules.max_tokens {
            logits = next(token);
        }
    }
    Choice { tokens, mean_log_probability: if choices == 0 { 0.0 } else { sum / choices as f32 } }
}

/// Makes the logits of what must not be chosen as small as can be.
fn suppress(rules: &Rules<'_>, is_first: bool, logits: &mut [f32]) {
    let first = if is_first { rules.suppressed_first } else { &[] };
    for token in rules.suppressed.iter().chain(first) {
        if let Some(logit) = logits.get_mut(*token) {
            *logit = f32::NEG_INFINITY;
        }
    }
    // Above the end of text there are only languages, tasks and times.
    for logit in logits.iter_mut().skip(rules.special.end_of_text + 1) {
        *logit = f32::NEG_INFINITY;
    }
}

/// The token of the largest logit, and the logarithm of its probability.
fn likeliest(logits: &[f32]) -> (Token, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (token, logit) in logits.iter().enumerate() {
        if *logit > best.1 {
            best = (token, *logit);
        }
    }
    let sum: f32 = logits.iter().map(|logit| (logit - best.1).exp()).sum();
    (best.0, -sum.ln())
}

/// The probability of one token.
pub(super) fn probability(logits: &[f32], token: Token) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.get(token).map_or(0.0, |logit| (logit - largest).exp() / sum)
}

/// How many tokens are left without the second of two equal stretches at the end, if there are such.
fn before_repetition(tokens: &[Token]) -> Option<usize> {
    let length = tokens.len();
    let repeats = |stretch: &usize| tokens[length - stretch..] == tokens[length - 2 * stretch..length - stretch];
    (SHORTEST_LOOP..=length / 2).find(repeats).map(|stretch| length - stretch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Token = 8;

    fn rules<'a>(suppressed: &'a [Token], suppressed_first: &'a [Token]) -> Rules<'a> {
        let special =
            SpecialTokens { end_of_text: END, start_of_transcript: 9, no_timestamps: 10, no_speech: Some(11) };
        Rules { suppressed, suppressed_first, special, max_tokens: 20 }
    }

    /// Logits in which each of `tokens` is likelier than the next.
    fn prefer(tokens: &[Token]) -> Vec<f32> {
        let mut logits = vec![-20.0; 12];
        for (rank, token) in tokens.iter().enumerate() {
            logits[*token] = 20.0 - 5.0 * rank as f32;
        }
        logits
    }

    /// Chooses from a script: for each token the logits that rank those given.
    fn run(rules: &Rules<'_>, script: &[&[Token]]) -> Choice {
        let mut rest = script.iter().skip(1);
        choose(rules, prefer(script[0]), |_| prefer(rest.next().copied().unwrap_or(&[END])))
    }

    #[test]
    fn the_likeliest_tokens_up_to_the_end_are_chosen() {
        let choice = run(&rules(&[], &[]), &[&[3], &[1, 2], &[END, 5], &[6]]);
        assert_eq!(choice.tokens, [3, 1]);
        assert!((-0.01..=0.0).contains(&choice.mean_log_probability));
    }

    #[test]
    fn suppressed_and_special_tokens_are_never_chosen() {
        let choice = run(&rules(&[4], &[5]), &[&[9, 4, 5, 11, 7], &[5], &[10, END]]);
        assert_eq!(choice.tokens, [7, 5]);
    }

    #[test]
    fn doubt_shows_in_the_mean_probability() {
        let sure = run(&rules(&[], &[]), &[&[3], &[END]]);
        let even = choose(&rules(&[], &[]), vec![0.0; 12], |_| vec![0.0; 12]);
        assert!(even.mean_log_probability < sure.mean_log_probability - 1.0);
    }

    #[test]
    fn a_loop_of_the_model_is_cut_but_a_repeated_word_is_not() {
        let tokens: [&[Token]; 9] = [&[0], &[1], &[2], &[3], &[0], &[1], &[2], &[3], &[0]];
        assert_eq!(run(&rules(&[], &[]), &tokens).tokens, [0, 1, 2, 3]);
        let no_no_no: [&[Token]; 4] = [&[5], &[5], &[5], &[END]];
        assert_eq!(run(&rules(&[], &[]), &no_no_no).tokens, [5, 5, 5]);
    }

    #[test]
    fn no_more_tokens_are_chosen_than_allowed() {
        let mut steps = 0;
        let rules = Rules { max_tokens: 3, ..rules(&[], &[]) };
        let choice = choose(&rules, prefer(&[0]), |token| {
            steps += 1;
            prefer(&[token + 1])
        });
        assert_eq!((choice.tokens, steps), (vec![0, 1, 2], 2));
        let none = choose(&Rules { max_tokens: 0, ..rules }, prefer(&[0]), |_| unreachable!());
        assert_eq!(none, Choice { tokens: vec![], mean_log_probability: 0.0 });
    }

    #[test]
    fn probabilities_of_all_tokens_add_up_to_one() {
        let logits = prefer(&[3, 4, 5]);
        let sum: f32 = (0..12).map(|token| probability(&logits, token)).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert_eq!(probability(&logits, 99), 0.0);
    }
}
