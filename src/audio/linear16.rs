//! LINEAR16 (L16): uncompressed samples of two bytes. RFC 3551, 4.5.11 sends the high byte first; Asterisk's
//! AudioSocket and WebSocket channels send the byte order of the machine, which is little-endian wherever Asterisk runs
//! today.

use super::ByteOrder;

/// Bytes to samples, up to the shorter of the two.
pub fn decode(order: ByteOrder, bytes: &[u8], pcm: &mut [i16]) {
    let (pairs, _) = bytes.as_chunks::<2>();
    // Two loops, so that each becomes a plain copy or byte swap of vectors.
    match order {
        ByteOrder::Big => pcm.iter_mut().zip(pairs).for_each(|(sample, pair)| *sample = i16::from_be_bytes(*pair)),
        ByteOrder::Little => pcm.iter_mut().zip(pairs).for_each(|(sample, pair)| *sample = i16::from_le_bytes(*pair)),
    }
}

/// Samples to bytes, up to the shorter of the two.
pub fn encode(order: ByteOrder, pcm: &[i16], bytes: &mut [u8]) {
    let (pairs, _) = bytes.as_chunks_mut::<2>();
    match order {
        ByteOrder::Big => pairs.iter_mut().zip(pcm).for_each(|(pair, sample)| *pair = sample.to_be_bytes()),
        ByteOrder::Little => pairs.iter_mut().zip(pcm).for_each(|(pair, sample)| *pair = sample.to_le_bytes()),
    }
}
