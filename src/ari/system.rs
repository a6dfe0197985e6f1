//! Requests about Asterisk itself.

use super::{Ari, AriError, AsteriskInfo, Module};
use serde::de::IgnoredAny;

impl Ari {
    /// Version, identity and start time.
    pub async fn info(&self) -> Result<AsteriskInfo, AriError> {
        self.get(&["asterisk", "info"], &[]).await
    }

    /// Whether Asterisk answers and takes our login.
    pub async fn ping(&self) -> Result<(), AriError> {
        self.get::<IgnoredAny>(&["asterisk", "ping"], &[]).await.map(drop)
    }

    /// All modules that are loaded.
    pub async fn modules(&self) -> Result<Vec<Module>, AriError> {
        self.get(&["asterisk", "modules"], &[]).await
    }
}
