//! What a recogniser that takes over has to hear: the caller's audio that is not final yet, and the commands about it,
//! in the order in which the first one got them.

use crate::audio::SampleRate;
use crate::call::{RecognizerCommand, UtteranceIndex};
use crate::speech::RecognizerRequest;
use std::collections::VecDeque;
use std::time::Duration;

/// Older audio is forgotten; an utterance that began before it is replayed from its later part.
const KEPT: Duration = Duration::from_secs(10);

/// The ring of one call.
#[derive(Debug)]
pub(super) struct Ring {
    requests: VecDeque<RecognizerRequest>,
    /// Samples of audio in `requests`.
    samples: i64,
    most_samples: i64,
}

impl Ring {
    pub(super) fn new(rate: SampleRate) -> Self {
        Self { requests: VecDeque::new(), samples: 0, most_samples: rate.samples_in(KEPT) }
    }

    /// Remembers what was given to the recogniser.
    pub(super) fn push(&mut self, request: &RecognizerRequest) {
        if let RecognizerRequest::Command(RecognizerCommand::DiscardUtterance { utterance }) = request {
            self.forget_commands(*utterance);
            return;
        }
        self.samples += samples(request);
        self.requests.push_back(request.clone());
        while self.samples > self.most_samples {
            // Commands are few and go with their utterance; the oldest audio goes.
            let Some(oldest) = self.requests.iter().position(|request| samples(request) > 0) else { return };
            self.samples -= self.requests.remove(oldest).map_or(0, |audio| samples(&audio));
        }
    }

    /// The utterance is final: what belongs to it, and what was before it, is not needed any more.
    pub(super) fn ended(&mut self, utterance: UtteranceIndex) {
        let end = self.requests.iter().find_map(|request| match request {
            RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance: ended, end_sample })
                if *ended == utterance =>
            {
                Some(*end_sample)
            }
            _ => None,
        });
        self.forget_commands(utterance);
        if let Some(end) = end {
            self.requests.retain(|request| match request {
                RecognizerRequest::Audio { start_sample, .. } => start_sample + samples(request) > end,
                RecognizerRequest::Command(_) => true,
            });
            self.samples = self.requests.iter().map(samples).sum();
        }
    }

    /// All of it, for a new session. Begins that point to forgotten audio point to what is left of it.
    pub(super) fn replay(&self) -> impl Iterator<Item = RecognizerRequest> + '_ {
        let first = self.requests.iter().find_map(|request| match request {
            RecognizerRequest::Audio { start_sample, .. } => Some(*start_sample),
            RecognizerRequest::Command(_) => None,
        });
        self.requests.iter().cloned().map(move |request| match request {
            RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample }) => {
                let start_sample = start_sample.max(first.unwrap_or(start_sample));
                RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample })
            }
            other => other,
        })
    }

    fn forget_commands(&mut self, utterance: UtteranceIndex) {
        self.requests.retain(|request| match request {
            RecognizerRequest::Audio { .. } => true,
            RecognizerRequest::Command(
                RecognizerCommand::BeginUtterance { utterance: about, .. }
                | RecognizerCommand::EndUtterance { utterance: about, .. }
                | RecognizerCommand::DiscardUtterance { utterance: about },
            ) => *about != utterance,
        });
    }
}

/// How much audio a request carries.
fn samples(request: &RecognizerRequest) -> i64 {
    match request {
        RecognizerRequest::Audio { pcm, .. } => pcm.len() as i64,
        RecognizerRequest::Command(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 8_000;

    fn audio(second: i64) -> RecognizerRequest {
        RecognizerRequest::Audio { start_sample: second * SECOND, pcm: vec![second as i16; SECOND as usize].into() }
    }

    fn begin(utterance: u32, second: i64) -> RecognizerRequest {
        let (utterance, start_sample) = (UtteranceIndex(utterance), second * SECOND);
        RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample })
    }

    fn end(utterance: u32, second: i64) -> RecognizerRequest {
        let (utterance, end_sample) = (UtteranceIndex(utterance), second * SECOND);
        RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample })
    }

    fn ring(requests: impl IntoIterator<Item = RecognizerRequest>) -> Ring {
        let mut ring = Ring::new(SampleRate::HZ_8000);
        for request in requests {
            ring.push(&request);
        }
        ring
    }

    #[test]
    fn what_is_not_final_is_replayed_in_order() {
        let requests = [audio(0), begin(0, 0), audio(1), end(0, 2), audio(2)];
        assert!(ring(requests.clone()).replay().eq(requests));
    }

    #[test]
    fn a_final_utterance_takes_its_audio_along_and_leaves_what_follows() {
        let mut ring = ring([audio(0), begin(0, 0), audio(1), end(0, 2), audio(2), begin(1, 2), audio(3)]);
        ring.ended(UtteranceIndex(0));
        assert!(ring.replay().eq([audio(2), begin(1, 2), audio(3)]));
    }

    #[test]
    fn a_discarded_utterance_is_not_replayed() {
        let utterance = UtteranceIndex(0);
        let discard = RecognizerRequest::Command(RecognizerCommand::DiscardUtterance { utterance });
        assert!(ring([audio(0), begin(0, 0), audio(1), discard]).replay().eq([audio(0), audio(1)]));
    }

    #[test]
    fn ten_seconds_are_kept_and_a_longer_utterance_begins_later() {
        let requests = [begin(0, 0)].into_iter().chain((0..15).map(audio));
        let expected = [begin(0, 5)].into_iter().chain((5..15).map(audio));
        assert!(ring(requests).replay().eq(expected));
    }
}
