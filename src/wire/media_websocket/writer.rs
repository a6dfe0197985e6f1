//! Writes a message in either form.

use super::{Format, WriteError};
use std::fmt::Write;

/// Writes one message in either form.
pub(super) struct Writer<'o> {
    out: &'o mut String,
    format: Format,
    /// Where the message begins.
    start: usize,
    failed: bool,
}

impl<'o> Writer<'o> {
    pub(super) fn begin(format: Format, kind: &str, name: &str, out: &'o mut String) -> Self {
        let start = out.len();
        let mut this = Self { out, format, start, failed: false };
        match format {
            Format::Json => {
                this.out.push('{');
                this.quoted(kind);
                this.out.push(':');
                this.quoted(name);
            }
            Format::PlainText => this.plain(name),
        }
        this
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        match self.format {
            Format::Json => self.quoted(value),
            Format::PlainText => self.plain(value),
        }
    }

    /// A number, a flag, or what is JSON already.
    pub(super) fn value(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        // Writing to a string does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// What plain text has without a key.
    pub(super) fn argument(&mut self, value: &str) {
        self.out.push(' ');
        self.plain(value);
    }

    fn key(&mut self, key: &str) {
        match self.format {
            Format::Json => {
                self.out.push(',');
                self.quoted(key);
            }
            Format::PlainText => {
                self.out.push(' ');
                self.out.push_str(key);
            }
        }
        self.out.push(':');
    }

    fn plain(&mut self, value: &str) {
        self.failed |= value.is_empty() || value.trim() != value || value.contains(char::is_control);
        self.out.push_str(value);
    }

    /// RFC 8259, section 7.
    fn quoted(&mut self, value: &str) {
        self.out.push('"');
        for character in value.chars() {
            match character {
                '"' | '\\' => self.out.extend(['\\', character]),
                '\0'..='\u{1F}' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(character));
                }
                _ => self.out.push(character),
            }
        }
        self.out.push('"');
    }

    /// Ends the message, or takes it back.
    pub(super) fn end(self, limit: usize) -> Result<(), WriteError> {
        if self.format == Format::Json {
            self.out.push('}');
        }
        let bytes = self.out.len() - self.start;
        let outcome = match () {
            () if self.failed => Err(WriteError::Text),
            () if bytes > limit => Err(WriteError::TooLong { bytes }),
            () => Ok(()),
        };
        if outcome.is_err() {
            self.out.truncate(self.start);
        }
        outcome
    }
}
