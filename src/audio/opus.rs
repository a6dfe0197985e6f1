//! Opus (RFC 6716) through libopus, at 16 kHz and one channel.
//!
//! Encoding costs more than everything else that a call does, so the encoder is set to what a telephone needs and no
//! more:
//!
//! | setting | value | why |
//! |---|---|---|
//! | application | voice | speech, and no more than 20 ms of delay |
//! | complexity | 0 | a third of the cost of 5; synthetic speech through a telephone does not tell them apart |
//! | bit rate | 24 kbit/s, variable | where wideband speech in Opus stops getting better |
//! | forward error correction | off | Opus travels on a WebSocket, which loses nothing |
//! | discontinuous transmission | off | the stream is continuous on every transport |

use super::CodecError;
use audiopus::coder;
use audiopus::{Application, Bitrate, Channels, ErrorCode, MutSignals, SampleRate, Signal};

/// Bits a second of what we send.
const BIT_RATE: i32 = 24_000;

/// The least of what libopus offers: 0 to 10.
const COMPLEXITY: u8 = 0;

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder(coder::Encoder);

impl Encoder {
    /// Allocates the state of an encoder: 44 KB of libopus' own.
    pub fn new() -> Result<Self, CodecError> {
        Self::configured().map(Self).map_err(CodecError::OpusState)
    }

    fn configured() -> Result<coder::Encoder, audiopus::Error> {
        let mut encoder = coder::Encoder::new(SampleRate::Hz16000, Channels::Mono, Application::Voip)?;
        encoder.set_complexity(COMPLEXITY)?;
        encoder.set_bitrate(Bitrate::BitsPerSecond(BIT_RATE))?;
        encoder.set_signal(Signal::Voice)?;
        encoder.set_inband_fec(false)?;
        encoder.set_dtx(false)?;
        Ok(encoder)
    }

    /// Encodes a frame into one packet; libopus fits it to the room in `out`.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        self.0.encode(frame, out).map_err(|source| CodecError::OpusFrame { samples: frame.len(), source })
    }
}

/// Decodes one stream, whatever rate, channels and packet time its sender has chosen.
#[derive(Debug)]
pub struct Decoder(coder::Decoder);

impl Decoder {
    /// Allocates the state of a decoder: 18 KB of libopus' own.
    pub fn new() -> Result<Self, CodecError> {
        coder::Decoder::new(SampleRate::Hz16000, Channels::Mono).map(Self).map_err(CodecError::OpusState)
    }

    /// Decodes a packet.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, CodecError> {
        let failure = |source| CodecError::OpusPacket { bytes: payload.len(), source };
        let room = out.len();
        let signals = MutSignals::try_from(out).map_err(failure)?;
        let packet = payload.try_into().map_err(failure)?;
        self.0.decode(Some(packet), signals, false).map_err(|source| match source {
            audiopus::Error::Opus(ErrorCode::BufferTooSmall) => self.too_long(payload, room),
            source => failure(source),
        })
    }

    fn too_long(&self, payload: &[u8], room: usize) -> CodecError {
        match payload.try_into().and_then(|packet| self.0.nb_samples(packet)) {
            Ok(samples) => CodecError::PayloadTooLong { samples, room },
            Err(source) => CodecError::OpusPacket { bytes: payload.len(), source },
        }
    }
}
