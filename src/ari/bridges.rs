//! Requests about bridges.

use super::{Ari, AriError, Bridge, BridgeId, ChannelId, Removal};
use serde::Serialize;

/// Whether those in a bridge are told with whom they talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectedLine {
    /// They are. A phone may get a re-INVITE for it.
    Announce,
    /// They are not. Right for media legs, which have no name and number. Needs Asterisk 18; before, it is ignored.
    Inhibit,
}

impl Ari {
    /// All bridges, of all applications and none.
    pub async fn bridges(&self) -> Result<Vec<Bridge>, AriError> {
        self.get(&["bridges"], &[]).await
    }

    /// One bridge as it is now; `None` when it is gone.
    pub async fn bridge(&self, id: &BridgeId) -> Result<Option<Bridge>, AriError> {
        match self.get(&["bridges", id.as_str()], &[]).await {
            Ok(bridge) => Ok(Some(bridge)),
            Err(AriError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a mixing bridge. It stays until it is deleted, even when it is empty and its maker is gone.
    ///
    /// [`AriError::AlreadyExists`] when the id is in use.
    pub async fn create_bridge(&self, id: &BridgeId, name: &str) -> Result<Bridge, AriError> {
        #[derive(Serialize)]
        struct Parameters<'a> {
            r#type: &'static str,
            name: &'a str,
        }
        let created = self.create(&["bridges", id.as_str()], &Parameters { r#type: "mixing", name }).await;
        created.map_err(AriError::conflict_is_duplicate)
    }

    /// Deletes a bridge. Channels in it come back to their application, alive.
    pub async fn delete_bridge(&self, id: &BridgeId) -> Result<Removal, AriError> {
        self.remove(&["bridges", id.as_str()], &[]).await
    }

    /// Puts channels into a bridge, taking them out of the one that they are in. Waits until each has done it.
    ///
    /// [`AriError::NotFound`] when the bridge or a channel is gone, [`AriError::NotInStasis`] when a channel is not in
    /// an application (yet: wait for its `StasisStart`), [`AriError::Conflict`] while one is being recorded.
    pub async fn add_channels(
        &self,
        id: &BridgeId,
        channels: &[&ChannelId],
        connected_line: ConnectedLine,
    ) -> Result<(), AriError> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Parameters<'a> {
            channel: &'a [&'a ChannelId],
            inhibit_connected_line_updates: bool,
        }
        let inhibit_connected_line_updates = connected_line == ConnectedLine::Inhibit;
        let parameters = Parameters { channel: channels, inhibit_connected_line_updates };
        let path = ["bridges", id.as_str(), "addChannel"];
        self.command(&path, &parameters).await.map_err(AriError::channel_is_not_available)
    }
}
