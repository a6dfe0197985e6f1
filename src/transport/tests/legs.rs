//! Legs of every kind in virtual time: the worker is stepped, the far ends are sockets in this thread.

mod faults;
mod opus;
mod peers;

use super::*;
use crate::call::EndReason;
use crate::wire::audiosocket::{AudioType, Frame, Reader};
use crate::wire::media_websocket::Format;
use crate::wire::websocket::{DEFAULT_MAX_MESSAGE_BYTES, Decoder, Message, Role};
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

const SLIN: Codec = Codec::Linear16(SampleRate::HZ_8000);

struct Rig {
    now: Instant,
    stepped: SteppedWorker,
    worker: Worker,
    batches: mpsc::Receiver<AudioBatch>,
}

type Outputs = mpsc::Receiver<MediaOutput>;

impl Rig {
    fn new() -> Self {
        let settings = WorkerSettings::new(LOOPBACK, 0..=0);
        let (stepped, worker, batches) = SteppedWorker::new(&settings).unwrap();
        Self { now: Instant::now(), stepped, worker, batches }
    }

    /// Steps until `future` is done.
    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut future = std::pin::pin!(future);
        loop {
            let step = runtime.block_on(async {
                tokio::select! {
                    biased;
                    done = &mut future => Some(done),
                    () = tokio::task::yield_now() => None,
                }
            });
            match step {
                Some(done) => return done,
                None => self.millis(1),
            }
        }
    }

    /// So many slots.
    fn millis(&mut self, slots: u32) {
        for _ in 0..slots {
            self.now += Duration::from_millis(1);
            self.stepped.slot(self.now);
            while self.batches.try_recv().is_ok() {}
        }
    }

    fn add(&mut self, driver: Driver, leg: Leg) -> (CallHandle, Outputs) {
        let (outputs, taken) = mpsc::channel(256);
        let (worker, new) = (self.worker.clone(), NewCall { call: CallId::new("test").unwrap(), driver, outputs });
        let call = self.run(async move { worker.add(new).await }).unwrap();
        let handle = call.clone();
        self.run(async move { handle.attach(leg).await }).unwrap();
        (call, taken)
    }

    fn echo(&mut self, leg: Leg) -> (CallHandle, Outputs) {
        self.add(Driver::Echo(SampleRate::HZ_8000), leg)
    }

    fn input(&mut self, call: &CallHandle, input: Input) {
        let call = call.clone();
        self.run(async move { call.input(input).await }).unwrap();
    }

    /// Makes the call say so much audio; which reply that is.
    fn reply(&mut self, call: &CallHandle, taken: &mut Outputs, pcm: Vec<i16>) -> crate::call::ReplyId {
        self.input(call, Input::Connected);
        let reply = loop {
            let output = taken.try_recv().expect("a question");
            if let Some(Output::Dialog(DialogCommand::Notice { reply, .. })) = of_call(output) {
                break reply;
            }
        };
        self.input(call, Input::Dialog(DialogEvent::Text { reply, delta: "Good morning.".to_owned() }));
        self.input(call, Input::Dialog(DialogEvent::Done { reply }));
        self.input(call, Input::Synthesizer(SynthesizerEvent::Audio { reply, start_sample: 0, pcm }));
        reply
    }
}

fn of_call(output: MediaOutput) -> Option<Output> {
    match output {
        MediaOutput::Call(output) => Some(output),
        MediaOutput::LegLost(_) => None,
    }
}

fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    far.set_nodelay(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (far, listener.accept().unwrap().0)
}

fn read(far: &mut TcpStream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = far.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
    }
    bytes
}

fn audiosocket(keys: LegKeys) -> (TcpStream, Leg) {
    let (far, stream) = streams();
    (far, Leg::AudioSocket(AudioSocketLeg { stream, codec: SLIN, read: Vec::new(), keys }))
}

/// The frames of audio in what an AudioSocket peer was sent.
fn audio(bytes: &[u8]) -> Vec<Vec<u8>> {
    audio_of(AudioType::Slin8, bytes)
}

fn audio_of(rate: AudioType, bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut reader, mut input, mut frames) = (Reader::new(), bytes, Vec::new());
    while let Some(frame) = reader.next_frame(&mut input) {
        match frame {
            Ok(Frame::Audio(audio, payload)) if audio == rate => frames.push(payload.to_vec()),
            _ => panic!("{frame:?}"),
        }
    }
    frames
}

