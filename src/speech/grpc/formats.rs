//! Which format an engine gets: the configured one, or by what its catalogue says.

use super::GrpcEngine;
use crate::audio::{FrameResampler, PcmFormat};
use crate::call::Service;
use crate::speech::SessionStart;
use crate::speech::proto::catalog_service_client::CatalogServiceClient;
use crate::speech::proto::{GetCatalogRequest, GetCatalogResponse, MAX_MESSAGE_BYTES, SpeechService, pcm_format};
use std::sync::Arc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Request};

/// The formats of an engine's catalogue that this version speaks, the best first. Empty without a catalogue.
#[derive(Debug, Default)]
pub(super) struct Formats {
    recognition: Vec<PcmFormat>,
    synthesis: Vec<PcmFormat>,
}

/// The formats, and on which connection they were asked for.
pub(super) type Known = tokio::sync::Mutex<Option<(u64, Arc<Formats>)>>;

impl Formats {
    fn of(catalog: &GetCatalogResponse) -> Self {
        let of = |kind| {
            let offers = catalog.services.iter().filter(|offer| offer.service() == kind);
            offers.flat_map(|offer| &offer.formats).filter_map(pcm_format).collect()
        };
        Self { recognition: of(SpeechService::Recognition), synthesis: of(SpeechService::Synthesis) }
    }

    /// For recognition in a call.
    pub(super) fn recognition(&self, start: &SessionStart) -> PcmFormat {
        choose(&self.recognition, start)
    }

    /// For synthesis in a call.
    pub(super) fn synthesis(&self, start: &SessionStart) -> PcmFormat {
        choose(&self.synthesis, start)
    }
}

/// The first that loses nothing of the call's audio; if each loses something, the one with the highest rate. Another law than
/// that of the caller's leg is not used, nor a rate to which there is no way.
fn choose(offered: &[PcmFormat], start: &SessionStart) -> PcmFormat {
    let usable = |format: &&PcmFormat| match format {
        PcmFormat::G711(law) => start.law == Some(*law),
        PcmFormat::Linear16(rate) => FrameResampler::new(start.rate, *rate).is_some(),
    };
    let lossless = offered.iter().filter(usable).find(|format| format.rate() >= start.rate);
    // The first of several with the same rate.
    let best = || offered.iter().filter(usable).rev().max_by_key(|format| format.rate());
    lossless.or_else(best).copied().unwrap_or(PcmFormat::MANDATORY)
}

impl GrpcEngine {
    /// What the engine's catalogue says, asked once on each connection. An engine that does not give one in time has none.
    pub(super) async fn formats(&self) -> Arc<Formats> {
        // Whoever opens a session meanwhile waits for the same answer.
        let mut known = self.formats.lock().await;
        if let Some((connection, formats)) = &*known
            && *connection == self.channels.connections()
        {
            return Arc::clone(formats);
        }
        let formats = Arc::new(self.ask().await);
        *known = Some((self.channels.connections(), Arc::clone(&formats)));
        formats
    }

    async fn ask(&self) -> Formats {
        let mut metadata = MetadataMap::new();
        if let Some(token) = &self.settings.token {
            token.authorize(&mut metadata);
        }
        let lease = self.channels.lease(Service::Recognition);
        let mut client = CatalogServiceClient::new(lease.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let request = Request::from_parts(metadata, Extensions::new(), GetCatalogRequest::default());
        // A call waits for it, and the other half is for `started`.
        let limit = self.settings.connect_limit + self.settings.started_limit / 2;
        let name = &self.settings.name;
        match tokio::time::timeout(limit, client.get_catalog(request)).await {
            Ok(Ok(response)) => {
                let formats = Formats::of(response.get_ref());
                tracing::debug!(engine = name, ?formats, "the engine's catalogue");
                return formats;
            }
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                tracing::debug!(engine = name, "the engine has no catalogue");
            }
            // What is wrong with the engine, the session will show.
            Ok(Err(status)) => tracing::debug!(engine = name, error = status.message(), "no catalogue"),
            Err(_) => tracing::warn!(engine = name, ?limit, "no catalogue in time: the engine gets LINEAR16/8000"),
        }
        Formats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SampleRate;
    use crate::audio::g711::Law;
    use crate::speech::scripted;

    #[test]
    fn the_first_format_that_loses_nothing_is_used_and_without_a_catalogue_the_mandatory_one() {
        let linear = |hz| PcmFormat::Linear16(SampleRate::new(hz).expect("a rate"));
        let (mu, a) = (PcmFormat::G711(Law::Mu), PcmFormat::G711(Law::A));
        let call = |hz, law| SessionStart { rate: SampleRate::new(hz).expect("a rate"), law, ..scripted::start() };
        let companded = call(8_000, Some(Law::Mu));
        for (offered, start, expected) in [
            (vec![], &companded, linear(8_000)),
            (vec![], &call(48_000, None), linear(8_000)),
            (vec![mu, a, linear(8_000)], &companded, mu),
            (vec![mu, a, linear(8_000)], &call(8_000, Some(Law::A)), a),
            (vec![mu, a, linear(8_000)], &call(8_000, None), linear(8_000)),
            (vec![a], &companded, linear(8_000)),
            (vec![linear(16_000), mu], &companded, linear(16_000)),
            (vec![linear(8_000), linear(16_000), linear(48_000)], &call(16_000, None), linear(16_000)),
            (vec![linear(44_100), linear(16_000)], &companded, linear(16_000)),
            (vec![linear(8_000), linear(24_000), linear(16_000)], &call(48_000, None), linear(24_000)),
        ] {
            assert_eq!(choose(&offered, start), expected, "{offered:?} {:?}", start.rate);
        }
    }
}
