//! What the recogniser promises: utterances in order, gaps, discarding, silence, the bundled apology.

use super::{RATE, final_text, recognizer, start, words};
use arioso::call::{RecognizerCommand, UtteranceIndex};
use arioso::speech::{EngineError, Recognizer, RecognizerRequest, RecognizerSession, SessionStart};

/// Sends audio as a call does, in frames of 20 ms from `start_sample` on; returns the position behind it.
async fn send_audio(session: &RecognizerSession, start_sample: i64, pcm: &[i16]) -> i64 {
    let mut position = start_sample;
    for frame in pcm.chunks(RATE.frame_samples()) {
        let request = RecognizerRequest::Audio { start_sample: position, pcm: frame.into() };
        session.requests.send(request).await.unwrap();
        position += frame.len() as i64;
    }
    position
}

async fn command(session: &RecognizerSession, command: RecognizerCommand) {
    session.requests.send(RecognizerRequest::Command(command)).await.unwrap();
}

/// What the two parts of [`apology`] say.
const FIRST: &str = "I am sorry,";
const SECOND: &str = "we have a technical problem. Please hold the line.";

/// The bundled apology, which sounds the same every time, in two parts.
fn apology() -> [Vec<i16>; 2] {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/apology.en-US.wav");
    let mut wav = hound::WavReader::open(path).unwrap();
    let format = wav.spec();
    assert_eq!((format.sample_rate, format.channels, format.bits_per_sample), (8_000, 1, 16));
    let pcm: Vec<i16> = wav.samples::<i16>().map(Result::unwrap).collect();
    // They are parted in the longest pause, which is behind the comma.
    let loud: Vec<usize> = (0..pcm.len()).filter(|i| pcm[*i].unsigned_abs() > 328).collect();
    let pause = loud.windows(2).max_by_key(|pair| pair[1] - pair[0]).unwrap();
    let (first, second) = pcm.split_at((pause[0] + pause[1]) / 2);
    [first.to_vec(), second.to_vec()]
}

/// Sends an utterance whose beginning is noticed 0.2 s late; returns the position behind it.
async fn utter(session: &RecognizerSession, index: u32, start_sample: i64, pcm: &[i16]) -> i64 {
    let utterance = UtteranceIndex(index);
    let (before, after) = pcm.split_at(pcm.len().min(1600));
    let noticed = send_audio(session, start_sample, before).await;
    command(session, RecognizerCommand::BeginUtterance { utterance, start_sample }).await;
    let end_sample = send_audio(session, noticed, after).await;
    command(session, RecognizerCommand::EndUtterance { utterance, end_sample }).await;
    end_sample
}

#[tokio::test]
async fn utterances_are_answered_each_once_and_in_order() {
    let mut session = recognizer().await;
    let [first, second] = apology();
    let end = utter(&session, 0, 0, &first).await;
    utter(&session, 1, end + 800, &second).await;
    let (text, confidence) = final_text(&mut session, 0).await;
    assert_eq!(words(&text), words(FIRST));
    assert!(confidence.is_some_and(|confidence| (0.5..=1.0).contains(&confidence)), "{confidence:?}");
    let (text, _) = final_text(&mut session, 1).await;
    assert_eq!(words(&text), words(SECOND));
    drop(session.requests);
    assert!(session.events.recv().await.is_none(), "nothing follows");
}

#[tokio::test]
async fn the_whole_apology_is_understood_as_one_utterance() {
    let mut session = recognizer().await;
    utter(&session, 0, 0, &apology().concat()).await;
    let text = final_text(&mut session, 0).await.0;
    assert_eq!(words(&text), [words(FIRST), words(SECOND)].concat());
}

#[tokio::test]
async fn silence_is_no_words() {
    let mut session = recognizer().await;
    utter(&session, 0, 0, &[0; 8_000]).await;
    assert_eq!(final_text(&mut session, 0).await, (String::new(), None));
}

#[tokio::test]
async fn noise_is_no_words() {
    let mut session = recognizer().await;
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 40) as i64 % 2_001 - 1_000) as i16
    };
    let pcm: Vec<i16> = (0..12_000).map(|_| noise()).collect();
    utter(&session, 0, 0, &pcm).await;
    assert_eq!(final_text(&mut session, 0).await, (String::new(), None));
}

#[tokio::test]
async fn a_gap_in_the_audio_is_silence() {
    let mut session = recognizer().await;
    let utterance = UtteranceIndex(0);
    let [first, second] = apology();
    command(&session, RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    let end = send_audio(&session, 0, &first).await;
    // Half a second of silence between the parts is not sent.
    let end_sample = send_audio(&session, end + 4_000, &second).await;
    command(&session, RecognizerCommand::EndUtterance { utterance, end_sample }).await;
    let text = final_text(&mut session, 0).await.0;
    assert_eq!(words(&text), [words(FIRST), words(SECOND)].concat());
}

#[tokio::test]
async fn a_discarded_utterance_is_not_answered() {
    let mut session = recognizer().await;
    let utterance = UtteranceIndex(0);
    let [first, second] = apology();
    command(&session, RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    let end = send_audio(&session, 0, &first).await;
    command(&session, RecognizerCommand::DiscardUtterance { utterance }).await;
    utter(&session, 1, end, &second).await;
    assert_eq!(words(&final_text(&mut session, 1).await.0), words(SECOND));
}

#[tokio::test]
async fn a_session_that_takes_over_in_the_middle_of_an_utterance_answers_it() {
    let mut session = recognizer().await;
    let [_, second] = apology();
    let end_sample = send_audio(&session, 80_000, &second).await;
    command(&session, RecognizerCommand::EndUtterance { utterance: UtteranceIndex(6), end_sample }).await;
    // It knows the last two seconds.
    let text = words(&final_text(&mut session, 6).await.0);
    assert!(text.ends_with(&words("Please hold the line.")), "{text:?}");
}

#[tokio::test]
async fn another_language_is_refused_with_what_to_do() {
    let russian = SessionStart { language: "ru-RU".into(), ..start() };
    let error = super::engines().recognizer.open(russian).await.unwrap_err();
    assert!(matches!(&error, EngineError::Local(message) if message.contains("English")), "{error}");
}
