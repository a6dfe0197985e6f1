//! Drives one call in virtual time: 20 ms frames, a caller who speaks when told to, engines which answer after delays.

use arioso::audio::SampleRate;
use arioso::call::{
    BargeIn, Call, CallEvent, CallSettings, CallerFrame, DialogCommand, DialogEvent, EndReason, Endpointing, Input,
    NoInput, Output, RecognizerCommand, RecognizerEvent, ReplyId, Service, Stage, SynthesizerCommand, SynthesizerEvent,
    Watchdogs,
};
use std::collections::{HashMap, VecDeque};

use std::time::{Duration, Instant};

pub const FRAME: usize = 160;

/// Milliseconds, short to write in tables.
pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How the scripted engines behave.
#[derive(Clone, Debug)]
pub struct Engines {
    /// From the end of an utterance to its final text; `None`: it never comes.
    pub final_after: Option<Duration>,
    /// What was said, utterance by utterance.
    pub transcripts: VecDeque<String>,
    /// From a question to the answer; `None`: it never comes.
    pub text_after: Option<Duration>,
    /// The answers in order.
    pub answers: VecDeque<Vec<DialogEvent>>,
    /// From a clause to its audio; `None`: it never comes.
    pub audio_after: Option<Duration>,
}

impl Default for Engines {
    fn default() -> Self {
        Self {
            final_after: Some(ms(100)),
            transcripts: VecDeque::new(),
            text_after: Some(ms(50)),
            answers: VecDeque::new(),
            audio_after: Some(ms(60)),
        }
    }
}

/// An answer of the dialogue that is only text; the driver fills in the id.
pub fn says(text: &str) -> Vec<DialogEvent> {
    vec![DialogEvent::Text { reply: ReplyId(0), delta: text.into() }, DialogEvent::Done { reply: ReplyId(0) }]
}

pub fn settings() -> CallSettings {
    CallSettings {
        rate: SampleRate::HZ_8000,
        greeting: Some("Hello, this is the reception. How can I help you?".into()),
        endpointing: Endpointing::default(),
        barge_in: BargeIn::default(),
        no_input: NoInput::default(),
        watchdogs: Watchdogs::default(),
        apology: vec![3000; 8000].into(),
    }
}

pub struct Driver {
    pub call: Call,
    pub engines: Engines,
    start: Instant,
    now: Instant,
    pending: Vec<(Instant, Input)>,
    caller_speaks_until: Instant,
    phase: usize,
    synthesized: HashMap<ReplyId, (i64, usize)>,
    /// Everything that came out, with the time since the start.
    pub outputs: Vec<(Duration, Output)>,
    /// Whether each frame for the caller held sound, with its time.
    pub sound: Vec<(Duration, bool)>,
    /// Answer fail-over requests by a switch (`true`) or by "there is no other".
    pub has_second_engine: bool,
}

impl Driver {
    #[allow(clippy::disallowed_methods)]
    pub fn new(settings: CallSettings, engines: Engines) -> Self {
        let now = Instant::now();
        let mut driver = Self {
            call: Call::new(settings, now),
            engines,
            start: now,
            now,
            pending: Vec::new(),
            caller_speaks_until: now,
            phase: 0,
            synthesized: HashMap::new(),
            outputs: Vec::new(),
            sound: Vec::new(),
            has_second_engine: true,
        };
        driver.drain();
        driver
    }

    /// A call that is connected at once.
    pub fn connected(settings: CallSettings, engines: Engines) -> Self {
        let mut driver = Self::new(settings, engines);
        driver.input(Input::Connected);
        driver
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub fn input(&mut self, input: Input) {
        self.call.handle(input, self.now);
        self.drain();
    }

    /// The caller speaks for so long from now on, while time passes.
    pub fn speak(&mut self, time: Duration) {
        self.caller_speaks_until = self.now + time;
        self.run(time);
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
        }
    }

