//! Dialogue on the wire: questions out, answers in.

use super::call_context;
use super::session::{Contract, Received, Recent, Sent};
use crate::call::{DialogAction, DialogCommand, DialogEvent, DialogNotice, DialplanTarget, ReplyId};
use crate::speech::SessionStart;
use crate::speech::proto::{
    self, CallStarted, DialogActionKind, DialogDtmf, DialogStart, ExchangeRequest, ExchangeResponse, Finish,
    FinishReason, Interrupt, NoInput, NothingRecognized, UserTurn, dialog_action, dialog_event, exchange_request,
    exchange_response,
};
use std::sync::Arc;

/// What a call can be told to do.
const ACTIONS: [DialogActionKind; 2] = [DialogActionKind::HangUp, DialogActionKind::ContinueInDialplan];

/// One session.
pub(super) struct Dialog {
    sent: Arc<Sent>,
    replies: Recent<Reply>,
}

/// What the engine has said of a reply.
#[derive(Debug, Default)]
struct Reply {
    done: bool,
}

impl Dialog {
    pub(super) fn new() -> Self {
        Self { sent: Sent::new(), replies: Recent::new() }
    }

    /// The reply that a message is about; `Ok(None)` if it is too old to matter.
    fn reply(&mut self, id: u32, what: &str) -> Result<Option<&mut Reply>, String> {
        if !self.sent.is_open(id) {
            return Err(format!("{what} of reply {id}, for which nothing was asked"));
        }
        match self.replies.get(id) {
            Some(reply) if reply.done => Err(format!("{what} of reply {id} after its `response_done`")),
            reply => Ok(reply),
        }
    }

    fn action(&mut self, action: proto::DialogAction) -> Result<Received<DialogEvent>, String> {
        let id = action.reply_id;
        if self.reply(id, "an action")?.is_none() {
            return Ok(Received::Nothing);
        }
        let action = match action.action {
            Some(dialog_action::Action::HangUp(_)) => DialogAction::HangUp,
            Some(dialog_action::Action::ContinueInDialplan(place)) => {
                let target = (!place.extension.is_empty()).then(|| DialplanTarget {
                    context: place.context,
                    extension: place.extension,
                    priority: place.priority.max(1),
                });
                DialogAction::Continue { target }
            }
            // Left undone, it would leave the caller with a promise that nobody keeps.
            Some(dialog_action::Action::Transfer(_)) => return Err(not_offered("transfer", id)),
            Some(dialog_action::Action::CollectDtmf(_)) => return Err(not_offered("collect_dtmf", id)),
            None => return Err(format!("an action of reply {id} without a kind that is known")),
        };
        Ok(Received::Event(DialogEvent::Action { reply: ReplyId(id), action }))
    }

    fn done(&mut self, id: u32, reason: FinishReason) -> Result<Received<DialogEvent>, String> {
        let Some(reply) = self.reply(id, "`response_done`")? else { return Ok(Received::Nothing) };
        reply.done = true;
        // The call has taken the question back and waits for nothing.
        if matches!(reason, FinishReason::Interrupted | FinishReason::Retracted) {
            return Ok(Received::Nothing);
        }
        Ok(Received::Event(DialogEvent::Done { reply: ReplyId(id) }))
    }
}

fn not_offered(action: &str, id: u32) -> String {
    format!("the action `{action}` in reply {id}, which `start` did not list")
}

/// The first message.
pub(super) fn start(start: &SessionStart) -> ExchangeRequest {
    request(exchange_request::Payload::Start(DialogStart {
        call: Some(call_context(start)),
        language_code: start.language.clone(),
        greeting: start.greeting.clone().unwrap_or_default(),
        actions: ACTIONS.map(i32::from).to_vec(),
        ..DialogStart::default()
    }))
}

fn request(payload: exchange_request::Payload) -> ExchangeRequest {
    ExchangeRequest { payload: Some(payload) }
}

fn event(notice: &DialogNotice) -> dialog_event::Event {
    match *notice {
        DialogNotice::CallStarted => dialog_event::Event::CallStarted(CallStarted {}),
        DialogNotice::NoInput { count } => dialog_event::Event::NoInput(NoInput { count }),
        DialogNotice::NothingRecognized { count } => {
            dialog_event::Event::NothingRecognized(NothingRecognized { count })
        }
    }
}

impl Contract for Dialog {
    type Command = DialogCommand;
    type Event = DialogEvent;
    type Request = ExchangeRequest;
    type Response = ExchangeResponse;
    type Sender = Arc<Sent>;

