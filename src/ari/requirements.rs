//! What an Asterisk must be and have loaded for the media legs that the configuration wants of it.

use super::version::{AsteriskVersion, Feature};
use super::{Ari, AriError, Module};
use crate::audio::Codec;
use crate::config::{MediaTransport, RtpCodec, WebSocketConnection};
use crate::wire::media_websocket::Format;

/// What an Asterisk is and has. The default is one of which nothing is known: then nothing is held against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// As it says it: `22.10.1+dfsg-1`.
    pub version_text: String,
    /// `None` for a build from Git, which has no number.
    pub version: Option<AsteriskVersion>,
    /// The modules that are loaded; `None` if that is not known.
    pub modules: Option<Vec<Module>>,
}

/// What an Asterisk lacks for its media legs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// It is too old.
    #[error("Asterisk {version} {}; that is in {} and later", feature.without(), feature.versions())]
    Feature {
        /// As it says it.
        version: String,
        /// What it cannot do.
        feature: Feature,
    },
    /// A module is not there or does not run.
    #[error("{module}.so {state}: without it {without}")]
    Module {
        /// Its name.
        module: &'static str,
        /// How it is.
        state: &'static str,
        /// What does not work.
        without: &'static str,
    },
}

impl Lack {
    /// What to do about it.
    pub fn fix(&self) -> String {
        match self {
            Self::Feature { feature, .. } => format!("install {} or newer", feature.versions()),
            Self::Module { module, .. } => {
                format!("load it: module load {module}.so, and put load={module}.so into modules.conf")
            }
        }
    }
}

/// How much a module is needed, and what is so without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// No call works.
    Always(&'static str),
    /// Some calls do not work.
    Sometimes(&'static str),
}

use Need::{Always, Sometimes};

/// A module by its names in different packages, the usual one first, without `.so`.
type Wanted = (&'static [&'static str], Need);

/// What every call needs, whatever its media leg is.
const FOR_EVERY_CALL: [Wanted; 15] = [
    (&["res_ari"], Always("there is no ARI")),
    (&["res_ari_model"], Always("there is no ARI")),
    (&["res_ari_asterisk"], Always("nobody can ask for version and modules")),
    (&["res_ari_applications"], Always("the end of a call and its cause are not told")),
    (&["res_ari_channels"], Always("calls cannot be answered")),
    (&["res_ari_bridges"], Always("caller and bot cannot be put together")),
    (&["res_ari_events"], Always("calls are not announced")),
    (&["res_http_websocket"], Always("calls are not announced")),
    (&["res_stasis"], Always("calls cannot be controlled from outside")),
    (&["res_stasis_answer"], Always("calls cannot be answered")),
    (&["app_stasis"], Always("the dialplan cannot hand calls over")),
    (&["bridge_simple"], Always("two legs are mixed, with some 50 ms of delay, or not joined at all")),
    (&["func_timeout"], Always("calls outlive a server that died")),
    (&["codec_ulaw"], Sometimes("a caller with another codec than the bot cannot talk to it over ulaw")),
    (&["codec_alaw"], Sometimes("a caller with another codec than the bot cannot talk to it over alaw")),
];

