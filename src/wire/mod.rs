//! Bytes to values and back, without a socket: what is malformed is refused here, and nothing behind has to look again.

pub mod audiosocket;
#[cfg(feature = "parsers")]
pub mod media_websocket;
pub mod rtcp;
pub mod rtp;
pub mod websocket;
