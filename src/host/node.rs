//! One Asterisk: reads its events and hands each to the call that it belongs to. Never waits for Asterisk or a call, so
//! that the events socket is always read.

use super::bots::Bot;
use super::context::HostContext;
use super::legs::Legs;
use super::live_call::{self, Arrival, LegEvent};
use super::sweep::{self, Survey};
use super::tear_down;
use crate::ari::{Ari, AriError, Bridge, BridgeId, Channel, ChannelId, Event, EventStream, Signal};
use crate::call::CallId;
use crate::wire::media_websocket::Format;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};
use uuid::Uuid;

/// Events that may wait for a call. A call handles each at once, so a full queue means that it is stuck; then the event
/// is dropped with a line in the log. An end that is missed so is noticed by the next renewal of a dead-man timer.
const MAILBOX: usize = 64;

/// What all calls of one Asterisk share.
pub(super) struct NodeContext {
    /// What the operator calls this Asterisk.
    pub(super) name: String,
    pub(super) ari: Ari,
    pub(super) app: String,
    /// Every leg ends by itself after so long without renewal.
    pub(super) dead_man: Duration,
    /// How often that timer is renewed.
    pub(super) renewal: Duration,
    /// How its media legs are made.
    pub(super) legs: Legs,
    /// How control messages on their WebSockets are written.
    pub(super) control: Format,
    pub(super) host: Arc<HostContext>,
}

impl NodeContext {
    /// Begins the ids of bridges and media legs that this program made for this application.
    fn own_prefix(&self) -> String {
        format!("arioso-{}-", self.app)
    }

    pub(super) fn media_leg_id(&self, call: &CallId) -> Option<ChannelId> {
        ChannelId::new(format!("{}{call}", self.own_prefix())).ok()
    }

    pub(super) fn bridge_id(&self, call: &CallId) -> Option<BridgeId> {
        BridgeId::new(format!("{}{call}", self.own_prefix())).ok()
    }

    /// Whether a channel or bridge with this id was made for this application, now or in an earlier life. Another node's
    /// name may begin with ours, so the rest must be the id of a call.
    pub(super) fn is_own(&self, id: &str) -> bool {
        is_own(id, &self.own_prefix())
    }

    /// Whether the channel is a caller in our application.
    pub(super) fn has_taken(&self, channel: &Channel) -> bool {
        sweep::stasis_args(channel, &self.app).is_some()
    }
}

/// A call as the node knows it.
struct Registered {
    caller: ChannelId,
    media: ChannelId,
    bridge: BridgeId,
    mailbox: mpsc::Sender<LegEvent>,
    /// Our leg has entered the application.
    media_up: bool,
}

/// What comes back to the node from its tasks.
enum Report {
    /// Nothing of the call is left in Asterisk.
    CallGone(CallId),
    /// A sweep has looked.
    Surveyed(Survey),
}

/// Reads the events of one Asterisk until told to stop. See the module's documentation.
pub(super) struct Node {
    context: Arc<NodeContext>,
    calls: HashMap<CallId, Registered>,
    /// Which call a channel belongs to: the caller's and our own leg.
    channels: HashMap<ChannelId, CallId>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    /// Everything spawned for calls; drained at the end.
    tasks: TaskTracker,
    draining: bool,
}

impl Node {
    pub(super) fn new(context: Arc<NodeContext>) -> Self {
        Self {
            context,
            calls: HashMap::new(),
            channels: HashMap::new(),
            // Tasks wait for room here, the node never does: any size will do.
            reports: mpsc::channel(256),
            tasks: TaskTracker::new(),
            draining: false,
        }
    }

