//! Listeners and dialling on loopback sockets.

mod audiosocket;
mod dial;
mod websocket;

use super::expected::{Arrival, Register, Registration};
use super::*;
use crate::audio::{Codec, SampleRate};
use crate::call::CallId;
use crate::transport::{AudioBatch, CallHandle, Driver, Leg, LegKeys, NewCall, WorkerSettings, Workers};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Much longer than anything here takes.
const GENEROUS: Duration = Duration::from_secs(20);

/// Waits for the leg of that name as [`Register::attach_to`] does, without a call to attach it to.
fn expect(register: &Register, name: &str, codec: Codec) -> (Registration, oneshot::Receiver<Arrival>) {
    register.expect(name.to_owned(), codec, LegKeys::FromAri).unwrap()
}

async fn arrival(arrived: oneshot::Receiver<Arrival>) -> Arrival {
    timeout(GENEROUS, arrived).await.expect("in time").expect("still expected")
}

/// One worker on a port of the system's choice.
fn one_worker() -> (Workers, mpsc::Receiver<AudioBatch>) {
    let settings = WorkerSettings::new(ANY_PORT.ip(), 0..=0);
    Workers::start(WorkerSettings { workers: NonZeroUsize::new(1), ..settings }).unwrap()
}

/// A call at 8 kHz that waits for its leg.
async fn echo(workers: &Workers) -> CallHandle {
    let (outputs, mut taken) = mpsc::channel(64);
    tokio::spawn(async move { while taken.recv().await.is_some() {} });
    let call = CallId::new("test").unwrap();
    workers.assign().add(NewCall { call, driver: Driver::Echo(SampleRate::HZ_8000), outputs }).await.unwrap()
}

/// Waits until the peer has ended the connection, properly or not, without a word.
async fn assert_closed(stream: &mut TcpStream) {
    let mut read = Vec::new();
    // A connection with unread data is reset and not ended.
    let _ = timeout(GENEROUS, stream.read_to_end(&mut read)).await.expect("the connection is closed");
    assert!(read.is_empty(), "{read:02x?}");
}

/// Waits until the peer has ended the connection in an orderly way, without a word. After anything else than such an end the
/// dialplan application `AudioSocket()` hangs the caller up.
async fn assert_ended(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let ended = timeout(GENEROUS, stream.read_to_end(&mut read)).await.expect("the connection is ended");
    assert!(matches!(ended, Ok(0)), "{ended:?} {read:02x?}");
}

/// Waits until that many connections were accepted, without a timer: a clock that stands still would jump to its end.
async fn accepted(counts: impl Fn() -> ListenCounts, connections: u64) {
    let deadline = std::time::Instant::now() + GENEROUS;
    while counts().connections < connections {
        assert!(std::time::Instant::now() < deadline, "{:?}", counts());
        tokio::task::yield_now().await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(GENEROUS, wait).await.expect("it becomes true");
}

/// The next bytes of a leg's connection, which is the media thread's from then on.
fn read_exactly(stream: &mut std::net::TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(GENEROUS)).unwrap();
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
