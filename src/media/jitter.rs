//! The jitter buffer: packets in, in any order and at any time; one even stream of samples out, in order.
//!
//! It is a ring of samples on one timeline. Each packet is put where its RTP timestamp says, so reordering, packets of
//! any length and wrapped numbers need no care of their own: what is missing is simply not there when its turn comes.
//! The timeline advances with every frame taken, whether or not there was audio: time moves on.
//!
//! Positions are samples since the buffer was made, and never go back once they were played. `Timeline::offset` ties
//! them to timestamps and changes when
//!
//! - audio came after its turn and nothing else was there: it is played now, the delay has grown;
//! - speech begins again after silence, with timestamps that do not match the time that has passed;
//! - timestamps jump although no time has passed, or the stream begins again (RFC 3550 calls neither an error).
//!
//! The marker bit is not looked at: Asterisk does not set it after gaps.

use super::depth::{DepthControl, InterarrivalJitter};
use super::sequence::{Arrival, SequenceCounts, SequenceTracker};
use super::stats::ReceiveStats;
use crate::audio::SampleRate;
use crate::wire::rtp::extend_timestamp;
use std::time::Instant;

/// Samples in a frame.
pub(super) const FRAME: i64 = SampleRate::HZ_8000.frame_samples() as i64;
/// Longest payload of one packet, 120 ms. Asterisk sends up to 60.
pub const MAX_PACKET_SAMPLES: usize = 960;
/// Audio never waits longer than this, 200 ms.
const MAX_DEPTH: i64 = 1_600;
/// A power of two that holds [`MAX_DEPTH`].
const CAPACITY: usize = 2_048;
/// After so long without audio, 60 ms, the next packet begins a new stretch of speech.
const TALKSPURT_GAP: i64 = 3 * FRAME;
/// Peak below which a skipped frame is not noticed, about -42 dB.
const QUIET_PEAK: u16 = 250;

const _: () = assert!(CAPACITY.is_power_of_two() && MAX_DEPTH as usize <= CAPACITY && MAX_PACKET_SAMPLES < CAPACITY);

/// The numbers of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpStamp {
    /// The stream.
    pub ssrc: u32,
    /// Counts packets; wraps.
    pub sequence: u16,
    /// Counts samples; wraps.
    pub timestamp: u32,
}

/// What the next samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// So many samples of audio were written.
    Audio(usize),
    /// The sender was silent for so many samples; nothing was written.
    Quiet(usize),
    /// So many samples are lost, or not here yet; nothing was written.
    Missing(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Missing,
    Quiet,
    Audio,
}

/// How timestamps lie on the buffer's positions.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    /// Position minus extended timestamp.
    offset: i64,
    /// Extended timestamp of the newest packet, and of the sample after it.
    newest: i64,
    next: i64,
}

/// See the module's documentation. About 6 KiB, allocates nothing.
#[derive(Debug)]
pub struct JitterBuffer {
    pcm: [i16; CAPACITY],
    slots: [Slot; CAPACITY],
    /// Position of the next sample to be played.
    playout: i64,
    /// Position after the last sample that is here. Below `playout` when audio is overdue.
    end: i64,
    timeline: Option<Timeline>,
    /// Nothing of the present stream was played yet, so an earlier packet may still come first.
    untouched: bool,
    sequence: SequenceTracker,
    jitter: InterarrivalJitter,
    depth: DepthControl,
    late: u64,
    jumps: u64,
    skipped: u64,
    inserted: u64,
    discarded: u64,
}

impl Default for JitterBuffer {
    fn default() -> Self {
        Self {
            pcm: [0; CAPACITY],
            slots: [Slot::Missing; CAPACITY],
            playout: 0,
            end: 0,
            timeline: None,
            untouched: false,
            sequence: SequenceTracker::default(),
            jitter: InterarrivalJitter::default(),
            depth: DepthControl::default(),
            late: 0,
            jumps: 0,
            skipped: 0,
            inserted: 0,
            discarded: 0,
        }
    }
}

impl JitterBuffer {
    /// Whether any packet has been taken.
    pub fn has_begun(&self) -> bool {
        self.timeline.is_some()
    }

    /// Whether `ssrc` is the stream that is being received.
    pub fn follows(&self, ssrc: u32) -> bool {
        self.sequence.follows(ssrc)
    }

