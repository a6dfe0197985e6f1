//! AudioSocket: Asterisk connects, and its first frame names the call.

use super::accept::{GREET_WITHIN, MAX_GREETING, accept_all, bind};
use super::counts::{Counters, Fate, ListenCounts};
use super::error::{ExpectError, ListenError};
use super::expected::{Expected, Register};
use crate::audio::{Codec, SampleRate};
use crate::transport::{AudioSocketLeg, CallHandle, Leg, LegKeys};
use crate::wire::audiosocket::{Frame, HEADER_BYTES, Reader};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// The first frame: which call this is.
const UUID_FRAME_BYTES: usize = HEADER_BYTES + 16;
/// Calls straight from the dialplan that the host has not taken yet. One more is closed, and goes on in its dialplan.
const DIALPLAN_CALLS: usize = 64;

/// One port for the AudioSocket legs of all calls. Dropping it closes the port; legs that are attached go on.
#[derive(Debug)]
pub struct AudioSocketListener {
    local: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// Calls that the dialplan sends straight here, by `AudioSocket(uuid,host:port)`.
pub type DialplanCalls = mpsc::Receiver<DialplanCall>;

/// A call that came straight from the dialplan: there is a connection and nothing else, and no ARI. Asterisk gives up after
/// 2 s without audio, so it is to be attached to a call, and so answered with silence, at once.
#[derive(Debug)]
pub struct DialplanCall {
    /// One of those that were given to [`AudioSocketListener::set_dialplan_uuids`]. Many calls may have the same.
    pub uuid: Uuid,
    /// Where Asterisk connected from.
    pub remote: SocketAddr,
    /// The leg: LINEAR16 at 8 kHz, which is all that the dialplan application has. It takes the keys from the leg.
    pub leg: Leg,
}

#[derive(Debug)]
struct Shared {
    register: Register,
    dialplan_uuids: RwLock<HashSet<Uuid>>,
    dialplan_calls: mpsc::Sender<DialplanCall>,
    counters: Arc<Counters>,
}

impl AudioSocketListener {
    /// Listens on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`ListenError`], for the operator.
    pub async fn bind(address: SocketAddr) -> Result<(Self, DialplanCalls), ListenError> {
        Self::bind_with_limit(address, MAX_GREETING).await
    }

    pub(super) async fn bind_with_limit(
        address: SocketAddr,
        greeting: usize,
    ) -> Result<(Self, DialplanCalls), ListenError> {
        let (listener, local) = bind(address, "audiosocket_port").await?;
        let (dialplan_calls, calls) = mpsc::channel(DIALPLAN_CALLS);
        let shared = Arc::new(Shared {
            register: Register::default(),
            dialplan_uuids: RwLock::default(),
            dialplan_calls,
            counters: Arc::default(),
        });
        let greeter = Arc::clone(&shared);
        let greet = move |stream, remote| {
            let shared = Arc::clone(&greeter);
            async move { shared.greet(stream, remote).await }
        };
        let accepting = tokio::spawn(accept_all(listener, Arc::clone(&shared.counters), greeting, greet));
        Ok((Self { local, shared, accepting }, calls))
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Lets the leg with this UUID in when it comes, and attaches it to `call`. To be called before Asterisk is asked for the
    /// leg. The UUID is the only secret of the protocol: it is to be random (version 4).
    ///
    /// # Errors
    /// [`ExpectError::AlreadyExpected`].
    pub fn expect(&self, uuid: Uuid, call: CallHandle, codec: Codec, keys: LegKeys) -> Result<Expected, ExpectError> {
        self.shared.register.attach_to(uuid.to_string(), codec, keys, call)
    }

    #[cfg(test)]
    pub(super) fn register(&self) -> &Register {
        &self.shared.register
    }

    /// The UUIDs with which the dialplan may send calls straight here, from now on.
    pub fn set_dialplan_uuids(&self, uuids: HashSet<Uuid>) {
        *self.shared.dialplan_uuids.write().unwrap_or_else(PoisonError::into_inner) = uuids;
    }

    /// What it has counted.
    pub fn counts(&self) -> ListenCounts {
        self.shared.counters.snapshot()
    }
}

impl Drop for AudioSocketListener {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.register.close();
    }
}

impl Shared {
    /// Finds out for which call a connection is.
    async fn greet(&self, mut stream: TcpStream, remote: SocketAddr) {
        // No more than the frame is read, so that all the rest is the leg's.
        let mut first = [0; UUID_FRAME_BYTES];
        let read = timeout(GREET_WITHIN, stream.read_exact(&mut first)).await;
        let uuid = match Reader::new().next_frame(&mut &first[..]) {
            Some(Ok(Frame::Uuid(uuid))) => Some(Uuid::from_bytes(uuid)),
            _ => None,
        };
        let fate = match (read, uuid) {
            (Err(_), _) => Fate::TimedOut,
            (Ok(Ok(_)), Some(uuid)) => self.admit(uuid, stream, remote),
            _ => Fate::Malformed,
        };
        if !self.counters.settled(fate) {
            return;
        }
        // Only the first of each kind: anyone can send thousands.
        match fate {
            Fate::TimedOut => tracing::warn!(%remote, "an AudioSocket connection sent no UUID in time and was closed"),
            Fate::Unknown => tracing::warn!(
                %remote, ?uuid,
                "an AudioSocket connection has a UUID that no call and no route has, and was closed"
            ),
            Fate::QueueFull => tracing::warn!(%remote, "too many calls at once from the dialplan; this one was closed"),
            Fate::Malformed => {
                tracing::warn!(%remote, "a connection to the AudioSocket port does not begin with a UUID and was closed");
            }
            Fate::Expected | Fate::Dialplan | Fate::CrowdedOut | Fate::Unauthorized => {}
        }
    }

    /// Brings the connection to its call.
    fn admit(&self, uuid: Uuid, stream: TcpStream, remote: SocketAddr) -> Fate {
        let wanted = self.register.take(&uuid.to_string());
        if wanted.is_none() && !self.dialplan_uuids.read().unwrap_or_else(PoisonError::into_inner).contains(&uuid) {
            return Fate::Unknown;
        }
        // It is non-blocking already, as a worker needs it.
        let Ok(stream) = stream.into_std() else { return Fate::Malformed };
        let read = Vec::new();
        let Some(wanted) = wanted else {
            let codec = Codec::Linear16(SampleRate::HZ_8000);
            let leg = Leg::AudioSocket(AudioSocketLeg { stream, codec, read, keys: LegKeys::FromLeg });
            let queued = self.dialplan_calls.try_send(DialplanCall { uuid, remote, leg });
            return if queued.is_ok() { Fate::Dialplan } else { Fate::QueueFull };
        };
        let leg = AudioSocketLeg { stream, codec: wanted.codec, read, keys: wanted.keys };
        wanted.arrived(Ok(Leg::AudioSocket(leg)));
        Fate::Expected
    }
}
