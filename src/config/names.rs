//! Names and addresses as types of their own, so that none is taken for another.

use std::fmt;
use std::net::Ipv4Addr;

/// Asterisk keeps an application's name in a buffer of this size.
const MAX_APP_BYTES: usize = 73;
/// Ours are shown in tables.
const MAX_NAME_BYTES: usize = 64;

/// Why a text is no name or address of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Too long, or characters that a name cannot have.
    #[error("is no name here; names have 1 to {max} letters, digits, '-', '_' and '.', without spaces")]
    Name {
        /// Longest name, in bytes.
        max: usize,
    },
    /// No language tag.
    #[error("is not a language tag; write one such as \"en-US\" (BCP 47)")]
    Language,
    /// No address at all.
    #[error("is not an address; write one such as \"http://127.0.0.1:8088\"")]
    Url,
    /// Not HTTP.
    #[error("begins with another scheme; write it with http:// or https://")]
    UrlScheme,
    /// The address of an Asterisk with the path that is added to it.
    #[error("ends in /ari, which is added; leave it out")]
    UrlEndsInAri,
    /// A login, a query or a fragment within an address.
    #[error("has more than a scheme, a host, a port and a path")]
    UrlParts,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// [`NameError::Name`] for one that does not fit.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
                // `.` and `..` would change the meaning of a path that they are a part of.
                let fits = (1..=$max).contains(&text.len()) && text.bytes().all(safe) && !matches!(text, "." | "..");
                if fits { Ok(Self(text.to_owned())) } else { Err(NameError::Name { max: $max }) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// What the operator calls an Asterisk.
    AsteriskName,
    MAX_NAME_BYTES
);
name!(
    /// Our application in an Asterisk: the first argument of `Stasis()`. Part of addresses and of a dialplan context.
    AppName,
    MAX_APP_BYTES
);
name!(
    /// A section of Asterisk's `websocket_client.conf`.
    ClientName,
    MAX_NAME_BYTES
);
name!(
    /// What the operator calls an engine.
    EngineName,
    MAX_NAME_BYTES
);
name!(
    /// What the operator calls a bot.
    BotName,
    MAX_NAME_BYTES
);

/// A BCP 47 language tag, checked for its shape: `en-US`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language(String);

impl Language {
    /// Checks and wraps a tag.
    ///
    /// # Errors
    /// [`NameError::Language`] if it does not have the shape of one.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let mut parts = text.split('-');
        let language = parts.next().unwrap_or_default();
        let well_formed = (2..=3).contains(&language.len())
            && language.bytes().all(|b| b.is_ascii_alphabetic())
            && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(NameError::Language) }
    }

    /// Whether it is English, of whatever country.
    pub fn is_english(&self) -> bool {
        self.0.split('-').next().is_some_and(|primary| primary.eq_ignore_ascii_case("en"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An `http://` or `https://` address: scheme, host, optional port, optional path; no login, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    /// Without a slash at the end.
    text: String,
    host: String,
    port: u16,
    encrypted: bool,
}

/// Whether the path of an Asterisk's address ends in the `/ari` that is added to it anyway.
pub fn ends_in_ari(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/ari")
}

impl HttpUrl {
    /// Checks and wraps an address.
    ///
    /// # Errors
    /// What makes it none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.contains(['@', '?', '#']) {
            return Err(NameError::UrlParts);
        }
        let uri: http::Uri = text.parse().map_err(|_| NameError::Url)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(NameError::Url) };
        let encrypted = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(NameError::UrlScheme),
        };
        let port_unreadable = authority.port_u16().is_none() && authority.as_str().len() != authority.host().len();
        if authority.host().is_empty() || port_unreadable || authority.port_u16() == Some(0) {
            return Err(NameError::Url);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        // What ends in a number is an IPv4 address for every URL parser, and no name.
        let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if numeric && host.parse::<Ipv4Addr>().is_err() {
            return Err(NameError::Url);
        }
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        Ok(Self { text: text.trim_end_matches('/').to_owned(), host, port, encrypted })
    }

    /// The same for the address of an Asterisk, to which `/ari` is added.
    ///
    /// # Errors
    /// Those of [`Self::new`], and [`NameError::UrlEndsInAri`].
    pub fn of_asterisk(text: &str) -> Result<Self, NameError> {
        let url = Self::new(text)?;
        if ends_in_ari(&url.text) { Err(NameError::UrlEndsInAri) } else { Ok(url) }
    }

    /// The host, without the brackets of an IPv6 address, and the port.
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The address, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is `https`.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether the host is this machine by its loopback address.
    pub fn is_loopback(&self) -> bool {
        let address: Option<std::net::IpAddr> = self.host.parse().ok();
        address.map_or(self.host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
