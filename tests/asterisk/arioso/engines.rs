//! The same call with engines in a process of their own, and what a caller notices when that process is killed.

use super::rig::{
    GREETING, OPENING_HOURS, Options, Process, Rig, answer_since, free_tcp_port, good_bye, is_heard, voice, words_of,
};
use crate::shared::SOON;

/// A bot whose engines are behind gRPC, with these lists.
fn bot(port: u16, engines: &str) -> String {
    format!(
        r#"
[engines.local]
kind = "local"

[engines.lab]
kind = "grpc"
url = "http://127.0.0.1:{port}"

[bots.reception]
language = "en-US"
recognizer = {engines}
synthesizer = {engines}
dialog = {engines}
greeting = "Hello, this is the reception. How can I help you?"
"#
    )
}

async fn engine(rig: &Rig, port: u16) -> Process {
    let mut engine = rig.process("engine", &["engine", "serve", "--listen", &format!("127.0.0.1:{port}")]);
    engine.wait_for_log("engines can be used").await;
    engine
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_over_grpc_give_the_same_call() {
    let port = free_tcp_port();
    let mut rig = Rig::without_server(Options { bot: bot(port, r#"["lab"]"#), ..Options::default() }).await;
    let _engine = engine(&rig, port).await;
    rig.start_server().await;
    let call = rig.call("100").await;
    let greeting = answer_since(&call, call.answered_at().expect("answered")).await;
    assert!(is_heard(GREETING, &greeting), "{greeting:?}\n{}", rig.logs());
    let said = call.say_to_end(&voice("What are your opening hours?")).await.expect("spoken");
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(OPENING_HOURS, &answer), "{answer:?}\n{}", rig.logs());
    call.say_to_end(&good_bye(&rig)).await.expect("spoken");
    call.wait_hung_up(SOON).await.expect("the bot hangs up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_engine_moves_the_call_to_the_next_one() {
    let port = free_tcp_port();
    let mut rig = Rig::without_server(Options { bot: bot(port, r#"["lab", "local"]"#), ..Options::default() }).await;
    let engine = engine(&rig, port).await;
    rig.start_server().await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    engine.kill().await;
    let said = call.say_to_end(&voice("What are your opening hours?")).await.expect("spoken");
    let answer = answer_since(&call, said.last_packet_at).await;
    assert!(is_heard(OPENING_HOURS, &answer), "{answer:?}\n{}", rig.logs());
    rig.wait_for_log("engine switched").await;
    call.hang_up().await.expect("hung up");
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_only_engine_is_apologized_for_and_the_dialplan_goes_on() {
    let port = free_tcp_port();
    let mut rig = Rig::without_server(Options { bot: bot(port, r#"["lab"]"#), ..Options::default() }).await;
    let engine = engine(&rig, port).await;
    rig.start_server().await;
    let call = rig.call("100").await;
    answer_since(&call, call.answered_at().expect("answered")).await;
    let killed = std::time::Instant::now();
    engine.kill().await;
    let over = call.wait_hung_up(SOON).await.expect("the dialplan ends the call");
    let heard = words_of(&call.heard_since(killed)).await;
    assert!(
        is_heard("i am sorry we have a technical problem", &heard),
        "the apology was heard as {heard:?}\n{}",
        rig.logs()
    );
    assert_eq!(over.cause.map(|cause| cause.0), Some(41));
    assert!(rig.asterisk.log().contains("gave the call back: engines-unavailable"), "{}", rig.asterisk.log());
    rig.wait_until_nothing_is_left().await;
}
