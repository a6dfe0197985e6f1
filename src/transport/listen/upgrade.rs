//! The opening handshake of a WebSocket (RFC 6455, section 4), as server and as client: `tungstenite` checks and makes the
//! messages, here are the bytes around them.

use sha2::{Digest, Sha256};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;

/// The sub-protocol of `chan_websocket`.
pub(super) const MEDIA: &str = "media";
/// Request or response with all headers. Asterisk's have a few hundred bytes.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Why there is no head of a message.
#[derive(Debug)]
pub(super) enum HeadError {
    /// Not HTTP, or longer than any that is meant well.
    NotHttp,
    /// The connection broke or ended.
    Broken(io::Error),
}

/// Reads a request or a response. What came behind it is put into `read`.
pub(super) async fn read_head<H: TryParse>(
    stream: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
) -> Result<H, HeadError> {
    loop {
        if stream.read_buf(read).await.map_err(HeadError::Broken)? == 0 {
            return Err(HeadError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match H::try_parse(read) {
            Ok(Some((bytes, head))) => {
                read.drain(..bytes);
                return Ok(head);
            }
            Ok(None) if read.len() < MAX_HEAD_BYTES => {}
            Ok(None) | Err(_) => return Err(HeadError::NotHttp),
        }
    }
}

/// Whether a comma-separated header has this value.
pub(super) fn lists(header: Option<&http::HeaderValue>, value: &str) -> bool {
    let listed = header.and_then(|header| header.to_str().ok()).unwrap_or_default();
    listed.split(',').any(|one| one.trim().eq_ignore_ascii_case(value))
}

/// What the header `Authorization` of a permitted request has (RFC 7617). Kept as a hash, so that comparing takes the same
/// time wherever a wrong one differs, and nothing is there to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BasicLogin([u8; 32]);

impl BasicLogin {
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self::hash(&base64(format!("{username}:{password}").as_bytes()))
    }

    fn hash(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    pub(super) fn permits(&self, authorization: Option<&http::HeaderValue>) -> bool {
        let given = authorization.and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("basic") && Self::hash(token.trim()) == *self)
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().zip([16, 8, 0]).fold(0, |word, (byte, shift)| word | u32::from(*byte) << shift);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let sextet = (word >> shift & 0x3F) as usize;
            text.push(if place <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}
