//! Events: one JSON text each, turned into a value without side effects.
//!
//! Order holds only roughly across channels. An event can come twice (after a reconnect), late, or for a channel that
//! nobody knows: look up [`Event::channel_id`] first, and let what is found decide.

use super::{Bridge, BridgeId, Channel, ChannelId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::time::Duration;

/// Something that happened in Asterisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A channel entered our application: a call, or one of our own legs.
    StasisStart {
        /// The channel.
        channel: Box<Channel>,
        /// The arguments of `Stasis()` after the application's name, or of the request that made the leg.
        args: Vec<String>,
        /// The channel whose place this one takes, after a transfer by the far end.
        replaces: Option<Box<Channel>>,
    },
    /// A channel left our application: hung up, or went on in the dialplan.
    StasisEnd {
        /// The channel.
        channel: Box<Channel>,
    },
    /// A channel came further: see its `state`.
    ChannelStateChange {
        /// The channel.
        channel: Box<Channel>,
    },
    /// A channel is about to end.
    ChannelHangupRequest {
        /// The channel.
        channel: Box<Channel>,
        /// Whose wish it was.
        by: HangupOrigin,
    },
    /// A channel is no more. For a call from the dialplan this comes only if we subscribed to the channel.
    ChannelDestroyed {
        /// The channel.
        channel: Box<Channel>,
        /// Q.850 cause; 0 when there was none: a timer of Asterisk, or a SIP caller that just said BYE.
        cause: i32,
        /// The cause in words.
        cause_text: String,
        /// SIP status of the far end, from Asterisk 20.17 and 22.7 on.
        tech_cause: Option<i32>,
    },
    /// A key was pressed, and released: `0`–`9`, `*`, `#`, `A`–`D`.
    ChannelDtmfReceived {
        /// The channel.
        channel: Box<Channel>,
        /// The key.
        digit: char,
        /// For how long.
        duration: Duration,
    },
    /// The far end put us on hold.
    ChannelHold {
        /// The channel.
        channel: Box<Channel>,
    },
    /// The far end took us back.
    ChannelUnhold {
        /// The channel.
        channel: Box<Channel>,
    },
    /// A channel is in a bridge now.
    ChannelEnteredBridge {
        /// The channel.
        channel: Box<Channel>,
        /// The bridge, with its members after this.
        bridge: Bridge,
    },
    /// A channel is no longer in a bridge.
    ChannelLeftBridge {
        /// The channel.
        channel: Box<Channel>,
        /// The bridge, with its members after this.
        bridge: Bridge,
    },
    /// A bridge is no more; its channels may live on.
    BridgeDestroyed {
        /// The bridge.
        bridge: Bridge,
    },
    /// An outgoing leg makes progress.
    Dial {
        /// The leg that is called.
        peer: Box<Channel>,
        /// How far.
        status: DialStatus,
    },
    /// Another program opened an events socket under our application's name: no event comes on this one any more.
    ApplicationReplaced {
        /// The name.
        application: String,
    },
    /// One that this program has no use for.
    Unknown {
        /// Its type.
        event_type: String,
    },
}

/// Whose wish a hang-up was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HangupOrigin {
    /// Of Asterisk, or of a program over ARI. (Asterisk sends a number here as well that is no Q.850 cause.)
    Asterisk,
    /// Of the far end.
    FarEnd {
        /// Q.850 cause, if it gave one. A SIP caller that hangs up does not.
        cause: Option<i32>,
    },
}

/// How far an outgoing leg has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DialStatus {
    /// Dialling begins.
    Started,
    /// The far end rings.
    Ringing,
    /// Early media.
    Progress,
    /// Answered.
    Answer,
    /// Busy.
    Busy,
    /// The network cannot.
    Congestion,
    /// Nobody answered.
    NoAnswer,
    /// Given up by us.
    Cancel,
    /// The endpoint cannot be reached.
    ChanUnavail,
    /// One that this program does not know.
    Other,
}

impl DialStatus {
    fn from_asterisk(text: &str) -> Self {
        match text {
            "" => Self::Started,
            "RINGING" => Self::Ringing,
            "PROGRESS" => Self::Progress,
            "ANSWER" => Self::Answer,
            "BUSY" => Self::Busy,
            "CONGESTION" => Self::Congestion,
            "NOANSWER" => Self::NoAnswer,
            "CANCEL" => Self::Cancel,
            "CHANUNAVAIL" => Self::ChanUnavail,
            _ => Self::Other,
        }
    }
}

impl Event {
    /// The channel that it is about; for [`Event::Dial`], the one that is called.
    pub fn channel_id(&self) -> Option<&ChannelId> {
        match self {
            Self::StasisStart { channel, .. }
            | Self::StasisEnd { channel }
            | Self::ChannelStateChange { channel }
            | Self::ChannelHangupRequest { channel, .. }
            | Self::ChannelDestroyed { channel, .. }
            | Self::ChannelDtmfReceived { channel, .. }
            | Self::ChannelHold { channel }
            | Self::ChannelUnhold { channel }
            | Self::ChannelEnteredBridge { channel, .. }
            | Self::ChannelLeftBridge { channel, .. }
            | Self::Dial { peer: channel, .. } => Some(&channel.id),
            Self::BridgeDestroyed { .. } | Self::ApplicationReplaced { .. } | Self::Unknown { .. } => None,
        }
    }

