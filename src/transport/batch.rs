//! Caller audio on its way from a worker to the engines: one batch a slot with the frames of all calls that were heard, so
//! that waking the asynchronous side costs once a slot and not once a call. Where so many are heard at once that they do
//! not fit (a bunch of packets after a stall), a slot has several.
//!
//! A fixed number of buffers circulates: worker → [`AudioBatch`] → consumer → (drop) → worker. When none is at hand, because
//! the consumer is slow, the caller audio of the slot is dropped and counted; the positions in what follows show the gap.
//!
//! On the way home nobody waits for anybody. A queue of the standard library will not do here: its receiver spins while a
//! sender is in the middle of sending, and a worker with real-time priority that has interrupted just this sender on its
//! processor spins for ever, or until the kernel stops it after most of a second.

use super::handle::CallKey;
use crate::audio::SampleRate;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Buffers a worker owns: with slots of 1 ms the consumer may be 128 ms late.
pub(super) const BATCHES_PER_WORKER: usize = 128;
/// Frames in a batch beyond those of an even spread, since packets do not come evenly spread.
const UNEVEN: usize = 16;

/// What one slot of one worker heard. Dropping it gives its buffers back to the worker.
#[derive(Debug)]
pub struct AudioBatch {
    frames: Frames,
    home: Arc<Home>,
    /// Which place of `home` is that of these buffers.
    place: usize,
}

impl AudioBatch {
    /// The frames: whose, the position of the first sample since that call began, the samples (at the rate of the call).
    pub fn frames(&self) -> impl Iterator<Item = (CallKey, i64, &[i16])> {
        // Entries lie behind each other in `samples`, as they were pushed.
        self.frames.entries.iter().scan(0, |start, entry| {
            let pcm = &self.frames.samples[*start..entry.end];
            *start = entry.end;
            Some((entry.call, entry.start_sample, pcm))
        })
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.frames.entries.len()
    }

    /// Whether there is none. A worker hands over no empty batch.
    pub fn is_empty(&self) -> bool {
        self.frames.entries.is_empty()
    }
}

impl Drop for AudioBatch {
    fn drop(&mut self) {
        self.home.give_back(self.place, std::mem::take(&mut self.frames));
    }
}

/// Where empty buffers wait: a place for each.
#[derive(Debug)]
struct Home {
    places: Box<[Mutex<Option<Frames>>]>,
}

impl Home {
    /// For the worker: some buffer that is here, the first one from `from` on. Never waits: a place at which somebody is
    /// giving back just now is passed over.
    fn take(&self, from: usize) -> Option<(usize, Frames)> {
        let places = (from..self.places.len()).chain(0..from);
        places.into_iter().find_map(|place| Some((place, self.places[place].try_lock().ok()?.take()?)))
    }

    /// For the consumer.
    fn give_back(&self, place: usize, frames: Frames) {
        *self.places[place].lock().unwrap_or_else(PoisonError::into_inner) = Some(frames);
    }
}

/// The buffers of a batch. Made for 8 kHz; they grow to what higher rates need and keep that size.
#[derive(Debug, Default)]
struct Frames {
    entries: Vec<Entry>,
    samples: Vec<i16>,
}

#[derive(Debug)]
struct Entry {
    call: CallKey,
    start_sample: i64,
    /// Index behind the last sample.
    end: usize,
}

/// The worker's side: fills batches and hands them over.
#[derive(Debug)]
pub(super) struct BatchQueue {
    filled: mpsc::Sender<AudioBatch>,
    home: Arc<Home>,
    /// Where the next buffer is looked for first: they come back in the order in which they went, as a rule.
    next: usize,
    /// Frames that a batch may have.
    most: usize,
    slot: Slot,
    dropped: Dropped,
}

/// What became of the caller audio of this slot.
#[derive(Debug)]
enum Slot {
    /// Nobody was heard yet.
    Empty,
    Filling(AudioBatch),
    /// There was no buffer: frames dropped so far.
    Dropping(u64),
}

/// What a slot could not hand over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) batches: u64,
    pub(super) frames: u64,
}

impl BatchQueue {
    /// `filled` must have room for [`BATCHES_PER_WORKER`] batches of every worker that shares it. `calls` are heard in a slot
    /// when they are evenly spread.
    pub(super) fn new(filled: mpsc::Sender<AudioBatch>, calls: usize) -> Self {
        let most = calls + UNEVEN;
        let frames = || Frames {
            entries: Vec::with_capacity(most),
            samples: Vec::with_capacity(most * SampleRate::HZ_8000.frame_samples()),
        };
        let places = (0..BATCHES_PER_WORKER).map(|_| Mutex::new(Some(frames()))).collect();
        Self { filled, home: Arc::new(Home { places }), next: 0, most, slot: Slot::Empty, dropped: Dropped::default() }
    }

    /// Adds a frame to the batch of this slot; if that is full, to the next.
    pub(super) fn push(&mut self, call: CallKey, start_sample: i64, pcm: &[i16]) {
        if matches!(&self.slot, Slot::Filling(batch) if batch.len() >= self.most) {
            self.ship();
        }
        if matches!(self.slot, Slot::Empty) {
            self.slot = match self.home.take(self.next) {
                Some((place, mut frames)) => {
                    self.next = (place + 1) % BATCHES_PER_WORKER;
                    frames.entries.clear();
                    frames.samples.clear();
                    Slot::Filling(AudioBatch { frames, home: Arc::clone(&self.home), place })
                }
                None => Slot::Dropping(0),
            };
        }
        match &mut self.slot {
            Slot::Filling(AudioBatch { frames, .. }) => {
                frames.samples.extend_from_slice(pcm);
                frames.entries.push(Entry { call, start_sample, end: frames.samples.len() });
            }
            Slot::Dropping(dropped) => *dropped += 1,
            Slot::Empty => {}
        }
    }

