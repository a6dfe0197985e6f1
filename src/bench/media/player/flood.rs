//! Packets from a stranger: what a scanner, or a misguided stream, does to the server's port.

use super::super::pace::Pace;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// An address that no call has.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 127, 0, 1);
const STEP: Duration = Duration::from_millis(1);
/// Looks like RTP at first sight, so that it is not dropped for its form.
const GARBAGE: [u8; 172] = {
    let mut bytes = [0x55; 172];
    bytes[0] = 0x80;
    bytes[1] = 0;
    bytes
};

/// A flood while it lasts.
pub(super) struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

impl Flood {
    /// Begins to send so many packets a second.
    pub(super) fn start(remote: SocketAddr, packets_a_second: u32) -> io::Result<Self> {
        let socket = UdpSocket::bind((STRANGER, 0))?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::Builder::new().name("flood".to_owned()).spawn(move || {
            let mut pace = Pace::start(STEP)?;
            while !stopped.load(Ordering::Relaxed) {
                let due = (pace.wait().as_secs_f64() * f64::from(packets_a_second)) as u64;
                // After a long sleep it does not make good more than a burst.
                for _ in count.load(Ordering::Relaxed)..due.min(count.load(Ordering::Relaxed) + 1000) {
                    // One that is not taken is one less.
                    let _ = socket.send_to(&GARBAGE, remote);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        })?;
        Ok(Self { stop, sent, thread })
    }

    /// Ends it and says how many packets were sent.
    pub(super) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        // Its errors have been seen as packets that were not sent.
        let _ = self.thread.join();
        self.sent.load(Ordering::Relaxed)
    }
}
