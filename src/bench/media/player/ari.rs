//! Asterisk's ARI, as far as a bot host asks: what it would answer, and the events of channels that come and go.

use super::legs::{Command, Far};
use crate::bench::media::plan::Transport;
use crate::bench::media::real_time_ns;
use crate::wire::audiosocket::Frame;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// Events that wait for the server. When it is full the server is far behind, and the rest of the calls fails visibly.
const EVENTS: usize = 16_384;
/// Requests that are not known are told, but not all of them.
const TOLD_REQUESTS: usize = 5;
/// Callers' channels are called this and a number.
const CALLER: &str = "caller-";

/// The Asterisk that is played. Clones are the same.
#[derive(Clone)]
pub(super) struct FakeAsterisk(Arc<Inner>);

struct Inner {
    app: String,
    transport: Transport,
    /// Where the legs of calls send from.
    leg_address: Box<dyn Fn(usize) -> SocketAddrV4 + Send + Sync>,
    commands: mpsc::Sender<Command>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    events: Option<mpsc::Sender<String>>,
    callers: HashMap<String, Caller>,
    legs: HashMap<String, Leg>,
    /// Legs over WebSocket that wait for the server, by the id of the connection.
    invited: HashMap<String, String>,
    bridges: HashMap<String, Vec<String>>,
    next_leg: usize,
    calls: usize,
    connected: usize,
    remote: Option<SocketAddr>,
    unknown: Vec<String>,
}

struct Caller {
    announced_ns: u64,
    leg: Option<usize>,
    up: bool,
}

struct Leg {
    index: usize,
    in_stasis: bool,
}

/// An answer to a request.
pub(super) struct Answer(pub(super) StatusCode, pub(super) Value);

impl Answer {
    fn ok(value: Value) -> Self {
        Self(StatusCode::OK, value)
    }

    fn done() -> Self {
        Self(StatusCode::NO_CONTENT, Value::Null)
    }

    fn no(status: StatusCode, message: &str) -> Self {
        Self(status, json!({"message": message}))
    }
}

