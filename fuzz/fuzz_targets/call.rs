//! Any sequence of things that can happen to a call, however wrong: it does not panic, does not spin, and after its end
//! there is nothing more.
#![no_main]

use arbitrary::Arbitrary;
use arioso::audio::{FRAME_TIME, SampleRate};
use arioso::call::{
    BargeIn, Call, CallSettings, CallerFrame, DialogAction, DialogEvent, Endpointing, Input, NoInput, Output,
    RecognizerEvent, ReplyId, Service, Stage, SynthesizerEvent, UtteranceIndex, Watchdogs,
};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No one input causes as many. The most has a frame that ends an utterance and begins a reply: 13 (the audio; an utterance
/// given up, ended, reported; reply started, a playback report, four clauses, flush, reply ended, turn ended).
const MAX_OUTPUTS: usize = 16;
/// Time-outs that may be due at one moment.
const MAX_TIMEOUTS: usize = 100;

#[derive(Arbitrary, Debug)]
struct Scenario {
    greeting: bool,
    barge_in: bool,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Connected,
    /// So many frames of a tone this loud, or of nothing.
    Caller {
        frames: u8,
        level: u8,
    },
    /// Time passes without frames.
    Wait {
        tenths: u8,
    },
    Dtmf(char),
    Hypothesis {
        utterance: u8,
        stage: u8,
        text: String,
    },
    UtteranceEnded {
        utterance: u8,
    },
    Speech {
        reply: u8,
        start_sample: i16,
        samples: u16,
    },
    Mark {
        reply: u8,
        text_end: u8,
        sample: i16,
    },
    SpeechDone {
        reply: u8,
    },
    SpeechCancelled {
        reply: u8,
    },
    Text {
        reply: u8,
        delta: String,
    },
    HangUp {
        reply: u8,
    },
    Continue {
        reply: u8,
    },
    DialogDone {
        reply: u8,
    },
    Switched {
        service: u8,
    },
    Kept {
        service: u8,
    },
    Exhausted {
        service: u8,
    },
    CallerHungUp,
    EndRequested,
}

struct Driver {
    call: Call,
    now: Instant,
    out: Vec<i16>,
    ended: bool,
    last_reply: Option<ReplyId>,
}

fuzz_target!(|scenario: Scenario| {
    let now = Instant::now();
    let settings = CallSettings {
        rate: SampleRate::HZ_8000,
        greeting: scenario.greeting.then(|| "Hello, this is a greeting. It has two sentences.".to_owned()),
        endpointing: Endpointing::default(),
        barge_in: if scenario.barge_in { BargeIn::default() } else { BargeIn::Off },
        no_input: NoInput::default(),
        watchdogs: Watchdogs::default(),
        apology: Arc::from(vec![1_000_i16; 800]),
    };
    let out = vec![0; settings.rate.frame_samples()];
    let mut driver = Driver { call: Call::new(settings, now), now, out, ended: false, last_reply: None };
    driver.drain();
    for operation in scenario.operations {
        driver.perform(operation);
    }
});

impl Driver {
    fn perform(&mut self, operation: Operation) {
        let input = match operation {
            Operation::Caller { frames, level } => return self.hear(frames, level),
            Operation::Wait { tenths } => return self.wait(Duration::from_millis(u64::from(tenths) * 100)),
            Operation::Connected => Input::Connected,
            Operation::Dtmf(digit) => Input::Dtmf(digit),
            Operation::Hypothesis { utterance, stage, text } => Input::Recognizer(RecognizerEvent::Hypothesis {
                utterance: UtteranceIndex(utterance.into()),
                stage: [Stage::Partial, Stage::EagerFinal, Stage::Final, Stage::Refined][usize::from(stage % 4)],
                text,
                confidence: None,
            }),
            Operation::UtteranceEnded { utterance } => {
                Input::Recognizer(RecognizerEvent::UtteranceEnded { utterance: UtteranceIndex(utterance.into()) })
            }
            Operation::Speech { reply, start_sample, samples } => Input::Synthesizer(SynthesizerEvent::Audio {
                reply: ReplyId(reply.into()),
                start_sample: start_sample.into(),
                pcm: vec![500; samples.into()],
            }),
            Operation::Mark { reply, text_end, sample } => Input::Synthesizer(SynthesizerEvent::Mark {
                reply: ReplyId(reply.into()),
                text_end: text_end.into(),
                sample: sample.into(),
            }),
            Operation::SpeechDone { reply } => {
                Input::Synthesizer(SynthesizerEvent::Done { reply: ReplyId(reply.into()) })
            }
            Operation::SpeechCancelled { reply } => {
                Input::Synthesizer(SynthesizerEvent::Cancelled { reply: ReplyId(reply.into()) })
            }
            Operation::Text { reply, delta } => {
                Input::Dialog(DialogEvent::Text { reply: ReplyId(reply.into()), delta })
            }
            Operation::HangUp { reply } => action(reply, DialogAction::HangUp),
            Operation::Continue { reply } => action(reply, DialogAction::Continue { target: None }),
            Operation::DialogDone { reply } => Input::Dialog(DialogEvent::Done { reply: ReplyId(reply.into()) }),
            Operation::Switched { service } => {
                Input::EngineSwitched { service: some_service(service), from: "a".to_owned(), to: "b".to_owned() }
            }
            Operation::Kept { service } => Input::EngineKept { service: some_service(service) },
            Operation::Exhausted { service } => Input::EnginesExhausted { service: some_service(service) },
            Operation::CallerHungUp => Input::CallerHungUp,
            Operation::EndRequested => Input::EndRequested,
        };
        self.call.handle(input, self.now);
        self.drain();
    }

    /// Frames from the caller at their pace; level 0 is silence suppression.
    fn hear(&mut self, frames: u8, level: u8) {
        let loudness = i16::from(level) * 100;
        let voice: Vec<i16> = (0..self.out.len()).map(|n| if n / 8 % 2 == 0 { loudness } else { -loudness }).collect();
        for _ in 0..frames {
            self.wait(FRAME_TIME);
            let frame = if level == 0 { CallerFrame::Silence } else { CallerFrame::Audio(&voice) };
            self.call.hear(frame, self.now);
            self.call.speak(&mut self.out, self.now);
            self.drain();
        }
    }

    /// Lets time pass, and everything that falls due happen at its time.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut due_now = 0;
        while let Some(due) = self.call.poll_timeout().filter(|due| *due <= until) {
            due_now = if due <= self.now { due_now + 1 } else { 0 };
            assert!(due_now < MAX_TIMEOUTS, "a time-out is not taken back when it is handled");
            self.now = self.now.max(due);
            self.call.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        for _ in 0..MAX_OUTPUTS {
            let Some(output) = self.call.poll_output() else { return };
            assert!(!self.ended, "after the end came {output:?}");
            match output {
                Output::End(_) => self.ended = true,
                Output::Dialog(command) => self.check_reply(&command),
                _ => {}
            }
        }
        panic!("outputs without end");
    }

    /// A question never uses the id of an earlier one again, unless it is put once more to another engine.
    fn check_reply(&mut self, command: &arioso::call::DialogCommand) {
        use arioso::call::DialogCommand as Command;
        let reply = match command {
            Command::UserTurn { reply, .. } | Command::Dtmf { reply, .. } | Command::Notice { reply, .. } => *reply,
            Command::Interrupt { .. } => return,
        };
        assert!(self.last_reply.is_none_or(|last| last <= reply), "{reply} after {:?}", self.last_reply);
        self.last_reply = Some(reply);
    }
}

fn action(reply: u8, action: DialogAction) -> Input {
    Input::Dialog(DialogEvent::Action { reply: ReplyId(reply.into()), action })
}

fn some_service(choice: u8) -> Service {
    Service::ALL[usize::from(choice) % Service::ALL.len()]
}
