//! The built-in engines with their real models, through the sessions that a call uses.
//!
//! The models must be in the cache (`arioso models fetch`); without them these tests fail and say so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conversation;
mod recognition;
mod synthesis;

use arioso::audio::SampleRate;
use arioso::call::{CallId, RecognizerEvent, ReplyId, SynthesizerCommand, SynthesizerEvent};
use arioso::speech::local::LocalEngines;
use arioso::speech::local::models::ModelCache;
use arioso::speech::{Recognizer, RecognizerSession, SessionStart, Synthesizer, SynthesizerSession};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

const RATE: SampleRate = SampleRate::HZ_8000;

/// The engines, loaded once for all tests.
fn engines() -> &'static LocalEngines {
    static ENGINES: OnceLock<LocalEngines> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let cache = ModelCache::of_user().unwrap();
        LocalEngines::load(&cache, NonZeroUsize::new(2).unwrap()).unwrap_or_else(|error| panic!("{error}"))
    })
}

fn start() -> SessionStart {
    let call = CallId::new("a-test").unwrap();
    SessionStart { call, language: "en-US".into(), rate: RATE, law: None, greeting: None }
}

async fn recognizer() -> RecognizerSession {
    engines().recognizer.open(start()).await.unwrap()
}

async fn synthesizer() -> SynthesizerSession {
    engines().synthesizer.open(start()).await.unwrap()
}

/// All events of one reply of these clauses, up to `Done`.
async fn speak(session: &mut SynthesizerSession, reply: ReplyId, clauses: &[&str]) -> Vec<SynthesizerEvent> {
    for clause in clauses {
        session.requests.send(SynthesizerCommand::Text { reply, text: clause.to_string() }).await.unwrap();
    }
    session.requests.send(SynthesizerCommand::Flush { reply }).await.unwrap();
    let mut events = Vec::new();
    loop {
        let event = session.events.recv().await.unwrap().unwrap();
        let done = matches!(event, SynthesizerEvent::Done { .. });
        events.push(event);
        if done {
            return events;
        }
    }
}

/// The audio of some events, which must follow each other without gaps from the beginning of the reply.
fn audio(events: &[SynthesizerEvent]) -> Vec<i16> {
    let mut audio = Vec::new();
    for event in events {
        if let SynthesizerEvent::Audio { start_sample, pcm, .. } = event {
            assert_eq!(*start_sample, audio.len() as i64, "audio follows without gaps");
            audio.extend(pcm);
        }
    }
    audio
}

/// The final text and the confidence of the next utterance that ends, which must be `expected`.
async fn final_text(session: &mut RecognizerSession, expected: u32) -> (String, Option<f32>) {
    let event = session.events.recv().await.unwrap().unwrap();
    let RecognizerEvent::Hypothesis { utterance, text, confidence, stage } = event else { panic!("{event:?}") };
    assert_eq!((utterance.0, stage), (expected, arioso::call::Stage::Final));
    let ended = session.events.recv().await.unwrap().unwrap();
    assert_eq!(ended, RecognizerEvent::UtteranceEnded { utterance });
    (text, confidence)
}

/// Lower-case words without punctuation.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(|c: char| !c.is_alphanumeric() && c != '\'', " ");
    text.split_whitespace().map(str::to_owned).collect()
}
