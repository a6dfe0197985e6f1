//! Conversations as a caller has them.

use super::*;
use crate::call::{DialogAction, DialogCommand, DialogEvent, DialogNotice, DialplanTarget, ReplyId, UtteranceIndex};
use proptest::prelude::*;
use std::sync::Arc;

fn prompt(text: &str) -> Prompt {
    Prompt::new(text).unwrap()
}

fn intent(name: &str, phrases: &[&str], key: Option<char>, then: Then) -> Intent {
    Intent {
        name: name.to_owned(),
        phrases: phrases.iter().map(|phrase| Phrase::new(phrase).unwrap()).collect(),
        key: key.map(|key| Key::new(key).unwrap()),
        answer: prompt(&format!("I understood: {{heard}}. This is {name}.")),
        then,
    }
}

fn queue() -> DialplanTarget {
    DialplanTarget { context: "queues".to_owned(), extension: "support".to_owned(), priority: 1 }
}

fn parts() -> FlowParts {
    FlowParts {
        opening: Some(prompt("Hello.")),
        intents: vec![
            intent("sales", &["sales", "sell"], Some('1'), Then::Listen),
            intent("support", &["support", "help desk"], Some('2'), Then::Continue { target: Some(queue()) }),
            intent("opening hours", &["opening hours", "when are you open"], Some('3'), Then::Listen),
            intent("goodbye", &["goodbye", "bye"], Some('#'), Then::HangUp),
        ],
        not_understood: vec![prompt("I heard {heard}."), prompt("Again {heard}?")],
        nothing_recognized: vec![prompt("Pardon?"), prompt("Pardon me?")],
        no_input: vec![prompt("Hello?"), prompt("Still there?")],
        give_up: prompt("Sorry. Goodbye."),
    }
}

/// A caller who takes part in one conversation.
struct Caller {
    conversation: Conversation,
    reply: ReplyId,
}

impl Caller {
    fn new() -> Self {
        Self { conversation: Conversation::new(Arc::new(Flow::new(parts()).unwrap())), reply: ReplyId(0) }
    }

    fn next_reply(&mut self) -> ReplyId {
        self.reply = self.reply.next();
        self.reply
    }

    /// What the bot says and does; checks that the answer is complete and carries the right id.
    fn hear(&mut self, command: &DialogCommand) -> (String, Option<DialogAction>) {
        let mut events = self.conversation.step(command);
        let expected = self.reply;
        assert_eq!(events.pop(), Some(DialogEvent::Done { reply: expected }));
        let (mut text, mut action) = (String::new(), None);
        for event in events {
            match event {
                DialogEvent::Text { reply, delta } if reply == expected => text.push_str(&delta),
                DialogEvent::Action { reply, action: wanted } if reply == expected => action = Some(wanted),
                other => panic!("unexpected {other:?}"),
            }
        }
        (text, action)
    }

    fn says(&mut self, text: &str) -> (String, Option<DialogAction>) {
        let reply = self.next_reply();
        self.hear(&DialogCommand::UserTurn { utterance: UtteranceIndex(0), text: text.to_owned(), reply })
    }

    fn presses(&mut self, digit: char) -> (String, Option<DialogAction>) {
        let reply = self.next_reply();
        self.hear(&DialogCommand::Dtmf { digit, reply })
    }

    fn causes(&mut self, notice: DialogNotice) -> (String, Option<DialogAction>) {
        let reply = self.next_reply();
        self.hear(&DialogCommand::Notice { notice, reply })
    }
}

#[test]
fn the_words_understood_are_said_back() {
    let answer = Caller::new().says("I'd like to talk to Sales, please.");
    assert_eq!(answer, ("I understood: I'd like to talk to Sales, please. This is sales.".to_owned(), None));
}