fn audiosocket_frame(sample: i16) -> Vec<u8> {
    audiosocket_frame_of(AudioType::Slin8, &[sample; 160])
}

fn audiosocket_frame_of(rate: AudioType, pcm: &[i16]) -> Vec<u8> {
    let mut message = vec![0; 3 + pcm.len() * 2];
    let pcm: Vec<u8> = pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    Frame::Audio(rate, &pcm).write(&mut message).unwrap();
    message
}

/// A packet of an old leg captures the next call, where ports are given out again at once.
#[test]
fn a_stale_packet_from_a_reused_address_does_not_reach_the_next_call() {
    let (mut rig, peer) = (Rig::new(), Peer::new());
    let target = rig.worker.local_addr();
    let packet = |ssrc: u32, sequence: u16| {
        let mut datagram = rtp(sequence);
        datagram[8..12].copy_from_slice(&ssrc.to_be_bytes());
        datagram
    };
    let (first, _first_outputs) = rig.echo(peer.leg(Law::Mu));
    peer.0.send_to(&packet(1, 1), target).unwrap();
    rig.millis(2);
    rig.run(async move { first.remove().await });
    peer.0.send_to(&packet(1, 2), target).unwrap();
    rig.millis(2);
    assert_eq!((rig.worker.stats().late_packets, rig.worker.stats().stranger_packets), (1, 0));
    let (second, _second_outputs) = rig.echo(peer.leg(Law::Mu));
    for sequence in 3..6 {
        peer.0.send_to(&packet(1, sequence), target).unwrap();
    }
    peer.0.send_to(&packet(2, 900), target).unwrap();
    rig.millis(2);
    assert_eq!(rig.worker.stats().late_packets, 4);
    let stats = rig.run(async move { second.remove().await }).unwrap();
    assert_eq!((stats.receive.received, stats.receive.resets), (1, 0), "the new stream alone was heard");
}

#[test]
fn control_packets_on_the_port_of_rtp_are_counted_apart() {
    let (mut rig, peer) = (Rig::new(), Peer::new());
    let (_call, _outputs) = rig.echo(peer.leg(Law::Mu));
    peer.0.send_to(&[0x80, 200, 0, 1, 0, 0, 0, 7], rig.worker.local_addr()).unwrap();
    rig.millis(2);
    assert_eq!((rig.worker.stats().rtcp_packets, rig.worker.stats().malformed_packets), (1, 0));
}

#[test]
fn a_flood_of_garbage_is_dropped_and_the_call_hears_everything() {
    let (mut rig, peer, stranger) = (Rig::new(), Peer::new(), Peer::new());
    let target = rig.worker.local_addr();
    let (call, _outputs) = rig.echo(peer.leg(Law::Mu));
    for slot in 0..2_000u16 {
        for _ in 0..20 {
            stranger.0.send_to(&[0x5a; 172], target).unwrap();
        }
        if slot % 20 == 0 {
            peer.0.send_to(&rtp(slot / 20), target).unwrap();
        }
        rig.millis(1);
    }
    assert_eq!(rig.worker.stats().stranger_packets, 40_000);
    let stats = rig.run(async move { call.remove().await }).unwrap();
    assert_eq!((stats.receive.received, stats.receive.lost), (100, 0));
    assert!(stats.send.packets >= 99);
}

/// asterisk#2089: an AudioSocket peer that waits before it sends starves the channel.
#[test]
fn silence_flows_from_the_moment_of_attaching_although_nobody_speaks_first() {
    let mut rig = Rig::new();
    let mut calls: Vec<_> = (0..200)
        .map(|_| {
            let (far, leg) = audiosocket(LegKeys::FromAri);
            (far, rig.echo(leg))
        })
        .collect();
    let mut first: Vec<_> = calls.iter_mut().map(|(far, _)| audio(&read(far)).len()).collect();
    rig.millis(20);
    for ((far, _), first) in calls.iter_mut().zip(&mut first) {
        *first += audio(&read(far)).len();
        assert!(*first >= 1, "a call is silent");
    }
    rig.millis(1_000);
    for (far, _) in &mut calls {
        let frames = audio(&read(far));
        assert_eq!(frames.len(), 50);
        assert!(frames.iter().all(|frame| *frame == [0; 320]));
    }
}

