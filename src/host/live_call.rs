//! The task of one call: joins its legs in Asterisk, its media worker and its engines, until one of them ends it.

use super::bots::Bot;
use super::node::{NodeContext, is_gone};
use super::observation::{Observation, Observed};
use super::set_up::{self, Milestones, SetUpError};
use super::tear_down;
use crate::ari::{BridgeId, ChannelId};
use crate::call::{CallEvent, CallId, DialplanTarget, EndReason, HangUpBy, Input, Output, Service};
use crate::media::MediaStats;
use crate::speech::failover::CallEngines;
use crate::speech::queue;
use crate::transport::{CallHandle, Driver, MediaOutput, NewCall};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{Instrument, debug, info, info_span, warn};

/// Outputs of the call that may wait for this task: minutes of not being read. When it is full the worker drops its end, and
/// the call ends as `worker-lost`.
const OUTPUTS: usize = 1024;

/// Events of the engines that may wait on their way through this task. When it is full the engine's line waits, and the
/// engine with it.
const ENGINE_INPUTS: usize = 64;

/// A caller who was given a bot, and the ids that were chosen for the call's parts.
pub(super) struct Arrival {
    pub(super) call: CallId,
    pub(super) caller: ChannelId,
    pub(super) media: ChannelId,
    pub(super) bridge: BridgeId,
    pub(super) number: String,
    pub(super) bot: Arc<Bot>,
    pub(super) adopted: bool,
}

/// What the node tells a call about its legs.
#[derive(Debug)]
pub(super) enum LegEvent {
    /// The media leg can be put into a bridge.
    MediaReady,
    /// The media leg, or the bridge, is no more.
    MediaGone,
    /// The caller pressed a key.
    Dtmf(char),
    /// The caller's channel left the application.
    CallerGone {
        /// Asterisk's words for it, where they are known.
        cause: Option<String>,
    },
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// By its conversation: the caller, the bot, or engines that are gone.
    Conversation(EndReason),
    /// It never came to a conversation.
    SetUp(SetUpError),
    /// The media leg or the bridge disappeared under it.
    MediaLost,
    /// Asterisk did not answer for as long as the legs live without renewal: they are gone.
    AsteriskLost,
    /// The media worker gave it up.
    WorkerLost,
}

impl CallEnd {
    /// What `ARIOSO_REASON` says in the dialplan: empty for a call that the bot handed over, since nothing is wrong then.
    pub(super) const fn dialplan_reason(&self) -> &'static str {
        match self {
            Self::Conversation(EndReason::Continue { .. }) => "",
            _ => self.reason_code(),
        }
    }

    /// A word for the log and for whoever counts.
    pub const fn reason_code(&self) -> &'static str {
        match self {
            Self::Conversation(reason) => reason.reason_code(),
            Self::SetUp(SetUpError::CallerGone | SetUpError::Abandoned) => "caller-hung-up",
            Self::SetUp(_) => "set-up-failed",
            Self::MediaLost => "media-lost",
            Self::AsteriskLost => "asterisk-lost",
            Self::WorkerLost => "worker-lost",
        }
    }

    /// Whether the caller goes on in the dialplan, and where.
    pub(super) const fn back_to_dialplan(&self) -> Option<Option<&DialplanTarget>> {
        match self {
            Self::Conversation(EndReason::Continue { target }) => Some(target.as_ref()),
            Self::Conversation(EndReason::EnginesExhausted { .. } | EndReason::Drained) => Some(None),
            Self::Conversation(EndReason::HangUp(_)) => None,
            Self::SetUp(SetUpError::CallerGone | SetUpError::Abandoned) => None,
            Self::SetUp(_) | Self::MediaLost | Self::AsteriskLost | Self::WorkerLost => Some(None),
        }
    }

    /// Whether it is for us to hang up.
    pub(super) const fn hangs_up(&self) -> bool {
        matches!(self, Self::Conversation(EndReason::HangUp(HangUpBy::Bot)))
    }
}

impl fmt::Display for CallEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conversation(reason) => write!(f, "{reason}"),
            Self::SetUp(error) => write!(f, "{error}"),
            Self::MediaLost => f.write_str("the media leg or the bridge disappeared"),
            Self::AsteriskLost => f.write_str("Asterisk has been away for longer than its channels live without us"),
            Self::WorkerLost => f.write_str("the media worker gave the call up"),
        }
    }
}

/// Runs a call from its arrival until nothing of it is left in Asterisk.
pub(super) async fn run(context: Arc<NodeContext>, arrival: Arrival, events: mpsc::Receiver<LegEvent>) {
    let span = info_span!("call", id = %arrival.call);
    async {
        let observe = Observer { context: Arc::clone(&context), call: arrival.call.clone() };
        info!(channel = %arrival.caller, number = arrival.number, bot = arrival.bot.name(), adopted = arrival.adopted, "a call has arrived");
        observe.tell(Observed::Arrived {
            number: arrival.number.clone(),
            bot: arrival.bot.name().to_owned(),
            adopted: arrival.adopted,
        });
        let (end, media) = converse(&context, &arrival, events, &observe).await;
        match &end {
            CallEnd::SetUp(error) if *error != SetUpError::CallerGone => {
                warn!(reason = end.reason_code(), "the call is over: {error}; `arioso doctor` looks for the cause");
            }
            _ => info!(reason = end.reason_code(), "the call is over"),
        }
        observe.tell(Observed::Ended { end, media });
    }
    .instrument(span)
    .await;
}

