//! Payloads of a leg that loses and reorders nothing (AudioSocket, WebSocket: TCP) to frames for the call.

use super::receive::ReceivedFrame;
use super::stats::ReceiveStats;
use crate::audio::{ByteOrder, Codec};
use std::time::Instant;

/// The stream that we receive on a leg over TCP.
#[derive(Debug)]
pub struct OrderedReceiver {
    _codec: Codec,
    _order: ByteOrder,
}

/// Why a payload, or a part of it, was not taken. All of these are counted in [`ReceiveStats`]; none ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Half a sample at its end, which was dropped. What came before it was taken.
    #[error("a payload of {bytes} bytes ends within a sample of LINEAR16: its last byte is dropped")]
    HalfSample {
        /// In the payload.
        bytes: usize,
    },
}

impl OrderedReceiver {
    /// A stream that has not begun.
    ///
    /// # Errors
    /// The decoder cannot be made: [`Decoder::new`](crate::audio::Decoder::new).
    pub fn new(codec: Codec, order: ByteOrder) -> Result<Self, crate::audio::CodecError> {
        Ok(Self { _codec: codec, _order: order })
    }

    /// Takes in the payload of one message: any number of bytes (for Opus: one packet). Then take the frames with
    /// [`Self::poll_frame`].
    pub fn payload(&mut self, _payload: &[u8], _arrival: Instant) -> Result<(), PayloadError> {
        Ok(())
    }

    /// The next frame, if there is one: 20 ms at the rate of the codec in `out`. To be called until `None` after each
    /// payload, and at least every 20 ms.
    pub fn poll_frame(&mut self, _out: &mut [i16], _now: Instant) -> Option<ReceivedFrame> {
        None
    }

    /// When [`Self::poll_frame`] has something to say even if nothing comes.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What was received so far.
    pub fn stats(&self) -> ReceiveStats {
        ReceiveStats::default()
    }
}
