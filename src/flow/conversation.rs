//! One call's place in a flow: what was asked comes in, what is to be said and done goes out.

use super::definition::{Flow, Intent, Key, Prompt, Then};
use super::words::normalized_words;
use crate::call::{DialogAction, DialogCommand, DialogEvent, DialogNotice, ReplyId};
use std::sync::Arc;

/// How often the caller may get no further when the flow has no prompt for it.
const FAILURES_WITHOUT_PROMPT: usize = 3;

/// The conversation with one caller.
#[derive(Clone, Debug)]
pub struct Conversation {
    flow: Arc<Flow>,
    /// Turns in a row in which the caller got no further, for whatever reason.
    failures: u32,
}

/// Why the caller got no further.
#[derive(Clone, Copy)]
enum Failure<'a> {
    NotUnderstood { heard: &'a str },
    NothingRecognized,
    NoInput,
}

impl Conversation {
    /// A conversation that has not begun.
    pub fn new(flow: Arc<Flow>) -> Self {
        Self { flow, failures: 0 }
    }

    /// Answers one command. What carries a [`ReplyId`] gets events with that id, the last of them
    /// [`DialogEvent::Done`]; an interruption needs no answer, since what was asked is asked again by the next prompt.
    pub fn step(&mut self, command: &DialogCommand) -> Vec<DialogEvent> {
        let flow = Arc::clone(&self.flow);
        match command {
            DialogCommand::UserTurn { text, reply, .. } => match best_intent(&flow, text) {
                Some(intent) => self.answer(intent, text, *reply),
                None => self.fail(Failure::NotUnderstood { heard: text }, 0, *reply),
            },
            DialogCommand::Dtmf { digit, reply } => {
                let key = Key::new(digit.to_ascii_uppercase());
                match flow.parts().intents.iter().find(|intent| key.is_some() && intent.key == key) {
                    Some(intent) => self.answer(intent, &intent.name, *reply),
                    None => self.fail(Failure::NotUnderstood { heard: &format!("key {digit}") }, 0, *reply),
                }
            }
            DialogCommand::Notice { notice, reply } => match notice {
                DialogNotice::CallStarted => say(flow.parts().opening.as_ref(), "", Then::Listen, *reply),
                DialogNotice::NoInput { count } => self.fail(Failure::NoInput, *count, *reply),
                DialogNotice::NothingRecognized { count } => self.fail(Failure::NothingRecognized, *count, *reply),
            },
            DialogCommand::Interrupt { .. } => Vec::new(),
        }
    }

    fn answer(&mut self, intent: &Intent, heard: &str, reply: ReplyId) -> Vec<DialogEvent> {
        self.failures = 0;
        say(Some(&intent.answer), heard, intent.then.clone(), reply)
    }

    /// Failures are counted whatever their kind, so that a caller who is now silent and now unintelligible does not stay
    /// for ever. `counted` is how many of this kind the call has seen in a row: more than we know of, if we have just
    /// taken over from another engine.
    fn fail(&mut self, failure: Failure<'_>, counted: u32, reply: ReplyId) -> Vec<DialogEvent> {
        self.failures = self.failures.saturating_add(1).max(counted);
        let parts = self.flow.parts();
        let (prompts, heard) = match failure {
            Failure::NotUnderstood { heard } => (&parts.not_understood, heard),
            Failure::NothingRecognized => (&parts.nothing_recognized, ""),
            Failure::NoInput => (&parts.no_input, ""),
        };
        let attempt = self.failures as usize;
        match prompts.get(attempt - 1) {
            Some(prompt) => say(Some(prompt), heard, Then::Listen, reply),
            // A kind without any prompt: stay silent for a while instead of hanging up at once.
            None if prompts.is_empty() && attempt < FAILURES_WITHOUT_PROMPT => say(None, "", Then::Listen, reply),
            None => say(Some(&parts.give_up), "", Then::HangUp, reply),
        }
    }
}

/// The intent whose phrase fits best, the first one listed when several fit equally well.
fn best_intent<'a>(flow: &'a Flow, text: &str) -> Option<&'a Intent> {
    let words = normalized_words(text);
    let fits = flow.parts().intents.iter().rev().filter_map(|intent| {
        let fit = intent.phrases.iter().filter_map(|phrase| phrase.fit(&words)).max()?;
        Some((fit, intent))
    });
    // The last of several maxima is taken, hence the reversed order.
    fits.max_by_key(|(fit, _)| *fit).map(|(_, intent)| intent)
}

fn say(prompt: Option<&Prompt>, heard: &str, then: Then, reply: ReplyId) -> Vec<DialogEvent> {
    let text = prompt.map(|prompt| DialogEvent::Text { reply, delta: prompt.render(heard) });
    let action = match then {
        Then::Listen => None,
        Then::HangUp => Some(DialogAction::HangUp),
        Then::Continue { target } => Some(DialogAction::Continue { target }),
    };
    let action = action.map(|action| DialogEvent::Action { reply, action });
    text.into_iter().chain(action).chain([DialogEvent::Done { reply }]).collect()
}
