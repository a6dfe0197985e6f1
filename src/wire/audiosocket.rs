//! AudioSocket, the protocol of Asterisk's `chan_audiosocket` and `app_audiosocket`: frames over TCP, each with a type,
//! the length of its payload as 16 bits in network order, and the payload.
//!
//! TCP keeps no boundaries: a read may hold half a frame, or three and a half. [`Reader`] finds the frames whatever the
//! split. [`Frame::write`] puts header and payload into one buffer, because Asterisk hangs up when the payload is not
//! there within about 5 ms of its header.
//!
//! Samples are LINEAR16, little-endian (Asterisk 18 to 22, `res_audiosocket`).

#[cfg(test)]
mod tests;

use crate::audio::SampleRate;

/// Bytes in front of each payload.
pub const HEADER_BYTES: usize = 3;
/// The longest payload that the header can announce.
pub const MAX_PAYLOAD_BYTES: usize = u16::MAX as usize;

const HANGUP: u8 = 0x00;
const UUID: u8 = 0x01;
const DTMF: u8 = 0x03;
const ERROR: u8 = 0xFF;

/// The type of a frame with audio, which says its sample rate. Asterisk before 22.7 (20.17, 21.12, 23.1) marks audio of every rate
/// as [`AudioType::Slin8`]: from such a one, the format that was asked for counts and not this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AudioType {
    /// 8 kHz.
    Slin8 = 0x10,
    /// 12 kHz.
    Slin12 = 0x11,
    /// 16 kHz.
    Slin16 = 0x12,
    /// 24 kHz.
    Slin24 = 0x13,
    /// 32 kHz.
    Slin32 = 0x14,
    /// 44.1 kHz.
    Slin44 = 0x15,
    /// 48 kHz.
    Slin48 = 0x16,
    /// 96 kHz.
    Slin96 = 0x17,
    /// 192 kHz.
    Slin192 = 0x18,
}

impl AudioType {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Slin8,
        Self::Slin12,
        Self::Slin16,
        Self::Slin24,
        Self::Slin32,
        Self::Slin44,
        Self::Slin48,
        Self::Slin96,
        Self::Slin192,
    ];

    /// Samples a second.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Slin8 => 8_000,
            Self::Slin12 => 12_000,
            Self::Slin16 => 16_000,
            Self::Slin24 => 24_000,
            Self::Slin32 => 32_000,
            Self::Slin44 => 44_100,
            Self::Slin48 => 48_000,
            Self::Slin96 => 96_000,
            Self::Slin192 => 192_000,
        }
    }

    /// The type for audio at `rate`; `None` for a rate that Asterisk does not have.
    pub fn of_rate(rate: SampleRate) -> Option<Self> {
        Self::ALL.into_iter().find(|audio| audio.hz() == rate.hz())
    }

    /// Its rate; `None` for the two that are above what is carried here.
    pub const fn rate(self) -> Option<SampleRate> {
        SampleRate::new(self.hz())
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        if byte >= Self::Slin8 as u8 && byte <= Self::Slin192 as u8 {
            // In range, and the types follow each other without a gap.
            Some(Self::ALL[(byte - Self::Slin8 as u8) as usize])
        } else {
            None
        }
    }
}

/// One frame. Towards Asterisk only [`Frame::Audio`] and [`Frame::Hangup`] may be sent: it hangs up on any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Asterisk is to hang up the channel. It never sends this itself: it closes the connection.
    Hangup,
    /// Which call this is: the first frame from Asterisk.
    Uuid([u8; 16]),
    /// A key was released: `0`–`9`, `*`, `#`, `A`–`D`. From Asterisk since 22.4.
    Dtmf(char),
    /// Samples, little-endian. Asterisk sends 20 ms a frame as a rule; the length follows the caller's own packets.
    Audio(AudioType, &'a [u8]),
    /// Defined, but not sent by any Asterisk.
    Error(&'a [u8]),
    /// A type that is not known: to be counted, and otherwise skipped.
    Unknown {
        /// The type.
        kind: u8,
        /// Whatever it is.
        payload: &'a [u8],
    },
}

/// What is wrong with one frame. The frame is skipped; the stream goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A UUID has 16 bytes.
    #[error("an AudioSocket UUID frame has {bytes} bytes, and not 16")]
    UuidLength {
        /// Length of the payload.
        bytes: usize,
    },
    /// A key is one byte.
    #[error("an AudioSocket DTMF frame has {bytes} bytes, and not 1")]
    DtmfLength {
        /// Length of the payload.
        bytes: usize,
    },
    /// There is no such key.
    #[error("an AudioSocket DTMF frame has byte {byte:#04x}, which is none of 0-9 * # A-D")]
    DtmfDigit {
        /// What came.
        byte: u8,
    },
}

