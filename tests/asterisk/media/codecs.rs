//! Every transport with every codec that it offers: tones and speech go through both ways and come back right.

use super::line_test::{LineTest, PROMPT_WORDS, complaints, line_test, report};
use crate::arioso::rig::{Carrier, MediaLeg, Options, PLAIN_ECHO, Rig, echo_number, is_heard, words_of};
use arioso::bench::asterisk::DebianRelease;
use arioso::bench::caller::CallerCodec;
use futures_util::future::{join, join_all};
use std::time::Instant;

/// Asterisk's own echo, beside the bots.
const REFERENCE: &str = "901";
const REFERENCE_DIALPLAN: &str = "exten => 901,1,Answer()\n same => n,Echo()\n";

/// Whether a codec carries 5 kHz.
fn is_wideband(codec: &str) -> bool {
    !matches!(codec, "ulaw" | "alaw" | "slin")
}

/// How much a codec keeps the shape of speech. Opus models it; half a sample of shift costs the others two per cent.
fn shape(codec: &str) -> f64 {
    if codec == "opus" { 0.6 } else { 0.95 }
}

/// Tests the lines to all of `codecs` at the same time, each for a wideband and a narrowband caller; the second is one with
/// silence suppression.
pub(crate) async fn test_lines(release: DebianRelease, carrier: Carrier, codecs: &[&'static str]) {
    let legs: Vec<MediaLeg> = codecs.iter().map(|codec| MediaLeg::new(carrier, codec)).collect();
    let options = Options { release, legs: legs.clone(), site_dialplan: REFERENCE_DIALPLAN, ..Options::default() };
    let rig = Rig::start(options).await;
    let started = Instant::now();
    let mut numbers: Vec<(String, String, &str)> = Vec::new();
    for (index, leg) in legs.iter().enumerate() {
        numbers.push((leg.to_string(), echo_number(index), leg.codec));
    }
    if carrier == Carrier::AudioSocket {
        numbers.push(("plain AudioSocket()".to_owned(), PLAIN_ECHO.to_owned(), "slin"));
    }
    let callers = [(CallerCodec::G722, true), (CallerCodec::ULAW, false)];
    let rig = &rig;
    let tests = callers.iter().map(|&(codec, sends_silence)| {
        let lines = numbers.iter().map(move |(_, number, _)| line_test(rig, number, codec, sends_silence));
        join(line_test(rig, REFERENCE, codec, true), join_all(lines))
    });
    let results: Vec<(LineTest, Vec<LineTest>)> = join_all(tests).await;
    let mut problems = Vec::new();
    for ((codec, _), (reference, lines)) in callers.iter().zip(&results) {
        report(started, &format!("{codec:?} to Echo()"), reference);
        for ((name, _, leg_codec), line) in numbers.iter().zip(lines) {
            report(started, &format!("{codec:?} to {name}"), line);
            let complaints = complaints(line, reference, is_wideband(leg_codec), shape(leg_codec));
            if !complaints.is_empty() {
                problems.push(format!("{codec:?} to {name}: {}: {line}", complaints.join(", ")));
            }
        }
    }
    // By one codec of each transport, and by the one whose speech is not the same sample by sample.
    for index in [Some(0), codecs.iter().position(|codec| *codec == "opus")].into_iter().flatten() {
        let (_, narrowband) = &results[1];
        let words = words_of(&narrowband[index].heard).await;
        eprintln!("{}: {words:?}", legs[index]);
        if !is_heard(PROMPT_WORDS, &words) {
            problems.push(format!("{}: the prompt came back as {words:?}", legs[index]));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}\n{}", rig.logs());
    rig.wait_until_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rtp_carries_every_codec_both_ways() {
    test_lines(DebianRelease::Sid, Carrier::Rtp, &["ulaw", "alaw", "g722", "slin", "slin16"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audiosocket_carries_every_rate_both_ways_and_so_does_the_plain_application() {
    test_lines(DebianRelease::Sid, Carrier::AudioSocket, &["slin", "slin16", "slin24", "slin48"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_we_dial_carries_every_codec_both_ways() {
    let codecs = ["ulaw", "alaw", "g722", "slin", "slin16", "slin24", "slin48", "opus"];
    test_lines(DebianRelease::Sid, Carrier::WebSocketDial, &codecs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_asterisk_dials_carries_every_codec_both_ways() {
    let codecs = ["ulaw", "alaw", "g722", "slin", "slin16", "slin24", "slin48", "opus"];
    test_lines(DebianRelease::Sid, Carrier::WebSocketListen, &codecs).await;
}
