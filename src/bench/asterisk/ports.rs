//! Free ports for an instance.

use crate::bench::random_u64;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};

/// Below the ports that the kernel gives to outgoing connections, which could take one between our look and Asterisk's
/// bind, and apart from the ranges for audio.
const FIRST: u16 = 11_000;
const COUNT: u64 = 8_000;
const ATTEMPTS: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    /// TCP.
    pub(super) http: u16,
    /// UDP.
    pub(super) sip: u16,
}

impl Ports {
    /// Two ports of `address` that nobody listens on now.
    pub(super) fn find(address: IpAddr) -> io::Result<Self> {
        let http = free(|port| TcpListener::bind((address, port)).map(drop))?;
        let sip = free(|port| UdpSocket::bind((address, port)).map(drop))?;
        Ok(Self { http, sip })
    }
}

fn free(bind: impl Fn(u16) -> io::Result<()>) -> io::Result<u16> {
    let mut last_error = None;
    for _ in 0..ATTEMPTS {
        // The remainder is below COUNT, which fits.
        let port = FIRST + (random_u64() % COUNT) as u16;
        match bind(port) {
            Ok(()) => return Ok(port),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}
