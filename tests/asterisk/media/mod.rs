//! Audio through a real Asterisk and a real server, by every transport and every codec: it comes back as it was said, a
//! conversation works the same everywhere, and nothing is left behind.

mod asterisk16;
mod codecs;
mod conversations;
mod endings;
mod line_test;
pub(crate) mod signal;