/// Why a frame cannot be written. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Asterisk would hang up.
    #[error("an AudioSocket frame without audio would make Asterisk hang up")]
    NoAudio,
    /// The header has 16 bits for the length.
    #[error("{bytes} bytes do not fit an AudioSocket frame, which carries at most {MAX_PAYLOAD_BYTES}")]
    TooLong {
        /// Length of the payload.
        bytes: usize,
    },
    /// The buffer is too short.
    #[error("an AudioSocket frame of {needed} bytes does not fit a buffer of {room}")]
    NoRoom {
        /// Bytes with header.
        needed: usize,
        /// Bytes in the buffer.
        room: usize,
    },
}

impl<'a> Frame<'a> {
    fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, FrameError> {
        let bytes = payload.len();
        Ok(match kind {
            HANGUP => Self::Hangup,
            UUID => Self::Uuid(payload.try_into().map_err(|_| FrameError::UuidLength { bytes })?),
            DTMF => match payload {
                [byte @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D' | b'a'..=b'd')] => {
                    Self::Dtmf(char::from(byte.to_ascii_uppercase()))
                }
                [byte] => return Err(FrameError::DtmfDigit { byte: *byte }),
                _ => return Err(FrameError::DtmfLength { bytes }),
            },
            ERROR => Self::Error(payload),
            _ => match AudioType::from_byte(kind) {
                Some(audio) => Self::Audio(audio, payload),
                None => Self::Unknown { kind, payload },
            },
        })
    }

    /// Writes header and payload to the beginning of `out`; the number of bytes. They are to leave in one `write`.
    ///
    /// # Errors
    /// Any [`WriteError`]; nothing is written then.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, WriteError> {
        let mut digit = [0];
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Hangup => (HANGUP, &[]),
            Self::Uuid(uuid) => (UUID, uuid),
            Self::Dtmf(key) => {
                // All keys that a frame is read with are ASCII; another one is written as what is surely refused.
                digit[0] = u8::try_from(*key).unwrap_or(0);
                (DTMF, &digit)
            }
            Self::Audio(_, []) => return Err(WriteError::NoAudio),
            Self::Audio(audio, payload) => (*audio as u8, payload),
            Self::Error(payload) => (ERROR, payload),
            Self::Unknown { kind, payload } => (*kind, payload),
        };
        let bytes = payload.len();
        let length = u16::try_from(bytes).map_err(|_| WriteError::TooLong { bytes })?;
        let (room, needed) = (out.len(), HEADER_BYTES + bytes);
        let Some((header, rest)) = out.split_first_chunk_mut::<HEADER_BYTES>().filter(|_| needed <= room) else {
            return Err(WriteError::NoRoom { needed, room });
        };
        let [high, low] = length.to_be_bytes();
        *header = [kind, high, low];
        rest[..bytes].copy_from_slice(payload);
        Ok(needed)
    }
}

/// Finds the frames in what comes from a connection. Holds nothing but the beginning of a frame whose end has not come; its
/// buffer grows to the longest frame that was ever split (at most 65,538 bytes), and is kept.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a frame, or all of it when it was just given out.
    pending: Vec<u8>,
    given_out: bool,
}

impl Reader {
    /// At the beginning of a stream.
    pub const fn new() -> Self {
        Self { pending: Vec::new(), given_out: false }
    }

    /// The next frame of the stream, of which `input` holds the next bytes; what is used of it is cut off its front. To be called
    /// until `None`: then `input` is empty, and what was left of it is kept for the next time.
    ///
    /// A frame that lies in `input` as a whole is not copied.
    pub fn next_frame<'r, 'i: 'r>(&'r mut self, input: &mut &'i [u8]) -> Option<Result<Frame<'r>, FrameError>> {
        if self.given_out {
            self.pending.clear();
            self.given_out = false;
        }
        if self.pending.is_empty()
            && let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>()
            && let Some((payload, rest)) = rest.split_at_checked(payload_bytes(header))
        {
            *input = rest;
            return Some(Frame::parse(header[0], payload));
        }
        if !self.fill(HEADER_BYTES, input) {
            return None;
        }
        let header = self.pending.first_chunk().copied().unwrap_or_default();
        if !self.fill(HEADER_BYTES + payload_bytes(&header), input) {
            return None;
        }
        self.given_out = true;
        Some(Frame::parse(header[0], &self.pending[HEADER_BYTES..]))
    }

    /// Takes bytes until `pending` has `length`; whether it has.
    fn fill(&mut self, length: usize, input: &mut &[u8]) -> bool {
        let missing = length.saturating_sub(self.pending.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        if !taken.is_empty() {
            self.pending.reserve_exact(missing);
        }
        self.pending.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }
}

fn payload_bytes(header: &[u8; HEADER_BYTES]) -> usize {
    u16::from_be_bytes([header[1], header[2]]).into()
}
