//! The caller of the demo: what is said when, and what was heard.

use super::screen;
use super::stage::{NUMBER, Stage};
use crate::audio::SampleRate;
use crate::bench::caller::{ActiveCall, Caller, CallerSettings, Dbfs, voice_onset};
use crate::bench::prompts::{self, Prompt, Prompts};
use crate::call::{CallEvent, CallId, RecognizerCommand, RecognizerEvent, ReplyEnd, Timeline, UtteranceIndex};
use crate::host::{Observation, Observed};
use crate::speech::{Recognizer as _, RecognizerRequest, SessionStart};
use anyhow::{Context as _, Result};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Longer than any answer of the reception takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The bot has finished when it was quiet for so long.
const QUIET: Duration = Duration::from_millis(700);

/// What the caller says, in turn.
const LINES: [Line; 3] = [
    Line { words: "What are your opening hours?", spoken: Spoken::Synthetic, over: false },
    Line {
        words: "To establish a sales partnership.",
        spoken: Spoken::Recorded { prompt: "basic-pbx-ivr-main", part: Some((10_430, 12_720)) },
        over: false,
    },
    Line { words: "Goodbye!", spoken: Spoken::Recorded { prompt: "goodbye", part: None }, over: true },
];

struct Line {
    words: &'static str,
    spoken: Spoken,
    /// Said while the bot is still speaking.
    over: bool,
}

/// Whose voice it is.
enum Spoken {
    /// A person's: a prompt that comes with Asterisk, or the part of it between these milliseconds.
    Recorded { prompt: &'static str, part: Option<(u64, u64)> },
    /// A synthetic one, where no prompt says what is needed.
    Synthetic,
}

impl Line {
    fn audio(&self, prompts: &Prompts) -> Result<Prompt> {
        let prompt = match self.spoken {
            Spoken::Synthetic => prompts::synthesize(self.words, "rms")?,
            Spoken::Recorded { prompt, part: None } => prompts.get(prompt)?,
            Spoken::Recorded { prompt, part: Some((from, to)) } => {
                prompts.get(prompt)?.part(Duration::from_millis(from)..Duration::from_millis(to), self.words)
            }
        };
        Ok(prompt)
    }

    /// How it was said, for the screen.
    fn remark(&self) -> &'static str {
        match (&self.spoken, self.over) {
            (Spoken::Synthetic, false) => "",
            (Spoken::Synthetic, true) => "   (over the bot)",
            (Spoken::Recorded { .. }, false) => "   (a recorded person)",
            (Spoken::Recorded { .. }, true) => "   (a recorded person, over the bot)",
        }
    }
}

/// One turn as the demo saw it.
pub(super) struct Turn {
    pub(super) timeline: Timeline,
    /// What the recogniser understood; `None` for the greeting.
    pub(super) understood: Option<String>,
    /// What the server says the caller heard.
    pub(super) reply: String,
    pub(super) end: ReplyEnd,
    /// What a recogniser makes of what arrived at the caller.
    pub(super) heard: String,
}

/// The whole call.
pub(super) struct Conversation {
    pub(super) turns: Vec<Turn>,
    /// From the caller's first syllable over the bot to the bot's last packet, measured at the caller.
    pub(super) barge_in: Option<Duration>,
}

impl Conversation {
    /// Turns in which words of the caller were understood and the answer arrived.
    pub(super) fn understood_and_answered(&self) -> usize {
        self.turns
            .iter()
            .filter(|turn| turn.understood.as_ref().is_some_and(|text| !text.is_empty()) && turn.arrived())
            .count()
    }
}

