//! The socket of all calls. Each call has an IP address of its own (all of 127/8 is this machine on Linux), with the same
//! port, so that one socket serves all and the server can still tell the calls apart by where they send from.

use super::super::caller_audio::StampCode;
use super::legs::{Far, Wire};
use super::meter::Arrived;
use crate::audio::{ByteOrder, Codec};
use crate::wire::rtp::{HEADER_BYTES, RtpHeader, RtpPacket, extend_timestamp};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::sockopt::{BindToDevice, Ipv4PacketInfo, RcvBuf, ReceiveTimestampns, SndBuf};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, bind,
    recvmmsg, sendmsg, setsockopt, socket,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;

/// Datagrams a system call receives at most.
const BATCH: usize = 64;
const DATAGRAM_BYTES: usize = 2048;
/// Room in the kernel for what the server sends while this thread does something else.
const BUFFER_BYTES: usize = 4 << 20;
/// Address of call 0 is the one after this.
const FIRST_ADDRESS: u32 = u32::from_be_bytes([127, 64, 0, 0]);

/// The address of a call.
pub(super) fn address(call: usize) -> Ipv4Addr {
    Ipv4Addr::from(FIRST_ADDRESS + 1 + call as u32)
}

/// The call with this address, if it is one of a call.
fn call_at(address: u32) -> Option<usize> {
    address.checked_sub(FIRST_ADDRESS + 1).map(|call| call as usize)
}

/// One datagram of the server.
pub(super) struct Datagram<'a> {
    pub(super) call: usize,
    pub(super) from: SocketAddrV4,
    /// When the kernel had it: nanoseconds of the real-time clock.
    pub(super) at_ns: u64,
    pub(super) bytes: &'a [u8],
}

/// The socket and the buffers of its receiving side.
pub(super) struct RtpSocket {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
}

/// Opens the socket on a port that the system chooses.
pub(super) fn open() -> io::Result<UdpSocket> {
    // Options before the bind: every packet has its time and its address.
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&fd, ReceiveTimestampns, &true)?;
    setsockopt(&fd, Ipv4PacketInfo, &true)?;
    // Nobody outside is to reach it; a system that forbids this has other ways.
    let _ = setsockopt(&fd, BindToDevice, &"lo".into());
    // The kernel cuts both down to its limit. What is lost for want of room is counted.
    let _ = setsockopt(&fd, RcvBuf, &BUFFER_BYTES);
    let _ = setsockopt(&fd, SndBuf, &BUFFER_BYTES);
    bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 0))?;
    Ok(fd.into())
}

impl RtpSocket {
    /// To be made on the thread that uses it.
    pub(super) fn new(socket: UdpSocket) -> Self {
        let space = nix::cmsg_space!(libc::timespec, libc::in_pktinfo);
        let headers = MultiHeaders::preallocate(BATCH, Some(space));
        Self { socket, headers, buffers: Box::new([[0; DATAGRAM_BYTES]; BATCH]) }
    }

