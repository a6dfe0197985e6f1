//! Bytes to values and back, without a socket: what is malformed is refused here, and nothing behind has to look again.

pub mod media_websocket;
pub mod rtp;
pub mod websocket;
