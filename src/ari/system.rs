//! Requests about Asterisk itself.

use super::{Ari, AriError, AsteriskInfo, Module};
use serde::de::IgnoredAny;
use std::fmt;

impl Ari {
    /// Version, identity and start time.
    pub async fn info(&self) -> Result<AsteriskInfo, AriError> {
        self.get(&["asterisk", "info"], &[]).await
    }

    /// Whether Asterisk answers and takes our login.
    pub async fn ping(&self) -> Result<(), AriError> {
        self.get::<IgnoredAny>(&["asterisk", "ping"], &[]).await.map(drop)
    }

    /// All modules that are loaded.
    pub async fn modules(&self) -> Result<Vec<Module>, AriError> {
        self.get(&["asterisk", "modules"], &[]).await
    }
}

/// The version of an Asterisk, as far as it says what can be expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AsteriskVersion {
    /// 22 of 22.10.1.
    pub major: u32,
    /// 10 of 22.10.1.
    pub minor: u32,
}

impl AsteriskVersion {
    /// Reads `22.10.1`, `22.10.1~dfsg-1`, `certified/20.7-cert3`; `None` for a build from Git, which has no number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("certified").map_or(text, |rest| rest.trim_start_matches(['/', '-']));
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Some(Self { major, minor })
    }
}

impl fmt::Display for AsteriskVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_are_read() {
        let read = |text| AsteriskVersion::parse(text).map(|version| (version.major, version.minor));
        assert_eq!(read("22.10.1"), Some((22, 10)));
        assert_eq!(read("22.10.1+dfsg+~cs6.17.60671434-1"), Some((22, 10)));
        assert_eq!(read("certified/20.7-cert3"), Some((20, 7)));
        assert_eq!(read("certified-20.7-cert3"), Some((20, 7)));
        assert_eq!(read("16"), Some((16, 0)));
        assert_eq!(read("GIT-master-0123abc"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        let version = |text| AsteriskVersion::parse(text).unwrap();
        assert!(version("16.28.0") > version("16.6.2"));
        assert!(version("22.2.0") < version("22.10.1"));
    }
}
