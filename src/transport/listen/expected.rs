//! The calls whose legs are to come, and what brings the two together.

use super::error::ExpectError;
use crate::audio::Codec;
use crate::transport::{CallHandle, Leg, LegKeys};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// What becomes of an expected leg.
pub(super) type Arrival = Result<Leg, ExpectError>;

/// A leg that is waited for: what it will be like, and where to put it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) codec: Codec,
    pub(super) keys: LegKeys,
    arrival: oneshot::Sender<Arrival>,
    serial: u64,
}

impl Wanted {
    /// Hands the leg over. If nobody waits for it any more, it is dropped and so closed.
    pub(super) fn arrived(self, arrival: Arrival) {
        drop(self.arrival.send(arrival));
    }
}

/// All legs that one listener waits for, by UUID or channel id. A lock, but not on the way of any frame.
#[derive(Clone, Debug, Default)]
pub(super) struct Register(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    wanted: HashMap<String, Wanted>,
    /// Of the entry that was made last.
    serial: u64,
}

impl Register {
    /// Waits for the leg of that name until the registration is dropped.
    pub(super) fn expect(
        &self,
        name: String,
        codec: Codec,
        keys: LegKeys,
    ) -> Result<(Registration, oneshot::Receiver<Arrival>), ExpectError> {
        let (arrival, arrived) = oneshot::channel();
        let mut entries = self.entries();
        let serial = entries.serial + 1;
        match entries.wanted.entry(name.clone()) {
            Entry::Occupied(_) => return Err(ExpectError::AlreadyExpected),
            Entry::Vacant(vacant) => vacant.insert(Wanted { codec, keys, arrival, serial }),
        };
        entries.serial = serial;
        Ok((Registration { register: self.clone(), name, serial }, arrived))
    }

    /// As [`Register::expect`], and attaches the leg to the call in the moment it comes.
    pub(super) fn attach_to(
        &self,
        name: String,
        codec: Codec,
        keys: LegKeys,
        call: CallHandle,
    ) -> Result<Expected, ExpectError> {
        let (registration, arrived) = self.expect(name, codec, keys)?;
        let (outcome, attached) = oneshot::channel();
        // Ends when the leg has come, or when the registration is gone.
        tokio::spawn(async move {
            let result = match arrived.await {
                Ok(Ok(leg)) => call.attach(leg).await.map_err(ExpectError::Attach),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(ExpectError::Stopped),
            };
            // Nobody may want to know any more.
            drop(outcome.send(result));
        });
        Ok(Expected { _registration: registration, attached })
    }

    /// Whoever waits for the leg of that name, once: a second connection of the same name is a stranger.
    pub(super) fn take(&self, name: &str) -> Option<Wanted> {
        self.entries().wanted.remove(name)
    }

    /// Waits for nothing any more.
    pub(super) fn close(&self) {
        self.entries().wanted.clear();
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing that is done under the lock can leave the entries half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a leg expected.
#[derive(Debug)]
pub(super) struct Registration {
    register: Register,
    name: String,
    serial: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut entries = self.register.entries();
        // If the leg has come, somebody else may wait for one of the same name by now.
        if entries.wanted.get(&self.name).is_some_and(|wanted| wanted.serial == self.serial) {
            entries.wanted.remove(&self.name);
        }
    }
}

/// A leg that Asterisk will connect to us for a call. Dropping this forgets it: a connection that comes later is a stranger's.
#[derive(Debug)]
#[must_use = "dropping it forgets the leg"]
pub struct Expected {
    _registration: Registration,
    attached: oneshot::Receiver<Result<(), ExpectError>>,
}

impl Expected {
    /// Resolves when the leg is attached to its call and audio flows. There is no limit of time in it: the request to Asterisk
    /// that makes the leg has one.
    ///
    /// # Errors
    /// Why there will be no leg.
    pub async fn attached(self) -> Result<(), ExpectError> {
        self.attached.await.unwrap_or(Err(ExpectError::Stopped))
    }
}
