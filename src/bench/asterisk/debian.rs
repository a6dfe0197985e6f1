//! The releases of Debian that an Asterisk is taken from, and what an Asterisk that old does not have.

use std::path::PathBuf;

/// A Debian with an Asterisk; 12 and 13 have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebianRelease {
    /// Sid, always the newest: Asterisk 22.
    Sid,
    /// Debian 11: Asterisk 16.28, the oldest that Arioso works with, over RTP.
    Bullseye,
}

impl DebianRelease {
    /// What the archive calls it.
    pub const fn suite(self) -> &'static str {
        match self {
            Self::Sid => "sid",
            Self::Bullseye => "bullseye",
        }
    }

    /// Where it is got from: the first that has it. An old release moves to the archive one day.
    pub(super) const fn mirrors(self) -> &'static [&'static str] {
        match self {
            Self::Sid => &["http://deb.debian.org/debian"],
            Self::Bullseye => &["http://deb.debian.org/debian", "http://archive.debian.org/debian"],
        }
    }

    /// Names the folder to use, or to make, in place of the one in `/var/cache/arioso`.
    pub const fn root_variable(self) -> &'static str {
        match self {
            Self::Sid => "ARIOSO_ASTERISK_ROOT",
            Self::Bullseye => "ARIOSO_ASTERISK16_ROOT",
        }
    }

    /// The folder that [`Self::root_variable`] names, else `/var/cache/arioso/asterisk-` and the suite.
    pub fn root_path(self) -> PathBuf {
        let named = std::env::var_os(self.root_variable()).filter(|value| !value.is_empty());
        named.map_or_else(|| format!("/var/cache/arioso/asterisk-{}", self.suite()).into(), PathBuf::from)
    }

    /// Modules of `modules.conf` that it has not: the file is written for the newest.
    pub(super) const fn absent_modules(self) -> &'static [&'static str] {
        match self {
            Self::Sid => &[],
            Self::Bullseye => &[
                "res_websocket_client.so",
                "res_audiosocket.so",
                "chan_audiosocket.so",
                "app_audiosocket.so",
                "chan_websocket.so",
                "codec_opus_open_source.so",
            ],
        }
    }
}
