//! Bots as they answer calls: the configuration of each, joined with the engines that it names.

use crate::audio::SampleRate;
use crate::audio::g711::Law;
use crate::call::{CallId, CallSettings};
use crate::config::{BotName, Config, EngineKind, EngineName, GrpcEngine as GrpcConfig, LocalEngine};
use crate::speech::failover::{Candidate, EngineSet};
use crate::speech::flow_dialog::FlowDialog;
use crate::speech::grpc::{GrpcEngine, GrpcSettings, GrpcSettingsError, TlsRoots};
use crate::speech::local::models::ModelCache;
use crate::speech::local::{InferencePool, LoadError, LocalEngines};
use crate::speech::{BearerToken, Dialog, Recognizer, SessionStart, Synthesizer};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;

/// The spoken apology for when no engine is left; how it was made is told in `models/README.md`.
const APOLOGY: &[u8] = include_bytes!("../../models/apology.en-US.wav");

/// The rate of the audio in a call: that of the G.711 leg.
const RATE: SampleRate = SampleRate::HZ_8000;

/// All bots by name.
#[derive(Debug)]
pub struct Bots {
    bots: HashMap<BotName, Arc<Bot>>,
}

/// One bot, ready to answer.
#[derive(Debug)]
pub(super) struct Bot {
    name: String,
    language: String,
    settings: CallSettings,
    engines: EngineSet,
}

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
    #[error("the bundled apology is no 8 kHz WAV file: {0}")]
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
        let apology = apology()?;
        let engines = config
            .engines
            .iter()
            .map(|(name, kind)| Ok((name, offered(name, kind)?)))
            .collect::<Result<BTreeMap<_, _>, BotsError>>()?;
        let bots = config.bots.iter().map(|(name, bot)| {
            let list =
                |names: &[EngineName]| -> Vec<&Offered> { names.iter().filter_map(|name| engines.get(name)).collect() };
            let engines = EngineSet {
                recognizers: list(&bot.recognizer).into_iter().map(|engine| engine.recognizer.clone()).collect(),
                synthesizers: list(&bot.synthesizer).into_iter().map(|engine| engine.synthesizer.clone()).collect(),
                dialogs: list(&bot.dialog).into_iter().map(|engine| engine.dialog.clone()).collect(),
            };
            let settings = CallSettings {
                rate: RATE,
                greeting: bot.greeting.clone(),
                endpointing: bot.endpointing.clone(),
                barge_in: bot.barge_in,
                no_input: bot.no_input,
                watchdogs: bot.watchdogs,
                apology: Arc::clone(&apology),
            };
            let bot = Bot { name: name.to_string(), language: bot.language.as_str().to_owned(), settings, engines };
            (name.clone(), Arc::new(bot))
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

    pub(super) fn call_settings(&self) -> CallSettings {
        self.settings.clone()
    }

    pub(super) fn engines(&self) -> &EngineSet {
        &self.engines
    }

    pub(super) fn session_start(&self, call: &CallId, law: Law) -> SessionStart {
        SessionStart {
            call: call.clone(),
            language: self.language.clone(),
            rate: RATE,
            law: Some(law),
            greeting: self.settings.greeting.clone(),
        }
    }
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

fn apology() -> Result<Arc<[i16]>, BotsError> {
    let broken = |error: hound::Error| BotsError::Apology(error.to_string());
    let reader = hound::WavReader::new(Cursor::new(APOLOGY)).map_err(broken)?;
    let rate = reader.spec().sample_rate;
    if rate != RATE.hz() {
        return Err(BotsError::Apology(format!("it has {rate} samples a second")));
    }
    reader.into_samples::<i16>().collect::<Result<Vec<_>, _>>().map(Into::into).map_err(broken)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bundled_apology_is_audible_and_short() {
        let apology = super::apology().unwrap();
        let seconds = apology.len() as f64 / 8000.0;
        assert!((1.0..10.0).contains(&seconds), "{seconds} s");
        assert!(apology.iter().any(|sample| sample.unsigned_abs() > 3000));
    }
}
