//! What is needed to reach one Asterisk: its address, a login, the name of our application there.

use crate::config::{AppName, Secret, ends_in_ari};
use reqwest::Url;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One Asterisk, as configured.
#[derive(Clone, Debug)]
pub struct AriSettings {
    /// What the operator calls it; used in logs and reports.
    pub name: String,
    /// Where its HTTP server listens (`http.conf`), without the `/ari` at the end.
    pub url: BaseUrl,
    /// A `type=user` section of `ari.conf`.
    pub username: String,
    /// The password of that user.
    pub password: Secret,
    /// Our application: the first argument of `Stasis()` in the dialplan.
    pub app: AppName,
    /// PEM file with the certificates to trust for `https`, in place of those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take, waiting for a free connection included. Answering, adding to a bridge and setting
    /// a variable block while the channel plays or records.
    pub request_timeout: Duration,
    /// Requests under way at the same time, and so connections. Asterisk serves 100 sessions for all of its clients
    /// together (`sessionlimit` in `http.conf`) and just closes what comes on top.
    pub max_requests: usize,
}

impl AriSettings {
    /// Settings with the usual limits: 10 s a request, 32 requests at a time, the system's certificates.
    pub fn new(
        name: impl Into<String>,
        url: BaseUrl,
        username: impl Into<String>,
        password: Secret,
        app: AppName,
    ) -> Self {
        Self {
            name: name.into(),
            url,
            username: username.into(),
            password,
            app,
            ca_file: None,
            request_timeout: Duration::from_secs(10),
            max_requests: 32,
        }
    }
}

/// The address of an Asterisk HTTP server, with the path prefix if there is one (`prefix` in `http.conf`, or a proxy's).
///
/// REST and the events socket are both reached below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// Why a text is no [`BaseUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Not a URL at all.
    #[error("not a URL ({0}); write it like http://127.0.0.1:8088")]
    NotAUrl(String),
    /// Neither `http` nor `https`.
    #[error("the scheme is `{0}`; use http or https (the events socket follows: ws or wss)")]
    Scheme(String),
    /// A user or a password in the URL, from where it would get into logs.
    #[error("the URL holds a user name or a password; give them as `username` and `password_file` or `password_env`")]
    Credentials,
    /// `?…` or `#…`.
    #[error("the URL has a query or a fragment; leave it out")]
    Extra,
    /// Ends in `/ari`, which is added by us.
    #[error("leave out the `/ari` at the end of the URL; it is added")]
    EndsInAri,
}

impl BaseUrl {
    /// Checks and wraps a URL.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let url = Url::parse(text).map_err(|error| BaseUrlError::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BaseUrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::Extra);
        }
        if ends_in_ari(url.path()) {
            return Err(BaseUrlError::EndsInAri);
        }
        Ok(Self(url))
    }

    /// Whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether it names this very machine (`localhost` or a loopback address).
    pub fn is_loopback(&self) -> bool {
        let (host, _) = self.host_and_port();
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The host, without the brackets of an IPv6 address, and the port.
    pub(super) fn host_and_port(&self) -> (String, u16) {
        let host = self.0.host_str().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let port = self.0.port_or_known_default().unwrap_or(if self.is_https() { 443 } else { 80 });
        (host.to_owned(), port)
    }

    /// The URL of a resource; each segment is percent-encoded.
    pub(super) fn resource(&self, path: &[&str]) -> Url {
        let mut url = self.0.clone();
        // http and https URLs always have a path, so this is never an error.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("ari").extend(path);
        }
        url
    }

    /// The URL of the WebSocket of a leg, which lies beside ARI.
    pub(super) fn media(&self, connection_id: &str) -> Url {
        let mut url = self.0.clone();
        // As in `resource`.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["media", connection_id]);
        }
        self.as_websocket(url)
    }

    /// The URL of the events socket of an application.
    pub(super) fn events(&self, app: &AppName) -> Url {
        let mut url = self.as_websocket(self.resource(&["events"]));
        url.query_pairs_mut().append_pair("app", app.as_str());
        url
    }

    fn as_websocket(&self, mut url: Url) -> Url {
        let scheme = if self.is_https() { "wss" } else { "ws" };
        // From one special scheme to another: never an error.
        let _ = url.set_scheme(scheme);
        url
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prefix_is_kept_for_rest_and_for_events() {
        for text in ["https://pbx.example:8089/voice", "https://pbx.example:8089/voice/"] {
            let base = BaseUrl::parse(text).unwrap();
            assert_eq!(base.resource(&["channels"]).as_str(), "https://pbx.example:8089/voice/ari/channels");
            let app = AppName::new("bot").unwrap();
            assert_eq!(base.events(&app).as_str(), "wss://pbx.example:8089/voice/ari/events?app=bot");
            assert_eq!(base.media("1-2").as_str(), "wss://pbx.example:8089/voice/media/1-2");
            assert_eq!(base.to_string(), "https://pbx.example:8089/voice");
        }
    }

    #[test]
    fn an_id_cannot_reach_another_resource() {
        let base = BaseUrl::parse("http://127.0.0.1:8088").unwrap();
        let url = base.resource(&["channels", "a/../b?c#d%", "answer"]);
        assert_eq!(url.path(), "/ari/channels/a%2F..%2Fb%3Fc%23d%25/answer");
        assert_eq!((url.query(), url.fragment()), (None, None));
    }

    #[test]
    fn urls_that_cannot_work_are_refused() {
        let refused = |text| BaseUrl::parse(text).unwrap_err();
        assert!(matches!(refused("127.0.0.1:8088"), BaseUrlError::NotAUrl(_) | BaseUrlError::Scheme(_)));
        assert_eq!(refused("ws://pbx:8088"), BaseUrlError::Scheme("ws".into()));
        assert_eq!(refused("http://bot:pw@pbx:8088"), BaseUrlError::Credentials);
        assert_eq!(refused("http://pbx:8088/?api_key=bot:pw"), BaseUrlError::Extra);
        assert_eq!(refused("http://pbx:8088/ari/"), BaseUrlError::EndsInAri);
    }

    #[test]
    fn loopback_is_told_from_other_hosts() {
        let loopback = |text| BaseUrl::parse(text).unwrap().is_loopback();
        assert!(loopback("http://localhost:8088") && loopback("http://127.0.0.1") && loopback("http://[::1]:8088"));
        assert!(!loopback("http://192.0.2.1:8088") && !loopback("http://pbx.example"));
    }

    #[test]
    fn a_password_is_not_shown() {
        let url = BaseUrl::parse("http://127.0.0.1:8088").unwrap();
        let app = AppName::new("arioso").unwrap();
        let settings = AriSettings::new("pbx", url, "bot", Secret::new("hunter2"), app);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
