//! What can be wrong with a configuration: where it is, what it is, and what to do about it.

use super::media;
use super::names::{AsteriskName, Language};
use crate::flow::FlowError;
use std::fmt;
use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file itself cannot be read.
    #[error("cannot read the configuration {}: {cause}; {remedy}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        cause: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// What is in it is wrong; one line a problem, in the order of the file. Never empty.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One thing that is wrong: `arioso.toml:5:1: asterisk.pasword_file: unknown key; did you mean …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key with those around it, `bots.reception.language`; empty when there is none.
    pub key: String,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.place, &self.key, &self.fault)
    }
}

/// Something that is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// The key with those around it; empty when the whole file is meant.
    pub key: String,
    /// What.
    pub caution: Caution,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_finding(f, &self.place, &self.key, &self.caution)
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, place: &Place, key: &str, what: &dyn fmt::Display) -> fmt::Result {
    if key.is_empty() { write!(f, "{place}: {what}") } else { write!(f, "{place}: {key}: {what}") }
}

/// What is wrong with a key or its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text is no TOML.
    #[error(
        "not valid TOML: {0}; look for quotes and brackets that are missing here, and for keys that are given twice"
    )]
    Syntax(String),
    /// Nobody knows the key.
    #[error("unknown key; {}", suggestion(nearest.as_deref(), "known here", known))]
    UnknownKey {
        /// The known key that looks most like it.
        nearest: Option<String>,
        /// All that are known at this place.
        known: Vec<String>,
    },
    /// A key that must be there is not.
    #[error("missing; add a line such as: {example}")]
    Missing {
        /// A line that would do.
        example: String,
    },
    /// The value is of another kind.
    #[error("has {found} where {wanted} is needed; write it like this: {example}")]
    WrongType {
        /// Kind of the value found.
        found: &'static str,
        /// Kind that is needed.
        wanted: &'static str,
        /// A value that would do.
        example: String,
    },
    /// The value is of the right kind and still no good.
    #[error("\"{found}\" {why}")]
    Invalid {
        /// The value.
        found: String,
        /// Why it is no good, and what would be.
        why: String,
    },
    /// A bot that would have to hear or speak a language with engines that do not know it.
    #[error(
        "\"{}\" is not known to the built-in engines, which know English only, and {key} lists no others; list an \
         engine of kind \"grpc\" there, or write \"en-US\"",
        language.as_str()
    )]
    EnglishOnly {
        /// The bot's language.
        language: Language,
        /// The list with nothing but built-in engines.
        key: &'static str,
    },
    /// An address with more than it should have. It is not shown: there may be a password in it.
    #[error("has more than a scheme, a host, a port and a path; take out what stands before '@' or follows '?' or '#'")]
    AddressParts,
    /// The value is too small or too large.
    #[error("{found} is out of range; it may be from {min} to {max}")]
    OutOfRange {
        /// The value.
        found: String,
        /// The smallest allowed.
        min: String,
        /// The largest allowed.
        max: String,
    },
    /// A name for something that does not exist.
    #[error("there is no {kind} called \"{name}\"; {}", suggestion(nearest.as_deref(), "there is", known))]
    UnknownName {
        /// What it should be a name of.
        kind: &'static str,
        /// The name.
        name: String,
        /// The existing name that looks most like it.
        nearest: Option<String>,
        /// All names that exist.
        known: Vec<String>,
    },
    /// Something that may be there once is there twice.
    #[error("{what} stands here a second time; the first is at {first}: keep one of them")]
    Duplicate {
        /// What.
        what: String,
        /// Where it was first.
        first: Place,
    },
    /// A key that has nothing to say beside the others of its section.
    #[error("{why}")]
    OutOfPlace {
        /// Beside what it would have, and what to do.
        why: &'static str,
    },
    /// A secret stands in the file itself.
    #[error(
        "secrets do not belong in this file; put it into a file of its own and name that with {file}, or into an \
         environment variable and name that with {env}"
    )]
    SecretInPlainText {
        /// Key that names a file.
        file: &'static str,
        /// Key that names a variable.
        env: &'static str,
    },
    /// A secret is to come from two places.
    #[error("{file} and {env} are both given; keep one of them")]
    TwoSecrets {
        /// Key that names a file.
        file: &'static str,
        /// Key that names a variable.
        env: &'static str,
    },
    /// A secret is needed.
    #[error(
        "missing; add {file} = \"…\" with the name of a file that holds it, or {env} = \"…\" with the name of an \
         environment variable"
    )]
    NoSecret {
        /// Key that names a file.
        file: &'static str,
        /// Key that names a variable.
        env: &'static str,
    },
    /// What should be a UUID is none. It is not shown: it is a secret.
    #[error("is not a UUID; write one that nobody can guess, made with: uuidgen --random")]
    NotAUuid,
    /// A key that has another name and place now.
    #[error("is no key here any more; write {instead}")]
    Moved {
        /// What to write, and where.
        instead: String,
    },
    /// What should be the name of an environment variable is none. It is not shown: it may be the secret itself.
    #[error("is not the name of an environment variable; names have letters, digits and underscores only")]
    NotAVariableName,
    /// The environment variable with a secret is missing.
    #[error("the environment variable {name} is not set; set it before starting, or name a file instead")]
    VariableNotSet {
        /// Its name, hidden if it could be the secret itself.
        name: String,
    },
    /// The secret itself is no good.
    #[error("the secret in {source_name} {why}")]
    BadSecret {
        /// The file or the variable.
        source_name: String,
        /// Why it is no good, and what would be.
        why: &'static str,
    },
    /// A file that the configuration names cannot be read.
    #[error("cannot read {}: {cause}; relative paths begin at the folder of this file", path.display())]
    FileUnreadable {
        /// The whole path.
        path: PathBuf,
        /// What the operating system said.
        cause: String,
    },
    /// The dialogue in a flow file makes no sense.
    #[error("{0}")]
    Flow(#[from] FlowError),
}

