//! What there is of ours in an Asterisk, asked after each (re)connect: events from before are lost for good.

use super::node::NodeContext;
use crate::ari::{AriError, Bridge, BridgeId, Channel, ChannelId};
use crate::call::CallId;

/// A list of the channels and bridges at one moment.
pub(super) struct Survey {
    channels: Vec<Channel>,
    bridges: Vec<Bridge>,
    /// Calls that were known when the question was asked, and whether their media leg was up: only of these can it be
    /// said that they are gone.
    pub(super) known: Vec<(CallId, bool)>,
}

/// Asks an Asterisk. `known` are the calls at this moment.
pub(super) async fn survey(context: &NodeContext, known: Vec<(CallId, bool)>) -> Result<Survey, AriError> {
    let (channels, bridges) = tokio::try_join!(context.ari.channels(), context.ari.bridges())?;
    Ok(Survey { channels, bridges, known })
}

impl Survey {
    pub(super) fn has_channel(&self, id: &ChannelId) -> bool {
        self.channels.iter().any(|channel| channel.id == *id)
    }

    /// Whether this caller is still in our application.
    pub(super) fn has_caller(&self, id: &ChannelId, context: &NodeContext) -> bool {
        self.channels.iter().any(|channel| channel.id == *id && context.has_taken(channel))
    }

    /// Media legs that this program made, now or in an earlier life.
    pub(super) fn own_legs(&self, context: &NodeContext) -> impl Iterator<Item = &ChannelId> {
        self.channels.iter().map(|channel| &channel.id).filter(|id| context.is_own(id.as_str()))
    }

    /// Bridges that this program made.
    pub(super) fn own_bridges(&self, context: &NodeContext) -> impl Iterator<Item = &BridgeId> {
        self.bridges.iter().map(|bridge| &bridge.id).filter(|id| context.is_own(id.as_str()))
    }

    /// Callers in our application, with the arguments that the dialplan gave.
    pub(super) fn callers(&self, context: &NodeContext) -> impl Iterator<Item = (&Channel, Vec<String>)> {
        let callers = self.channels.iter().filter(|channel| !context.is_own(channel.id.as_str()));
        callers.filter_map(|channel| Some((channel, stasis_args(channel, &context.app)?)))
    }
}

/// The arguments of `Stasis(app,…)` if that is what the channel is in; `None` if it is somewhere else.
pub(super) fn stasis_args(channel: &Channel, app: &str) -> Option<Vec<String>> {
    let position = &channel.dialplan;
    if position.app_name == "Stasis" { args_for(app, &position.app_data) } else { None }
}

fn args_for(app: &str, app_data: &str) -> Option<Vec<String>> {
    let mut parts = app_data.split(',').map(str::to_owned);
    (parts.next()? == app).then(|| parts.collect())
}

#[cfg(test)]
mod tests {
    use super::args_for;

    #[test]
    fn only_our_own_application_counts() {
        assert_eq!(args_for("arioso", "arioso,100,x"), Some(vec!["100".into(), "x".into()]));
        assert_eq!(args_for("arioso", "arioso"), Some(vec![]));
        assert_eq!(args_for("arioso", "arioso-2,100"), None);
    }
}
