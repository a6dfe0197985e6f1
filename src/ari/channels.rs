//! Requests about channels: the caller's leg and ours.

use super::{Ari, AriError, Channel, ChannelId, Removal};
use crate::call::DialplanTarget;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Why we hang up, which is what the far end is told (Q.850, and the SIP answer before the call is up).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HangupReason {
    /// The conversation is over. Before answering, SIP says 603.
    #[default]
    Normal,
    /// Something broke here: 500.
    Failure,
}

impl HangupReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Failure => "failure",
        }
    }
}

/// Variables to set on a channel, dialplan functions included: name → value.
pub type Variables = BTreeMap<String, String>;

/// The dialplan function of the time-out that ends a channel, whatever it does.
const ABSOLUTE_TIMEOUT: &str = "TIMEOUT(absolute)";

/// The name and the value that make a channel end by itself after `limit`, whole seconds and at least one.
///
/// The dead-man timer of a leg: given in the variables that it is made with, set anew by
/// [`Ari::set_absolute_timeout`]. Where `func_timeout.so` is not loaded Asterisk accepts it and does nothing.
pub fn absolute_timeout(limit: Duration) -> (String, String) {
    let seconds = limit.as_secs() + u64::from(limit.subsec_nanos() > 0);
    (ABSOLUTE_TIMEOUT.to_owned(), seconds.max(1).to_string())
}

impl Ari {
    /// All channels, of all applications and none.
    pub async fn channels(&self) -> Result<Vec<Channel>, AriError> {
        self.get(&["channels"], &[]).await
    }

    /// One channel as it is now; `None` when it is gone.
    pub async fn channel(&self, id: &ChannelId) -> Result<Option<Channel>, AriError> {
        match self.get(&["channels", id.as_str()], &[]).await {
            Ok(channel) => Ok(Some(channel)),
            Err(AriError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Answers a call that came in. Waits until the channel has done it.
    pub async fn answer(&self, id: &ChannelId) -> Result<(), AriError> {
        self.channel_command(id, "answer", &NoParameters {}).await
    }

    /// Lets the caller of an unanswered call hear ringing.
    pub async fn ring(&self, id: &ChannelId) -> Result<(), AriError> {
        self.channel_command(id, "ring", &NoParameters {}).await
    }

    /// Hands a channel back to the dialplan, at the target or, without one, at the priority after the `Stasis()` that
    /// brought it here; its `StasisEnd` follows.
    pub async fn continue_in_dialplan(&self, id: &ChannelId, target: Option<&DialplanTarget>) -> Result<(), AriError> {
        #[derive(Default, Serialize)]
        struct Parameters<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            context: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            extension: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            priority: Option<u32>,
        }
        let parameters = target.map_or_else(Parameters::default, |target| Parameters {
            context: (!target.context.is_empty()).then_some(target.context.as_str()),
            extension: Some(&target.extension),
            priority: Some(target.priority),
        });
        self.channel_command(id, "continue", &parameters).await
    }

    /// Ends a channel, in our application or not.
    pub async fn hang_up(&self, id: &ChannelId, reason: HangupReason) -> Result<Removal, AriError> {
        self.remove(&["channels", id.as_str()], &[("reason", reason.as_str())]).await
    }

    /// Plays a sound (`sound:hello-world`, `tone:ring`) to a channel, which waits for its end.
    pub async fn play(&self, id: &ChannelId, media: &str) -> Result<(), AriError> {
        #[derive(Serialize)]
        struct Parameters<'a> {
            media: &'a str,
        }
        self.channel_command(id, "play", &Parameters { media }).await
    }

    /// Sets a variable, or a dialplan function that can be written, on a channel in Stasis.
    ///
    /// Asterisk says yes to a function that it does not know as well: read back what matters.
    pub async fn set_variable(&self, id: &ChannelId, name: &str, value: &str) -> Result<(), AriError> {
        #[derive(Serialize)]
        struct Parameters<'a> {
            variable: &'a str,
            value: &'a str,
        }
        self.channel_command(id, "variable", &Parameters { variable: name, value }).await
    }

    /// Reads a variable or function of a channel; `None` when there is no such variable, or no such channel.
    pub async fn variable(&self, id: &ChannelId, name: &str) -> Result<Option<String>, AriError> {
        #[derive(Deserialize)]
        struct Answer {
            value: String,
        }
        match self.get::<Answer>(&["channels", id.as_str(), "variable"], &[("variable", name)]).await {
            Ok(answer) => Ok(Some(answer.value)),
            Err(AriError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a channel end by itself unless this is called again within `limit` (whole seconds, at least one).
    ///
    /// [`AriError::NotFound`] and [`AriError::NotInStasis`] mean that the leg is not ours any more.
    pub async fn set_absolute_timeout(&self, id: &ChannelId, limit: Duration) -> Result<(), AriError> {
        let (name, value) = absolute_timeout(limit);
        self.set_variable(id, &name, &value).await
    }

    /// Takes the dead-man timer of [`Self::set_absolute_timeout`] away: the channel may live for ever.
    pub async fn clear_absolute_timeout(&self, id: &ChannelId) -> Result<(), AriError> {
        self.set_variable(id, ABSOLUTE_TIMEOUT, "0").await
    }

    async fn channel_command(
        &self,
        id: &ChannelId,
        command: &str,
        parameters: &impl Serialize,
    ) -> Result<(), AriError> {
        let done = self.command(&["channels", id.as_str(), command], parameters).await;
        done.map_err(AriError::conflict_is_not_in_stasis)
    }
}

#[derive(Serialize)]
struct NoParameters {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_man_timer_is_never_zero_which_would_switch_it_off() {
        let value = |limit| absolute_timeout(limit).1;
        assert_eq!(value(Duration::from_secs(60)), "60");
        assert_eq!(value(Duration::from_millis(1500)), "2");
        assert_eq!(value(Duration::ZERO), "1");
    }
}
