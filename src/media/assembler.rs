//! The frame assembler: audio in pieces of any length to frames of 20 ms, with concealment in between.
//!
//! Payloads are decoded right into it, so what comes in order is copied once, into the frame of whoever takes it.

use super::conceal::Concealer;
use crate::audio::{CodecError, Decoder, SampleRate};
use std::time::Duration;

/// What a received frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedFrame {
    /// As it was sent, perhaps with silence of the sender in it.
    Audio,
    /// Made up at least in part, since a packet is lost or late.
    Concealed,
    /// Nothing: the sender is silent, or nothing has come for longer than concealment lasts. The samples are zeros.
    Silence,
}

/// What is in a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    sent: bool,
    made_up: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct FrameAssembler {
    frame_samples: usize,
    /// `filled` samples wait, the first of them for the next frame.
    pcm: Vec<i16>,
    filled: usize,
    /// The most that may wait besides a frame that is not complete.
    longest: usize,
    /// In the next frame, as far as it is there.
    next: Parts,
    /// In the piece that was added last. It is all that is in the frames after the next, since nothing but audio is added
    /// once a frame is complete.
    last: Parts,
    concealer: Concealer,
}

impl FrameAssembler {
    /// `longest` is the audio that one payload may hold. There is room for payloads of 20 ms; longer ones take more when the
    /// first of them comes.
    pub(super) fn new(rate: SampleRate, longest: Duration) -> Self {
        let frame_samples = rate.frame_samples();
        Self {
            frame_samples,
            pcm: vec![0; 2 * frame_samples],
            filled: 0,
            longest: rate.samples_in(longest) as usize,
            next: Parts::default(),
            last: Parts::default(),
            concealer: Concealer::new(rate),
        }
    }

    /// Whether the next frame is not complete.
    pub(super) fn wants_more(&self) -> bool {
        self.filled < self.frame_samples
    }

    /// Samples that the next frame lacks.
    pub(super) fn lacks(&self) -> usize {
        self.frame_samples.saturating_sub(self.filled)
    }

    /// Adds a payload; returns how many samples it held. After an error nothing is added.
    pub(super) fn decode(&mut self, decoder: &mut Decoder, payload: &[u8]) -> Result<usize, CodecError> {
        let samples = match decoder.decode(payload, &mut self.pcm[self.filled..]) {
            Err(CodecError::PayloadTooLong { samples, .. })
                if self.filled + samples <= self.frame_samples + self.longest =>
            {
                // With the first payload of this length. Once a frame is complete, whoever takes it was not asked in between.
                self.pcm.resize(self.filled.max(self.frame_samples) + samples, 0);
                decoder.decode(payload, &mut self.pcm[self.filled..])?
            }
            decoded => decoded?,
        };
        self.concealer.good(&mut self.pcm[self.filled..self.filled + samples]);
        self.added(samples, Parts { sent: true, made_up: false });
        Ok(samples)
    }

    /// Adds silence of the sender: at most `samples`, and at most what the next frame lacks. Returns how many.
    pub(super) fn add_silence(&mut self, samples: usize) -> usize {
        let samples = samples.min(self.lacks());
        let piece = &mut self.pcm[self.filled..self.filled + samples];
        piece.fill(0);
        self.concealer.good(piece);
        self.added(samples, Parts::default());
        samples
    }

    /// Adds what conceals a loss: at most `samples`, and at most what the next frame lacks. Returns how many.
    pub(super) fn add_concealment(&mut self, samples: usize) -> usize {
        let samples = samples.min(self.lacks());
        let made_up = self.concealer.conceal(&mut self.pcm[self.filled..self.filled + samples]);
        self.added(samples, Parts { sent: false, made_up });
        samples
    }

    fn added(&mut self, samples: usize, parts: Parts) {
        if samples == 0 {
            return;
        }
        if self.wants_more() {
            self.next.sent |= parts.sent;
            self.next.made_up |= parts.made_up;
        }
        self.last = parts;
        self.filled += samples;
    }

    /// The next frame, if it is complete.
    ///
    /// # Panics
    /// If `out` is shorter than a frame.
    pub(super) fn take(&mut self, out: &mut [i16]) -> Option<ReceivedFrame> {
        let frame_samples = self.frame_samples;
        if self.filled < frame_samples {
            return None;
        }
        out[..frame_samples].copy_from_slice(&self.pcm[..frame_samples]);
        self.pcm.copy_within(frame_samples..self.filled, 0);
        self.filled -= frame_samples;
        let parts = std::mem::replace(&mut self.next, if self.filled > 0 { self.last } else { Parts::default() });
        Some(match (parts.sent, parts.made_up) {
            (_, true) => ReceivedFrame::Concealed,
            (true, false) => ReceivedFrame::Audio,
            (false, false) => ReceivedFrame::Silence,
        })
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.pcm.capacity() * size_of::<i16>() + self.concealer.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::Law;
    use crate::audio::{ByteOrder, Codec};

    fn parts() -> (FrameAssembler, Decoder) {
        let assembler = FrameAssembler::new(SampleRate::HZ_8000, Duration::from_millis(120));
        (assembler, Decoder::new(Codec::G711(Law::A), ByteOrder::Big).unwrap())
    }

    #[test]
    fn a_frame_is_what_its_parts_are() {
        let (mut assembler, mut decoder) = parts();
        let mut out = [0; 160];
        assert_eq!(assembler.take(&mut out), None);
        // 30 ms of audio, 10 ms of the next frame made up, silence, audio.
        assembler.decode(&mut decoder, &[0x2A; 240]).unwrap();
        assert_eq!(assembler.take(&mut out), Some(ReceivedFrame::Audio));
        assert_eq!((assembler.take(&mut out), assembler.lacks()), (None, 80));
        assert_eq!(assembler.add_concealment(500), 80, "never more than the frame lacks");
        assert_eq!(assembler.take(&mut out), Some(ReceivedFrame::Concealed));
        assert_eq!(assembler.add_silence(500), 160);
        assert_eq!(assembler.take(&mut out), Some(ReceivedFrame::Silence));
        assert_eq!(assembler.add_silence(40), 40);
        assembler.decode(&mut decoder, &[0x2A; 160]).unwrap();
        assert_eq!(assembler.take(&mut out), Some(ReceivedFrame::Audio), "silence of the sender is as it was sent");
        assert_eq!(assembler.add_silence(500), 120);
        assert_eq!(assembler.take(&mut out), Some(ReceivedFrame::Audio));
    }

    #[test]
    fn a_payload_that_is_longer_than_usual_finds_room_and_one_that_is_too_long_is_refused() {
        let (mut assembler, mut decoder) = parts();
        let error = assembler.decode(&mut decoder, &[0x2A; 1_121]).unwrap_err();
        assert!(matches!(error, CodecError::PayloadTooLong { samples: 1_121, .. }), "{error}");
        assert_eq!(assembler.decode(&mut decoder, &[0x2A; 960]), Ok(960));
        let mut out = [0; 160];
        let frames = std::iter::from_fn(|| assembler.take(&mut out)).count();
        assert_eq!(frames, 6);
    }
}
