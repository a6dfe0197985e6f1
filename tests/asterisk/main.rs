//! Tests against a real Asterisk. They need root (or `sudo` without a question) and are never skipped: where no
//! Asterisk can be had they fail and say why.
//!
//! One instance serves all tests of this binary that can share it; it starts with the first of them and is gone with
//! the process. A test that breaks Asterisk starts one of its own.

// A test is the outside world: it has sockets and a clock, and fails by panicking.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::unwrap_used)]

mod absolute_clock;
mod arioso;
mod caller;
mod instance;
mod media;
mod shared;
