//! Media connections over TCP, until a media thread owns them: listening for those that Asterisk makes, and making those
//! that it waits for.
//!
//! - [`AudioSocketListener`]: one port for all calls; the UUID that comes first says which call a connection belongs to.
//! - [`WebSocketListener`]: one port for all calls; `MEDIA_START` says it.
//! - [`dial`]: connects to a WebSocket channel of Asterisk that waits for us.
//!
//! A call is expected before Asterisk is asked for its leg ([`Expected`]): Asterisk connects while the request is still under
//! way, and the leg is attached to the call in that moment, so that silence flows from the first frame on. Nobody else gets
//! in: a connection that is not expected is closed and counted. Whoever connects and does not say for which call within
//! [`GREET_WITHIN`] is closed, and [`MAX_GREETING`] connections may be in that state; `crowd.rs` says which of them gives way
//! to one more, so that strangers cannot lock Asterisk out.
//!
//! An AudioSocket connection that has said its UUID may be a dialplan's. If it does not become the leg of a call it is ended so
//! that the dialplan goes on, by whoever gives it up (`closing.rs`, [`DialplanCall`]).

mod accept;
mod audiosocket;
mod counts;
mod crowd;
mod dial;
mod error;
mod expected;
#[cfg(test)]
mod tests;
mod upgrade;
mod websocket;

pub use accept::{GREET_WITHIN, MAX_GREETING};
pub use audiosocket::{AudioSocketListener, DialplanCall, DialplanCalls};
pub use counts::ListenCounts;
pub use dial::{Dialled, dial};
pub use error::{DialError, ExpectError, ListenError};
pub use expected::Expected;
pub use websocket::{Credentials, WebSocketListener};
