//! What can go wrong with the workers.

use crate::audio::CodecError;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// An error of the workers: first those of the start, then those of a call.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// There are fewer ports than workers.
    #[error("{workers} media workers need a port each, but media.ports has {ports}: give it a wider range")]
    TooFewPorts {
        /// Workers wanted, at least 1.
        workers: usize,
        /// Ports in the range.
        ports: usize,
    },
    /// Another program has the port.
    #[error(
        "UDP port {port} of {listen} is in use by another program: stop that program or choose other ports in media.ports"
    )]
    PortInUse {
        /// Address that was to be listened on.
        listen: IpAddr,
        /// The port.
        port: u16,
    },
    /// The address does not belong to this machine.
    #[error("{listen} is not an address of this machine: set media.listen to one that is (see `ip address`)")]
    ForeignAddress {
        /// The address.
        listen: IpAddr,
    },
    /// The system does not allow it.
    #[error("no permission to use UDP port {port} of {listen}: choose ports above 1023 in media.ports")]
    PortForbidden {
        /// Address that was to be listened on.
        listen: IpAddr,
        /// The port.
        port: u16,
    },
    /// Anything else with a socket.
    #[error("cannot open UDP port {port} of {listen} (media.listen, media.ports): {cause}")]
    Socket {
        /// Address that was to be listened on.
        listen: IpAddr,
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A thread could not be started.
    #[error(
        "cannot start a media thread: {cause}; the limit on processes of this user may be too low (see `ulimit -u`)"
    )]
    Thread {
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The worker has stopped, or broke down.
    #[error("the media worker on {local} has stopped")]
    Stopped {
        /// The address of its socket.
        local: SocketAddr,
    },
    /// A processor that the threads were to run on is not there, or not for this program.
    #[error(
        "processor {cpu} of media.cpus is not there or not allowed for this program: name others (see `taskset -p $$`)"
    )]
    Cpu {
        /// Its number.
        cpu: usize,
    },
    /// The call is not there any more.
    #[error("the call has left the media worker already")]
    CallGone,
    /// The leg cannot be used.
    #[error("the media leg at {remote} cannot be attached to the worker on {local}: {reason}")]
    Leg {
        /// Where Asterisk said that it would send from.
        remote: SocketAddr,
        /// The address of the worker's socket.
        local: SocketAddr,
        /// Why not.
        reason: LegRefusal,
    },
}

/// Why a leg cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LegRefusal {
    /// Packets from there are another call's.
    #[error("another call of this worker has the same remote address")]
    AddressTaken,
    /// One leg a call.
    #[error("the call has a leg already")]
    AlreadyAttached,
    /// Port 0, `0.0.0.0` or a multicast address: no packet can ever come from there.
    #[error("that is not the address of a single host and port")]
    NotAHost,
    /// Both directions of a leg and its call have one rate.
    #[error("its codecs do not have the sample rate of the call")]
    Rate,
    /// This transport does not carry the codec.
    #[error("this kind of leg does not carry the codec")]
    NotOnThisLeg,
    /// The codec has no state to work with.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The connection was lost before the worker had it.
    #[error("the connection is gone already")]
    Disconnected,
    /// An IPv6 host cannot be reached from an IPv4 socket.
    #[error("an IPv6 address cannot be reached from an IPv4 socket; set media.listen to an IPv6 address")]
    AddressFamily,
}
