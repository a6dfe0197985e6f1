//! `[engines.NAME]`: what recognises, speaks and converses.

use super::document::{Section, nearest};
use super::error::{Caution, Fault};
use super::flow_file;
use super::names::{EngineName, HttpUrl};
use super::secret::{self, Secret};
use super::values::{http_url, invalid, number, text, word};
use crate::audio::g711::Law;
use crate::audio::{PcmFormat, SampleRate};
use crate::flow::Flow;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

/// How many threads the engines of this process may be given.
pub const THREADS: RangeInclusive<usize> = 1..=256;

/// Formats that an engine may be given, as they are written.
const AUDIO: [(&str, Option<PcmFormat>); 7] = [
    ("auto", None),
    ("linear16/8000", Some(PcmFormat::Linear16(SampleRate::HZ_8000))),
    ("linear16/16000", Some(PcmFormat::Linear16(SampleRate::HZ_16000))),
    ("linear16/24000", Some(PcmFormat::Linear16(SampleRate::HZ_24000))),
    ("linear16/48000", Some(PcmFormat::Linear16(SampleRate::HZ_48000))),
    ("mulaw/8000", Some(PcmFormat::G711(Law::Mu))),
    ("alaw/8000", Some(PcmFormat::G711(Law::A))),
];

/// An engine, by where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// In this process.
    Local(LocalEngine),
    /// In a process of its own, that speaks our contract.
    Grpc(GrpcEngine),
}

/// The engines of this process: local models and the built-in dialogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEngine {
    /// Threads that compute; one less than there are processors if not said.
    pub threads: Option<NonZeroUsize>,
    /// Folder of the models; the cache folder of `arioso models` if not said.
    pub models: Option<PathBuf>,
    /// What its dialogue says.
    pub flow: Arc<Flow>,
}

/// An engine behind gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcEngine {
    /// Where.
    pub url: HttpUrl,
    /// Sent as a bearer token.
    pub token: Option<Secret>,
    /// PEM file with the certificates to trust for `https`, in place of those of the system.
    pub ca_file: Option<PathBuf>,
    /// What it is to be given and to give; `None` is `"auto"`: what its catalogue says.
    pub audio: Option<PcmFormat>,
}

/// Every `[engines.NAME]` by name; `None` for one that exists and is wrong.
pub(super) type Engines = BTreeMap<EngineName, Option<EngineKind>>;

#[derive(Clone, Copy)]
enum Kind {
    Local,
    Grpc,
}

/// Reads every `[engines.NAME]`.
pub(super) fn read_all(root: &Section<'_, '_>) -> Engines {
    let mut engines = Engines::new();
    for (name, span, section) in root.named_sections("engines") {
        let engine = read(&section);
        match EngineName::new(&name) {
            Ok(name) => drop(engines.insert(name, engine)),
            Err(error) => root.context.problem(span, &root.key("engines"), invalid(&name, error)),
        }
    }
    engines
}

fn read(section: &Section<'_, '_>) -> Option<EngineKind> {
    let kind = section.required("kind", "\"local\"", word(&[("local", Kind::Local), ("grpc", Kind::Grpc)]));
    let engine = match kind? {
        Kind::Local => read_local(section).map(EngineKind::Local),
        Kind::Grpc => read_grpc(section).map(EngineKind::Grpc),
    };
    section.finish();
    engine
}

fn read_local(section: &Section<'_, '_>) -> Option<LocalEngine> {
    let threads = section.optional("threads", number(THREADS)).and_then(NonZeroUsize::new);
    let models = section.optional("models", text).map(|path| section.context.path(&path));
    let flow = match section.optional("flow", text) {
        Some(path) => flow_file::load(section, "flow", &section.context.path(&path)),
        None => Some(flow_file::reception()),
    };
    Some(LocalEngine { threads, models, flow: flow? })
}

fn read_grpc(section: &Section<'_, '_>) -> Option<GrpcEngine> {
    let url = section.required("url", "\"http://127.0.0.1:50051\"", http_url);
    let token = secret::optional(section, &secret::TOKEN);
    let ca_file = section.optional("ca_file", text).map(|path| section.context.path(&path));
    let audio = section.optional("audio", word(&AUDIO)).flatten();
    let (url, token) = (url?, token?);
    if token.is_some() && !url.is_encrypted() && !url.is_loopback() {
        section.warn("url", Caution::SecretInTheClear);
    }
    if ca_file.is_some() && !url.is_encrypted() {
        let why =
            "is not encrypted, so there is nothing to check with a certificate; write https://, or take ca_file out";
        section.problem("ca_file", invalid(url.as_str(), why));
    }
    Some(GrpcEngine { url, token, ca_file, audio })
}

/// A list of engines, in order of preference: not empty, all of them exist, none twice.
pub(super) fn read_list(section: &Section<'_, '_>, key: &'static str, engines: &Engines) -> Option<Vec<EngineName>> {
    if !section.contains(key) {
        let first = engines.keys().next().map_or("local", EngineName::as_str);
        return section.required(key, &format!("[\"{first}\"]"), |_| Ok(Vec::new()));
    }
    let names = section.list(key, "[\"local\"]", text)?;
    if names.is_empty() {
        section.problem(key, invalid("[]", "is an empty list; name at least one engine"));
        return None;
    }
    let mut preferred: Vec<(EngineName, std::ops::Range<usize>)> = Vec::new();
    let mut sound = true;
    for (written, span) in names {
        let fault = match engines.keys().find(|name| name.as_str() == written) {
            None => Some(unknown_engine(written, engines)),
            Some(name) => match preferred.iter().find(|(earlier, _)| earlier == name) {
                Some((_, first)) => {
                    let first = section.context.place(first);
                    Some(Fault::Duplicate { what: format!("engine \"{name}\""), first })
                }
                None => {
                    preferred.push((name.clone(), span.clone()));
                    None
                }
            },
        };
        if let Some(fault) = fault {
            sound = false;
            section.context.problem(span, &section.key(key), fault);
        }
    }
    sound.then(|| preferred.into_iter().map(|(name, _)| name).collect())
}

/// How many of a list are engines of this process.
pub(super) enum BuiltIn {
    None,
    Some,
    All,
}

/// How many of a list are engines of this process. One that is wrong in itself counts as none of them.
pub(super) fn built_in_of(list: &[EngineName], engines: &Engines) -> BuiltIn {
    let local = |name: &&EngineName| matches!(engines.get(*name), Some(Some(EngineKind::Local(_))));
    match list.iter().filter(local).count() {
        0 => BuiltIn::None,
        count if count == list.len() => BuiltIn::All,
        _ => BuiltIn::Some,
    }
}

fn unknown_engine(name: String, engines: &Engines) -> Fault {
    let known: Vec<String> = engines.keys().map(EngineName::to_string).collect();
    Fault::UnknownName { kind: "engine", nearest: nearest(&name, &known), name, known }
}