    /// Ends the slot: what it still has goes to the consumer. What could not go, of all of the slot.
    pub(super) fn hand_over(&mut self) -> Result<(), Dropped> {
        self.ship();
        let dropped = std::mem::take(&mut self.dropped);
        if dropped == Dropped::default() { Ok(()) } else { Err(dropped) }
    }

    fn ship(&mut self) {
        let dropped = match std::mem::replace(&mut self.slot, Slot::Empty) {
            Slot::Empty => return,
            Slot::Filling(batch) => match self.filled.try_send(batch) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch)) => {
                    batch.len() as u64
                }
            },
            Slot::Dropping(frames) => frames,
        };
        self.dropped.batches += 1;
        self.dropped.frames += dropped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: CallKey = CallKey::from_serial(1);
    const BOB: CallKey = CallKey::from_serial(2);

    fn queue(room: usize) -> (BatchQueue, mpsc::Receiver<AudioBatch>) {
        let (filled, batches) = mpsc::channel(room);
        (BatchQueue::new(filled, 2), batches)
    }

    #[test]
    fn a_slot_is_one_batch_with_every_frame_in_order() {
        let (mut queue, mut batches) = queue(BATCHES_PER_WORKER);
        queue.push(ALICE, 320, &[1; 160]);
        queue.push(BOB, 0, &[2; 160]);
        queue.hand_over().unwrap();
        let batch = batches.try_recv().unwrap();
        let frames: Vec<_> = batch.frames().collect();
        assert_eq!(frames, [(ALICE, 320, &[1i16; 160][..]), (BOB, 0, &[2i16; 160][..])]);
    }

    #[test]
    fn a_slot_without_audio_wakes_nobody() {
        let (mut queue, mut batches) = queue(BATCHES_PER_WORKER);
        queue.hand_over().unwrap();
        assert!(batches.try_recv().is_err());
    }

    #[test]
    fn a_slow_consumer_loses_audio_that_is_counted_and_then_goes_on() {
        let (mut queue, mut batches) = queue(BATCHES_PER_WORKER);
        for slot in 0..BATCHES_PER_WORKER as i64 {
            queue.push(ALICE, slot * 160, &[0; 160]);
            assert_eq!(queue.hand_over(), Ok(()));
        }
        queue.push(ALICE, 0, &[0; 160]);
        queue.push(BOB, 0, &[0; 160]);
        assert_eq!(queue.hand_over(), Err(Dropped { batches: 1, frames: 2 }));

        drop(batches.try_recv().unwrap());
        queue.push(ALICE, 99, &[7; 160]);
        assert_eq!(queue.hand_over(), Ok(()), "the buffer that was given back is used again");
        let mut last = None;
        while let Ok(batch) = batches.try_recv() {
            last = Some(batch.frames().map(|(call, start, pcm)| (call, start, pcm.to_vec())).collect::<Vec<_>>());
        }
        assert_eq!(last.unwrap(), [(ALICE, 99, vec![7; 160])], "and holds nothing of what it held before");
    }

    #[test]
    fn a_consumer_that_is_interrupted_while_it_gives_a_buffer_back_does_not_hold_up_the_worker() {
        let (mut queue, mut batches) = queue(BATCHES_PER_WORKER);
        let home = Arc::clone(&queue.home);
        let interrupted = home.places[0].lock().unwrap();
        queue.push(ALICE, 0, &[7; 160]);
        assert_eq!(queue.hand_over(), Ok(()));
        assert_eq!(batches.try_recv().unwrap().place, 1);
        drop(interrupted);
    }

    #[test]
    fn buffers_are_recycled_and_do_not_grow() {
        let (mut queue, mut batches) = queue(BATCHES_PER_WORKER);
        for slot in 0..10 * BATCHES_PER_WORKER as i64 {
            queue.push(ALICE, slot * 160, &[0; 160]);
            queue.push(BOB, slot * 160, &[0; 160]);
            queue.hand_over().unwrap();
            let batch = batches.try_recv().unwrap();
            let most = 2 + UNEVEN;
            assert_eq!((batch.frames.entries.capacity(), batch.frames.samples.capacity()), (most, most * 160));
        }
    }

    #[test]
    fn more_than_fits_in_a_batch_goes_into_the_next_and_nothing_grows() {
        let (mut queue, mut batches) = queue(BATCHES_PER_WORKER);
        let most = 2 + UNEVEN;
        for n in 0..3 * most as i64 + 1 {
            queue.push(ALICE, n, &[7; 160]);
        }
        queue.hand_over().unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| batches.try_recv().ok()).collect();
        assert_eq!(taken.iter().map(AudioBatch::len).collect::<Vec<_>>(), [most, most, most, 1]);
        let positions: Vec<_> = taken.iter().flat_map(AudioBatch::frames).map(|(_, start, _)| start).collect();
        assert!(positions.is_sorted() && positions.len() == 3 * most + 1);
        assert!(taken.iter().all(|batch| batch.frames.samples.capacity() == most * 160));
    }

    #[test]
    fn without_a_consumer_the_audio_is_counted_as_dropped() {
        let (mut queue, batches) = queue(BATCHES_PER_WORKER);
        drop(batches);
        for _ in 0..2 * BATCHES_PER_WORKER {
            queue.push(ALICE, 0, &[0; 160]);
            assert_eq!(queue.hand_over(), Err(Dropped { batches: 1, frames: 1 }));
        }
    }
}