/// Everything between arrival and tear-down: engines, worker and set-up side by side.
async fn converse(
    context: &Arc<NodeContext>,
    arrival: &Arrival,
    events: mpsc::Receiver<LegEvent>,
    observe: &Observer,
) -> (CallEnd, Option<MediaStats>) {
    let (output_sender, outputs) = mpsc::channel(OUTPUTS);
    let new = NewCall {
        call: arrival.call.clone(),
        driver: Driver::Conversation(arrival.bot.call_settings()),
        outputs: output_sender,
    };
    let media = match context.workers.assign().add(new).await {
        Ok(media) => media,
        Err(error) => {
            let end = CallEnd::SetUp(set_up::worker(error));
            tear_down::tear_down(context, arrival, &end).await;
            return (end, None);
        }
    };
    let (engine_sender, engine_inputs) = queue::bounded(ENGINE_INPUTS);
    let engines =
        CallEngines::open(arrival.bot.engines(), arrival.bot.session_start(&arrival.call, context.law), engine_sender);
    context.pump.add(media.key(), engines.audio_sender()).await;

    let live = LiveCall { context, arrival, events, outputs, engine_inputs, media: &media, engines: &engines, observe };
    let end = live.run().await;

    context.pump.remove(media.key()).await;
    let stats = media.remove().await;
    // The caller does not wait for engines to say good-bye.
    tokio::join!(tear_down::tear_down(context, arrival, &end), engines.close());
    (end, stats)
}

struct LiveCall<'a> {
    context: &'a Arc<NodeContext>,
    arrival: &'a Arrival,
    events: mpsc::Receiver<LegEvent>,
    outputs: mpsc::Receiver<MediaOutput>,
    engine_inputs: queue::Receiver<Input>,
    media: &'a CallHandle,
    engines: &'a CallEngines,
    observe: &'a Observer,
}

impl LiveCall<'_> {
    async fn run(mut self) -> CallEnd {
        let milestones = Milestones::default();
        let set_up = set_up::set_up(self.context, self.arrival, self.media, &milestones);
        tokio::pin!(set_up);
        let mut connected = false;
        let mut set_up_ended = false;
        let mut asked_to_end = false;
        let mut renewal = interval(self.context.renewal);
        let mut renewals = JoinSet::new();
        let mut renewed_at = Instant::now();
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renewal.reset();

        let end = loop {
            let step = tokio::select! {
                result = &mut set_up, if !set_up_ended => {
                    set_up_ended = true;
                    connected = result.is_ok();
                    self.set_up_ended(result).await
                }
                Some(event) = self.events.recv() => match event {
                    LegEvent::MediaReady => { milestones.media_ready.notify_one(); Step::GoOn }
                    LegEvent::MediaGone if connected => Step::End(CallEnd::MediaLost),
                    LegEvent::MediaGone => Step::End(CallEnd::SetUp(SetUpError::MediaLegGone)),
                    LegEvent::Dtmf(digit) => self.input(Input::Dtmf(digit)).await,
                    LegEvent::CallerGone { cause } => {
                        debug!(cause, "the caller is gone");
                        self.input(Input::CallerHungUp).await
                    }
                },
                output = self.outputs.recv() => match output {
                    Some(MediaOutput::Call(output)) => self.output(output, &milestones).await,
                    Some(MediaOutput::LegLost(loss)) => {
                        debug!(%loss, "the media leg is lost");
                        Step::End(CallEnd::MediaLost)
                    }
                    None => Step::End(CallEnd::WorkerLost),
                },
                Some(input) = self.engine_inputs.recv() => self.input(input).await,
                _ = renewal.tick(), if renewals.is_empty() => { self.renew_dead_man(&mut renewals, connected); Step::GoOn }
                Some(renewed) = renewals.join_next() => match renewed {
                    // An end that no event told.
                    Ok(Renewal::Gone(Leg::Caller)) => self.input(Input::CallerHungUp).await,
                    Ok(Renewal::Gone(Leg::Media)) => Step::End(CallEnd::MediaLost),
                    Ok(Renewal::Done) => { renewed_at = Instant::now(); Step::GoOn }
                    // By now the legs have ended by themselves, if they were still there.
                    Ok(Renewal::Failed) | Err(_) if renewed_at.elapsed() > self.context.dead_man => Step::End(CallEnd::AsteriskLost),
                    Ok(Renewal::Failed) | Err(_) => Step::GoOn,
                },
                () = self.context.end_calls.cancelled(), if !asked_to_end => {
                    asked_to_end = true;
                    self.input(Input::EndRequested).await
                }
            };
            if let Step::End(end) = step {
                break end;
            }
        };
        if !set_up_ended {
            // A request that is under way may still make a leg or a bridge: wait, so that tear-down finds all of them.
            milestones.abandoned.cancel();
            let _ = set_up.await;
        }
        // A renewal that came later would set the timer of a caller who has gone on in the dialplan.
        while renewals.join_next().await.is_some() {}
        end
    }

    async fn set_up_ended(&self, result: Result<(), SetUpError>) -> Step {
        match result {
            Ok(()) => {
                debug!("connected");
                self.observe.tell(Observed::Connected);
                self.input(Input::Connected).await
            }
            Err(error) => Step::End(CallEnd::SetUp(error)),
        }
    }

    async fn input(&self, input: Input) -> Step {
        match self.media.input(input).await {
            Ok(()) => Step::GoOn,
            Err(_) => Step::End(CallEnd::WorkerLost),
        }
    }

    async fn output(&self, output: Output, milestones: &Milestones) -> Step {
        match output {
            // The worker hands audio over in batches, beside this.
            Output::CallerAudio { .. } => {}
            Output::Recognizer(command) => self.engines.recognizer(command).await,
            Output::Synthesizer(command) => self.engines.synthesizer(command).await,
            Output::Dialog(command) => self.engines.dialog(command).await,
            Output::FailOver { service, overdue } => self.fail_over(service, overdue).await,
            Output::EngineAccepted { service } => self.engines.accepted(service).await,
            Output::Event(event) => {
                if matches!(event, CallEvent::ReplyReady { .. }) {
                    milestones.first_words.notify_one();
                }
                self.observe.tell(Observed::Conversation(event));
            }
            Output::End(reason) => return Step::End(CallEnd::Conversation(reason)),
        }
        Step::GoOn
    }

    async fn fail_over(&self, service: Service, overdue: &'static str) {
        warn!(%service, overdue, "the engine is late");
        self.engines.fail_over(service, overdue).await;
    }

    /// Beside everything else: a request that hangs must not keep the conversation from going on. Each task says which leg
    /// is gone, if it is.
    fn renew_dead_man(&self, renewals: &mut JoinSet<Renewal>, connected: bool) {
        let legs = [Some((Leg::Caller, &self.arrival.caller)), connected.then_some((Leg::Media, &self.arrival.media))];
        for (leg, channel) in legs.into_iter().flatten() {
            let (context, channel) = (Arc::clone(self.context), channel.clone());
            renewals.spawn(async move {
                let Err(error) = context.ari.set_absolute_timeout(&channel, context.dead_man).await else {
                    return Renewal::Done;
                };
                debug!(%channel, %error, "the dead-man timer was not renewed");
                if is_gone(&error) { Renewal::Gone(leg) } else { Renewal::Failed }
            });
        }
    }
}