impl Turn {
    /// Whether most words of the reply are among those that were recognised at the caller.
    pub(super) fn arrived(&self) -> bool {
        let words = |text: &str| -> Vec<String> {
            text.to_lowercase()
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let heard: HashSet<_> = words(&self.heard).into_iter().collect();
        let reply = words(&self.reply);
        let found = reply.iter().filter(|word| heard.contains(*word)).count();
        !reply.is_empty() && found * 2 > reply.len()
    }
}

/// Places the call, speaks, listens, and shows everything as it happens.
pub(super) async fn converse(stage: &Stage) -> Result<Conversation> {
    let prompts = Prompts::open(stage.asterisk.root())?;
    let lines = LINES.iter().map(|line| line.audio(&prompts)).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    let watching = tokio::spawn(watch(stage.observations.resubscribe(), start));
    screen::event(start, "caller", &format!("dials {NUMBER}"));
    let call = Caller::call(CallerSettings::new(stage.asterisk.sip_address(), NUMBER)).await?;
    let answered = call.answered_at().context("the call is answered")?;
    let mut barge_in = None;
    let mut spoken = answered;
    for (line, Prompt { pcm, .. }) in LINES.iter().zip(&lines) {
        let voice_at = call.wait_for_voice(spoken, ANSWER_LIMIT).await?;
        if !line.over {
            call.wait_for_quiet(QUIET, ANSWER_LIMIT).await?;
        } else {
            tokio::time::sleep_until((voice_at + Duration::from_millis(1500)).into()).await;
        }
        let said = call.say(pcm)?;
        screen::event(start, "caller", &format!("\"{}\"{}", line.words, line.remark()));
        call.wait_said(said).await?;
        if line.over {
            let onset = voice_onset(pcm, Dbfs::VOICE).unwrap_or(0);
            barge_in = stopped_after(&call, said.sent_at(onset), said.last_packet_at);
        }
        spoken = said.last_packet_at;
    }
    let over = call.wait_hung_up(ANSWER_LIMIT).await?;
    screen::event(start, "call", &over.to_string());
    let replies = watching.await?;
    let mut turns = Vec::new();
    for mut turn in replies {
        if let (Some(first), Some(stop)) = (turn.timeline.first_packet, turn.timeline.stop) {
            // Packets are on their way for a little while.
            let late = Duration::from_millis(200);
            let recording = call.recording();
            let samples = recording.samples();
            let range =
                recording.position(first).min(samples.len())..recording.position(stop + late).min(samples.len());
            turn.heard = recognize(stage, &samples[range]).await?;
        }
        turns.push(turn);
    }
    Ok(Conversation { turns, barge_in })
}

/// How long after `onset` the last voiced packet came, up to `until`.
fn stopped_after(call: &ActiveCall, onset: Instant, until: Instant) -> Option<Duration> {
    let recording = call.recording();
    let voiced = recording.packets().iter().filter(|packet| packet.level >= Dbfs::VOICE);
    voiced.map(|packet| packet.arrived).filter(|at| *at < until).max().map(|last| last.saturating_duration_since(onset))
}

/// Shows what the server tells, until the call is over; returns the turns.
async fn watch(mut observations: broadcast::Receiver<Observation>, start: Instant) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut understood: Option<String> = None;
    let mut last: Option<(String, ReplyEnd)> = None;
    loop {
        let observation = match observations.recv().await {
            Ok(observation) => observation,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return turns,
        };
        match observation.what {
            Observed::Connected => screen::event(start, "call", "answered, both legs are in the bridge"),
            Observed::Conversation(event) => match event {
                CallEvent::CallerSaid { text, .. } => {
                    screen::event(start, "heard", &format!("\"{text}\""));
                    understood = Some(text);
                }
                CallEvent::ReplyEnded { heard_text, end, .. } => {
                    let how = if end == ReplyEnd::BargedIn { "   (interrupted)" } else { "" };
                    screen::event(start, "bot", &format!("\"{heard_text}\"{how}"));
                    last = Some((heard_text, end));
                }
                CallEvent::TurnEnded(timeline) => {
                    screen::timeline(&timeline);
                    if let Some((reply, end)) = last.take() {
                        let understood = timeline.utterance.and_then(|_| understood.take());
                        turns.push(Turn { timeline: *timeline, understood, reply, end, heard: String::new() });
                    }
                }
                CallEvent::EngineSwitched { service, from, to } => {
                    screen::event(start, "engines", &format!("{service}: {from} failed, {to} goes on"));
                }
                _ => {}
            },
            Observed::Ended { .. } => return turns,
            Observed::Arrived { .. } => {}
        }
    }
}

/// What a recogniser makes of what the caller heard.
async fn recognize(stage: &Stage, pcm: &[i16]) -> Result<String> {
    let start = SessionStart {
        call: CallId::new("demo-listener").context("a valid id")?,
        language: "en-US".to_owned(),
        rate: SampleRate::HZ_8000,
        law: None,
        greeting: None,
    };
    let mut session = stage.listener.recognizer.open(start).await?;
    let utterance = UtteranceIndex(0);
    for request in [
        RecognizerRequest::Command(RecognizerCommand::BeginUtterance { utterance, start_sample: 0 }),
        RecognizerRequest::Audio { start_sample: 0, pcm: pcm.into() },
        RecognizerRequest::Command(RecognizerCommand::EndUtterance { utterance, end_sample: pcm.len() as i64 }),
    ] {
        session.requests.send(request).await.context("the recogniser went away")?;
    }
    let mut words = String::new();
    while let Some(event) = session.events.recv().await {
        match event? {
            RecognizerEvent::Hypothesis { text, .. } => words = text,
            RecognizerEvent::UtteranceEnded { .. } => break,
        }
    }
    Ok(words)
}
