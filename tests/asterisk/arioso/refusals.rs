//! Calls that no bot takes, and servers that cannot start: each says why.

use super::rig::{GIVEN_BACK, LOCAL_BOT, Options, Rig, answer_since};
use crate::shared::SOON;
use std::fs;
use std::net::UdpSocket;

#[tokio::test(flavor = "multi_thread")]
async fn a_number_without_a_route_goes_back_to_the_dialplan() {
    let rig = Rig::start(Options { number: "200", ..Options::default() }).await;
    let call = rig.call("100").await;
    let over = call.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.cause.map(|cause| cause.0), Some(GIVEN_BACK));
    assert!(rig.asterisk.log().contains("gave the call back: no-route"), "{}", rig.asterisk.log());
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_limit_a_caller_goes_back_to_the_dialplan_and_the_others_go_on() {
    let rig = Rig::start(Options { media: "max_calls = 1", ..Options::default() }).await;
    let first = rig.call("100").await;
    answer_since(&first, first.answered_at().expect("answered")).await;
    let second = rig.call("100").await;
    let over = second.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    assert_eq!(over.cause.map(|cause| cause.0), Some(GIVEN_BACK));
    assert!(rig.asterisk.log().contains("gave the call back: limit-reached"), "{}", rig.asterisk.log());
    assert!(first.hung_up().is_none());
    first.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_in_one_line() {
    let rig = Rig::without_server(Options::default()).await;
    let file = rig.config().with_file_name("wrong.password");
    fs::write(&file, "not the password\n").expect("written");
    rig.configure(&Options::default(), "wrong.password");
    let (code, log) = rig.process("serve", &["serve", "--config", rig.config().to_str().unwrap()]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    let line = log.lines().find(|line| line.starts_with("arioso: ")).unwrap_or_else(|| panic!("no error in\n{log}"));
    assert!(line.contains("refuses the login of ARI user `arioso`") && line.contains("ari.conf"), "{line}");
    assert!(!log.contains("not the password"), "the password is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asterisk_that_is_down_is_said_in_one_line() {
    let mut rig = Rig::without_server(Options::default()).await;
    rig.asterisk.kill();
    let (code, log) = rig.process("serve", &["serve", "--config", rig.config().to_str().unwrap()]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    let line = log.lines().find(|line| line.starts_with("arioso: ")).unwrap_or_else(|| panic!("no error in\n{log}"));
    assert!(line.contains("cannot reach Asterisk at http://127.0.0.1:"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_said_in_one_line() {
    let rig = Rig::without_server(Options::default()).await;
    let config = fs::read_to_string(rig.config()).expect("the configuration");
    let port: u16 = config
        .split("ports = \"")
        .nth(1)
        .and_then(|rest| rest.split('-').next()?.parse().ok())
        .expect("the port of the configuration");
    let _taken = UdpSocket::bind(("127.0.0.1", port)).expect("the port is free for us");
    let (code, log) = rig.process("serve", &["serve", "--config", rig.config().to_str().unwrap()]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    let line = log.lines().find(|line| line.starts_with("arioso: ")).unwrap_or_else(|| panic!("no error in\n{log}"));
    assert!(line.contains(&port.to_string()) && line.contains("media.ports"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_models_are_said_in_one_line() {
    let bot = LOCAL_BOT.replace("kind = \"local\"", "kind = \"local\"\nmodels = \"no-models-here\"");
    let rig = Rig::without_server(Options { bot, ..Options::default() }).await;
    let (code, log) = rig.process("serve", &["serve", "--config", rig.config().to_str().unwrap()]).ended().await;
    assert_eq!(code, Some(1), "{log}");
    let line = log.lines().find(|line| line.starts_with("arioso: ")).unwrap_or_else(|| panic!("no error in\n{log}"));
    assert!(line.contains("arioso models fetch"), "{line}");
}
