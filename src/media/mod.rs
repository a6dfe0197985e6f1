//! One direction of a call's audio each: what comes over the network becomes frames of 20 ms for the call
//! ([`RtpReceiver`], [`OrderedReceiver`]), and frames become packets ([`RtpSender`]). Any codec, any rate.
//!
//! ```text
//! datagram ─▶ wire::rtp ─▶ sequence ─┬─ in order ──────────────┬─▶ assembler (decoder, conceal) ─▶ frame     receive.rs
//!                                    └─ behind a gap: held.rs ─┘         ▲
//! TCP payload ───────────────────────────────────────────────────────────┘                                  ordered.rs
//! reply audio ─▶ playout ─▶ frame ─▶ audio::Encoder ─▶ wire::rtp ─▶ datagram                       playout.rs, send.rs
//! ```
//!
//! # Why there is no playout buffer on the way in
//!
//! A telephone delays what it receives until even the latest packet is there, and skips or stretches audio to keep that
//! delay, because an ear wants an even stream at real time. Nobody listens here: a detector and a recogniser do, and they
//! count time in samples. Each packet is therefore heard as soon as it comes, early or late, which costs no delay at all and
//! no sample. What is left of a jitter buffer is putting packets in order: only behind a gap does anything wait
//! (`delay.rs`), so the delay of a good link is zero and that of a bad one is paid by the frames behind a gap alone. A
//! clock of the sender that runs fast or slow needs no care, for time is the sender's; when nothing comes for too long, a
//! stall clock gives silence at real time (`stall.rs`), and the next packet settles what that silence was (`timeline.rs`).

mod assembler;
mod conceal;
mod delay;
mod held;
mod ordered;
mod payload;
pub mod playout;
pub mod quality;
mod receive;
mod send;
mod sequence;
mod stall;
mod stats;
#[cfg(test)]
mod tests;
mod timeline;

pub use assembler::ReceivedFrame;
pub use conceal::Concealer;
pub use ordered::{MAX_WAITING, OrderedReceiver, PayloadError};
pub use receive::{MAX_PACKET_TIME, PacketError, RtpReceiver};
pub use send::{MAX_DATAGRAM_BYTES, RtpSender};
pub use stats::{MediaStats, ReceiveStats, SendStats};
