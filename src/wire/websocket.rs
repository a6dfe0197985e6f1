//! WebSocket frames (RFC 6455, section 5), as client and as server, without the opening handshake.
//!
//! Media over WebSocket is 50 small messages a second each way for every call. `tungstenite` allocates for every message and
//! buffers on its own: measured, 1.6 to 2.4 times what the same frames cost over bare TCP, and 8 to 137 KB a connection. So a
//! message is read here where it lies and written into the caller's buffer. Where a message is rare, on the events socket of
//! ARI, and for opening handshakes, `tungstenite` is used.
//!
//! Extensions are not supported and must not be negotiated: Asterisk has none.

mod decoder;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;

use std::str;

/// The longest header: 2 bytes, a length of 8, a key of 4.
pub const MAX_HEADER_BYTES: usize = 14;
/// The longest payload of a ping, pong or close.
pub const MAX_CONTROL_BYTES: usize = 125;
/// The usual limit for a received message: what Asterisk itself takes.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We have dialled: what we send is masked, what comes is not.
    Client,
    /// The peer has dialled: what comes is masked.
    Server,
}

/// A message, or a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
    /// To be answered with a [`Message::Pong`] of the same bytes. At most [`MAX_CONTROL_BYTES`].
    Ping(&'a [u8]),
    /// The answer to a ping, or a sign of life without one.
    Pong(&'a [u8]),
    /// The end, to be answered with the same unless we closed first.
    Close(Option<Close<'a>>),
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// RFC 6455, section 7.4: 1000 for a normal end.
    pub code: u16,
    /// For a log; often empty. At most 123 bytes.
    pub reason: &'a str,
}

/// Why what came is not WebSocket. The connection cannot be used any more: where the next frame begins is not known, or
/// the peer is not to be trusted. To be closed with [`WebSocketError::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// An extension that was never agreed on, or not a WebSocket at all.
    #[error(
        "reserved bits are set in a WebSocket frame (first byte {first_byte:#04x}): an extension that was not agreed on"
    )]
    ReservedBits {
        /// The first byte of the frame.
        first_byte: u8,
    },
    /// Section 5.2.
    #[error("WebSocket opcode {opcode} does not exist")]
    Opcode {
        /// 3 to 7, 11 to 15.
        opcode: u8,
    },
    /// Section 5.1: a server does not mask.
    #[error("a masked WebSocket frame came from a server")]
    Masked,
    /// Section 5.1: a client always masks.
    #[error("a WebSocket frame without mask came from a client")]
    NotMasked,
    /// Section 5.5.
    #[error("a WebSocket control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5.
    #[error("a WebSocket control frame is longer than {MAX_CONTROL_BYTES} bytes")]
    ControlTooLong,
    /// Section 5.2: the shortest form must be used.
    #[error("the length {length} of a WebSocket frame is not written in its shortest form")]
    LengthNotMinimal {
        /// The length.
        length: u64,
    },
    /// Longer than the limit of the decoder.
    #[error("a WebSocket message has at least {bytes} bytes, the limit is {limit}")]
    MessageTooLong {
        /// What was announced, fragments together.
        bytes: u64,
        /// What is allowed.
        limit: usize,
    },
    /// Section 5.4.
    #[error("a WebSocket message is continued that was never begun")]
    NothingToContinue,
    /// Section 5.4.
    #[error("a WebSocket message begins in the middle of another one")]
    NotContinued,
    /// Section 8.1.
    #[error("a WebSocket text is not UTF-8")]
    NotUtf8,
    /// Section 5.5.1: a code has two bytes.
    #[error("a WebSocket close frame has one byte")]
    CloseLength,
    /// Section 7.4.
    #[error("WebSocket close code {code} must not be sent")]
    CloseCode {
        /// What came.
        code: u16,
    },
}

impl WebSocketError {
    /// What to close the connection with (section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::NotUtf8 => 1007,
            Self::MessageTooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

/// Why a message cannot be written. Nothing was written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The buffer is too short.
    #[error("a WebSocket frame of {needed} bytes does not fit a buffer of {room}")]
    NoRoom {
        /// Bytes with header.
        needed: usize,
        /// Bytes in the buffer.
        room: usize,
    },
    /// Section 5.5.
    #[error("a WebSocket control frame of {bytes} bytes is longer than {MAX_CONTROL_BYTES}")]
    ControlTooLong {
        /// Length of its payload.
        bytes: usize,
    },
}

/// Opcodes, section 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    const fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

