//! Against `tungstenite` as the peer, against what RFC 6455 forbids, and at every split.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use tokio_tungstenite::tungstenite::protocol::{self, CloseFrame, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, WebSocket};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const LIMIT: usize = 1 << 17;

/// A message that owns what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl Owned {
    fn of(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Message::Close(close) => Self::Close(close.map(|close| (close.code, close.reason.to_owned()))),
        }
    }

    fn borrow(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
            Self::Ping(bytes) => Message::Ping(bytes),
            Self::Pong(bytes) => Message::Pong(bytes),
            Self::Close(close) => Message::Close(close.as_ref().map(|(code, reason)| Close { code: *code, reason })),
        }
    }

    fn for_tungstenite(&self) -> tungstenite::Message {
        match self.clone() {
            Self::Text(text) => tungstenite::Message::text(text),
            Self::Binary(bytes) => tungstenite::Message::binary(bytes),
            Self::Ping(bytes) => tungstenite::Message::Ping(bytes.into()),
            Self::Pong(bytes) => tungstenite::Message::Pong(bytes.into()),
            Self::Close(close) => tungstenite::Message::Close(
                close.map(|(code, reason)| CloseFrame { code: CloseCode::from(code), reason: reason.into() }),
            ),
        }
    }

    fn from_tungstenite(message: tungstenite::Message) -> Self {
        match message {
            tungstenite::Message::Text(text) => Self::Text(text.as_str().to_owned()),
            tungstenite::Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            tungstenite::Message::Ping(bytes) => Self::Ping(bytes.to_vec()),
            tungstenite::Message::Pong(bytes) => Self::Pong(bytes.to_vec()),
            tungstenite::Message::Close(close) => {
                Self::Close(close.map(|close| (close.code.into(), close.reason.as_str().to_owned())))
            }
            tungstenite::Message::Frame(frame) => panic!("{frame:?}"),
        }
    }
}

/// Lengths on both sides of where the header changes.
fn messages() -> Vec<Owned> {
    let bytes = |length: usize| (0..length).map(|n| (n * 7) as u8).collect::<Vec<u8>>();
    let mut messages = vec![Owned::Text(String::new()), Owned::Text("MEDIA_START öäü 音".to_owned())];
    messages.extend([0, 1, 2, 3, 4, 5, 125, 126, 127, 160, 320, 640, 65_535, 65_536].map(|n| Owned::Binary(bytes(n))));
    messages.extend([Owned::Ping(vec![]), Owned::Ping(bytes(125)), Owned::Pong(bytes(3))]);
    messages
}

fn write(message: Message<'_>, role: Role) -> Vec<u8> {
    let mut out = vec![0; MAX_HEADER_BYTES + 70_000];
    let length = message.write(role, KEY, &mut out).unwrap();
    out.truncate(length);
    out
}

/// Reads a stream in pieces, each as long as the next of `cuts`.
fn read_in_pieces(
    stream: &[u8],
    role: Role,
    cuts: impl IntoIterator<Item = usize>,
) -> Result<Vec<Owned>, WebSocketError> {
    let mut stream = stream.to_vec();
    let mut decoder = Decoder::new(role, LIMIT);
    let mut messages = Vec::new();
    let mut rest = &mut stream[..];
    let mut cuts = cuts.into_iter();
    while !rest.is_empty() {
        let length = cuts.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (mut piece, behind) = rest.split_at_mut(length);
        rest = behind;
        while let Some(message) = decoder.next_message(&mut piece)? {
            messages.push(Owned::of(message));
        }
        assert!(piece.is_empty());
    }
    Ok(messages)
}

