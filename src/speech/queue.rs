//! The bounded queue of a session: many senders, one receiver, and no memory for what is not in it. A call has nine of them and
//! all but one are empty most of the time; those of `tokio` keep room for 32 messages each, 20 KiB a call.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, Semaphore, TryAcquireError};

/// Room that is kept when the queue is empty; more than this is given back.
const KEPT: usize = 4;

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    /// One permit for each message that there is room for. Closed when the receiver is gone.
    room: Semaphore,
    /// Whoever waits for the receiver to go.
    gone: Notify,
}

struct Queue<T> {
    messages: VecDeque<T>,
    senders: usize,
    /// The receiver, when it waits.
    waiting: Option<Waker>,
}

impl<T> Shared<T> {
    /// Held for a few instructions; no code of others runs meanwhile.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in, for which there is a permit.
    fn put(&self, message: T) {
        let waker = {
            let mut queue = self.lock();
            queue.messages.push_back(message);
            queue.waiting.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Nobody receives any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is over")]
pub struct Closed;

/// Why there is no room at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The queue is full.
    #[error("the session has no room for a message")]
    Full,
    /// Nobody receives any more.
    #[error("the session is over")]
    Closed,
}

/// A queue for `limit` messages.
pub fn bounded<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let queue = Queue { messages: VecDeque::new(), senders: 1, waiting: None };
    let shared = Shared { queue: Mutex::new(queue), room: Semaphore::new(limit), gone: Notify::new() };
    let shared = Arc::new(shared);
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The entrance. When the last one is dropped the receiver gets what is left, and then the end.
pub struct Sender<T>(Arc<Shared<T>>);

impl<T> Sender<T> {
    /// Puts a message in as soon as there is room. Senders that wait are served in order.
    ///
    /// # Errors
    /// When the receiver is gone; the message is dropped.
    pub async fn send(&self, message: T) -> Result<(), Closed> {
        self.reserve().await?.send(message);
        Ok(())
    }

    /// Puts a message in.
    ///
    /// # Errors
    /// When there is no room now or the receiver is gone; the message is dropped.
    pub fn try_send(&self, message: T) -> Result<(), NoRoom> {
        self.try_reserve()?.send(message);
        Ok(())
    }

    /// Waits for room for one message.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn reserve(&self) -> Result<Permit<'_, T>, Closed> {
        self.0.room.acquire().await.map_err(|_| Closed)?.forget();
        Ok(Permit(Some(&self.0)))
    }

    /// Room for one message.
    ///
    /// # Errors
    /// When there is none now or the receiver is gone.
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, NoRoom> {
        match self.0.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Err(NoRoom::Full),
            Err(TryAcquireError::Closed) => return Err(NoRoom::Closed),
        }
        Ok(Permit(Some(&self.0)))
    }

    /// Waits until the receiver is gone.
    pub async fn closed(&self) {
        // Before the check: what happens between the two is not missed.
        let gone = self.0.gone.notified();
        if !self.is_closed() {
            gone.await;
        }
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.0.room.is_closed()
    }

    /// How many more messages there is room for.
    pub fn capacity(&self) -> usize {
        self.0.room.available_permits()
    }

