//! Accepting connections, and how many may be unknown at a time.

use super::counts::{Counters, Fate};
use super::crowd::Crowd;
use super::error::ListenError;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// How long a connection may take to say for which call it is. Asterisk says it at once.
pub const GREET_WITHIN: Duration = Duration::from_secs(2);
/// Connections of one listener that have not said it yet. For one more the oldest of the address with the most gives way.
pub const MAX_GREETING: usize = 256;
/// Until the next attempt when the system has no connection for us.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Binds to `address`, which the configuration has under `key`.
pub(super) async fn bind(address: SocketAddr, key: &'static str) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |cause: io::Error| match cause.kind() {
        ErrorKind::AddrInUse => ListenError::PortInUse { address, key },
        _ => ListenError::Bind { address, key, cause },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Accepts for ever and lets `greet` find out what each connection wants. What is under way ends with this future.
pub(super) async fn accept_all<G, F>(listener: TcpListener, counters: Arc<Counters>, limit: usize, greet: G)
where
    G: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut greeting = Crowd::new(limit);
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                counters.accepted();
                if let Err(error) = stream.set_nodelay(true) {
                    // It is gone again; that comes out when it is read.
                    tracing::debug!(%remote, %error, "a new connection takes no options");
                }
                let counters = Arc::clone(&counters);
                let displaced = move || {
                    if counters.settled(Fate::CrowdedOut) {
                        tracing::warn!(%remote, limit, "too many connections have not said for which call they are: one had to give way");
                    }
                };
                greeting.admit(remote, greet(stream, remote), displaced);
            }
            Err(error) => {
                if counters.accept_failed() {
                    tracing::error!(%error, "cannot accept connections for audio; is the limit on open files (`ulimit -n`) too low?");
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
