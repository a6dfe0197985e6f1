//! What the recogniser promises: utterances in order, gaps, discarding, silence, the bundled apology.

use super::{RATE, audio, final_text, recognizer, speak, synthesizer, words};
use arioso::call::{RecognizerCommand, ReplyId, UtteranceIndex};
use arioso::speech::{RecognizerRequest, RecognizerSession};

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

async fn said(text: &str) -> Vec<i16> {
    audio(&speak(&mut synthesizer().await, ReplyId(0), &[text]).await)
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
    let (first, second) = (said("Please call me tomorrow morning.").await, said("What time do you close?").await);
    let end = utter(&session, 0, 0, &first).await;
    utter(&session, 1, end + 800, &second).await;
    let (text, confidence) = final_text(&mut session, 0).await;
    assert_eq!(words(&text), words("please call me tomorrow morning"));
    assert!(confidence.is_some_and(|confidence| (0.5..=1.0).contains(&confidence)), "{confidence:?}");
    let (text, _) = final_text(&mut session, 1).await;
    assert_eq!(words(&text), words("what time do you close"));
    drop(session.requests);
    assert!(session.events.recv().await.is_none(), "nothing follows");
}

#[tokio::test]
async fn silence_is_no_words() {
    let mut session = recognizer().await;
    utter(&session, 0, 0, &[0; 8_000]).await;
    assert_eq!(final_text(&mut session, 0).await, (String::new(), None));
}

#[tokio::test]
async fn a_gap_in_the_audio_is_silence() {
    let mut session = recognizer().await;
    let pcm = said("I would like to speak to an agent.").await;
    let utterance = UtteranceIndex(0);
    command(&session, RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    // Half a second of silence is suppressed before the speech.
    let end_sample = send_audio(&session, 4_000, &pcm).await;
    command(&session, RecognizerCommand::EndUtterance { utterance, end_sample }).await;
    assert_eq!(words(&final_text(&mut session, 0).await.0), words("I would like to speak to an agent"));
}

#[tokio::test]
async fn a_discarded_utterance_is_not_answered() {
    let mut session = recognizer().await;
    let pcm = said("Thank you very much.").await;
    let utterance = UtteranceIndex(0);
    command(&session, RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }).await;
    let end = send_audio(&session, 0, &pcm).await;
    command(&session, RecognizerCommand::DiscardUtterance { utterance }).await;
    utter(&session, 1, end, &pcm).await;
    assert_eq!(words(&final_text(&mut session, 1).await.0), words("thank you very much"));
}

#[tokio::test]
async fn a_session_that_takes_over_in_the_middle_of_an_utterance_answers_it() {
    let mut session = recognizer().await;
    let end_sample = send_audio(&session, 80_000, &said("My number is forty two.").await).await;
    command(&session, RecognizerCommand::EndUtterance { utterance: UtteranceIndex(6), end_sample }).await;
    final_text(&mut session, 6).await;
}

#[tokio::test]
async fn the_apology_can_be_understood() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/apology.en-US.wav");
    let mut wav = hound::WavReader::open(path).unwrap();
    let format = wav.spec();
    assert_eq!((format.sample_rate, format.channels, format.bits_per_sample), (8_000, 1, 16));
    let pcm: Vec<i16> = wav.samples::<i16>().map(Result::unwrap).collect();
    let mut session = recognizer().await;
    utter(&session, 0, 0, &pcm).await;
    let text = words(&final_text(&mut session, 0).await.0).join(" ");
    assert!(text.contains("technical problem") && text.contains("please hold the line"), "{text}");
}
