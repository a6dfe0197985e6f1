//! Bots as they answer calls: the configuration of each, joined with the engines that it names.

use crate::audio::{Codec, Resampler, SampleRate};
use crate::call::{CallId, CallSettings};
use crate::config::{self, BotName, Config, EngineKind, EngineName, GrpcEngine as GrpcConfig, LocalEngine};
use crate::speech::failover::{Candidate, EngineSet};
use crate::speech::flow_dialog::FlowDialog;
use crate::speech::grpc::{GrpcEngine, GrpcSettings, GrpcSettingsError, TlsRoots};
use crate::speech::local::models::ModelCache;
use crate::speech::local::{InferencePool, LoadError, LocalEngines};
use crate::speech::{BearerToken, Dialog, Recognizer, SessionStart, Synthesizer};
use crate::transport::Driver;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The spoken apology for when no engine is left; how it was made is told in `models/README.md`.
const APOLOGY: &[u8] = include_bytes!("../../models/apology.en-US.wav");

/// The rate of a plain AudioSocket call.
pub(super) const DIALPLAN_CODEC: Codec = Codec::Linear16(SampleRate::HZ_8000);

/// All bots by name.
#[derive(Debug)]
pub struct Bots {
    bots: HashMap<BotName, Arc<Bot>>,
}

/// One bot, ready to answer.
#[derive(Debug)]
pub(super) struct Bot {
    name: String,
    kind: BotKind,
}

#[derive(Debug)]
pub(super) enum BotKind {
    Conversation(Box<ConversationBot>),
    Echo,
}

/// A bot that converses, with its engines.
#[derive(Debug)]
pub(super) struct ConversationBot {
    config: config::ConversationBot,
    engines: EngineSet,
    apologies: Apologies,
}

/// The spoken apology at every rate that a call may have.
type Apologies = Arc<BTreeMap<SampleRate, Arc<[i16]>>>;

/// Why the bots cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BotsError {
    /// The models of a local engine cannot be used.
    #[error("engines.{engine}: {cause}")]
    Local {
        /// Configured name of the engine.
        engine: EngineName,
        /// What is wrong, and what to do.
        cause: LoadError,
    },
    /// The address or certificates of an engine cannot be used.
    #[error("engines.{engine}: {cause}")]
    Engine {
        /// Configured name of the engine.
        engine: EngineName,
        /// What is wrong.
        cause: GrpcSettingsError,
    },
    /// The token of an engine cannot be sent.
    #[error("engines.{engine}: the token is empty or has characters other than visible ASCII")]
    Token {
        /// Configured name of the engine.
        engine: EngineName,
    },
    /// The certificates for an engine cannot be read.
    #[error("engines.{engine}: ca_file: cannot read {}: {cause}", file.display())]
    CaFile {
        /// Configured name of the engine.
        engine: EngineName,
        /// As configured.
        file: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The bundled apology cannot be read.
    #[error("the bundled apology is no usable WAV file: {0}")]
    Apology(String),
}

/// One configured engine under each service that it offers.
struct Offered {
    recognizer: Candidate<dyn Recognizer>,
    synthesizer: Candidate<dyn Synthesizer>,
    dialog: Candidate<dyn Dialog>,
}

impl Bots {
    /// Makes every bot of the configuration. Loads local models, so call it where blocking is allowed.
    ///
    /// # Errors
    /// When models are missing or broken, or an engine's settings cannot be used. That an engine cannot be reached is no
    /// error here: it may come later, and calls fail over.
    pub fn load(config: &Config) -> Result<Self, BotsError> {
        let apologies: Apologies = Arc::new(apologies(rates_in_use(config))?);
        let engines = config
            .engines
            .iter()
            .map(|(name, kind)| Ok((name, offered(name, kind)?)))
            .collect::<Result<BTreeMap<_, _>, BotsError>>()?;
        let bots = config.bots.iter().map(|(name, bot)| {
            let kind = match bot {
                config::Bot::Echo => BotKind::Echo,
                config::Bot::Conversation(bot) => BotKind::Conversation(Box::new(ConversationBot {
                    config: (**bot).clone(),
                    engines: engine_set(bot, &engines),
                    apologies: Arc::clone(&apologies),
                })),
            };
            (name.clone(), Arc::new(Bot { name: name.to_string(), kind }))
        });
        Ok(Self { bots: bots.collect() })
    }

    pub(super) fn get(&self, name: &BotName) -> Option<Arc<Bot>> {
        self.bots.get(name).cloned()
    }
}

impl Bot {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn kind(&self) -> &BotKind {
        &self.kind
    }

    /// What drives a call of this bot at the rate of its leg.
    pub(super) fn driver(&self, rate: SampleRate) -> Driver {
        match &self.kind {
            BotKind::Conversation(bot) => Driver::Conversation(Box::new(bot.call_settings(rate))),
            BotKind::Echo => Driver::Echo(rate),
        }
    }
}

impl ConversationBot {
    pub(super) fn engines(&self) -> &EngineSet {
        &self.engines
    }

    /// How long ago an utterance may have begun that is noticed now.
    pub(super) fn reach(&self) -> Duration {
        self.config.endpointing.reach()
    }

    fn call_settings(&self, rate: SampleRate) -> CallSettings {
        let bot = &self.config;
        CallSettings {
            rate,
            greeting: bot.greeting.clone(),
            endpointing: bot.endpointing.clone(),
            barge_in: bot.barge_in,
            no_input: bot.no_input,
            watchdogs: bot.watchdogs,
            // All rates of the configuration are there; at another one nothing is said.
            apology: self.apologies.get(&rate).cloned().unwrap_or_default(),
        }
    }

