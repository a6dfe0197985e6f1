//! Objects that Asterisk sends, reduced to what a voice-bot host looks at. Unknown fields are ignored.
//!
//! An object inside an event is a snapshot from when the event was made, not the current state.

use super::{BridgeId, ChannelId};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Channel {
    /// Its id; the same in all events.
    pub id: ChannelId,
    /// Technology and peer: `PJSIP/alice-00000001`.
    pub name: String,
    /// How far it has come.
    pub state: ChannelState,
    /// Who is calling, as far as known.
    #[serde(default)]
    pub caller: Party,
    /// Who is at the other side, as far as known.
    #[serde(default)]
    pub connected: Party,
    /// Where it is in the dialplan.
    #[serde(default)]
    pub dialplan: DialplanPosition,
    /// When it was made: ISO 8601 with milliseconds and zone.
    #[serde(default)]
    pub creationtime: String,
    /// Language of its prompts.
    #[serde(default)]
    pub language: String,
    /// SIP Call-ID where there is one, else empty.
    #[serde(default)]
    pub protocol_id: String,
    /// Variables that were asked for (`channelvars` in `ari.conf`) or that the channel's driver reports.
    #[serde(default, deserialize_with = "texts")]
    pub channelvars: BTreeMap<String, String>,
}

/// A name and a number, each empty when not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Party {
    /// Display name.
    pub name: String,
    /// Telephone number or SIP user.
    pub number: String,
}

/// Where a channel is in the dialplan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DialplanPosition {
    /// Context.
    pub context: String,
    /// Extension: for a call that came in, the dialled number.
    pub exten: String,
    /// Priority, from 1; 0 when there is none.
    pub priority: i64,
    /// Application that runs.
    pub app_name: String,
    /// Its arguments, as in the dialplan.
    pub app_data: String,
}

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "String")]
pub enum ChannelState {
    /// Made, and nothing more.
    Down,
    /// Reserved.
    Reserved,
    /// Off hook.
    OffHook,
    /// Digits have been dialled.
    Dialing,
    /// A call that came in and is not answered.
    Ring,
    /// A call that goes out, and the far end rings.
    Ringing,
    /// Answered.
    Up,
    /// The line is busy.
    Busy,
    /// One that this program does not know.
    Other,
}

impl From<String> for ChannelState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "Down" => Self::Down,
            "Rsrved" => Self::Reserved,
            "OffHook" => Self::OffHook,
            "Dialing" => Self::Dialing,
            "Ring" => Self::Ring,
            "Ringing" => Self::Ringing,
            "Up" => Self::Up,
            "Busy" => Self::Busy,
            _ => Self::Other,
        }
    }
}

/// Where legs hear each other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bridge {
    /// Its id.
    pub id: BridgeId,
    /// How it mixes: `simple_bridge` for two legs, `softmix` for more.
    #[serde(default)]
    pub technology: String,
    /// `stasis` for those that were made over ARI.
    #[serde(default)]
    pub bridge_class: String,
    /// The name that its maker gave it.
    #[serde(default)]
    pub name: String,
    /// Legs in it.
    #[serde(default)]
    pub channels: Vec<ChannelId>,
}

/// A Stasis application, as Asterisk keeps it.
///
/// It exists while a program has an events socket open for it, and longer while it is still subscribed to something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Channels that it gets events of.
    #[serde(default)]
    pub channel_ids: Vec<ChannelId>,
    /// Bridges that it gets events of.
    #[serde(default)]
    pub bridge_ids: Vec<BridgeId>,
    /// Endpoints that it gets events of.
    #[serde(default)]
    pub endpoint_ids: Vec<String>,
    /// Device states that it gets events of.
    #[serde(default)]
    pub device_names: Vec<String>,
}

impl Application {
    /// Whether it is subscribed to anything.
    pub fn has_subscriptions(&self) -> bool {
        !(self.channel_ids.is_empty()
            && self.bridge_ids.is_empty()
            && self.endpoint_ids.is_empty()
            && self.device_names.is_empty())
    }
}

/// Which Asterisk this is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AsteriskInfo {
    /// Its build and identity.
    pub system: SystemInfo,
    /// Since when it runs.
    #[serde(default)]
    pub status: StatusInfo,
}

/// Build and identity of an Asterisk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SystemInfo {
    /// As Asterisk says it: `22.10.1`, `certified/20.7-cert3`, `GIT-master-0123abc`.
    pub version: String,
    /// Tells Asterisks apart; the `asterisk_id` of events.
    #[serde(default)]
    pub entity_id: String,
}

/// Times of an Asterisk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StatusInfo {
    /// When it started: ISO 8601. A new value means that all calls from before are gone.
    pub startup_time: String,
}

/// A module of Asterisk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Module {
    /// File name: `chan_rtp.so`.
    pub name: String,
    /// `Running`, or why not.
    #[serde(default)]
    pub status: String,
}

impl Module {
    /// Whether it does its work.
    pub fn is_running(&self) -> bool {
        self.status == "Running"
    }
}

/// Takes the texts of an object and leaves out what else may be in it.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let text = |(name, value)| match value {
        serde_json::Value::String(text) => Some((name, text)),
        _ => None,
    };
    Ok(values.into_iter().filter_map(text).collect())
}
