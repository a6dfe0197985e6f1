//! DialogService over a [`Dialog`].

use super::session::{self, Contract, Responses, Sessions, Taken};
use crate::audio::SampleRate;
use crate::call::{DialogAction, DialogCommand, DialogEvent, DialogNotice, ReplyId, UtteranceIndex};
use crate::speech::proto::dialog_service_server::DialogService;
use crate::speech::proto::{
    self, ContinueInDialplan, DialogStart, ExchangeRequest, ExchangeResponse, FinishReason, HangUp, ResponseDone,
    TextDelta, dialog_action, dialog_event, exchange_request, exchange_response,
};
use crate::speech::{Dialog, SessionStart};
use std::collections::BTreeSet;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The service.
pub(super) struct Service {
    pub(super) engine: Option<Arc<dyn Dialog>>,
    pub(super) sessions: Sessions,
}

#[tonic::async_trait]
impl DialogService for Service {
    type ExchangeStream = Responses<ExchangeResponse>;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let engine = self.engine.clone().ok_or_else(|| Status::unimplemented("no dialogue is served here"))?;
        session::begin::<Conversation, _, _>(&self.sessions, request, |start| async move { engine.open(start).await })
    }
}

/// One session.
#[derive(Default)]
struct Conversation {
    /// Replies whose answer is not complete.
    open: BTreeSet<u32>,
}

impl Conversation {
    fn ask(&mut self, reply_id: u32, command: impl FnOnce(ReplyId) -> DialogCommand) -> Taken<Self> {
        self.open.insert(reply_id);
        Taken::Command(command(ReplyId(reply_id)), None)
    }
}

fn response(payload: exchange_response::Payload) -> ExchangeResponse {
    ExchangeResponse { payload: Some(payload) }
}

fn done(reply_id: u32, reason: FinishReason) -> ExchangeResponse {
    let done = ResponseDone { reply_id, finish_reason: reason.into(), usage: None };
    response(exchange_response::Payload::ResponseDone(done))
}

impl Contract for Conversation {
    type Request = ExchangeRequest;
    type Response = ExchangeResponse;
    type Start = DialogStart;
    type Command = DialogCommand;
    type Event = DialogEvent;

    fn start(request: ExchangeRequest) -> Option<DialogStart> {
        match request.payload {
            Some(exchange_request::Payload::Start(start)) => Some(start),
            _ => None,
        }
    }

    fn session_start(&mut self, start: DialogStart) -> Result<SessionStart, Status> {
        Ok(SessionStart {
            call: session::call_id(start.call)?,
            language: start.language_code,
            // A dialogue has no audio.
            rate: SampleRate::HZ_8000,
            law: None,
            greeting: (!start.greeting.is_empty()).then_some(start.greeting),
        })
    }

    fn started(&self) -> ExchangeResponse {
        response(exchange_response::Payload::Started(session::started(None, &[])))
    }

    fn request(&mut self, request: ExchangeRequest) -> Result<Taken<Self>, Status> {
        use exchange_request::Payload;
        Ok(match request.payload {
            Some(Payload::Start(_)) => return Err(session::second_start()),
            Some(Payload::UserTurn(turn)) if turn.eager => {
                return Err(Status::invalid_argument("eager turns are not served: `started` does not list them"));
            }
            Some(Payload::UserTurn(turn)) => self.ask(turn.reply_id, |reply| DialogCommand::UserTurn {
                utterance: UtteranceIndex(turn.utterance_index),
                text: turn.text,
                reply,
            }),
            Some(Payload::Dtmf(dtmf)) => {
                let mut digits = dtmf.digits.chars();
                let (Some(digit), None) = (digits.next(), digits.next()) else {
                    return Err(Status::invalid_argument("`dtmf` with other than one digit, but none were collected"));
                };
                self.ask(dtmf.reply_id, |reply| DialogCommand::Dtmf { digit, reply })
            }
            Some(Payload::Event(event)) => {
                let notice = match event.event {
                    Some(dialog_event::Event::CallStarted(_)) => DialogNotice::CallStarted,
                    Some(dialog_event::Event::NoInput(no_input)) => DialogNotice::NoInput { count: no_input.count },
                    Some(dialog_event::Event::NothingRecognized(nothing)) => {
                        DialogNotice::NothingRecognized { count: nothing.count }
                    }
                    // An unknown event has an empty answer, and the engine is not asked.
                    Some(dialog_event::Event::Custom(_)) | None => {
                        return Ok(Taken::Answer(done(event.reply_id, FinishReason::Complete)));
                    }
                };
                self.ask(event.reply_id, |reply| DialogCommand::Notice { notice, reply })
            }
            Some(Payload::Interrupt(interrupt)) => {
                let id = interrupt.reply_id;
                let command = DialogCommand::Interrupt {
                    reply: ReplyId(id),
                    heard_text: interrupt.heard_text,
                    played_sample: interrupt.played_sample,
                };
                // The answer is closed here, so that nothing that is still on its way can follow.
                Taken::Command(command, self.open.remove(&id).then(|| done(id, FinishReason::Interrupted)))
            }
            Some(Payload::Finish(_)) => Taken::Finish,
            Some(Payload::RetractTurn(_) | Payload::ToolResult(_)) | None => Taken::Nothing,
        })
    }

    fn event(&mut self, event: DialogEvent) -> Option<ExchangeResponse> {
        use exchange_response::Payload;
        let (DialogEvent::Text { reply, .. } | DialogEvent::Action { reply, .. } | DialogEvent::Done { reply }) =
            &event;
        let reply_id = reply.0;
        if !self.open.contains(&reply_id) {
            return None;
        }
        Some(match event {
            DialogEvent::Text { delta, .. } => response(Payload::TextDelta(TextDelta { reply_id, text: delta })),
            DialogEvent::Action { action, .. } => {
                let action = Some(match action {
                    DialogAction::HangUp => dialog_action::Action::HangUp(HangUp {}),
                    DialogAction::Continue { target } => {
                        let place = target.map(|target| ContinueInDialplan {
                            context: target.context,
                            extension: target.extension,
                            priority: target.priority,
                        });
                        dialog_action::Action::ContinueInDialplan(place.unwrap_or_default())
                    }
                });
                response(Payload::Action(proto::DialogAction { reply_id, action }))
            }
            DialogEvent::Done { .. } => {
                self.open.remove(&reply_id);
                done(reply_id, FinishReason::Complete)
            }
        })
    }
}
