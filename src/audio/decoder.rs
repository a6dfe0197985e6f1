//! What comes in on a leg to PCM: one decoder a direction of a call, with whatever the codec remembers.

use super::g711::Law;
use super::{ByteOrder, Codec, CodecError, g722, linear16, opus};

/// Decodes the payloads of one stream, in their order.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    G711(Law),
    G722(Box<g722::Decoder>),
    Linear16(ByteOrder),
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder at the beginning of a stream. `order` matters to [`Codec::Linear16`] only.
    ///
    /// # Errors
    /// [`CodecError::OpusState`] if libopus refuses to make its state (out of memory).
    pub fn new(codec: Codec, order: ByteOrder) -> Result<Self, CodecError> {
        Ok(Self(match codec {
            Codec::G711(law) => State::G711(law),
            Codec::G722 => State::G722(Box::new(g722::Decoder::new())),
            Codec::Linear16(_) => State::Linear16(order),
            Codec::Opus => State::Opus(opus::Decoder::new()?),
        }))
    }

    /// Decodes a payload of any packet time into the beginning of `out`, and says how many samples (at [`Codec::rate`])
    /// it held. Never allocates. [`MAX_PAYLOAD_SAMPLES`](super::MAX_PAYLOAD_SAMPLES) are always room enough for what a
    /// telephone sends.
    ///
    /// # Errors
    /// The payload is empty, ends within a sample, holds more than `out` has room for, or is no Opus. Nothing of it is
    /// decoded then, and the stream may go on with the next.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        if payload.is_empty() {
            return Err(CodecError::EmptyPayload);
        }
        match &mut self.0 {
            State::G711(law) => {
                let out = room(out, payload.len())?;
                law.decode(payload, out);
                Ok(out.len())
            }
            State::G722(decoder) => {
                let out = room(out, payload.len() * 2)?;
                decoder.decode(payload, out);
                Ok(out.len())
            }
            State::Linear16(order) => {
                if !payload.len().is_multiple_of(2) {
                    return Err(CodecError::HalfSample { bytes: payload.len() });
                }
                let out = room(out, payload.len() / 2)?;
                linear16::decode(*order, payload, out);
                Ok(out.len())
            }
            State::Opus(decoder) => decoder.decode(payload, out),
        }
    }
}

/// The first `samples` of `out`.
fn room(out: &mut [i16], samples: usize) -> Result<&mut [i16], CodecError> {
    let room = out.len();
    out.get_mut(..samples).ok_or(CodecError::PayloadTooLong { samples, room })
}