    /// The bridge that it is about.
    pub fn bridge_id(&self) -> Option<&BridgeId> {
        match self {
            Self::ChannelEnteredBridge { bridge, .. }
            | Self::ChannelLeftBridge { bridge, .. }
            | Self::BridgeDestroyed { bridge } => Some(&bridge.id),
            _ => None,
        }
    }
}

/// A message that is no event. Says where in it, and not what else was in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// No JSON object with a text under `type`.
    #[error("not an event: {0}")]
    NotAnEvent(String),
    /// A field of a known event is missing or of the wrong type.
    #[error("malformed {event_type}: {cause}")]
    Malformed {
        /// Which event.
        event_type: &'static str,
        /// What, at which line and column.
        cause: String,
    },
}

/// Reads one message of the events socket.
///
/// Types and fields that this program does not know are no error: the first become [`Event::Unknown`].
pub fn parse_event(text: &str) -> Result<Event, EventError> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Cow<'a, str>,
    }
    let head: Head<'_> = serde_json::from_str(text).map_err(|error| EventError::NotAnEvent(error.to_string()))?;
    Ok(match &*head.event_type {
        "StasisStart" => {
            let StasisStart { channel, args, replace_channel } = body("StasisStart", text)?;
            Event::StasisStart { channel, args, replaces: replace_channel }
        }
        "StasisEnd" => Event::StasisEnd { channel: body::<OfChannel>("StasisEnd", text)?.channel },
        "ChannelStateChange" => {
            Event::ChannelStateChange { channel: body::<OfChannel>("ChannelStateChange", text)?.channel }
        }
        "ChannelHangupRequest" => {
            let Hangup { channel, cause, soft } = body("ChannelHangupRequest", text)?;
            Event::ChannelHangupRequest {
                channel,
                by: if soft { HangupOrigin::Asterisk } else { HangupOrigin::FarEnd { cause } },
            }
        }
        "ChannelDestroyed" => {
            let Destroyed { channel, cause, cause_txt, tech_cause } = body("ChannelDestroyed", text)?;
            Event::ChannelDestroyed { channel, cause, cause_text: cause_txt, tech_cause }
        }
        "ChannelDtmfReceived" => {
            let Dtmf { channel, digit: Digit(digit), duration_ms } = body("ChannelDtmfReceived", text)?;
            Event::ChannelDtmfReceived { channel, digit, duration: Duration::from_millis(duration_ms) }
        }
        "ChannelHold" => Event::ChannelHold { channel: body::<OfChannel>("ChannelHold", text)?.channel },
        "ChannelUnhold" => Event::ChannelUnhold { channel: body::<OfChannel>("ChannelUnhold", text)?.channel },
        "ChannelEnteredBridge" => {
            let OfBoth { channel, bridge } = body("ChannelEnteredBridge", text)?;
            Event::ChannelEnteredBridge { channel, bridge }
        }
        "ChannelLeftBridge" => {
            let OfBoth { channel, bridge } = body("ChannelLeftBridge", text)?;
            Event::ChannelLeftBridge { channel, bridge }
        }
        "BridgeDestroyed" => Event::BridgeDestroyed { bridge: body::<OfBridge>("BridgeDestroyed", text)?.bridge },
        "Dial" => {
            let Dial { peer, dialstatus } = body("Dial", text)?;
            Event::Dial { peer, status: DialStatus::from_asterisk(&dialstatus) }
        }
        "ApplicationReplaced" => {
            let OfApplication { application } = body("ApplicationReplaced", text)?;
            Event::ApplicationReplaced { application }
        }
        unknown => Event::Unknown { event_type: unknown.to_owned() },
    })
}

/// Reads the fields of one type of event. Two passes over the text, because an unknown event may use the names of known
/// fields for something else.
fn body<T: DeserializeOwned>(event_type: &'static str, text: &str) -> Result<T, EventError> {
    serde_json::from_str(text).map_err(|error| EventError::Malformed { event_type, cause: error.to_string() })
}

#[derive(Deserialize)]
struct StasisStart {
    channel: Box<Channel>,
    #[serde(default)]
    args: Vec<String>,
    replace_channel: Option<Box<Channel>>,
}

#[derive(Deserialize)]
struct OfChannel {
    channel: Box<Channel>,
}

#[derive(Deserialize)]
struct OfBridge {
    bridge: Bridge,
}

#[derive(Deserialize)]
struct OfBoth {
    channel: Box<Channel>,
    bridge: Bridge,
}

#[derive(Deserialize)]
struct OfApplication {
    application: String,
}

#[derive(Deserialize)]
struct Hangup {
    channel: Box<Channel>,
    cause: Option<i32>,
    #[serde(default)]
    soft: bool,
}

#[derive(Deserialize)]
struct Destroyed {
    channel: Box<Channel>,
    cause: i32,
    #[serde(default)]
    cause_txt: String,
    tech_cause: Option<i32>,
}

#[derive(Deserialize)]
struct Dtmf {
    channel: Box<Channel>,
    digit: Digit,
    #[serde(default)]
    duration_ms: u64,
}

#[derive(Deserialize)]
struct Dial {
    peer: Box<Channel>,
    #[serde(default)]
    dialstatus: String,
}

/// One key of a telephone.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Digit(char);

impl TryFrom<String> for Digit {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_bytes() {
            [key @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')] => Ok(Self(char::from(*key))),
            [key @ b'a'..=b'd'] => Ok(Self(char::from(key.to_ascii_uppercase()))),
            _ => Err("expected one key: 0 to 9, *, #, A to D"),
        }
    }
}

#[cfg(test)]
mod tests;
