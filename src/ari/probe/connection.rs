//! Whether anybody takes a TCP connection at an address, and if not, what is in the way.

use super::super::rest::CONNECT_TIMEOUT;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Why no TCP connection came about.
#[derive(Debug, thiserror::Error)]
pub enum NoConnection {
    /// The host's name means nothing here.
    #[error("the host name {host} cannot be resolved: {cause}")]
    Name {
        /// The host.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// Nothing came back.
    #[error("no answer within {} s", limit.as_secs())]
    Silence {
        /// How long was waited.
        limit: Duration,
    },
    /// The connection was refused, or there is no way to the host.
    #[error("{0}")]
    Refused(io::Error),
}

impl NoConnection {
    /// What to do about it, where that does not depend on who should have answered.
    pub fn fix(&self) -> Option<&'static str> {
        match self {
            Self::Name { .. } => Some("correct the host name in `url`"),
            Self::Silence { .. } => Some("check the address and the firewall"),
            Self::Refused(_) => None,
        }
    }
}

/// Makes a TCP connection and closes it.
///
/// # Errors
/// [`NoConnection`] says what was in the way.
pub async fn connection(host: &str, port: u16) -> Result<(), NoConnection> {
    let addresses = lookup_host((host, port)).await;
    let addresses: Vec<_> = addresses.map_err(|cause| NoConnection::Name { host: host.to_owned(), cause })?.collect();
    within(CONNECT_TIMEOUT, TcpStream::connect(addresses.as_slice())).await
}

async fn within<T>(limit: Duration, connecting: impl Future<Output = io::Result<T>>) -> Result<(), NoConnection> {
    match timeout(limit, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(NoConnection::Silence { limit }),
        Ok(Err(error)) => Err(NoConnection::Refused(error)),
        Err(_) => Err(NoConnection::Silence { limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_the_way_is_told_apart() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        connection("127.0.0.1", port).await.unwrap();
        let silent = within(Duration::ZERO, std::future::pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(
            (silent.to_string().as_str(), silent.fix()),
            ("no answer within 0 s", Some("check the address and the firewall"))
        );
        drop(listener);
        let refused = connection("127.0.0.1", port).await.unwrap_err();
        assert!(matches!(&refused, NoConnection::Refused(_)), "{refused}");
        let unnamed = connection("no-such-host.invalid", port).await.unwrap_err();
        assert_eq!(unnamed.fix(), Some("correct the host name in `url`"), "{unnamed}");
    }
}
