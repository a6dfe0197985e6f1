//! The UDP socket of a worker: all packets of all its calls, many to a system call, never waiting.
//!
//! Receiving goes through `nix`. Sending goes through `rustix`, because the only way to learn from `nix` how many of the
//! datagrams were sent is an iterator that reads source addresses, which a send never fills.

use super::error::TransportError;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv4Tos, Ipv6TClass, RcvBuf, RcvBufForce};
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, getsockopt, recvmmsg, setsockopt,
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams a system call receives at most.
const RECEIVE_BATCH: usize = 64;
/// Datagrams a system call sends at most.
const SEND_BATCH: usize = 32;
/// Longest datagram: 20 ms of LINEAR16 at 48 kHz have 1,932 bytes (and cross an Ethernet in two fragments), of G.711 172.
pub(super) const DATAGRAM_BYTES: usize = 2048;
/// Wanted room in the kernel: 1,000 calls for 80 ms. (A small packet occupies about 1 KiB there.)
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// DSCP "expedited forwarding" (RFC 3246) in the place of the old type-of-service byte: the class of voice.
pub(super) const EXPEDITED_FORWARDING: u8 = 46 << 2;

/// Opens the socket of a worker. Port 0 lets the system choose.
pub(super) fn bind(listen: IpAddr, port: u16) -> Result<UdpSocket, TransportError> {
    let failed = |cause: io::Error| match cause.kind() {
        ErrorKind::AddrInUse => TransportError::PortInUse { listen, port },
        ErrorKind::AddrNotAvailable => TransportError::ForeignAddress { listen },
        ErrorKind::PermissionDenied => TransportError::PortForbidden { listen, port },
        _ => TransportError::Socket { listen, port, cause },
    };
    let socket = UdpSocket::bind((listen, port)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    // Both are improvements, not needs.
    let marked = match listen {
        IpAddr::V4(_) => setsockopt(&socket, Ipv4Tos, &EXPEDITED_FORWARDING.into()),
        IpAddr::V6(_) => setsockopt(&socket, Ipv6TClass, &EXPEDITED_FORWARDING.into()),
    };
    if let Err(error) = marked {
        tracing::debug!(%listen, port, %error, "cannot mark media packets as voice (DSCP)");
    }
    // An administrator may go beyond the limit of the system. For others the kernel cuts the wish down to it, and it
    // reports twice what it gives.
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        let _ = setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER_BYTES);
    }
    let granted = getsockopt(&socket, RcvBuf).unwrap_or(0) / 2;
    if granted < RECEIVE_BUFFER_BYTES {
        let wanted = RECEIVE_BUFFER_BYTES;
        tracing::info!(port, granted, wanted, "the receive buffer is small for many calls: raise net.core.rmem_max");
    }
    Ok(socket)
}

/// The address under which the sender of a packet is looked up: without the flow label and scope of IPv6, and with an
/// IPv4 host in the form in which a socket of this family sees it. `None` when the socket can never see it.
pub(super) fn as_seen_by(local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
    match (local, remote.ip()) {
        (SocketAddr::V4(_), IpAddr::V6(ip)) => Some(SocketAddr::new(ip.to_ipv4_mapped()?.into(), remote.port())),
        (SocketAddr::V6(_), IpAddr::V4(ip)) => Some(SocketAddr::new(ip.to_ipv6_mapped().into(), remote.port())),
        _ => Some(SocketAddr::new(remote.ip(), remote.port())),
    }
}

/// A received datagram.
#[derive(Debug)]
pub(super) struct Datagram<'a> {
    pub(super) from: SocketAddr,
    pub(super) bytes: &'a [u8],
    /// It was longer than [`DATAGRAM_BYTES`]; `bytes` is only its beginning.
    pub(super) truncated: bool,
}

/// The receiving side. Its buffers are made once.
pub(super) struct Receiver {
    headers: Headers,
    buffers: Box<[[u8; DATAGRAM_BYTES]; RECEIVE_BATCH]>,
}

/// Fixed to the family of the socket, so that the kernel fills an address completely.
enum Headers {
    V4(MultiHeaders<SockaddrIn>),
    V6(MultiHeaders<SockaddrIn6>),
}

