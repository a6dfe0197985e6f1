//! AudioSocket: who is let in, and what is kept.

use super::*;
use crate::audio::SampleRate;
use crate::transport::AudioSocketLeg;
use crate::wire::audiosocket::{AudioType, Frame};
use std::collections::HashSet;
use std::io::Write;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use uuid::Uuid;

const SLIN: Codec = Codec::Linear16(SampleRate::HZ_8000);

async fn listener() -> (AudioSocketListener, DialplanCalls) {
    AudioSocketListener::bind(ANY_PORT).await.unwrap()
}

fn bytes(frame: Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; 1_000];
    let length = frame.write(&mut out).unwrap();
    out.truncate(length);
    out
}

fn uuid_frame(uuid: Uuid) -> Vec<u8> {
    bytes(Frame::Uuid(uuid.into_bytes()))
}

/// What Asterisk has sent when a connection is looked at late: the UUID and 100 ms of audio.
fn call_frames(uuid: Uuid) -> Vec<u8> {
    [uuid_frame(uuid), bytes(Frame::Audio(AudioType::Slin8, &[0; 320])).repeat(5)].concat()
}

async fn connect(listener: &AudioSocketListener) -> TcpStream {
    let stream = TcpStream::connect(listener.local_addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn audiosocket_leg(arrived: oneshot::Receiver<Arrival>) -> AudioSocketLeg {
    match arrival(arrived).await.unwrap() {
        Leg::AudioSocket(leg) => leg,
        leg => panic!("{leg:?}"),
    }
}

/// Fonoster listens on a random port for each call, on all interfaces, and never looks at the UUID.
#[tokio::test]
async fn fonoster_a_stranger_is_refused() {
    let (listener, _calls) = listener().await;
    let call = Uuid::new_v4();
    let (_registration, mut arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let mut stranger = connect(&listener).await;
    stranger.write_all(&call_frames(Uuid::new_v4())).await.unwrap();
    // It may be a call of a dialplan with a UUID that is no more: only an orderly end lets the dialplan go on.
    assert_ended(&mut stranger).await;
    until(|| listener.counts() == ListenCounts { connections: 1, unknown: 1, ..ListenCounts::default() }).await;
    assert!(arrived.try_recv().is_err(), "the call waits on");

    let mut asterisk = connect(&listener).await;
    asterisk.write_all(&uuid_frame(call)).await.unwrap();
    assert_eq!(audiosocket_leg(arrived).await.codec, SLIN);
}

#[tokio::test]
async fn two_calls_on_one_port_get_their_own_connections() {
    let (listener, _calls) = listener().await;
    let calls = [Uuid::new_v4(), Uuid::new_v4()];
    let expected = calls.map(|call| expect(listener.register(), &call.to_string(), SLIN));
    let mut streams = Vec::new();
    // The other way round.
    for call in calls.into_iter().rev() {
        let mut asterisk = connect(&listener).await;
        asterisk.write_all(&uuid_frame(call)).await.unwrap();
        streams.push(asterisk);
    }
    for ((_registration, arrived), asterisk) in expected.into_iter().zip(streams.into_iter().rev()) {
        let leg = audiosocket_leg(arrived).await;
        assert_eq!(leg.stream.peer_addr().unwrap(), asterisk.local_addr().unwrap());
    }
}

#[tokio::test]
async fn what_comes_right_behind_the_uuid_is_kept() {
    let (listener, _calls) = listener().await;
    let call = Uuid::new_v4();
    let (_registration, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let audio = bytes(Frame::Audio(AudioType::Slin8, &[7; 320]));
    let mut asterisk = connect(&listener).await;
    asterisk.write_all(&[uuid_frame(call), audio.clone(), audio[..100].to_vec()].concat()).await.unwrap();
    let mut leg = audiosocket_leg(arrived).await;
    let mut read = leg.read.clone();
    read.extend(read_exactly(&mut leg.stream, audio.len() + 100 - leg.read.len()));
    assert_eq!(read, [&audio[..], &audio[..100]].concat());

    // And it is the same connection the other way, without Nagle's delay.
    assert!(leg.stream.nodelay().unwrap());
    leg.stream.write_all(&audio).unwrap();
    let mut heard = vec![0; audio.len()];
    asterisk.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, audio);
}

#[tokio::test]
async fn a_uuid_frame_in_pieces_is_understood() {
    let (listener, _calls) = listener().await;
    let call = Uuid::new_v4();
    let (_registration, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let mut asterisk = connect(&listener).await;
    for byte in uuid_frame(call) {
        asterisk.write_all(&[byte]).await.unwrap();
        asterisk.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    audiosocket_leg(arrived).await;
}

#[tokio::test]
async fn a_uuid_lets_in_once_and_only_while_it_is_expected() {
    let (listener, _calls) = listener().await;
    let call = Uuid::new_v4();
    let (registration, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let again = listener.register().expect(call.to_string(), SLIN, LegKeys::FromAri);
    assert!(matches!(again, Err(ExpectError::AlreadyExpected)));
    let mut first = connect(&listener).await;
    first.write_all(&uuid_frame(call)).await.unwrap();
    let _leg = audiosocket_leg(arrived).await;
    let mut second = connect(&listener).await;
    second.write_all(&uuid_frame(call)).await.unwrap();
    assert_closed(&mut second).await;

    // The end of the first expectation does not end another one of the same name.
    let (next, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    drop(registration);
    let mut third = connect(&listener).await;
    third.write_all(&uuid_frame(call)).await.unwrap();
    audiosocket_leg(arrived).await;
    drop(next);

    let (forgotten, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    drop(forgotten);
    assert!(arrived.await.is_err());
    let mut late = connect(&listener).await;
    late.write_all(&uuid_frame(call)).await.unwrap();
    assert_closed(&mut late).await;
    until(|| listener.counts().unknown == 2 && listener.counts().expected == 2).await;
}

/// The clock stands still but for time-outs, which are over at once.
#[tokio::test(start_paused = true)]
async fn whoever_connects_and_says_nothing_is_closed() {
    let (listener, _calls) = listener().await;
    let call = Uuid::new_v4();
    let (_registration, _arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let mut silent = connect(&listener).await;
    let mut half = connect(&listener).await;
    half.write_all(&uuid_frame(call)[..18]).await.unwrap();
    accepted(|| listener.counts(), 2).await;
    assert_closed(&mut silent).await;
    assert_closed(&mut half).await;
    until(|| listener.counts() == ListenCounts { connections: 2, timed_out: 2, ..ListenCounts::default() }).await;
}

#[tokio::test]
async fn what_does_not_begin_with_a_uuid_is_closed() {
    let (listener, _calls) = listener().await;
    let audio = bytes(Frame::Audio(AudioType::Slin8, &[0; 320]));
    let mut short_uuid = uuid_frame(Uuid::new_v4());
    short_uuid[2] = 15;
    for (n, wrong) in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &audio[..], &short_uuid].into_iter().enumerate() {
        let mut stream = connect(&listener).await;
        stream.write_all(wrong).await.unwrap();
        assert_closed(&mut stream).await;
        until(|| listener.counts().malformed == n as u64 + 1).await;
    }
    drop(connect(&listener).await);
    until(|| listener.counts().malformed == 4).await;
}

/// Connects from another address of the loopback network.
async fn connect_from(source: [u8; 4], listener: &AudioSocketListener) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((source, 0))).unwrap();
    socket.connect(listener.local_addr()).await.unwrap()
}

/// However many connect and say nothing: memory is bounded, and a call gets through.
#[tokio::test]
async fn a_crowd_of_silent_strangers_locks_nobody_out() {
    let (listener, _calls) = AudioSocketListener::bind_with_limit(ANY_PORT, 4).await.unwrap();
    let mut crowd = Vec::new();
    for n in 1..=10 {
        crowd.push(connect(&listener).await);
        until(|| listener.counts().connections == n).await;
    }
    // The newest stay, since one of them may be about to say something.
    until(|| listener.counts().crowded_out == 6).await;
    for stranger in &mut crowd[..6] {
        assert_closed(stranger).await;
    }
    let call = Uuid::new_v4();
    let (_registration, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let mut asterisk = connect(&listener).await;
    until(|| listener.counts().crowded_out == 7).await;
    asterisk.write_all(&uuid_frame(call)).await.unwrap();
    audiosocket_leg(arrived).await;
    assert_eq!(
        listener.counts(),
        ListenCounts { connections: 11, expected: 1, crowded_out: 7, ..ListenCounts::default() }
    );
}

/// A crowd from one address only crowds out itself, however slow the others are.
#[tokio::test]
async fn strangers_at_another_address_displace_each_other_and_not_asterisk() {
    let (listener, _calls) = AudioSocketListener::bind_with_limit(ANY_PORT, 4).await.unwrap();
    let call = Uuid::new_v4();
    let (_registration, arrived) = expect(listener.register(), &call.to_string(), SLIN);
    let mut asterisk = connect(&listener).await;
    until(|| listener.counts().connections == 1).await;
    let mut crowd = Vec::new();
    for n in 0..20 {
        crowd.push(connect_from([127, 0, 0, 2 + n % 2], &listener).await);
        until(|| listener.counts().connections == u64::from(n) + 2).await;
    }
    until(|| listener.counts().crowded_out == 17).await;
    asterisk.write_all(&uuid_frame(call)).await.unwrap();
    audiosocket_leg(arrived).await;
}

#[tokio::test]
async fn a_call_from_the_dialplan_is_handed_over_with_its_connection() {
    let (listener, mut calls) = listener().await;
    let [route, other] = [Uuid::new_v4(), Uuid::new_v4()];
    listener.set_dialplan_uuids(HashSet::from([route]));
    let audio = bytes(Frame::Audio(AudioType::Slin8, &[7; 320]));
    for _ in 0..2 {
        let mut asterisk = connect(&listener).await;
        asterisk.write_all(&[uuid_frame(route), audio.clone()].concat()).await.unwrap();
        let call = timeout(GENEROUS, calls.recv()).await.unwrap().unwrap();
        assert_eq!((call.uuid, call.remote), (route, asterisk.local_addr().unwrap()));
        let Leg::AudioSocket(mut leg) = call.into_leg() else { panic!("another leg") };
        assert_eq!((leg.codec, leg.keys), (SLIN, LegKeys::FromLeg));
        assert_eq!(read_exactly(&mut leg.stream, audio.len()), audio);
    }
    // A reload takes the route away.
    listener.set_dialplan_uuids(HashSet::from([other]));
    let mut late = connect(&listener).await;
    late.write_all(&call_frames(route)).await.unwrap();
    assert_ended(&mut late).await;
    until(|| (listener.counts().dialplan, listener.counts().unknown) == (2, 1)).await;
}

#[tokio::test]
async fn dialplan_calls_that_nobody_takes_go_back() {
    let (listener, calls) = listener().await;
    let route = Uuid::new_v4();
    listener.set_dialplan_uuids(HashSet::from([route]));
    let mut waiting = Vec::new();
    while listener.counts().queue_full == 0 {
        let mut asterisk = connect(&listener).await;
        asterisk.write_all(&call_frames(route)).await.unwrap();
        waiting.push(asterisk);
        until(|| listener.counts().dialplan + listener.counts().queue_full == waiting.len() as u64).await;
    }
    assert_ended(waiting.last_mut().unwrap()).await;
    assert_eq!(calls.len() as u64, listener.counts().dialplan);
    // Nor are those forgotten that are given up without a look.
    drop(calls);
    for asterisk in &mut waiting {
        assert_ended(asterisk).await;
    }
}

#[tokio::test]
async fn the_end_of_the_listener_is_told_and_its_port_is_free() {
    let (listener, _calls) = listener().await;
    let address = listener.local_addr();
    let in_use = AudioSocketListener::bind(address).await.unwrap_err();
    assert!(matches!(in_use, ListenError::PortInUse { .. }), "{in_use}");
    assert!(in_use.to_string().contains("media.audiosocket_port"), "{in_use}");
    let (_registration, arrived) = expect(listener.register(), "call", SLIN);
    drop(listener);
    assert!(arrived.await.is_err());
    let again = async {
        while AudioSocketListener::bind(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(GENEROUS, again).await.expect("the port is free");
}

/// Upstream issue 2089: a peer that waits until it hears something starves Asterisk's channel. Here nobody speaks first, and
/// yet there is silence on the line from the moment of connecting.
#[tokio::test]
async fn asterisk_2089_silence_flows_before_anyone_speaks() {
    let (workers, _batches) = one_worker();
    let (listener, _calls) = listener().await;
    let (uuid, call) = (Uuid::new_v4(), echo(&workers).await);
    let expected = listener.expect(uuid, call.clone(), SLIN, LegKeys::FromAri).unwrap();
    let mut asterisk = connect(&listener).await;
    asterisk.write_all(&uuid_frame(uuid)).await.unwrap();
    timeout(GENEROUS, expected.attached()).await.unwrap().unwrap();
    let silence = bytes(Frame::Audio(AudioType::Slin8, &[0; 320]));
    for _ in 0..3 {
        let mut heard = vec![0; silence.len()];
        timeout(GENEROUS, asterisk.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, silence);
    }
}

#[tokio::test]
async fn a_leg_that_the_call_cannot_have_is_told_and_closed() {
    let (workers, _batches) = one_worker();
    let (listener, _calls) = listener().await;
    let (uuid, call) = (Uuid::new_v4(), echo(&workers).await);
    let wideband = Codec::Linear16(SampleRate::HZ_16000);
    let expected = listener.expect(uuid, call.clone(), wideband, LegKeys::FromAri).unwrap();
    let mut asterisk = connect(&listener).await;
    asterisk.write_all(&call_frames(uuid)).await.unwrap();
    let refused = timeout(GENEROUS, expected.attached()).await.unwrap();
    assert!(matches!(refused, Err(ExpectError::Attach(_))), "{refused:?}");
    assert_ended(&mut asterisk).await;
}

#[tokio::test]
async fn an_expected_call_hears_of_the_end_of_the_listener() {
    let (workers, _batches) = one_worker();
    let (listener, _calls) = listener().await;
    let expected = listener.expect(Uuid::new_v4(), echo(&workers).await, SLIN, LegKeys::FromAri).unwrap();
    drop(listener);
    let stopped = timeout(GENEROUS, expected.attached()).await.unwrap();
    assert!(matches!(stopped, Err(ExpectError::Stopped)), "{stopped:?}");
}
