//! The oldest Asterisk that Arioso works with: RTP as everywhere, and nothing else.

use super::codecs::test_lines;
use super::conversations::converse;
use crate::arioso::rig::{Carrier, MediaLeg, Options, Rig, reception_number};
use arioso::bench::asterisk::DebianRelease;

#[tokio::test(flavor = "multi_thread")]
async fn asterisk_16_carries_ulaw_over_rtp_both_ways() {
    test_lines(DebianRelease::Bullseye, Carrier::Rtp, &["ulaw"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asterisk_16_is_talked_through_over_rtp() {
    let mut rig = Rig::start(Options { release: DebianRelease::Bullseye, ..Options::default() }).await;
    converse(&mut rig, "RTP ulaw on Asterisk 16", &reception_number(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asterisk_16_cannot_do_is_refused_at_start_with_the_reason() {
    for (carrier, codec, reason) in [
        (Carrier::AudioSocket, "slin", "AudioSocket"),
        (Carrier::AudioSocket, "slin16", "AudioSocket"),
        (Carrier::WebSocketDial, "ulaw", "WebSocket"),
        (Carrier::WebSocketListen, "ulaw", "WebSocket"),
        // It would silently become µ-law.
        (Carrier::Rtp, "slin", "slin"),
    ] {
        let legs = vec![MediaLeg::new(carrier, codec)];
        let options = Options { release: DebianRelease::Bullseye, legs, ..Options::default() };
        let rig = Rig::without_server(options).await;
        let (code, log) = rig.process("serve", &["serve", "--config", rig.config().to_str().unwrap()]).ended().await;
        assert_eq!(code, Some(1), "{carrier:?} {codec}: {log}");
        let line = log.lines().find(|line| line.starts_with("arioso: "));
        let line = line.unwrap_or_else(|| panic!("{carrier:?} {codec}: no error in\n{log}"));
        assert!(line.contains(reason) && line.contains("16.28"), "{carrier:?} {codec}: {line}");
    }
}
