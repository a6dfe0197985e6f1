//! Requests about our application: what it gets events of, which events it gets, whether its name is free.

use super::events_socket::register_briefly;
use super::{Application, Ari, AriError, ChannelId};
use crate::config::AppName;
use serde::Serialize;
use std::time::Duration;

/// Events that come in numbers and that a voice-bot host has no use for.
pub(super) const UNWANTED_EVENTS: [&str; 5] =
    ["ChannelVarset", "ChannelDialplan", "ChannelCallerId", "ChannelConnectedLine", "DeviceStateChanged"];

/// Who uses the name of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppUse {
    /// Nobody.
    Free,
    /// A program is connected under it now.
    Connected,
    /// It is subscribed to calls. Either a program is connected, or one was, and its calls live on: Asterisk shows the
    /// same for both.
    HasCalls,
}

impl Ari {
    /// Our application; `None` when Asterisk does not know it.
    pub async fn application(&self) -> Result<Option<Application>, AriError> {
        match self.get(&["applications", self.settings.app.as_str()], &[]).await {
            Ok(application) => Ok(Some(application)),
            Err(AriError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Subscribes our application to a channel until the channel ends, so that `ChannelDestroyed` with its cause comes
    /// for a call that the dialplan brought.
    ///
    /// [`AriError::NotFound`] when the channel is gone.
    pub async fn subscribe(&self, channel: &ChannelId) -> Result<(), AriError> {
        let subscribed: Result<Application, _> = self.create(&self.subscription(), &EventSource::of(channel)).await;
        match subscribed {
            Ok(_) => Ok(()),
            Err(AriError::Unprocessable { request, message }) => Err(AriError::NotFound { request, message }),
            Err(error) => Err(error),
        }
    }

    fn subscription(&self) -> [&str; 3] {
        ["applications", self.settings.app.as_str(), "subscription"]
    }

    /// Says which types of event our application does not want. Lasts as long as Asterisk keeps the application.
    ///
    /// The other way round, a list of wanted types, would also silence the answers of REST over the socket.
    pub async fn set_event_filter(&self, unwanted: &[&str]) -> Result<(), AriError> {
        #[derive(Serialize)]
        struct Filter<'a> {
            disallowed: Vec<EventType<'a>>,
        }
        #[derive(Serialize)]
        struct EventType<'a> {
            r#type: &'a str,
        }
        let disallowed = unwanted.iter().map(|&name| EventType { r#type: name }).collect();
        self.put(&["applications", self.settings.app.as_str(), "eventFilter"], &Filter { disallowed }).await
    }

    /// Whether another program uses the name of our application. For a time when we are not connected ourselves.
    ///
    /// Asterisk does not say who is connected, and it keeps an application whose program is gone until it happens to
    /// tidy up, which is when any application ends. So, when there is one without subscriptions, a second one with a
    /// throw-away name is opened and closed: what is still there afterwards has a program.
    pub async fn app_use(&self) -> Result<AppUse, AriError> {
        match self.application().await? {
            None => return Ok(AppUse::Free),
            Some(application) if application.has_subscriptions() => return Ok(AppUse::HasCalls),
            Some(_) => register_briefly(&self.with_app(throw_away_name())).await?,
        }
        for wait in [20, 50, 100, 200] {
            match self.application().await? {
                None => return Ok(AppUse::Free),
                Some(application) if application.has_subscriptions() => return Ok(AppUse::HasCalls),
                Some(_) => tokio::time::sleep(Duration::from_millis(wait)).await,
            }
        }
        Ok(AppUse::Connected)
    }

    /// The same client for another application.
    pub(super) fn with_app(&self, app: AppName) -> Self {
        let mut other = self.clone();
        other.settings.app = app;
        other
    }
}

/// An application name that nobody has.
fn throw_away_name() -> AppName {
    let name = format!("arioso-probe-{}", uuid::Uuid::new_v4().simple());
    AppName::new(&name).expect("45 letters, digits and dashes are a valid name")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventSource {
    event_source: [String; 1],
}

impl EventSource {
    fn of(channel: &ChannelId) -> Self {
        Self { event_source: [format!("channel:{channel}")] }
    }
}