#[test]
fn audio_is_heard_and_keys_are_taken_at_every_split_of_the_stream() {
    let mut message = audiosocket_frame(1_000);
    message.extend([3, 0, 1, b'7']);
    message.extend(audiosocket_frame(2_000));
    for split in 1..message.len() {
        let mut rig = Rig::new();
        let (mut far, leg) = audiosocket(LegKeys::FromAri);
        let (_call, _outputs) = rig.echo(leg);
        rig.millis(1);
        read(&mut far);
        far.write_all(&message[..split]).unwrap();
        rig.millis(1);
        far.write_all(&message[split..]).unwrap();
        rig.millis(60);
        let heard = audio(&read(&mut far)).concat();
        for sample in [1_000i16, 2_000] {
            let times = heard.as_chunks::<2>().0.iter().filter(|bytes| i16::from_le_bytes(**bytes) == sample).count();
            assert_eq!(times, 160, "{sample}, split at {split}");
        }
        assert_eq!(rig.worker.stats().keys_passed_over, 1, "split at {split}");
    }
}

#[test]
fn a_peer_that_does_not_read_loses_whole_frames_and_never_the_order_of_the_stream() {
    let mut rig = Rig::new();
    let (mut far, leg) = audiosocket(LegKeys::FromAri);
    let (call, mut taken) = rig.add(Driver::Conversation(Box::new(settings())), leg);
    rig.reply(&call, &mut taken, (0..8_000 * 50).map(|n| (n / 160) as i16).collect());
    let mut bytes = Vec::new();
    while rig.worker.stats().frames_unsent < 20 {
        rig.millis(20);
        assert!(rig.worker.stats().messages_sent < 100_000, "the kernel takes everything");
    }
    let sent = rig.worker.stats().messages_sent as usize;
    for _ in 0..40 {
        bytes.extend(read(&mut far));
        rig.millis(5);
    }
    bytes.extend(read(&mut far));
    let frames = audio(&bytes);
    assert!(frames.len() > sent, "{} frames of {sent} arrived, and it goes on", frames.len());
    assert!(frames.iter().all(|frame| frame.len() == 320 && frame.as_chunks::<2>().0.iter().all(|s| s == &frame[..2])));
}

#[test]
fn a_caller_who_hangs_up_a_plain_dialplan_call_ends_it_and_keys_come_from_the_leg() {
    let mut rig = Rig::new();
    let (mut far, leg) = audiosocket(LegKeys::FromLeg);
    let (call, mut taken) = rig.add(Driver::Conversation(Box::new(settings())), leg);
    rig.input(&call, Input::Connected);
    far.write_all(&[3, 0, 1, b'5']).unwrap();
    rig.millis(2);
    drop(far);
    rig.millis(2);
    let outputs: Vec<_> = std::iter::from_fn(|| taken.try_recv().ok()).collect();
    let key = MediaOutput::Call(Output::Event(crate::call::CallEvent::Dtmf { digit: '5' }));
    assert!(outputs.contains(&key), "{outputs:?}");
    let end = Output::End(EndReason::HangUp(crate::call::HangUpBy::Caller));
    assert_eq!(outputs.last(), Some(&MediaOutput::Call(end)));
    assert_eq!(rig.worker.stats().legs_lost, 0);
}

#[test]
fn a_leg_that_is_lost_is_told_to_the_owner() {
    let mut rig = Rig::new();
    let (far, leg) = audiosocket(LegKeys::FromAri);
    let (call, mut taken) = rig.echo(leg);
    drop(far);
    rig.millis(2);
    assert!(matches!(taken.try_recv(), Ok(MediaOutput::LegLost(_))));
    rig.millis(100);
    assert!(rig.run(async move { call.remove().await }).unwrap().send.packets >= 1);
}

#[test]
fn a_call_that_leaves_closes_in_order_although_audio_is_still_coming() {
    let mut rig = Rig::new();
    let (mut far, leg) = audiosocket(LegKeys::FromLeg);
    let (call, _taken) = rig.echo(leg);
    far.write_all(&audiosocket_frame(1)).unwrap();
    rig.run(async move { call.remove().await });
    for _ in 0..10 {
        far.write_all(&audiosocket_frame(2)).expect("no reset");
        rig.millis(20);
    }
    far.set_nonblocking(false).unwrap();
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).expect("an end, and not a reset");
}

/// The far end of a WebSocket leg: Asterisk's queue, without its clock.
struct Channel {
    stream: TcpStream,
    decoder: Decoder,
    got: Vec<Got>,
}

#[derive(Clone, Debug, PartialEq)]
enum Got {
    Audio(Vec<i16>),
    Text(String),
    Pong(Vec<u8>),
    Closed,
}