    fn sender(&self) -> Arc<Sent> {
        Arc::clone(&self.sent)
    }

    fn request(command: DialogCommand, sent: &mut Arc<Sent>) -> Option<ExchangeRequest> {
        use exchange_request::Payload;
        Some(request(match command {
            DialogCommand::UserTurn { utterance, text, reply } => {
                sent.open(reply.0);
                let turn = UserTurn { reply_id: reply.0, utterance_index: utterance.0, text, ..UserTurn::default() };
                Payload::UserTurn(turn)
            }
            DialogCommand::Dtmf { digit, reply } => {
                sent.open(reply.0);
                Payload::Dtmf(DialogDtmf { reply_id: reply.0, digits: digit.to_string() })
            }
            DialogCommand::Notice { notice, reply } => {
                sent.open(reply.0);
                Payload::Event(proto::DialogEvent { reply_id: reply.0, event: Some(event(&notice)) })
            }
            DialogCommand::Interrupt { reply, heard_text, played_sample } => {
                Payload::Interrupt(Interrupt { reply_id: reply.0, heard_text, played_sample, ..Interrupt::default() })
            }
        }))
    }

    fn finish() -> ExchangeRequest {
        request(exchange_request::Payload::Finish(Finish {}))
    }

    fn response(&mut self, response: ExchangeResponse) -> Result<Received<DialogEvent>, String> {
        use exchange_response::Payload;
        match response.payload {
            Some(Payload::Started(started)) => Ok(Received::Started(started)),
            Some(Payload::TextDelta(delta)) => {
                let known = self.reply(delta.reply_id, "text")?.is_some();
                let event = DialogEvent::Text { reply: ReplyId(delta.reply_id), delta: delta.text };
                Ok(if known { Received::Event(event) } else { Received::Nothing })
            }
            Some(Payload::Action(action)) => self.action(action),
            Some(Payload::ToolCall(call)) => {
                Err(format!("a call of the tool {:?} in reply {}, but no tools were offered", call.name, call.reply_id))
            }
            Some(Payload::ResponseDone(done)) => self.done(done.reply_id, done.finish_reason()),
            Some(Payload::Warning(warning)) => Ok(Received::Warning(warning)),
            Some(Payload::Usage(_)) | None => Ok(Received::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::proto::{CollectDtmf, ResponseDone, TextDelta, ToolCall, Transfer};
    use exchange_response::Payload;

    fn text(reply_id: u32) -> Payload {
        Payload::TextDelta(TextDelta { reply_id, text: "yes".into() })
    }

    fn done(reply_id: u32) -> Payload {
        Payload::ResponseDone(ResponseDone { reply_id, finish_reason: FinishReason::Complete.into(), usage: None })
    }

    fn action(action: dialog_action::Action) -> Payload {
        Payload::Action(proto::DialogAction { reply_id: 1, action: Some(action) })
    }

    /// What is wrong with the last of these messages, when reply 1 was asked for.
    fn violation(payloads: impl IntoIterator<Item = Payload>) -> String {
        let mut session = Dialog::new();
        session.sent.open(1);
        let results = payloads.into_iter().map(|p| session.response(ExchangeResponse { payload: Some(p) }));
        let mut results: Vec<_> = results.collect();
        let last = results.pop().expect("a message");
        assert!(results.iter().all(Result::is_ok), "only the last is wrong");
        last.err().expect("a violation")
    }

    #[test]
    fn an_engine_that_breaks_the_rules_of_dialogue_is_told_which_one() {
        assert_eq!(violation([text(2)]), "text of reply 2, for which nothing was asked");
        assert_eq!(violation([done(1), text(1)]), "text of reply 1 after its `response_done`");
        assert_eq!(violation([done(1), done(1)]), "`response_done` of reply 1 after its `response_done`");
        assert_eq!(
            violation([action(dialog_action::Action::Transfer(Transfer::default()))]),
            "the action `transfer` in reply 1, which `start` did not list"
        );
        assert_eq!(
            violation([action(dialog_action::Action::CollectDtmf(CollectDtmf::default()))]),
            "the action `collect_dtmf` in reply 1, which `start` did not list"
        );
        assert_eq!(
            violation([Payload::ToolCall(ToolCall { reply_id: 1, name: "crm".into(), ..ToolCall::default() })]),
            "a call of the tool \"crm\" in reply 1, but no tools were offered"
        );
    }
}
