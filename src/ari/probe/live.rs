//! The looks that change something: an events socket, and a media leg that comes and goes.

use super::super::events_socket::{EventStream, Signal};
use super::super::{
    Ari, AriError, Capabilities, ChannelId, Event, ExternalMedia, HangupReason, Variables, absolute_timeout,
};
use super::{AUDIO, CLEAN, Check, DEAD_MAN, EVENTS, MEDIA, Outcome, TestLeg, TestLegError, Wanted};
use crate::config::AppName;
use std::time::Duration;
use tokio::time::timeout;

/// How long an event may take that Asterisk sends at once.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// Played to the leg that is made for a try: made by Asterisk itself, so that no file is needed.
const TEST_SOUND: &str = "tone:350+440/2000";
/// The dead-man timer of the leg that is made for a try.
const LEG_LIFE: Duration = Duration::from_secs(30);

/// Takes them.
pub(super) async fn live(
    ari: &Ari,
    asterisk: &Capabilities,
    wanted: Wanted<'_>,
    served: bool,
    checks: &mut Vec<Check>,
) {
    let ari = ari.with_app(throw_away_app());
    let mut events = ari.events(256);
    let socket = events_socket(&mut events).await;
    let connected = socket.outcome == Outcome::Passed;
    checks.push(socket);
    if connected {
        media_leg(&ari, &mut events, asterisk, wanted, served, checks).await;
    } else {
        checks.extend([MEDIA, DEAD_MAN, AUDIO].map(|name| Check::skipped(name, "there is no events socket")));
    }
    events.close().await;
    checks.push(nothing_left(&ari).await);
}

async fn events_socket(events: &mut EventStream) -> Check {
    let fix = "load it: module load res_ari_events.so and res_http_websocket.so, and put both into modules.conf; a proxy in \
               between must pass WebSocket upgrades on";
    match timeout(EVENT_TIMEOUT, events.next()).await {
        Ok(Some(Signal::Connected)) => Check::passed(EVENTS, "opens, and takes a filter"),
        Ok(Some(Signal::Unavailable { error, .. })) => Check::failed(EVENTS, error.to_string(), fix),
        Ok(other) => Check::failed(EVENTS, format!("unexpected: {other:?}"), fix),
        Err(_) => Check::failed(EVENTS, format!("does not open within {EVENT_TIMEOUT:?}"), fix),
    }
}

async fn media_leg(
    ari: &Ari,
    events: &mut EventStream,
    asterisk: &Capabilities,
    wanted: Wanted<'_>,
    served: bool,
    checks: &mut Vec<Check>,
) {
    let (channel, test) = (throw_away_channel(), wanted.test);
    let media = ExternalMedia {
        channel: channel.clone(),
        format: wanted.transport.codec().asterisk_format(),
        variables: Variables::from([absolute_timeout(LEG_LIFE)]),
    };
    let made = test.make(ari, media, asterisk).await;
    let entered = made.is_ok() && timeout(EVENT_TIMEOUT, wait_for(events, &channel)).await.is_ok();
    checks.push(external_media(made, entered, served));
    if entered {
        checks.push(dead_man(ari, &channel).await);
        checks.push(audio(ari, &channel, test).await);
    } else {
        checks.extend([DEAD_MAN, AUDIO].map(|name| Check::skipped(name, "there is no media leg")));
    }
    test.end().await;
    // Also after an error: an answer that came too late leaves a leg as well. What remains is seen at the end.
    let _ = ari.hang_up(&channel, HangupReason::Normal).await;
}

fn external_media(made: Result<String, TestLegError>, entered: bool, served: bool) -> Check {
    match made {
        Ok(between) if entered => Check::passed(MEDIA, between),
        Ok(_) => Check::failed(
            MEDIA,
            format!("the leg was made and did not enter its application within {EVENT_TIMEOUT:?}"),
            "look into Asterisk's log: asterisk -rvvv",
        ),
        Err(TestLegError { detail, fix, only_here: true }) if served => Check::warning(MEDIA, detail, fix),
        Err(TestLegError { detail, only_here: true, .. }) => Check::failed(
            MEDIA,
            detail,
            "no server is connected, so another program has it: stop that, or choose another port",
        ),
        Err(TestLegError { detail, fix, only_here: false }) => Check::failed(MEDIA, detail, fix),
    }
}

/// Whether what Asterisk sends arrives: it is made to play something to the leg.
async fn audio(ari: &Ari, channel: &ChannelId, test: &mut dyn TestLeg) -> Check {
    if let Err(error) = ari.play(channel, TEST_SOUND).await {
        let fix = "load res_stasis_playback.so and res_ari_channels.so; this is needed for the check only";
        return Check::warning(AUDIO, format!("Asterisk plays nothing to the leg: {error}"), fix);
    }
    if test.hears().await {
        Check::passed(AUDIO, "what Asterisk sends arrives")
    } else {
        Check::failed(
            AUDIO,
            "Asterisk plays something to the leg, and nothing arrives here: bots would be deaf",
            "see that media.advertise is an address of this machine that Asterisk reaches, and that no firewall is in \
             between",
        )
    }
}

/// Whether a leg can be made to end by itself. Asterisk accepts the timer also where it does not know it: read it back.
async fn dead_man(ari: &Ari, channel: &ChannelId) -> Check {
    let fix = "load it: module load func_timeout.so, and put load=func_timeout.so into modules.conf";
    let (name, _) = absolute_timeout(LEG_LIFE);
    if let Err(error) = ari.set_absolute_timeout(channel, LEG_LIFE).await {
        return Check::failed(DEAD_MAN, error.to_string(), fix);
    }
    match ari.variable(channel, &name).await {
        Ok(Some(value)) if value.parse::<f64>().is_ok_and(|seconds| seconds > 0.0) => {
            Check::passed(DEAD_MAN, "a leg ends by itself when its server is gone")
        }
        Ok(_) | Err(AriError::Failed { .. }) => {
            Check::failed(DEAD_MAN, "the timer is accepted and not set: calls would outlive a dead server", fix)
        }
        Err(error) => Check::failed(DEAD_MAN, error.to_string(), fix),
    }
}

async fn wait_for(events: &mut EventStream, channel: &ChannelId) {
    while let Some(signal) = events.next().await {
        if matches!(&signal, Signal::Event(event @ Event::StasisStart { .. }) if event.channel_id() == Some(channel)) {
            return;
        }
    }
}

/// Whether everything that was made is gone.
async fn nothing_left(ari: &Ari) -> Check {
    let fix = "it ends by itself within half a minute; if not: channel request hangup all";
    for wait in [0, 20, 50, 100, 200, 500, 1000] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        match ari.channels().await {
            Ok(channels) if channels.iter().any(|channel| channel.id.as_str().starts_with(PREFIX)) => {}
            Ok(_) => return Check::passed(CLEAN, "no channel stays behind"),
            Err(error) => return Check::warning(CLEAN, error.to_string(), fix),
        }
    }
    Check::warning(CLEAN, "a channel of this check is still there", fix)
}

/// What the names of everything begin with that is made here.
const PREFIX: &str = "arioso-doctor-";

pub(super) fn throw_away_channel() -> ChannelId {
    let id = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    ChannelId::new(id).expect("46 letters, digits and dashes are a valid id")
}

fn throw_away_app() -> AppName {
    let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    AppName::new(&name).expect("46 letters, digits and dashes are a valid name")
}
