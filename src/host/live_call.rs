//! The task of one call: joins its legs in Asterisk, its media worker and its engines, until one of them ends it.

use super::bots::Bot;
use super::node::NodeContext;
use super::observation::{Observation, Observed};
use super::set_up::{self, Milestones, SetUpError};
use super::tear_down;
use crate::ari::{BridgeId, ChannelId};
use crate::call::{CallEvent, CallId, DialplanTarget, EndReason, HangUpBy, Input, Output, Service};
use crate::media::MediaStats;
use crate::speech::failover::CallEngines;
use crate::transport::{CallHandle, NewCall};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
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
            Self::SetUp(SetUpError::CallerGone) => "caller-hung-up",
            Self::SetUp(_) => "set-up-failed",
            Self::MediaLost => "media-lost",
            Self::WorkerLost => "worker-lost",
        }
    }

    /// Whether the caller goes on in the dialplan, and where.
    pub(super) const fn back_to_dialplan(&self) -> Option<Option<&DialplanTarget>> {
        match self {
            Self::Conversation(EndReason::Continue { target }) => Some(target.as_ref()),
            Self::Conversation(EndReason::EnginesExhausted { .. } | EndReason::Drained) => Some(None),
            Self::Conversation(EndReason::HangUp(_)) | Self::SetUp(SetUpError::CallerGone) => None,
            Self::SetUp(_) | Self::MediaLost | Self::WorkerLost => Some(None),
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
        tear_down::tear_down(&context, &arrival, &end).await;
        match &end {
            CallEnd::SetUp(error) if *error != SetUpError::CallerGone => warn!(reason = end.reason_code(), "{error}"),
            _ => info!(reason = end.reason_code(), "the call is over"),
        }
        observe.tell(Observed::Ended { end, media });
    }
    .instrument(span)
    .await;
}

/// Everything between arrival and end: engines, worker and set-up side by side.
async fn converse(
    context: &Arc<NodeContext>,
    arrival: &Arrival,
    events: mpsc::Receiver<LegEvent>,
    observe: &Observer,
) -> (CallEnd, Option<MediaStats>) {
    let (output_sender, outputs) = mpsc::channel(OUTPUTS);
    let new = NewCall { call: arrival.call.clone(), settings: arrival.bot.call_settings(), outputs: output_sender };
    let media = match context.workers.assign().add(new).await {
        Ok(media) => media,
        Err(error) => return (CallEnd::SetUp(set_up::worker(error)), None),
    };
    let (engine_sender, engine_inputs) = mpsc::channel(ENGINE_INPUTS);
    let engines = CallEngines::open(arrival.bot.engines(), arrival.bot.session_start(&arrival.call), engine_sender);
    context.pump.add(media.key(), engines.audio_sender()).await;

    let live = LiveCall { context, arrival, events, outputs, engine_inputs, media: &media, engines: &engines, observe };
    let end = live.run().await;

    context.pump.remove(media.key()).await;
    let stats = media.remove().await;
    engines.close().await;
    (end, stats)
}

struct LiveCall<'a> {
    context: &'a Arc<NodeContext>,
    arrival: &'a Arrival,
    events: mpsc::Receiver<LegEvent>,
    outputs: mpsc::Receiver<Output>,
    engine_inputs: mpsc::Receiver<Input>,
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
        let mut asked_to_end = false;
        let mut renewal = interval(self.context.dead_man / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renewal.reset();

        let end = loop {
            let step = tokio::select! {
                result = &mut set_up, if !connected => match result {
                    Ok(()) => {
                        connected = true;
                        debug!("connected");
                        self.observe.tell(Observed::Connected);
                        self.input(Input::Connected).await
                    }
                    Err(error) => return CallEnd::SetUp(error),
                },
                Some(event) = self.events.recv() => match event {
                    LegEvent::MediaReady => { milestones.media_ready.notify_one(); Step::GoOn }
                    LegEvent::MediaGone if connected => Step::End(CallEnd::MediaLost),
                    LegEvent::MediaGone => Step::GoOn,
                    LegEvent::Dtmf(digit) => self.input(Input::Dtmf(digit)).await,
                    LegEvent::CallerGone { cause } => {
                        debug!(cause, "the caller is gone");
                        self.input(Input::CallerHungUp).await
                    }
                },
                output = self.outputs.recv() => match output {
                    Some(output) => self.output(output, &milestones).await,
                    None => Step::End(CallEnd::WorkerLost),
                },
                Some(input) = self.engine_inputs.recv() => self.input(input).await,
                _ = renewal.tick() => { self.renew_dead_man(connected); Step::GoOn }
                () = self.context.end_calls.cancelled(), if !asked_to_end => {
                    asked_to_end = true;
                    self.input(Input::EndRequested).await
                }
            };
            if let Step::End(end) = step {
                break end;
            }
        };
        if !connected {
            // A request that is under way may still make a leg or a bridge: wait, so that tear-down finds all of them.
            let _ = set_up.await;
        }
        end
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

    /// Beside everything else: a request that hangs must not keep the conversation from going on.
    fn renew_dead_man(&self, connected: bool) {
        let context = Arc::clone(self.context);
        let legs = [Some(self.arrival.caller.clone()), connected.then(|| self.arrival.media.clone())];
        tokio::spawn(async move {
            for leg in legs.into_iter().flatten() {
                if let Err(error) = context.ari.set_absolute_timeout(&leg, context.dead_man).await {
                    debug!(channel = %leg, %error, "the dead-man timer was not renewed");
                }
            }
        });
    }
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
        CallEvent::CallerSaid { utterance, text } => info!(%utterance, text, "the caller said"),
        CallEvent::ReplyEnded { reply, heard_text, end } => info!(%reply, heard_text, ?end, "the caller heard"),
        CallEvent::Dtmf { digit } => info!(%digit, "key"),
        CallEvent::TurnEnded(timeline) => info!(reply = %timeline.reply, "turn: {timeline}"),
        CallEvent::EngineSwitched { service, from, to } => warn!(%service, from, to, "another engine took over"),
        CallEvent::PlayoutOverflow { reply, samples } => {
            warn!(%reply, samples, "more audio than can be queued: dropped")
        }
        CallEvent::TextOverflow { reply, bytes } => warn!(%reply, bytes, "more text than a reply may have: dropped"),
        CallEvent::StaleMessage { service } => debug!(%service, "a message for something no longer current"),
        CallEvent::SpeechStarted { utterance } => debug!(%utterance, "the caller speaks"),
        CallEvent::Endpoint { utterance } => debug!(%utterance, "the caller has finished"),
        CallEvent::ReplyReady { reply } => debug!(%reply, "the first words are ready"),
        CallEvent::ReplyStarted { reply } => debug!(%reply, "the bot speaks"),
    }
}
