//! Calls that a dialplan sends straight to us, by `AudioSocket(UUID,host:port)`: a connection and nothing else, without ARI.
//!
//! The UUID is secret and route at once. However such a call ends, or is not taken in the first place ([`DialplanCall`] is
//! dropped), the connection is closed in an orderly way and the dialplan goes on.

use super::bots::{Bot, DIALPLAN_CODEC};
use super::context::HostContext;
use super::conversation::{Conversation, DEAF_AFTER, Observer, Step};
use super::live_call::CallEnd;
use super::observation::Observed;
use super::set_up;
use crate::call::{CallId, Input};
use crate::config::{AudioSocketId, BotName};
use crate::media::MediaStats;
use crate::transport::listen::{AudioSocketListener, DialplanCall, DialplanCalls};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, info_span, warn};
use uuid::Uuid;

/// Takes calls from dialplans until told to stop.
pub(super) struct DialplanEntrance {
    pub(super) host: Arc<HostContext>,
    pub(super) listener: Arc<AudioSocketListener>,
    pub(super) calls: DialplanCalls,
}

impl DialplanEntrance {
    /// Runs until `drain` is cancelled and the last call is gone.
    pub(super) async fn run(mut self, drain: CancellationToken) {
        let host = Arc::clone(&self.host);
        let routes: HashMap<Uuid, (AudioSocketId, BotName)> = host
            .config
            .audiosocket_routes()
            .map(|(id, bot)| (Uuid::from_bytes(id.bytes()), (id, bot.clone())))
            .collect();
        self.listener.set_dialplan_uuids(routes.keys().copied().collect());
        info!(port = self.listener.local_addr().port(), "calls of dialplans can come in by AudioSocket()");
        let tasks = TaskTracker::new();
        loop {
            tokio::select! {
                () = drain.cancelled() => break,
                Some(call) = self.calls.recv() => {
                    if let Some((id, bot)) = routes.get(&call.uuid) {
                        take(&host, &tasks, call, *id, bot);
                    }
                }
            }
        }
        tasks.close();
        let mut ended = std::pin::pin!(tasks.wait());
        loop {
            tokio::select! {
                () = &mut ended => break,
                Some(call) = self.calls.recv() => {
                    let id = routes.get(&call.uuid).map(|(id, _)| id.to_string()).unwrap_or_default();
                    info!(remote = %call.remote, id, "no new calls are taken: back to the dialplan");
                }
            }
        }
        // From here on they are strangers, and those that wait are dropped: for all of them the dialplan goes on.
        self.listener.set_dialplan_uuids(HashSet::new());
        drop(self.calls);
        self.listener.given_up().await;
    }
}

/// Makes the connection a call, or gives it back.
fn take(host: &Arc<HostContext>, tasks: &TaskTracker, call: DialplanCall, id: AudioSocketId, bot: &BotName) {
    let remote = call.remote;
    let Ok(permit) = Arc::clone(&host.capacity).try_acquire_owned() else {
        return warn!(%remote, %id, "at the limit of media.max_calls: back to the dialplan");
    };
    // A route names a bot that exists, and 32 digits are a valid id.
    let (Some(bot), Some(call_id)) = (host.bots.get(bot), CallId::new(Uuid::new_v4().simple().to_string())) else {
        return;
    };
    let host = Arc::clone(host);
    tasks.spawn(async move {
        let span = info_span!("call", id = %call_id);
        run(host, call_id, call, id, &bot).instrument(span).await;
        drop(permit);
    });
}

async fn run(host: Arc<HostContext>, call: CallId, came: DialplanCall, id: AudioSocketId, bot: &Bot) {
    let observe = Observer { host: Arc::clone(&host), call: call.clone(), codec: DIALPLAN_CODEC };
    let number = format!("audiosocket {id}");
    info!(remote = %came.remote, number, bot = bot.name(), "a call has arrived");
    observe.tell(Observed::Arrived { number, bot: bot.name().to_owned(), adopted: false });
    let (end, media) = converse(&host, &call, came, bot, &observe).await;
    observe.ended(end, media);
}

async fn converse(
    host: &HostContext,
    call: &CallId,
    came: DialplanCall,
    bot: &Bot,
    observe: &Observer,
) -> (CallEnd, Option<MediaStats>) {
    let failed = |error| CallEnd::SetUp(set_up::worker(error));
    let mut conversation = match Conversation::begin(host, call, bot, DIALPLAN_CODEC).await {
        Ok(conversation) => conversation,
        Err(error) => return (failed(error), None),
    };
    let end = match conversation.media().attach(came.into_leg()).await {
        Ok(()) => {
            observe.tell(Observed::Connected);
            talk(host, &mut conversation, observe).await
        }
        Err(error) => failed(error),
    };
    let stats = conversation.fall_silent(host).await;
    conversation.close().await;
    (end, stats)
}

