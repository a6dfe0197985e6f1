//! Listeners and dialling on loopback sockets.

mod audiosocket;
mod dial;
mod websocket;

use super::expected::{Arrival, Register, Registration};
use super::*;
use crate::audio::Codec;
use crate::transport::{Leg, LegKeys};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
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

/// Whatever the peer sends until it ends the connection, properly or not.
async fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    // A connection with unread data is reset and not ended.
    let _ = timeout(GENEROUS, stream.read_to_end(&mut read)).await.expect("the connection is closed");
    read
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
