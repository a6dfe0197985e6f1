//! The line of one call: its state, and the two threads that move it.
//!
//! One thread owns the SIP socket and reads both sockets; it lives until the call is over and nobody holds it any more,
//! so that a caller who is dropped still says goodbye. The other begins with the answer and sends a frame every 20 ms.
//! They have nothing to do with the runtime of whoever waits: a test may end its runtime in the middle of a call.

use super::dialog::{Dialog, DialogEvent, Parties};
use super::recording::Recorder;
use super::sdp::{LocalMedia, RemoteMedia};
use super::speaker::{Packetizer, SpeechQueue, SpeechTiming};
use super::{CallerError, CallerSettings, HungUp, Q850Cause};
use crate::audio::SampleRate;
use crate::bench::random_u64;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// More than any datagram of SIP or RTP on loopback.
const DATAGRAM: usize = 8_192;

/// A call that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) at: Instant,
    pub(super) media: RemoteMedia,
}

/// Where the call is.
#[derive(Debug)]
pub(super) enum Phase {
    Dialling,
    Answered,
    Over(End),
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    HungUp(HungUp),
    Refused { status: u16, reason: String, cause: Option<Q850Cause> },
    NoResponse,
    NoCommonAudio { problem: String },
}

impl End {
    /// What somebody is told who wanted more from the call.
    pub(super) fn error(&self, server: SocketAddr) -> CallerError {
        match self {
            Self::HungUp(hung_up) => CallerError::Ended(*hung_up),
            Self::Refused { status, reason, cause } => {
                CallerError::Refused { status: *status, reason: reason.clone(), cause: *cause }
            }
            Self::NoResponse => CallerError::NoResponse { server },
            Self::NoCommonAudio { problem } => CallerError::NoCommonAudio { problem: problem.clone() },
        }
    }
}

/// What is known of the call.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The last provisional SIP status.
    pub(super) progress: Option<u16>,
    pub(super) answered: Option<Answered>,
    pub(super) recorder: Recorder,
    /// There from the answer on.
    pub(super) speech: Option<SpeechQueue>,
    pub(super) timing: SpeechTiming,
}

/// The state, shared by the two threads and the user. Each holds the lock for moments only.
#[derive(Debug)]
pub(super) struct Line {
    state: Mutex<State>,
    changes: watch::Sender<()>,
}

impl Line {
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state and wakes everybody who waits.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.changes.send_replace(());
        changed
    }

    /// Changes what nobody waits for.
    fn update<T>(&self, update: impl FnOnce(&mut State) -> T) -> T {
        update(&mut self.lock())
    }

    /// Waits until `look` says `Ok`. It looks again after every change, and at the moment that it names in `Err`.
    pub(super) async fn wait<T>(
        &self,
        what: &'static str,
        timeout: Duration,
        mut look: impl FnMut(&State, Instant) -> Result<T, Option<Instant>>,
    ) -> Result<T, CallerError> {
        let deadline = Instant::now() + timeout;
        // Subscribed before the first look: a change after it is not missed.
        let mut changes = self.changes.subscribe();
        loop {
            let now = Instant::now();
            let wake = match self.read(|state| look(state, now)) {
                Ok(found) => return Ok(found),
                Err(_) if now >= deadline => return Err(CallerError::NotInTime { what, waited: timeout }),
                Err(wake) => wake.map_or(deadline, |wake| wake.min(deadline)),
            };
            // Whether it was a change or the time: look again. The sender lives as long as this line.
            let _ = tokio::time::timeout_at(wake.into(), changes.changed()).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics in a way that leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the user tells the line. Dropping it hangs up too.
#[derive(Debug)]
pub(super) struct Orders(mpsc::Sender<()>);

impl Orders {
    pub(super) fn hang_up(&self) {
        // Full means that it was said before, closed that the call is over.
        let _ = self.0.try_send(());
    }
}

/// Opens the sockets, starts the thread and sends the INVITE.
pub(super) fn open(settings: &CallerSettings) -> Result<(Arc<Line>, Orders), CallerError> {
    let rate = check(settings)?;
    let failed = |doing| move |source| CallerError::Socket { doing, source: Arc::new(source) };
    let sip = connected_socket(settings.server).map_err(failed("open a UDP socket for SIP"))?;
    let local = sip.local_addr().map_err(failed("open a UDP socket for SIP"))?;
    let rtp = nonblocking_socket(local.ip()).map_err(failed("open a UDP socket for RTP"))?;
    let media_address = rtp.local_addr().map_err(failed("open a UDP socket for RTP"))?;
    let now = Instant::now();
    let state = State {
        phase: Phase::Dialling,
        progress: None,
        answered: None,
        recorder: Recorder::new(now, rate),
        speech: None,
        timing: SpeechTiming::default(),
    };
    let line = Arc::new(Line { state: Mutex::new(state), changes: watch::Sender::new(()) });
    let (orders, hang_up) = mpsc::channel(1);
    let parties = Parties {
        server: settings.server,
        local,
        number: settings.number.clone(),
        caller_number: settings.caller_number.clone(),
    };
    // A session id is any number; 31 bits are read by everyone.
    let session = (random_u64() >> 33) as u32;
    let media = LocalMedia { address: media_address, codecs: settings.codecs.clone(), session };
    let dialog = Dialog::invite(parties, media, now);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("start the thread of a caller"))?;
    let signalling =
        Signalling { dialog, line: Arc::clone(&line), sends_silence: settings.sends_silence, unreadable: 0 };
    let thread = std::thread::Builder::new().name("caller-sip".to_owned());
    let run = move || match runtime.block_on(signalling.run(sip, rtp, hang_up)) {
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "a caller lost its sockets"),
    };
    thread.spawn(run).map_err(failed("start the thread of a caller"))?;
    Ok((line, Orders(orders)))
}

