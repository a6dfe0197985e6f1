//! One direction of a call's audio each: what comes over the network becomes an even stream of frames
//! ([`ReceiveStream`]), and frames become packets ([`SendStream`]). Narrowband G.711, 8,000 samples a second.
//!
//! ```text
//! datagram ─▶ wire::rtp ─▶ audio::g711 ─▶ jitter (sequence, depth) ─▶ conceal ─▶ frame      receive.rs
//! reply audio ─▶ playout ─▶ frame ─▶ audio::g711 ─▶ wire::rtp ─▶ datagram                     playout.rs, send.rs
//! ```

mod conceal;
mod depth;
mod jitter;
mod ordered;
pub mod playout;
mod receive;
mod send;
mod sequence;
mod stats;
#[cfg(test)]
mod tests;

pub use conceal::Concealer;
pub use jitter::{JitterBuffer, MAX_PACKET_SAMPLES, RtpStamp, Run};
pub use ordered::{OrderedReceiver, PayloadError};
pub use receive::{PacketError, ReceiveStream, ReceivedFrame, RtpReceiver};
pub use send::{MAX_DATAGRAM_BYTES, RtpSender, SendStream};
pub use stats::{MediaStats, ReceiveStats, SendStats};
