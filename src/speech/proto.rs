//! The generated messages of `proto/arioso/speech/v1alpha1`, and what both ends of a stream do alike with them. Nothing
//! outside `speech` sees these types.

use crate::audio::SampleRate;
use bytes::{BufMut, Bytes, BytesMut};
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

/// The format that this version speaks: LINEAR16, one channel.
pub(super) fn linear16(rate: SampleRate) -> AudioFormat {
    AudioFormat { encoding: AudioEncoding::Linear16.into(), sample_rate_hz: rate.hz(), channel_count: 1 }
}

/// The rate of a format, if it is LINEAR16 with one channel.
pub(super) fn linear16_rate(format: &AudioFormat) -> Option<SampleRate> {
    let mono = format.channel_count <= 1;
    (mono && format.encoding() == AudioEncoding::Linear16).then(|| SampleRate::new(format.sample_rate_hz)).flatten()
}

/// What a format is called in errors: `LINEAR16/8000`.
pub(super) fn format_name(format: &AudioFormat) -> String {
    let encoding = format.encoding().as_str_name().trim_start_matches("AUDIO_ENCODING_");
    match format.channel_count {
        0 | 1 => format!("{encoding}/{}", format.sample_rate_hz),
        channels => format!("{encoding}/{}/{channels}", format.sample_rate_hz),
    }
}

/// Samples as LINEAR16: little-endian.
pub(super) fn chunk(start_sample: i64, pcm: &[i16]) -> AudioChunk {
    let mut data = BytesMut::with_capacity(pcm.len() * 2);
    for &sample in pcm {
        data.put_i16_le(sample);
    }
    AudioChunk { start_sample, data: data.freeze() }
}

/// LINEAR16 as samples; `None` for an odd number of bytes.
pub(super) fn samples(data: &Bytes) -> Option<impl ExactSizeIterator<Item = i16> + '_> {
    data.len().is_multiple_of(2).then(|| data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_survive_the_wire() {
        let pcm = [0, 1, -1, i16::MAX, i16::MIN];
        let chunk = chunk(7, &pcm);
        assert_eq!(chunk.data.as_ref(), [0, 0, 1, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0x80]);
        assert!(samples(&chunk.data).expect("even length").eq(pcm));
        assert!(samples(&Bytes::from_static(&[1, 2, 3])).is_none());
    }

    #[test]
    fn only_linear16_with_one_channel_has_a_rate() {
        let format = linear16(SampleRate::HZ_8000);
        assert_eq!(linear16_rate(&format), Some(SampleRate::HZ_8000));
        assert_eq!(linear16_rate(&AudioFormat { channel_count: 2, ..format }), None);
        assert_eq!(linear16_rate(&AudioFormat { sample_rate_hz: 11_025, ..format }), None);
        let mulaw = AudioFormat { encoding: AudioEncoding::Mulaw.into(), ..format };
        assert_eq!(linear16_rate(&mulaw), None);
        assert_eq!(format_name(&mulaw), "MULAW/8000");
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
