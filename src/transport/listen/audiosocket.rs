//! AudioSocket: Asterisk connects, and its first frame names the call.

use super::accept::{GREET_WITHIN, MAX_GREETING, accept_all, bind};
use super::counts::{Counters, Fate, ListenCounts};
use super::crowd::Crowd;
use super::error::{ExpectError, ListenError};
use super::expected::{Expected, Register};
use crate::audio::{Codec, SampleRate};
use crate::transport::closing::{LINGER, close};
use crate::transport::{AudioSocketLeg, CallHandle, Leg, LegKeys};
use crate::wire::audiosocket::{Frame, HEADER_BYTES, Reader};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
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
/// Connections that are being given up. For one more the oldest of the address with the most is cut off.
const MAX_CLOSING: usize = 256;

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
/// 2 s without audio, so it is to be attached to a call, and so answered with silence, at once. Dropping it gives the caller back
/// to the dialplan, which goes on.
#[derive(Debug)]
pub struct DialplanCall {
    /// One of those that were given to [`AudioSocketListener::set_dialplan_uuids`]. Many calls may have the same.
    pub uuid: Uuid,
    /// Where Asterisk connected from.
    pub remote: SocketAddr,
    /// Until [`Self::into_leg`] takes it.
    stream: Option<std::net::TcpStream>,
    closing: Arc<GivenUp>,
}

impl DialplanCall {
    /// The leg: LINEAR16 at 8 kHz, which is all that the dialplan application has. It takes the keys from the leg.
    pub fn into_leg(mut self) -> Leg {
        let stream = self.stream.take().expect("it is there from the beginning, and nobody else takes it");
        let codec = Codec::Linear16(SampleRate::HZ_8000);
        Leg::AudioSocket(AudioSocketLeg { stream, codec, read: Vec::new(), keys: LegKeys::FromLeg })
    }
}

impl Drop for DialplanCall {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.closing.put(stream, self.remote);
        }
    }
}

/// Connections that have said their UUID and become no leg, until Asterisk has closed them too. Apart from those that have not
/// said it, so that neither displaces the other.
#[derive(Debug)]
struct GivenUp(Mutex<Crowd>);

impl GivenUp {
    fn put(&self, stream: std::net::TcpStream, remote: SocketAddr) {
        // They are counted already, each for what it was given up for.
        self.crowd().admit(remote, close(stream), || {});
    }

    fn crowd(&self) -> MutexGuard<'_, Crowd> {
        // Nothing that is done under the lock can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Shared {
    register: Register,
    dialplan_uuids: RwLock<HashSet<Uuid>>,
    dialplan_calls: mpsc::Sender<DialplanCall>,
    closing: Arc<GivenUp>,
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
            closing: Arc::new(GivenUp(Mutex::new(Crowd::new(MAX_CLOSING)))),
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

    /// Waits until Asterisk has closed the connections that were given up, for as long as these are kept at most. Before that
    /// the end of the process would cut them off.
    pub async fn given_up(&self) {
        let closing = self.shared.closing.crowd().tasks();
        let _ = timeout(LINGER, closing.wait()).await;
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
            Fate::Unknown => {
                // As much as tells two of them apart: the rest may be a typing error away from a secret.
                let begins = uuid.map(|uuid| uuid.simple().to_string()[..4].to_owned()).unwrap_or_default();
                tracing::warn!(
                    %remote, uuid = %format_args!("{begins}…"),
                    "an AudioSocket connection has a UUID that no call and no route has, and was closed; further ones are only counted"
                );
            }
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
        // It is non-blocking already, as a worker needs it.
        let Ok(stream) = stream.into_std() else { return Fate::Malformed };
        if let Some(wanted) = wanted {
            let leg = AudioSocketLeg { stream, codec: wanted.codec, read: Vec::new(), keys: wanted.keys };
            wanted.arrived(Ok(Leg::AudioSocket(leg)));
            return Fate::Expected;
        }
        // From here on the dialplan goes on if nobody wants it.
        let call = DialplanCall { uuid, remote, stream: Some(stream), closing: Arc::clone(&self.closing) };
        if !self.dialplan_uuids.read().unwrap_or_else(PoisonError::into_inner).contains(&uuid) {
            return Fate::Unknown;
        }
        if self.dialplan_calls.try_send(call).is_ok() { Fate::Dialplan } else { Fate::QueueFull }
    }
}