    /// Passes on everything that has arrived.
    pub(super) fn drain(&mut self, mut each: impl FnMut(Datagram<'_>)) {
        loop {
            let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let received =
                recvmmsg(self.socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
            let received = match received {
                Ok(received) => received,
                Err(Errno::EINTR) => continue,
                // An error of an earlier send (nobody listens there any more) says nothing about what is to be received.
                Err(Errno::ECONNREFUSED) => continue,
                Err(_) => return,
            };
            let mut count = 0;
            for message in received {
                count += 1;
                let (mut call, mut at_ns) = (None, None);
                for control in message.cmsgs().into_iter().flatten() {
                    match control {
                        ControlMessageOwned::ScmTimestampns(time) => {
                            at_ns = Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64);
                        }
                        ControlMessageOwned::Ipv4PacketInfo(info) => call = call_at(u32::from_be(info.ipi_addr.s_addr)),
                        _ => {}
                    }
                }
                if let (Some(call), Some(at_ns), Some(from)) = (call, at_ns, message.address) {
                    let bytes = message.iovs().next().unwrap_or_default();
                    each(Datagram { call, from: SocketAddrV4::new(from.ip(), from.port()), at_ns, bytes });
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    /// Sends a datagram from the address of a call. False if the kernel did not take it.
    pub(super) fn send(&self, call: usize, remote: &SockaddrIn, datagram: &[u8]) -> bool {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(address(call)).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let slices = [IoSlice::new(datagram)];
        let send = || sendmsg(self.socket.as_raw_fd(), &slices, &control, MsgFlags::MSG_DONTWAIT, Some(remote));
        match send() {
            // The error is that of an earlier datagram.
            Err(Errno::ECONNREFUSED | Errno::EINTR) => send().is_ok(),
            sent => sent.is_ok(),
        }
    }
}

/// Payload type and clock of what Asterisk sends for a codec.
const fn payload_format(codec: Codec) -> (u8, u32) {
    match codec {
        Codec::G711(law) => (law.payload_type(), 8000),
        // 16 kHz audio under a clock of 8 kHz (RFC 3551, 4.5.2).
        Codec::G722 => (9, 8000),
        Codec::Opus => (107, 48_000),
        Codec::Linear16(rate) => match rate.hz() {
            48_000.. => (126, rate.hz()),
            24_000.. => (123, rate.hz()),
            16_000.. => (118, rate.hz()),
            _ => (10, rate.hz()),
        },
    }
}

/// The clock of what the server sends.
const fn clock_of(payload_type: u8) -> u32 {
    match payload_type {
        118 => 16_000,
        123 => 24_000,
        107 | 126 => 48_000,
        _ => 8000,
    }
}

/// RTP: all calls over one socket.
pub(super) struct RtpWire {
    socket: RtpSocket,
    stamps: StampCode,
    payload_type: u8,
    step: u32,
    legs: Vec<Option<RtpLeg>>,
}

struct RtpLeg {
    remote: SocketAddrV4,
    address: SockaddrIn,
    header: RtpHeader,
    /// The last timestamp of the server, without the wrap.
    timestamp: Option<i64>,
}

impl RtpWire {
    pub(super) fn new(socket: UdpSocket, codec: Codec, calls: usize) -> Self {
        let (payload_type, clock_hz) = payload_format(codec);
        Self {
            socket: RtpSocket::new(socket),
            stamps: StampCode::of(codec, ByteOrder::Big),
            payload_type,
            step: clock_hz / 50,
            legs: (0..calls).map(|_| None).collect(),
        }
    }
}

impl Wire for RtpWire {
    fn attach(&mut self, call: usize, far: Far) {
        let Far::Address(SocketAddr::V4(remote)) = far else { return };
        let random = crate::bench::random_u64();
        let header = RtpHeader {
            payload_type: self.payload_type,
            marker: false,
            sequence: random as u16,
            timestamp: (random >> 16) as u32,
            ssrc: (random >> 32) as u32,
        };
        self.legs[call] = Some(RtpLeg { remote, address: remote.into(), header, timestamp: None });
    }

    fn detach(&mut self, call: usize) {
        self.legs[call] = None;
    }

    fn drain(&mut self, each: &mut dyn FnMut(usize, Arrived)) {
        let Self { socket, stamps, legs, .. } = self;
        socket.drain(|datagram| {
            let Some(Some(leg)) = legs.get_mut(datagram.call) else { return };
            let Ok(packet) = RtpPacket::parse(datagram.bytes) else { return };
            if datagram.from != leg.remote {
                return;
            }
            let timestamp =
                extend_timestamp(leg.timestamp.unwrap_or(i64::from(packet.timestamp())), packet.timestamp());
            leg.timestamp = Some(timestamp);
            let arrived = Arrived {
                at_ns: datagram.at_ns,
                sequence: packet.sequence(),
                position_ns: timestamp * 1_000_000_000 / i64::from(clock_of(packet.payload_type())),
                stamp: stamps.read(packet.payload(), datagram.at_ns),
            };
            each(datagram.call, arrived);
        });
    }

    fn visit(&mut self, _: usize, _: &mut dyn FnMut(usize, Arrived)) {}

    fn send(&mut self, call: usize, payload: &[u8]) {
        let Some(leg) = &mut self.legs[call] else { return };
        let mut datagram = [0; DATAGRAM_BYTES];
        let Some(header) = datagram.first_chunk_mut() else { return };
        leg.header.write(header);
        datagram[HEADER_BYTES..HEADER_BYTES + payload.len()].copy_from_slice(payload);
        leg.header.sequence = leg.header.sequence.wrapping_add(1);
        leg.header.timestamp = leg.header.timestamp.wrapping_add(self.step);
        // What the kernel does not take is lost, as on a network, and shows as that.
        self.socket.send(call, &leg.address, &datagram[..HEADER_BYTES + payload.len()]);
    }

    fn stamps(&self) -> StampCode {
        self.stamps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn calls_have_addresses_of_their_own() {
        assert_eq!(address(0), Ipv4Addr::new(127, 64, 0, 1));
        assert_eq!(address(999), Ipv4Addr::new(127, 64, 3, 232));
        assert_eq!(call_at(u32::from(address(999))), Some(999));
        assert_eq!(call_at(u32::from(Ipv4Addr::LOCALHOST)), None);
    }

    #[test]
    fn datagrams_leave_from_the_address_of_their_call_and_come_back_to_it() {
        let other = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let remote = other.local_addr().unwrap();
        let socket = open().unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut socket = RtpSocket::new(socket);
        let std::net::SocketAddr::V4(v4) = remote else { panic!() };
        for call in 0..200 {
            assert!(socket.send(call, &v4.into(), &[call as u8; 40]));
            let mut bytes = [0; 100];
            let (length, from) = other.recv_from(&mut bytes).unwrap();
            assert_eq!((from, length), ((address(call), port).into(), 40));
            other.send_to(&bytes[..length], from).unwrap();
        }
        let mut came = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while came.len() < 200 && Instant::now() < deadline {
            socket.drain(|datagram| came.push((datagram.call, datagram.bytes.to_vec(), datagram.at_ns)));
        }
        let now = super::super::super::real_time_ns();
        for (n, (call, bytes, at_ns)) in came.iter().enumerate() {
            assert_eq!((*call, bytes.as_slice()), (n, &[n as u8; 40][..]));
            assert!(now.abs_diff(*at_ns) < 20_000_000_000, "a time of the real-time clock");
        }
        assert_eq!(came.len(), 200);
    }
}
