//! A server that dies with a call on every transport, and sockets that calls leave behind.

use crate::arioso::rig::{
    Carrier, DEAD_MAN, GIVEN_BACK, MediaLeg, Options, PLAIN_ECHO, PLAIN_UNKNOWN, Ports, Rig, echo_number,
    reception_number,
};
use crate::shared::SOON;
use arioso::bench::caller::{ActiveCall, Caller, CallerSettings, HungUp, Party};
use futures_util::future::join_all;
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

const LEGS: [MediaLeg; 4] = [
    MediaLeg::new(Carrier::Rtp, "ulaw"),
    MediaLeg::new(Carrier::AudioSocket, "slin"),
    MediaLeg::new(Carrier::WebSocketDial, "slin"),
    MediaLeg::new(Carrier::WebSocketListen, "slin"),
];

/// What the dialplan says before it hangs up lasts about four seconds.
const ANNOUNCEMENT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_releases_the_callers_of_every_transport() {
    let mut rig = Rig::start(Options { legs: LEGS.to_vec(), ..Options::default() }).await;
    let numbers: Vec<String> = (0..LEGS.len()).map(reception_number).collect();
    let calls: Vec<ActiveCall> = join_all(numbers.iter().map(|number| rig.call(number))).await;
    for call in &calls {
        call.wait_for_voice(call.answered_at().expect("answered"), SOON).await.expect("the greeting");
    }
    let plain = rig.call(PLAIN_ECHO).await;
    rig.kill_server().await;
    let killed = Instant::now();
    for (leg, call) in LEGS.iter().zip(&calls) {
        let over = call.wait_hung_up(DEAD_MAN + SOON).await;
        let over = over.unwrap_or_else(|error| panic!("{leg}: the caller is released: {error}\n{}", rig.logs()));
        let waited = over.at - killed;
        assert!(waited <= DEAD_MAN + ANNOUNCEMENT, "{leg}: released after {waited:?}");
        assert_eq!(over.cause.map(|cause| cause.0), Some(41), "{leg}: the dialplan says so after its announcement");
    }
    plain.wait_hung_up(SOON).await.expect("the dialplan goes on when the connection ends");
    // Bridges are all that a dead server leaves; the next one removes them.
    rig.start_server().await;
    rig.wait_until_nothing_is_left().await;
}

/// The application goes on only after an orderly end of its connection; after anything else it hangs the caller up.
#[tokio::test(flavor = "multi_thread")]
async fn plain_calls_that_nobody_takes_go_on_in_the_dialplan() {
    let legs = vec![MediaLeg::new(Carrier::AudioSocket, "slin")];
    let mut rig = Rig::start(Options { legs, media: "max_calls = 1", ..Options::default() }).await;
    let first = rig.call(PLAIN_ECHO).await;
    rig.wait_for_log("a call has arrived").await;
    for number in [PLAIN_ECHO, PLAIN_UNKNOWN] {
        for over in join_all((0..4).map(|_| refused(&rig, number))).await {
            assert_eq!(over.cause.map(|cause| cause.0), Some(GIVEN_BACK), "{number}\n{}", rig.logs());
        }
    }
    rig.wait_for_log("at the limit of media.max_calls").await;
    rig.wait_for_log("a UUID that no call and no route has").await;
    assert!(first.hung_up().is_none(), "the first one goes on");
    // Nor is it different for whoever is sent back because the server stops.
    assert_eq!(rig.take_server().terminate().await, Some(0));
    let over = first.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.cause.map(|cause| cause.0), Some(GIVEN_BACK), "{}", rig.logs());
    rig.wait_until_nothing_is_left().await;
}

/// Calls a number behind which nobody speaks; how it ended.
async fn refused(rig: &Rig, number: &str) -> HungUp {
    let call = rig.call(number).await;
    let over = call.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.by, Party::Asterisk);
    assert!(call.last_voice_at().is_none(), "somebody spoke\n{}", rig.logs());
    over
}

