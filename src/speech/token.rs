//! The token by which a media server shows an engine that it may use it.

use super::proto::AUTHORIZATION_KEY;
use std::fmt;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// A bearer token: one or more visible ASCII characters. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    /// Wraps a token; white space around it (the line end of its file) is cut off. `None` if nothing is left or if it
    /// has other than visible ASCII characters.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }

    /// Puts the token into the metadata of a request.
    pub(super) fn authorize(&self, metadata: &mut MetadataMap) {
        // Visible ASCII is always a valid value: checked in `new`.
        if let Ok(mut value) = MetadataValue::<Ascii>::try_from(format!("Bearer {}", self.0)) {
            value.set_sensitive(true);
            metadata.insert(AUTHORIZATION_KEY, value);
        }
    }

    /// Whether a request carries this token. Takes the same time wherever a wrong token of the right length differs.
    pub(super) fn is_in(&self, metadata: &MetadataMap) -> bool {
        let given = metadata.get(AUTHORIZATION_KEY).and_then(|value| value.as_encoded_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| {
            let differences = given.iter().zip(self.0.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
            given.len() == self.0.len() && differences == 0
        })
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_again_and_never_shown() {
        let token = BearerToken::new("s3cret\n").expect("a token");
        let mut metadata = MetadataMap::new();
        token.authorize(&mut metadata);
        assert!(token.is_in(&metadata));
        assert!(!BearerToken::new("s3creT").expect("a token").is_in(&metadata));
        assert!(!BearerToken::new("s3cret1").expect("a token").is_in(&metadata));
        assert!(!token.is_in(&MetadataMap::new()));
        assert!(!format!("{token:?} {metadata:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        for text in ["", " \n", "two words", "schlüssel", "a\u{7}b"] {
            assert_eq!(BearerToken::new(text), None, "{text:?}");
        }
    }
}
