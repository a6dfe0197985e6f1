//! Takes the batches of caller audio that the media workers hand over, one a slot, and gives each frame to the
//! recogniser of its call.

use crate::speech::failover::AudioSender;
use crate::transport::{AudioBatch, CallKey};
use std::collections::HashMap;
use tokio::sync::mpsc;

/// Calls that may be waiting to be added or removed. Whoever adds waits; the workers never do.
const CHANGES: usize = 64;

enum Change {
    Add(CallKey, AudioSender),
    Remove(CallKey),
}

/// The entrance to the pump. Cheap to clone; the pump ends when the last one and the workers are gone.
#[derive(Clone, Debug)]
pub(super) struct Pump {
    changes: mpsc::Sender<Change>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Add(key, _) => write!(f, "Add({key})"),
            Self::Remove(key) => write!(f, "Remove({key})"),
        }
    }
}

impl Pump {
    /// Starts it on the batches of all workers.
    pub(super) fn start(mut batches: mpsc::Receiver<AudioBatch>) -> Self {
        let (changes, mut wanted) = mpsc::channel(CHANGES);
        tokio::spawn(async move {
            let mut calls: HashMap<CallKey, AudioSender> = HashMap::new();
            loop {
                tokio::select! {
                    biased;
                    change = wanted.recv() => match change {
                        Some(Change::Add(key, sender)) => { calls.insert(key, sender); }
                        Some(Change::Remove(key)) => { calls.remove(&key); }
                        None => break,
                    },
                    batch = batches.recv() => match batch {
                        Some(batch) => deliver(&batch, &calls),
                        None => break,
                    },
                }
            }
        });
        Self { changes }
    }

    pub(super) async fn add(&self, key: CallKey, sender: AudioSender) {
        // The pump lives as long as the server; after it there is no call to add.
        let _ = self.changes.send(Change::Add(key, sender)).await;
    }

    pub(super) async fn remove(&self, key: CallKey) {
        let _ = self.changes.send(Change::Remove(key)).await;
    }
}

fn deliver(batch: &AudioBatch, calls: &HashMap<CallKey, AudioSender>) {
    for (key, start_sample, pcm) in batch.frames() {
        if let Some(sender) = calls.get(&key) {
            sender.audio(start_sample, pcm);
        }
    }
}
