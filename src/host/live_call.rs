//! The task of one call: joins its legs in Asterisk, its media worker and its engines, until one of them ends it.

use super::bots::Bot;
use super::conversation::{Conversation, DEAF_AFTER, Observer, Step};
use super::node::{NodeContext, is_gone};
use super::observation::Observed;
use super::set_up::{self, Milestones, SetUpError};
use super::tear_down;
use crate::ari::{BridgeId, ChannelId};
use crate::call::{CallId, DialplanTarget, EndReason, HangUpBy, Input};
use crate::media::MediaStats;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};
use tracing::{Instrument, debug, info, info_span};

/// When our leg is gone, the caller's end may be on its way by another road. It would be wrong to say that we lost a
/// caller who has hung up.
const LOSS_GRACE: Duration = Duration::from_millis(300);

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
        let (host, codec) = (Arc::clone(&context.host), context.legs.codec());
        let observe = Observer { host, call: arrival.call.clone(), codec };
        info!(channel = %arrival.caller, number = arrival.number, bot = arrival.bot.name(), adopted = arrival.adopted, "a call has arrived");
        observe.tell(Observed::Arrived {
            number: arrival.number.clone(),
            bot: arrival.bot.name().to_owned(),
            adopted: arrival.adopted,
        });
        let (end, media) = converse(&context, &arrival, events, &observe).await;
        observe.ended(end, media);
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
    let codec = context.legs.codec();
    let mut conversation = match Box::pin(Conversation::begin(&context.host, &arrival.call, &arrival.bot, codec)).await
    {
        Ok(conversation) => conversation,
        Err(error) => {
            let end = CallEnd::SetUp(set_up::worker(error));
            Box::pin(tear_down::tear_down(context, arrival, &end)).await;
            return (end, None);
        }
    };
    let live = LiveCall { context, arrival, events, conversation: &mut conversation, observe };
    let end = live.run().await;
    let stats = conversation.fall_silent(&context.host).await;
    // The caller does not wait for engines to say good-bye.
    tokio::join!(Box::pin(tear_down::tear_down(context, arrival, &end)), Box::pin(conversation.close()));
    (end, stats)
}

struct LiveCall<'a> {
    context: &'a Arc<NodeContext>,
    arrival: &'a Arrival,
    events: mpsc::Receiver<LegEvent>,
    conversation: &'a mut Conversation,
    observe: &'a Observer,
}

impl LiveCall<'_> {
    async fn run(mut self) -> CallEnd {
        let milestones = Milestones::default();
        if !self.conversation.has_first_words() {
            milestones.first_words.notify_one();
        }
        let media = self.conversation.media().clone();
        // Boxed, here and below: a call's task is as large as the largest thing it ever waits for, and lasts.
        let mut set_up = Some(Box::pin(set_up::set_up(self.context, self.arrival, &media, &milestones)));
        let mut connected = false;
        let mut asked_to_end = false;
        let mut renewal = interval(self.context.renewal);
        let mut renewals = JoinSet::new();
        let mut renewed_at = Instant::now();
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renewal.reset();
        let (mut heard_by, mut lost_by) = (None, None);

        let end = loop {
            let step = tokio::select! {
                result = until_done(&mut set_up) => {
                    set_up = None;
                    connected = result.is_ok();
                    heard_by = connected.then(|| Instant::now() + DEAF_AFTER);
                    self.set_up_ended(result).await
                }
                Some(event) = self.events.recv() => self.event(event, &milestones, connected, &mut lost_by).await,
                happening = self.conversation.next() => match self.conversation.act(happening, self.observe).await {
                    Step::FirstWords => { milestones.first_words.notify_one(); Step::GoOn }
                    Step::LegLost(loss) => {
                        loss.log();
                        self.leg_gone(connected, &mut lost_by)
                    }
                    other => other,
                },
                _ = renewal.tick(), if renewals.is_empty() => { self.renew_dead_man(&mut renewals, connected); Step::GoOn }
                Some(renewed) = renewals.join_next() => match renewed {
                    // An end that no event told.
                    Ok(Renewal::Gone(Leg::Caller)) => self.conversation.input(Input::CallerHungUp).await,
                    Ok(Renewal::Gone(Leg::Media)) => Step::End(CallEnd::MediaLost),
                    Ok(Renewal::Done) => { renewed_at = Instant::now(); Step::GoOn }
                    // By now the legs have ended by themselves, if they were still there.
                    Ok(Renewal::Failed) | Err(_) if renewed_at.elapsed() > self.context.dead_man => Step::End(CallEnd::AsteriskLost),
                    Ok(Renewal::Failed) | Err(_) => Step::GoOn,
                },
                () = at(heard_by) => { heard_by = None; self.conversation.warn_if_deaf().await; Step::GoOn }
                () = at(lost_by) => Step::End(CallEnd::MediaLost),
                () = self.context.host.end_calls.cancelled(), if !asked_to_end => {
                    asked_to_end = true;
                    self.conversation.input(Input::EndRequested).await
                }
            };
            if let Step::End(end) = step {
                break end;
            }
        };
        if let Some(set_up) = set_up {
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
                self.conversation.input(Input::Connected).await
            }
            Err(error) => Step::End(CallEnd::SetUp(error)),
        }
    }

    async fn event(
        &self,
        event: LegEvent,
        milestones: &Milestones,
        connected: bool,
        lost_by: &mut Option<Instant>,
    ) -> Step {
        match event {
            LegEvent::MediaReady => {
                milestones.media_ready.notify_one();
                Step::GoOn
            }
            LegEvent::MediaGone => self.leg_gone(connected, lost_by),
            LegEvent::Dtmf(digit) => self.conversation.input(Input::Dtmf(digit)).await,
            LegEvent::CallerGone { cause } => {
                debug!(cause, "the caller is gone");
                self.conversation.input(Input::CallerHungUp).await
            }
        }
    }

    /// Our leg, or the bridge, is no more.
    fn leg_gone(&self, connected: bool, lost_by: &mut Option<Instant>) -> Step {
        if !connected {
            let why = self.context.legs.why_gone().map_or(SetUpError::MediaLegGone, SetUpError::from);
            return Step::End(CallEnd::SetUp(why));
        }
        lost_by.get_or_insert_with(|| Instant::now() + LOSS_GRACE);
        Step::GoOn
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

/// Waits until that moment; for ever if there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Waits for what has not ended; for ever if there is nothing.
async fn until_done<F: Future + Unpin>(task: &mut Option<F>) -> F::Output {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
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
