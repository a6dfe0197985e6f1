//! Audio of clauses that were spoken before, shared by all calls: a greeting or a question that is put again costs no
//! inference, and calls that want the same clause at the same time wait for one of them to make it.

use crate::audio::SampleRate;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Clauses that are kept. Beyond that the one goes that was not wanted for longest.
const CLAUSES: usize = 64;
/// Longer clauses are not kept, so that all together are bounded: 20 MB at 8 kHz.
const LONGEST: Duration = Duration::from_secs(20);
/// How long one call waits for another to make the clause, before it goes on by itself: the other may be held up by a
/// caller's connection. Less than the three seconds that a call gives its synthesiser for the first audio.
const PATIENCE: Duration = Duration::from_secs(2);

/// A clause as it sounds at one rate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    text: Arc<str>,
    rate: SampleRate,
}

/// The clauses. Nothing is kept of one that was not finished.
#[derive(Debug, Default)]
pub(super) struct SpokenClauses {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Counts the look-ups, to know what was wanted last.
    clock: u64,
}

#[derive(Debug)]
enum Entry {
    Spoken {
        pcm: Arc<[i16]>,
        wanted: u64,
    },
    /// A call is at it; the channel closes when it is done or gives up. At most one such entry a call.
    BeingMade(watch::Receiver<()>),
}

/// What there is of a clause.
#[derive(Debug)]
pub(super) enum Found {
    /// All of it.
    Spoken(Arc<[i16]>),
    /// Nothing: it is for this call to make it, and to let the others have it.
    Missing(Recording),
    /// Another call makes it, slowly: make it without sharing it.
    Late,
}

/// A clause that is being made for all. Dropped before it is finished it leaves nothing, and the next call makes it.
#[derive(Debug)]
pub(super) struct Recording {
    clauses: Arc<SpokenClauses>,
    key: Key,
    pcm: Vec<i16>,
    /// Closes when this is dropped.
    _made: watch::Sender<()>,
}

impl SpokenClauses {
    /// Finds a clause, or waits a while for the call that is making it.
    pub(super) async fn find(self: &Arc<Self>, text: &str, rate: SampleRate) -> Found {
        let key = Key { text: text.into(), rate };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut made = match self.look_up(&key) {
                Ok(found) => return found,
                Err(made) => made,
            };
            // Nothing is ever sent, so this ends with the channel.
            if timeout_at(deadline, made.changed()).await.is_err() {
                return Found::Late;
            }
        }
    }

    fn look_up(self: &Arc<Self>, key: &Key) -> Result<Found, watch::Receiver<()>> {
        let mut state = self.lock();
        state.clock += 1;
        let now = state.clock;
        match state.entries.get_mut(key) {
            Some(Entry::Spoken { pcm, wanted }) => {
                *wanted = now;
                Ok(Found::Spoken(Arc::clone(pcm)))
            }
            Some(Entry::BeingMade(made)) => Err(made.clone()),
            None => {
                let (sender, made) = watch::channel(());
                state.entries.insert(key.clone(), Entry::BeingMade(made));
                let clauses = Arc::clone(self);
                Ok(Found::Missing(Recording { clauses, key: key.clone(), pcm: Vec::new(), _made: sender }))
            }
        }
    }

    /// No code that can panic runs under the lock, so a poisoned one would still be whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recording {
    /// The next samples. Gives the recording back unless the clause is too long to be kept.
    pub(super) fn push(mut self, pcm: &[i16]) -> Option<Self> {
        self.pcm.extend_from_slice(pcm);
        (self.pcm.len() as i64 <= self.key.rate.samples_in(LONGEST)).then_some(self)
    }

    /// The clause is complete: it is kept, and whoever waits for it has it.
    pub(super) fn finish(mut self) {
        let mut state = self.clauses.lock();
        let pcm = std::mem::take(&mut self.pcm).into();
        let wanted = state.clock;
        state.entries.insert(self.key.clone(), Entry::Spoken { pcm, wanted });
        let spoken = |(key, entry): (&Key, &Entry)| match entry {
            Entry::Spoken { wanted, .. } => Some((*wanted, key.clone())),
            Entry::BeingMade(_) => None,
        };
        if state.entries.values().filter(|entry| matches!(entry, Entry::Spoken { .. })).count() > CLAUSES
            && let Some((_, oldest)) = state.entries.iter().filter_map(spoken).min_by_key(|(wanted, _)| *wanted)
        {
            state.entries.remove(&oldest);
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut state = self.clauses.lock();
        if matches!(state.entries.get(&self.key), Some(Entry::BeingMade(_))) {
            state.entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::HZ_8000;

    async fn missing(clauses: &Arc<SpokenClauses>, text: &str) -> Recording {
        match clauses.find(text, RATE).await {
            Found::Missing(recording) => recording,
            found => panic!("{text} is there: {found:?}"),
        }
    }

    async fn is_spoken(clauses: &Arc<SpokenClauses>, text: &str) -> bool {
        matches!(clauses.find(text, RATE).await, Found::Spoken(_))
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_want_the_same_clause_wait_for_the_one_who_makes_it() {
        let clauses = Arc::default();
        let recording = missing(&clauses, "Hello.").await;
        let waiting = tokio::spawn({
            let clauses = Arc::clone(&clauses);
            async move { clauses.find("Hello.", RATE).await }
        });
        tokio::task::yield_now().await;
        recording.push(&[1, 2]).unwrap().push(&[3]).unwrap().finish();
        let Found::Spoken(pcm) = waiting.await.unwrap() else { panic!("not spoken") };
        assert_eq!(*pcm, [1, 2, 3]);
        assert!(matches!(clauses.find("Hello.", SampleRate::HZ_16000).await, Found::Missing(_)), "another rate");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clause_that_was_not_finished_is_made_by_the_next_who_wants_it() {
        let clauses = Arc::default();
        let recording = missing(&clauses, "Hello.").await.push(&[1]).unwrap();
        assert!(matches!(clauses.find("Hello.", RATE).await, Found::Late), "nobody waits for ever");
        drop(recording);
        missing(&clauses, "Hello.").await.finish();
        assert!(is_spoken(&clauses, "Hello.").await);
    }

    #[tokio::test]
    async fn the_clauses_wanted_last_are_kept_and_none_that_is_too_long() {
        let clauses = Arc::default();
        for index in 0..CLAUSES {
            missing(&clauses, &index.to_string()).await.finish();
        }
        assert!(is_spoken(&clauses, "0").await);
        missing(&clauses, "another").await.finish();
        assert!(is_spoken(&clauses, "0").await && is_spoken(&clauses, "another").await);
        assert!(!is_spoken(&clauses, "1").await, "the one that was not wanted for longest");
        let long = vec![0; RATE.samples_in(LONGEST) as usize];
        assert!(missing(&clauses, "long").await.push(&long).unwrap().push(&[0]).is_none());
        assert!(!is_spoken(&clauses, "long").await);
    }
}