/// What the media legs need besides.
fn for_legs(transport: &MediaTransport) -> Vec<Wanted> {
    const NO_LEGS: Need = Always("there are no media legs");
    let mut wanted: Vec<Wanted> = match transport {
        MediaTransport::Rtp(_) => {
            vec![(&["chan_rtp"], NO_LEGS), (&["res_rtp_asterisk"], Always("there is no audio"))]
        }
        MediaTransport::AudioSocket(_) => vec![(&["chan_audiosocket"], NO_LEGS), (&["res_audiosocket"], NO_LEGS)],
        MediaTransport::WebSocket { connection, .. } => {
            let mut wanted: Vec<Wanted> = vec![(&["chan_websocket"], NO_LEGS)];
            if let WebSocketConnection::Listen { .. } = connection {
                wanted.push((&["res_websocket_client"], Always("Asterisk cannot open a WebSocket to us")));
            }
            wanted
        }
    };
    if !matches!(transport, MediaTransport::Rtp(_)) {
        wanted.push((&["res_rtp_asterisk"], Sometimes("SIP callers have no audio")));
    }
    match (transport, transport.codec()) {
        (MediaTransport::Rtp(RtpCodec::Slin16), _) => {
            wanted.push((&["codec_g722"], Always("what the bot says cannot be decoded: it is sent as G.722")));
        }
        (_, Codec::G722) => {
            wanted.push((&["codec_g722"], Sometimes("only callers with G.722 can talk to a bot over g722")));
        }
        (_, Codec::Opus) => {
            let names: &[&str] = &["codec_opus", "codec_opus_open_source"];
            wanted.push((names, Sometimes("only callers with Opus can talk to a bot over opus")));
        }
        (_, Codec::Linear16(_) | Codec::G711(_)) => {}
    }
    if transport.rate().hz() > 8_000 {
        wanted.push((&["codec_resample"], Sometimes("callers at another rate than the bot cannot talk to it")));
    }
    wanted
}

/// What an Asterisk lacks for legs of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// With these no call works.
    pub fatal: Vec<Lack>,
    /// With these some do not, or less well.
    pub tolerable: Vec<Lack>,
}

impl Capabilities {
    /// Whether it can do something; a version that has no number can do everything.
    pub fn supports(&self, feature: Feature) -> bool {
        self.version.is_none_or(|version| version.supports(feature))
    }

    /// How control messages on its WebSockets are written.
    pub fn media_control(&self) -> Format {
        // A version that is not known may be too old for the option, but never for what needs none.
        match self.version {
            Some(version) if version.supports(Feature::WebSocketJson) => Format::Json,
            Some(_) | None => Format::PlainText,
        }
    }

    /// What its version cannot do.
    pub fn missing_features(&self, transport: &MediaTransport) -> Lacks {
        let lacking = |features: &[Feature]| {
            let lacking = features.iter().filter(|feature| !self.supports(**feature));
            lacking.map(|feature| Lack::Feature { version: self.version_text.clone(), feature: *feature }).collect()
        };
        let fatal: Vec<Lack> = lacking(Feature::needed_by(transport));
        // What would be better with another version is of no interest while it cannot be used at all.
        let tolerable = if fatal.is_empty() { lacking(Feature::useful_to(transport)) } else { Vec::new() };
        Lacks { fatal, tolerable }
    }

    /// The modules that are not there, or do not run.
    pub fn missing_modules(&self, transport: &MediaTransport) -> Lacks {
        // A version that cannot make these legs has no module for them that could be loaded.
        let too_old = !self.missing_features(transport).fatal.is_empty();
        let for_legs = if too_old { Vec::new() } else { for_legs(transport) };
        self.missing(FOR_EVERY_CALL.into_iter().chain(for_legs))
    }

    /// The modules that a dialplan needs for `AudioSocket()`.
    pub fn missing_for_dialplan_calls(&self) -> Lacks {
        let without = Sometimes("a dialplan cannot give calls to a bot by AudioSocket()");
        self.missing([(&["app_audiosocket"][..], without), (&["res_audiosocket"][..], without)])
    }

    fn missing(&self, wanted: impl IntoIterator<Item = Wanted>) -> Lacks {
        let mut lacks = Lacks::default();
        let Some(modules) = &self.modules else { return lacks };
        for (names, need) in wanted {
            let loaded: Vec<&Module> = modules.iter().filter(|module| names.iter().any(|n| is(module, n))).collect();
            if loaded.iter().any(|module| module.is_running()) {
                continue;
            }
            let state = if loaded.is_empty() { "is not loaded" } else { "is loaded, but does not run" };
            let lack = |without| Lack::Module { module: names[0], state, without };
            match need {
                Always(without) => lacks.fatal.push(lack(without)),
                Sometimes(without) => lacks.tolerable.push(lack(without)),
            }
        }
        lacks
    }
}