impl FakeAsterisk {
    pub(super) fn new(
        app: String,
        transport: Transport,
        calls: usize,
        leg_address: impl Fn(usize) -> SocketAddrV4 + Send + Sync + 'static,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        let state = State { calls, ..State::default() };
        Self(Arc::new(Inner {
            app,
            transport,
            leg_address: Box::new(leg_address),
            commands,
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: Command) {
        // The thread ends only with the process.
        let _ = self.0.commands.try_send(command);
    }

    /// The server has opened its events socket: what is to be sent on it.
    pub(super) fn events(&self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        self.state().events = Some(sender);
        self.0.changed.notify_waiters();
        receiver
    }

    /// Waits until something is as it should be.
    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if condition(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the server listens to events.
    pub(super) async fn server_is_there(&self) {
        self.until(|state| state.events.is_some()).await;
    }

    /// A call comes in.
    pub(super) fn announce(&self, number: usize) {
        let id = format!("{CALLER}{number}");
        let mut state = self.state();
        state.callers.insert(id.clone(), Caller { announced_ns: real_time_ns(), leg: None, up: false });
        self.emit(&mut state, json!({"type": "StasisStart", "args": ["100"], "channel": self.channel(&id, "Ring")}));
    }

    /// Waits until so many calls are up.
    pub(super) async fn are_up(&self, calls: usize) {
        self.until(|state| state.connected >= calls).await;
    }

    /// When each call was announced and which leg it got.
    pub(super) fn arrivals(&self) -> Vec<(u64, Option<usize>)> {
        self.state().callers.values().map(|caller| (caller.announced_ns, caller.leg)).collect()
    }

    /// Where the server wants its media, once it has said so.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.state().remote
    }

    /// Requests that are not known here.
    pub(super) fn unknown_requests(&self) -> Vec<String> {
        self.state().unknown.clone()
    }

    /// All callers hang up.
    pub(super) fn hang_up_all(&self) {
        let callers: Vec<String> = self.state().callers.keys().cloned().collect();
        for caller in callers {
            self.remove_channel(&caller);
        }
    }

    /// Waits until nothing is left.
    pub(super) async fn is_empty(&self) {
        self.until(|state| state.legs.is_empty() && state.bridges.is_empty()).await;
    }

    /// Bridges and legs that are there.
    pub(super) fn left(&self) -> (usize, usize) {
        let state = self.state();
        (state.bridges.len(), state.legs.len())
    }

    fn channel(&self, id: &str, channel_state: &str) -> Value {
        json!({
            "id": id,
            "name": format!("Bench/{id}"),
            "state": channel_state,
            "protocol_id": "",
            "caller": {"name": "", "number": "200"},
            "connected": {"name": "", "number": ""},
            "accountcode": "",
            "dialplan": {"context": "bench", "exten": "100", "priority": 1, "app_name": "Stasis", "app_data": format!("{},100", self.0.app)},
            "creationtime": "2026-01-01T00:00:00.000+0000",
            "language": "en",
        })
    }

    fn emit(&self, state: &mut State, mut event: Value) {
        event["application"] = json!(self.0.app);
        event["timestamp"] = json!("2026-01-01T00:00:00.000+0000");
        event["asterisk_id"] = json!("bench");
        if let Some(events) = &state.events {
            // See EVENTS.
            let _ = events.try_send(event.to_string());
        }
    }

    fn leg_enters(&self, id: &str) {
        let mut state = self.state();
        if let Some(leg) = state.legs.get_mut(id) {
            leg.in_stasis = true;
            let event = json!({"type": "StasisStart", "args": [], "channel": self.channel(id, "Up")});
            self.emit(&mut state, event);
        }
    }

    fn remove_channel(&self, id: &str) -> bool {
        let mut state = self.state();
        let caller = state.callers.remove(id);
        let leg = state.legs.remove(id);
        if let Some(leg) = &leg {
            self.command(Command::Stop(leg.index));
        }
        if let Some(Caller { leg: Some(index), .. }) = caller {
            self.command(Command::Stop(index));
        }
        let existed = leg.is_some() || caller.is_some();
        if existed {
            let channel = self.channel(id, "Up");
            self.emit(&mut state, json!({"type": "StasisEnd", "channel": channel}));
            self.emit(
                &mut state,
                json!({"type": "ChannelDestroyed", "cause": 16, "cause_txt": "Normal Clearing", "channel": channel}),
            );
            self.0.changed.notify_waiters();
        }
        existed
    }

    /// The leg that a WebSocket connection is for, if one waits.
    pub(super) fn invited(&self, connection: &str) -> Option<(String, usize)> {
        let mut state = self.state();
        let id = state.invited.remove(connection)?;
        let index = state.legs.get(&id)?.index;
        Some((id, index))
    }

    /// That connection is there.
    pub(super) fn media_connected(&self, id: &str, index: usize, stream: std::net::TcpStream, read: Vec<u8>) {
        self.command(Command::Attach(index, Far::Stream(stream, read)));
        self.leg_enters(id);
    }

    /// Answers a request to ARI. `path` is what comes after `/ari/`.
    pub(super) async fn request(&self, method: &Method, path: &str, body: &Value) -> Answer {
        let segments: Vec<&str> = path.split('/').collect();
        match (method.as_str(), segments.as_slice()) {
            ("GET", ["asterisk", "info"]) => Answer::ok(json!({
                "system": {"version": "22.10.1", "entity_id": "bench"},
                "status": {"startup_time": "2026-01-01T00:00:00.000+0000"},
            })),
            ("GET", ["asterisk", "ping"]) => {
                Answer::ok(json!({"asterisk_id": "bench", "ping": "pong", "timestamp": "2026-01-01T00:00:00.000+0000"}))
            }
            ("GET", ["asterisk", "modules"]) => Answer::ok(modules()),
            ("GET", ["channels"]) => {
                let state = self.state();
                Answer::ok(state.callers.keys().chain(state.legs.keys()).map(|id| self.channel(id, "Up")).collect())
            }
            ("GET", ["bridges"]) => {
                Answer::ok(self.state().bridges.iter().map(|(id, members)| bridge(id, members)).collect())
            }
            ("GET", ["applications", name]) if self.state().events.is_none() => {
                Answer::no(StatusCode::NOT_FOUND, &format!("no application {name}"))
            }
            ("GET", ["applications", name]) | ("PUT" | "POST", ["applications", name, _]) => Answer::ok(json!({
                "name": name, "channel_ids": [], "bridge_ids": [], "endpoint_ids": [], "device_names": [],
            })),
            ("POST", ["channels", "externalMedia"]) => self.external_media(body).await,
            ("GET" | "DELETE" | "POST", ["channels", id, ..]) if !self.has_channel(id) => {
                Answer::no(StatusCode::NOT_FOUND, "Channel not found")
            }
            ("GET", ["channels", id]) => Answer::ok(self.channel(id, "Up")),
            ("GET", ["channels", _, "variable"]) => Answer::ok(json!({"value": "60"})),
            ("POST" | "DELETE", ["channels", _, "answer" | "ring" | "variable"]) => Answer::done(),
            ("POST", ["channels", id, "continue"]) | ("DELETE", ["channels", id]) => {
                self.remove_channel(id);
                Answer::done()
            }
            ("POST", ["bridges", id]) => {
                self.state().bridges.insert((*id).to_owned(), Vec::new());
                Answer::ok(bridge(id, &[]))
            }
            ("DELETE", ["bridges", id]) => {
                let removed = self.state().bridges.remove(*id).is_some();
                self.0.changed.notify_waiters();
                if removed { Answer::done() } else { Answer::no(StatusCode::NOT_FOUND, "Bridge not found") }
            }
            ("POST", ["bridges", id, "addChannel"]) => self.add_channels(id, body),
            _ => {
                let mut state = self.state();
                if state.unknown.len() < TOLD_REQUESTS {
                    state.unknown.push(format!("{method} {path}"));
                }
                Answer::no(StatusCode::NOT_FOUND, "Resource not found")
            }
        }
    }

    fn has_channel(&self, id: &str) -> bool {
        let state = self.state();
        state.callers.contains_key(id) || state.legs.contains_key(id)
    }

    fn add_channels(&self, bridge: &str, body: &Value) -> Answer {
        let members: Vec<String> = match &body["channel"] {
            Value::Array(members) => members.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            member => member.as_str().map(str::to_owned).into_iter().collect(),
        };
        let mut state = self.state();
        if !state.bridges.contains_key(bridge) {
            return Answer::no(StatusCode::NOT_FOUND, "Bridge not found");
        }
        let legs: Vec<&Leg> = members.iter().filter_map(|member| state.legs.get(member)).collect();
        if legs.iter().any(|leg| !leg.in_stasis) {
            return Answer::no(StatusCode::UNPROCESSABLE_ENTITY, "Channel not in Stasis application");
        }
        let Some(index) = legs.first().map(|leg| leg.index) else {
            return Answer::no(StatusCode::BAD_REQUEST, "Channel not found");
        };
        let caller = members.iter().find(|member| member.starts_with(CALLER)).cloned();
        if let Some(caller) = caller.and_then(|caller| state.callers.get_mut(&caller)) {
            let first_time = !std::mem::replace(&mut caller.up, true);
            caller.leg = Some(index);
            state.connected += usize::from(first_time);
        }
        state.bridges.insert(bridge.to_owned(), members);
        drop(state);
        self.command(Command::Start(index));
        self.0.changed.notify_waiters();
        Answer::done()
    }

    async fn external_media(&self, body: &Value) -> Answer {
        let Some(id) = body["channelId"].as_str().map(str::to_owned) else {
            return Answer::no(StatusCode::BAD_REQUEST, "channelId is missing");
        };
        let index = {
            let mut state = self.state();
            if state.next_leg == state.calls {
                return Answer::no(StatusCode::INTERNAL_SERVER_ERROR, "more legs than calls");
            }
            let index = state.next_leg;
            state.next_leg += 1;
            state.legs.insert(id.clone(), Leg { index, in_stasis: false });
            index
        };
        let made = match self.0.transport {
            Transport::Rtp => self.rtp_leg(index, body),
            Transport::Audiosocket => self.audiosocket_leg(index, body).await,
            Transport::Websocket => Ok(self.websocket_leg(&id)),
        };
        let variables = match made {
            Ok(variables) => variables,
            Err(error) => {
                self.state().legs.remove(&id);
                return Answer::no(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
            }
        };
        if self.0.transport != Transport::Websocket {
            self.leg_enters(&id);
        }
        let mut channel = self.channel(&id, "Up");
        channel["channelvars"] = variables;
        Answer::ok(channel)
    }

    fn rtp_leg(&self, index: usize, body: &Value) -> io::Result<Value> {
        let remote = external_host(body)?;
        self.state().remote = Some(remote);
        self.command(Command::Attach(index, Far::Address(remote)));
        let local = (self.0.leg_address)(index);
        Ok(
            json!({"UNICASTRTP_LOCAL_ADDRESS": local.ip().to_string(), "UNICASTRTP_LOCAL_PORT": local.port().to_string()}),
        )
    }

    async fn audiosocket_leg(&self, index: usize, body: &Value) -> io::Result<Value> {
        let remote = external_host(body)?;
        let uuid: Uuid = body["data"].as_str().unwrap_or_default().parse().map_err(io::Error::other)?;
        let mut stream = tokio::net::TcpStream::connect(remote).await?;
        stream.set_nodelay(true)?;
        let mut hello = [0; 32];
        let length = Frame::Uuid(*uuid.as_bytes()).write(&mut hello).map_err(io::Error::other)?;
        stream.write_all(&hello[..length]).await?;
        self.state().remote = Some(remote);
        self.command(Command::Attach(index, Far::Stream(stream.into_std()?, Vec::new())));
        Ok(json!({}))
    }

    fn websocket_leg(&self, id: &str) -> Value {
        let connection = Uuid::new_v4().to_string();
        self.state().invited.insert(connection.clone(), id.to_owned());
        json!({"MEDIA_WEBSOCKET_CONNECTION_ID": connection})
    }
}

fn external_host(body: &Value) -> io::Result<SocketAddr> {
    body["external_host"].as_str().unwrap_or_default().parse().map_err(io::Error::other)
}

fn bridge(id: &str, members: &[String]) -> Value {
    json!({
        "id": id, "technology": "simple_bridge", "bridge_type": "mixing", "bridge_class": "stasis", "creator": "Stasis",
        "name": "", "channels": members,
    })
}

/// Everything that a server may look for.
fn modules() -> Value {
    let names = [
        "res_ari",
        "res_ari_model",
        "res_ari_asterisk",
        "res_ari_applications",
        "res_ari_channels",
        "res_ari_bridges",
        "res_ari_events",
        "res_http_websocket",
        "res_websocket_client",
        "res_stasis",
        "res_stasis_answer",
        "app_stasis",
        "chan_rtp",
        "res_rtp_asterisk",
        "chan_audiosocket",
        "res_audiosocket",
        "app_audiosocket",
        "chan_websocket",
        "bridge_simple",
        "func_timeout",
        "codec_ulaw",
        "codec_alaw",
        "codec_g722",
        "codec_opus",
        "codec_resample",
        "res_format_attr_opus",
    ];
    names.iter().map(|name| json!({"name": format!("{name}.so"), "status": "Running", "use_count": 1, "support_level": "core", "description": ""})).collect()
}
