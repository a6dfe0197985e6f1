//! Whole workers on loopback sockets.

mod legs;

use super::*;
use crate::audio::g711::Law;
use crate::audio::{Codec, SampleRate};
use crate::call::{
    BargeIn, CallId, CallSettings, DialogCommand, DialogEvent, Endpointing, Input, NoInput, Output, SynthesizerEvent,
    Watchdogs,
};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Much longer than anything here takes.
const GENEROUS: Duration = Duration::from_secs(20);

pub(super) fn settings() -> CallSettings {
    CallSettings {
        rate: SampleRate::HZ_8000,
        greeting: None,
        endpointing: Endpointing::default(),
        barge_in: BargeIn::default(),
        no_input: NoInput::default(),
        watchdogs: Watchdogs::default(),
        apology: Arc::from([]),
    }
}

/// One worker on a port of the system's choice, with its caller audio.
fn one_worker() -> (Workers, mpsc::Receiver<AudioBatch>) {
    let settings = WorkerSettings { workers: NonZeroUsize::new(1), ..WorkerSettings::new(LOOPBACK, 0..=0) };
    Workers::start(settings).unwrap()
}

async fn add(worker: &Worker) -> CallHandle {
    let (outputs, mut taken) = mpsc::channel(64);
    tokio::spawn(async move { while taken.recv().await.is_some() {} });
    worker
        .add(NewCall {
            call: CallId::new("test").unwrap(),
            driver: Driver::Conversation(Box::new(settings())),
            outputs,
        })
        .await
        .unwrap()
}

fn rtp_leg(remote: SocketAddr, law: Law) -> Leg {
    Leg::Rtp(RtpLeg { remote, receive: Codec::G711(law), send: Codec::G711(law) })
}

/// The far end of a leg, as Asterisk is it.
struct Peer(UdpSocket);

impl Peer {
    fn new() -> Self {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_read_timeout(Some(GENEROUS)).unwrap();
        Self(socket)
    }

    fn leg(&self, law: Law) -> Leg {
        rtp_leg(self.0.local_addr().unwrap(), law)
    }

    fn receive(&self) -> (Packet, SocketAddr) {
        let mut datagram = [0; 2048];
        let (length, from) = self.0.recv_from(&mut datagram).expect("a packet");
        (Packet::read(&datagram[..length]), from)
    }

    /// Whatever was sent before now.
    fn packets_waiting(&self) -> usize {
        self.0.set_nonblocking(true).unwrap();
        let mut datagram = [0; 2048];
        let count = std::iter::from_fn(|| self.0.recv(&mut datagram).ok()).count();
        self.0.set_nonblocking(false).unwrap();
        count
    }
}

/// RFC 3550 section 5.1, read independently of the code under test.
#[derive(Debug)]
struct Packet {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Vec<u8>,
}

impl Packet {
    fn read(datagram: &[u8]) -> Self {
        assert_eq!(datagram[0], 0x80, "version 2, no padding, no extension, no contributing sources");
        Self {
            payload_type: datagram[1] & 0x7f,
            sequence: u16::from_be_bytes(datagram[2..4].try_into().unwrap()),
            timestamp: u32::from_be_bytes(datagram[4..8].try_into().unwrap()),
            ssrc: u32::from_be_bytes(datagram[8..12].try_into().unwrap()),
            payload: datagram[12..].to_vec(),
        }
    }
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut datagram = vec![0x80, 0];
    datagram.extend(sequence.to_be_bytes());
    datagram.extend((u32::from(sequence) * 160).to_be_bytes());
    datagram.extend(7u32.to_be_bytes());
    datagram.extend([0xff; 160]);
    datagram
}

