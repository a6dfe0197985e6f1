//! `arioso.toml`: from text to values that can be relied on.
//!
//! ```text
//! text ─▶ document (spanned TOML) ─▶ one reader a section ─▶ Config
//!                                          └─▶ every problem, with its place ─▶ ConfigError
//! ```
//!
//! A section's reader asks for the keys that it knows (`document::Section`); what nobody asked for is an unknown key.
//! Reading goes on after a problem, so that all of them are reported at once. Files and environment variables are
//! reached through [`Surroundings`] only: everything else is a pure function of the text.

mod asterisk;
mod bots;
mod document;
mod engines;
mod error;
mod flow_file;
mod media;
mod names;
mod routes;
mod secret;
mod surroundings;
mod transport;
mod values;

pub use asterisk::Asterisk;
pub use bots::{Bot, ConversationBot};
pub use engines::{EngineKind, GrpcEngine, LocalEngine, THREADS};
pub use error::{Caution, ConfigError, Fault, Place, Problem, Warning};
pub use flow_file::{parse_flow, reception};
pub use media::{Login, Media};
pub use names::{AppName, AsteriskName, BotName, ClientName, EngineName, HttpUrl, Language, NameError, ends_in_ari};
pub use routes::{AudioSocketId, Entrance, Number, Route};
pub use secret::{Secret, secret_from_file};
pub use surroundings::{FoundFile, Surroundings, System, cause as read_cause};
pub use transport::{LegCodec, LinearCodec, MediaTransport, RtpCodec, WebSocketConnection};

use document::{Context, Section};
use std::collections::BTreeMap;
use std::path::Path;

/// A whole configuration, consistent: every name in it exists.
#[derive(Clone, Debug)]
pub struct Config {
    /// The Asterisks to take calls from. May be empty: the demo brings its own.
    pub asterisks: Vec<Asterisk>,
    /// The media side.
    pub media: Media,
    /// The engines by name.
    pub engines: BTreeMap<EngineName, EngineKind>,
    /// The bots by name.
    pub bots: BTreeMap<BotName, Bot>,
    /// Which number, or which UUID, reaches which bot.
    pub routes: Vec<Route>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads and checks a file, and the files that it names.
    ///
    /// # Errors
    /// [`ConfigError::Read`] if there is no such file, [`ConfigError::Invalid`] with every problem found in it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let found = System.read(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            cause: surroundings::cause(&error),
            remedy: surroundings::remedy(&error),
        })?;
        let base_dir = path.parent().unwrap_or(Path::new(""));
        Self::parse(&found.text, &path.display().to_string(), base_dir, &System)
    }

    /// Checks a configuration. `file_name` is for the messages; paths in the text are relative to `base_dir` and are
    /// read through `surroundings`, as are environment variables.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every problem found.
    pub fn parse(
        text: &str,
        file_name: &str,
        base_dir: &Path,
        surroundings: &dyn Surroundings,
    ) -> Result<Self, ConfigError> {
        let context = Context::new(file_name, text, base_dir, surroundings);
        let config = context.parse().and_then(|document| read(&Section::root(&context, &document)));
        let (problems, warnings) = context.into_findings();
        match config {
            Some(config) if problems.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(ConfigError::Invalid(problems)),
        }
    }

    /// The bot for a number: the route with exactly this number, else the one for all numbers.
    pub fn route(&self, number: &str) -> Option<&Route> {
        let with = |wanted: &Entrance| self.routes.iter().find(|route| route.entrance == *wanted);
        let exact = with(&Entrance::Number(Number::Exact(number.to_owned())));
        exact.or_else(|| with(&Entrance::Number(Number::Any)))
    }

    /// The bots that dialplans reach with `AudioSocket()`, each with the UUID that leads to it.
    pub fn audiosocket_routes(&self) -> impl Iterator<Item = (AudioSocketId, &BotName)> {
        self.routes.iter().filter_map(|route| match route.entrance {
            Entrance::AudioSocket(id) => Some((id, &route.bot)),
            Entrance::Number(_) => None,
        })
    }

    /// Whether anybody is to connect to [`Media::audiosocket_port`].
    pub fn uses_audiosocket(&self) -> bool {
        let transport = |asterisk: &Asterisk| matches!(asterisk.transport, MediaTransport::AudioSocket(_));
        self.asterisks.iter().any(transport) || self.audiosocket_routes().next().is_some()
    }

    /// Whether an Asterisk is to connect to [`Media::websocket_port`].
    pub fn uses_websocket_port(&self) -> bool {
        self.asterisks.iter().any(|asterisk| asterisk.transport.is_websocket_listen())
    }
}

/// Reads every section; `None` when something that is needed is missing or wrong.
fn read(root: &Section<'_, '_>) -> Option<Config> {
    let asterisks = asterisk::read_all(root);
    let media = media::read(root, &asterisks);
    let engines = engines::read_all(root);
    let bots = bots::read_all(root, &engines);
    let routes = routes::read_all(root, &bots, media.as_ref());
    root.finish();
    Some(Config {
        asterisks: asterisks.into_iter().collect::<Option<_>>()?,
        media: media?,
        engines: engines.into_iter().map(|(name, engine)| Some((name, engine?))).collect::<Option<_>>()?,
        bots: bots.into_iter().map(|(name, bot)| Some((name, bot?))).collect::<Option<_>>()?,
        routes: routes?,
        warnings: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