    /// Looks on without keeping the queue open.
    pub(super) fn onlooker(&self) -> Onlooker<T> {
        Onlooker(Arc::downgrade(&self.0))
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.lock().senders += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut queue = self.0.lock();
            queue.senders -= 1;
            if queue.senders == 0 { queue.waiting.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

/// Room for one message. Dropped unused, it is given back.
pub struct Permit<'a, T>(Option<&'a Shared<T>>);

impl<T> Permit<'_, T> {
    /// Puts the message in.
    pub fn send(mut self, message: T) {
        if let Some(shared) = self.0.take() {
            shared.put(message);
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.room.add_permits(1);
        }
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// Sees whether both ends are there.
pub(super) struct Onlooker<T>(Weak<Shared<T>>);

impl<T> Onlooker<T> {
    /// Whether there are a sender and a receiver.
    pub(super) fn is_open(&self) -> bool {
        self.0.upgrade().is_some_and(|shared| !shared.room.is_closed() && shared.lock().senders > 0)
    }
}

/// The exit.
pub struct Receiver<T>(Arc<Shared<T>>);

impl<T> Receiver<T> {
    /// The next message; `None` when there is none and there will be none. Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next message, as [`Receiver::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut queue = self.0.lock();
        if let Some(message) = queue.messages.pop_front() {
            if queue.messages.is_empty() {
                queue.messages.shrink_to(KEPT);
            }
            drop(queue);
            self.0.room.add_permits(1);
            return Poll::Ready(Some(message));
        }
        if queue.senders == 0 {
            return Poll::Ready(None);
        }
        match &mut queue.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.0.room.close();
        self.0.gone.notify_waiters();
        // Dropped outside of the lock: a message may hold a sender of this queue.
        let messages = std::mem::take(&mut self.0.lock().messages);
        drop(messages);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("messages", &self.0.lock().messages.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn messages_come_in_order_and_then_the_end() {
        let (sender, mut receiver) = bounded(3);
        let second = sender.clone();
        sender.send(1).await.unwrap();
        second.try_send(2).unwrap();
        drop(sender);
        second.send(3).await.unwrap();
        drop(second);
        assert_eq!([receiver.recv().await, receiver.recv().await, receiver.recv().await], [Some(1), Some(2), Some(3)]);
        assert_eq!(receiver.recv().await, None);
    }

    #[tokio::test]
    async fn a_full_queue_lets_its_senders_wait_in_order() {
        let (sender, mut receiver) = bounded(1);
        sender.send(0).await.unwrap();
        assert_eq!((sender.try_send(9), sender.capacity()), (Err(NoRoom::Full), 0));
        let waiting: Vec<_> = (1..=3)
            .map(|number| {
                let sender = sender.clone();
                tokio::spawn(async move { sender.send(number).await })
            })
            .collect();
        for number in 0..=3 {
            assert_eq!(receiver.recv().await, Some(number));
        }
        for sender in waiting {
            sender.await.unwrap().unwrap();
        }
        assert_eq!(sender.capacity(), 1);
    }

    #[tokio::test]
    async fn a_permit_that_is_not_used_is_given_back() {
        let (sender, _receiver) = bounded::<u8>(1);
        let permit = sender.reserve().await.unwrap();
        assert!(matches!(sender.try_reserve(), Err(NoRoom::Full)));
        drop(permit);
        assert!(sender.try_reserve().is_ok());
    }

    #[tokio::test]
    async fn a_receiver_that_goes_is_told_to_all_and_its_messages_are_freed() {
        let (sender, receiver) = bounded(1);
        let message = Arc::new(());
        sender.send(Arc::clone(&message)).await.unwrap();
        let onlooker = sender.onlooker();
        assert!(onlooker.is_open() && sender.closed().now_or_never().is_none());
        let waits = tokio::spawn({
            let (sender, message) = (sender.clone(), Arc::clone(&message));
            async move { (sender.send(message).await, sender.closed().await) }
        });
        tokio::task::yield_now().await;
        drop(receiver);
        assert_eq!(waits.await.unwrap(), (Err(Closed), ()));
        sender.closed().await;
        assert_eq!(sender.try_send(Arc::clone(&message)), Err(NoRoom::Closed));
        assert!(sender.is_closed() && !onlooker.is_open());
        assert_eq!(Arc::strong_count(&message), 1);
    }

    #[tokio::test]
    async fn room_for_many_messages_is_given_back() {
        let (sender, mut receiver) = bounded(100);
        for number in 0..100 {
            sender.send(number).await.unwrap();
        }
        for _ in 0..100 {
            receiver.recv().await;
        }
        assert!(receiver.0.lock().messages.capacity() <= KEPT);
    }
}
