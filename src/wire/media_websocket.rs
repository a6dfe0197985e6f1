//! The control messages of Asterisk's `chan_websocket`: text messages beside the audio, in one of two forms.
//!
//! - plain text: `NAME`, then words of the form `key:value` (`chan_websocket` of Asterisk 20.16, 21.11, 22.6 and later);
//! - JSON: an object with `"event"` or `"command"` (20.18, 22.8 and later).
//!
//! Asterisk sends [`Event`]s and takes [`Command`]s. Both are read and written here, since the load test plays Asterisk.

use std::borrow::Cow;

/// Asterisk ignores a longer command.
pub const MAX_COMMAND_BYTES: usize = 128;

/// How control messages are written; the channel has one form for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// An object of JSON a message: `f(json)` in the dial string.
    Json,
    /// Words: what Asterisk does unless told otherwise.
    PlainText,
}

/// What Asterisk tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// `MEDIA_START`: the first message. Audio may come before it.
    MediaStart(MediaStart<'a>),
    /// `DTMF_END`: the bridged party released a key.
    DtmfEnd {
        /// `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
    },
    /// `MEDIA_XOFF`: 900 frames are queued; what is sent on may be thrown away.
    MediaXoff,
    /// `MEDIA_XON`: fewer than 800 frames are queued.
    MediaXon,
    /// `MEDIA_BUFFERING_COMPLETED`: all that was sent before `STOP_MEDIA_BUFFERING` has been played.
    MediaBufferingCompleted {
        /// As in the command.
        id: Option<Cow<'a, str>>,
    },
    /// `MEDIA_MARK_PROCESSED`: all that was sent before the mark has been handed to the bridge. A mark that was flushed is never reported.
    MediaMarkProcessed {
        /// As in the command.
        id: Option<Cow<'a, str>>,
    },
    /// `QUEUE_DRAINED`: once after `REPORT_QUEUE_DRAINED`.
    QueueDrained,
    /// `STATUS`: the answer to `GET_STATUS`.
    Status(Status),
    /// `ERROR`: a command could not be done.
    Error {
        /// In Asterisk's words.
        text: Cow<'a, str>,
    },
    /// An event that is not known here: to be counted, and otherwise ignored.
    Unknown {
        /// Its name.
        name: Cow<'a, str>,
    },
}

/// What a channel is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaStart<'a> {
    /// What we dialled, or the name of the client section if Asterisk did.
    pub connection_id: Cow<'a, str>,
    /// The channel's name.
    pub channel: Cow<'a, str>,
    /// The channel's id, which ARI knows it by.
    pub channel_id: Cow<'a, str>,
    /// Asterisk's name of the codec.
    pub format: Cow<'a, str>,
    /// Bytes of a frame; 0 where frames are passed through as they come (Opus).
    pub optimal_frame_size: u32,
    /// Length of a frame in milliseconds; before 22.8 it may not be told.
    pub ptime_ms: Option<u32>,
}

/// How the queue of a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Frames that wait to be played.
    pub queue_length: u32,
    /// `MEDIA_XON` comes below so many.
    pub xon_level: u32,
    /// `MEDIA_XOFF` comes at so many.
    pub xoff_level: u32,
    /// `MEDIA_XOFF` was sent, and no `MEDIA_XON` yet.
    pub queue_full: bool,
    /// Between `START_MEDIA_BUFFERING` and `STOP_MEDIA_BUFFERING`.
    pub bulk_media: bool,
    /// After `PAUSE_MEDIA`.
    pub media_paused: bool,
}

/// What Asterisk is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `ANSWER`: for a channel that was dialled with `n`.
    Answer,
    /// `HANGUP`.
    HangUp,
    /// `START_MEDIA_BUFFERING`: messages of any size from now on.
    StartMediaBuffering,
    /// `STOP_MEDIA_BUFFERING`: [`Event::MediaBufferingCompleted`] will say when all has been played.
    StopMediaBuffering {
        /// To be said again in the event.
        id: Option<Cow<'a, str>>,
    },
    /// `MARK_MEDIA`: [`Event::MediaMarkProcessed`] will say when all before has been played (22.8).
    MarkMedia {
        /// To be said again in the event.
        id: Option<Cow<'a, str>>,
    },
    /// `FLUSH_MEDIA`: forget all that waits, with its marks; none of these is reported any more.
    FlushMedia,
    /// `PAUSE_MEDIA`.
    PauseMedia,
    /// `CONTINUE_MEDIA`.
    ContinueMedia,
    /// `REPORT_QUEUE_DRAINED`: one [`Event::QueueDrained`] when nothing waits.
    ReportQueueDrained,
    /// `GET_STATUS`.
    GetStatus,
    /// `SET_MEDIA_DIRECTION`: in JSON only (22.9).
    SetMediaDirection(Direction),
}

/// Where audio flows, as we see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    Both,
    /// We only receive.
    In,
    /// We only send.
    Out,
}

/// Why a message cannot be read. The connection goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not JSON, or not an object of it.
    #[error("a control message is not a JSON object: {cause}")]
    Json {
        /// What the parser says, with the place.
        cause: String,
    },
    /// Neither event nor command.
    #[error("a control message has no name")]
    NoName,
    /// A value that must be there is not.
    #[error("{message} lacks {key}")]
    Missing {
        /// Name of the message.
        message: &'static str,
        /// What is not there.
        key: &'static str,
    },
    /// A value that cannot be.
    #[error("{message}: {key} is not {expected}")]
    Value {
        /// Name of the message.
        message: &'static str,
        /// Of which value.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A command that is not known.
    #[error("there is no such command")]
    UnknownCommand,
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Asterisk would ignore it.
    #[error("a command of {bytes} bytes is longer than the {MAX_COMMAND_BYTES} that Asterisk reads")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// This command has no plain-text form.
    #[error("SET_MEDIA_DIRECTION can be written as JSON only")]
    JsonOnly,
    /// Plain text cannot carry an empty id, a line break or another control character.
    #[error("an id or text that is empty or has control characters cannot be written as plain text")]
    Text,
}

impl<'a> Event<'a> {
    /// Reads what Asterisk sent. Values that are not known are ignored.
    ///
    /// # Errors
    /// Any [`MessageError`]; an event that is not known is [`Event::Unknown`] and no error.
    pub fn parse(text: &'a str, format: Format) -> Result<Self, MessageError> {
        let _ = (text, format);
        Err(MessageError::NoName)
    }

    /// Appends the event to `out` as Asterisk writes it. `channel_id` is in most of them.
    ///
    /// # Errors
    /// [`WriteError::Text`]; `out` is as it was then.
    pub fn write(&self, channel_id: &str, format: Format, out: &mut String) -> Result<(), WriteError> {
        let _ = (channel_id, format, out);
        Err(WriteError::Text)
    }
}

impl<'a> Command<'a> {
    /// Reads what was sent to Asterisk.
    ///
    /// # Errors
    /// Any [`MessageError`].
    pub fn parse(text: &'a str, format: Format) -> Result<Self, MessageError> {
        let _ = (text, format);
        Err(MessageError::NoName)
    }

    /// Appends the command to `out`; nothing is allocated if that has room for [`MAX_COMMAND_BYTES`].
    ///
    /// # Errors
    /// Any [`WriteError`]; `out` is as it was then.
    pub fn write(&self, format: Format, out: &mut String) -> Result<(), WriteError> {
        let _ = (format, out);
        Err(WriteError::Text)
    }
}
