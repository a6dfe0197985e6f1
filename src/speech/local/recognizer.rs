//! The recogniser of this process: Whisper, one utterance at a time.
//!
//! Whisper hears a whole utterance, so nothing is computed while the caller speaks; the audio is kept until the call
//! says where the utterance ended. The final hypothesis then takes the time of one job of the pool.

use super::caller_audio::CallerAudio;
use super::pool::{Admission, InferencePool};
use super::whisper::{Transcription, Whisper, WhisperError};
use crate::audio::{Resampler, SampleRate};
use crate::call::{RecognizerCommand, RecognizerEvent, Stage, UtteranceIndex};
use crate::speech::{EngineError, Recognizer, RecognizerRequest, RecognizerSession, SessionStart, queue};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Requests that wait for the session: more than a second of audio in frames of 20 ms. When full the sender waits; a call
/// takes an engine that lets it wait for a second as failed. The session reads at all times, except while its events wait.
const REQUESTS: usize = 64;
/// Events that wait for the call. When full the session waits and reads no requests: nothing is lost.
const EVENTS: usize = 16;
/// The longest utterance. Of a longer one the end is understood.
const LONGEST_UTTERANCE: Duration = Duration::from_secs(29);
/// What is kept while nobody speaks: an utterance begins before it is noticed.
const PRE_ROLL: Duration = Duration::from_secs(2);
/// Utterances that may wait for their hypothesis; a caller who goes on for so long without an answer has none coming. One
/// more ends the session with an error, and the call takes its next engine.
const WAITING_UTTERANCES: usize = 4;

/// Whisper behind the trait of all recognisers.
#[derive(Debug)]
pub struct LocalRecognizer {
    whisper: Arc<Whisper>,
    pool: Arc<InferencePool>,
}

impl LocalRecognizer {
    /// A recogniser that computes on `pool`.
    pub fn new(whisper: Arc<Whisper>, pool: Arc<InferencePool>) -> Self {
        Self { whisper, pool }
    }
}

#[async_trait]
impl Recognizer for LocalRecognizer {
    /// Opens a session. Only English is understood.
    async fn open(&self, start: SessionStart) -> Result<RecognizerSession, EngineError> {
        super::require_english(&start.language, "recogniser")?;
        let (requests, incoming) = queue::bounded(REQUESTS);
        let (outgoing, events) = queue::bounded(EVENTS);
        let session = SessionState {
            whisper: Arc::clone(&self.whisper),
            pool: Arc::clone(&self.pool),
            rate: start.rate,
            audio: CallerAudio::new(start.rate.samples_in(LONGEST_UTTERANCE) as usize),
            open: None,
            waiting: VecDeque::new(),
        };
        tokio::spawn(session.run(incoming, outgoing));
        Ok(RecognizerSession { requests, events })
    }
}

/// A final hypothesis.
type Outcome = Result<RecognizerEvent, EngineError>;

/// An utterance that is being recognised.
struct Job {
    utterance: UtteranceIndex,
    outcome: BoxFuture<'static, Outcome>,
}

struct SessionState {
    whisper: Arc<Whisper>,
    pool: Arc<InferencePool>,
    rate: SampleRate,
    audio: CallerAudio,
    /// The utterance that is being spoken, and its first sample.
    open: Option<(UtteranceIndex, i64)>,
    /// Utterances that have ended, in order, each with its audio.
    waiting: VecDeque<(UtteranceIndex, Vec<i16>)>,
}

impl SessionState {
    /// Serves requests until they end, then finishes what is waiting. An error ends the session.
    async fn run(
        mut self,
        mut requests: queue::Receiver<RecognizerRequest>,
        events: queue::Sender<Result<RecognizerEvent, EngineError>>,
    ) {
        let mut job: Option<Job> = None;
        let mut finishing = false;
        loop {
            if job.is_none()
                && let Some((utterance, pcm)) = self.waiting.pop_front()
            {
                job = Some(Job { utterance, outcome: Box::pin(self.recognize(utterance, pcm)) });
            }
            if finishing && job.is_none() {
                return;
            }
            tokio::select! {
                biased;
                () = events.closed() => return,
                (utterance, outcome) = next(&mut job) => {
                    job = None;
                    if !report(&events, utterance, outcome).await {
                        return;
                    }
                }
                request = requests.recv(), if !finishing => {
                    let accepted = match request {
                        Some(request) => self.accept(request, &mut job),
                        None => {
                            finishing = true;
                            Ok(())
                        }
                    };
                    if let Err(error) = accepted {
                        // Whoever closed the channel knows that the session is over.
                        let _ = events.send(Err(error)).await;
                        return;
                    }
                }
            }
        }
    }

