//! Connections that belong to no call, as many as there are places for: anyone may open them, so they must be bounded, and
//! yet those of Asterisk must get through.
//!
//! When all places are taken a new connection still gets one. The address with the most places gives way, with its oldest
//! connection. So:
//!
//! - there are never more than the limit, whoever connects;
//! - a crowd from one address, or from a few, displaces only itself: Asterisk at another address keeps its place however slow
//!   it is, as long as it holds fewer of them than the crowd's largest address;
//! - of a crowd at Asterisk's own address, or at more addresses than there are places, the oldest gives way. A connection
//!   is lost to it only if as many new ones as there are places come before it has said for which call it is. Asterisk says it
//!   together with connecting.
//!
//! An IPv6 address is the first 64 bits of it: whoever has one of them has them all.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// The connections. Dropping it ends all of them.
#[derive(Debug)]
pub(super) struct Crowd {
    limit: usize,
    /// The oldest first.
    places: VecDeque<Place>,
    tasks: TaskTracker,
    runtime: Handle,
}

#[derive(Debug)]
struct Place {
    source: IpAddr,
    give_way: oneshot::Sender<()>,
}

impl Crowd {
    /// To be called on a runtime. `limit` is not 0.
    pub(super) fn new(limit: usize) -> Self {
        let tasks = TaskTracker::new();
        // That is, [`Self::tasks`] may be waited for.
        tasks.close();
        Self { limit, places: VecDeque::with_capacity(limit), tasks, runtime: Handle::current() }
    }

    /// Gives a connection a place and lets it run. If it has to give way, it is dropped and `displaced` called.
    pub(super) fn admit<C, D>(&mut self, remote: SocketAddr, connection: C, displaced: D)
    where
        C: Future<Output = ()> + Send + 'static,
        D: FnOnce() + Send + 'static,
    {
        self.places.retain(|place| !place.give_way.is_closed());
        if self.places.len() >= self.limit {
            self.make_room();
        }
        let (give_way, told) = oneshot::channel();
        self.places.push_back(Place { source: source(remote), give_way });
        let run = async move {
            tokio::select! {
                biased;
                () = connection => {}
                told = told => if told.is_ok() { displaced() },
            }
        };
        self.tasks.spawn_on(run, &self.runtime);
    }

    /// What runs, to be waited for.
    pub(super) fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    fn make_room(&mut self) {
        let mut held: HashMap<IpAddr, usize> = HashMap::with_capacity(self.places.len());
        for place in &self.places {
            *held.entry(place.source).or_default() += 1;
        }
        let most = held.values().max();
        let oldest = self.places.iter().position(|place| held.get(&place.source) == most);
        if let Some(place) = oldest.and_then(|oldest| self.places.remove(oldest)) {
            // It may have ended by itself meanwhile.
            let _ = place.give_way.send(());
        }
    }
}

/// Whom a connection is counted for.
fn source(remote: SocketAddr) -> IpAddr {
    match remote.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::mpsc;

    /// Who is displaced, in this order, when connections come from these addresses and say nothing.
    async fn displaced(limit: usize, sources: &[&str]) -> Vec<usize> {
        let (tell, mut told) = mpsc::unbounded_channel();
        let mut crowd = Crowd::new(limit);
        for (n, source) in sources.iter().enumerate() {
            let tell = tell.clone();
            crowd.admit(SocketAddr::new(source.parse().unwrap(), 1000), pending(), move || tell.send(n).unwrap());
        }
        drop(tell);
        let mut displaced = Vec::new();
        for _ in limit..sources.len() {
            displaced.push(told.recv().await.unwrap());
        }
        // The others go with the crowd, but nobody displaced them.
        drop(crowd);
        assert_eq!(told.recv().await, None);
        displaced.sort_unstable();
        displaced
    }

    #[tokio::test]
    async fn the_oldest_of_the_address_with_the_most_gives_way() {
        assert_eq!(displaced(3, &["192.0.2.1"; 5]).await, [0, 1]);
        assert_eq!(displaced(3, &["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2", "192.0.2.3"]).await, [1, 2]);
        assert_eq!(displaced(2, &["192.0.2.1", "192.0.2.2", "192.0.2.3"]).await, [0]);
        assert_eq!(displaced(3, &["192.0.2.1", "::ffff:192.0.2.2", "192.0.2.2", "192.0.2.3"]).await, [1]);
        assert_eq!(displaced(3, &["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::"]).await, [1]);
    }

    #[tokio::test]
    async fn what_has_ended_has_no_place() {
        let mut crowd = Crowd::new(1);
        let remote = SocketAddr::from(([192, 0, 2, 1], 1000));
        for _ in 0..3 {
            crowd.admit(remote, async {}, || panic!("there is room"));
            crowd.tasks().wait().await;
        }
    }
}
