//! A typed client of the Asterisk REST Interface (ARI), for what a voice-bot host needs of it.
//!
//! - [`Ari`] sends requests over a pool of HTTP connections; the requests are grouped as ARI's resources are.
//! - [`Ari::events`] opens the events socket and keeps it open; [`parse_event`] is the pure function inside.
//! - [`probe`] looks at an Asterisk and says what is missing, for `arioso doctor`.
//!
//! Everything can be done twice: a removal of what is gone is a success, an event for an unknown channel is no error.
//! A success means "accepted" for most commands; that it was done comes as an event.

mod applications;
mod backoff;
mod bridges;
mod channels;
mod error;
mod event;
mod events_socket;
mod ids;
mod model;
pub mod probe;
mod rest;
mod settings;
mod system;
mod tls;

pub use applications::AppUse;
pub use bridges::ConnectedLine;
pub use channels::{ExternalMedia, HangupReason, MediaLeg, Originate, OriginateTarget, Variables, absolute_timeout};
pub use error::AriError;
pub use event::{DialStatus, Event, EventError, HangupOrigin, parse_event};
pub use events_socket::{Disconnect, EventCounts, EventStream, Signal};
pub use ids::{BridgeId, ChannelId, IdError};
pub use model::{
    Application, AsteriskInfo, Bridge, Channel, ChannelState, DialplanPosition, Module, Party, StatusInfo, SystemInfo,
};
pub use rest::{Ari, Removal};
pub use settings::{AriSettings, BaseUrl, BaseUrlError};
pub use system::AsteriskVersion;
pub use tls::install_crypto_provider;
