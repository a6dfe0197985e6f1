//! What there is of ours in an Asterisk, asked after each (re)connect: events from before are lost for good.

use super::node::NodeContext;
use crate::ari::{AriError, Bridge, BridgeId, Channel, ChannelId};
use crate::call::CallId;

/// A list of the channels and bridges at one moment.
pub(super) struct Survey {
    channels: Vec<Channel>,
    bridges: Vec<Bridge>,
    /// Calls that were known when the question was asked: only of these can it be said that they are gone.
    pub(super) existed_before: Vec<CallId>,
}

/// Asks an Asterisk. `known` are the calls at this moment.
pub(super) async fn survey(context: &NodeContext, known: Vec<CallId>) -> Result<Survey, AriError> {
    let (channels, bridges) = tokio::try_join!(context.ari.channels(), context.ari.bridges())?;
    Ok(Survey { channels, bridges, existed_before: known })
}

impl Survey {
    pub(super) fn has_channel(&self, id: &ChannelId) -> bool {
        self.channels.iter().any(|channel| channel.id == *id)
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
        self.channels.iter().filter(|channel| !context.is_own(channel.id.as_str())).filter_map(|channel| {
            if channel.dialplan.app_name != "Stasis" {
                return None;
            }
            let args = stasis_args(&channel.dialplan.app_data, &context.app)?;
            Some((channel, args))
        })
    }
}

/// The arguments of `Stasis(app,…)`; `None` if it is another application.
fn stasis_args(app_data: &str, app: &str) -> Option<Vec<String>> {
    let mut parts = app_data.split(',').map(str::to_owned);
    (parts.next()? == app).then(|| parts.collect())
}

#[cfg(test)]
mod tests {
    use super::stasis_args;

    #[test]
    fn only_our_own_application_counts() {
        assert_eq!(stasis_args("arioso,100,x", "arioso"), Some(vec!["100".into(), "x".into()]));
        assert_eq!(stasis_args("arioso", "arioso"), Some(vec![]));
        assert_eq!(stasis_args("arioso-2,100", "arioso"), None);
    }
}