/// What became of the renewal of a dead-man timer.
enum Renewal {
    Done,
    /// The channel is no more.
    Gone(Leg),
    /// Asterisk did not answer.
    Failed,
}

/// The two channels of a call.
#[derive(Clone, Copy, Debug)]
enum Leg {
    Caller,
    Media,
}

enum Step {
    GoOn,
    End(CallEnd),
}

/// Tells what happens in one call to the log and to whoever looks on.
struct Observer {
    context: Arc<NodeContext>,
    call: CallId,
}

impl Observer {
    fn tell(&self, what: Observed) {
        if let Observed::Conversation(event) = &what {
            log(event);
        }
        // Nobody looking on is fine.
        let _ = self.context.observers.send(Observation { call: self.call.clone(), at: Instant::now(), what });
    }
}

fn log(event: &CallEvent) {
    match event {
        // What people say to a bot is nobody else's business: the words are only in the debug log.
        CallEvent::CallerSaid { utterance, text } => {
            info!(utterance = utterance.0, characters = text.chars().count(), "the caller said something");
            debug!(utterance = utterance.0, text, "the caller said");
        }
        CallEvent::ReplyEnded { reply, heard_text, end } => {
            debug!(reply = reply.0, heard_text, ?end, "the caller heard");
        }
        CallEvent::Dtmf { .. } => info!("a key was pressed"),
        CallEvent::TurnEnded(timeline) if timeline.first_packet.is_some() => {
            info!(reply = timeline.reply.0, "turn: {timeline}");
        }
        CallEvent::TurnEnded(_) => {}
        CallEvent::EngineSwitched { service, from, to } => debug!(%service, from, to, "another engine took over"),
        CallEvent::PlayoutOverflow { reply, samples } => {
            warn!(reply = reply.0, samples, "more audio than can be queued: dropped");
        }
        CallEvent::TextOverflow { reply, bytes } => warn!(%reply, bytes, "more text than a reply may have: dropped"),
        CallEvent::StaleMessage { service } => debug!(%service, "a message for something no longer current"),
        CallEvent::SpeechStarted { utterance } => debug!(utterance = utterance.0, "the caller speaks"),
        CallEvent::Endpoint { utterance } => debug!(utterance = utterance.0, "the caller has finished"),
        CallEvent::ReplyReady { reply } => debug!(reply = reply.0, "the first words are ready"),
        CallEvent::ReplyStarted { reply } => debug!(reply = reply.0, "the bot speaks"),
    }
}