impl Channel {
    fn new(codec: Codec, keys: LegKeys) -> (Self, Leg) {
        let (far, stream) = streams();
        let leg =
            WebSocketLeg { stream, role: Role::Client, codec, control: Format::PlainText, read: Vec::new(), keys };
        let decoder = Decoder::new(Role::Server, DEFAULT_MAX_MESSAGE_BYTES);
        (Self { stream: far, decoder, got: Vec::new() }, Leg::WebSocket(leg))
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut bytes = [0; 4096];
        let length = message.write(Role::Server, [0; 4], &mut bytes).unwrap();
        self.stream.write_all(&bytes[..length]).unwrap();
    }

    /// What has come since the last time.
    fn take(&mut self) -> Vec<Got> {
        let mut bytes = read(&mut self.stream);
        let mut input = &mut bytes[..];
        while let Some(message) = self.decoder.next_message(&mut input).unwrap() {
            self.got.push(match message {
                Message::Binary(bytes) => {
                    Got::Audio(bytes.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect())
                }
                Message::Text(text) => Got::Text(text.to_owned()),
                Message::Pong(bytes) => Got::Pong(bytes.to_vec()),
                Message::Close(_) => Got::Closed,
                Message::Ping(_) => panic!("a ping"),
            });
        }
        std::mem::take(&mut self.got)
    }
}

fn start(optimal_frame_size: u32) -> String {
    format!(
        "MEDIA_START connection_id:a channel:WebSocket/INCOMING/a channel_id:1.2 format:slin \
         optimal_frame_size:{optimal_frame_size} ptime:20"
    )
}

#[test]
fn audio_before_media_start_is_heard_and_pings_are_answered() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (_call, _taken) = rig.echo(leg);
    let pcm: Vec<u8> = [1_234i16; 160].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    channel.send(&Message::Binary(&pcm));
    channel.send(&Message::Text(&start(320)));
    channel.send(&Message::Ping(b"still there?"));
    rig.millis(60);
    let got = channel.take();
    assert!(got.contains(&Got::Audio(vec![1_234; 160])), "{got:?}");
    assert!(got.contains(&Got::Pong(b"still there?".to_vec())), "{got:?}");
    assert_eq!((rig.worker.stats().malformed_messages, rig.worker.stats().unexpected_messages), (0, 0));
}

#[test]
fn frames_of_another_size_than_agreed_are_told_and_end_the_leg() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (_call, mut taken) = rig.echo(leg);
    channel.send(&Message::Text(&start(640)));
    rig.millis(2);
    let loss = LegLoss::FrameSize { asterisk: 640, agreed: 320 };
    assert_eq!(taken.try_recv(), Ok(MediaOutput::LegLost(loss)));
}

#[test]
fn while_asterisk_wants_no_more_nothing_is_sent_and_afterwards_it_goes_on() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (_call, _taken) = rig.echo(leg);
    channel.send(&Message::Text(&start(320)));
    rig.millis(100);
    channel.send(&Message::Text("MEDIA_XOFF"));
    rig.millis(2);
    assert!(channel.take().contains(&Got::Text("FLUSH_MEDIA".to_owned())), "a backlog is of no use");
    rig.millis(200);
    assert_eq!(channel.take(), []);
    assert_eq!(rig.worker.stats().frames_unsent, 10);
    channel.send(&Message::Text("MEDIA_XON"));
    rig.millis(100);
    let audio = channel.take().iter().filter(|got| matches!(got, Got::Audio(_))).count();
    assert_eq!(audio, 6, "one each 20 ms and one more to wait at Asterisk");
}

