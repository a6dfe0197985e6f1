//! The control messages of Asterisk's `chan_websocket`: text messages beside the audio, in one of two forms.
//!
//! - plain text: `NAME`, then words of the form `key:value` (`chan_websocket` of Asterisk 20.16, 21.11, 22.6 and later);
//! - JSON: an object with `"event"` or `"command"` (20.18, 22.8 and later).
//!
//! Asterisk sends [`Event`]s and takes [`Command`]s. Both are read and written here, since the load test plays Asterisk.
//! Nothing is allocated for what comes and goes with the audio (marks, XON, XOFF), as long as ids need no escapes.

mod fields;
#[cfg(test)]
mod tests;
mod writer;

use fields::{Fields, present, split_name};
use std::borrow::Cow;
use writer::Writer;

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
    #[error("{key} of a control message is not {expected}")]
    Value {
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
    /// Reads what Asterisk sent. Keys that are not known are ignored.
    ///
    /// # Errors
    /// Any [`MessageError`]; an event that is not known is [`Event::Unknown`] and no error.
    pub fn parse(text: &'a str, format: Format) -> Result<Self, MessageError> {
        match format {
            Format::Json => {
                let mut fields = Fields::from_json(text)?;
                let name = fields.event.take().ok_or(MessageError::NoName)?;
                Self::from_fields(name.0, fields)
            }
            Format::PlainText => {
                let (name, rest) = split_name(text)?;
                let fields = match name {
                    // An id stands there without a key.
                    MARK_PROCESSED | BUFFERING_COMPLETED => Fields::of_id(rest),
                    _ => Fields::from_words(rest)?,
                };
                Self::from_fields(name.into(), fields)
            }
        }
    }

    fn from_fields(name: Cow<'a, str>, fields: Fields<'a>) -> Result<Self, MessageError> {
        Ok(match &*name {
            START => Self::MediaStart(MediaStart {
                connection_id: present(START, "connection_id", fields.connection_id)?.0,
                channel: present(START, "channel", fields.channel)?.0,
                channel_id: present(START, "channel_id", fields.channel_id)?.0,
                format: present(START, "format", fields.format)?.0,
                optimal_frame_size: present(START, "optimal_frame_size", fields.optimal_frame_size)?,
                ptime_ms: fields.ptime,
            }),
            DTMF_END => {
                let wrong = MessageError::Value { key: "digit", expected: "one of 0-9 * # A-D" };
                match present(DTMF_END, "digit", fields.digit)?.0.as_bytes() {
                    [digit @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D' | b'a'..=b'd')] => {
                        Self::DtmfEnd { digit: char::from(digit.to_ascii_uppercase()) }
                    }
                    _ => return Err(wrong),
                }
            }
            XOFF => Self::MediaXoff,
            XON => Self::MediaXon,
            BUFFERING_COMPLETED => Self::MediaBufferingCompleted { id: fields.id() },
            MARK_PROCESSED => Self::MediaMarkProcessed { id: fields.id() },
            QUEUE_DRAINED => Self::QueueDrained,
            STATUS => Self::Status(Status {
                queue_length: present(STATUS, "queue_length", fields.queue_length)?,
                xon_level: present(STATUS, "xon_level", fields.xon_level)?,
                xoff_level: present(STATUS, "xoff_level", fields.xoff_level)?,
                queue_full: present(STATUS, "queue_full", fields.queue_full)?,
                bulk_media: present(STATUS, "bulk_media", fields.bulk_media)?,
                media_paused: present(STATUS, "media_paused", fields.media_paused)?,
            }),
            ERROR => Self::Error { text: present(ERROR, "error_text", fields.error_text)?.0 },
            _ => Self::Unknown { name },
        })
    }

    /// Appends the event to `out` as Asterisk writes it. `channel_id` is in most of them.
    ///
    /// # Errors
    /// [`WriteError::Text`]; `out` is as it was then.
    pub fn write(&self, channel_id: &str, format: Format, out: &mut String) -> Result<(), WriteError> {
        let name = match self {
            Self::MediaStart(_) => START,
            Self::DtmfEnd { .. } => DTMF_END,
            Self::MediaXoff => XOFF,
            Self::MediaXon => XON,
            Self::MediaBufferingCompleted { .. } => BUFFERING_COMPLETED,
            Self::MediaMarkProcessed { .. } => MARK_PROCESSED,
            Self::QueueDrained => QUEUE_DRAINED,
            Self::Status(_) => STATUS,
            Self::Error { .. } => ERROR,
            Self::Unknown { name } => name,
        };
        let json = format == Format::Json;
        let mut writer = Writer::begin(format, "event", name, out);
        match self {
            Self::MediaStart(start) => {
                writer.text("connection_id", &start.connection_id);
                writer.text("channel", &start.channel);
                writer.text("channel_id", &start.channel_id);
                writer.text("format", &start.format);
                writer.value("optimal_frame_size", start.optimal_frame_size);
                if let Some(ptime) = start.ptime_ms {
                    writer.value("ptime", ptime);
                }
                if json {
                    writer.value("channel_variables", "{}");
                }
            }
            Self::DtmfEnd { digit } => {
                writer.text("digit", digit.encode_utf8(&mut [0; 4]));
                writer.text("channel_id", channel_id);
            }
            Self::MediaBufferingCompleted { id } | Self::MediaMarkProcessed { id } => {
                if json {
                    writer.text("channel_id", channel_id);
                    writer.text("correlation_id", id.as_deref().unwrap_or_default());
                } else if let Some(id) = id {
                    writer.argument(id);
                }
            }
            Self::Status(status) => {
                writer.text("channel_id", channel_id);
                writer.value("queue_length", status.queue_length);
                writer.value("xon_level", status.xon_level);
                writer.value("xoff_level", status.xoff_level);
                writer.value("queue_full", status.queue_full);
                writer.value("bulk_media", status.bulk_media);
                writer.value("media_paused", status.media_paused);
            }
            Self::Error { text } => {
                writer.text("channel_id", channel_id);
                writer.text("error_text", text);
            }
            Self::MediaXoff | Self::MediaXon | Self::QueueDrained | Self::Unknown { .. } => {
                if json {
                    writer.text("channel_id", channel_id);
                }
            }
        }
        writer.end(usize::MAX)
    }
}