    /// What the engines of a call are told first; `codec` is that of the caller's audio.
    pub(super) fn session_start(&self, call: &CallId, codec: Codec) -> SessionStart {
        SessionStart {
            call: call.clone(),
            language: self.config.language.as_str().to_owned(),
            rate: codec.rate(),
            law: codec.law(),
            greeting: self.config.greeting.clone(),
        }
    }
}

/// The engines of a bot, in its order.
fn engine_set(bot: &config::ConversationBot, engines: &BTreeMap<&EngineName, Offered>) -> EngineSet {
    let list = |names: &[EngineName]| -> Vec<&Offered> { names.iter().filter_map(|name| engines.get(name)).collect() };
    EngineSet {
        recognizers: list(&bot.recognizer).into_iter().map(|engine| engine.recognizer.clone()).collect(),
        synthesizers: list(&bot.synthesizer).into_iter().map(|engine| engine.synthesizer.clone()).collect(),
        dialogs: list(&bot.dialog).into_iter().map(|engine| engine.dialog.clone()).collect(),
    }
}

/// The rates that calls of this configuration have.
fn rates_in_use(config: &Config) -> BTreeSet<SampleRate> {
    let dialplan = config.audiosocket_routes().next().map(|_| DIALPLAN_CODEC.rate());
    config.asterisks.iter().map(|asterisk| asterisk.transport.rate()).chain(dialplan).collect()
}

fn offered(name: &EngineName, kind: &EngineKind) -> Result<Offered, BotsError> {
    match kind {
        EngineKind::Local(local) => offer_local(name, local),
        EngineKind::Grpc(grpc) => offer_grpc(name, grpc),
    }
}

fn offer_local(name: &EngineName, local: &LocalEngine) -> Result<Offered, BotsError> {
    let cache = local.models.as_ref().map_or_else(ModelCache::of_user, |folder| Ok(ModelCache::at(folder)));
    let engines = cache.map_err(LoadError::from).and_then(|cache| {
        let threads = local.threads.unwrap_or_else(InferencePool::default_threads);
        LocalEngines::load(&cache, threads)
    });
    let engines = engines.map_err(|cause| BotsError::Local { engine: name.clone(), cause })?;
    Ok(Offered {
        recognizer: Candidate::new(name.as_str(), engines.recognizer as Arc<dyn Recognizer>),
        synthesizer: Candidate::new(name.as_str(), engines.synthesizer as Arc<dyn Synthesizer>),
        dialog: Candidate::new(name.as_str(), Arc::new(FlowDialog::new(Arc::clone(&local.flow)))),
    })
}

fn offer_grpc(name: &EngineName, grpc: &GrpcConfig) -> Result<Offered, BotsError> {
    let engine = || name.clone();
    let token = match &grpc.token {
        Some(secret) => Some(BearerToken::new(secret.expose()).ok_or_else(|| BotsError::Token { engine: engine() })?),
        None => None,
    };
    let roots = match &grpc.ca_file {
        Some(file) => {
            let unreadable = |cause: std::io::Error| BotsError::CaFile { engine: engine(), file: file.clone(), cause };
            TlsRoots::Pem(fs::read(file).map_err(unreadable)?)
        }
        None => TlsRoots::System,
    };
    let settings =
        GrpcSettings { token, roots, audio: grpc.audio, ..GrpcSettings::new(name.as_str(), grpc.url.as_str()) };
    let engine = GrpcEngine::new(settings).map_err(|cause| BotsError::Engine { engine: engine(), cause })?;
    let engine = Arc::new(engine);
    Ok(Offered {
        recognizer: Candidate::new(name.as_str(), Arc::clone(&engine) as Arc<dyn Recognizer>),
        synthesizer: Candidate::new(name.as_str(), Arc::clone(&engine) as Arc<dyn Synthesizer>),
        dialog: Candidate::new(name.as_str(), engine as Arc<dyn Dialog>),
    })
}

/// The apology at each of these rates.
fn apologies(rates: BTreeSet<SampleRate>) -> Result<BTreeMap<SampleRate, Arc<[i16]>>, BotsError> {
    let broken = |error: hound::Error| BotsError::Apology(error.to_string());
    let reader = hound::WavReader::new(Cursor::new(APOLOGY)).map_err(broken)?;
    let hz = reader.spec().sample_rate;
    let recorded = SampleRate::new(hz).ok_or_else(|| BotsError::Apology(format!("it has {hz} samples a second")))?;
    let pcm = reader.into_samples::<i16>().collect::<Result<Vec<_>, _>>().map_err(broken)?;
    let at = |rate: SampleRate| {
        let mut resampler = Resampler::new(recorded, rate);
        let mut out = Vec::new();
        resampler.push(&pcm, &mut out);
        resampler.finish(&mut out);
        (rate, out.into())
    };
    Ok(rates.into_iter().map(at).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_apology_is_audible_and_short_at_every_rate() {
        let rates = [SampleRate::HZ_8000, SampleRate::HZ_16000, SampleRate::HZ_24000, SampleRate::HZ_48000];
        let apologies = apologies(rates.into()).unwrap();
        assert_eq!(apologies.len(), rates.len());
        for (rate, apology) in apologies {
            let seconds = apology.len() as f64 / f64::from(rate.hz());
            assert!((1.0..10.0).contains(&seconds), "{seconds} s at {rate:?}");
            assert!(apology.iter().any(|sample| sample.unsigned_abs() > 3000), "{rate:?}");
        }
    }
}
