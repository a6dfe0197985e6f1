//! Any bytes as an AudioSocket stream: they give the same frames whatever pieces they come in, and what is written from a
//! frame reads the same.
#![no_main]

use arioso::wire::audiosocket::{Frame, FrameError, HEADER_BYTES, MAX_PAYLOAD_BYTES, Reader};
use libfuzzer_sys::fuzz_target;

/// Type, and what is in it.
type Owned = Result<(u8, Vec<u8>), FrameError>;

// The first byte is the length of the pieces.
fuzz_target!(|bytes: &[u8]| {
    let [piece, stream @ ..] = bytes else { return };
    let whole = frames(stream, stream.len());
    assert_eq!(frames(stream, (*piece).into()), whole);
    assert!(whole.iter().flatten().map(|(_, payload)| payload.len() + HEADER_BYTES).sum::<usize>() <= stream.len());
});

fn frames(stream: &[u8], piece: usize) -> Vec<Owned> {
    let mut reader = Reader::new();
    let mut frames = Vec::new();
    for mut piece in stream.chunks(piece.max(1)) {
        while let Some(frame) = reader.next_frame(&mut piece) {
            frames.push(frame.map(written));
        }
        assert!(piece.is_empty());
    }
    frames
}

fn written(frame: Frame<'_>) -> (u8, Vec<u8>) {
    if let Frame::Audio(audio, []) = frame {
        assert!(frame.write(&mut [0; HEADER_BYTES]).is_err(), "Asterisk would hang up");
        return (audio as u8, Vec::new());
    }
    let mut out = vec![0; HEADER_BYTES + MAX_PAYLOAD_BYTES];
    let length = frame.write(&mut out).expect("there is room");
    let mut again = &out[..length];
    assert_eq!(Reader::new().next_frame(&mut again), Some(Ok(frame)));
    (out[0], out[HEADER_BYTES..length].to_vec())
}