/// One frame by hand, masked if `role`, who reads it, is a server.
fn frame(role: Role, first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = if role == Role::Server { MASKED } else { 0 };
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ 0..=125 => frame.push(mask | length as u8),
        length @ 126..=65_535 => {
            frame.push(mask | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(mask | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    if role == Role::Server {
        frame.extend(KEY);
        frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        frame.extend(payload);
    }
    frame
}

/// The other end, in memory.
#[derive(Default)]
struct Pipe {
    to_peer: VecDeque<u8>,
    from_peer: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.to_peer.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.to_peer.read(buffer) }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.from_peer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tungstenite_peer(role: Role) -> WebSocket<Pipe> {
    let role = match role {
        Role::Client => protocol::Role::Server,
        Role::Server => protocol::Role::Client,
    };
    WebSocket::from_raw_socket(Pipe::default(), role, None)
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];

#[test]
fn what_tungstenite_sends_is_read() {
    for role in ROLES {
        let mut peer = tungstenite_peer(role);
        let mut sent = messages();
        sent.push(Owned::Close(Some((1000, "bye".to_owned()))));
        for message in &sent {
            peer.send(message.for_tungstenite()).unwrap();
        }
        let stream = &peer.get_ref().from_peer;
        for piece in [stream.len(), 1, 7, 1_000] {
            let read = read_in_pieces(stream, role, std::iter::repeat(piece));
            assert_eq!(read.as_ref(), Ok(&sent), "{role:?}, pieces of {piece}");
        }
    }
}

#[test]
fn tungstenite_reads_what_we_send() {
    for role in ROLES {
        let mut peer = tungstenite_peer(role);
        let mut sent = messages();
        sent.push(Owned::Close(Some((1000, "bye".to_owned()))));
        for message in sent {
            peer.get_mut().to_peer.extend(write(message.borrow(), role));
            assert_eq!(Owned::from_tungstenite(peer.read().unwrap()), message, "{role:?}");
        }
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // Section 5.7.
    let hello = [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F];
    let masked_hello = [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58];
    let fragments = [0x01, 0x03, 0x48, 0x65, 0x6C, 0x80, 0x02, 0x6C, 0x6F];
    let text = vec![Owned::Text("Hello".to_owned())];
    assert_eq!(read_in_pieces(&hello, Role::Client, [7]).as_ref(), Ok(&text));
    assert_eq!(read_in_pieces(&masked_hello, Role::Server, [11]).as_ref(), Ok(&text));
    assert_eq!(read_in_pieces(&fragments, Role::Client, [9]).as_ref(), Ok(&text));
    assert_eq!(write(Message::Text("Hello"), Role::Server), hello);
    assert_eq!(write(Message::Text("Hello"), Role::Client), masked_hello);
}

/// From 22.10 on Asterisk takes fragments, and others send them.
#[test]
fn fragments_are_joined_and_control_frames_come_between() {
    for role in ROLES {
        let stream = [
            frame(role, 0x02, &[1, 2]),
            frame(role, 0x89, b"are you there"),
            frame(role, 0x00, &[]),
            frame(role, 0x8A, &[]),
            frame(role, 0x80, &[3]),
            frame(role, 0x01, "ä".as_bytes().split_at(1).0),
            frame(role, 0x80, "ä".as_bytes().split_at(1).1),
            frame(role, 0x82, &[4; 200]),
        ]
        .concat();
        let whole = vec![
            Owned::Ping(b"are you there".to_vec()),
            Owned::Pong(vec![]),
            Owned::Binary(vec![1, 2, 3]),
            Owned::Text("ä".to_owned()),
            Owned::Binary(vec![4; 200]),
        ];
        for cut in 0..stream.len() {
            assert_eq!(read_in_pieces(&stream, role, [cut]).as_ref(), Ok(&whole), "{role:?}, cut at {cut}");
        }
        assert_eq!(read_in_pieces(&stream, role, std::iter::repeat(1)).as_ref(), Ok(&whole));
    }
}

#[test]
fn nothing_counts_behind_a_close() {
    let role = Role::Client;
    let close = |payload: &[u8]| frame(role, 0x88, payload);
    let read = |stream: &[u8]| read_in_pieces(stream, role, [stream.len()]);
    let stream = [close(&[]), vec![0xFF; 40]].concat();
    assert_eq!(read(&stream), Ok(vec![Owned::Close(None)]));
    assert_eq!(read(&close(b"\x03\xE8ok")), Ok(vec![Owned::Close(Some((1000, "ok".to_owned())))]));
    assert_eq!(read(&close(&[3])), Err(WebSocketError::CloseLength));
    assert_eq!(read(&close(&[3, 0xE8, 0xFF])), Err(WebSocketError::NotUtf8));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        assert_eq!(read(&close(&u16::to_be_bytes(code))), Err(WebSocketError::CloseCode { code }));
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999] {
        assert_eq!(read(&close(&u16::to_be_bytes(code))), Ok(vec![Owned::Close(Some((code, String::new())))]));
    }
}

#[test]
fn what_the_rfc_forbids_is_refused() {
    use WebSocketError as E;
    let too_long = (LIMIT as u64 + 1).to_be_bytes();
    let cases: Vec<(Role, Vec<u8>, E, u16)> = vec![
        (Role::Client, vec![0xC2], E::ReservedBits { first_byte: 0xC2 }, 1002),
        (Role::Client, b"HTTP/1.1 400 Bad Request".to_vec(), E::ReservedBits { first_byte: b'H' }, 1002),
        (Role::Client, vec![0x83, 0], E::Opcode { opcode: 3 }, 1002),
        (Role::Client, vec![0x8B, 0], E::Opcode { opcode: 11 }, 1002),
        (Role::Client, vec![0x82, 0x81], E::Masked, 1002),
        (Role::Server, vec![0x82, 0x01], E::NotMasked, 1002),
        (Role::Client, vec![0x09, 0], E::FragmentedControl, 1002),
        (Role::Client, vec![0x89, 126], E::ControlTooLong, 1002),
        (Role::Client, vec![0x88, 127], E::ControlTooLong, 1002),
        (Role::Client, vec![0x82, 126, 0, 125], E::LengthNotMinimal { length: 125 }, 1002),
        (Role::Client, vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], E::LengthNotMinimal { length: 65_535 }, 1002),
        (
            Role::Client,
            [&[0x82, 127], &too_long[..]].concat(),
            E::MessageTooLong { bytes: LIMIT as u64 + 1, limit: LIMIT },
            1009,
        ),
        (
            Role::Client,
            [&[0x82, 127], &[0xFF; 8][..]].concat(),
            E::MessageTooLong { bytes: u64::MAX, limit: LIMIT },
            1009,
        ),
        (Role::Client, vec![0x80, 0], E::NothingToContinue, 1002),
        (Role::Client, vec![0x02, 0, 0x82, 0], E::NotContinued, 1002),
        (Role::Client, vec![0x81, 1, 0xFF], E::NotUtf8, 1007),
        (Role::Client, vec![0x01, 1, 0xC3, 0x80, 1, b'a'], E::NotUtf8, 1007),
    ];
    for (role, stream, error, code) in cases {
        assert_eq!(read_in_pieces(&stream, role, [stream.len()]), Err(error), "{stream:02x?}");
        assert_eq!(read_in_pieces(&stream, role, std::iter::repeat(1)), Err(error), "{stream:02x?} byte by byte");
        assert_eq!(error.close_code(), code);
        // And it stays so.
        let mut decoder = Decoder::new(role, LIMIT);
        let mut stream = stream;
        let mut input = &mut stream[..];
        while let Ok(Some(_)) = decoder.next_message(&mut input) {}
        let mut good = frame(role, 0x82, &[1]);
        assert_eq!(decoder.next_message(&mut &mut good[..]), Err(error));
    }
}

#[test]
fn fragments_together_may_not_be_longer_than_the_limit() {
    let role = Role::Client;
    let mut decoder = Decoder::new(role, 100);
    let mut stream = [frame(role, 0x02, &[0; 60]), frame(role, 0x00, &[0; 40]), frame(role, 0x00, &[0; 1])].concat();
    let error = WebSocketError::MessageTooLong { bytes: 101, limit: 100 };
    assert_eq!(decoder.next_message(&mut &mut stream[..]), Err(error));
}

#[test]
fn a_message_that_came_whole_is_not_copied_and_nothing_is_held() {
    for role in ROLES {
        let mut stream = [frame(role, 0x82, &[9; 160]), frame(role, 0x82, &[8; 160])].concat();
        let range = stream.as_ptr_range();
        let mut decoder = Decoder::new(role, LIMIT);
        let mut input = &mut stream[..];
        for expected in [9, 8] {
            let Ok(Some(Message::Binary(payload))) = decoder.next_message(&mut input) else { panic!("no message") };
            assert_eq!(payload, [expected; 160]);
            assert!(range.contains(&payload.as_ptr()));
        }
        assert_eq!(decoder.next_message(&mut input), Ok(None));
        assert_eq!(decoder.buffered_bytes(), 0);
    }
}

#[test]
fn nothing_is_half_written() {
    let mut out = [0xEE; 20];
    for (message, role, needed) in [
        (Message::Binary(&[0; 19]), Role::Server, 21),
        (Message::Binary(&[0; 15]), Role::Client, 21),
        (Message::Text("............................."), Role::Server, 31),
    ] {
        assert_eq!(message.write(role, KEY, &mut out), Err(WriteError::NoRoom { needed, room: 20 }));
    }
    let close = Message::Close(Some(Close { code: 1000, reason: &"x".repeat(124) }));
    assert_eq!(close.write(Role::Server, KEY, &mut out), Err(WriteError::ControlTooLong { bytes: 126 }));
    assert_eq!(
        Message::Ping(&[0; 126]).write(Role::Server, KEY, &mut out),
        Err(WriteError::ControlTooLong { bytes: 126 })
    );
    assert_eq!(out, [0xEE; 20]);
}

fn message() -> impl Strategy<Value = Owned> {
    let bytes = |length| prop::collection::vec(any::<u8>(), length);
    prop_oneof![
        ".{0,60}".prop_map(Owned::Text),
        bytes(0..700).prop_map(Owned::Binary),
        bytes(0..126).prop_map(Owned::Ping),
        bytes(0..126).prop_map(Owned::Pong),
    ]
}

proptest! {
    #[test]
    fn every_split_and_fragmentation_gives_the_same_messages(
        server: bool,
        sent in prop::collection::vec((message(), prop::collection::vec(0usize..200, 0..4)), 0..8),
        cuts in prop::collection::vec(1usize..600, 0..40),
    ) {
        let role = ROLES[usize::from(server)];
        let mut stream = Vec::new();
        for (message, fragments) in &sent {
            let (opcode, mut payload) = match message {
                Owned::Text(text) => (1, text.as_bytes()),
                Owned::Binary(bytes) => (2, &bytes[..]),
                Owned::Ping(bytes) => (9, &bytes[..]),
                Owned::Pong(bytes) => (10, &bytes[..]),
                Owned::Close(_) => unreachable!(),
            };
            let mut opcode = opcode;
            if opcode < 8 {
                for length in fragments {
                    let (piece, rest) = payload.split_at((*length).min(payload.len()));
                    stream.extend(frame(role, opcode, piece));
                    (opcode, payload) = (0, rest);
                }
            }
            stream.extend(frame(role, FIN | opcode, payload));
        }
        let sent: Vec<_> = sent.into_iter().map(|(message, _)| message).collect();
        let whole = read_in_pieces(&stream, role, [stream.len()]);
        prop_assert_eq!(whole.as_ref(), Ok(&sent));
        prop_assert_eq!(read_in_pieces(&stream, role, cuts), Ok(sent));
    }

    #[test]
    fn what_is_written_is_read_by_the_other_role(message in message(), server: bool, key: [u8; 4]) {
        let (writer, reader) = if server { (Role::Server, Role::Client) } else { (Role::Client, Role::Server) };
        let mut out = vec![0; 1_000];
        let length = message.borrow().write(writer, key, &mut out).unwrap();
        prop_assert_eq!(read_in_pieces(&out[..length], reader, [length]), Ok(vec![message]));
    }

    #[test]
    fn garbage_is_read_or_refused_the_same_at_every_split(
        server: bool, stream in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(1usize..30, 0..40),
    ) {
        let role = ROLES[usize::from(server)];
        let whole = read_in_pieces(&stream, role, [stream.len()]);
        prop_assert_eq!(read_in_pieces(&stream, role, cuts), whole);
    }
}
