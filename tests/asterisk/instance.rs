//! The local Asterisk itself: several at once, killed, started again, and nothing left over.

use crate::shared::{SOON, asterisk, settings};
use arioso::bench::asterisk::{DebianRelease, LocalAsterisk, LocalAsteriskError, LocalAsteriskSettings};
use arioso::bench::caller::{Caller, CallerSettings, Party, Q850Cause};
use std::time::Instant;

#[tokio::test]
async fn two_instances_live_side_by_side_and_leave_nothing() {
    let first = LocalAsterisk::start(settings()).await.unwrap();
    let second = LocalAsterisk::start(settings()).await.unwrap();
    assert_ne!(first.sip_address(), second.sip_address());
    assert_ne!(first.ari_password(), second.ari_password());
    let on_first = Caller::call(CallerSettings::new(first.sip_address(), "901")).await.unwrap();
    let channels = first.channels().await.unwrap();
    assert!(matches!(&channels[..], [channel] if channel.starts_with("PJSIP/caller-")), "{channels:?}");
    assert!(second.channels().await.unwrap().is_empty());
    let left = second.wait_until_empty(std::time::Duration::ZERO).await;
    assert!(left.is_ok(), "{left:?}");
    let left = first.wait_until_empty(std::time::Duration::ZERO).await.unwrap_err();
    assert!(matches!(&left, LocalAsteriskError::LeftOver { left, .. } if left.channels.len() == 1), "{left}");
    on_first.hang_up().await.unwrap();
    first.wait_until_empty(SOON).await.unwrap();
    let folder = second.folder().to_owned();
    second.stop();
    assert!(!folder.exists());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    let shown = first.cli("core show version").await.unwrap();
    assert!(shown.contains(&format!("Asterisk {} built", first.version())), "{shown:?} {first:?}");
}

#[tokio::test]
async fn a_killed_asterisk_says_nothing_and_comes_back_the_same() {
    let mut asterisk = LocalAsterisk::start(settings()).await.unwrap();
    let (sip, password) = (asterisk.sip_address(), asterisk.ari_password().to_owned());
    let call = Caller::call(CallerSettings::new(sip, "901")).await.unwrap();
    asterisk.kill();
    assert!(matches!(asterisk.cli("core show version").await, Err(LocalAsteriskError::Console { .. })));
    assert_eq!(call.hung_up(), None);
    asterisk.start_again().await.unwrap();
    assert_eq!((asterisk.sip_address(), asterisk.ari_password()), (sip, &*password));
    assert!(asterisk.channels().await.unwrap().is_empty());
    let again = Caller::call(CallerSettings::new(sip, "901")).await.unwrap();
    // The new Asterisk does not know the call, and says so to its BYE.
    assert_eq!(call.hang_up().await.unwrap().by, Party::Caller);
    assert_eq!(again.hang_up().await.unwrap().by, Party::Caller);
}

#[tokio::test]
async fn it_ends_at_once_even_if_its_folder_is_gone() {
    let asterisk = LocalAsterisk::start(settings()).await.unwrap();
    std::fs::remove_dir_all(asterisk.folder()).unwrap();
    let started = Instant::now();
    asterisk.stop();
    // Ten seconds would mean that it had to be killed from outside.
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
}

#[tokio::test]
async fn without_arioso_the_dialplan_says_so_and_hangs_up_with_its_own_cause() {
    let settings = LocalAsteriskSettings { app: "somebody-else".to_owned(), ..settings() };
    let asterisk = LocalAsterisk::start(settings).await.unwrap();
    let call = Caller::call(CallerSettings::new(asterisk.sip_address(), "100")).await.unwrap();
    call.wait_for_voice(call.dialled_at(), SOON).await.unwrap();
    let end = call.wait_hung_up(SOON).await.unwrap();
    assert_eq!((end.by, end.cause), (Party::Asterisk, Some(Q850Cause(38))));
    assert!(asterisk.log().contains("no Arioso is connected as \"somebody-else\""), "{}", asterisk.log());
    asterisk.wait_until_empty(SOON).await.unwrap();
}

#[tokio::test]
async fn a_call_that_arioso_stopped_looking_after_hears_so_and_ends() {
    let asterisk = asterisk().await;
    let call = Caller::call(CallerSettings::new(asterisk.sip_address(), "909")).await.unwrap();
    call.wait_for_voice(call.dialled_at(), SOON).await.unwrap();
    let end = call.wait_hung_up(SOON).await.unwrap();
    assert_eq!((end.by, end.cause), (Party::Asterisk, Some(Q850Cause(41))));
    assert!(asterisk.log().contains("Arioso stopped looking after the call"), "{}", asterisk.log());
}

#[tokio::test]
async fn it_starts_without_a_complaint_of_asterisk() {
    for (release, versions) in [(DebianRelease::Sid, 22..u32::MAX), (DebianRelease::Bullseye, 16..17)] {
        let asterisk = LocalAsterisk::start(LocalAsteriskSettings::of(release)).await.unwrap();
        let major = asterisk.version().split('.').next().unwrap().parse().unwrap();
        assert!(versions.contains(&major), "{release:?} has {}", asterisk.version());
        let log = asterisk.log();
        let complaint = |line: &&str| line.contains("ERROR") || line.contains("WARNING");
        let complaints: Vec<&str> = log.lines().filter(complaint).collect();
        assert!(complaints.is_empty(), "{release:?}: {complaints:#?}");
    }
}

#[tokio::test]
async fn ari_answers_to_the_password_in_the_file_and_to_no_other() {
    use std::io::{BufRead, BufReader, Write};
    let asterisk = asterisk().await;
    let password = std::fs::read_to_string(asterisk.ari_password_file()).unwrap();
    assert_eq!(password, asterisk.ari_password());
    for (password, status) in [(&*password, "200"), ("wrong", "401")] {
        let address = asterisk.ari_url().strip_prefix("http://").unwrap().to_owned();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let user = asterisk.ari_user();
        write!(stream, "GET /ari/asterisk/ping?api_key={user}:{password} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
}

#[tokio::test]
async fn an_app_name_that_would_break_the_dialplan_is_refused() {
    let started = Instant::now();
    let settings = LocalAsteriskSettings { app: "a,b".to_owned(), ..settings() };
    let error = LocalAsterisk::start(settings).await.unwrap_err();
    assert!(matches!(error, LocalAsteriskError::AppName { .. }), "{error}");
    assert!(started.elapsed() < SOON);
}
