//! Payloads of a leg that loses and reorders nothing (AudioSocket, WebSocket: TCP) to frames for the call.
//!
//! There are no timestamps, so when nothing comes it is not known whether the sender is silent or the connection stands
//! still: the call gets silence at real time, and whatever comes then is heard in full, directly behind.

use super::assembler::{FrameAssembler, ReceivedFrame};
use super::stall::StallClock;
use super::stats::ReceiveStats;
use crate::audio::{ByteOrder, Codec, CodecError, Decoder};
use std::time::{Duration, Instant};

/// The most audio that may wait for being taken.
pub const MAX_WAITING: Duration = Duration::from_secs(1);

/// The stream that we receive on a leg over TCP. Takes its memory when it is made; more only for payloads of over 20 ms.
#[derive(Debug)]
pub struct OrderedReceiver {
    codec: Codec,
    decoder: Decoder,
    stall: StallClock,
    assembler: FrameAssembler,
    counts: ReceiveStats,
}

/// Why a payload, or a part of it, was not taken. All of these are counted in [`ReceiveStats`]; none ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Half a sample at its end, which was dropped. What came before it was taken: the next message begins a sample again.
    #[error("a LINEAR16 payload of {bytes} bytes ends within a sample: its last byte is dropped")]
    HalfSample {
        /// In the payload.
        bytes: usize,
    },
    /// The payload cannot be decoded, or more audio would wait than [`MAX_WAITING`].
    #[error("a payload of {bytes} bytes: {error}")]
    Undecodable {
        /// In the payload.
        bytes: usize,
        /// What is wrong with it.
        error: CodecError,
    },
}

impl OrderedReceiver {
    /// A stream that has not begun.
    ///
    /// # Errors
    /// The decoder cannot be made: [`Decoder::new`].
    pub fn new(codec: Codec, order: ByteOrder) -> Result<Self, CodecError> {
        Ok(Self {
            codec,
            decoder: Decoder::new(codec, order)?,
            stall: StallClock::new(codec.rate()),
            assembler: FrameAssembler::new(codec.rate(), MAX_WAITING),
            counts: ReceiveStats::default(),
        })
    }

    /// Takes in the payload of one message: any number of bytes, or for Opus one packet. Then take what is ready with
    /// [`Self::poll_frame`], until there is nothing more.
    ///
    /// # Errors
    /// See [`PayloadError`].
    pub fn payload(&mut self, payload: &[u8], arrival: Instant) -> Result<(), PayloadError> {
        let bytes = payload.len();
        let half = matches!(self.codec, Codec::Linear16(_)) && !bytes.is_multiple_of(2);
        let whole = &payload[..bytes - usize::from(half)];
        self.counts.received += 1;
        self.counts.malformed += u64::from(half);
        if !whole.is_empty() {
            let samples = self.assembler.decode(&mut self.decoder, whole).map_err(|error| {
                let counter = match error {
                    CodecError::PayloadTooLong { .. } => &mut self.counts.discarded,
                    _ => &mut self.counts.malformed,
                };
                *counter += 1;
                PayloadError::Undecodable { bytes, error }
            })?;
            self.stall.note_audio(arrival, self.codec.rate().time_of(samples as i64), true);
        }
        if half { Err(PayloadError::HalfSample { bytes }) } else { Ok(()) }
    }

    /// The next frame, if there is one: 20 ms at the rate of the codec, written to the beginning of `out`. To be called
    /// until `None` after each payload, and when [`Self::poll_timeout`] says (or at least every 20 ms), so that time goes on
    /// while nothing comes. The caller's time begins with the first call.
    ///
    /// # Panics
    /// If `out` is shorter than a frame.
    pub fn poll_frame(&mut self, out: &mut [i16], now: Instant) -> Option<ReceivedFrame> {
        self.stall.start(now);
        loop {
            if let Some(frame) = self.assembler.take(out) {
                self.counts.note_frame(frame);
                return Some(frame);
            }
            if !self.stall.fill(&mut self.assembler, now) {
                return None;
            }
        }
    }