/// From the first moment, in which the two sides hear each other, to the end.
async fn talk(host: &HostContext, conversation: &mut Conversation, observe: &Observer) -> CallEnd {
    let mut step = conversation.input(Input::Connected).await;
    let mut asked_to_end = false;
    let mut listened = false;
    let deaf = sleep(DEAF_AFTER);
    tokio::pin!(deaf);
    loop {
        step = match step {
            Step::End(end) => return end,
            Step::LegLost(loss) => {
                // The connection is the caller.
                loss.log();
                conversation.input(Input::CallerHungUp).await
            }
            Step::GoOn | Step::FirstWords => tokio::select! {
                happening = conversation.next() => conversation.act(happening, observe).await,
                () = &mut deaf, if !listened => {
                    listened = true;
                    conversation.warn_if_deaf().await;
                    Step::GoOn
                }
                () = host.end_calls.cancelled(), if !asked_to_end => {
                    asked_to_end = true;
                    conversation.input(Input::EndRequested).await
                }
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::bots::Bots;
    use super::super::legs::Listeners;
    use super::super::pump::Pump;
    use super::*;
    use crate::call::{EndReason, HangUpBy};
    use crate::config::{Config, System};
    use crate::host::{Observation, Observed};
    use crate::transport::{WorkerSettings, Workers};
    use std::net::Ipv4Addr;
    use std::path::Path;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::{Semaphore, broadcast};
    use tokio::time::timeout;

    const UUID: &str = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
    /// Longer than anything here takes on a busy machine.
    const SOON: Duration = Duration::from_secs(20);

    /// An entrance to an echo bot, with one place.
    struct Rig {
        port: u16,
        host: Arc<HostContext>,
        seen: broadcast::Receiver<Observation>,
        drain: CancellationToken,
        entrance: tokio::task::JoinHandle<()>,
    }

    impl Rig {
        async fn start() -> Self {
            let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let text = format!(
                "[media]\naudiosocket_port = {port}\n[bots.e]\necho = true\n\
                 [[routes]]\naudiosocket = \"{UUID}\"\nbot = \"e\"\n"
            );
            let config = Arc::new(Config::parse(&text, "arioso.toml", Path::new(""), &System).unwrap());
            let (workers, batches) = Workers::start(WorkerSettings::new(config.media.listen, 0..=0)).unwrap();
            let mut listeners = Listeners::new(config.media.clone());
            let listener = listeners.audiosocket().await.unwrap();
            let calls = listeners.take_dialplan_calls().unwrap();
            let (observers, seen) = broadcast::channel(64);
            let host = Arc::new(HostContext {
                bots: Arc::new(Bots::load(&config).unwrap()),
                config,
                workers: Arc::new(workers),
                pump: Pump::start(batches),
                capacity: Arc::new(Semaphore::new(1)),
                observers,
                end_calls: CancellationToken::new(),
            });
            let drain = CancellationToken::new();
            let entrance = DialplanEntrance { host: Arc::clone(&host), listener, calls };
            let entrance = tokio::spawn(entrance.run(drain.clone()));
            Self { port, host, seen, drain, entrance }
        }

        /// Connects as `AudioSocket()` does.
        async fn call(&self) -> TcpStream {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
            let uuid = Uuid::parse_str(UUID).unwrap();
            let audio = [&[0x10, 1, 64][..], &[0; 320]].concat().repeat(5);
            stream.write_all(&[&[1, 0, 16], uuid.as_bytes().as_slice(), &audio].concat()).await.unwrap();
            stream
        }

        async fn ended(&mut self) -> CallEnd {
            loop {
                let seen = timeout(SOON, self.seen.recv()).await.expect("the call ends").unwrap();
                if let Observed::Ended { end, .. } = seen.what {
                    return end;
                }
            }
        }
    }

    /// A frame of the leg's audio; `None` at its end.
    async fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut header = [0; 3];
        timeout(SOON, stream.read_exact(&mut header)).await.expect("something comes").ok()?;
        assert_eq!(header[0], 0x10, "linear audio at 8 kHz");
        let mut payload = vec![0; usize::from(u16::from_be_bytes([header[1], header[2]]))];
        stream.read_exact(&mut payload).await.ok()?;
        Some(payload)
    }

    /// Waits for the orderly end of a connection on which nobody ever spoke: after anything else the dialplan does not go on.
    async fn assert_given_back(stream: &mut TcpStream) {
        let read = timeout(SOON, stream.read(&mut [0; 1])).await.expect("the connection is ended");
        assert_eq!(read.expect("an end, and no reset"), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_caller_hears_itself_and_hangs_up_by_closing() {
        let mut rig = Rig::start().await;
        let mut stream = rig.call().await;
        // Silence comes before anything was sent: a peer that waits for audio must not wait for ever.
        frame(&mut stream).await.expect("silence from the first moment on");
        let loud = [&[0x10, 1, 64][..], &[0x40; 320]].concat();
        loop {
            stream.write_all(&loud).await.unwrap();
            if frame(&mut stream).await.expect("the call goes on").iter().any(|byte| *byte != 0) {
                break;
            }
        }
        drop(stream);
        assert_eq!(rig.ended().await, CallEnd::Conversation(EndReason::HangUp(HangUpBy::Caller)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn beyond_the_limit_the_connection_is_closed_and_the_dialplan_goes_on() {
        let rig = Rig::start().await;
        let mut first = rig.call().await;
        frame(&mut first).await.expect("the first one is taken");
        for _ in 0..5 {
            assert_given_back(&mut rig.call().await).await;
        }
        frame(&mut first).await.expect("the first one goes on");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_drain_waits_for_the_calls_and_lets_nobody_else_in() {
        let mut rig = Rig::start().await;
        let mut first = rig.call().await;
        frame(&mut first).await.expect("a call");
        rig.drain.cancel();
        assert_given_back(&mut rig.call().await).await;
        rig.host.end_calls.cancel();
        assert_eq!(rig.ended().await, CallEnd::Conversation(EndReason::Drained));
        while frame(&mut first).await.is_some() {}
        timeout(SOON, rig.entrance).await.expect("nothing is left").unwrap();
    }
}
