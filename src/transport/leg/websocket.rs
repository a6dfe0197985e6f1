//! A leg over WebSocket (`chan_websocket`). Asterisk paces our audio from a queue of its own, so a few frames are always kept
//! in it ([`super::lookahead`]), and taken back when the caller interrupts.

use super::connection::{Connection, Sent};
use super::lookahead::{Due, Lookahead, Mode, Question};
use super::{Came, Desk, LegFault, LegKeys, LegLoss, WebSocketLeg, excerpt};
use crate::audio::{ByteOrder, Codec, Encoder};
use crate::media::{MediaStats, OrderedReceiver, ReceivedFrame, SendStats};
use crate::transport::error::LegRefusal;
use crate::transport::stats::Counters;
use crate::wire::media_websocket::{Command, Event, Format, MediaStart};
use crate::wire::websocket::{Close, DEFAULT_MAX_MESSAGE_BYTES, Decoder, Message, Role};
use std::borrow::Cow;
use std::time::Instant;
use uuid::Uuid;

/// Frames that were sent last are kept, so that the first one that is taken back can be faded out.
const KEPT: usize = 3;

#[derive(Debug)]
pub(in crate::transport) struct WebSocket {
    pub(super) connection: Connection,
    pub(super) keys: LegKeys,
    decoder: Decoder,
    receive: OrderedReceiver,
    send: Outgoing,
    lookahead: Lookahead,
    /// Asterisk has said that it takes no more for now.
    paused: bool,
}

/// The sending side apart from the connection.
#[derive(Debug)]
struct Outgoing {
    role: Role,
    control: Format,
    codec: Codec,
    encoder: Encoder,
    /// State of the generator of masks. These need to be unpredictable for whoever chooses what is said, not for Asterisk.
    mask: u64,
    /// The last [`KEPT`] frames, as a ring.
    kept: Box<[i16]>,
    /// Frames sent since the beginning.
    frames: usize,
    stats: SendStats,
}

impl WebSocket {
    /// Takes over the leg; with it, what was read already.
    pub(in crate::transport) fn new(leg: WebSocketLeg, now: Instant) -> Result<(Self, Vec<u8>), LegRefusal> {
        let WebSocketLeg { stream, role, codec, control, read, keys } = leg;
        let mode = if codec.frame_bytes().is_some() { Mode::Framed } else { Mode::PassThrough };
        let leg = Self {
            connection: Connection::new(stream).map_err(|_| LegRefusal::Disconnected)?,
            keys,
            decoder: Decoder::new(role, DEFAULT_MAX_MESSAGE_BYTES),
            receive: OrderedReceiver::new(codec, ByteOrder::Little)?,
            send: Outgoing {
                role,
                control,
                codec,
                encoder: Encoder::new(codec, ByteOrder::Little)?,
                mask: Uuid::new_v4().as_u64_pair().0 | 1,
                kept: vec![0; KEPT * codec.rate().frame_samples()].into(),
                frames: 0,
                stats: SendStats::default(),
            },
            lookahead: Lookahead::new(mode, now),
            paused: false,
        };
        Ok((leg, read))
    }

    pub(super) fn poll_frame(&mut self, out: &mut [i16], now: Instant) -> Option<ReceivedFrame> {
        self.receive.poll_frame(out, now)
    }