async fn wait_for(worker: &Worker, what: impl Fn(&WorkerStats) -> bool) -> WorkerStats {
    let deadline = Instant::now() + GENEROUS;
    loop {
        let stats = worker.stats();
        if what(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "did not come about: {stats:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_attached_call_sends_fifty_packets_of_silence_a_second() {
    for (law, payload_type, silence) in [(Law::Mu, 0, 0xff), (Law::A, 8, 0xd5)] {
        let (workers, _batches) = one_worker();
        let (worker, peer) = (workers.assign(), Peer::new());
        let call = add(&worker).await;
        let attached = Instant::now();
        call.attach(peer.leg(law)).await.unwrap();
        let (first, from) = peer.receive();
        assert_eq!(from, worker.local_addr(), "sent from the socket that receives");
        for n in 1..51u16 {
            let (packet, _) = peer.receive();
            assert_eq!(packet.payload_type, payload_type);
            assert_eq!(packet.sequence, first.sequence.wrapping_add(n));
            assert_eq!(packet.timestamp, first.timestamp.wrapping_add(u32::from(n) * 160));
            assert_eq!(packet.ssrc, first.ssrc);
            assert_eq!(packet.payload, [silence; 160]);
        }
        // Not faster than real time, except for what a stalled machine makes good at once.
        let burst = Duration::from_millis(20) * clock::MAX_BURST_FRAMES as u32;
        assert!(attached.elapsed() >= Duration::from_secs(1) - burst, "{:?}", attached.elapsed());
        workers.stop().await.unwrap();
    }
}

#[tokio::test]
async fn no_packet_is_sent_before_a_leg_is_attached_and_none_after_the_call_is_removed() {
    let (workers, _batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let call = add(&worker).await;
    assert_eq!(worker.stats().packets_sent, 0);
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    peer.receive();
    peer.receive();
    let sent = call.remove().await.expect("statistics").send;
    // All packets are at the peer: on loopback a datagram has arrived when the send returns.
    assert_eq!(peer.packets_waiting() as u64 + 2, sent.packets);
    let second = Peer::new();
    let other = add(&worker).await;
    other.attach(second.leg(Law::Mu)).await.unwrap();
    for _ in 0..5 {
        second.receive();
    }
    assert_eq!(peer.packets_waiting(), 0, "while another call went on for five frames");
    assert!(call.remove().await.is_none(), "it is gone");
    assert!(matches!(call.attach(peer.leg(Law::Mu)).await, Err(TransportError::CallGone)));
    call.input(Input::Connected).await.unwrap();
    wait_for(&worker, |stats| stats.stale_messages == 1).await;
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn packets_of_a_stranger_are_counted_and_never_reach_a_call() {
    let (workers, _batches) = one_worker();
    let (worker, peer, stranger) = (workers.assign(), Peer::new(), Peer::new());
    let call = add(&worker).await;
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    for sequence in 0..10 {
        stranger.0.send_to(&rtp(sequence), worker.local_addr()).unwrap();
    }
    for sequence in 100..103 {
        peer.0.send_to(&rtp(sequence), worker.local_addr()).unwrap();
    }
    let stats = wait_for(&worker, |stats| stats.packets_received == 13).await;
    assert_eq!((stats.stranger_packets, stats.malformed_packets), (10, 0));
    assert_eq!(call.remove().await.unwrap().receive.received, 3);
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_rtp_is_counted_and_the_call_goes_on() {
    let (workers, _batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let call = add(&worker).await;
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    for junk in [&b""[..], b"x", &[0u8; 12], &[0xff; 2000]] {
        peer.0.send_to(junk, worker.local_addr()).unwrap();
    }
    peer.0.send_to(&rtp(1), worker.local_addr()).unwrap();
    let stats = wait_for(&worker, |stats| stats.packets_received == 5).await;
    assert_eq!((stats.malformed_packets, stats.stranger_packets), (4, 0));
    peer.receive();
    assert_eq!(call.remove().await.unwrap().receive.received, 1);
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn what_the_caller_says_arrives_in_batches_with_its_position() {
    let (workers, mut batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let call = add(&worker).await;
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    call.input(Input::Connected).await.unwrap();
    // Loud packets, one for each that is received: the peer keeps time with the worker.
    let target = worker.local_addr();
    let loud = std::thread::spawn(move || {
        for sequence in 0..50 {
            peer.receive();
            let mut datagram = rtp(sequence);
            datagram[12..].fill(0x80);
            peer.0.send_to(&datagram, target).unwrap();
        }
    });
    let mut expected = 0;
    let heard = async {
        while let Some(batch) = batches.recv().await {
            for (key, start_sample, pcm) in batch.frames() {
                assert_eq!((key, start_sample, pcm.len()), (call.key(), expected, 160));
                expected += 160;
                if pcm.iter().all(|&sample| sample > 30_000) {
                    return;
                }
                assert!(pcm[0] == 0 || pcm[159] > 30_000, "silence, or the beginning of the caller's audio");
            }
        }
        panic!("the worker has ended");
    };
    tokio::time::timeout(GENEROUS, heard).await.expect("the caller is heard");
    loud.join().unwrap();
    workers.stop().await.unwrap();
}

async fn next_output(taken: &mut mpsc::Receiver<MediaOutput>) -> Output {
    match taken.recv().await.expect("the call is alive") {
        MediaOutput::Call(output) => output,
        lost @ MediaOutput::LegLost(_) => panic!("{lost:?}"),
    }
}

#[tokio::test]
async fn what_the_engines_say_is_heard_at_the_far_end() {
    let (workers, _batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let (outputs, mut taken) = mpsc::channel(64);
    let new =
        NewCall { call: CallId::new("test").unwrap(), driver: Driver::Conversation(Box::new(settings())), outputs };
    let call = worker.add(new).await.unwrap();
    call.attach(peer.leg(Law::A)).await.unwrap();
    call.input(Input::Connected).await.unwrap();
    // Without a greeting the dialogue is asked to open the conversation, and its text goes to the synthesiser.
    let reply = loop {
        match next_output(&mut taken).await {
            Output::Dialog(DialogCommand::Notice { reply, .. }) => break reply,
            other => assert!(matches!(other, Output::Event(_)), "{other:?}"),
        }
    };
    call.input(Input::Dialog(DialogEvent::Text { reply, delta: "Good morning.".to_owned() })).await.unwrap();
    call.input(Input::Dialog(DialogEvent::Done { reply })).await.unwrap();
    while !matches!(next_output(&mut taken).await, Output::Synthesizer(_)) {}
    let pcm = vec![8_000; 1_600];
    call.input(Input::Synthesizer(SynthesizerEvent::Audio { reply, start_sample: 0, pcm })).await.unwrap();
    let mut spoken = [0; 160];
    Law::A.encode(&[8_000; 160], &mut spoken);
    let deadline = Instant::now() + GENEROUS;
    while peer.receive().0.payload != spoken {
        assert!(Instant::now() < deadline, "the reply is not heard");
    }
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_whose_owner_does_not_take_its_outputs_falls_silent_and_says_so() {
    let (workers, _batches) = one_worker();
    let (worker, peer, other_peer) = (workers.assign(), Peer::new(), Peer::new());
    let (outputs, mut taken) = mpsc::channel(1);
    let new =
        NewCall { call: CallId::new("test").unwrap(), driver: Driver::Conversation(Box::new(settings())), outputs };
    let call = worker.add(new).await.unwrap();
    let other = add(&worker).await;
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    other.attach(other_peer.leg(Law::Mu)).await.unwrap();
    peer.receive();
    // Each of these makes the call ask the dialogue something.
    call.input(Input::Connected).await.unwrap();
    for _ in 0..4 {
        call.input(Input::Dtmf('1')).await.unwrap();
    }
    wait_for(&worker, |stats| stats.calls_out_of_control == 1).await;
    while tokio::time::timeout(GENEROUS, taken.recv()).await.expect("the outputs end").is_some() {}
    peer.packets_waiting();
    other_peer.packets_waiting();
    for _ in 0..5 {
        other_peer.receive();
    }
    assert_eq!(peer.packets_waiting(), 0, "while the other call went on for five frames");
    assert!(call.remove().await.is_some(), "its statistics are still there");
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn two_calls_cannot_share_an_address_and_a_call_has_one_leg() {
    let (workers, _batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let (first, second) = (add(&worker).await, add(&worker).await);
    first.attach(peer.leg(Law::Mu)).await.unwrap();
    let refusal = |outcome| match outcome {
        Err(TransportError::Leg { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(second.attach(peer.leg(Law::Mu)).await), LegRefusal::AddressTaken);
    assert_eq!(refusal(first.attach(Peer::new().leg(Law::Mu)).await), LegRefusal::AlreadyAttached);
    let nowhere = rtp_leg("0.0.0.0:5000".parse().unwrap(), Law::Mu);
    assert_eq!(refusal(second.attach(nowhere).await), LegRefusal::NotAHost);
    let ipv6 = rtp_leg("[2001:db8::1]:5000".parse().unwrap(), Law::Mu);
    assert_eq!(refusal(second.attach(ipv6).await), LegRefusal::AddressFamily);
    // The address is free again when its call has left.
    first.remove().await.unwrap();
    second.attach(peer.leg(Law::Mu)).await.unwrap();
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn two_hundred_calls_on_one_worker_are_all_served() {
    let (workers, _batches) = one_worker();
    let worker = workers.assign();
    let mut calls = Vec::new();
    for _ in 0..200 {
        let (call, peer) = (add(&worker).await, Peer::new());
        call.attach(peer.leg(Law::Mu)).await.unwrap();
        calls.push((call, peer));
    }
    assert_eq!(worker.stats().calls, 200);
    for (_, peer) in &calls {
        let (first, second) = (peer.receive().0, peer.receive().0);
        assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    }
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_whose_handles_are_dropped_is_let_go() {
    let (workers, _batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let call = add(&worker).await;
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    let clone = call.clone();
    drop(call);
    peer.receive();
    assert_eq!(worker.stats().calls, 1, "a clone is left");
    drop(clone);
    wait_for(&worker, |stats| stats.calls == 0).await;
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn calls_go_to_the_worker_with_the_fewest() {
    let settings = WorkerSettings { workers: NonZeroUsize::new(3), ..WorkerSettings::new(LOOPBACK, 0..=0) };
    let (workers, _batches) = Workers::start(settings).unwrap();
    let mut calls = Vec::new();
    for _ in 0..7 {
        calls.push(add(&workers.assign()).await);
    }
    let mut loads: Vec<_> = workers.workers().iter().map(|worker| worker.stats().calls).collect();
    loads.sort_unstable();
    assert_eq!(loads, [2, 2, 3]);
    let keys: std::collections::HashSet<_> = calls.iter().map(CallHandle::key).collect();
    assert_eq!(keys.len(), 7, "a key is unique over all workers");
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn after_the_stop_everything_says_so() {
    let (workers, mut batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let call = add(&worker).await;
    call.attach(peer.leg(Law::Mu)).await.unwrap();
    let local = worker.local_addr();
    workers.stop().await.unwrap();
    let stopped = |error: TransportError| matches!(error, TransportError::Stopped { local: l } if l == local);
    assert!(stopped(call.input(Input::Connected).await.unwrap_err()));
    assert!(stopped(call.attach(peer.leg(Law::Mu)).await.unwrap_err()));
    assert!(call.remove().await.is_none());
    while batches.recv().await.is_some() {}
    UdpSocket::bind(local).expect("the port is free again");
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let taken = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let error = Workers::start(WorkerSettings::new(LOOPBACK, taken_port..=taken_port)).unwrap_err();
    assert!(matches!(error, TransportError::PortInUse { listen: LOOPBACK, port } if port == taken_port), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "UDP port {taken_port} of 127.0.0.1 is in use by another program: \
             stop that program or choose other ports in media.ports"
        )
    );
}

#[test]
fn each_worker_needs_a_port() {
    let settings = WorkerSettings { workers: NonZeroUsize::new(3), ..WorkerSettings::new(LOOPBACK, 31_000..=31_001) };
    let error = Workers::start(settings).unwrap_err();
    assert!(matches!(error, TransportError::TooFewPorts { workers: 3, ports: 2 }), "{error:?}");
    #[allow(clippy::reversed_empty_ranges)]
    let error = Workers::start(WorkerSettings::new(LOOPBACK, 31_001..=31_000)).unwrap_err();
    assert!(matches!(error, TransportError::TooFewPorts { workers: 1, ports: 0 }), "{error:?}");
}

#[tokio::test]
async fn a_leg_at_another_rate_than_its_call_is_refused() {
    let (workers, _batches) = one_worker();
    let (worker, peer) = (workers.assign(), Peer::new());
    let call = add(&worker).await;
    let remote = peer.0.local_addr().unwrap();
    for (receive, send) in [(Codec::G722, Codec::G722), (Codec::G711(Law::Mu), Codec::G722)] {
        let error = call.attach(Leg::Rtp(RtpLeg { remote, receive, send })).await.unwrap_err();
        assert!(matches!(error, TransportError::Leg { reason: LegRefusal::Rate, .. }), "{error:?}");
    }
    call.attach(peer.leg(Law::Mu)).await.expect("what was refused takes nothing away");
    workers.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_broke_down_gets_no_further_calls() {
    let settings = WorkerSettings { workers: NonZeroUsize::new(2), ..WorkerSettings::new(LOOPBACK, 0..=0) };
    let (mut workers, _batches) = Workers::start(settings).unwrap();
    let (closed, _) = mpsc::channel(1);
    workers.workers[0].inbox = closed;
    let running = workers.workers[1].local_addr();
    for _ in 0..3 {
        let worker = workers.assign();
        assert_eq!(worker.local_addr(), running);
        let _call = add(&worker).await;
    }
    workers.stop().await.unwrap();
}
