//! The middle of a call, however it came in: its media worker and its engines, joined, with whoever looks on.

use super::bots::{Bot, BotKind};
use super::context::HostContext;
use super::live_call::CallEnd;
use super::observation::{Observation, Observed};
use super::set_up::SetUpError;
use crate::audio::Codec;
use crate::call::{CallEvent, CallId, Input, Output};
use crate::media::MediaStats;
use crate::speech::failover::CallEngines;
use crate::speech::queue;
use crate::transport::{CallHandle, LegLoss, MediaOutput, NewCall, TransportError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

/// Outputs of the call that may wait for its task: minutes of not being read. When it is full the worker drops its end, and
/// the call ends as `worker-lost`.
const OUTPUTS: usize = 1024;

/// Events of the engines that may wait on their way through the call's task. When it is full the engine's line waits, and
/// the engine with it.
const ENGINE_INPUTS: usize = 64;

/// Asterisk sends from the first moment on: nothing for so long means that it does not arrive.
pub(super) const DEAF_AFTER: Duration = Duration::from_secs(5);

/// A call on its worker, and who it talks to.
pub(super) struct Conversation {
    media: CallHandle,
    outputs: mpsc::Receiver<MediaOutput>,
    partner: Partner,
}

/// Who the caller talks to.
enum Partner {
    Engines { engines: CallEngines, inputs: queue::Receiver<Input> },
    Echo,
}

/// What has happened in a conversation; [`Conversation::act`] does what it asks for.
pub(super) enum Happening {
    /// From the worker; `None` when it has let go of the call.
    Media(Option<MediaOutput>),
    /// From the engines.
    Engine(Input),
}

/// What follows for the owner of the conversation.
pub(super) enum Step {
    GoOn,
    /// The first words of the bot are ready.
    FirstWords,
    /// There is no sound any more.
    LegLost(LegLoss),
    End(CallEnd),
}

impl Conversation {
    /// Gives the call to a worker and opens its engines.
    pub(super) async fn begin(
        host: &HostContext,
        call: &CallId,
        bot: &Bot,
        codec: Codec,
    ) -> Result<Self, TransportError> {
        let (output_sender, outputs) = mpsc::channel(OUTPUTS);
        let new = NewCall { call: call.clone(), driver: bot.driver(codec.rate()), outputs: output_sender };
        let media = host.workers.assign().add(new).await?;
        let partner = match bot.kind() {
            BotKind::Echo => Partner::Echo,
            BotKind::Conversation(bot) => {
                let (sender, inputs) = queue::bounded(ENGINE_INPUTS);
                let engines = CallEngines::open(bot.engines(), bot.session_start(call, codec), bot.reach(), sender);
                host.pump.add(media.key(), engines.audio_sender()).await;
                Partner::Engines { engines, inputs }
            }
        };
        Ok(Self { media, outputs, partner })
    }

    /// The call on its worker.
    pub(super) const fn media(&self) -> &CallHandle {
        &self.media
    }

    /// Whether there is something that the bot says before it is asked.
    pub(super) const fn has_first_words(&self) -> bool {
        matches!(self.partner, Partner::Engines { .. })
    }

    /// Waits for what happens next. Nothing is lost when this is cancelled.
    pub(super) async fn next(&mut self) -> Happening {
        match &mut self.partner {
            Partner::Engines { inputs, .. } => tokio::select! {
                output = self.outputs.recv() => Happening::Media(output),
                Some(input) = inputs.recv() => Happening::Engine(input),
            },
            Partner::Echo => Happening::Media(self.outputs.recv().await),
        }
    }

    /// Does what follows from it. To be run to its end.
    pub(super) async fn act(&mut self, happening: Happening, observe: &Observer) -> Step {
        match happening {
            Happening::Engine(input) => self.input(input).await,
            Happening::Media(Some(MediaOutput::Call(output))) => self.output(output, observe).await,
            Happening::Media(Some(MediaOutput::LegLost(loss))) => Step::LegLost(loss),
            Happening::Media(None) => Step::End(CallEnd::WorkerLost),
        }
    }

    /// Tells the call something.
    pub(super) async fn input(&self, input: Input) -> Step {
        match self.media.input(input).await {
            Ok(()) => Step::GoOn,
            Err(_) => Step::End(CallEnd::WorkerLost),
        }
    }

    async fn output(&mut self, output: Output, observe: &Observer) -> Step {
        match output {
            Output::Event(event) => {
                let first_words = matches!(event, CallEvent::ReplyReady { .. });
                observe.tell(Observed::Conversation(event));
                return if first_words { Step::FirstWords } else { Step::GoOn };
            }
            Output::End(reason) => return Step::End(CallEnd::Conversation(reason)),
            // The worker hands audio over in batches, beside this.
            Output::CallerAudio { .. } => {}
            Output::Recognizer(_)
            | Output::Synthesizer(_)
            | Output::Dialog(_)
            | Output::FailOver { .. }
            | Output::EngineAccepted { .. } => return self.pass_to_engines(output).await,
        }
        Step::GoOn
    }

    /// Waits for room at the engines, and meanwhile passes on what they say: an engine whose words are not taken takes none,
    /// and the two would wait for each other.
    async fn pass_to_engines(&mut self, output: Output) -> Step {
        let Partner::Engines { engines, inputs } = &mut self.partner else { return Step::GoOn };
        let mut given = std::pin::pin!(give(engines, output));
        loop {
            let input = tokio::select! {
                () = &mut given => return Step::GoOn,
                Some(input) = inputs.recv() => input,
            };
            if self.media.input(input).await.is_err() {
                return Step::End(CallEnd::WorkerLost);
            }
        }
    }

    /// Warns when nothing has come from Asterisk yet: a bot that hears nothing looks like a silent caller.
    pub(super) async fn warn_if_deaf(&self) {
        if self.media.stats().await.is_none_or(|stats| stats.receive.received == 0) {
            warn!(
                "no audio from Asterisk within {} s: is media.advertise reachable from there, and is a firewall in \
                 between? `arioso doctor` looks for the cause",
                DEAF_AFTER.as_secs()
            );
        }
    }

    /// Takes the call off its worker: nothing is sent after this. How well the audio travelled, if there was any.
    pub(super) async fn fall_silent(&self, host: &HostContext) -> Option<MediaStats> {
        if let Partner::Engines { .. } = self.partner {
            host.pump.remove(self.media.key()).await;
        }
        self.media.remove().await
    }

    /// Says good-bye to the engines.
    pub(super) async fn close(self) {
        if let Partner::Engines { engines, inputs } = self.partner {
            // An engine's line that waits for somebody to listen would never hear the good-bye.
            drop(inputs);
            engines.close().await;
        }
    }
}

async fn give(engines: &CallEngines, output: Output) {
    match output {
        Output::Recognizer(command) => engines.recognizer(command).await,
        Output::Synthesizer(command) => engines.synthesizer(command).await,
        Output::Dialog(command) => engines.dialog(command).await,
        Output::FailOver { service, overdue } => {
            warn!(%service, overdue, "the engine is late");
            engines.fail_over(service, overdue).await;
        }
        Output::EngineAccepted { service } => engines.accepted(service).await,
        Output::CallerAudio { .. } | Output::Event(_) | Output::End(_) => {}
    }
}

/// Tells what happens in one call to the log and to whoever looks on.
pub(super) struct Observer {
    pub(super) host: Arc<HostContext>,
    pub(super) call: CallId,
    /// Of the caller's audio.
    pub(super) codec: Codec,
}

impl Observer {
    /// The call is over and gone.
    pub(super) fn ended(&self, end: CallEnd, media: Option<MediaStats>) {
        match &end {
            CallEnd::SetUp(error) if *error != SetUpError::CallerGone => {
                warn!(reason = end.reason_code(), "the call is over: {error}; `arioso doctor` looks for the cause");
            }
            _ => match &media {
                Some(media) => {
                    info!(reason = end.reason_code(), media = %media.summary(self.codec), "the call is over")
                }
                None => info!(reason = end.reason_code(), "the call is over"),
            },
        }
        self.tell(Observed::Ended { end, media: media.map(Box::new) });
    }

    pub(super) fn tell(&self, what: Observed) {
        if let Observed::Conversation(event) = &what {
            log(event);
        }
        // Nobody looking on is fine.
        let _ = self.host.observers.send(Observation { call: self.call.clone(), at: Instant::now(), what });
    }
}

fn log(event: &CallEvent) {
    match event {
        // What people say to a bot is nobody else's business: the words are only in the debug log.
        CallEvent::CallerSaid { utterance, text } => {
            info!(utterance = utterance.0, characters = text.chars().count(), "the caller said something");
            debug!(utterance = utterance.0, text, "the caller said");
        }
        CallEvent::ReplyEnded { reply, heard_text, end } => {
            debug!(reply = reply.0, heard_text, ?end, "the caller heard");
        }
        CallEvent::Dtmf { .. } => info!("a key was pressed"),
        CallEvent::TurnEnded(timeline) if timeline.first_packet.is_some() => {
            info!(reply = timeline.reply.0, "turn: {timeline}");
        }
        CallEvent::TurnEnded(_) => {}
        CallEvent::EngineSwitched { service, from, to } => debug!(%service, from, to, "another engine took over"),
        CallEvent::PlayoutOverflow { reply, samples } => {
            warn!(reply = reply.0, samples, "more audio than can be queued: dropped");
        }
        CallEvent::TextOverflow { reply, bytes } => warn!(%reply, bytes, "more text than a reply may have: dropped"),
        CallEvent::StaleMessage { service } => debug!(%service, "a message for something no longer current"),
        CallEvent::SpeechStarted { utterance } => debug!(utterance = utterance.0, "the caller speaks"),
        CallEvent::Endpoint { utterance } => debug!(utterance = utterance.0, "the caller has finished"),
        CallEvent::ReplyReady { reply } => debug!(reply = reply.0, "the first words are ready"),
        CallEvent::ReplyStarted { reply } => debug!(reply = reply.0, "the bot speaks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::SampleRate;
    use crate::call::{DialogCommand, DialogEvent, ReplyId};
    use crate::speech::failover::{Candidate, EngineSet};
    use crate::speech::scripted::{Scripted, ScriptedRecognizer, ScriptedSynthesizer, Sessions, start};
    use crate::transport::{Driver, WorkerSettings, Workers};
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroUsize;
    use tokio::time::timeout;

    /// Much longer than anything here takes.
    const GENEROUS: Duration = Duration::from_secs(20);

    /// A conversation whose dialogue never stops to speak, with nobody listening yet.
    async fn flooded(workers: &Workers) -> Conversation {
        let (sender, outputs) = mpsc::channel(OUTPUTS);
        let new =
            NewCall { call: CallId::new("test").unwrap(), driver: Driver::Echo(SampleRate::HZ_8000), outputs: sender };
        let media = workers.assign().add(new).await.unwrap();
        let (dialog, mut sessions): (_, Sessions<DialogCommand, DialogEvent>) = Scripted::new();
        let set = EngineSet {
            recognizers: vec![Candidate::new("a", ScriptedRecognizer::new().0 as _)],
            synthesizers: vec![Candidate::new("a", ScriptedSynthesizer::new().0 as _)],
            dialogs: vec![Candidate::new("a", dialog as _)],
        };
        let (sender, inputs) = queue::bounded(ENGINE_INPUTS);
        let engines = CallEngines::open(&set, start(), Duration::ZERO, sender.clone());
        let mut far = sessions.recv().await.unwrap();
        tokio::spawn(async move { while far.requests.recv().await.is_some() {} });
        tokio::spawn(async move {
            let text = || DialogEvent::Text { reply: ReplyId(0), delta: "and ".to_owned() };
            while far.events.send(Ok(text())).await.is_ok() {}
        });
        timeout(GENEROUS, async {
            while sender.capacity() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the engine's words come");
        Conversation { media, outputs, partner: Partner::Engines { engines, inputs } }
    }

    fn one_worker() -> Workers {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let settings = WorkerSettings { workers: NonZeroUsize::new(1), ..WorkerSettings::new(local, 0..=0) };
        Workers::start(settings).unwrap().0
    }

    #[tokio::test]
    async fn a_call_and_an_engine_that_both_have_much_to_say_do_not_wait_for_each_other() {
        let workers = one_worker();
        let mut conversation = flooded(&workers).await;
        for _ in 0..200 {
            let key = Output::Dialog(DialogCommand::Dtmf { reply: ReplyId(0), digit: '1' });
            let step = timeout(GENEROUS, conversation.pass_to_engines(key)).await.expect("it goes on");
            assert!(matches!(step, Step::GoOn));
        }
    }

    #[tokio::test]
    async fn a_call_ends_although_an_engine_goes_on_speaking() {
        let workers = one_worker();
        let conversation = flooded(&workers).await;
        timeout(GENEROUS, conversation.close()).await.expect("it ends");
    }
}