    /// When [`Self::poll_frame`] will have something to give even if nothing comes. `None` before the caller's time has
    /// begun.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.stall.due()
    }

    /// What was received so far.
    pub const fn stats(&self) -> ReceiveStats {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SampleRate;
    use crate::audio::g711::Law;
    use proptest::prelude::*;

    const SLIN16: Codec = Codec::Linear16(SampleRate::HZ_16000);

    #[allow(clippy::disallowed_methods)]
    fn base() -> Instant {
        Instant::now()
    }

    fn little_endian(samples: impl Iterator<Item = i16>) -> Vec<u8> {
        samples.flat_map(i16::to_le_bytes).collect()
    }

    fn take_all<const N: usize>(receiver: &mut OrderedReceiver, now: Instant) -> Vec<(ReceivedFrame, [i16; N])> {
        let mut out = [0; N];
        std::iter::from_fn(|| receiver.poll_frame(&mut out, now).map(|kind| (kind, out))).collect()
    }

    proptest! {
        #[test]
        fn no_sample_is_lost_or_doubled_whatever_the_size_of_the_chunks(
            sizes in prop::collection::vec(0usize..2_500, 1..40),
        ) {
            let (mut receiver, now) = (OrderedReceiver::new(SLIN16, ByteOrder::Little).unwrap(), base());
            let (mut next, mut heard) = (0i16, Vec::new());
            for samples in &sizes {
                let chunk = little_endian((0..*samples).map(|_| { next = next.wrapping_add(1); next }));
                receiver.payload(&chunk, now).unwrap();
                for (kind, pcm) in take_all::<320>(&mut receiver, now) {
                    prop_assert_eq!(kind, ReceivedFrame::Audio);
                    heard.extend(pcm);
                }
            }
            let total = sizes.iter().sum::<usize>();
            prop_assert_eq!(heard.len(), total / 320 * 320);
            let mut expected = 0i16;
            for sample in heard {
                expected = expected.wrapping_add(1);
                prop_assert_eq!(sample, expected);
            }
        }

        #[test]
        fn no_payload_makes_it_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 0..30), taken: bool) {
            for codec in [SLIN16, Codec::G711(Law::Mu)] {
                let (mut receiver, now) = (OrderedReceiver::new(codec, ByteOrder::Little).unwrap(), base());
                for payload in &payloads {
                    _ = receiver.payload(payload, now);
                    if taken {
                        take_all::<320>(&mut receiver, now);
                    }
                }
                prop_assert_eq!(receiver.stats().received, payloads.len() as u64);
            }
        }
    }

    #[test]
    fn an_odd_byte_is_counted_and_what_follows_is_heard_as_it_is() {
        let (mut receiver, now) = (OrderedReceiver::new(SLIN16, ByteOrder::Little).unwrap(), base());
        let mut odd = little_endian(0..160);
        odd.push(0x55);
        assert_eq!(receiver.payload(&odd, now), Err(PayloadError::HalfSample { bytes: 321 }));
        receiver.payload(&little_endian(160..320), now).unwrap();
        let frames = take_all::<320>(&mut receiver, now);
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].1[..], (0..320).collect::<Vec<i16>>()[..]);
        assert_eq!((receiver.stats().malformed, receiver.stats().received), (1, 2));
        assert_eq!(receiver.payload(&[7], now), Err(PayloadError::HalfSample { bytes: 1 }));
    }

    #[test]
    fn a_connection_that_stands_still_gives_silence_at_real_time_and_then_all_that_it_kept_back() {
        let (mut receiver, base) = (OrderedReceiver::new(Codec::G711(Law::Mu), ByteOrder::Little).unwrap(), base());
        let mut kinds = Vec::new();
        for ms in 0..1_000u64 {
            let now = base + Duration::from_millis(ms);
            // 20 ms each, but those from 200 ms to 700 ms come at 700 ms.
            let due =
                if ms % 20 == 0 { [1, 0, 26][usize::from(ms > 200 && ms <= 700) + usize::from(ms == 700)] } else { 0 };
            for _ in 0..due {
                receiver.payload(&[0x90; 160], now).unwrap();
                kinds.extend(take_all::<160>(&mut receiver, now).into_iter().map(|(kind, _)| kind));
            }
            kinds.extend(take_all::<160>(&mut receiver, now).into_iter().map(|(kind, _)| kind));
        }
        let count = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
        assert!((19..=23).contains(&(count(ReceivedFrame::Silence) + count(ReceivedFrame::Concealed))), "{kinds:?}");
        assert_eq!(count(ReceivedFrame::Concealed), 3);
        assert_eq!(count(ReceivedFrame::Audio), 51);
        assert_eq!(receiver.stats().silence_frames, count(ReceivedFrame::Silence) as u64);
    }

    #[test]
    fn more_than_may_wait_is_refused_and_counted() {
        let (mut receiver, now) = (OrderedReceiver::new(Codec::G711(Law::Mu), ByteOrder::Little).unwrap(), base());
        let refused = receiver.payload(&[0; 9_000], now).unwrap_err();
        assert!(matches!(refused, PayloadError::Undecodable { bytes: 9_000, .. }), "{refused}");
        receiver.payload(&[0; 8_000], now).unwrap();
        assert_eq!(take_all::<160>(&mut receiver, now).len(), 50);
        assert_eq!(receiver.stats().discarded, 1);
    }
}
