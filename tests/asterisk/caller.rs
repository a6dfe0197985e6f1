//! The caller against numbers that the dialplan answers: what it says, hears and reports is what happened.

use crate::shared::{SOON, asterisk};
use arioso::bench::caller::{ActiveCall, Caller, CallerCodec, CallerError, CallerSettings, Dbfs, Party, Q850Cause};
use arioso::bench::prompts::Prompts;
use std::time::{Duration, Instant};

async fn call(number: &str) -> ActiveCall {
    call_as(number, "1000").await
}

async fn call_as(number: &str, caller_number: &str) -> ActiveCall {
    let settings = CallerSettings { caller_number: caller_number.to_owned(), ..settings(number).await };
    Caller::call(settings).await.unwrap()
}

async fn settings(number: &str) -> CallerSettings {
    CallerSettings::new(asterisk().await.sip_address(), number)
}

fn tone(ms: usize) -> Vec<i16> {
    // 440 Hz at −12 dBFS: a sine of amplitude a has an RMS of a/√2.
    let amplitude = 32_767.0 * 10_f64.powf((-12.0 + 3.01) / 20.0);
    let sine = |n: usize| (n as f64 * 440.0 * std::f64::consts::TAU / 8_000.0).sin();
    (0..ms * 8).map(|n| (amplitude * sine(n)) as i16).collect()
}

#[tokio::test]
async fn a_caller_hears_its_own_tone_at_its_own_level_and_at_once() {
    for codec in [CallerCodec::ULAW, CallerCodec::ALAW] {
        let call = Caller::call(settings("901").await.with_codecs([codec])).await.unwrap();
        let said = call.say_to_end(&tone(600)).await.unwrap();
        let heard_at = call.wait_for_voice(said.first_packet_at, SOON).await.unwrap();
        let delay = heard_at - said.first_packet_at;
        assert!(delay < Duration::from_millis(100), "the echo of {codec:?} came after {delay:?}");
        call.wait_for_quiet(Duration::from_millis(200), SOON).await.unwrap();
        let [segment] = &call.voice_segments()[..] else { panic!("not one voice: {:?}", call.voice_segments()) };
        assert_eq!(segment.samples.len(), 4_800, "600 ms came back with {codec:?}");
        let Dbfs(level) = Dbfs::of(&call.recording().samples()[segment.samples.clone()]);
        assert!((level + 12.0).abs() < 0.2, "{level} dBFS with {codec:?}");
        let end = call.hang_up().await.unwrap();
        assert_eq!(end.by, Party::Caller);
    }
}