    /// Lets time pass until `done` says so; fails after a minute.
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let limit = self.now + Duration::from_secs(60);
        while !done(self) {
            assert!(self.now < limit, "no {what} within a minute; events: {:#?}", self.events());
            self.tick();
        }
    }

    fn tick(&mut self) {
        self.now += ms(20);
        self.pending.sort_by_key(|(due, _)| *due);
        while self.pending.first().is_some_and(|(due, _)| *due <= self.now) {
            let (_, input) = self.pending.remove(0);
            self.input(input);
        }
        if self.call.poll_timeout().is_some_and(|due| due <= self.now) {
            self.call.handle_timeout(self.now);
            self.drain();
        }
        let mut out = [0i16; FRAME];
        let speaks = self.now <= self.caller_speaks_until;
        let pcm = if speaks { voice(self.phase) } else { [0; FRAME] };
        self.phase += 1;
        self.call.hear(CallerFrame::Audio(&pcm), self.now);
        self.call.speak(&mut out, self.now);
        self.sound.push((self.elapsed(), out.iter().any(|sample| *sample != 0)));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.call.poll_output() {
            self.answer(&output);
            if !matches!(output, Output::CallerAudio { .. }) {
                self.outputs.push((self.now - self.start, output));
            }
        }
    }

    fn later(&mut self, after: Option<Duration>, input: Input) {
        if let Some(after) = after {
            self.pending.push((self.now + after, input));
        }
    }

    fn answer(&mut self, output: &Output) {
        match output {
            Output::Recognizer(RecognizerCommand::EndUtterance { utterance, .. }) => {
                let utterance = *utterance;
                let text = self.engines.transcripts.pop_front().unwrap_or_default();
                let hypothesis = RecognizerEvent::Hypothesis { utterance, stage: Stage::Final, text, confidence: None };
                self.later(self.engines.final_after, Input::Recognizer(hypothesis));
                self.later(self.engines.final_after, Input::Recognizer(RecognizerEvent::UtteranceEnded { utterance }));
            }
            Output::Dialog(
                DialogCommand::UserTurn { reply, .. }
                | DialogCommand::Dtmf { reply, .. }
                | DialogCommand::Notice { reply, .. },
            ) => {
                let id = *reply;
                let answer = self.engines.answers.pop_front().unwrap_or_else(|| vec![DialogEvent::Done { reply: id }]);
                for mut event in answer {
                    match &mut event {
                        DialogEvent::Text { reply, .. }
                        | DialogEvent::Action { reply, .. }
                        | DialogEvent::Done { reply } => *reply = id,
                    }
                    self.later(self.engines.text_after, Input::Dialog(event));
                }
            }
            Output::Synthesizer(SynthesizerCommand::Text { reply, text }) => {
                // 15 characters a second at 8 kHz
                let characters = text.chars().count();
                let samples = characters * 8000 / 15;
                let position = self.synthesized.entry(*reply).or_default();
                let start_sample = position.0;
                *position = (position.0 + samples as i64, position.1 + characters);
                let mark = SynthesizerEvent::Mark { reply: *reply, text_end: position.1, sample: position.0 };
                let audio = SynthesizerEvent::Audio { reply: *reply, start_sample, pcm: vec![5000; samples] };
                self.later(self.engines.audio_after, Input::Synthesizer(audio));
                self.later(self.engines.audio_after, Input::Synthesizer(mark));
            }
            Output::Synthesizer(SynthesizerCommand::Flush { reply }) => {
                self.later(self.engines.audio_after, Input::Synthesizer(SynthesizerEvent::Done { reply: *reply }));
            }
            Output::FailOver { service, .. } => {
                let service = *service;
                let input = if self.has_second_engine { switched(service) } else { Input::EngineKept { service } };
                if self.has_second_engine {
                    self.synthesized.clear();
                }
                self.later(Some(ms(0)), input);
            }
            _ => {}
        }
    }

    pub fn events(&self) -> Vec<(Duration, CallEvent)> {
        self.outputs
            .iter()
            .filter_map(|(at, output)| match output {
                Output::Event(event) => Some((*at, event.clone())),
                _ => None,
            })
            .collect()
    }

    pub fn find(&self, wanted: impl Fn(&CallEvent) -> bool) -> Option<(Duration, CallEvent)> {
        self.events().into_iter().find(|(_, event)| wanted(event))
    }

    pub fn output(&self, wanted: impl Fn(&Output) -> bool) -> Option<(Duration, Output)> {
        self.outputs.iter().find(|(_, output)| wanted(output)).cloned()
    }

    pub fn end(&self) -> Option<EndReason> {
        self.outputs.iter().find_map(|(_, output)| match output {
            Output::End(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    pub fn reply_started(&self, id: u32) -> bool {
        self.find(|event| matches!(event, CallEvent::ReplyStarted { reply } if reply.0 == id)).is_some()
    }

    pub fn reply_ended(&self, id: u32) -> bool {
        self.find(|event| matches!(event, CallEvent::ReplyEnded { reply, .. } if reply.0 == id)).is_some()
    }

    /// The last moment at which the caller heard something.
    pub fn last_sound(&self) -> Duration {
        self.sound.iter().rev().find(|(_, sound)| *sound).map(|(at, _)| *at).expect("some sound")
    }

    pub fn is_silent_since(&self, at: Duration) -> bool {
        self.sound.iter().all(|(time, sound)| *time <= at || !sound)
    }
}

pub fn switched(service: Service) -> Input {
    Input::EngineSwitched { service, from: "first".into(), to: "second".into() }
}

/// A buzz under a syllable-like envelope, which the detector takes for speech.
fn voice(frame: usize) -> [i16; FRAME] {
    std::array::from_fn(|i| {
        let t = (frame * FRAME + i) as f64 / 8000.0;
        let envelope = 0.6 + 0.4 * (t * 4.0 * std::f64::consts::TAU).sin();
        let buzz: f64 = (1..20).map(|h| (t * 130.0 * f64::from(h) * std::f64::consts::TAU).sin() / f64::from(h)).sum();
        (buzz * envelope * 6000.0) as i16
    })
}

/// The settings with a change.
pub fn with(change: impl FnOnce(&mut CallSettings)) -> CallSettings {
    let mut settings = settings();
    change(&mut settings);
    settings
}
