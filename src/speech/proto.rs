//! The generated messages of `proto/arioso/speech/v1alpha1`, and what both ends of a stream do alike with them. Nothing
//! outside `speech` sees these types.

use crate::audio::g711::Law;
use crate::audio::{PcmFormat, SampleRate};
use std::time::Duration;

mod generated {
    #![allow(missing_docs, unreachable_pub, rustdoc::all, clippy::all, clippy::pedantic)]
    tonic::include_proto!("arioso.speech.v1alpha1");
}
pub(super) use generated::*;

/// The contract as an encoded `FileDescriptorSet`, for server reflection.
pub(super) const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin"));

/// No message of the contract is longer.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Window of one stream: small, so that a stream which nobody reads holds little.
pub(super) const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// Window of a connection: far larger, so that unread streams cannot use it up and stall their neighbours.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Streams on one connection; the 1,001st would wait in silence.
pub(super) const MAX_STREAMS: u32 = 1_000;
/// How long a peer may leave a ping unanswered.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Metadata key of the call.
pub(super) const CALL_ID_KEY: &str = "x-arioso-call-id";
/// Metadata key of the token.
pub(super) const AUTHORIZATION_KEY: &str = "authorization";

/// A format as the contract writes it.
pub(super) fn audio_format(format: PcmFormat) -> AudioFormat {
    let encoding = match format {
        PcmFormat::Linear16(_) => AudioEncoding::Linear16,
        PcmFormat::G711(Law::Mu) => AudioEncoding::Mulaw,
        PcmFormat::G711(Law::A) => AudioEncoding::Alaw,
    };
    AudioFormat { encoding: encoding.into(), sample_rate_hz: format.rate().hz(), channel_count: 1 }
}

/// A format of the contract, if it is one that this version speaks.
pub(super) fn pcm_format(format: &AudioFormat) -> Option<PcmFormat> {
    if format.channel_count > 1 {
        return None;
    }
    match format.encoding() {
        AudioEncoding::Linear16 => SampleRate::new(format.sample_rate_hz).map(PcmFormat::Linear16),
        AudioEncoding::Mulaw if format.sample_rate_hz == 8_000 => Some(PcmFormat::G711(Law::Mu)),
        AudioEncoding::Alaw if format.sample_rate_hz == 8_000 => Some(PcmFormat::G711(Law::A)),
        AudioEncoding::Mulaw | AudioEncoding::Alaw | AudioEncoding::Unspecified => None,
    }
}

/// What a format is called in errors: `LINEAR16/8000`.
pub(super) fn format_name(format: &AudioFormat) -> String {
    let encoding = format.encoding().as_str_name().trim_start_matches("AUDIO_ENCODING_");
    match format.channel_count {
        0 | 1 => format!("{encoding}/{}", format.sample_rate_hz),
        channels => format!("{encoding}/{}/{channels}", format.sample_rate_hz),
    }
}

/// Samples as a piece of audio.
pub(super) fn chunk(format: PcmFormat, start_sample: i64, pcm: &[i16]) -> AudioChunk {
    let mut data = Vec::new();
    format.encode(pcm, &mut data);
    AudioChunk { start_sample, data: data.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_the_contract_are_ours_and_back() {
        for format in [PcmFormat::MANDATORY, PcmFormat::G711(Law::Mu), PcmFormat::G711(Law::A)] {
            assert_eq!(pcm_format(&audio_format(format)), Some(format));
            assert_eq!(format_name(&audio_format(format)), format.to_string());
        }
        let format = audio_format(PcmFormat::MANDATORY);
        assert_eq!(pcm_format(&AudioFormat { channel_count: 2, ..format }), None);
        assert_eq!(pcm_format(&AudioFormat { sample_rate_hz: 11_025, ..format }), None);
        let wideband = AudioFormat { sample_rate_hz: 16_000, ..audio_format(PcmFormat::G711(Law::Mu)) };
        assert_eq!(pcm_format(&wideband), None);
        assert_eq!(format_name(&wideband), "MULAW/16000");
    }

    #[test]
    fn every_service_is_described_for_reflection() {
        use prost::Message as _;
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR_SET).expect("a descriptor set");
        let services: Vec<_> = set.file.iter().flat_map(|f| &f.service).map(|s| s.name().to_owned()).collect();
        for name in ["Recognition", "Synthesis", "Dialog", "Conversation", "Catalog"] {
            assert!(services.contains(&format!("{name}Service")), "{name} in {services:?}");
        }
    }
}