#[tokio::test]
async fn a_caller_sends_a_frame_every_20_ms_without_drift() {
    let call = call("901").await;
    let said = call.say_to_end(&tone(2_000)).await.unwrap();
    assert_eq!(said.last_packet_at - said.first_packet_at, Duration::from_millis(1_980));
    let lateness = said.last_packet_at.elapsed();
    assert!(lateness < Duration::from_millis(100), "the last of 100 frames left {lateness:?} late");
    assert!(call.speech_timing().frames >= 100);
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn keys_reach_the_dialplan_in_order() {
    let call = call_as("905", "2001").await;
    for digit in "1*7#".chars() {
        // Read() takes # for the end of the input.
        call.press(digit).unwrap();
    }
    let end = call.wait_hung_up(SOON).await.unwrap();
    assert_eq!(end.by, Party::Asterisk);
    let globals = asterisk().await.cli("dialplan show globals").await.unwrap();
    assert!(globals.contains("KEYS_2001=1*7\n"), "{globals}");
}

#[tokio::test]
async fn a_prompt_is_heard_and_the_hang_up_has_its_cause() {
    let call = call("902").await;
    let voice = call.wait_for_voice(call.dialled_at(), SOON).await.unwrap();
    let end = call.wait_hung_up(SOON).await.unwrap();
    assert_eq!((end.by, end.cause), (Party::Asterisk, Some(Q850Cause(19))));
    assert!(call.answered_at().unwrap() < voice && voice < end.at);
    let prompts = Prompts::open(asterisk().await.root()).unwrap();
    let goodbye = prompts.get("goodbye").unwrap();
    let [segment] = &call.voice_segments()[..] else { panic!("not one voice: {:?}", call.voice_segments()) };
    assert!(segment.samples.len() > goodbye.pcm.len() / 2 && segment.samples.len() < goodbye.pcm.len() + 400);
    assert!(matches!(call.say(&[0; 160]), Err(CallerError::Ended(ended)) if ended == end));
}

#[tokio::test]
async fn a_refused_call_has_the_status_and_the_cause() {
    // Busy() answers before it has stored its cause, or after; Hangup() knows it.
    for (number, status, causes) in [("903", 486, &[0, 17][..]), ("904", 503, &[34]), ("nobody", 404, &[])] {
        let error = Caller::call(settings(number).await).await.unwrap_err();
        let CallerError::Refused { status: got, cause, .. } = &error else { panic!("{number}: {error}") };
        assert_eq!(*got, status, "{number}: {error}");
        match cause {
            Some(Q850Cause(cause)) => assert!(causes.contains(cause), "{number}: {error}"),
            None => assert!(causes.is_empty(), "{number}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_caller_who_gives_up_while_it_rings_cancels_the_call() {
    let call = Caller::dial(settings("906").await).await.unwrap();
    call.wait_ringing(SOON).await.unwrap();
    assert!(matches!(call.say(&[0; 160]), Err(CallerError::NotAnswered)));
    let end = call.hang_up().await.unwrap();
    assert_eq!(end.by, Party::Caller);
    wait_until_gone("906").await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_in_time_is_given_up() {
    let answer_timeout = Duration::from_millis(300);
    let error = Caller::call(CallerSettings { answer_timeout, ..settings("906").await }).await.unwrap_err();
    assert!(matches!(error, CallerError::NotInTime { .. }), "{error}");
    wait_until_gone("906").await;
}

#[tokio::test]
async fn what_is_played_before_the_answer_is_heard_too() {
    let call = call("907").await;
    let answered = call.answered_at().unwrap();
    let early = call.voice_segments();
    assert!(!early.is_empty() && early[0].started < answered, "{early:?}");
    assert!(call.heard().len() < call.recording().samples().len());
    call.hang_up().await.unwrap();
}

#[tokio::test]
async fn a_change_of_the_codec_in_the_call_is_followed() {
    let call = call("908").await;
    call.wait_hung_up(SOON).await.unwrap();
    let recording = call.recording();
    let voiced: Vec<_> = recording.packets().iter().filter(|packet| packet.level >= Dbfs::VOICE).collect();
    assert!(voiced.len() > 10, "{} voiced packets, {:?}", voiced.len(), recording.losses());
    assert!(voiced.iter().all(|packet| packet.codec == CallerCodec::ALAW));
    assert_eq!(recording.losses().unreadable, 0);
}

#[tokio::test]
async fn a_dropped_call_is_hung_up() {
    drop(call_as("901", "2002").await);
    let deadline = Instant::now() + SOON;
    loop {
        let channels = asterisk().await.cli("core show channels verbose").await.unwrap();
        if !channels.contains("2002") {
            return;
        }
        assert!(Instant::now() < deadline, "{channels}");
    }
}

#[tokio::test]
async fn ten_calls_at_once_are_ten_calls() {
    let settings = settings("901").await;
    let calls = (0..10).map(|_| Caller::call(settings.clone()));
    let calls: Vec<ActiveCall> = futures_util::future::try_join_all(calls).await.unwrap();
    for call in &calls {
        call.say(&tone(200)).unwrap();
    }
    for call in &calls {
        call.wait_for_voice(call.dialled_at(), SOON).await.unwrap();
        call.hang_up().await.unwrap();
    }
}

#[tokio::test]
async fn nobody_there_is_said_so_at_once() {
    // A port that was free a moment ago, on an address of the loopback network that nothing here uses.
    let socket = std::net::UdpSocket::bind("127.0.0.77:0").unwrap();
    let server = socket.local_addr().unwrap();
    drop(socket);
    let started = Instant::now();
    let error = Caller::call(CallerSettings::new(server, "100")).await.unwrap_err();
    assert!(matches!(error, CallerError::NoResponse { server: asked } if asked == server), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn settings_that_cannot_be_dialled_are_refused() {
    for number in ["", "1 2", "1\r\nEvil: yes", "1@elsewhere", "<1>"] {
        let error = Caller::dial(settings(number).await).await.unwrap_err();
        assert!(matches!(error, CallerError::Settings { .. }), "{number:?}: {error}");
    }
}

/// Waits until nobody calls `number` any more.
async fn wait_until_gone(number: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let channels = asterisk().await.cli("core show channels concise").await.unwrap();
        if !channels.contains(&format!("!{number}!")) {
            return;
        }
        assert!(Instant::now() < deadline, "{channels}");
    }
}
