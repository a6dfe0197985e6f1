//! Requests over a pool of HTTP connections.
//!
//! Several requests run side by side, because those that wait for a channel (answer, add to a bridge, set a variable)
//! must not hold up the others. The typed requests are in `channels`, `bridges`, `applications` and `system`.

use super::error::{Asked, connection_error};
use super::{AriError, AriSettings, tls};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Asterisk closes idle connections after 15 s; ours must be gone before, or a request could meet a closing one.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);
/// Idle connections count against the sessions that Asterisk shares out among all clients.
const IDLE_CONNECTIONS: usize = 8;
/// Connecting takes no longer on any network that carries telephony.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest list of channels or bridges that is read: some 50,000 channels.
const MAX_ANSWER: usize = 32 << 20;

/// A client of one Asterisk. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Ari {
    pub(super) settings: AriSettings,
    pub(super) authorization: HeaderValue,
    /// For the events socket, when certificates are configured.
    pub(super) tls: Option<Arc<ClientConfig>>,
    client: Client,
    permits: Arc<Semaphore>,
}

/// What a removal met. Removing twice is no error: a channel can end by itself at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Asterisk accepted it.
    Done,
    /// There was nothing to remove.
    AlreadyGone,
}

impl Ari {
    /// A client with these settings. Connects to nothing yet.
    ///
    /// Fails only when the configured certificates cannot be read.
    pub fn new(settings: AriSettings) -> Result<Self, AriError> {
        tls::install_crypto_provider();
        let config = match &settings.ca_file {
            Some(file) if settings.url.is_https() => Some(tls::config_trusting(file)?),
            _ => None,
        };
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .tcp_nodelay(true)
            .http1_only()
            // Asterisk is a neighbour: a proxy for the web is not on the way, and it never redirects.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        let builder = match &config {
            Some(config) => builder.tls_backend_preconfigured(config.clone()),
            None if settings.url.is_https() => builder,
            // Without TLS no certificates are needed, and a bare machine has none.
            None => builder.tls_certs_only([]),
        };
        let unusable = |error: reqwest::Error| connection_error(&settings.url.to_string(), &error);
        let client = builder.build().map_err(unusable)?;
        let login =
            client.get(settings.url.resource(&[])).basic_auth(&settings.username, Some(settings.password.expose()));
        let login = login.build().map_err(unusable)?;
        let mut authorization = login.headers().get(AUTHORIZATION).cloned().unwrap_or(HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        let permits = Arc::new(Semaphore::new(settings.max_requests.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { settings, authorization, tls: config.map(Arc::new), client, permits })
    }

    /// What this client was made with.
    pub fn settings(&self) -> &AriSettings {
        &self.settings
    }

    /// GET of an object or a list.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T, AriError> {
        let (request, body) = self.send(Method::GET, path, query, None).await?;
        parse(request, &body)
    }

    /// POST of a command that answers with nothing.
    pub(super) async fn command(&self, path: &[&str], parameters: &impl Serialize) -> Result<(), AriError> {
        self.send(Method::POST, path, &[], Some(json(parameters))).await.map(drop)
    }

    /// POST that answers with an object.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &impl Serialize,
    ) -> Result<T, AriError> {
        let (request, body) = self.send(Method::POST, path, &[], Some(json(parameters))).await?;
        parse(request, &body)
    }

    /// PUT that answers with something of no interest.
    pub(super) async fn put(&self, path: &[&str], parameters: &impl Serialize) -> Result<(), AriError> {
        self.send(Method::PUT, path, &[], Some(json(parameters))).await.map(drop)
    }

    /// DELETE; nothing there to delete is fine.
    pub(super) async fn remove(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Removal, AriError> {
        match self.send(Method::DELETE, path, query, None).await {
            Ok(_) => Ok(Removal::Done),
            Err(AriError::NotFound { .. }) => Ok(Removal::AlreadyGone),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and reads the answer, all within the time limit. Returns the request in words, and the body.
    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<(String, Vec<u8>), AriError> {
        let request = format!("{method} {}", path.join("/"));
        let limit = self.settings.request_timeout;
        match tokio::time::timeout(limit, self.exchange(&request, method, path, query, body)).await {
            Ok(Ok(body)) => Ok((request, body)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AriError::Timeout { request, limit }),
        }
    }

    async fn exchange(
        &self,
        request: &str,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, AriError> {
        let url = self.settings.url.to_string();
        let broken = |error: reqwest::Error| connection_error(&url, &error);
        // The semaphore is never closed; an error would only mean running without the bound.
        let _permit = self.permits.acquire().await.ok();
        let mut call = self.client.request(method, self.settings.url.resource(path));
        call = call.header(AUTHORIZATION, self.authorization.clone());
        if !query.is_empty() {
            call = call.query(query);
        }
        if let Some(body) = body {
            call = call.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = call.send().await.map_err(broken)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if answer.len() + chunk.len() > MAX_ANSWER {
                let cause = format!("it is longer than {MAX_ANSWER} bytes");
                return Err(AriError::BadResponse { request: request.to_owned(), cause });
            }
            answer.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(answer);
        }
        Err(AriError::from_status(&Asked { request, user: &self.settings.username, url: &url }, status, &answer))
    }
}

fn parse<T: DeserializeOwned>(request: String, body: &[u8]) -> Result<T, AriError> {
    serde_json::from_slice(body).map_err(|error| AriError::BadResponse { request, cause: error.to_string() })
}

/// Parameters travel in the body: not in a URL that gets into Asterisk's logs, and with their exact types.
fn json(parameters: &impl Serialize) -> Vec<u8> {
    // Serialising our own structs of texts, numbers and lists into memory cannot fail.
    serde_json::to_vec(parameters).unwrap_or_default()
}

#[cfg(test)]
mod tests;
