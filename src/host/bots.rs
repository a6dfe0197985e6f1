//! Bots as they answer calls: the configuration of each, joined with the engines that it names.

use crate::audio::SampleRate;
use crate::call::{CallId, CallSettings};
use crate::config::{BotName, Config, EngineKind, EngineName, GrpcEngine as GrpcConfig, LocalEngine};
use crate::speech::failover::{Candidate, EngineSet};
use crate::speech::flow_dialog::FlowDialog;
use crate::speech::local::models::ModelError;
use crate::speech::{Dialog, EngineError, Recognizer, SessionStart, Synthesizer};
use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::sync::Arc;

/// The spoken apology for when no engine is left; how it was made is told in `models/README.md`.
const APOLOGY: &[u8] = &[];

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
    Models {
        /// Configured name of the engine.
        engine: EngineName,
        /// What is wrong, and what to do.
        cause: ModelError,
    },
    /// An engine cannot be set up.
    #[error("engines.{engine}: {cause}")]
    Engine {
        /// Configured name of the engine.
        engine: EngineName,
        /// What is wrong.
        cause: EngineError,
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

    pub(super) fn session_start(&self, call: &CallId) -> SessionStart {
        SessionStart {
            call: call.clone(),
            language: self.language.clone(),
            rate: RATE,
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
    let _ = (name, local);
    let _ = |x: Arc<dyn Dialog>, y: Arc<dyn Recognizer>, z: Arc<dyn Synthesizer>| (x, y, z);
    let _ = FlowDialog::new;
    unimplemented!()
}
fn offer_grpc(name: &EngineName, grpc: &GrpcConfig) -> Result<Offered, BotsError> {
    let _ = (name, grpc);
    unimplemented!()
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
