//! A typed client of the Asterisk REST Interface (ARI), for what a voice-bot host needs of it.
//!
//! - [`Ari`] sends requests over a pool of HTTP connections; the requests are grouped as ARI's resources are.
//! - [`Ari::events`] opens the events socket and keeps it open; [`parse_event`] is the pure function inside.
//! - [`probe`] looks at an Asterisk and says what is missing, for `arioso doctor`.
//!
//! The values ([`Event`], ids, models) build without I/O, with the feature `parsers` alone.
//!
//! Everything can be done twice: a removal of what is gone is a success, an event for an unknown channel is no error.
//! A success means "accepted" for most commands; that it was done comes as an event.

#[cfg(feature = "shell")]
mod applications;
#[cfg(feature = "shell")]
mod backoff;
#[cfg(feature = "shell")]
mod bridges;
#[cfg(feature = "shell")]
mod channels;
#[cfg(feature = "shell")]
mod error;
mod event;
#[cfg(feature = "shell")]
mod events_socket;
#[cfg(feature = "shell")]
mod external_media;
mod ids;
mod model;
#[cfg(feature = "shell")]
pub mod probe;
#[cfg(feature = "shell")]
mod requirements;
#[cfg(feature = "shell")]
mod rest;
#[cfg(feature = "shell")]
mod settings;
#[cfg(feature = "shell")]
mod system;
#[cfg(feature = "shell")]
mod tls;
#[cfg(feature = "shell")]
mod version;

#[cfg(feature = "shell")]
pub use applications::AppUse;
#[cfg(feature = "shell")]
pub use bridges::ConnectedLine;
#[cfg(feature = "shell")]
pub use channels::{HangupReason, Variables, absolute_timeout};
#[cfg(feature = "shell")]
pub use error::AriError;
pub use event::{DialStatus, Event, EventError, HangupOrigin, parse_event};
#[cfg(feature = "shell")]
pub use events_socket::{Disconnect, EventCounts, EventStream, Signal};
#[cfg(feature = "shell")]
pub use external_media::ExternalMedia;
pub use ids::{BridgeId, ChannelId, IdError};
pub use model::{
    Application, AsteriskInfo, Bridge, Channel, ChannelState, DialplanPosition, Module, Party, StatusInfo, SystemInfo,
};
#[cfg(feature = "shell")]
pub use requirements::{Capabilities, Lack, Lacks};
#[cfg(feature = "shell")]
pub use rest::{Ari, Removal};
#[cfg(feature = "shell")]
pub use settings::{AriSettings, BaseUrl, BaseUrlError};
#[cfg(feature = "shell")]
pub use tls::install_crypto_provider;
#[cfg(feature = "shell")]
pub use version::{AsteriskVersion, Feature};
