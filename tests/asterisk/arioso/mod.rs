//! The server itself, as a process, on a real Asterisk: calls in over SIP, speech in, speech out.
//!
//! Each test has an Asterisk and a server of its own, and they run one after the other: several of them measure times.

mod conversation;
mod endings;
mod engines;
mod hand_over;
mod many_calls;
mod outages;
mod refusals;
pub(crate) mod rig;