#[test]
fn a_barge_in_takes_back_what_waits_fades_out_and_counts_only_what_was_heard() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (call, mut taken) = rig.add(Driver::Conversation(Box::new(settings())), leg);
    channel.send(&Message::Text(&start(320)));
    let reply = rig.reply(&call, &mut taken, vec![10_000; 8_000]);
    rig.millis(400);
    let spoken = channel.take().iter().filter(|got| **got == Got::Audio(vec![10_000; 160])).count() as i64;
    assert!(spoken >= 18, "{spoken} frames of the reply");
    rig.input(&call, Input::Dtmf('1'));
    // In the slot that takes the key, if no tick comes between.
    while rig.worker.stats().websocket_flushes == 0 {
        rig.millis(1);
    }
    let got = channel.take();
    let flush = got.iter().position(|got| *got == Got::Text("FLUSH_MEDIA".to_owned())).expect("a flush");
    let after: Vec<_> = got[flush + 1..].iter().filter(|got| matches!(got, Got::Audio(_))).collect();
    let Some(Got::Audio(faded)) = after.first() else { panic!("nothing fades out: {got:?}") };
    assert!(faded[0] > 9_900 && faded[159] < 100 && faded.is_sorted_by(|a, b| a >= b), "{faded:?}");
    assert!(after[1..].iter().all(|got| **got == Got::Audio(vec![0; 160])), "silence and nothing else follows");
    assert_eq!(rig.worker.stats().websocket_flushes, 1);
    let played = std::iter::from_fn(|| taken.try_recv().ok()).find_map(|output| match of_call(output) {
        Some(Output::Dialog(DialogCommand::Interrupt { reply: of, played_sample, .. })) if of == reply => {
            Some(played_sample)
        }
        _ => None,
    });
    let sent = (spoken + got[..flush].iter().filter(|got| **got == Got::Audio(vec![10_000; 160])).count() as i64) * 160;
    let played = played.expect("the dialogue is told");
    assert!(played < sent && played >= sent - 320, "{played} of {sent} samples were heard");
    rig.millis(100);
    assert!(channel.take().iter().all(|got| !matches!(got, Got::Audio(pcm) if pcm[0] != 0)), "the reply is gone");
}

/// Without any engine left, the reply stops as it does for a caller who interrupts.
#[test]
fn a_reply_that_no_engine_finishes_is_taken_back_before_the_apology() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let settings = CallSettings { apology: vec![-3_000; 1_600].into(), ..settings() };
    let (call, mut taken) = rig.add(Driver::Conversation(Box::new(settings)), leg);
    channel.send(&Message::Text(&start(320)));
    let reply = rig.reply(&call, &mut taken, vec![10_000; 8_000]);
    rig.millis(400);
    let full = |got: &[Got]| got.iter().filter(|got| **got == Got::Audio(vec![10_000; 160])).count() as i64;
    let mut spoken = full(&channel.take());
    rig.input(&call, Input::EnginesExhausted { service: crate::call::Service::Synthesis });
    rig.millis(300);
    let got = channel.take();
    let flush = got.iter().position(|got| *got == Got::Text("FLUSH_MEDIA".to_owned())).expect("a flush");
    spoken += full(&got[..flush]);
    let after: Vec<_> =
        got[flush..].iter().filter_map(|got| if let Got::Audio(pcm) = got { Some(pcm) } else { None }).collect();
    assert!(after[0].is_sorted_by(|a, b| a >= b) && after[0][0] > 9_900 && after[0][159] < 100, "no fade: {after:?}");
    assert_eq!(after[1..].iter().filter(|pcm| pcm[0] > 0).count(), 0, "the reply goes on");
    assert_eq!(after.iter().filter(|pcm| ***pcm == vec![-3_000; 160]).count(), 10, "all of the apology is heard");
    let played = std::iter::from_fn(|| taken.try_recv().ok()).find_map(|output| match of_call(output) {
        Some(Output::Dialog(DialogCommand::Interrupt { reply: of, played_sample, .. })) if of == reply => {
            Some(played_sample)
        }
        _ => None,
    });
    let played = played.expect("the dialogue is told");
    assert!(played < spoken * 160 && played >= spoken * 160 - 320, "{played} of {} samples were heard", spoken * 160);
}

#[test]
fn a_close_is_answered_and_the_leg_is_lost() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (_call, mut taken) = rig.echo(leg);
    channel.send(&Message::Close(None));
    rig.millis(2);
    assert_eq!(channel.take().last(), Some(&Got::Closed));
    assert_eq!(taken.try_recv(), Ok(MediaOutput::LegLost(LegLoss::Closed)));
}

#[test]
fn a_backlog_that_a_mark_tells_of_is_flushed_so_that_no_latency_stays() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (_call, _taken) = rig.echo(leg);
    channel.send(&Message::Text(&start(320)));
    let mark = loop {
        rig.millis(1);
        let mut marks = channel.take().into_iter().filter_map(|got| match got {
            Got::Text(text) => text.strip_prefix("MARK_MEDIA ").map(str::to_owned),
            _ => None,
        });
        if let Some(mark) = marks.next_back() {
            break mark;
        }
    };
    rig.millis(400);
    channel.take();
    channel.send(&Message::Text(&format!("MEDIA_MARK_PROCESSED {mark}")));
    rig.millis(2);
    assert!(channel.take().contains(&Got::Text("FLUSH_MEDIA".to_owned())));
}