/// What is allowed but probably not meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Caution {
    /// Nobody to take calls from.
    #[error("no [[asterisk]] is configured; `arioso serve` needs one")]
    NoAsterisk,
    /// Nobody reaches a bot.
    #[error("no [[routes]] is configured; every caller would be sent back to the dialplan")]
    NoRoute,
    /// Other programs may be given these ports by the system.
    #[error(
        "ports {from}-{to} overlap the ephemeral range {}-{}, from which the system gives ports to other programs; \
         choose ports below {}, or reserve these with net.ipv4.ip_local_reserved_ports",
        media::EPHEMERAL.start(), media::EPHEMERAL.end(), media::EPHEMERAL.start()
    )]
    EphemeralPorts {
        /// First port.
        from: u16,
        /// Last port.
        to: u16,
    },
    /// An Asterisk elsewhere is told to send to itself.
    #[error(
        "Asterisk \"{asterisk}\" is on another machine and is told to send audio to {advertise}, which is itself; set \
         media.advertise (and media.listen) to an address of this machine that it can reach"
    )]
    AdvertisesLoopback {
        /// The Asterisk.
        asterisk: AsteriskName,
        /// The address.
        advertise: std::net::IpAddr,
    },
    /// Asterisk is told an address at which nobody listens.
    #[error(
        "Asterisk is told to send audio to {advertise}, but the sockets are on {listen} only, where it does not arrive; \
         set media.listen to an address that receives it, or to \"{}\" for all of them",
        if listen.is_ipv4() { "0.0.0.0" } else { "::" }
    )]
    ListensElsewhere {
        /// Where the sockets are.
        listen: std::net::IpAddr,
        /// What Asterisk is told.
        advertise: std::net::IpAddr,
    },
    /// An Asterisk elsewhere is to connect to where only this machine can.
    #[error(
        "Asterisk \"{asterisk}\" is on another machine and is to connect to us, but the sockets are on {listen} only, \
         where it does not arrive; set media.listen to an address of this machine that it can reach"
    )]
    ListensOnLoopback {
        /// The Asterisk.
        asterisk: AsteriskName,
        /// Where the sockets are.
        listen: std::net::IpAddr,
    },
    /// Anybody may open the WebSocket of a leg.
    #[error(
        "whoever reaches the WebSocket port at {listen} can pretend to be Asterisk; set media.websocket_username and \
         media.websocket_password_file to what its websocket_client.conf says"
    )]
    WebSocketWithoutLogin {
        /// Where the socket is.
        listen: std::net::IpAddr,
    },
    /// The UUID of a route travels in the clear, for ever the same.
    #[error(
        "the UUID is the only secret of this route, and it travels unencrypted to {listen}: let a firewall pass nobody \
         but Asterisk to the AudioSocket port"
    )]
    UuidInTheClear {
        /// Where the socket is.
        listen: std::net::IpAddr,
    },
    /// A language that some of the engines do not know.
    #[error(
        "the built-in engines know English only: those in {key} fail with \"{}\", and only the others can help",
        language.as_str()
    )]
    EnglishOnly {
        /// The bot's language.
        language: Language,
        /// The list with built-in engines in it.
        key: &'static str,
    },
    /// A secret that is none.
    #[error(
        "every user of this machine can read {}; take that away with: chmod o-r {}",
        path.display(), path.display()
    )]
    SecretReadableByAll {
        /// The file.
        path: PathBuf,
    },
    /// A secret travels in the clear.
    #[error("the secret is sent unencrypted to another machine; use an https:// address")]
    SecretInTheClear,
}

/// "did you mean …" when something is near, else what there is to choose from.
fn suggestion(nearest: Option<&str>, lead: &str, known: &[String]) -> String {
    match (nearest, known) {
        (Some(nearest), _) => format!("did you mean \"{nearest}\"?"),
        (None, []) => "there is none at all".to_owned(),
        (None, known) => format!("{lead}: {}", known.join(", ")),
    }
}
