//! Legs over TCP: AudioSocket, and WebSocket as `chan_websocket` speaks it. Each call has a connection of its own, which is
//! read just before the call speaks; the kernel says when what is read has arrived.

use super::super::caller_audio::StampCode;
use super::super::real_time_ns;
use super::legs::{Far, Wire};
use super::meter::Arrived;
use crate::audio::{ByteOrder, Codec, MAX_FRAME_BYTES};
use crate::wire::audiosocket::{self, AudioType, Frame};
use crate::wire::websocket::{self, Message, Role};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{IoSliceMut, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;

/// Bytes that are read at a time: at most about one frame of the server, so that its time of arrival is its own.
const HEADROOM_BYTES: usize = 16;
/// Reads of a call in a period: more than it can have sent.
const READS: usize = 32;
/// A packet time.
const FRAME_NS: i64 = 20_000_000;

/// All calls over connections.
pub(super) struct StreamWire {
    codec: Codec,
    stamps: StampCode,
    websocket: bool,
    legs: Vec<Option<StreamLeg>>,
}

struct StreamLeg {
    stream: TcpStream,
    framing: Framing,
    /// Frames of the server so far.
    frames: i64,
    open: bool,
    /// What the kernel did not take of the last frame: it goes first, or the stream would be broken.
    unsent: Vec<u8>,
}

enum Framing {
    AudioSocket(audiosocket::Reader),
    WebSocket(Box<websocket::Decoder>, Queue),
}

/// What waits in the channel's queue: Asterisk plays a frame every 20 ms.
#[derive(Default)]
struct Queue {
    frames: usize,
    /// Marks, and how many frames are before each.
    marks: VecDeque<(usize, Value)>,
    drained_wanted: bool,
}

impl StreamWire {
    pub(super) fn audiosocket(codec: Codec, calls: usize) -> Self {
        Self::new(codec, calls, false)
    }

    pub(super) fn websocket(codec: Codec, calls: usize) -> Self {
        Self::new(codec, calls, true)
    }

    fn new(codec: Codec, calls: usize, websocket: bool) -> Self {
        let stamps = StampCode::of(codec, ByteOrder::Little);
        Self { codec, stamps, websocket, legs: (0..calls).map(|_| None).collect() }
    }

    fn media_start(&self, call: usize) -> String {
        json!({
            "event": "MEDIA_START",
            "connection_id": format!("bench-{call}"),
            "channel": format!("WebSocket/bench-{call}"),
            "channel_id": format!("bench-{call}"),
            "format": self.codec.asterisk_format(),
            "optimal_frame_size": self.codec.frame_bytes().unwrap_or(0),
            "ptime": 20,
            "channel_variables": {},
        })
        .to_string()
    }
}

impl Wire for StreamWire {
    fn attach(&mut self, call: usize, far: Far) {
        let Far::Stream(stream, read) = far else { return };
        // Without them the time of reading counts, which is later.
        let _ = setsockopt(&stream, ReceiveTimestampns, &true);
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let framing = if self.websocket {
            let decoder = websocket::Decoder::new(Role::Server, websocket::DEFAULT_MAX_MESSAGE_BYTES);
            Framing::WebSocket(Box::new(decoder), Queue::default())
        } else {
            Framing::AudioSocket(audiosocket::Reader::new())
        };
        let mut leg = StreamLeg { stream, framing, frames: 0, open: true, unsent: Vec::new() };
        if self.websocket {
            leg.send_text(&self.media_start(call));
            // A server says nothing before it has seen MEDIA_START; if it does, it is taken in without its time.
            leg.take(&mut read.clone(), real_time_ns(), self.stamps, &mut |_| {});
        }
        self.legs[call] = Some(leg);
    }

    fn detach(&mut self, call: usize) {
        self.legs[call] = None;
    }

    fn drain(&mut self, _: &mut dyn FnMut(usize, Arrived)) {}

    fn visit(&mut self, call: usize, each: &mut dyn FnMut(usize, Arrived)) {
        let (stamps, frame_bytes) = (self.stamps, self.codec.frame_bytes().unwrap_or(MAX_FRAME_BYTES));
        let Some(leg) = &mut self.legs[call] else { return };
        let mut buffer = [0; MAX_FRAME_BYTES + HEADROOM_BYTES];
        let room = (frame_bytes + HEADROOM_BYTES).min(buffer.len());
        for _ in 0..READS {
            match leg.read(&mut buffer[..room]) {
                Some((0, _)) | None => break,
                Some((length, at_ns)) => {
                    leg.take(&mut buffer[..length], at_ns, stamps, &mut |arrived| each(call, arrived))
                }
            }
        }
        leg.play_queue();
    }

    fn send(&mut self, call: usize, payload: &[u8]) {
        let rate = self.codec.rate();
        let Some(leg) = &mut self.legs[call] else { return };
        let mut out = [0; MAX_FRAME_BYTES + HEADROOM_BYTES];
        let written = match leg.framing {
            Framing::AudioSocket(_) => {
                let audio = AudioType::of_rate(rate).unwrap_or(AudioType::Slin8);
                Frame::Audio(audio, payload).write(&mut out).ok()
            }
            Framing::WebSocket(..) => Message::Binary(payload).write(Role::Server, [0; 4], &mut out).ok(),
        };
        if let Some(length) = written {
            leg.send(&out[..length]);
        }
    }

    fn stamps(&self) -> StampCode {
        self.stamps
    }
}

impl StreamLeg {
    /// Reads what is there, up to the room: how many bytes, and when the last of them arrived.
    fn read(&mut self, buffer: &mut [u8]) -> Option<(usize, u64)> {
        if !self.open {
            return None;
        }
        let mut slices = [IoSliceMut::new(buffer)];
        let mut space = nix::cmsg_space!(libc::timespec);
        match recvmsg::<()>(self.stream.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_DONTWAIT) {
            Ok(message) => {
                let time = message.cmsgs().into_iter().flatten().find_map(|control| match control {
                    ControlMessageOwned::ScmTimestampns(time) => {
                        Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
                    }
                    _ => None,
                });
                let length = message.bytes;
                self.open = length > 0;
                Some((length, time.unwrap_or_else(real_time_ns)))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => None,
            Err(_) => {
                self.open = false;
                None
            }
        }
    }

    /// Takes in bytes of the server.
    fn take(&mut self, mut input: &mut [u8], at_ns: u64, stamps: StampCode, each: &mut dyn FnMut(Arrived)) {
        let mut replies = Vec::new();
        let frames = &mut self.frames;
        let mut audio = |payload: &[u8]| {
            let arrived = Arrived {
                at_ns,
                sequence: *frames as u16,
                position_ns: *frames * FRAME_NS,
                stamp: stamps.read(payload, at_ns),
            };
            *frames += 1;
            each(arrived);
        };
        match &mut self.framing {
            Framing::AudioSocket(reader) => {
                let mut input: &[u8] = input;
                while let Some(frame) = reader.next_frame(&mut input) {
                    if let Ok(Frame::Audio(_, payload)) = frame {
                        audio(payload);
                    }
                }
            }
            Framing::WebSocket(decoder, queue) => {
                while let Ok(Some(message)) = decoder.next_message(&mut input) {
                    match message {
                        Message::Binary(payload) => {
                            queue.frames += 1;
                            audio(payload);
                        }
                        Message::Text(text) => queue.command(text, &mut replies),
                        Message::Close(_) => self.open = false,
                        Message::Ping(_) | Message::Pong(_) => {}
                    }
                }
            }
        }
        for reply in replies {
            self.send_text(&reply);
        }
    }

    /// A period has passed.
    fn play_queue(&mut self) {
        if let Framing::WebSocket(_, queue) = &mut self.framing {
            let events = queue.play();
            events.iter().for_each(|event| self.send_text(event));
        }
    }

    fn send_text(&mut self, text: &str) {
        let mut out = vec![0; text.len() + HEADROOM_BYTES];
        if let Ok(length) = Message::Text(text).write(Role::Server, [0; 4], &mut out) {
            self.send(&out[..length]);
        }
    }

    /// Asterisk does not wait: a frame that does not fit at all is lost. One that fits in part is completed.
    fn send(&mut self, bytes: &[u8]) {
        if !self.unsent.is_empty() {
            let sent = self.stream.write(&self.unsent).unwrap_or(0);
            self.unsent.drain(..sent);
            if !self.unsent.is_empty() {
                return;
            }
        }
        let sent = self.stream.write(bytes).unwrap_or(0);
        if sent > 0 {
            self.unsent.extend_from_slice(&bytes[sent..]);
        }
    }
}

impl Queue {
    /// Obeys what the server says, in JSON.
    fn command(&mut self, text: &str, replies: &mut Vec<String>) {
        let command: Value = serde_json::from_str(text).unwrap_or_default();
        match command["command"].as_str().unwrap_or_default() {
            "MARK_MEDIA" => self.marks.push_back((self.frames, command["correlation_id"].clone())),
            "FLUSH_MEDIA" => *self = Self::default(),
            "REPORT_QUEUE_DRAINED" => self.drained_wanted = true,
            "GET_STATUS" => replies.push(
                json!({
                    "event": "STATUS", "queue_length": self.frames, "xon_level": 800, "xoff_level": 900,
                    "queue_full": false, "bulk_media": false, "media_paused": false,
                })
                .to_string(),
            ),
            _ => {}
        }
    }

    /// Plays a frame; what there is to tell about it.
    fn play(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        self.frames = self.frames.saturating_sub(1);
        for (before, _) in &mut self.marks {
            *before = before.saturating_sub(1);
        }
        while let Some((0, id)) = self.marks.front() {
            events.push(json!({"event": "MEDIA_MARK_PROCESSED", "correlation_id": id}).to_string());
            self.marks.pop_front();
        }
        if self.frames == 0 && std::mem::take(&mut self.drained_wanted) {
            events.push(json!({"event": "QUEUE_DRAINED"}).to_string());
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_when_what_was_before_them_has_been_played() {
        let mut queue = Queue { frames: 2, ..Queue::default() };
        queue.command(r#"{"command":"MARK_MEDIA","correlation_id":"a"}"#, &mut Vec::new());
        assert!(queue.play().is_empty());
        assert_eq!(queue.play(), [r#"{"correlation_id":"a","event":"MEDIA_MARK_PROCESSED"}"#]);
    }

    #[test]
    fn a_flush_forgets_the_marks() {
        let mut queue = Queue { frames: 5, ..Queue::default() };
        queue.command(r#"{"command":"MARK_MEDIA"}"#, &mut Vec::new());
        queue.command(r#"{"command":"FLUSH_MEDIA"}"#, &mut Vec::new());
        assert!(queue.play().is_empty());
        let mut replies = Vec::new();
        queue.command(r#"{"command":"GET_STATUS"}"#, &mut replies);
        assert!(replies[0].contains(r#""queue_length":0"#));
    }
}
