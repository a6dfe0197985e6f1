//! Frames at every split, and what peers do wrong with them.

use super::*;
use proptest::prelude::*;

const CALL: [u8; 16] = [0x40, 0x32, 0x5E, 0xC2, 0x5E, 0xFD, 0x4B, 0xD3, 0x80, 0x5F, 0x53, 0x57, 0x6E, 0x58, 0x1D, 0x13];

/// A frame that owns its payload.
type Owned = (u8, Vec<u8>);

fn owned(frame: Frame<'_>) -> Owned {
    let mut bytes = vec![0; HEADER_BYTES + MAX_PAYLOAD_BYTES];
    match frame {
        // Cannot be written, and rightly so.
        Frame::Audio(audio, []) => (audio as u8, Vec::new()),
        frame => {
            let length = frame.write(&mut bytes).unwrap();
            (bytes[0], bytes[HEADER_BYTES..length].to_vec())
        }
    }
}

fn stream_of(frames: &[Owned]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (kind, payload) in frames {
        let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
        stream.extend([*kind, high, low]);
        stream.extend(payload);
    }
    stream
}

/// Reads the stream in pieces, each as long as the next of `cuts`.
fn read_in_pieces(stream: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<Result<Owned, FrameError>> {
    let mut reader = Reader::new();
    let mut frames = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.into_iter();
    while !rest.is_empty() {
        let (mut piece, behind) = rest.split_at(cuts.next().unwrap_or(rest.len()).clamp(1, rest.len()));
        rest = behind;
        while let Some(frame) = reader.next_frame(&mut piece) {
            frames.push(frame.map(owned));
        }
        assert!(piece.is_empty());
    }
    frames
}

fn call() -> Vec<Owned> {
    let speech: Vec<u8> = (0..320).map(|n| n as u8).collect();
    vec![
        (UUID, CALL.to_vec()),
        (0x10, speech.clone()),
        (DTMF, b"5".to_vec()),
        (0x12, [&speech[..], &speech[..]].concat()),
        (0x10, speech[..17].to_vec()),
        (0x42, b"future".to_vec()),
        (ERROR, vec![1]),
        (HANGUP, Vec::new()),
    ]
}

/// Fonoster takes each read as one frame: with two frames a write it loses half of the audio.
#[test]
fn fonoster_one_read_is_not_one_frame() {
    let frames = call();
    let stream = stream_of(&frames);
    let whole: Vec<_> = frames.iter().cloned().map(Ok).collect();
    assert_eq!(read_in_pieces(&stream, [stream.len()]), whole, "all in one read");
    for cut in 1..stream.len() {
        assert_eq!(read_in_pieces(&stream, [cut]), whole, "cut at byte {cut}");
    }
    for length in 1..20 {
        assert_eq!(read_in_pieces(&stream, std::iter::repeat(length)), whole, "pieces of {length} bytes");
    }
}

/// Fonoster asks for slin16, and throws its type 0x12 away.
#[test]
fn fonoster_audio_of_every_rate_is_audio() {
    let rates = [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000];
    for (kind, hz) in (0x10..=0x18).zip(rates) {
        let stream = [kind, 0, 2, 0x34, 0x12];
        let mut reader = Reader::new();
        let Some(Ok(Frame::Audio(audio, payload))) = reader.next_frame(&mut &stream[..]) else {
            panic!("type {kind:#x} is no audio")
        };
        assert_eq!((audio as u8, audio.hz(), payload), (kind, hz, &[0x34, 0x12][..]));
        let rate = SampleRate::new(hz);
        assert_eq!(audio.rate(), rate);
        assert_eq!(rate.and_then(AudioType::of_rate), rate.map(|_| audio));
    }
    assert_eq!(AudioType::of_rate(SampleRate::HZ_22050), None);
    for kind in [0x0F, 0x19] {
        let stream = [kind, 0, 0];
        let mut reader = Reader::new();
        let frame = reader.next_frame(&mut &stream[..]);
        assert_eq!(frame, Some(Ok(Frame::Unknown { kind, payload: &[] })));
    }
}

/// Asterisk hangs up when the payload is not there 5 ms after the header, and for a frame without audio.
#[test]
fn header_and_payload_leave_together_and_never_empty() {
    let mut out = [0xEE; 10];
    assert_eq!(Frame::Audio(AudioType::Slin16, &[1, 2, 3, 4]).write(&mut out), Ok(7));
    assert_eq!(out, [0x12, 0, 4, 1, 2, 3, 4, 0xEE, 0xEE, 0xEE]);
    assert_eq!(Frame::Hangup.write(&mut out), Ok(3));
    assert_eq!(out[..3], [0, 0, 0]);
    out.fill(0xEE);
    assert_eq!(Frame::Audio(AudioType::Slin8, &[]).write(&mut out), Err(WriteError::NoAudio));
    let long = Frame::Audio(AudioType::Slin8, &[0; 8]);
    assert_eq!(long.write(&mut out), Err(WriteError::NoRoom { needed: 11, room: 10 }));
    assert_eq!(long.write(&mut []), Err(WriteError::NoRoom { needed: 11, room: 0 }));
    let giant = vec![0; MAX_PAYLOAD_BYTES + 1];
    let too_long = Frame::Audio(AudioType::Slin8, &giant).write(&mut out);
    assert_eq!(too_long, Err(WriteError::TooLong { bytes: 65_536 }));
    assert_eq!(out, [0xEE; 10], "nothing is half written");
}

#[test]
fn a_malformed_frame_costs_nothing_but_itself() {
    let good = (0x10, vec![1, 2]);
    let bad = [(UUID, vec![1; 15]), (DTMF, vec![]), (DTMF, b"12".to_vec()), (DTMF, b"x".to_vec())];
    let errors = [
        FrameError::UuidLength { bytes: 15 },
        FrameError::DtmfLength { bytes: 0 },
        FrameError::DtmfLength { bytes: 2 },
        FrameError::DtmfDigit { byte: b'x' },
    ];
    for (bad, error) in bad.into_iter().zip(errors) {
        let stream = stream_of(&[good.clone(), bad, good.clone()]);
        for cut in 1..stream.len() {
            assert_eq!(read_in_pieces(&stream, [cut]), [Ok(good.clone()), Err(error), Ok(good.clone())]);
        }
    }
}

#[test]
fn a_key_is_one_of_sixteen() {
    let mut out = [0; 8];
    for key in "0123456789*#ABCD".chars() {
        let length = Frame::Dtmf(key).write(&mut out).unwrap();
        let mut reader = Reader::new();
        assert_eq!(reader.next_frame(&mut &out[..length]), Some(Ok(Frame::Dtmf(key))));
    }
}

/// However long the frames of a hostile peer are, no more than one is held.
#[test]
fn the_buffer_is_bounded_by_one_frame() {
    let frames = vec![(0x10, vec![7; MAX_PAYLOAD_BYTES]); 3];
    let stream = stream_of(&frames);
    let mut reader = Reader::new();
    let mut count = 0;
    for mut piece in stream.chunks(1_000) {
        while let Some(frame) = reader.next_frame(&mut piece) {
            count += usize::from(frame.is_ok());
        }
        assert!(reader.pending.capacity() <= HEADER_BYTES + MAX_PAYLOAD_BYTES, "{}", reader.pending.capacity());
    }
    assert_eq!(count, 3);
}

fn payload(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), length)
}

proptest! {
    #[test]
    fn every_split_gives_the_same_frames(
        frames in prop::collection::vec(
            (
                prop_oneof![any::<u8>(), UUID..=DTMF, 0x10..=0x18u8],
                prop_oneof![payload(0..4), payload(15..18), payload(300..700)],
            ),
            0..12,
        ),
        cuts in prop::collection::vec(1usize..800, 0..40),
    ) {
        let stream = stream_of(&frames);
        let whole = read_in_pieces(&stream, [stream.len()]);
        prop_assert_eq!(whole.len(), frames.len());
        for (read, (kind, payload)) in whole.iter().zip(&frames) {
            match read {
                // What a hang-up carries means nothing, and keys are upper case.
                Ok((HANGUP, _)) => prop_assert_eq!(*kind, HANGUP),
                Ok((DTMF, key)) => prop_assert_eq!(key, &payload.to_ascii_uppercase()),
                Ok(read) => prop_assert_eq!(read, &(*kind, payload.clone())),
                Err(_) => prop_assert!([UUID, DTMF].contains(kind)),
            }
        }
        prop_assert_eq!(read_in_pieces(&stream, cuts), whole);
    }
}
