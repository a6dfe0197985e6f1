//! PCM to what goes out on a leg: one encoder a direction of a call, with whatever the codec remembers.

use super::g711::Law;
use super::{ByteOrder, Codec, CodecError, g722, linear16, opus};

/// Encodes the frames of one stream, in their order.
#[derive(Debug)]
pub struct Encoder(State);

#[derive(Debug)]
enum State {
    G711(Law),
    G722(Box<g722::Encoder>),
    Linear16(ByteOrder),
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder at the beginning of a stream. `order` matters to [`Codec::Linear16`] only.
    ///
    /// # Errors
    /// [`CodecError::OpusState`] if libopus refuses to make its state (out of memory).
    pub fn new(codec: Codec, order: ByteOrder) -> Result<Self, CodecError> {
        Ok(Self(match codec {
            Codec::G711(law) => State::G711(law),
            Codec::G722 => State::G722(Box::new(g722::Encoder::new())),
            Codec::Linear16(_) => State::Linear16(order),
            Codec::Opus => State::Opus(opus::Encoder::new()?),
        }))
    }

    /// Encodes a frame of PCM (at [`Codec::rate`], normally 20 ms) into the beginning of `out`, and says how many bytes
    /// it took. Never allocates. [`MAX_FRAME_BYTES`](super::MAX_FRAME_BYTES) are room enough for 20 ms of any codec.
    ///
    /// # Errors
    /// `out` is too short, or the codec has no packet for a frame of this length. Nothing is encoded then.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        match &mut self.0 {
            State::G711(law) => {
                let out = room(out, frame.len())?;
                law.encode(frame, out);
                Ok(out.len())
            }
            State::G722(encoder) => {
                if !frame.len().is_multiple_of(2) {
                    return Err(CodecError::HalfPair { samples: frame.len() });
                }
                let out = room(out, frame.len() / 2)?;
                encoder.encode(frame, out);
                Ok(out.len())
            }
            State::Linear16(order) => {
                let out = room(out, frame.len() * 2)?;
                linear16::encode(*order, frame, out);
                Ok(out.len())
            }
            State::Opus(encoder) => encoder.encode(frame, out),
        }
    }
}

/// The first `bytes` of `out`.
fn room(out: &mut [u8], bytes: usize) -> Result<&mut [u8], CodecError> {
    let room = out.len();
    out.get_mut(..bytes).ok_or(CodecError::NoRoom { bytes, room })
}
