//! Readers for the kinds of value that several sections have: texts, numbers, durations, addresses.

use super::document::wrong_type;
use super::error::Fault;
use super::names::{HttpUrl, NameError};
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::de::DeValue;

/// A text that is not blank.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Fault> {
    text_such_as("\"some text\"", value)
}

fn text_such_as(example: &str, value: &DeValue<'_>) -> Result<String, Fault> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a text", example))?;
    if text.trim().is_empty() {
        return Err(invalid(text, "is blank; write something, or take the line out"));
    }
    Ok(text.to_owned())
}

/// A text with a check of its own; the error says why it is no good and what would be. `example` is a right one.
pub(super) fn parsed<T, E: Display>(
    example: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> impl FnOnce(&DeValue<'_>) -> Result<T, Fault> {
    move |value| {
        let text = text_such_as(example, value)?;
        parse(&text).map_err(|why| invalid(&text, why))
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| wrong_type(value, "true or false", "true"))
}

/// A whole number within a range.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl FnOnce(&DeValue<'_>) -> Result<T, Fault>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    move |value| {
        let integer = value.as_integer().ok_or_else(|| wrong_type(value, "a whole number", "100"))?;
        i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| Fault::OutOfRange {
                found: integer.to_string(),
                min: range.start().to_string(),
                max: range.end().to_string(),
            })
    }
}

/// A duration written as `"600ms"`, `"2s"` or `"1min"`, within a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl FnOnce(&DeValue<'_>) -> Result<Duration, Fault> {
    move |value| {
        let text = value.as_str().ok_or_else(|| wrong_type(value, "a duration", "\"600ms\", \"2s\" or \"1min\""))?;
        let duration = parse_duration(text).ok_or_else(|| {
            invalid(text, "is not a duration; write a whole number and its unit: \"600ms\", \"2s\" or \"1min\"")
        })?;
        if !range.contains(&duration) {
            let (min, max) = (write_duration(*range.start()), write_duration(*range.end()));
            return Err(Fault::OutOfRange { found: text.to_owned(), min, max });
        }
        Ok(duration)
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "min" => Some(Duration::from_secs(count.checked_mul(60)?)),
        _ => None,
    }
}

/// A duration as it would be written in the file.
pub(super) fn write_duration(duration: Duration) -> String {
    match (duration.subsec_millis(), duration.as_secs()) {
        (0, seconds) if seconds > 0 && seconds % 60 == 0 => format!("{}min", seconds / 60),
        (0, seconds) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// An IP address, without a port.
pub(super) fn ip_address(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    parsed("\"127.0.0.1\"", |text| {
        text.parse().map_err(|_| "is not an IP address; write one such as \"127.0.0.1\" or \"::1\"")
    })(value)
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&str, T)]) -> impl FnOnce(&DeValue<'_>) -> Result<T, Fault> {
    move |value| {
        let choices = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let text = text_such_as(&choices, value)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        found.ok_or_else(|| invalid(&text, format!("is none of the possible values; write {choices}")))
    }
}

/// HTTP separates the user from the password with a colon (RFC 7617).
pub(super) fn username(value: &DeValue<'_>) -> Result<String, Fault> {
    let name = text(value)?;
    if name.contains(':') {
        return Err(invalid(&name, "has a colon, which a user name cannot have; write only the user name"));
    }
    Ok(name)
}

/// An `http://` or `https://` address.
pub(super) fn http_url(value: &DeValue<'_>) -> Result<HttpUrl, Fault> {
    url(value, HttpUrl::new)
}

/// The address of an Asterisk.
pub(super) fn asterisk_url(value: &DeValue<'_>) -> Result<HttpUrl, Fault> {
    url(value, HttpUrl::of_asterisk)
}

fn url(value: &DeValue<'_>, parse: impl FnOnce(&str) -> Result<HttpUrl, NameError>) -> Result<HttpUrl, Fault> {
    let text = text_such_as("\"http://127.0.0.1:8088\"", value)?;
    parse(&text).map_err(|error| match error {
        NameError::UrlParts => Fault::AddressParts,
        other => invalid(&text, other),
    })
}

/// A value of the right kind that is still no good.
pub(super) fn invalid(found: &str, why: impl Display) -> Fault {
    Fault::Invalid { found: found.to_owned(), why: why.to_string() }
}