fn is(module: &Module, name: &str) -> bool {
    module.name.strip_suffix(".so") == Some(name)
}

impl Ari {
    /// Asks for version and modules.
    pub async fn capabilities(&self) -> Result<Capabilities, AriError> {
        let (info, modules) = tokio::try_join!(self.info(), self.modules())?;
        let version = AsteriskVersion::parse(&info.system.version);
        Ok(Capabilities { version_text: info.system.version, version, modules: Some(modules) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClientName, LegCodec, LinearCodec};

    fn asterisk(version: &str, without: &[&str]) -> Capabilities {
        let names = FOR_EVERY_CALL.iter().flat_map(|(names, _)| *names).chain(&[
            "chan_rtp",
            "res_rtp_asterisk",
            "chan_audiosocket",
            "res_audiosocket",
            "chan_websocket",
            "res_websocket_client",
            "codec_g722",
            "codec_opus_open_source",
            "codec_resample",
        ]);
        let modules = names
            .filter(|name| !without.contains(name))
            .map(|name| Module { name: format!("{name}.so"), status: "Running".to_owned() });
        Capabilities {
            version_text: version.to_owned(),
            version: AsteriskVersion::parse(version),
            modules: Some(modules.collect()),
        }
    }

    fn listen(codec: LegCodec) -> MediaTransport {
        let client = ClientName::new("arioso").unwrap();
        MediaTransport::WebSocket { codec, connection: WebSocketConnection::Listen { client } }
    }

    #[test]
    fn a_new_asterisk_with_everything_loaded_lacks_nothing() {
        let asterisk = asterisk("22.10.1", &[]);
        for transport in [
            MediaTransport::Rtp(RtpCodec::Slin16),
            MediaTransport::AudioSocket(LinearCodec::Slin48),
            listen(LegCodec::Opus),
        ] {
            assert_eq!(asterisk.missing_features(&transport), Lacks::default());
            assert_eq!(asterisk.missing_modules(&transport), Lacks::default());
        }
    }

    #[test]
    fn what_a_version_cannot_do_is_told_with_the_version_that_can() {
        let told = |version, transport| {
            let lacks = asterisk(version, &[]).missing_features(&transport);
            lacks.fatal.iter().map(Lack::to_string).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(told("16.28.0", MediaTransport::Rtp(RtpCodec::Slin16)), @r#"Asterisk 16.28.0 makes µ-law of linear formats on an RTP leg (write codec = "g722", "ulaw" or "alaw"); that is in 18.21, 20.6, 21.1 or 22.0 and later"#);
        assert_eq!(told("16.28.0", MediaTransport::Rtp(RtpCodec::G722)), "");
        assert_eq!(told("GIT-master-0123abc", listen(LegCodec::Ulaw)), "");
    }

    #[test]
    fn modules_are_needed_by_the_legs_that_use_them_only() {
        let asterisk = asterisk("22.10.1", &["chan_rtp", "res_websocket_client", "codec_g722"]);
        let missing = |transport: MediaTransport| {
            let lacks = asterisk.missing_modules(&transport);
            let names = |lacks: &[Lack]| {
                let name = |lack: &Lack| match lack {
                    Lack::Module { module, .. } => *module,
                    Lack::Feature { .. } => "?",
                };
                lacks.iter().map(name).collect::<Vec<_>>()
            };
            (names(&lacks.fatal), names(&lacks.tolerable))
        };
        assert_eq!(missing(MediaTransport::Rtp(RtpCodec::Ulaw)), (vec!["chan_rtp"], vec![]));
        assert_eq!(missing(MediaTransport::Rtp(RtpCodec::Slin16)), (vec!["chan_rtp", "codec_g722"], vec![]));
        assert_eq!(missing(listen(LegCodec::G722)), (vec!["res_websocket_client"], vec!["codec_g722"]));
        assert_eq!(missing(MediaTransport::AudioSocket(LinearCodec::Slin16)), (vec![], vec![]));
    }
}