    fn accept(&mut self, request: RecognizerRequest, job: &mut Option<Job>) -> Result<(), EngineError> {
        match request {
            RecognizerRequest::Audio { start_sample, pcm } => {
                self.audio.push(start_sample, &pcm);
                if self.open.is_none() {
                    self.audio.keep_last(self.rate.samples_in(PRE_ROLL) as usize);
                }
            }
            RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample }) => {
                self.open = Some((utterance, start_sample));
            }
            RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample }) => {
                return self.end_utterance(utterance, end_sample);
            }
            RecognizerRequest::Command(RecognizerCommand::DiscardUtterance { utterance }) => {
                self.open = self.open.filter(|(open, _)| *open != utterance);
                self.waiting.retain(|(waiting, _)| *waiting != utterance);
                job.take_if(|job| job.utterance == utterance);
            }
        }
        Ok(())
    }

    fn end_utterance(&mut self, utterance: UtteranceIndex, end_sample: i64) -> Result<(), EngineError> {
        // A session that took over from another engine in the middle of an utterance has not been told of its
        // beginning.
        let begun = self.open.take_if(|(open, _)| *open == utterance);
        let start = begun.map_or(self.audio.start(), |(_, start)| start);
        if self.waiting.len() >= WAITING_UTTERANCES {
            return Err(EngineError::Local(format!("{WAITING_UTTERANCES} utterances wait to be recognised")));
        }
        if end_sample - start > self.rate.samples_in(LONGEST_UTTERANCE) {
            tracing::warn!(%utterance, longest = ?LONGEST_UTTERANCE, "utterance too long: its beginning is ignored");
        }
        self.waiting.push_back((utterance, self.audio.range(start..end_sample)));
        Ok(())
    }

    fn recognize(&self, utterance: UtteranceIndex, pcm: Vec<i16>) -> impl Future<Output = Outcome> + Send + use<> {
        let (whisper, pool, rate) = (Arc::clone(&self.whisper), Arc::clone(&self.pool), self.rate);
        async move {
            let result = pool.run(Admission::New, move |_| transcribe(&whisper, &pcm, rate)).await;
            let transcription = result.map_err(super::local_error)?.map_err(super::local_error)?;
            let Transcription { text, confidence } = transcription;
            Ok(RecognizerEvent::Hypothesis { utterance, stage: Stage::Final, text, confidence })
        }
    }
}

/// The outcome of the job; never, if there is none.
async fn next(job: &mut Option<Job>) -> (UtteranceIndex, Outcome) {
    match job {
        Some(job) => (job.utterance, (&mut job.outcome).await),
        None => std::future::pending().await,
    }
}

/// Sends a final hypothesis and the end of its utterance, or the error. Returns whether the session goes on.
async fn report(
    events: &queue::Sender<Result<RecognizerEvent, EngineError>>,
    utterance: UtteranceIndex,
    outcome: Outcome,
) -> bool {
    let failed = outcome.is_err();
    let sent = events.send(outcome).await.is_ok();
    sent && !failed && events.send(Ok(RecognizerEvent::UtteranceEnded { utterance })).await.is_ok()
}

/// What a job does: the rate that Whisper wants, numbers from −1 to 1, text.
fn transcribe(whisper: &Whisper, pcm: &[i16], rate: SampleRate) -> Result<Transcription, WhisperError> {
    if pcm.iter().all(|sample| *sample == 0) {
        // Whisper would find words even in nothing at all.
        return Ok(Transcription { text: String::new(), confidence: None });
    }
    let mut resampler = Resampler::new(rate, SampleRate::HZ_16000);
    let mut wideband = Vec::new();
    resampler.push(pcm, &mut wideband);
    resampler.finish(&mut wideband);
    let samples: Vec<f32> = wideband.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
    whisper.transcribe(&samples)
}
