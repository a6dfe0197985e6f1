//! Engines of kind `grpc`: the client side of the contract. One adapter implements all three services over a few shared
//! connections; what one service says on the wire, and how its engine is checked, is in a file of its own.

mod caller_audio;
mod channel;
mod dialog;
mod formats;
mod recognition;
mod session;
mod synthesis;
#[cfg(test)]
mod tests;

use super::proto::dialog_service_client::DialogServiceClient;
use super::proto::recognition_service_client::RecognitionServiceClient;
use super::proto::synthesis_service_client::SynthesisServiceClient;
use super::proto::{self, CALL_ID_KEY, CallContext, MAX_MESSAGE_BYTES};
use super::{
    BearerToken, Dialog, DialogSession, EngineError, Recognizer, RecognizerSession, SessionStart, Synthesizer,
    SynthesizerSession,
};
use crate::audio::PcmFormat;
use crate::call::{CallId, Service};
use async_trait::async_trait;
use channel::Channels;
use session::Opening;
use std::time::{Duration, Instant};
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Uri};
use tracing::{Instrument, Span};

/// Where an engine is and how it is reached.
#[derive(Clone, Debug)]
pub struct GrpcSettings {
    /// Configured name, for logs.
    pub name: String,
    /// `http://host:port`, or `https://host:port` for TLS.
    pub url: String,
    /// Sent with every session.
    pub token: Option<BearerToken>,
    /// Who may have signed the engine's certificate. Only looked at with `https`.
    pub roots: TlsRoots,
    /// What the engine is to be given and to give. If not said, its catalogue is asked once on each connection, and without one
    /// it is LINEAR16 at 8000 Hz.
    pub audio: Option<PcmFormat>,
    /// How long a connection may take, name resolution and TLS included: 500 ms by default.
    pub connect_limit: Duration,
    /// How long the engine may take to say `started` once it is connected: 1 s by default.
    pub started_limit: Duration,
}

impl GrpcSettings {
    /// Settings with the defaults of the contract.
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            token: None,
            roots: TlsRoots::System,
            audio: None,
            connect_limit: Duration::from_millis(500),
            started_limit: Duration::from_secs(1),
        }
    }
}

const PEM_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The certificate authorities that are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsRoots {
    /// Those of the operating system.
    #[default]
    System,
    /// Those in this PEM text.
    Pem(Vec<u8>),
}

/// Why an engine cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum GrpcSettingsError {
    /// The URL cannot be used.
    #[error("{url:?} is not the URL of an engine ({cause}): write http://host:port or https://host:port")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The certificate authorities cannot be used.
    #[error("the certificate authorities for {url} cannot be used: {cause}")]
    Roots {
        /// Of the engine.
        url: String,
        /// What TLS said.
        cause: String,
    },
}

/// An engine over gRPC. Nothing is connected before the first session is opened.
#[derive(Debug)]
pub struct GrpcEngine {
    settings: GrpcSettings,
    channels: Channels,
    formats: formats::Known,
}

