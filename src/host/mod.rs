//! The running server: takes calls from each Asterisk, joins legs, media workers and engines into conversations, and
//! leaves nothing behind.
//!
//! - [`Server`] starts everything from the configuration and drains it at the end.
//! - A `Node` reads the events of one Asterisk and hands each to the call that it belongs to; it never waits.
//! - A `LiveCall` is the task of one call: set-up, conversation, tear-down.
//! - A `DialplanEntrance` takes the calls that dialplans send straight to us over AudioSocket.
//! - A `Conversation` is the middle of both: worker and engines, joined.
//! - `Legs` make the media leg of a call, over the transport of its Asterisk.
//! - A sweep after each (re)connect finds calls and legs that nobody owns: calls are taken over, legs removed.

mod asterisk;
mod bots;
mod context;
mod conversation;
mod dialplan_call;
mod legs;
mod line_test;
mod live_call;
mod media_watch;
mod node;
mod observation;
mod pump;
mod server;
mod set_up;
mod sweep;
mod tear_down;

pub use asterisk::ari_settings;
pub use bots::{Bots, BotsError};
pub use line_test::LineTest;
pub use live_call::CallEnd;
pub use observation::{Observation, Observed};
pub use server::{Server, StartError};
pub use set_up::SetUpError;