impl<'a> Command<'a> {
    /// Reads what was sent to Asterisk.
    ///
    /// # Errors
    /// Any [`MessageError`].
    pub fn parse(text: &'a str, format: Format) -> Result<Self, MessageError> {
        match format {
            Format::Json => {
                let mut fields = Fields::from_json(text)?;
                let name = fields.command.take().ok_or(MessageError::NoName)?;
                Self::from_fields(&name.0, fields)
            }
            Format::PlainText => {
                let (name, rest) = split_name(text)?;
                Self::from_fields(name, Fields::of_id(rest))
            }
        }
    }

    fn from_fields(name: &str, fields: Fields<'a>) -> Result<Self, MessageError> {
        Ok(match name {
            ANSWER => Self::Answer,
            HANGUP => Self::HangUp,
            START_BUFFERING => Self::StartMediaBuffering,
            STOP_BUFFERING => Self::StopMediaBuffering { id: fields.id() },
            MARK => Self::MarkMedia { id: fields.id() },
            FLUSH => Self::FlushMedia,
            PAUSE => Self::PauseMedia,
            CONTINUE => Self::ContinueMedia,
            REPORT_DRAINED => Self::ReportQueueDrained,
            GET_STATUS => Self::GetStatus,
            SET_DIRECTION => match &*present(SET_DIRECTION, "direction", fields.direction)?.0 {
                "both" => Self::SetMediaDirection(Direction::Both),
                "in" => Self::SetMediaDirection(Direction::In),
                "out" => Self::SetMediaDirection(Direction::Out),
                _ => return Err(MessageError::Value { key: "direction", expected: "both, in or out" }),
            },
            _ => return Err(MessageError::UnknownCommand),
        })
    }

    /// Appends the command to `out`; nothing is allocated if that has room for [`MAX_COMMAND_BYTES`].
    ///
    /// # Errors
    /// Any [`WriteError`]; `out` is as it was then.
    pub fn write(&self, format: Format, out: &mut String) -> Result<(), WriteError> {
        let (name, id, direction) = match self {
            Self::Answer => (ANSWER, None, None),
            Self::HangUp => (HANGUP, None, None),
            Self::StartMediaBuffering => (START_BUFFERING, None, None),
            Self::StopMediaBuffering { id } => (STOP_BUFFERING, id.as_deref(), None),
            Self::MarkMedia { id } => (MARK, id.as_deref(), None),
            Self::FlushMedia => (FLUSH, None, None),
            Self::PauseMedia => (PAUSE, None, None),
            Self::ContinueMedia => (CONTINUE, None, None),
            Self::ReportQueueDrained => (REPORT_DRAINED, None, None),
            Self::GetStatus => (GET_STATUS, None, None),
            Self::SetMediaDirection(_) if format == Format::PlainText => return Err(WriteError::JsonOnly),
            Self::SetMediaDirection(Direction::Both) => (SET_DIRECTION, None, Some("both")),
            Self::SetMediaDirection(Direction::In) => (SET_DIRECTION, None, Some("in")),
            Self::SetMediaDirection(Direction::Out) => (SET_DIRECTION, None, Some("out")),
        };
        let mut writer = Writer::begin(format, "command", name, out);
        match (id, format) {
            (Some(id), Format::Json) => writer.text("correlation_id", id),
            (Some(id), Format::PlainText) => writer.argument(id),
            (None, _) => {}
        }
        if let Some(direction) = direction {
            writer.text("direction", direction);
        }
        writer.end(MAX_COMMAND_BYTES)
    }
}

const START: &str = "MEDIA_START";
const DTMF_END: &str = "DTMF_END";
const XOFF: &str = "MEDIA_XOFF";
const XON: &str = "MEDIA_XON";
const BUFFERING_COMPLETED: &str = "MEDIA_BUFFERING_COMPLETED";
const MARK_PROCESSED: &str = "MEDIA_MARK_PROCESSED";
const QUEUE_DRAINED: &str = "QUEUE_DRAINED";
const STATUS: &str = "STATUS";
const ERROR: &str = "ERROR";

const ANSWER: &str = "ANSWER";
const HANGUP: &str = "HANGUP";
const START_BUFFERING: &str = "START_MEDIA_BUFFERING";
const STOP_BUFFERING: &str = "STOP_MEDIA_BUFFERING";
const MARK: &str = "MARK_MEDIA";
const FLUSH: &str = "FLUSH_MEDIA";
const PAUSE: &str = "PAUSE_MEDIA";
const CONTINUE: &str = "CONTINUE_MEDIA";
const REPORT_DRAINED: &str = "REPORT_QUEUE_DRAINED";
const GET_STATUS: &str = "GET_STATUS";
const SET_DIRECTION: &str = "SET_MEDIA_DIRECTION";
