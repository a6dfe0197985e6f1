//! Which version of Asterisk can do what, as far as a media leg is concerned.

use crate::config::{LinearCodec, MediaTransport, RtpCodec};
use std::fmt;

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

/// Something about media legs that not every Asterisk can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// External media at all, over RTP.
    ExternalMedia,
    /// Linear formats on an RTP leg; before, they silently became µ-law.
    LinearRtp,
    /// External media over AudioSocket.
    AudioSocket,
    /// AudioSocket at more than 8 kHz, told apart by the type of its frames.
    WidebandAudioSocket,
    /// AudioSocket without Nagle's algorithm, and with patience for a frame that comes in pieces.
    PromptAudioSocket,
    /// External media over WebSocket.
    WebSocket,
    /// Control messages in JSON on a WebSocket, options given over ARI, and marks.
    WebSocketJson,
}

/// The oldest major version in the table of [`Feature::first_minors`].
const OLDEST_MAJOR: u32 = 16;

impl Feature {
    /// The first minor version of each major one that has it, from 16 to 23; what 23 has, later ones have.
    const fn first_minors(self) -> [Option<u32>; 8] {
        const fn from(minor: u32) -> Option<u32> {
            Some(minor)
        }
        const ALL: Option<u32> = from(0);
        match self {
            Self::ExternalMedia => [from(6), ALL, ALL, ALL, ALL, ALL, ALL, ALL],
            Self::LinearRtp => [None, None, from(21), None, from(6), from(1), ALL, ALL],
            Self::AudioSocket => [None, None, ALL, ALL, ALL, ALL, ALL, ALL],
            Self::WidebandAudioSocket => [None, None, None, None, from(17), from(12), from(7), from(1)],
            Self::PromptAudioSocket => [None, None, None, None, from(15), from(10), from(5), ALL],
            Self::WebSocket => [None, None, None, None, from(16), from(11), from(6), ALL],
            Self::WebSocketJson => [None, None, None, None, from(18), None, from(8), from(2)],
        }
    }

    /// The first versions that have it: `20.16, 21.11, 22.6 or 23.0`.
    pub fn versions(self) -> String {
        let first = (OLDEST_MAJOR..).zip(self.first_minors());
        let known: Vec<_> = first.filter_map(|(major, minor)| minor.map(|minor| (major, minor))).collect();
        // A major version that has it from its beginning says the same for all that follow.
        let complete = known.iter().rposition(|(_, minor)| *minor != 0).map_or(0, |at| at + 1);
        let shown = &known[..known.len().min(complete + 1)];
        let shown: Vec<String> = shown.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
        match shown.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }

    /// What a leg of this kind cannot do without.
    pub const fn needed_by(transport: &MediaTransport) -> &'static [Self] {
        match transport {
            MediaTransport::Rtp(RtpCodec::Ulaw | RtpCodec::Alaw | RtpCodec::G722) => &[Self::ExternalMedia],
            MediaTransport::Rtp(RtpCodec::Slin | RtpCodec::Slin16) => &[Self::ExternalMedia, Self::LinearRtp],
            MediaTransport::AudioSocket(LinearCodec::Slin) => &[Self::AudioSocket],
            MediaTransport::AudioSocket(_) => &[Self::AudioSocket, Self::WidebandAudioSocket],
            MediaTransport::WebSocket { .. } => &[Self::WebSocket],
        }
    }

    /// What a leg of this kind is better with.
    pub const fn useful_to(transport: &MediaTransport) -> &'static [Self] {
        match transport {
            MediaTransport::Rtp(_) => &[],
            MediaTransport::AudioSocket(_) => &[Self::PromptAudioSocket],
            MediaTransport::WebSocket { .. } => &[Self::WebSocketJson],
        }
    }

    /// What is so without it, as the rest of a sentence about an Asterisk.
    pub const fn without(self) -> &'static str {
        match self {
            Self::ExternalMedia => "has no external media",
            Self::LinearRtp => {
                "makes µ-law of linear formats on an RTP leg (write codec = \"g722\", \"ulaw\" or \"alaw\")"
            }
            Self::AudioSocket => "has no external media over AudioSocket (write transport = \"rtp\")",
            Self::WidebandAudioSocket => "has AudioSocket at 8 kHz only (write codec = \"slin\")",
            Self::PromptAudioSocket => {
                "sends AudioSocket frames in bursts, and gives a call up over a frame in two pieces"
            }
            Self::WebSocket => "has no external media over WebSocket (write transport = \"rtp\")",
            Self::WebSocketJson => "has no marks on a WebSocket: what a caller has heard is estimated",
        }
    }
}

impl AsteriskVersion {
    /// Whether this version has it.
    pub fn supports(self, feature: Feature) -> bool {
        let Some(index) = self.major.checked_sub(OLDEST_MAJOR) else { return false };
        let first = feature.first_minors();
        match first.get(index as usize) {
            Some(minor) => minor.is_some_and(|minor| self.minor >= minor),
            // Newer than the table.
            None => first[first.len() - 1].is_some(),
        }
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

    #[test]
    fn each_branch_has_a_feature_from_its_own_release_on() {
        let supports = |text, feature| AsteriskVersion::parse(text).unwrap().supports(feature);
        for (version, feature, expected) in [
            ("13.38.3", Feature::ExternalMedia, false),
            ("16.5.1", Feature::ExternalMedia, false),
            ("16.28.0", Feature::ExternalMedia, true),
            ("16.28.0", Feature::LinearRtp, false),
            ("16.28.0", Feature::AudioSocket, false),
            ("17.9.4", Feature::ExternalMedia, true),
            ("18.0.0", Feature::AudioSocket, true),
            ("18.26.4", Feature::LinearRtp, true),
            ("19.8.1", Feature::LinearRtp, false),
            ("20.16.0", Feature::WidebandAudioSocket, false),
            ("20.17.0", Feature::WidebandAudioSocket, true),
            ("certified/20.7-cert3", Feature::WebSocket, false),
            ("21.12.0", Feature::WebSocketJson, false),
            ("22.5.0", Feature::WebSocket, false),
            ("22.10.1", Feature::WebSocketJson, true),
            ("23.0.0", Feature::WebSocketJson, false),
            ("24.0.0", Feature::WebSocketJson, true),
        ] {
            assert_eq!(supports(version, feature), expected, "{version}: {feature:?}");
        }
    }

    #[test]
    fn the_versions_to_install_are_told_without_repeating_the_obvious() {
        assert_eq!(Feature::ExternalMedia.versions(), "16.6 or 17.0");
        assert_eq!(Feature::AudioSocket.versions(), "18.0");
        assert_eq!(Feature::LinearRtp.versions(), "18.21, 20.6, 21.1 or 22.0");
        assert_eq!(Feature::WidebandAudioSocket.versions(), "20.17, 21.12, 22.7 or 23.1");
        assert_eq!(Feature::WebSocketJson.versions(), "20.18, 22.8 or 23.2");
    }
}
