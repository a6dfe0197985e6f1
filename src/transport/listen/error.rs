//! What can go wrong until a media thread has a connection.

use crate::transport::TransportError;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a listener cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has the port.
    #[error("TCP port {} of {} is in use by another program: stop that program or choose another media.{key}", .address.port(), .address.ip())]
    PortInUse {
        /// What was to be listened on.
        address: SocketAddr,
        /// The key of the configuration, in `[media]`.
        key: &'static str,
    },
    /// Anything else.
    #[error("cannot listen on TCP port {} of {} (media.listen, media.{key}): {cause}", .address.port(), .address.ip())]
    Bind {
        /// What was to be listened on.
        address: SocketAddr,
        /// The key of the configuration, in `[media]`.
        key: &'static str,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// Why a leg that was expected is not attached to its call.
#[derive(Debug, thiserror::Error)]
pub enum ExpectError {
    /// A call with that UUID or channel id is expected already.
    #[error("a leg of that name is expected already")]
    AlreadyExpected,
    /// Asterisk made the channel with another codec than it was asked for.
    #[error("Asterisk opened the media channel with format {got}, although {wanted} was asked for")]
    Format {
        /// What was asked for.
        wanted: &'static str,
        /// What `MEDIA_START` says.
        got: String,
    },
    /// The worker did not take the leg.
    #[error(transparent)]
    Attach(#[from] TransportError),
    /// The listener was stopped before Asterisk connected.
    #[error("the listener was stopped before Asterisk connected")]
    Stopped,
}

/// Why a WebSocket channel cannot be reached. None of them shows the path of the URL: the connection id in it is all that
/// protects a call.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not a URL of a WebSocket.
    #[error("the URL of the media channel cannot be used: {reason}")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A URL with `https` or `wss`.
    #[error(
        "media over an encrypted WebSocket that we dial is not supported: give Asterisk's plain HTTP address (http://…) \
         for this, or let Asterisk connect to us (websocket = \"listen\")"
    )]
    Encrypted,
    /// No connection.
    #[error("cannot connect to {host} for the audio: {cause}")]
    Connect {
        /// Host and port.
        host: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The connection broke before the handshake was done.
    #[error("{host} broke the connection for the audio off: {cause}")]
    Broken {
        /// Host and port.
        host: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Everything together took too long.
    #[error("the connection to {host} for the audio was not there within {limit:?}")]
    TimedOut {
        /// Host and port.
        host: String,
        /// How long it could take.
        limit: Duration,
    },
    /// Status 404: the channel is gone, or never was, or chan_websocket is not loaded.
    #[error(
        "Asterisk on {host} knows no media channel with that connection id (404): the channel is gone already, or \
         chan_websocket.so is not loaded"
    )]
    UnknownId {
        /// Host and port.
        host: String,
    },
    /// Status 409: another connection has the channel.
    #[error("the media channel on {host} has a connection already (409)")]
    Taken {
        /// Host and port.
        host: String,
    },
    /// Any other status than 101.
    #[error("{host} refused the connection for the audio with HTTP status {status}")]
    Refused {
        /// Host and port.
        host: String,
        /// The status.
        status: u16,
    },
    /// Something answered that is no WebSocket server, or one that wants what we do not.
    #[error("{host} is not a WebSocket server for audio: {reason}")]
    NotWebSocket {
        /// Host and port.
        host: String,
        /// What is wrong with the answer.
        reason: &'static str,
    },
}