    /// Takes in a packet of at most [`MAX_PACKET_SAMPLES`] (the rest is cut off). Without samples it only says that its
    /// sequence number is not lost.
    pub fn insert(&mut self, stamp: RtpStamp, pcm: &[i16], arrival: Instant) {
        let pcm = &pcm[..pcm.len().min(MAX_PACKET_SAMPLES)];
        let samples = pcm.len() as i64;
        let position = match (self.sequence.note(stamp.ssrc, stamp.sequence, arrival), self.timeline) {
            (Arrival::Stray | Arrival::Duplicate, _) => return,
            (Arrival::Next { missing }, Some(timeline)) => {
                self.place_next(timeline, stamp.timestamp, i64::from(missing), samples)
            }
            (Arrival::Reordered, Some(timeline)) => match self.place_reordered(timeline, stamp.timestamp, samples) {
                Some(position) => position,
                None => return,
            },
            (Arrival::First, _) | (_, None) => self.place_first(stamp.timestamp, samples),
        };
        if let (Some(timeline), false) = (self.timeline, pcm.is_empty()) {
            self.jitter.note(position - timeline.offset, arrival);
            self.store(position, pcm);
        }
    }

    /// Where a stream begins: right behind what is still to be played, else as soon as the link's jitter allows.
    fn place_first(&mut self, timestamp: u32, samples: i64) -> i64 {
        self.untouched = self.end <= self.playout;
        let position = if self.untouched { self.playout + self.lead(samples) } else { self.end };
        self.jitter.restart();
        let newest = i64::from(timestamp);
        self.timeline = Some(Timeline { offset: position - newest, newest, next: newest + samples });
        position
    }

    fn place_next(&mut self, timeline: Timeline, timestamp: u32, missing: i64, samples: i64) -> i64 {
        let newest = extend_timestamp(timeline.newest, timestamp);
        let by_timestamp = newest + timeline.offset;
        let overdue = self.playout - self.end;
        let soonest = self.playout + self.lead(samples);

        let mut position = if newest < timeline.next {
            self.jump();
            self.end.max(soonest)
        } else if overdue >= 0 {
            let late_by = self.playout - by_timestamp;
            if late_by > 0 {
                if late_by <= MAX_DEPTH {
                    self.inserted += late_by as u64;
                }
                if overdue <= TALKSPURT_GAP { self.playout } else { soonest }
            } else {
                // Nothing else is there, so there is no reason to wait longer than for the packets in between.
                by_timestamp.min(soonest + FRAME + missing.min(MAX_DEPTH / FRAME) * samples)
            }
        } else {
            let expected = timeline.next + missing * samples;
            let ahead = (newest - expected).max(0);
            let full = by_timestamp + samples > self.playout + MAX_DEPTH;
            if full && (ahead > 0 || by_timestamp > self.playout + 2 * MAX_DEPTH) {
                self.jump();
                (by_timestamp - ahead).clamp(self.end, self.end + FRAME)
            } else {
                by_timestamp
            }
        };

        let gap = self.end.max(self.playout)..position;
        if self.depth.take_growth() {
            position += FRAME;
            self.inserted += FRAME as u64;
        } else if missing == 0 && gap.start < gap.end && gap.end - gap.start <= MAX_DEPTH {
            for position in gap {
                self.slots[index(position)] = Slot::Quiet;
            }
        }
        self.timeline = Some(Timeline { offset: position - newest, newest, next: newest + samples });
        position
    }

    /// `None` if its turn is over.
    fn place_reordered(&mut self, timeline: Timeline, timestamp: u32, samples: i64) -> Option<i64> {
        let position = extend_timestamp(timeline.newest, timestamp) + timeline.offset;
        if self.untouched && position < self.playout && self.end - position <= MAX_DEPTH {
            self.playout = position;
        }
        if position + samples <= self.playout || position + samples > self.end {
            self.late += 1;
            self.depth.note_late();
            return None;
        }
        self.depth.note_margin(position - self.playout);
        Some(position)
    }

    /// Samples between now and the beginning of a stream whose first packet has so many: what jitter demands, and
    /// what is missing from a whole frame, so that the first frames are not half empty.
    fn lead(&self, samples: i64) -> i64 {
        self.jitter.target() + (FRAME - samples % FRAME) % FRAME
    }

