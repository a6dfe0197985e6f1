//! Control messages of `chan_websocket`.

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a message.
    Json,
    /// Words.
    PlainText,
}
