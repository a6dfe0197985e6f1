//! Calls that a dialplan sends straight to us, by `AudioSocket(UUID,host:port)`: a connection and nothing else, without ARI.
//!
//! The UUID is secret and route at once. However such a call ends, we close the connection and the dialplan goes on.

use super::bots::{Bot, DIALPLAN_RATE};
use super::context::HostContext;
use super::conversation::{Conversation, DEAF_AFTER, Observer, Step};
use super::live_call::CallEnd;
use super::observation::Observed;
use super::set_up;
use crate::call::{CallId, Input};
use crate::config::{AudioSocketId, BotName};
use crate::media::MediaStats;
use crate::transport::Leg;
use crate::transport::listen::{AudioSocketListener, DialplanCall, DialplanCalls};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};
use uuid::Uuid;

/// Takes calls from dialplans until told to stop.
pub(super) struct DialplanEntrance {
    pub(super) host: Arc<HostContext>,
    pub(super) listener: Arc<AudioSocketListener>,
    pub(super) calls: DialplanCalls,
}

impl DialplanEntrance {
    /// Runs until `drain` is cancelled and the last call is gone.
    pub(super) async fn run(mut self, drain: CancellationToken) {
        let host = Arc::clone(&self.host);
        let routes: HashMap<Uuid, (AudioSocketId, BotName)> = host
            .config
            .audiosocket_routes()
            .map(|(id, bot)| (Uuid::from_bytes(id.bytes()), (id, bot.clone())))
            .collect();
        self.listener.set_dialplan_uuids(routes.keys().copied().collect());
        info!(port = self.listener.local_addr().port(), "calls of dialplans can come in by AudioSocket()");
        let tasks = TaskTracker::new();
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                Some(call) = self.calls.recv() => {
                    if let Some((id, bot)) = routes.get(&call.uuid) {
                        take(&host, &tasks, call, *id, bot);
                    }
                }
            }
        }
        // From here on they are strangers, whose connections are closed; those that wait are dropped, which closes them too.
        self.listener.set_dialplan_uuids(HashSet::new());
        drop(self.calls);
        tasks.close();
        tasks.wait().await;
    }
}

/// Makes the connection a call, or closes it.
fn take(host: &Arc<HostContext>, tasks: &TaskTracker, call: DialplanCall, id: AudioSocketId, bot: &BotName) {
    let remote = call.remote;
    let Ok(permit) = Arc::clone(&host.capacity).try_acquire_owned() else {
        return warn!(%remote, %id, "at the limit of media.max_calls: back to the dialplan");
    };
    // A route names a bot that exists, and 32 digits are a valid id.
    let (Some(bot), Some(call_id)) = (host.bots.get(bot), CallId::new(Uuid::new_v4().simple().to_string())) else {
        return;
    };
    let host = Arc::clone(host);
    tasks.spawn(async move {
        let span = info_span!("call", id = %call_id);
        run(host, call_id, call, id, &bot).instrument(span).await;
        drop(permit);
    });
}

async fn run(host: Arc<HostContext>, call: CallId, came: DialplanCall, id: AudioSocketId, bot: &Bot) {
    let observe = Observer { host: Arc::clone(&host), call: call.clone() };
    let number = format!("audiosocket {id}");
    info!(remote = %came.remote, number, bot = bot.name(), "a call has arrived");
    observe.tell(Observed::Arrived { number, bot: bot.name().to_owned(), adopted: false });
    let (end, media) = converse(&host, &call, came.leg, bot, &observe).await;
    observe.ended(end, media);
}

async fn converse(
    host: &HostContext,
    call: &CallId,
    leg: Leg,
    bot: &Bot,
    observe: &Observer,
) -> (CallEnd, Option<MediaStats>) {
    let failed = |error| CallEnd::SetUp(set_up::worker(error));
    let mut conversation = match Conversation::begin(host, call, bot, DIALPLAN_RATE).await {
        Ok(conversation) => conversation,
        Err(error) => return (failed(error), None),
    };
    let end = match conversation.media().attach(leg).await {
        Ok(()) => {
            observe.tell(Observed::Connected);
            talk(host, &mut conversation, observe).await
        }
        Err(error) => failed(error),
    };
    let stats = conversation.fall_silent(host).await;
    conversation.close().await;
    (end, stats)
}

/// From the first moment, in which the two sides hear each other, to the end.
async fn talk(host: &HostContext, conversation: &mut Conversation, observe: &Observer) -> CallEnd {
    let mut step = conversation.input(Input::Connected).await;
    let mut asked_to_end = false;
    let mut listened = false;
    let deaf = sleep(DEAF_AFTER);
    tokio::pin!(deaf);
    loop {
        step = match step {
            Step::End(end) => return end,
            Step::LegLost(loss) => {
                // The connection is the caller.
                debug!(%loss, "the connection is gone");
                conversation.input(Input::CallerHungUp).await
            }
            Step::GoOn | Step::FirstWords => tokio::select! {
                happening = conversation.next() => conversation.act(happening, observe).await,
                () = &mut deaf, if !listened => {
                    listened = true;
                    conversation.warn_if_deaf().await;
                    Step::GoOn
                }
                () = host.end_calls.cancelled(), if !asked_to_end => {
                    asked_to_end = true;
                    conversation.input(Input::EndRequested).await
                }
            },
        };
    }
}