    fn jump(&mut self) {
        self.jumps += 1;
        self.jitter.restart();
    }

    fn store(&mut self, position: i64, pcm: &[i16]) {
        let after = position + pcm.len() as i64;
        while after - self.playout > MAX_DEPTH {
            let slot = &mut self.slots[index(self.playout)];
            self.discarded += u64::from(*slot == Slot::Audio);
            *slot = Slot::Missing;
            self.playout += 1;
        }
        let played = (self.playout - position).clamp(0, pcm.len() as i64);
        let (mut position, mut rest) = (position + played, &pcm[played as usize..]);
        while !rest.is_empty() {
            let start = index(position);
            let (now, later) = rest.split_at(rest.len().min(CAPACITY - start));
            self.pcm[start..start + now.len()].copy_from_slice(now);
            self.slots[start..start + now.len()].fill(Slot::Audio);
            position += now.len() as i64;
            rest = later;
        }
        self.end = self.end.max(after);
    }

    /// To be called before a frame is taken: shortens the delay if that is due and possible.
    pub fn begin_frame(&mut self) {
        if !self.depth.skip_due() {
            return;
        }
        let slots = |range: std::ops::Range<i64>, wanted: Slot| {
            range.clone().all(|position| self.slots[index(position)] == wanted) && range.end <= self.end
        };
        let (now, next) = (self.playout, self.playout + FRAME);
        if slots(now..next, Slot::Quiet) {
            self.skip_frame();
        } else if slots(now..next + FRAME, Slot::Audio) {
            let quiet = (now..next).all(|position| self.pcm[index(position)].unsigned_abs() < QUIET_PEAK);
            if quiet || self.depth.skip_at_any_cost() {
                // Two frames become one that begins as the first and ends as the second.
                for n in 0..FRAME {
                    let (first, second) = (self.pcm[index(now + n)], &mut self.pcm[index(next + n)]);
                    let mixed = i64::from(first) * (FRAME - n) + i64::from(*second) * n;
                    *second = (mixed / FRAME) as i16;
                }
                self.skip_frame();
            }
        }
    }

    fn skip_frame(&mut self) {
        for position in self.playout..self.playout + FRAME {
            self.slots[index(position)] = Slot::Missing;
        }
        self.playout += FRAME;
        self.skipped += FRAME as u64;
        self.depth.note_skip();
    }

    /// The next samples: as many as are alike, fit `out` and lie together in the ring. At least one unless `out` is empty.
    pub fn take(&mut self, out: &mut [i16]) -> Run {
        let start = index(self.playout);
        let slots = &mut self.slots[start..(start + out.len()).min(CAPACITY)];
        // Of an empty slice nothing is taken, whatever the kind.
        let kind = slots.first().copied().unwrap_or(Slot::Missing);
        let taken = slots.iter().position(|slot| *slot != kind).unwrap_or(slots.len());
        slots[..taken].fill(Slot::Missing);
        if kind == Slot::Audio {
            out[..taken].copy_from_slice(&self.pcm[start..start + taken]);
            self.untouched = false;
        }
        self.playout += taken as i64;
        match kind {
            Slot::Audio => Run::Audio(taken),
            Slot::Quiet => Run::Quiet(taken),
            Slot::Missing => Run::Missing(taken),
        }
    }

    /// To be called after a frame was taken.
    pub fn end_frame(&mut self) {
        let waiting = self.end - self.playout;
        if waiting < 0 {
            self.depth.note_empty();
        } else {
            self.depth.note_margin(waiting);
            self.depth.end_frame(self.jitter.target());
        }
    }

    /// What was counted here; the rest is left at zero.
    pub fn stats(&self) -> ReceiveStats {
        let SequenceCounts { received, lost, duplicated, reordered, stray, restarts } = self.sequence.counts();
        ReceiveStats {
            received,
            lost,
            late: self.late,
            duplicated,
            reordered,
            stray,
            resets: restarts + self.jumps,
            skipped_samples: self.skipped,
            inserted_samples: self.inserted,
            discarded_samples: self.discarded,
            jitter: self.jitter.time(),
            buffered_samples: (self.end - self.playout).max(0) as u32,
            ..ReceiveStats::default()
        }
    }
}

const fn index(position: i64) -> usize {
    position as usize % CAPACITY
}
