//! What can go wrong between us and an Asterisk, by what one can do about it.

use reqwest::StatusCode;
use std::path::PathBuf;
use std::time::Duration;

/// A request to Asterisk failed, or the events socket could not be opened.
///
/// `request` is the method and the path, `message` is what Asterisk said. Neither ever holds a password: the login
/// travels in a header, and values travel in the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AriError {
    /// Nobody answers at the address, or not with HTTP.
    #[error(
        "cannot reach Asterisk at {url}: {cause}; check the address and the firewall, that Asterisk runs, and that http.conf \
         has enabled=yes and the bindaddr and bindport of this URL"
    )]
    Unreachable {
        /// The configured address.
        url: String,
        /// What the operating system, TLS or HTTP said.
        cause: String,
    },
    /// Somebody answers, but no encrypted connection comes about.
    #[error(
        "no TLS with Asterisk at {url}: {cause}; check that the port is that of tlsbindaddr in http.conf, that the certificate \
         names the host of the URL, and that it is signed by an authority that this system or ca_file knows (a certificate \
         that is its own authority, CA:TRUE, is not accepted)"
    )]
    Tls {
        /// The configured address.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// There is an HTTP server, and no ARI in it. While Asterisk starts this is so for a moment.
    #[error(
        "there is no ARI at {url}: check that ari.conf has enabled=yes, that res_ari.so and res_ari_events.so are loaded, \
         and that the path in the URL is the prefix of http.conf"
    )]
    NoAri {
        /// The configured address.
        url: String,
    },
    /// Asterisk answers, but has not finished starting.
    #[error("Asterisk at {url} is still starting")]
    Starting {
        /// The configured address.
        url: String,
    },
    /// Wrong user or password (401).
    #[error(
        "Asterisk at {url} refuses the login of ARI user `{user}`: compare username and password with the [{user}] \
         section (type=user) of ari.conf, then reload it there: module reload res_ari.so"
    )]
    Unauthorized {
        /// Who tried.
        user: String,
        /// The configured address.
        url: String,
    },
    /// The user may not do this (403).
    #[error(
        "ARI user `{user}` is not allowed to {request} ({message}): set read_only=no for it in ari.conf, and check permit and deny"
    )]
    Forbidden {
        /// Who tried.
        user: String,
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// What the request is about does not exist, or no longer (404).
    #[error("{request}: {message}")]
    NotFound {
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// The channel is there, but not in a Stasis application: it has not arrived yet, or has gone on in the dialplan.
    #[error("{request}: the channel is not in a Stasis application")]
    NotInStasis {
        /// Method and path.
        request: String,
    },
    /// The id is in use (409).
    #[error("{request}: {message}; choose another id")]
    AlreadyExists {
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// It does not go with what is under way (409).
    #[error("{request}: {message}")]
    Conflict {
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// The channel's state forbids it: it is an outgoing one that has not been answered (412).
    #[error("{request}: {message}; wait until the channel is up")]
    WrongState {
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// A parameter is missing or not understood (400).
    #[error("{request}: Asterisk does not understand the parameters: {message}")]
    BadRequest {
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// The parameters are understood and do not fit what is there (422).
    #[error("{request}: {message}")]
    Unprocessable {
        /// Method and path.
        request: String,
        /// What Asterisk said.
        message: String,
    },
    /// Any other refusal; Asterisk's log says more.
    #[error("{request}: Asterisk failed with {status}: {message}; its log says why (asterisk -rvvv)")]
    Failed {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// What Asterisk said.
        message: String,
    },
    /// No answer in time. Whether Asterisk has done it, or still will, is not known.
    #[error("{request}: no answer within {limit:?}; is Asterisk overloaded, or the channel busy with a playback?")]
    Timeout {
        /// Method and path.
        request: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer is not what ARI promises.
    #[error("{request}: cannot read the answer: {cause}")]
    BadResponse {
        /// Method and path.
        request: String,
        /// What is wrong with it, and where.
        cause: String,
    },
    /// Another program has an events socket open under our application's name. Asterisk would take its calls away from
    /// it without a word, so we do not connect.
    #[error(
        "the application `{app}` is in use by another program (at {url}): stop that one, or choose another `app` here and \
         in the dialplan"
    )]
    AppTaken {
        /// The name.
        app: String,
        /// The configured address.
        url: String,
    },
    /// The configured certificates cannot be used.
    #[error("cannot use {} as ca_file: {cause}", file.display())]
    CaFile {
        /// The configured file.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// Who asked whom for what: the context that every failure of a request needs.
pub(super) struct Asked<'a> {
    pub(super) request: &'a str,
    pub(super) user: &'a str,
    pub(super) url: &'a str,
}

impl AriError {
    /// The error for an HTTP status that is no success.
    pub(super) fn from_status(asked: &Asked<'_>, status: StatusCode, body: &[u8]) -> Self {
        let (request, user, url) = (asked.request.to_owned(), asked.user.to_owned(), asked.url.to_owned());
        let said = message_of(body);
        // ARI answers everything in JSON; any other page comes from the HTTP server around it.
        if status == StatusCode::NOT_FOUND && said.is_none() {
            return Self::NoAri { url };
        }
        let message = said.unwrap_or_else(|| excerpt(body));
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized { user, url },
            StatusCode::FORBIDDEN => Self::Forbidden { user, request, message },
            StatusCode::NOT_FOUND => Self::NotFound { request, message },
            StatusCode::CONFLICT => Self::Conflict { request, message },
            StatusCode::PRECONDITION_FAILED => Self::WrongState { request, message },
            StatusCode::BAD_REQUEST => Self::BadRequest { request, message },
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unprocessable { request, message },
            StatusCode::SERVICE_UNAVAILABLE => Self::Starting { url },
            _ => Self::Failed { request, status: status.as_u16(), message },
        }
    }

    /// For commands to a channel: 409 means there that it is in no application.
    pub(super) fn conflict_is_not_in_stasis(self) -> Self {
        match self {
            Self::Conflict { request, .. } => Self::NotInStasis { request },
            other => other,
        }
    }

    /// For lists of channels and bridges: there 400 means that a channel is gone, and 422 that it is in no application.
    pub(super) fn channel_is_not_available(self) -> Self {
        match self {
            Self::BadRequest { request, message } => Self::NotFound { request, message },
            Self::Unprocessable { request, .. } => Self::NotInStasis { request },
            other => other,
        }
    }

    /// For creations: 409 means there that the id is in use.
    pub(super) fn conflict_is_duplicate(self) -> Self {
        match self {
            Self::Conflict { request, message } => Self::AlreadyExists { request, message },
            other => other,
        }
    }
}

/// ARI says why in `message`, and in `error` when it ran out of something.
fn message_of(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(alias = "error")]
        message: String,
    }
    serde_json::from_slice::<Body>(body).ok().map(|body| body.message)
}

/// The beginning of a body that is not ARI's, on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]);
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { "empty answer".to_owned() } else { words.join(" ").chars().take(120).collect() }
}

/// The error for a connection that does not come about, or breaks.
pub(super) fn connection_error(url: &str, error: &(dyn std::error::Error + 'static)) -> AriError {
    let (url, cause) = (url.to_owned(), root_cause(error));
    if is_tls(error) { AriError::Tls { url, cause } } else { AriError::Unreachable { url, cause } }
}

/// The innermost cause of an error: the outer ones only say "error sending request".
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if cause.is::<tokio::time::error::Elapsed>()
        || cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::TimedOut)
    {
        return "no answer in time".to_owned();
    }
    // What rustls says here is a paragraph with a link.
    let ended = cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof);
    if ended { "the connection ended".to_owned() } else { cause.to_string() }
}

