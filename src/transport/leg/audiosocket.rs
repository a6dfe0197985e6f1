//! A leg over AudioSocket. Nothing in Asterisk buffers or paces: what is sent is heard at once, so frames leave on the clock,
//! header and payload in one write.

use super::connection::{Connection, Sent};
use super::{AudioSocketLeg, Came, Desk, LegFault, LegKeys, LegLoss};
use crate::audio::{ByteOrder, Codec, Encoder};
use crate::media::{MediaStats, OrderedReceiver, ReceivedFrame, SendStats};
use crate::transport::error::LegRefusal;
use crate::transport::stats::Counters;
use crate::wire::audiosocket::{AudioType, Frame, Reader};
use std::time::Instant;

#[derive(Debug)]
pub(in crate::transport) struct AudioSocket {
    pub(super) connection: Connection,
    pub(super) keys: LegKeys,
    reader: Reader,
    audio: AudioType,
    receive: OrderedReceiver,
    encoder: Encoder,
    sent: SendStats,
}

impl AudioSocket {
    /// Takes over the leg; with it, what was read already.
    pub(in crate::transport) fn new(leg: AudioSocketLeg) -> Result<(Self, Vec<u8>), LegRefusal> {
        let AudioSocketLeg { stream, codec, read, keys } = leg;
        // What we send is taken for LINEAR16 whatever the channel's format is.
        let Codec::Linear16(rate) = codec else { return Err(LegRefusal::NotOnThisLeg) };
        let leg = Self {
            connection: Connection::new(stream).map_err(|_| LegRefusal::Disconnected)?,
            keys,
            reader: Reader::new(),
            audio: AudioType::of_rate(rate).ok_or(LegRefusal::NotOnThisLeg)?,
            receive: OrderedReceiver::new(codec, ByteOrder::Little)?,
            encoder: Encoder::new(codec, ByteOrder::Little)?,
            sent: SendStats::default(),
        };
        Ok((leg, read))
    }

    pub(super) fn poll_frame(&mut self, out: &mut [i16], now: Instant) -> Option<ReceivedFrame> {
        self.receive.poll_frame(out, now)
    }

    pub(super) fn next(&mut self, input: &mut &mut [u8], now: Instant, counters: &Counters) -> Option<Came> {
        let whole: &[u8] = input;
        let mut rest = whole;
        let malformed = |fault: LegFault| {
            counters.malformed_messages.add(1);
            Came::Fault(fault)
        };
        // Asterisk sends nothing else than audio and keys after the UUID.
        let unexpected = |fault| {
            counters.unexpected_messages.add(1);
            Came::Fault(fault)
        };
        let came = self.reader.next_frame(&mut rest).map(|frame| match frame {
            // Before Asterisk 22.7 audio of every rate is called 8 kHz.
            Ok(Frame::Audio(audio, payload)) if audio == self.audio || audio == AudioType::Slin8 => {
                match self.receive.payload(payload, now) {
                    Ok(()) => Came::Audio,
                    Err(error) => malformed(error.into()),
                }
            }
            Ok(Frame::Dtmf(key)) => Came::Key(key),
            Ok(Frame::Audio(audio, _)) => unexpected(LegFault::Rate { hz: audio.hz(), agreed: self.audio.hz() }),
            Ok(Frame::Hangup) => unexpected(LegFault::UnexpectedFrame { what: "hang up" }),
            Ok(Frame::Uuid(_)) => unexpected(LegFault::UnexpectedFrame { what: "which call this is, once more" }),
            Ok(Frame::Error(_)) => unexpected(LegFault::UnexpectedFrame { what: "error" }),
            Ok(Frame::Unknown { kind, .. }) => unexpected(LegFault::UnknownFrame { kind }),
            Err(error) => malformed(error.into()),
        });
        let used = whole.len() - rest.len();
        *input = &mut std::mem::take(input)[used..];
        came
    }

    /// Sends a frame.
    pub(in crate::transport) fn speak(
        &mut self,
        pcm: &[i16],
        now: Instant,
        desk: &mut Desk,
        counters: &Counters,
    ) -> Result<(), LegLoss> {
        let coded = self.encoder.encode(pcm, &mut desk.coded).unwrap_or(0);
        let frame = Frame::Audio(self.audio, &desk.coded[..coded]);
        // A frame of 20 ms has at least 320 bytes, fits the desk, and its length 16 bits.
        let length = frame.write(&mut desk.message).unwrap_or(0);
        match self.connection.send(&desk.message[..length], now)? {
            Sent::Whole => {
                self.sent.packets += 1;
                self.sent.payload_bytes += coded as u64;
                counters.messages_sent.add(1);
            }
            Sent::Not => counters.frames_unsent.add(1),
        }
        Ok(())
    }

    pub(super) fn stats(&self) -> MediaStats {
        MediaStats { receive: self.receive.stats(), send: self.sent }
    }

    pub(in crate::transport) fn into_connection(self) -> Connection {
        self.connection
    }
}
