//! The built-in dialogue as an engine: a [`Flow`] behind the [`Dialog`] trait, in this process.

use super::{Dialog, DialogSession, EngineError, Session, SessionStart, queue};
use crate::call::{DialogCommand, DialogEvent};
use crate::flow::{Conversation, Flow};
use async_trait::async_trait;
use std::sync::Arc;

/// Commands that wait for an answer. A call has one question open at a time, plus the interruption of the last answer;
/// when this is full the caller of `send` waits.
const COMMANDS: usize = 16;
/// Events that wait to be read; an answer has at most three. When this is full the conversation waits.
const EVENTS: usize = 16;

/// Runs one flow for any number of calls.
#[derive(Clone, Debug)]
pub struct FlowDialog {
    flow: Arc<Flow>,
}

impl FlowDialog {
    /// A dialogue that follows `flow`.
    pub fn new(flow: Arc<Flow>) -> Self {
        Self { flow }
    }
}

#[async_trait]
impl Dialog for FlowDialog {
    /// Never fails; must be called within a tokio runtime.
    async fn open(&self, _: SessionStart) -> Result<DialogSession, EngineError> {
        let (requests, commands) = queue::bounded(COMMANDS);
        let (answers, events) = queue::bounded(EVENTS);
        tokio::spawn(converse(Conversation::new(Arc::clone(&self.flow)), commands, answers));
        Ok(Session { requests, events })
    }
}

/// Answers until the call drops its side: either end of the session.
async fn converse(
    mut conversation: Conversation,
    mut commands: queue::Receiver<DialogCommand>,
    answers: queue::Sender<Result<DialogEvent, EngineError>>,
) {
    while let Some(command) = commands.recv().await {
        for event in conversation.step(&command) {
            if answers.send(Ok(event)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SampleRate;
    use crate::call::{CallId, DialogAction, ReplyId, UtteranceIndex};
    use crate::flow::{FlowParts, Intent, Phrase, Prompt, Then};

    fn dialog() -> FlowDialog {
        let prompt = |text| Prompt::new(text).unwrap();
        let goodbye = Intent {
            name: "goodbye".to_owned(),
            phrases: vec![Phrase::new("bye").unwrap()],
            key: None,
            answer: prompt("Goodbye."),
            then: Then::HangUp,
        };
        let parts = FlowParts {
            opening: None,
            intents: vec![goodbye],
            not_understood: vec![prompt("Pardon?")],
            nothing_recognized: Vec::new(),
            no_input: Vec::new(),
            give_up: prompt("Sorry."),
        };
        FlowDialog::new(Arc::new(Flow::new(parts).unwrap()))
    }

    fn start() -> SessionStart {
        SessionStart {
            call: CallId::new("call-1").unwrap(),
            language: "en-US".to_owned(),
            rate: SampleRate::HZ_8000,
            law: None,
            greeting: None,
        }
    }

    fn says(text: &str, reply: ReplyId) -> DialogCommand {
        DialogCommand::UserTurn { utterance: UtteranceIndex(0), text: text.to_owned(), reply }
    }

    #[tokio::test]
    async fn a_session_answers_turn_by_turn_and_ends_with_its_requests() {
        let mut session = dialog().open(start()).await.unwrap();
        let (first, second) = (ReplyId(1), ReplyId(2));
        session.requests.send(says("hm", first)).await.unwrap();
        session.requests.send(says("bye", second)).await.unwrap();
        drop(session.requests);

        let mut events = Vec::new();
        while let Some(event) = session.events.recv().await {
            events.push(event.unwrap());
        }
        assert_eq!(
            events,
            [
                DialogEvent::Text { reply: first, delta: "Pardon?".to_owned() },
                DialogEvent::Done { reply: first },
                DialogEvent::Text { reply: second, delta: "Goodbye.".to_owned() },
                DialogEvent::Action { reply: second, action: DialogAction::HangUp },
                DialogEvent::Done { reply: second },
            ]
        );
    }

    #[tokio::test]
    async fn sessions_do_not_share_what_has_been_said() {
        let dialog = dialog();
        for _ in 0..2 {
            let mut session = dialog.open(start()).await.unwrap();
            session.requests.send(says("hm", ReplyId(1))).await.unwrap();
            let first = session.events.recv().await.unwrap().unwrap();
            assert_eq!(first, DialogEvent::Text { reply: ReplyId(1), delta: "Pardon?".to_owned() });
        }
    }
}