/// When a caller loses patience.
#[derive(Clone, Copy)]
enum Moment {
    Dialled,
    Ringing,
    Answered,
}

/// Set-up, its requests and its connections are under way at all of these.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_during_set_up_leaves_nothing_on_any_transport() {
    let mut rig = Rig::start(Options { legs: LEGS.to_vec(), ..Options::default() }).await;
    let pid = rig.server().pid();
    let mut numbers: Vec<String> = (0..LEGS.len()).flat_map(|leg| [echo_number(leg), reception_number(leg)]).collect();
    numbers.push(PLAIN_ECHO.to_owned());
    for moment in [Moment::Dialled, Moment::Ringing, Moment::Ringing, Moment::Answered] {
        let rig = &rig;
        let give_up = async |number: &String| {
            let call = Caller::dial(CallerSettings::new(rig.asterisk.sip_address(), number)).await.expect("dialled");
            match moment {
                Moment::Dialled => {}
                Moment::Ringing => call.wait_ringing(SOON).await.expect("it rings, or is answered"),
                Moment::Answered => drop(call.wait_answered(SOON).await.expect("answered")),
            }
            call.hang_up().await.expect("cancelled or hung up");
        };
        join_all(numbers.iter().map(give_up)).await;
        rig.wait_until_nothing_is_left().await;
        let deadline = Instant::now() + SOON;
        while media_connections(pid, rig.ports()) > 0 {
            assert!(Instant::now() < deadline, "media connections are left\n{}", rig.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_socket_is_left_of_any_call() {
    let mut rig = Rig::start(Options { legs: LEGS.to_vec(), ..Options::default() }).await;
    let pid = rig.server().pid();
    let before = sockets(pid);
    let mut numbers: Vec<String> = (0..LEGS.len()).flat_map(|leg| [echo_number(leg), reception_number(leg)]).collect();
    numbers.push(PLAIN_ECHO.to_owned());
    for _ in 0..2 {
        let calls: Vec<ActiveCall> = join_all(numbers.iter().map(|number| rig.call(number))).await;
        let media = media_connections(pid, rig.ports());
        assert!(media >= 5, "{media} media connections of calls that Asterisk connects\n{}", rig.logs());
        for over in join_all(calls.iter().map(ActiveCall::hang_up)).await {
            over.expect("hung up");
        }
        rig.wait_until_nothing_is_left().await;
        let deadline = Instant::now() + SOON;
        while media_connections(pid, rig.ports()) > 0 {
            assert!(Instant::now() < deadline, "media connections are left\n{}", rig.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Those to Asterisk's HTTP server are of three kinds: events, idle ones that Asterisk closes after 15 s, and media.
    let deadline = Instant::now() + 2 * SOON;
    loop {
        let left = sockets(pid).len();
        if left <= before.len() {
            return;
        }
        assert!(Instant::now() < deadline, "{left} sockets, {} before the calls", before.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Inodes of the sockets that the process has open.
fn sockets(pid: u32) -> HashSet<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the server runs").flatten();
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let name = |target: std::path::PathBuf| {
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        Some(inode.to_owned())
    };
    targets.filter_map(name).collect()
}

/// TCP connections of the process that came in on the ports for media, in any state but listening.
fn media_connections(pid: u32, ports: Ports) -> usize {
    const LISTENING: &str = "0A";
    let ours = sockets(pid);
    let ports = [ports.audiosocket, ports.websocket].map(|port| format!(":{port:04X}"));
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("the table of TCP sockets");
    let is_media = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(local), Some(_), Some(state)) = (fields.next(), fields.next(), fields.next()) else { return false };
        let inode = line.split_whitespace().nth(9);
        state != LISTENING
            && ports.iter().any(|port| local.ends_with(port.as_str()))
            && inode.is_some_and(|inode| ours.contains(inode))
    };
    table.lines().skip(1).filter(is_media).count()
}
