//! Sessions of a synthesiser whose voice is a tone, and which counts what it computes.

use super::*;
use crate::speech::scripted::start;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Says every sentence with two chunks of a thousand samples.
#[derive(Debug, Default)]
struct Tone {
    jobs: AtomicUsize,
}

impl Speaker for Tone {
    fn rate(&self) -> SampleRate {
        SampleRate::HZ_8000
    }

    fn begin(&self, _: &str, thread: &JobThread) -> Result<Option<Begun>, StepError> {
        let latent = Latent::blank(32);
        let mut chunks: VecDeque<_> = latent.chunks().collect();
        let first = chunks.pop_front().unwrap();
        let pcm = self.decode(&latent, first, thread)?;
        Ok(Some((latent, chunks, pcm)))
    }

    fn decode(&self, _: &Latent, _: Range<usize>, _: &JobThread) -> Result<Vec<i16>, StepError> {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        Ok(vec![1_000; 1_000])
    }
}

fn engine() -> (LocalSynthesizer, Arc<Tone>) {
    let tone = Arc::new(Tone::default());
    let pool = Arc::new(InferencePool::start(NonZeroUsize::MIN).unwrap());
    (LocalSynthesizer::with_speaker(Arc::clone(&tone) as _, pool), tone)
}

/// Everything that is said of a reply of these clauses, in a call of its own.
async fn speak(engine: &LocalSynthesizer, clauses: &[&str]) -> Vec<SynthesizerEvent> {
    let SynthesizerSession { requests, mut events } = engine.open(start()).await.unwrap();
    let reply = ReplyId(3);
    let give = async move {
        for text in clauses {
            requests.send(SynthesizerCommand::Text { reply, text: (*text).to_owned() }).await.unwrap();
        }
        requests.send(SynthesizerCommand::Flush { reply }).await.unwrap();
    };
    let mut said = Vec::new();
    let take = async {
        while let Some(event) = events.recv().await {
            said.push(event.unwrap());
        }
    };
    tokio::join!(give, take);
    assert_eq!(said.last(), Some(&SynthesizerEvent::Done { reply }));
    said
}

fn samples(events: &[SynthesizerEvent]) -> usize {
    let samples = |event: &SynthesizerEvent| match event {
        SynthesizerEvent::Audio { pcm, .. } => pcm.len(),
        _ => 0,
    };
    events.iter().map(samples).sum()
}

fn marks(events: &[SynthesizerEvent]) -> Vec<(usize, i64)> {
    let mark = |event: &SynthesizerEvent| match event {
        SynthesizerEvent::Mark { text_end, sample, .. } => Some((*text_end, *sample)),
        _ => None,
    };
    events.iter().filter_map(mark).collect()
}

#[tokio::test]
async fn what_was_said_before_is_said_again_without_a_job() {
    let (engine, tone) = engine();
    let clauses = ["Hello. I am here. ", "How are you?"];
    let first = speak(&engine, &clauses).await;
    assert_eq!((samples(&first), marks(&first)), (6_000, vec![(18, 4_000), (30, 6_000)]));
    let jobs = tone.jobs.load(Ordering::Relaxed);
    assert_eq!(jobs, 6);
    let second = speak(&engine, &clauses).await;
    assert_eq!((samples(&second), marks(&second)), (samples(&first), marks(&first)));
    assert_eq!(tone.jobs.load(Ordering::Relaxed), jobs);
    speak(&engine, &["How are you?", "Fine."]).await;
    assert_eq!(tone.jobs.load(Ordering::Relaxed), jobs + 2, "only the new clause");
}

#[tokio::test]
async fn a_burst_of_callers_on_one_thread_is_greeted_with_the_jobs_of_one() {
    let (engine, tone) = engine();
    let calls = futures_util::future::join_all((0..20).map(|_| speak(&engine, &["Welcome."]))).await;
    assert!(calls.iter().all(|said| samples(said) == 2_000));
    assert_eq!(tone.jobs.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_burst_of_different_replies_on_one_thread_is_spoken() {
    let (engine, _) = engine();
    let texts: Vec<_> = (0..20).map(|call| format!("You are number {call}.")).collect();
    let calls = futures_util::future::join_all(texts.iter().map(|text| {
        let engine = &engine;
        async move { speak(engine, &[text]).await }
    }));
    assert!(calls.await.iter().all(|said| samples(said) == 2_000));
}

#[tokio::test]
async fn more_replies_than_a_call_has_end_the_session_with_the_reason() {
    let (engine, _) = engine();
    let SynthesizerSession { requests, mut events } = engine.open(start()).await.unwrap();
    // Text that is not flushed leaves its reply unfinished.
    for reply in 0..=REPLIES as u32 + 1 {
        let text = SynthesizerCommand::Text { reply: ReplyId(reply), text: "Well.".into() };
        let _ = requests.send(text).await;
    }
    let error = loop {
        match events.recv().await.expect("an error at the end") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error, EngineError::Local("16 replies wait to be spoken".into()));
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn commands_beyond_what_waits_for_a_step_are_not_lost() {
    let (engine, _) = engine();
    let texts: Vec<_> = (0..LATER * 3).map(|index| format!("Number {index}. ")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let said = speak(&engine, &texts).await;
    assert_eq!((samples(&said), marks(&said).len()), (texts.len() * 2_000, texts.len()));
}