    pub(super) fn next(
        &mut self,
        input: &mut &mut [u8],
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<Option<Came>, LegLoss> {
        let message = match self.decoder.next_message(input) {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(None),
            Err(error) => {
                let close = Message::Close(Some(Close { code: error.close_code(), reason: "" }));
                let _ = self.send.message(&close, &mut self.connection, now, &mut desk.message);
                return Err(LegLoss::WebSocket(error));
            }
        };
        let malformed = |fault: LegFault| {
            counters.malformed_messages.add(1);
            Ok(Some(Came::Fault(fault)))
        };
        let unexpected = |fault| {
            counters.unexpected_messages.add(1);
            Ok(Some(Came::Fault(fault)))
        };
        match message {
            // In any order with the control messages: Asterisk may send audio before MEDIA_START.
            Message::Binary(payload) => {
                return match self.receive.payload(payload, now) {
                    Ok(()) => Ok(Some(Came::Audio)),
                    Err(error) => malformed(error.into()),
                };
            }
            Message::Text(text) => match Event::parse(text, self.send.control) {
                Ok(Event::MediaStart(start)) => self.send.check(&start)?,
                Ok(Event::DtmfEnd { digit }) => return Ok(Some(Came::Key(digit))),
                Ok(Event::MediaXoff) => {
                    counters.websocket_pauses.add(1);
                    // Hundreds of frames wait, which nobody wants to hear as late as that.
                    match self.lookahead.mode() {
                        Mode::Framed => {
                            self.paused = true;
                            self.lookahead.emptied(now);
                            counters.websocket_flushes.add(1);
                            self.command(&Command::FlushMedia, now, desk, counters)?;
                        }
                        Mode::PassThrough => self.lookahead.full(),
                    }
                }
                Ok(Event::MediaXon) => {
                    if std::mem::take(&mut self.paused) {
                        self.lookahead.emptied(now);
                    }
                }
                Ok(Event::MediaMarkProcessed { id }) => {
                    let mark = id.and_then(|id| id.parse().ok());
                    if mark.is_some_and(|mark| self.lookahead.marked(mark, now)) {
                        self.flush(now, desk, counters)?;
                    }
                }
                Ok(Event::Status(status)) => {
                    if self.lookahead.counted(status.queue_length) {
                        self.flush(now, desk, counters)?;
                    }
                }
                Ok(Event::MediaBufferingCompleted { .. } | Event::QueueDrained) => {}
                Ok(Event::Error { text }) => return unexpected(LegFault::Refused { text: excerpt(&text) }),
                Ok(Event::Unknown { name }) => return unexpected(LegFault::UnknownEvent { name: excerpt(&name) }),
                Err(error) => return malformed(error.into()),
            },
            Message::Ping(payload) => {
                let pong = Message::Pong(payload);
                let sent = self.send.message(&pong, &mut self.connection, now, &mut desk.message)?;
                counters.frames_unsent.add(u64::from(sent == Sent::Not));
            }
            Message::Pong(_) => {}
            Message::Close(close) => {
                let answer = Message::Close(close.map(|close| Close { code: close.code, reason: "" }));
                let _ = self.send.message(&answer, &mut self.connection, now, &mut desk.message);
                return Err(LegLoss::Closed);
            }
        }
        Ok(Some(Came::Nothing))
    }

    /// Sends the frame of a tick, or what keeps Asterisk's queue as long as it should be.
    pub(in crate::transport) fn speak(
        &mut self,
        pcm: &[i16],
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<(), LegLoss> {
        if self.paused {
            counters.frames_unsent.add(1);
            return Ok(());
        }
        match self.lookahead.due(pcm.iter().all(|sample| *sample == 0), now) {
            Due::Frame => {}
            Due::SilenceAndFrame => {
                counters.lookahead_refills.add(1);
                self.silence(1, now, desk, counters)?;
            }
            Due::Nothing => {
                counters.lookahead_trims.add(1);
                return Ok(());
            }
        }
        self.send.frame(pcm, &mut self.connection, now, desk, counters)?;
        match self.lookahead.question(now) {
            Some(Question::Mark(mark)) => {
                let mut digits = [0; 10];
                let id = Some(Cow::Borrowed(decimal(mark, &mut digits)));
                self.command(&Command::MarkMedia { id }, now, desk, counters)
            }
            Some(Question::Status) => self.command(&Command::GetStatus, now, desk, counters),
            None => Ok(()),
        }
    }

    /// A reply has begun.
    pub(in crate::transport) fn reply_started(&mut self, now: Instant) {
        self.lookahead.measure_now(now);
    }

    /// The reply was stopped: what of it Asterisk has not taken yet is taken back; the first frame of that
    /// fades out, and silence fills the queue again.
    pub(in crate::transport) fn take_back(
        &mut self,
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<(), LegLoss> {
        let waiting = self.waiting(now);
        let samples = self.send.codec.rate().frame_samples();
        let silent = (1..=waiting).all(|back| self.send.sent(back).iter().all(|sample| *sample == 0));
        if silent {
            return Ok(());
        }
        self.lookahead.flushed(waiting, now);
        counters.websocket_flushes.add(1);
        let first = self.send.sent(waiting);
        for (n, (faded, sample)) in desk.faded.iter_mut().zip(first).enumerate() {
            *faded = (i64::from(*sample) * (samples - n) as i64 / samples as i64) as i16;
        }
        self.command(&Command::FlushMedia, now, desk, counters)?;
        // Copied, because the desk is needed to send it.
        let faded = desk.faded;
        self.send.frame(&faded[..samples], &mut self.connection, now, desk, counters)?;
        self.silence(waiting - 1, now, desk, counters)
    }

    /// Frames that can be taken back, of those that are remembered.
    pub(super) fn waiting(&self, now: Instant) -> usize {
        self.lookahead.waiting(now).min(KEPT).min(self.send.frames)
    }

    pub(super) fn stats(&self) -> MediaStats {
        MediaStats { receive: self.receive.stats(), send: self.send.stats }
    }

    /// Says good-bye.
    pub(in crate::transport) fn into_connection(mut self, now: Instant, desk: &mut Desk) -> Connection {
        let close = Message::Close(Some(Close { code: 1000, reason: "" }));
        let _ = self.send.message(&close, &mut self.connection, now, &mut desk.message);
        self.connection
    }

    /// Throws away everything that waits at Asterisk, and begins again with the usual look-ahead.
    fn flush(&mut self, now: Instant, desk: &mut Desk, counters: &Counters) -> Result<(), LegLoss> {
        counters.websocket_flushes.add(1);
        self.lookahead.flushed(1, now);
        self.command(&Command::FlushMedia, now, desk, counters)?;
        self.silence(1, now, desk, counters)
    }

    fn silence(&mut self, frames: usize, now: Instant, desk: &mut Desk, counters: &Counters) -> Result<(), LegLoss> {
        let samples = self.send.codec.rate().frame_samples();
        for _ in 0..frames {
            let silence = desk.silence;
            self.send.frame(&silence[..samples], &mut self.connection, now, desk, counters)?;
        }
        Ok(())
    }

    fn command(
        &mut self,
        command: &Command<'_>,
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<(), LegLoss> {
        desk.text.clear();
        // None of those that are sent here can be too long, or impossible in either form.
        if command.write(self.send.control, &mut desk.text).is_ok() {
            let text = Message::Text(&desk.text);
            let sent = self.send.message(&text, &mut self.connection, now, &mut desk.message)?;
            counters.frames_unsent.add(u64::from(sent == Sent::Not));
        }
        Ok(())
    }
}

impl Outgoing {
    /// Sends one frame as one message.
    fn frame(
        &mut self,
        pcm: &[i16],
        connection: &mut Connection,
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<(), LegLoss> {
        let coded = self.encoder.encode(pcm, &mut desk.coded).unwrap_or(0);
        if coded == 0 {
            return Ok(());
        }
        match self.message(&Message::Binary(&desk.coded[..coded]), connection, now, &mut desk.message)? {
            Sent::Whole => {
                let at = self.frames % KEPT * pcm.len();
                self.kept[at..at + pcm.len()].copy_from_slice(pcm);
                self.frames += 1;
                self.stats.packets += 1;
                self.stats.payload_bytes += coded as u64;
                counters.messages_sent.add(1);
            }
            Sent::Not => counters.frames_unsent.add(1),
        }
        Ok(())
    }

    /// The last frame but `back - 1`: 1 to [`KEPT`], and not more than were sent.
    fn sent(&self, back: usize) -> &[i16] {
        let samples = self.codec.rate().frame_samples();
        let at = (self.frames - back) % KEPT * samples;
        &self.kept[at..at + samples]
    }

    fn message(
        &mut self,
        message: &Message<'_>,
        connection: &mut Connection,
        now: Instant,
        out: &mut [u8],
    ) -> Result<Sent, LegLoss> {
        // xorshift (Marsaglia).
        self.mask ^= self.mask << 13;
        self.mask ^= self.mask >> 7;
        self.mask ^= self.mask << 17;
        let key = ((self.mask >> 16) as u32).to_ne_bytes();
        match message.write(self.role, key, out) {
            Ok(length) => connection.send(&out[..length], now),
            // None that is sent here is longer than the desk.
            Err(_) => Ok(Sent::Not),
        }
    }

    /// Whether the channel is what was agreed: messages must be whole frames of its size, or Asterisk drops the rest.
    fn check(&self, start: &MediaStart<'_>) -> Result<(), LegLoss> {
        let asterisk = start.optimal_frame_size;
        match self.codec.frame_bytes() {
            Some(agreed) if asterisk == 0 || !agreed.is_multiple_of(asterisk as usize) => {
                Err(LegLoss::FrameSize { asterisk, agreed })
            }
            None if asterisk != 0 => Err(LegLoss::FrameSize { asterisk, agreed: 0 }),
            _ => Ok(()),
        }
    }
}

/// Writes a number without allocating.
fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &str {
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    // ASCII digits only.
    std::str::from_utf8(&digits[from..]).unwrap_or("0")
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 4_294_967_295] {
            assert_eq!(decimal(number, &mut [0; 10]), number.to_string());
        }
    }
}