    /// Runs until `drain` is cancelled and the last call is gone.
    /// `events` has just been connected.
    pub(super) async fn run(mut self, mut events: EventStream, drain: CancellationToken) {
        self.signal(Signal::Connected);
        // What a request that failed has left behind is found by looking now and then.
        let mut look = interval(self.context.dead_man);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        loop {
            tokio::select! {
                signal = events.next() => match signal {
                    Some(signal) => self.signal(signal),
                    None => break,
                },
                Some(report) = self.reports.1.recv() => self.report(report),
                _ = look.tick() => self.sweep(),
                () = drain.cancelled(), if !self.draining => {
                    self.draining = true;
                    info!(asterisk = %self.context.name, calls = self.calls.len(), "stopping: no new calls are taken");
                }
            }
            if self.draining && self.calls.is_empty() {
                break;
            }
        }
        // From here on Asterisk sends callers to the dialplan's fallback; those that it handed us meanwhile go there too.
        events.close().await;
        self.give_back_the_rest().await;
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn give_back_the_rest(&self) {
        match sweep::survey(&self.context, Vec::new()).await {
            Ok(survey) => survey.callers(&self.context).for_each(|(channel, _)| self.turn_away(channel, "draining")),
            Err(error) => {
                debug!(asterisk = %self.context.name, %error, "cannot look for callers who came at the last moment")
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        let name = &self.context.name;
        match signal {
            Signal::Connected => {
                info!(asterisk = %name, app = %self.context.app, "connected; calls can come in");
                self.sweep();
            }
            Signal::Disconnected { cause } => {
                warn!(asterisk = %name, %cause, calls = self.calls.len(), "lost the events socket; calls go on, reconnecting");
            }
            // The first time says it all, then it is only still so.
            Signal::Unavailable { error, attempt: 1, .. } => {
                warn!(asterisk = %name, "{error}; trying again until it works")
            }
            Signal::Unavailable { attempt, retry_in, .. } => {
                debug!(asterisk = %name, attempt, ?retry_in, "still not connected");
            }
            Signal::Replaced => {
                error!(asterisk = %name, app = %self.context.app, "another program has taken the application's name: give each node a name of its own");
            }
            Signal::Event(event) => self.event(event),
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::StasisStart { channel, args, .. } => self.arrived(&channel, args),
            Event::ChannelDtmfReceived { channel, digit, .. } => self.tell(&channel.id, LegEvent::Dtmf(digit)),
            Event::StasisEnd { channel } => self.left(&channel.id),
            Event::ChannelDestroyed { channel, cause, cause_text, .. } => {
                self.tell_gone(&channel.id, Some(format!("{cause_text} ({cause})")));
            }
            Event::BridgeDestroyed { bridge } => self.bridge_gone(&bridge),
            _ => {}
        }
    }

    /// A channel entered our application: one of our own legs, or a caller.
    fn arrived(&mut self, channel: &Channel, args: Vec<String>) {
        if let Some(call) = self.channels.get(&channel.id) {
            // The caller's own StasisStart can come twice (after a reconnect); our leg's is what its call waits for.
            let call = call.clone();
            if self.calls.get(&call).is_some_and(|registered| registered.media == channel.id) {
                self.media_is_up(&call);
            }
        } else if self.context.is_own(channel.id.as_str()) {
            // A leg whose call was over before Asterisk had made it.
            debug!(channel = %channel.id, "removing a leg without a call");
            self.tasks.spawn(tear_down::remove_leg(Arc::clone(&self.context), channel.id.clone()));
        } else {
            self.take_call(channel, args, false);
        }
    }

    fn media_is_up(&mut self, call: &CallId) {
        let Some(registered) = self.calls.get_mut(call) else { return };
        registered.media_up = true;
        let media = registered.media.clone();
        if registered.mailbox.is_closed() {
            // The call is over; its tear-down may have looked for the leg before there was one.
            self.tasks.spawn(tear_down::remove_leg(Arc::clone(&self.context), media));
        } else {
            self.tell(&media, LegEvent::MediaReady);
        }
    }

    fn take_call(&mut self, channel: &Channel, args: Vec<String>, adopted: bool) {
        let number = routing_number(&args, &channel.dialplan.exten).to_owned();
        if self.draining {
            info!(channel = %channel.id, number, "no new calls are taken: back to the dialplan");
            return self.turn_away(channel, "draining");
        }
        let Ok(permit) = Arc::clone(&self.context.host.capacity).try_acquire_owned() else {
            warn!(channel = %channel.id, number, "at the limit of media.max_calls: back to the dialplan");
            return self.turn_away(channel, "limit-reached");
        };
        let Some(bot) = self.bot_for(&number) else {
            warn!(channel = %channel.id, number, "no route for this number: back to the dialplan");
            return self.turn_away(channel, "no-route");
        };
        let call = CallId::new(Uuid::new_v4().simple().to_string());
        let ids =
            call.as_ref().and_then(|call| Some((self.context.media_leg_id(call)?, self.context.bridge_id(call)?)));
        let (Some(call), Some((media, bridge))) = (call, ids) else {
            error!("an id of our own making is no valid id; is the application's name too long?");
            return self.turn_away(channel, "set-up-failed");
        };
        let (mailbox, events) = mpsc::channel(MAILBOX);
        let registered = Registered {
            caller: channel.id.clone(),
            media: media.clone(),
            bridge: bridge.clone(),
            mailbox,
            media_up: false,
        };
        // Registered before the first request: its events can overtake the answer.
        self.channels.insert(channel.id.clone(), call.clone());
        self.channels.insert(media.clone(), call.clone());
        self.calls.insert(call.clone(), registered);
        let arrival = Arrival { call: call.clone(), caller: channel.id.clone(), media, bridge, number, bot, adopted };
        let context = Arc::clone(&self.context);
        let reports = self.reports.0.clone();
        self.tasks.spawn(async move {
            live_call::run(context, arrival, events).await;
            drop(permit);
            // The node is gone only when all of its tasks are, so somebody listens.
            let _ = reports.send(Report::CallGone(call)).await;
        });
    }

    fn bot_for(&self, number: &str) -> Option<Arc<Bot>> {
        let route = self.context.host.config.route(number)?;
        self.context.host.bots.get(&route.bot)
    }

    fn turn_away(&self, channel: &Channel, reason: &'static str) {
        self.tasks.spawn(tear_down::back_to_dialplan(Arc::clone(&self.context), channel.id.clone(), reason, None));
    }

    fn tell(&self, channel: &ChannelId, event: LegEvent) {
        let call = self.channels.get(channel).and_then(|call| Some((call, self.calls.get(call)?)));
        let Some((id, registered)) = call else { return };
        if let Err(mpsc::error::TrySendError::Full(event)) = registered.mailbox.try_send(event) {
            error!(call = %id, ?event, "the call does not take its events: this one is lost");
        }
    }

    /// A channel left our application. If it comes back it is a new call.
    fn left(&mut self, channel: &ChannelId) {
        self.tell_gone(channel, None);
        let is_caller =
            |call| self.calls.get(call).is_some_and(|registered: &Registered| registered.caller == *channel);
        if self.channels.get(channel).is_some_and(is_caller) {
            self.channels.remove(channel);
        }
    }

    fn tell_gone(&self, channel: &ChannelId, cause: Option<String>) {
        let call = self.channels.get(channel).and_then(|call| self.calls.get(call));
        let Some(registered) = call else { return };
        let event = if registered.caller == *channel { LegEvent::CallerGone { cause } } else { LegEvent::MediaGone };
        self.tell(channel, event);
    }

    fn bridge_gone(&self, bridge: &Bridge) {
        if let Some(registered) = self.calls.values().find(|registered| registered.bridge == bridge.id) {
            self.tell(&registered.media, LegEvent::MediaGone);
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::CallGone(call) => {
                if let Some(registered) = self.calls.remove(&call) {
                    for channel in [&registered.caller, &registered.media] {
                        // The caller may be in another call of ours by now.
                        if self.channels.get(channel) == Some(&call) {
                            self.channels.remove(channel);
                        }
                    }
                }
            }
            Report::Surveyed(survey) => self.surveyed(survey),
        }
    }

    /// Asks Asterisk, beside everything else, what there is of ours.
    fn sweep(&self) {
        let context = Arc::clone(&self.context);
        let reports = self.reports.0.clone();
        let known = self.calls.iter().map(|(call, registered)| (call.clone(), registered.media_up)).collect();
        self.tasks.spawn(async move {
            match sweep::survey(&context, known).await {
                Ok(survey) => {
                    let _ = reports.send(Report::Surveyed(survey)).await;
                }
                Err(error) => warn!(asterisk = %context.name, %error, "cannot list channels and bridges; the next look tries again"),
            }
        });
    }

    /// Compares what Asterisk has with what we know: lost ends are told, callers without a call are taken over, the rest
    /// is removed.
    fn surveyed(&mut self, survey: Survey) {
        for (call, media_was_up) in &survey.known {
            let Some(registered) = self.calls.get(call) else { continue };
            if !survey.has_caller(&registered.caller, &self.context) {
                self.tell(&registered.caller, LegEvent::CallerGone { cause: None });
            } else if *media_was_up && !survey.has_channel(&registered.media) {
                self.tell(&registered.media, LegEvent::MediaGone);
            } else if !registered.media_up && survey.has_channel(&registered.media) {
                // Its StasisStart was lost with the events socket.
                self.media_is_up(call);
            }
        }
        for leg in survey.own_legs(&self.context).filter(|id| !self.channels.contains_key(id)) {
            info!(channel = %leg, "removing a media leg without a call");
            self.tasks.spawn(tear_down::remove_leg(Arc::clone(&self.context), leg.clone()));
        }
        let known: Vec<&BridgeId> = self.calls.values().map(|registered| &registered.bridge).collect();
        for bridge in survey.own_bridges(&self.context).filter(|id| !known.contains(id)) {
            info!(%bridge, "removing a bridge without a call");
            self.tasks.spawn(tear_down::remove_bridge(Arc::clone(&self.context), bridge.clone()));
        }
        let orphans: Vec<_> =
            survey.callers(&self.context).filter(|found| !self.channels.contains_key(&found.0.id)).collect();
        for (channel, args) in orphans {
            info!(channel = %channel.id, "taking over a caller who was left in our application");
            self.take_call(channel, args, true);
        }
    }
}

/// The number that a call is routed by: the first argument of `Stasis()` after the application's name if there is one
/// that is not empty, else the extension that was dialled.
fn routing_number<'a>(args: &'a [String], extension: &'a str) -> &'a str {
    args.first().map(String::as_str).filter(|number| !number.is_empty()).unwrap_or(extension)
}

/// Whether an id is one that [`NodeContext::media_leg_id`] makes with this prefix.
fn is_own(id: &str, prefix: &str) -> bool {
    let call = id.strip_prefix(prefix).unwrap_or_default();
    call.len() == uuid::fmt::Simple::LENGTH && call.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An error of ARI which means that the other side is gone, so that there is nothing to do any more.
pub(super) const fn is_gone(error: &AriError) -> bool {
    matches!(error, AriError::NotFound { .. } | AriError::NotInStasis { .. })
}

#[cfg(test)]
mod tests {
    use super::{is_own, routing_number};

    #[test]
    fn the_legs_of_a_node_whose_name_begins_like_ours_are_not_ours() {
        let call = uuid::Uuid::new_v4().simple();
        assert!(is_own(&format!("arioso-bot-{call}"), "arioso-bot-"));
        assert!(!is_own(&format!("arioso-bot-2-{call}"), "arioso-bot-"));
        assert!(!is_own("arioso-bot-", "arioso-bot-"));
    }

    #[test]
    fn the_first_argument_decides_and_the_dialled_number_stands_in() {
        let args = ["200".to_owned(), "x".to_owned()];
        assert_eq!(routing_number(&args, "100"), "200");
        assert_eq!(routing_number(&["".to_owned()], "100"), "100");
        assert_eq!(routing_number(&[], "100"), "100");
    }
}
