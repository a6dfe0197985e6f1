//! Taking a call apart, in whatever order its parts died. Everything can be done twice; what is gone already is fine.

use super::live_call::{Arrival, CallEnd};
use super::node::{NodeContext, is_gone};
use crate::ari::{AriError, BridgeId, ChannelId, HangupReason};
use crate::call::DialplanTarget;
use std::sync::Arc;
use tracing::{debug, warn};

/// The channel variable that tells the dialplan why a caller comes back.
const REASON_VARIABLE: &str = "ARIOSO_REASON";

/// Removes the legs and the bridge of a call. The caller is hung up or goes back to the dialplan, as the end says.
pub(super) async fn tear_down(context: &Arc<NodeContext>, arrival: &Arrival, end: &CallEnd) {
    let caller = async {
        if let Some(target) = end.back_to_dialplan() {
            back_to_dialplan(Arc::clone(context), arrival.caller.clone(), end.dialplan_reason(), target.cloned()).await;
        } else if end.hangs_up() {
            done(context, "hang up the caller", context.ari.hang_up(&arrival.caller, HangupReason::Normal).await);
        }
    };
    // The caller first hears what is next; the legs that are ours do not matter to anyone any more.
    tokio::join!(caller, remove_leg(Arc::clone(context), arrival.media.clone()));
    remove_bridge(Arc::clone(context), arrival.bridge.clone()).await;
}

/// Gives a caller back to the dialplan, with the reason (empty when the bot wanted it so), and without our dead-man timer.
pub(super) async fn back_to_dialplan(
    context: Arc<NodeContext>,
    caller: ChannelId,
    reason: &'static str,
    target: Option<DialplanTarget>,
) {
    let ari = &context.ari;
    // Outside our care the timer would end the call in the middle of whatever the dialplan does with it.
    let (timer, variable) =
        tokio::join!(ari.clear_absolute_timeout(&caller), ari.set_variable(&caller, REASON_VARIABLE, reason));
    done(&context, "clear the dead-man timer", timer);
    done(&context, "say why the caller comes back", variable);
    let Err(error) = ari.continue_in_dialplan(&caller, target.as_ref()).await else {
        return debug!(channel = %caller, reason, "back to the dialplan");
    };
    // No answer does not mean that it was not done: a caller who has gone on must not be hung up.
    if !is_gone(&error) && is_still_ours(&context, &caller).await {
        // Better no call than a caller in silence.
        warn!(asterisk = %context.name, channel = %caller, %error, "cannot give the caller back to the dialplan: hanging up");
        if ari.hang_up(&caller, HangupReason::Normal).await.is_err() {
            done(&context, "set the dead-man timer again", ari.set_absolute_timeout(&caller, context.dead_man).await);
        }
    }
}

/// Whether a caller is in our application; assumed when Asterisk does not say.
async fn is_still_ours(context: &NodeContext, caller: &ChannelId) -> bool {
    match context.ari.channel(caller).await {
        Ok(Some(channel)) => context.has_taken(&channel),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Ends a media leg of ours.
pub(super) async fn remove_leg(context: Arc<NodeContext>, leg: ChannelId) {
    done(&context, "remove a media leg", context.ari.hang_up(&leg, HangupReason::Normal).await);
}

/// Removes a bridge of ours; whoever is in it stays alive.
pub(super) async fn remove_bridge(context: Arc<NodeContext>, bridge: BridgeId) {
    done(&context, "remove a bridge", context.ari.delete_bridge(&bridge).await);
}

/// What cannot be removed now (Asterisk is away) is found by the next look, or ends by its timer.
fn done<T>(context: &NodeContext, what: &str, result: Result<T, AriError>) {
    if let Err(error) = result
        && !is_gone(&error)
    {
        debug!(asterisk = %context.name, %error, "cannot {what} now");
    }
}