/// What goes into SIP headers must not break them. Gives the rate of the call.
fn check(settings: &CallerSettings) -> Result<SampleRate, CallerError> {
    let user = |text: &str| {
        let safe = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b);
        !text.is_empty() && text.bytes().all(safe)
    };
    let problem = if !user(&settings.number) {
        "the number may have letters, digits and -_.!~*'()&=+$,;?/ only, and not be empty"
    } else if !user(&settings.caller_number) {
        "the caller's own number may have letters, digits and -_.!~*'()&=+$,;?/ only, and not be empty"
    } else {
        match settings.codecs.first().map(|codec| codec.rate()) {
            None => "there must be at least one codec",
            Some(rate) if settings.codecs.iter().all(|codec| codec.rate() == rate) => return Ok(rate),
            Some(_) => "the codecs must have the same rate: either G.711 or G.722",
        }
    };
    Err(CallerError::Settings { problem })
}

/// Connected, so that the kernel picks our address, lets only the server in, and tells when nobody listens there.
fn connected_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = nonblocking_socket(any)?;
    socket.connect(server)?;
    Ok(socket)
}

fn nonblocking_socket(address: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The thread that signals and listens.
struct Signalling {
    dialog: Dialog,
    line: Arc<Line>,
    sends_silence: bool,
    unreadable: u64,
}

impl Signalling {
    async fn run(mut self, sip: UdpSocket, rtp: UdpSocket, mut hang_up: mpsc::Receiver<()>) -> io::Result<()> {
        let speaking_socket = rtp.try_clone()?;
        let sip = tokio::net::UdpSocket::from_std(sip)?;
        let rtp = tokio::net::UdpSocket::from_std(rtp)?;
        let (mut message, mut packet) = ([0; DATAGRAM], [0; DATAGRAM]);
        let mut user_gone = false;
        loop {
            while let Some(datagram) = self.dialog.poll_transmit() {
                // An error here is that of an earlier datagram, and the retransmissions make up for this one.
                if let Err(error) = sip.send(&datagram).await {
                    self.socket_failed(&error);
                }
            }
            while let Some(event) = self.dialog.poll_event() {
                self.happened(event, &speaking_socket);
            }
            if user_gone && self.dialog.is_ended() {
                return Ok(());
            }
            let timeout = self.dialog.poll_timeout();
            tokio::select! {
                // Audio first: its moment of arrival is what callers measure with.
                biased;
                received = rtp.recv_from(&mut packet) => {
                    let now = Instant::now();
                    if let Ok((length, _)) = received {
                        self.line.change(|state| state.recorder.packet(&packet[..length], now));
                    }
                }
                received = sip.recv(&mut message) => match received {
                    Ok(length) => self.received(&message[..length]),
                    Err(error) => self.socket_failed(&error),
                },
                order = hang_up.recv(), if !user_gone => {
                    user_gone = order.is_none();
                    self.dialog.hang_up(Instant::now());
                }
                () = sleep_until(timeout) => self.dialog.handle_timeout(Instant::now()),
            }
        }
    }

    fn received(&mut self, datagram: &[u8]) {
        if let Err(error) = self.dialog.handle(datagram, Instant::now()) {
            self.unreadable += 1;
            if self.unreadable == 1 {
                tracing::warn!(%error, "a caller got a datagram that is no SIP message");
            }
        }
    }

    fn socket_failed(&mut self, error: &io::Error) {
        tracing::debug!(%error, "the SIP socket of a caller");
        self.dialog.unreachable();
    }

    fn happened(&mut self, event: DialogEvent, socket: &UdpSocket) {
        let now = Instant::now();
        let mut answered = false;
        self.line.change(|state| match event {
            DialogEvent::Progress { status } => state.progress = Some(status),
            DialogEvent::EarlyMedia(media) => state.recorder.set_codec(media.codec),
            DialogEvent::Answered(media) => {
                state.phase = Phase::Answered;
                state.answered = Some(Answered { at: now, media });
                state.recorder.set_codec(media.codec);
                state.speech = Some(SpeechQueue::new(now, state.recorder.recording.rate()));
                answered = true;
            }
            DialogEvent::MediaChanged(media) => {
                state.recorder.set_codec(media.codec);
                if let Some(answered) = &mut state.answered {
                    answered.media = media;
                }
            }
            DialogEvent::NoCommonAudio(error) => {
                state.phase = Phase::Over(End::NoCommonAudio { problem: error.to_string() });
            }
            DialogEvent::Refused { status, reason, cause } => state.end(End::Refused { status, reason, cause }),
            DialogEvent::NoResponse => state.end(End::NoResponse),
            DialogEvent::HungUp { by, cause } => state.end(End::HungUp(HungUp { by, at: now, cause })),
        });
        if answered && let Err(error) = self.start_speaking(socket) {
            tracing::warn!(%error, "a caller cannot speak");
            self.dialog.hang_up(now);
        }
    }

    fn start_speaking(&self, socket: &UdpSocket) -> io::Result<()> {
        let (socket, line, sends_silence) = (socket.try_clone()?, Arc::clone(&self.line), self.sends_silence);
        let thread = std::thread::Builder::new().name("caller-rtp".to_owned());
        thread.spawn(move || speak(&socket, &line, sends_silence)).map(drop)
    }
}

impl State {
    /// The first reason for the end is the one that counts.
    fn end(&mut self, end: End) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = Phase::Over(end);
        }
    }
}

/// The thread that speaks, from the answer to the end of the call.
fn speak(socket: &UdpSocket, line: &Line, sends_silence: bool) {
    let mut packetizer = Packetizer::new();
    loop {
        let due = line.read(|state| state.speech.as_ref().map(SpeechQueue::next_leaves_at));
        let Some(due) = due else { return };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let frame = line.update(|state| match (&state.phase, state.answered, &mut state.speech) {
            (Phase::Answered, Some(answered), Some(speech)) => Some((answered.media, speech.take())),
            _ => None,
        });
        let Some((media, outgoing)) = frame else { return };
        if outgoing.is_none() && !sends_silence {
            packetizer.pause();
        } else {
            packetizer.frame(&media, outgoing, |datagram| {
                // Nobody there, or a full buffer: what a telephone does not notice either.
                let _ = socket.send_to(datagram, media.address);
            });
        }
        line.change(|state| {
            state.timing.frames += 1;
            state.timing.worst_lateness = state.timing.worst_lateness.max(due.elapsed());
        });
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
