//! The connections to one engine: a few channels for each service, shared by all calls. The services have their own, so that
//! the streams with caller audio lie side by side: what many of them send at a time leaves in few writes.

use crate::call::Service as Kind;
use crate::speech::proto::{CONNECTION_WINDOW_BYTES, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES};
use crate::speech::tcp::Tcp;
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Uri};

/// Streams on one channel before another is opened: servers let 100 to 250 in, and those over it wait in silence.
const STREAMS_A_CHANNEL: usize = 200;
/// More connections than this for one service cost more than they bring; beyond it the channels are filled evenly.
const MAX_CHANNELS: usize = 16;
/// Pings show a dead connection on which nothing comes from the engine. Engines close connections that ping more often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(60);
/// A refusal also answers whoever asks so soon after it, instead of making each of them wait for one of its own.
const REFUSAL_HOLDS: Duration = Duration::from_millis(250);

/// The channels of one engine. They connect when first used, and again after they broke.
#[derive(Debug)]
pub(super) struct Channels {
    endpoint: Endpoint,
    connector: TcpConnector,
    shards: Mutex<Vec<Shard>>,
    /// How many connections have been made so far.
    connected: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Shard {
    service: Kind,
    channel: Channel,
    /// One clone in every lease: its count is the number of streams.
    streams: Arc<()>,
}

/// The right to open one stream on a channel; kept as long as the stream lives.
#[derive(Debug)]
pub(super) struct Lease {
    /// Where.
    pub(super) channel: Channel,
    _stream: Arc<()>,
}

impl Channels {
    /// `connect_limit` bounds TCP and name resolution.
    pub(super) fn new(endpoint: Endpoint, connect_limit: Duration) -> Self {
        let endpoint = endpoint
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let connected = Arc::<AtomicU64>::default();
        let connector =
            TcpConnector { limit: connect_limit, refused: Arc::default(), connected: Arc::clone(&connected) };
        Self { endpoint, connector, shards: Mutex::default(), connected }
    }

    /// How many connections have been made so far: while this is the same, so is the engine.
    pub(super) fn connections(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// A place on the emptiest channel of a service. Must be called inside a tokio runtime.
    pub(super) fn lease(&self, service: Kind) -> Lease {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let of_service = || shards.iter().filter(|shard| shard.service == service);
        let emptiest = of_service().min_by_key(|shard| shard.streams());
        let shard = match emptiest {
            Some(shard) if shard.streams() < STREAMS_A_CHANNEL || of_service().count() == MAX_CHANNELS => shard,
            _ => {
                let channel = self.endpoint.connect_with_connector_lazy(self.connector.clone());
                let shard = Shard { service, channel, streams: Arc::default() };
                let index = shards.len();
                shards.push(shard);
                &shards[index]
            }
        };
        Lease { channel: shard.channel.clone(), _stream: shard.streams.clone() }
    }
}

impl Shard {
    fn streams(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }
}

/// Opens [`Tcp`] connections within a limit.
#[derive(Clone, Debug)]
struct TcpConnector {
    limit: Duration,
    /// The last refusal, and when it was.
    refused: Arc<Mutex<Option<(Instant, Refusal)>>>,
    connected: Arc<AtomicU64>,
}

#[derive(Clone, Debug)]
struct Refusal {
    kind: io::ErrorKind,
    text: String,
}

impl TcpConnector {
    async fn connect(self, uri: Uri) -> io::Result<Tcp> {
        let recent = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, refusal)) = recent
            && at.elapsed() < REFUSAL_HOLDS
        {
            return Err(io::Error::new(refusal.kind, refusal.text));
        }
        let result = tokio::time::timeout(self.limit, open(&uri)).await.unwrap_or_else(|_| {
            let text = format!("no connection within {:?}", self.limit);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        });
        if result.is_ok() {
            self.connected.fetch_add(1, Ordering::Relaxed);
        }
        let refusal = result.as_ref().err().map(|error| {
            let refusal = Refusal { kind: error.kind(), text: error.to_string() };
            (Instant::now(), refusal)
        });
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        result
    }
}

async fn open(uri: &Uri) -> io::Result<Tcp> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the URL has no host");
    let host = uri.host().ok_or_else(invalid)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Tcp::new(TcpStream::connect((host, uri.port_u16().unwrap_or(default_port))).await?)
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<Tcp>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(uri).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streams_fill_a_channel_before_the_next_is_opened() {
        let channels = Channels::new(Endpoint::from_static("http://127.0.0.1:1"), Duration::from_millis(500));
        let mut leases: Vec<_> = (0..STREAMS_A_CHANNEL).map(|_| channels.lease(Kind::Recognition)).collect();
        assert_eq!(channels.shards.lock().expect("lock").len(), 1);
        leases.push(channels.lease(Kind::Recognition));
        assert_eq!(channels.shards.lock().expect("lock").len(), 2);
        leases.clear();
        let _lease = channels.lease(Kind::Recognition);
        assert_eq!(channels.shards.lock().expect("lock").len(), 2, "channels are kept and used again");
        let _lease = channels.lease(Kind::Dialog);
        assert_eq!(channels.shards.lock().expect("lock").len(), 3, "every service has its own");
    }

    #[tokio::test]
    async fn channels_are_bounded_and_filled_evenly_beyond() {
        let channels = Channels::new(Endpoint::from_static("http://127.0.0.1:1"), Duration::from_millis(500));
        let _leases: Vec<_> =
            (0..MAX_CHANNELS * (STREAMS_A_CHANNEL + 2)).map(|_| channels.lease(Kind::Recognition)).collect();
        let shards = channels.shards.lock().expect("lock");
        assert_eq!(shards.len(), MAX_CHANNELS);
        assert!(shards.iter().all(|shard| shard.streams() == STREAMS_A_CHANNEL + 2));
    }
}
