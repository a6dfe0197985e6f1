//! The least that a media path can cost: a UDP echo with one thread, one socket, batched system calls and a clock of
//! 20 ms for what it sends. No jitter buffer, no codec, no state of a call.

use super::messages::{BaselineOrder, Listening, answer, orders};
use super::pace::{Pace, hurry};
use crate::wire::rtp::{HEADER_BYTES, RtpHeader, RtpPacket};
use nix::errno::Errno;
use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, setsockopt};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// The wheel of the server: what it pays for waking up, this pays too.
const SLOT: Duration = Duration::from_millis(1);
const SLOTS: usize = 20;
const BATCH: usize = 64;
const DATAGRAM_BYTES: usize = 2048;

/// Runs until standard input is closed.
pub(super) fn be() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut orders = orders();
    let Some(BaselineOrder::Begin { calls, port }) = runtime.block_on(orders.recv()) else { return Ok(()) };
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nonblocking(true)?;
    let _ = setsockopt(&socket, RcvBuf, &(4 << 20));
    answer(&Listening { address: socket.local_addr()? })?;
    // It ends with the process, whose main thread waits for the end of the orders.
    std::thread::Builder::new().name("media-0".to_owned()).spawn(move || Echo::new(socket, calls).run())?;
    while runtime.block_on(orders.recv()).is_some() {}
    Ok(())
}

/// One caller, known by the address of its first packet.
struct Caller {
    remote: SocketAddrAny,
    header: RtpHeader,
    /// With the payload that came last, which is sent back in the caller's slot.
    datagram: [u8; DATAGRAM_BYTES],
    length: usize,
}

struct Echo {
    socket: UdpSocket,
    known: HashMap<SocketAddrV4, usize>,
    callers: Vec<Caller>,
}

impl Echo {
    fn new(socket: UdpSocket, calls: usize) -> Self {
        Self { socket, known: HashMap::with_capacity(calls), callers: Vec::with_capacity(calls) }
    }

    fn run(mut self) -> io::Result<()> {
        // As the server's media threads do: what is compared has the same standing.
        hurry();
        let mut pace = Pace::start(SLOT)?;
        let mut received = Received::new();
        let mut next = 0;
        loop {
            let now = pace.wait();
            self.receive(&mut received);
            // Slots that were slept over are made good.
            let last = (now.as_nanos() / SLOT.as_nanos()) as usize;
            for slot in next..=last {
                self.send(slot % SLOTS);
            }
            next = last + 1;
        }
    }

    fn receive(&mut self, received: &mut Received) {
        let Received { headers, buffers } = received;
        loop {
            let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let messages = recvmmsg(self.socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
            let messages = match messages {
                Ok(messages) => messages,
                Err(Errno::EINTR) => continue,
                Err(_) => return,
            };
            let mut count = 0;
            for message in messages {
                count += 1;
                let bytes = message.iovs().next().unwrap_or_default();
                if let (Some(address), Ok(packet)) = (message.address, RtpPacket::parse(bytes)) {
                    let from = SocketAddrV4::new(address.ip(), address.port());
                    take(&mut self.known, &mut self.callers, from, &packet);
                }
            }
            if count < BATCH {
                return;
            }
        }
    }

    /// Sends to the callers of a slot.
    fn send(&mut self, slot: usize) {
        self.callers.iter_mut().skip(slot).step_by(SLOTS).for_each(Caller::advance);
        let mut due = self.callers.iter().skip(slot).step_by(SLOTS).peekable();
        while due.peek().is_some() {
            let batch: [Option<&Caller>; BATCH] = std::array::from_fn(|_| due.next());
            let count = batch.iter().flatten().count();
            let nowhere = SocketAddrAny::from(SocketAddr::from(([0, 0, 0, 0], 0)));
            let slices =
                batch.map(|caller| [IoSlice::new(caller.map_or(&[], |caller| &caller.datagram[..caller.length]))]);
            let mut control: [SendAncillaryBuffer<'_, '_, '_>; BATCH] = std::array::from_fn(|_| Default::default());
            let mut n = 0;
            let mut messages = control.each_mut().map(|control| {
                let remote = batch[n].map_or(&nowhere, |caller| &caller.remote);
                let message = MMsgHdr::new_with_addr(remote, &slices[n], control);
                n += 1;
                message
            });
            // What is not taken is lost, and the player notices.
            let _ = sendmmsg(&self.socket, &mut messages[..count], SendFlags::DONTWAIT);
        }
    }
}

fn take(
    known: &mut HashMap<SocketAddrV4, usize>,
    callers: &mut Vec<Caller>,
    from: SocketAddrV4,
    packet: &RtpPacket<'_>,
) {
    let index = *known.entry(from).or_insert_with(|| {
        let (payload_type, ssrc) = (packet.payload_type(), callers.len() as u32);
        callers.push(Caller {
            remote: SocketAddr::V4(from).into(),
            header: RtpHeader { payload_type, marker: false, sequence: 0, timestamp: 0, ssrc },
            datagram: [0; DATAGRAM_BYTES],
            length: HEADER_BYTES,
        });
        callers.len() - 1
    });
    let caller = &mut callers[index];
    let payload = packet.payload();
    let end = (HEADER_BYTES + payload.len()).min(DATAGRAM_BYTES);
    caller.datagram[HEADER_BYTES..end].copy_from_slice(&payload[..end - HEADER_BYTES]);
    caller.length = end;
}

impl Caller {
    /// Makes the next packet of what is there.
    fn advance(&mut self) {
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(160);
        if let Some(header) = self.datagram.first_chunk_mut() {
            self.header.write(header);
        }
    }
}

/// Buffers of the receiving side, made once.
struct Received {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Box<[[u8; DATAGRAM_BYTES]; BATCH]>,
}

impl Received {
    fn new() -> Self {
        Self { headers: MultiHeaders::preallocate(BATCH, None), buffers: Box::new([[0; DATAGRAM_BYTES]; BATCH]) }
    }
}