impl GrpcEngine {
    /// Checks the settings.
    pub fn new(settings: GrpcSettings) -> Result<Self, GrpcSettingsError> {
        let wrong = |cause: String| GrpcSettingsError::Url { url: settings.url.clone(), cause };
        let uri: Uri =
            settings.url.parse().map_err(|error: tonic::codegen::http::uri::InvalidUri| wrong(error.to_string()))?;
        if uri.host().is_none_or(str::is_empty) || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("only scheme, host and port are allowed".to_owned()));
        }
        let endpoint = Endpoint::from(uri.clone());
        let endpoint = match uri.scheme_str() {
            Some("http") => endpoint,
            Some("https") => {
                let roots = |cause: String| GrpcSettingsError::Roots { url: settings.url.clone(), cause };
                let tls = match &settings.roots {
                    TlsRoots::System => ClientTlsConfig::new().with_native_roots(),
                    TlsRoots::Pem(pem) if !pem.windows(PEM_CERTIFICATE.len()).any(|part| part == PEM_CERTIFICATE) => {
                        return Err(roots("there is no certificate in the PEM text".to_owned()));
                    }
                    TlsRoots::Pem(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                };
                let refused = |error: tonic::transport::Error| {
                    roots(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
                };
                endpoint.tls_config(tls.timeout(settings.connect_limit)).map_err(refused)?
            }
            _ => return Err(wrong("the scheme is neither http nor https".to_owned())),
        };
        let channels = Channels::new(endpoint, settings.connect_limit);
        Ok(Self { settings, channels, formats: formats::Known::default() })
    }

    /// What every session is opened with.
    fn opening(&self, call: &CallId, service: Service, began: Instant) -> Opening<'_> {
        let mut metadata = MetadataMap::new();
        // A call id is visible ASCII, so it is always a valid value.
        if let Ok(value) = call.as_str().parse() {
            metadata.insert(CALL_ID_KEY, value);
        }
        if let Some(token) = &self.settings.token {
            token.authorize(&mut metadata);
        }
        Opening {
            lease: self.channels.lease(service),
            metadata,
            limit: self.settings.connect_limit + self.settings.started_limit,
            began,
            address: &self.settings.url,
        }
    }

    fn span(&self, call: &CallId, service: Service) -> Span {
        tracing::info_span!("engine session", %call, %service, engine = self.settings.name)
    }
}

#[async_trait]
impl Recognizer for GrpcEngine {
    async fn open(&self, start: SessionStart) -> Result<RecognizerSession, EngineError> {
        let span = self.span(&start.call, Service::Recognition);
        let began = Instant::now();
        let format = match self.settings.audio {
            Some(format) => format,
            None => self.formats().await.recognition(&start),
        };
        let contract = recognition::Recognition::new(&start, format)?;
        session::open(
            self.opening(&start.call, Service::Recognition, began),
            contract,
            recognition::start(&start, format),
            |channel, request| async move {
                let client = RecognitionServiceClient::new(channel);
                let client =
                    client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
                { client }.recognize(request).await
            },
        )
        .instrument(span)
        .await
    }
}

#[async_trait]
impl Synthesizer for GrpcEngine {
    async fn open(&self, start: SessionStart) -> Result<SynthesizerSession, EngineError> {
        let span = self.span(&start.call, Service::Synthesis);
        let began = Instant::now();
        let format = match self.settings.audio {
            Some(format) => format,
            None => self.formats().await.synthesis(&start),
        };
        let contract = synthesis::Synthesis::new(&start, format);
        session::open(
            self.opening(&start.call, Service::Synthesis, began),
            contract,
            synthesis::start(&start, format),
            |channel, request| async move {
                let client = SynthesisServiceClient::new(channel);
                let client =
                    client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
                { client }.synthesize(request).await
            },
        )
        .instrument(span)
        .await
    }
}

#[async_trait]
impl Dialog for GrpcEngine {
    async fn open(&self, start: SessionStart) -> Result<DialogSession, EngineError> {
        let span = self.span(&start.call, Service::Dialog);
        let contract = dialog::Dialog::new();
        session::open(
            self.opening(&start.call, Service::Dialog, Instant::now()),
            contract,
            dialog::start(&start),
            |channel, request| async move {
                let client = DialogServiceClient::new(channel);
                let client =
                    client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES);
                { client }.exchange(request).await
            },
        )
        .instrument(span)
        .await
    }
}

/// The call as every `start` names it.
fn call_context(start: &SessionStart) -> CallContext {
    CallContext { call_id: start.call.as_str().to_owned(), ..CallContext::default() }
}

/// `started` must not change the format: there is one only that we asked for.
fn accepted(started: &proto::Started, asked: PcmFormat) -> Result<(), String> {
    match &started.accepted_format {
        Some(format) if proto::pcm_format(format) != Some(asked) => {
            Err(format!("`started` accepts {}, but {asked} was asked for", proto::format_name(format)))
        }
        _ => Ok(()),
    }
}