impl Receiver {
    /// For a socket that is bound to `local`. (Not `Send`: to be made on the thread that uses it.)
    pub(super) fn new(local: SocketAddr) -> Self {
        let headers = match local {
            SocketAddr::V4(_) => Headers::V4(MultiHeaders::preallocate(RECEIVE_BATCH, None)),
            SocketAddr::V6(_) => Headers::V6(MultiHeaders::preallocate(RECEIVE_BATCH, None)),
        };
        Self { headers, buffers: Box::new([[0; DATAGRAM_BYTES]; RECEIVE_BATCH]) }
    }

    /// Passes on what has arrived, up to about `most` datagrams, so that a flood cannot hold the thread.
    pub(super) fn drain(
        &mut self,
        socket: &UdpSocket,
        most: usize,
        mut each: impl FnMut(Datagram<'_>),
    ) -> Result<(), Errno> {
        let mut taken = 0;
        while taken < most {
            let received = match &mut self.headers {
                Headers::V4(headers) => receive_batch(socket, headers, &mut self.buffers, &mut each),
                Headers::V6(headers) => receive_batch(socket, headers, &mut self.buffers, &mut each),
            };
            match received {
                Ok(RECEIVE_BATCH) => taken += RECEIVE_BATCH,
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

fn receive_batch<S: SockaddrLike + Copy + Into<SocketAddr>>(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<S>,
    buffers: &mut [[u8; DATAGRAM_BYTES]; RECEIVE_BATCH],
    each: &mut impl FnMut(Datagram<'_>),
) -> Result<usize, Errno> {
    let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
    let received = recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    let mut count = 0;
    for message in received {
        count += 1;
        if let Some(address) = message.address {
            let from: SocketAddr = address.into();
            each(Datagram {
                from: SocketAddr::new(from.ip(), from.port()),
                bytes: message.iovs().next().unwrap_or(&[]),
                truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
            });
        }
    }
    Ok(count)
}

/// The sending side: collects datagrams and sends them together. Its buffers are made once; when they are full it sends
/// by itself, so no number of calls is too many.
pub(super) struct Sender {
    buffers: Box<[[u8; DATAGRAM_BYTES]; SEND_BATCH]>,
    lengths: [usize; SEND_BATCH],
    remotes: [SocketAddrAny; SEND_BATCH],
    queued: usize,
}

/// What became of the datagrams of a flush.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    pub(super) sent: u64,
    pub(super) refused: u64,
    /// The first refusal.
    pub(super) error: Option<rustix::io::Errno>,
}

impl Sender {
    pub(super) fn new() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            buffers: Box::new([[0; DATAGRAM_BYTES]; SEND_BATCH]),
            lengths: [0; SEND_BATCH],
            remotes: std::array::from_fn(|_| nowhere.into()),
            queued: 0,
        }
    }

    /// Queues one datagram: `write` puts it into the buffer and returns its length, or 0 if there is nothing to send. True when [`Self::flush`] must be called
    /// before the next one.
    pub(super) fn push(&mut self, remote: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        debug_assert!(self.queued < SEND_BATCH, "not flushed when full");
        let place = self.queued.min(SEND_BATCH - 1);
        let length = write(&mut self.buffers[place]).min(DATAGRAM_BYTES);
        if length == 0 {
            return false;
        }
        self.lengths[place] = length;
        self.remotes[place] = remote.into();
        self.queued = place + 1;
        self.queued == SEND_BATCH
    }

    /// Sends what is queued. A datagram that the kernel does not take at once is dropped, since late it would be worthless.
    pub(super) fn flush(&mut self, socket: &UdpSocket) -> Sent {
        let mut outcome = Sent::default();
        if self.queued == 0 {
            return outcome;
        }
        let slices: [[IoSlice<'_>; 1]; SEND_BATCH] =
            std::array::from_fn(|n| [IoSlice::new(&self.buffers[n][..self.lengths[n]])]);
        let mut no_control: [SendAncillaryBuffer<'_, '_, '_>; SEND_BATCH] = std::array::from_fn(|_| Default::default());
        let mut next = 0;
        let mut messages = no_control.each_mut().map(|control| {
            let message = MMsgHdr::new_with_addr(&self.remotes[next], &slices[next], control);
            next += 1;
            message
        });
        let mut rest = &mut messages[..self.queued];
        while !rest.is_empty() {
            let done = match sendmmsg(socket, rest, SendFlags::DONTWAIT) {
                Ok(sent) => {
                    outcome.sent += sent as u64;
                    sent
                }
                Err(rustix::io::Errno::INTR) => 0,
                Err(errno) => {
                    // The error is that of the first datagram; a full buffer would refuse the others as well.
                    let refused = if errno == rustix::io::Errno::AGAIN { rest.len() } else { 1 };
                    outcome.refused += refused as u64;
                    outcome.error.get_or_insert(errno);
                    refused
                }
            };
            rest = &mut rest[done..];
        }
        self.queued = 0;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::{Duration, Instant};

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn drain_until(receiver: &mut Receiver, socket: &UdpSocket, wanted: usize) -> Vec<(SocketAddr, Vec<u8>, bool)> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut got = Vec::new();
        while got.len() < wanted {
            assert!(Instant::now() < deadline, "{} of {wanted} datagrams arrived", got.len());
            receiver.drain(socket, 1024, |d| got.push((d.from, d.bytes.to_vec(), d.truncated))).unwrap();
            std::thread::yield_now();
        }
        got
    }

    fn echo(host: IpAddr) {
        let (here, there) = (bind(host, 0).unwrap(), bind(host, 0).unwrap());
        let (from, to) = (here.local_addr().unwrap(), there.local_addr().unwrap());
        let mut sender = Sender::new();
        let mut sent = 0;
        assert!(!sender.push(to, |_| 0), "what could not be written is no datagram");
        // More than a batch of either side, in an order that can be checked.
        for n in 1..=200u8 {
            let full = sender.push(to, |buffer| {
                buffer[..n as usize].fill(n);
                n as usize
            });
            if full {
                sent += sender.flush(&here).sent;
            }
        }
        sent += sender.flush(&here).sent;
        assert_eq!(sent, 200);
        let got = drain_until(&mut Receiver::new(to), &there, 200);
        let expected: Vec<_> = (1..=200u8).map(|n| (from, vec![n; n as usize], false)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn datagrams_arrive_whole_in_order_and_with_their_sender() {
        echo(LOOPBACK);
    }

    #[test]
    fn ipv6_works_where_the_machine_has_it() {
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            echo(IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
    }

    #[test]
    fn a_datagram_beyond_the_buffer_is_marked() {
        let (here, there) = (bind(LOOPBACK, 0).unwrap(), bind(LOOPBACK, 0).unwrap());
        let to = there.local_addr().unwrap();
        here.send_to(&[5; DATAGRAM_BYTES + 1], to).unwrap();
        here.send_to(&[6; DATAGRAM_BYTES], to).unwrap();
        let got = drain_until(&mut Receiver::new(to), &there, 2);
        assert_eq!(
            got.iter().map(|(_, bytes, truncated)| (bytes.len(), *truncated)).collect::<Vec<_>>(),
            [(DATAGRAM_BYTES, true), (DATAGRAM_BYTES, false)]
        );
    }

    #[test]
    fn one_refused_datagram_does_not_hold_up_the_others() {
        let (here, there) = (bind(LOOPBACK, 0).unwrap(), bind(LOOPBACK, 0).unwrap());
        let to = there.local_addr().unwrap();
        let mut sender = Sender::new();
        // A socket on loopback cannot reach a foreign network, and nobody can send to port 0.
        for remote in [to, SocketAddr::from(([127, 0, 0, 1], 0)), to] {
            sender.push(remote, |buffer| {
                buffer[0] = 9;
                1
            });
        }
        let outcome = sender.flush(&here);
        assert_eq!((outcome.sent, outcome.refused), (2, 1));
        assert!(outcome.error.is_some());
        assert_eq!(drain_until(&mut Receiver::new(to), &there, 2).len(), 2);
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = bind(LOOPBACK, 0).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(LOOPBACK, port).unwrap_err();
        assert!(matches!(error, TransportError::PortInUse { listen: LOOPBACK, port: p } if p == port), "{error:?}");
        assert!(error.to_string().contains("media.ports"));
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let documentation = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)); // RFC 5737
        let error = bind(documentation, 0).unwrap_err();
        assert!(matches!(error, TransportError::ForeignAddress { listen } if listen == documentation), "{error:?}");
    }

    #[test]
    fn an_address_is_looked_up_as_the_socket_sees_it() {
        let v4: SocketAddr = "127.0.0.1:5000".parse().unwrap();
        let v6: SocketAddr = "[::1]:5000".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:5000".parse().unwrap();
        assert_eq!(as_seen_by(v4, v4), Some(v4));
        assert_eq!(as_seen_by(v6, v6), Some(v6));
        assert_eq!(as_seen_by(v6, v4), Some(mapped));
        assert_eq!(as_seen_by(v4, mapped), Some(v4));
        assert_eq!(as_seen_by(v4, v6), None);
    }
}
