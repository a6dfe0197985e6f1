//! What the server tells about its engines, and the service that it does not have.

use crate::audio::g711::Law;
use crate::audio::{PcmFormat, SampleRate};
use crate::call::Service as Kind;
use crate::speech::proto::catalog_service_server::CatalogService;
use crate::speech::proto::conversation_service_server::ConversationService;
use crate::speech::proto::{
    self, Backend, Capability, Capacity, ConverseRequest, ConverseResponse, GetCatalogRequest, GetCatalogResponse,
    Model, ServiceOffer, SpeechService, Voice,
};
use tonic::{Request, Response, Status, Streaming};

/// What is taken and given, the best first: what the caller's leg has is best, since it costs least and loses nothing.
const FORMATS: [PcmFormat; 6] = [
    PcmFormat::G711(Law::Mu),
    PcmFormat::G711(Law::A),
    PcmFormat::MANDATORY,
    PcmFormat::Linear16(SampleRate::HZ_16000),
    PcmFormat::Linear16(SampleRate::HZ_24000),
    PcmFormat::Linear16(SampleRate::HZ_48000),
];

/// What `GetCatalog` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Models, the default of a language first.
    pub models: Vec<CatalogModel>,
    /// Voices, the default of a language first.
    pub voices: Vec<CatalogVoice>,
    /// Sessions of one service at once; 0 means no fixed limit.
    pub max_sessions: u32,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogModel {
    /// Of which service.
    pub service: Kind,
    /// Its name.
    pub id: String,
    /// BCP 47 tags; none means any language.
    pub languages: Vec<String>,
}

/// A voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogVoice {
    /// Its name.
    pub id: String,
    /// BCP 47 tags, at least one.
    pub languages: Vec<String>,
    /// Rate at which it is synthesised before it is converted, in Hz.
    pub native_rate_hz: u32,
}

/// The service.
pub(in crate::speech) struct Service {
    pub(in crate::speech) catalog: Catalog,
    /// The services that are served.
    pub(in crate::speech) kinds: Vec<Kind>,
}

#[tonic::async_trait]
impl CatalogService for Service {
    async fn get_catalog(&self, request: Request<GetCatalogRequest>) -> Result<Response<GetCatalogResponse>, Status> {
        Ok(Response::new(self.catalog.answer(&self.kinds, &request.into_inner().language_code)))
    }
}

impl Catalog {
    fn answer(&self, kinds: &[Kind], language: &str) -> GetCatalogResponse {
        let serves = |languages: &[String]| {
            language.is_empty() || languages.is_empty() || languages.iter().any(|l| l.eq_ignore_ascii_case(language))
        };
        let services = kinds.iter().map(|kind| {
            let models = self.models.iter().filter(|model| model.service == *kind);
            offer(*kind, models.filter(|model| serves(&model.languages)), self.max_sessions)
        });
        let voices = self.voices.iter().filter(|voice| serves(&voice.languages)).map(|voice| Voice {
            id: voice.id.clone(),
            language_codes: voice.languages.clone(),
            native_sample_rate_hz: voice.native_rate_hz,
            ..Voice::default()
        });
        GetCatalogResponse { backend: Some(backend()), services: services.collect(), voices: voices.collect() }
    }
}

fn offer<'a>(kind: Kind, models: impl Iterator<Item = &'a CatalogModel>, max_sessions: u32) -> ServiceOffer {
    let (service, capability) = match kind {
        Kind::Recognition => (SpeechService::Recognition, Some(Capability::PartialHypotheses)),
        Kind::Synthesis => (SpeechService::Synthesis, Some(Capability::Marks)),
        Kind::Dialog => (SpeechService::Dialog, None),
    };
    let formats = match kind {
        Kind::Dialog => Vec::new(),
        Kind::Recognition | Kind::Synthesis => FORMATS.map(proto::audio_format).to_vec(),
    };
    let models =
        models.map(|model| Model { id: model.id.clone(), language_codes: model.languages.clone(), ..Model::default() });
    ServiceOffer {
        service: service.into(),
        models: models.collect(),
        formats,
        capabilities: capability.into_iter().map(i32::from).collect(),
        capacity: Some(Capacity { max_sessions, open_sessions: 0 }),
    }
}

/// What answers.
pub(super) fn backend() -> Backend {
    Backend { name: "arioso".to_owned(), model: String::new(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// ConversationService: in the contract, not in this server.
pub(super) struct NoConversation;

#[tonic::async_trait]
impl ConversationService for NoConversation {
    type ConverseStream = tokio_stream::Empty<Result<ConverseResponse, Status>>;

    async fn converse(&self, _: Request<Streaming<ConverseRequest>>) -> Result<Response<Self::ConverseStream>, Status> {
        Err(Status::unimplemented(
            "no speech-to-speech engine is served here: use RecognitionService, DialogService and SynthesisService",
        ))
    }
}
