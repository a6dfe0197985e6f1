//! Any bytes as a WebSocket stream, for either end: they give the same messages and the same error whatever pieces they
//! come in, never a message longer than allowed, and what is written from a message reads the same at the other end.
#![no_main]

use arioso::wire::websocket::{Decoder, MAX_HEADER_BYTES, Message, Role, WebSocketError};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1_000;

// The first byte is the length of the pieces, and the lowest bit of it says which end we are.
fuzz_target!(|bytes: &[u8]| {
    let [piece, stream @ ..] = bytes else { return };
    let (role, peer) = if piece % 2 == 0 { (Role::Client, Role::Server) } else { (Role::Server, Role::Client) };
    let whole = messages(stream, role, peer, stream.len());
    assert_eq!(messages(stream, role, peer, (*piece).into()), whole);
});

/// What each message is when our peer sends it, and the error at the end.
fn messages(stream: &[u8], role: Role, peer: Role, piece: usize) -> (Vec<Vec<u8>>, Option<WebSocketError>) {
    let mut stream = stream.to_vec();
    let mut decoder = Decoder::new(role, LIMIT);
    let mut messages = Vec::new();
    for mut piece in stream.chunks_mut(piece.max(1)) {
        loop {
            match decoder.next_message(&mut piece) {
                Ok(Some(message)) => messages.push(written(message, peer, role)),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(piece.is_empty());
    }
    (messages, None)
}

fn written(message: Message<'_>, writer: Role, reader: Role) -> Vec<u8> {
    let mut out = vec![0; MAX_HEADER_BYTES + LIMIT];
    let length = message.write(writer, [1, 2, 3, 4], &mut out).expect("no message is longer than allowed");
    out.truncate(length);
    let mut again = out.clone();
    assert_eq!(Decoder::new(reader, LIMIT).next_message(&mut &mut again[..]), Ok(Some(message)));
    out
}