impl Message<'_> {
    /// Writes the message as one frame to the beginning of `out`; the number of bytes, which is at most [`MAX_HEADER_BYTES`]
    /// more than the payload.
    ///
    /// `key` masks what a client sends, and is not used by a server. It is to be unpredictable (section 5.3): against
    /// whoever chooses the payload and listens in between, not against the peer.
    ///
    /// # Errors
    /// Any [`WriteError`]; nothing is written then.
    pub fn write(&self, role: Role, key: [u8; 4], out: &mut [u8]) -> Result<usize, WriteError> {
        let code;
        // A close has its code in front of the reason.
        let (opcode, front, payload): (Opcode, &[u8], &[u8]) = match self {
            Self::Text(text) => (Opcode::Text, &[], text.as_bytes()),
            Self::Binary(bytes) => (Opcode::Binary, &[], bytes),
            Self::Ping(bytes) => (Opcode::Ping, &[], bytes),
            Self::Pong(bytes) => (Opcode::Pong, &[], bytes),
            Self::Close(None) => (Opcode::Close, &[], &[]),
            Self::Close(Some(close)) => {
                code = close.code.to_be_bytes();
                (Opcode::Close, &code, close.reason.as_bytes())
            }
        };
        let bytes = front.len() + payload.len();
        if opcode.is_control() && bytes > MAX_CONTROL_BYTES {
            return Err(WriteError::ControlTooLong { bytes });
        }
        let mask = if role == Role::Client { MASKED } else { 0 };
        let mut header = [0; MAX_HEADER_BYTES];
        header[0] = FIN | opcode as u8;
        let mut header_bytes = 2;
        if let Ok(length @ 0..=125) = u8::try_from(bytes) {
            header[1] = mask | length;
        } else if let Ok(length) = u16::try_from(bytes) {
            header[1] = mask | 126;
            header[2..4].copy_from_slice(&length.to_be_bytes());
            header_bytes = 4;
        } else {
            header[1] = mask | 127;
            header[2..10].copy_from_slice(&(bytes as u64).to_be_bytes());
            header_bytes = 10;
        }
        if role == Role::Client {
            header[header_bytes..header_bytes + 4].copy_from_slice(&key);
            header_bytes += 4;
        }
        let (needed, room) = (header_bytes + bytes, out.len());
        if needed > room {
            return Err(WriteError::NoRoom { needed, room });
        }
        out[..header_bytes].copy_from_slice(&header[..header_bytes]);
        let body = &mut out[header_bytes..needed];
        body[..front.len()].copy_from_slice(front);
        body[front.len()..].copy_from_slice(payload);
        if role == Role::Client {
            apply_mask(key, body);
        }
        Ok(needed)
    }
}

/// Masks what is not, and the other way round (section 5.3).
fn apply_mask(key: [u8; 4], payload: &mut [u8]) {
    let word = u32::from_ne_bytes(key);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// What stands in front of a payload.
#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    opcode: Opcode,
    /// Bytes of the header itself.
    bytes: usize,
    /// Bytes of the payload.
    length: u64,
    key: Option<[u8; 4]>,
}

/// A header, or how many bytes it takes to know more.
enum HeaderStep {
    Ready(Header),
    Needs(usize),
}

impl Header {
    /// Reads as much as is there; what is wrong is said as soon as it can be seen.
    fn read(bytes: &[u8], role: Role) -> Result<HeaderStep, WebSocketError> {
        let &[first_byte, ref rest @ ..] = bytes else { return Ok(HeaderStep::Needs(2)) };
        if first_byte & RESERVED != 0 {
            return Err(WebSocketError::ReservedBits { first_byte });
        }
        let bits = first_byte & 0x0F;
        let opcode = Opcode::from_bits(bits).ok_or(WebSocketError::Opcode { opcode: bits })?;
        let fin = first_byte & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(WebSocketError::FragmentedControl);
        }
        let &[second_byte, ref rest @ ..] = rest else { return Ok(HeaderStep::Needs(2)) };
        let masked = second_byte & MASKED != 0;
        match role {
            Role::Client if masked => return Err(WebSocketError::Masked),
            Role::Server if !masked => return Err(WebSocketError::NotMasked),
            _ => {}
        }
        let short = second_byte & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL_BYTES {
            return Err(WebSocketError::ControlTooLong);
        }
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let header_bytes = 2 + length_bytes + if masked { 4 } else { 0 };
        let Some((extended, rest)) = rest.split_at_checked(length_bytes) else {
            return Ok(HeaderStep::Needs(header_bytes));
        };
        let length = match short {
            126 | 127 => extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            _ => short.into(),
        };
        let shortest = match short {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if length < shortest {
            return Err(WebSocketError::LengthNotMinimal { length });
        }
        let key = match rest.first_chunk() {
            Some(key) if masked => Some(*key),
            None if masked => return Ok(HeaderStep::Needs(header_bytes)),
            _ => None,
        };
        Ok(HeaderStep::Ready(Self { fin, opcode, bytes: header_bytes, length, key }))
    }
}

impl<'a> Message<'a> {
    fn read(opcode: Opcode, payload: &'a [u8]) -> Result<Self, WebSocketError> {
        let text = |bytes| str::from_utf8(bytes).map_err(|_| WebSocketError::NotUtf8);
        Ok(match opcode {
            Opcode::Text => Self::Text(text(payload)?),
            Opcode::Binary | Opcode::Continuation => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong(payload),
            Opcode::Close => Self::Close(match payload {
                [] => None,
                [_] => return Err(WebSocketError::CloseLength),
                [high, low, reason @ ..] => {
                    let code = u16::from_be_bytes([*high, *low]);
                    // 1004 to 1006 and 1015 are for inside a program; 1016 to 2999 are for future versions.
                    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                        return Err(WebSocketError::CloseCode { code });
                    }
                    Some(Close { code, reason: text(reason)? })
                }
            }),
        })
    }
}
