//! What the synthesiser says, the recogniser understands: over 8 kHz, as in a call.

use super::{audio, final_text, recognizer, speak, synthesizer, words};
use arioso::call::{RecognizerCommand, ReplyId, UtteranceIndex};
use arioso::speech::RecognizerRequest;

const SENTENCES: [&str; 12] = [
    "Hello, how can I help you today?",
    "Please enter your account number.",
    "I would like to talk to somebody about my order.",
    "The weather will be sunny tomorrow.",
    "Your appointment is on Monday morning.",
    "Can you send me an email about that?",
    "I lost my credit card yesterday.",
    "Thank you for calling, goodbye.",
    "The office is closed on public holidays.",
    "Please leave your message after the signal.",
    "We have received your payment.",
    "Do you want to hear these options again?",
];

/// The least number of words to put in, take out or change to make one text of the other.
fn distance(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[test]
fn the_distance_counts_words() {
    let distance = |a, b| super::conversation::distance(&words(a), &words(b));
    assert_eq!(distance("one two three", "one two three"), 0);
    assert_eq!(distance("one two three", "one three"), 1);
    assert_eq!(distance("one two", "two one two four"), 2);
    assert_eq!(distance("", "a b"), 2);
}

#[tokio::test]
async fn what_is_said_is_understood() {
    let (mut mouth, mut ear) = (synthesizer().await, recognizer().await);
    let (mut wrong, mut total, mut position) = (0, 0, 0);
    let mut misheard = Vec::new();
    for (index, sentence) in SENTENCES.into_iter().enumerate() {
        // A call counts the 300 ms before the first speech to the utterance.
        let mut pcm = vec![0; 2_400];
        pcm.extend(audio(&speak(&mut mouth, ReplyId(index as u32), &[sentence]).await));
        let utterance = UtteranceIndex(index as u32);
        let end_sample = position + pcm.len() as i64;
        for request in [
            RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample: position }),
            RecognizerRequest::Audio { start_sample: position, pcm: pcm.into() },
            RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample }),
        ] {
            ear.requests.send(request).await.unwrap();
        }
        position = end_sample;
        let (text, _) = final_text(&mut ear, index as u32).await;
        let errors = distance(&words(sentence), &words(&text));
        if errors > 0 {
            misheard.push(format!("{sentence:?} as {text:?}"));
        }
        wrong += errors;
        total += words(sentence).len();
    }
    // The voice never says a sentence twice in the same way, so a word may be misheard now and then.
    assert!(wrong * 10 <= total, "{wrong} of {total} words are wrong: {misheard:#?}");
}