/// Whether rustls made the error. Through the network it arrives inside of an `io::Error`, which hides it from `source`.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> AriError {
        let asked = Asked { request: "POST channels/a/answer", user: "bot", url: "http://pbx:8088" };
        AriError::from_status(&asked, StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn every_status_of_ari_has_its_variant() {
        let json = r#"{"message":"because"}"#;
        assert!(matches!(error(400, json), AriError::BadRequest { .. }));
        assert!(matches!(error(400, json).channel_is_not_available(), AriError::NotFound { .. }));
        assert!(matches!(error(401, json), AriError::Unauthorized { .. }));
        assert!(matches!(error(403, json), AriError::Forbidden { .. }));
        assert!(matches!(error(404, json), AriError::NotFound { .. }));
        assert!(matches!(error(409, json), AriError::Conflict { .. }));
        assert!(matches!(error(409, json).conflict_is_not_in_stasis(), AriError::NotInStasis { .. }));
        assert!(matches!(error(409, json).conflict_is_duplicate(), AriError::AlreadyExists { .. }));
        assert!(matches!(error(412, json), AriError::WrongState { .. }));
        assert!(matches!(error(422, json), AriError::Unprocessable { .. }));
        assert!(matches!(error(422, json).channel_is_not_available(), AriError::NotInStasis { .. }));
        assert!(matches!(error(503, json), AriError::Starting { .. }));
    }

    #[test]
    fn a_page_of_the_http_server_is_told_from_an_answer_of_ari() {
        assert!(matches!(error(404, "<html>Not Found</html>"), AriError::NoAri { .. }));
        assert!(matches!(error(503, ""), AriError::Starting { .. }));
    }

    #[test]
    fn the_reason_is_found_in_both_forms_and_in_odd_bodies() {
        let message = |body: &str| match error(500, body) {
            AriError::Failed { message, status: 500, .. } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(r#"{"message":"no"}"#), "no");
        assert_eq!(message(r#"{"error":"Allocation failed"}"#), "Allocation failed");
        assert_eq!(message("<h1>\n Oops </h1>"), "<h1> Oops </h1>");
        assert_eq!(message(""), "empty answer");
    }

    #[test]
    fn a_certificate_problem_is_told_from_a_server_that_is_not_there() {
        use std::io::{Error, ErrorKind};
        let certificate = Error::other(Error::new(ErrorKind::InvalidData, rustls::Error::NoCertificatesPresented));
        assert!(matches!(connection_error("https://pbx", &certificate), AriError::Tls { .. }));
        let refused = Error::from(ErrorKind::ConnectionRefused);
        assert!(matches!(connection_error("https://pbx", &refused), AriError::Unreachable { .. }));
    }

    #[test]
    fn a_time_out_is_told_in_words() {
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let text = connection_error("http://pbx", &late).to_string();
        assert!(text.contains("http://pbx: no answer in time; check the address and the firewall"), "{text}");
    }

    #[test]
    fn a_message_says_who_and_what_to_check() {
        let text = error(401, "{}").to_string();
        assert!(text.contains("`bot`") && text.contains("[bot] section") && text.contains("http://pbx:8088"), "{text}");
    }
}