#[test]
fn what_recognisers_make_of_a_phrase_is_still_understood() {
    for (said, understood) in [
        ("SALES!", "sales"),
        ("sale", "sales"),
        ("Do you sell phones?", "sales"),
        ("the help, desk", "support"),
        ("Supports.", "support"),
        ("What are your opening hour", "opening hours"),
        ("opening the hours", "opening hours"),
        ("So when are you open tomorrow?", "opening hours"),
        ("Goodby", "goodbye"),
        ("bye-bye", "goodbye"),
    ] {
        let (text, _) = Caller::new().says(said);
        assert!(text.ends_with(&format!("This is {understood}.")), "\"{said}\" was answered with \"{text}\"");
    }
}

#[test]
fn other_words_are_not_taken_for_a_phrase() {
    for said in
        ["tales", "bell", "hours", "open sesame", "help", "when you are open", "by", "", "…", "opening my two hours"]
    {
        let (text, action) = Caller::new().says(said);
        assert!(text.starts_with("I heard"), "\"{said}\" was answered with \"{text}\"");
        assert_eq!(action, None);
    }
}

#[test]
fn the_longest_phrase_wins_and_an_exact_one_beats_a_near_one() {
    let (text, _) = Caller::new().says("goodbye, no wait, when are you open");
    assert!(text.ends_with("This is opening hours."), "{text}");

    let mut parts = parts();
    parts.intents.push(intent("boat", &["sails"], None, Then::Listen));
    let mut caller = Caller::new();
    caller.conversation = Conversation::new(Arc::new(Flow::new(parts).unwrap()));
    assert!(caller.says("sails").0.ends_with("This is boat."));
    assert!(caller.says("sales").0.ends_with("This is sales."));
}

#[test]
fn keys_do_what_phrases_do_and_unknown_keys_are_explained() {
    let mut caller = Caller::new();
    assert_eq!(caller.presses('1'), ("I understood: sales. This is sales.".to_owned(), None));
    assert_eq!(caller.presses('9').0, "I heard key 9.");
    assert_eq!(caller.presses('#').1, Some(DialogAction::HangUp));
}

#[test]
fn an_answer_may_end_the_call_or_hand_it_back_to_the_dialplan() {
    assert_eq!(Caller::new().says("goodbye").1, Some(DialogAction::HangUp));
    assert_eq!(Caller::new().says("support").1, Some(DialogAction::Continue { target: Some(queue()) }));
}

#[test]
fn the_opening_is_said_only_when_asked_for() {
    assert_eq!(Caller::new().causes(DialogNotice::CallStarted), ("Hello.".to_owned(), None));
    let mut parts = parts();
    parts.opening = None;
    let mut caller = Caller::new();
    caller.conversation = Conversation::new(Arc::new(Flow::new(parts).unwrap()));
    assert_eq!(caller.causes(DialogNotice::CallStarted), (String::new(), None));
}

#[test]
fn after_three_failures_in_a_row_the_bot_says_goodbye_and_hangs_up() {
    let mut caller = Caller::new();
    assert_eq!(caller.says("Mumble."), ("I heard Mumble.".to_owned(), None));
    assert_eq!(caller.says("mumble"), ("Again mumble?".to_owned(), None));
    assert_eq!(caller.says("mumble"), ("Sorry. Goodbye.".to_owned(), Some(DialogAction::HangUp)));
}

#[test]
fn failures_of_different_kinds_count_together_and_success_forgives_them() {
    let mut caller = Caller::new();
    assert_eq!(caller.causes(DialogNotice::NoInput { count: 1 }).0, "Hello?");
    assert_eq!(caller.causes(DialogNotice::NothingRecognized { count: 1 }).0, "Pardon me?");
    assert_eq!(caller.says("sales").1, None);
    assert_eq!(caller.says("mumble").0, "I heard mumble.");
    assert_eq!(caller.causes(DialogNotice::NoInput { count: 1 }).0, "Still there?");
    assert_eq!(caller.presses('7').1, Some(DialogAction::HangUp));
}

