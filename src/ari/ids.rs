//! Names of things in Asterisk. Ours and those that Asterisk made up are the same type.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What Asterisk stores of a channel's id (`AST_MAX_UNIQUEID` without its end).
const MAX_LEN: usize = 149;

/// A text that is no id: empty, longer than 149 bytes, `.`, `..`, or with a control character in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no id: 1 to 149 bytes without control characters are wanted", .0.escape_debug())]
pub struct IdError(String);

/// Whether a path segment would be taken for "here" or "one up", and so change which resource is meant.
fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn checked(text: String) -> Result<String, IdError> {
    let fits = (1..=MAX_LEN).contains(&text.len()) && !is_dots(&text) && !text.chars().any(char::is_control);
    if fits { Ok(text) } else { Err(IdError(text.chars().take(40).collect())) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Any text that can be one path segment of a URL (it is percent-encoded there): Asterisk makes up ids such
        /// as `pbx-1700000000.42` and, for the far half of a Local channel, `ID;2`.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps an id.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                checked(text.into()).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A channel, which is one leg of a call.
    ChannelId
}
id! {
    /// A bridge, in which legs hear each other.
    BridgeId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_asterisk_are_taken_and_impossible_ones_are_not() {
        for good in ["1700000000.42", "pbx-1.2", "call-1;2", "a/b", "kanał"] {
            assert_eq!(ChannelId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a\nb", "\0", &"x".repeat(150)] {
            assert!(ChannelId::new(bad).is_err(), "{bad:?}");
        }
    }
}
