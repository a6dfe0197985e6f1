//! A media leg for a try: made as that of a call is, with the same ports, and listened to, for `arioso doctor`.

use super::legs::{LegError, Legs, Listeners};
use crate::ari::probe::{TestLeg, TestLegError};
use crate::ari::{Ari, AriError, Capabilities, ExternalMedia};
use crate::call::CallId;
use crate::config::{Media, MediaTransport, WebSocketConnection};
use crate::transport::listen::ListenError;
use crate::transport::{CallHandle, Driver, MediaOutput, NewCall, TransportError, WorkerSettings, Workers};
use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

/// Asterisk has begun to play when the leg is listened to.
const LISTEN_LIMIT: Duration = Duration::from_secs(3);
/// How often it is looked whether something has come.
const LOOK: Duration = Duration::from_millis(20);

/// See the module's documentation.
pub struct LineTest {
    media: Media,
    transport: MediaTransport,
    running: Option<Running>,
}

struct Running {
    workers: Workers,
    call: CallHandle,
    /// Kept, so that the worker has somebody to tell.
    _outputs: mpsc::Receiver<MediaOutput>,
}

impl LineTest {
    /// A test of the legs that a server with this configuration would make. Opens no port yet.
    pub const fn new(media: Media, transport: MediaTransport) -> Self {
        Self { media, transport, running: None }
    }

    async fn start(&mut self) -> Result<(Legs, &CallHandle), TestLegError> {
        let legs = Listeners::new(self.media.clone()).legs(&self.transport).await.map_err(port_taken)?;
        let workers = self.workers()?;
        let (sender, outputs) = mpsc::channel(64);
        // It is never put into a bridge, so nobody hears the echo.
        let driver = Driver::Echo(self.transport.rate());
        let id = CallId::new("doctor").ok_or_else(|| unusable("the test has no valid id".to_owned()))?;
        let call = workers.assign().add(NewCall { call: id, driver, outputs: sender }).await;
        let call = call.map_err(|error| unusable(error.to_string()))?;
        let running = self.running.insert(Running { workers, call, _outputs: outputs });
        Ok((legs, &running.call))
    }

    /// One worker, on the last of the configured ports that is free: a running server takes the first ones.
    fn workers(&self) -> Result<Workers, TestLegError> {
        let mut last = None;
        for port in self.media.ports.clone().rev() {
            let mut settings = WorkerSettings::new(self.media.listen, port..=port);
            settings.workers = NonZeroUsize::new(1);
            match Workers::start(settings) {
                Ok((workers, _)) => return Ok(workers),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| unusable("there is no port".to_owned()), no_worker))
    }
}

#[async_trait]
impl TestLeg for LineTest {
    async fn make(&mut self, ari: &Ari, media: ExternalMedia, asterisk: &Capabilities) -> Result<String, TestLegError> {
        let control = asterisk.media_control();
        let (legs, call) = self.start().await?;
        legs.make(ari, &media, control, call, &CancellationToken::new()).await.map_err(|error| match error {
            LegError::Request(error) => refused(&error, &self.transport),
            other => unusable(other.to_string()),
        })
    }

    async fn hears(&mut self) -> bool {
        let Some(running) = &self.running else { return false };
        let something = async {
            let mut look = interval(LOOK);
            loop {
                look.tick().await;
                if running.call.stats().await.is_some_and(|stats| stats.receive.received > 0) {
                    return;
                }
            }
        };
        timeout(LISTEN_LIMIT, something).await.is_ok()
    }

    async fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.call.remove().await;
            // It has nothing else to do.
            let _ = running.workers.stop().await;
        }
    }
}

/// A running server has the port, as a rule: then calls are none the worse for it.
fn port_taken(error: ListenError) -> TestLegError {
    match error {
        ListenError::PortInUse { .. } => TestLegError {
            detail: error.to_string(),
            fix: "nothing, if that is your running server: stop it for this check, or choose another port".to_owned(),
            only_here: true,
        },
        ListenError::Bind { .. } => unusable(error.to_string()),
    }
}

fn no_worker(error: TransportError) -> TestLegError {
    match error {
        TransportError::PortInUse { .. } => TestLegError {
            detail: error.to_string(),
            fix: "nothing, if that is your running server: stop it for this check, or give media.ports one more port"
                .to_owned(),
            only_here: true,
        },
        other => unusable(other.to_string()),
    }
}

fn refused(error: &AriError, transport: &MediaTransport) -> TestLegError {
    let fix = match transport {
        MediaTransport::Rtp(_) => {
            "load the modules that are named above, if any; see that rtp.conf has ports left (rtpstart to rtpend)"
        }
        MediaTransport::AudioSocket(_) => {
            "load the modules that are named above, if any; see that Asterisk reaches media.advertise, and that no \
             firewall is in between"
        }
        MediaTransport::WebSocket { connection: WebSocketConnection::Dial, .. } => {
            "load the modules that are named above, if any; look into Asterisk's log: asterisk -rvvv"
        }
        MediaTransport::WebSocket { connection: WebSocketConnection::Listen { .. }, .. } => {
            "see that websocket_client.conf has the section that websocket_client names, with connection_type = \
             per_call_config, then: module reload res_websocket_client.so"
        }
    };
    TestLegError { detail: error.to_string(), fix: fix.to_owned(), only_here: false }
}

fn unusable(detail: String) -> TestLegError {
    let fix = "correct [media] and the transport of this Asterisk; look into Asterisk's log: asterisk -rvvv".to_owned();
    TestLegError { detail, fix, only_here: false }
}