#[test]
fn a_conversation_taken_over_from_another_engine_goes_on_from_the_count_of_the_call() {
    let mut caller = Caller::new();
    assert_eq!(caller.causes(DialogNotice::NoInput { count: 3 }).1, Some(DialogAction::HangUp));
}

#[test]
fn without_prompts_a_silent_caller_is_waited_for_before_the_call_ends() {
    let mut parts = parts();
    parts.no_input.clear();
    let mut caller = Caller::new();
    caller.conversation = Conversation::new(Arc::new(Flow::new(parts).unwrap()));
    assert_eq!(caller.causes(DialogNotice::NoInput { count: 1 }), (String::new(), None));
    assert_eq!(caller.causes(DialogNotice::NoInput { count: 2 }), (String::new(), None));
    assert_eq!(caller.causes(DialogNotice::NoInput { count: 3 }).1, Some(DialogAction::HangUp));
}

#[test]
fn an_interruption_needs_no_answer() {
    let interrupt = DialogCommand::Interrupt { reply: ReplyId(1), heard_text: "I und".to_owned(), played_sample: 800 };
    assert_eq!(Caller::new().conversation.step(&interrupt), []);
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    type Change = fn(&mut FlowParts);
    let cases: [(Change, FlowError); 7] = [
        (|parts| parts.intents.clear(), FlowError::NoIntent),
        (|parts| parts.intents[0].name = " ".to_owned(), FlowError::BlankName),
        (
            |parts| (parts.intents[0].phrases, parts.intents[0].key) = (Vec::new(), None),
            FlowError::Unreachable { intent: "sales".to_owned() },
        ),
        (|parts| parts.intents[1].name = "sales".to_owned(), FlowError::SameName { intent: "sales".to_owned() }),
        (
            |parts| parts.intents[2].key = Key::new('1'),
            FlowError::SameKey {
                intent: "opening hours".to_owned(),
                other: "sales".to_owned(),
                key: Key::new('1').unwrap(),
            },
        ),
        (
            |parts| parts.intents[3].phrases.push(Phrase::new("Help desk!").unwrap()),
            FlowError::SamePhrase {
                intent: "goodbye".to_owned(),
                other: "support".to_owned(),
                phrase: "help desk".to_owned(),
            },
        ),
        (|parts| parts.no_input.push(prompt("{heard}?")), FlowError::NothingHeardYet { prompt: "{heard}?".to_owned() }),
    ];
    for (change, error) in cases {
        let mut parts = parts();
        change(&mut parts);
        assert_eq!(Flow::new(parts), Err(error));
    }
    assert_eq!(Prompt::new("\t"), Err(FlowError::BlankPrompt));
    assert_eq!(Prompt::new("Hi {name}"), Err(FlowError::UnknownPlaceholder { prompt: "Hi {name}".to_owned() }));
    assert_eq!(Phrase::new("?!"), Err(FlowError::BlankPhrase { phrase: "?!".to_owned() }));
    assert_eq!(Key::new('E'), None);
}

proptest! {
    /// Whatever callers do, every question is answered, and one who is never understood is not kept for ever.
    #[test]
    fn a_conversation_never_gets_stuck(turns in prop::collection::vec((0..4u8, ".{0,40}", 1..5u32), 1..40)) {
        let mut caller = Caller::new();
        let mut failures = 0;
        for (kind, text, count) in turns {
            let (answer, action) = match kind {
                0 => caller.says(&text),
                1 => caller.presses(text.chars().next().unwrap_or('1')),
                2 => caller.causes(DialogNotice::NoInput { count }),
                _ => caller.causes(DialogNotice::NothingRecognized { count }),
            };
            failures = if answer.starts_with("I understood") { 0 } else { failures + 1 };
            prop_assert!(!answer.is_empty());
            prop_assert!(failures < 3 || action == Some(DialogAction::HangUp));
        }
    }
}
