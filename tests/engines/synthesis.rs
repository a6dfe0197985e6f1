//! What the synthesiser promises: order, positions, marks, cancelling.

use super::{RATE, audio, speak, start, synthesizer};
use arioso::call::{ReplyId, SynthesizerCommand, SynthesizerEvent};
use arioso::speech::{EngineError, SessionStart, Synthesizer};
use std::time::Duration;

fn marks(events: &[SynthesizerEvent]) -> Vec<(usize, i64)> {
    let mark = |event: &SynthesizerEvent| match event {
        SynthesizerEvent::Mark { text_end, sample, .. } => Some((*text_end, *sample)),
        _ => None,
    };
    events.iter().filter_map(mark).collect()
}

#[tokio::test]
async fn each_clause_is_marked_where_its_audio_ends() {
    let events = speak(&mut synthesizer().await, ReplyId(0), &["Good morning. ", "How may I help you?"]).await;
    let audio = audio(&events);
    let marks = marks(&events);
    assert_eq!(marks.iter().map(|(text, _)| *text).collect::<Vec<_>>(), [14, 33]);
    assert!(0 < marks[0].1 && marks[0].1 < marks[1].1, "{marks:?}");
    assert_eq!(marks[1].1, audio.len() as i64);
    // Two short sentences take between one second and five.
    assert!((8_000..40_000).contains(&audio.len()), "{}", audio.len());
}

#[tokio::test]
async fn audio_comes_in_pieces_that_can_be_paced() {
    let events = speak(&mut synthesizer().await, ReplyId(0), &["Please hold the line."]).await;
    for event in &events {
        if let SynthesizerEvent::Audio { pcm, .. } = event {
            assert!(!pcm.is_empty() && RATE.time_of(pcm.len() as i64) <= Duration::from_millis(60));
        }
    }
}

#[tokio::test]
async fn a_reply_begins_with_sound_at_once() {
    let audio = audio(&speak(&mut synthesizer().await, ReplyId(0), &["Yes."]).await);
    let sound = audio.iter().position(|sample| sample.unsigned_abs() > 328).unwrap();
    assert!(RATE.time_of(sound as i64) <= Duration::from_millis(20), "{sound} samples of silence");
}

#[tokio::test]
async fn positions_begin_again_with_every_reply() {
    let mut session = synthesizer().await;
    for reply in [ReplyId(0), ReplyId(1)] {
        let events = speak(&mut session, reply, &["One more time."]).await;
        assert!(!audio(&events).is_empty());
        assert_eq!(events.last(), Some(&SynthesizerEvent::Done { reply }));
    }
}

#[tokio::test]
async fn text_without_anything_to_say_is_marked_and_done() {
    let events = speak(&mut synthesizer().await, ReplyId(3), &["…", "Привет"]).await;
    assert!(audio(&events).is_empty());
    assert_eq!(marks(&events), [(1, 0), (7, 0)]);
}

#[tokio::test]
async fn a_cancelled_reply_is_silent_and_the_next_one_is_not() {
    let mut session = synthesizer().await;
    let long = "This sentence is long enough to be cancelled while it is being spoken. ".repeat(5);
    let reply = ReplyId(4);
    session.requests.send(SynthesizerCommand::Text { reply, text: long }).await.unwrap();
    let first = session.events.recv().await.unwrap().unwrap();
    assert!(matches!(first, SynthesizerEvent::Audio { start_sample: 0, .. }), "{first:?}");
    session.requests.send(SynthesizerCommand::Cancel { reply, played_sample: 160 }).await.unwrap();
    // Too late: the call has stopped this reply.
    session.requests.send(SynthesizerCommand::Text { reply, text: "More.".into() }).await.unwrap();
    session.requests.send(SynthesizerCommand::Flush { reply }).await.unwrap();
    let mut heard = 0;
    loop {
        match session.events.recv().await.unwrap().unwrap() {
            SynthesizerEvent::Audio { pcm, .. } => heard += pcm.len(),
            event => {
                assert_eq!(event, SynthesizerEvent::Cancelled { reply });
                break;
            }
        }
    }
    // Five sentences last 20 s; what was on its way when the cancel came is far less.
    assert!(RATE.time_of(heard as i64) < Duration::from_secs(6), "{heard} samples after the cancel");
    let next = speak(&mut session, ReplyId(5), &["All right."]).await;
    assert!(!audio(&next).is_empty(), "nothing of the cancelled reply comes between");
}

#[tokio::test]
async fn closing_the_requests_lets_the_reply_end_and_then_the_session() {
    let mut session = synthesizer().await;
    let reply = ReplyId(0);
    session.requests.send(SynthesizerCommand::Text { reply, text: "Goodbye.".into() }).await.unwrap();
    session.requests.send(SynthesizerCommand::Flush { reply }).await.unwrap();
    drop(session.requests);
    let mut last = None;
    while let Some(event) = session.events.recv().await {
        last = Some(event.unwrap());
    }
    assert_eq!(last, Some(SynthesizerEvent::Done { reply }));
}

#[tokio::test]
async fn another_language_is_refused_with_what_to_do() {
    let german = SessionStart { language: "de-DE".into(), ..start() };
    let error = super::engines().synthesizer.open(german).await.unwrap_err();
    assert!(matches!(&error, EngineError::Local(message) if message.contains("English")), "{error}");
}
