//! What differs between the three services: how a session is opened, and what a new engine must be given to go on.

use crate::call::{DialogCommand, DialogEvent, Input, Service, SynthesizerCommand, SynthesizerEvent};
use crate::speech::{Dialog, EngineError, Session, SessionStart, Synthesizer, queue};
use std::collections::VecDeque;
use std::future::pending;

/// One of the three services, as a line needs it.
pub(super) trait EngineService: Send + 'static {
    const SERVICE: Service;
    type Engine: ?Sized + Send + Sync + 'static;
    /// From the call.
    type Command: Send + 'static;
    /// To the engine.
    type Request: Send + 'static;
    type Event: Send + 'static;

    /// Whether commands that were given before the call knew of the switch must not reach the new engine, because the
    /// call gives them again.
    const REPEATED_BY_CALL: bool;

    fn open(
        engine: &Self::Engine,
        start: SessionStart,
    ) -> impl Future<Output = Result<Session<Self::Request, Self::Event>, EngineError>> + Send;

    /// The event for the call.
    fn input(event: Self::Event) -> Input;

    /// Takes a command on its way to the engine.
    fn take(&mut self, command: Self::Command);

    /// How many commands have not been sent.
    fn commands_waiting(&self) -> usize;

    /// Gives up the commands that have not been sent.
    fn forget_commands(&mut self);

    /// Takes note of what the engine said.
    fn incoming(&mut self, _event: &Self::Event) {}

    /// From now on requests go to this session. If it is not the one that the call counts on (`switched`), they begin with
    /// what it needs to stand where that one stood.
    fn attach(&mut self, session: &queue::Sender<Self::Request>, switched: bool);

    /// The session is over: nothing of it is kept.
    fn detach(&mut self) {}

    /// There will be no further session.
    fn end(&mut self) {}

    /// Whether there is something to send.
    fn has_next(&self) -> bool;

    /// Sends what comes next, if there is still something.
    fn send_next(&mut self, permit: queue::Permit<'_, Self::Request>);

    /// Returns when something has come by another way than the line, for which the session had no room.
    fn behind(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// Synthesis: the call itself gives the text again that was not heard.
#[derive(Default)]
pub(super) struct SynthesisService(VecDeque<SynthesizerCommand>);

/// Dialogue: the call itself asks again.
#[derive(Default)]
pub(super) struct DialogService(VecDeque<DialogCommand>);

/// The services whose requests are the commands of the call, in order.
macro_rules! commands_in_order {
    ($service:ty, $kind:expr, $engine:ty, $command:ty, $event:ty, $input:path) => {
        impl EngineService for $service {
            const SERVICE: Service = $kind;
            const REPEATED_BY_CALL: bool = true;
            type Engine = $engine;
            type Command = $command;
            type Request = $command;
            type Event = $event;

            async fn open(
                engine: &Self::Engine,
                start: SessionStart,
            ) -> Result<Session<$command, $event>, EngineError> {
                engine.open(start).await
            }

            fn input(event: $event) -> Input {
                $input(event)
            }

            fn take(&mut self, command: $command) {
                self.0.push_back(command);
            }

            fn commands_waiting(&self) -> usize {
                self.0.len()
            }

            fn forget_commands(&mut self) {
                self.0.clear();
            }

            fn attach(&mut self, _: &queue::Sender<$command>, switched: bool) {
                if switched {
                    // The call gives them again.
                    self.0.clear();
                }
            }

            fn has_next(&self) -> bool {
                !self.0.is_empty()
            }

            fn send_next(&mut self, permit: queue::Permit<'_, $command>) {
                if let Some(command) = self.0.pop_front() {
                    permit.send(command);
                }
            }
        }
    };
}

commands_in_order!(
    SynthesisService,
    Service::Synthesis,
    dyn Synthesizer,
    SynthesizerCommand,
    SynthesizerEvent,
    Input::Synthesizer
);
commands_in_order!(DialogService, Service::Dialog, dyn Dialog, DialogCommand, DialogEvent, Input::Dialog);
