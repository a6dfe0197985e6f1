//! The values of a message, read from either form.

use super::MessageError;
use serde::Deserialize;
use std::borrow::Cow;

/// The name of a message in plain text, and what follows it.
pub(super) fn split_name(text: &str) -> Result<(&str, &str), MessageError> {
    let text = text.trim();
    match text.split_once(' ').unwrap_or((text, "")) {
        ("", _) => Err(MessageError::NoName),
        (name, rest) => Ok((name, rest.trim_start())),
    }
}

pub(super) fn present<T>(message: &'static str, key: &'static str, value: Option<T>) -> Result<T, MessageError> {
    value.ok_or(MessageError::Missing { message, key })
}

/// A text of JSON that is borrowed unless it has escapes.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// All values that any message has.
#[derive(Default, Deserialize)]
pub(super) struct Fields<'a> {
    #[serde(borrow)]
    pub(super) event: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) command: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) connection_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) channel: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) channel_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) format: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) correlation_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) error_text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) digit: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) direction: Option<Text<'a>>,
    pub(super) optimal_frame_size: Option<u32>,
    pub(super) ptime: Option<u32>,
    pub(super) queue_length: Option<u32>,
    pub(super) xon_level: Option<u32>,
    pub(super) xoff_level: Option<u32>,
    pub(super) queue_full: Option<bool>,
    pub(super) bulk_media: Option<bool>,
    pub(super) media_paused: Option<bool>,
}

impl<'a> Fields<'a> {
    pub(super) fn from_json(text: &'a str) -> Result<Self, MessageError> {
        // A list would be taken for the values in order.
        if !text.trim_start().starts_with('{') {
            return Err(MessageError::Json { cause: "it does not begin with {".to_owned() });
        }
        serde_json::from_str(text).map_err(|error| MessageError::Json { cause: error.to_string() })
    }

    pub(super) fn of_id(id: &'a str) -> Self {
        Self { correlation_id: Some(Text(id.into())), ..Self::default() }
    }

    /// Words of the form `key:value`. A word without a key belongs to the value before it: names of channels may hold spaces.
    pub(super) fn from_words(text: &'a str) -> Result<Self, MessageError> {
        let mut fields = Self::default();
        let mut open: Option<(&str, usize)> = None;
        let mut start = 0;
        for word in text.split(' ') {
            if let Some((key, _)) = word.split_once(':').filter(|(key, _)| is_key(key)) {
                if let Some((key, from)) = open {
                    fields.set(key, text[from..start].trim_end())?;
                }
                open = Some((key, start + key.len() + 1));
                // All the rest, whatever is in it.
                if key == "error_text" {
                    break;
                }
            }
            start += word.len() + 1;
        }
        if let Some((key, from)) = open {
            fields.set(key, text[from..].trim_end())?;
        }
        Ok(fields)
    }

    fn set(&mut self, key: &str, value: &'a str) -> Result<(), MessageError> {
        let text = || Some(Text(value.into()));
        match key {
            "connection_id" => self.connection_id = text(),
            "channel" => self.channel = text(),
            "channel_id" => self.channel_id = text(),
            "format" => self.format = text(),
            "error_text" => self.error_text = text(),
            "digit" => self.digit = text(),
            "optimal_frame_size" => self.optimal_frame_size = number("optimal_frame_size", value)?,
            "ptime" => self.ptime = number("ptime", value)?,
            "queue_length" => self.queue_length = number("queue_length", value)?,
            "xon_level" => self.xon_level = number("xon_level", value)?,
            "xoff_level" => self.xoff_level = number("xoff_level", value)?,
            "queue_full" => self.queue_full = flag("queue_full", value)?,
            "bulk_media" => self.bulk_media = flag("bulk_media", value)?,
            "media_paused" => self.media_paused = flag("media_paused", value)?,
            _ => {}
        }
        Ok(())
    }

    /// Asterisk writes an empty one where none was given.
    pub(super) fn id(self) -> Option<Cow<'a, str>> {
        self.correlation_id.map(|id| id.0).filter(|id| !id.is_empty())
    }
}

fn number(key: &'static str, value: &str) -> Result<Option<u32>, MessageError> {
    value.parse().map(Some).map_err(|_| MessageError::Value { key, expected: "a number" })
}

fn flag(key: &'static str, value: &str) -> Result<Option<bool>, MessageError> {
    value.parse().map(Some).map_err(|_| MessageError::Value { key, expected: "true or false" })
}

/// Whether this may be a key, known or not.
fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
