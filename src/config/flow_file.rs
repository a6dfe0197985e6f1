//! The file of a built-in dialogue: from TOML to a [`Flow`].

use super::document::{Context, Section, wrong_type};
use super::error::{ConfigError, Fault, Problem};
use super::surroundings::{FoundFile, Surroundings, cause};
use super::values::{number, text, word};
use crate::call::DialplanTarget;
use crate::flow::{Flow, FlowError, FlowParts, Intent, Key, Phrase, Prompt, Then};
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use toml::de::DeValue;

const RECEPTION: &str = include_str!("../../examples/reception.toml");

/// The dialogue of the built-in reception, `examples/reception.toml`.
pub fn reception() -> Arc<Flow> {
    static FLOW: LazyLock<Arc<Flow>> = LazyLock::new(|| {
        let flow = parse_flow(RECEPTION, "examples/reception.toml");
        // Compiled in, and read by a test.
        Arc::new(flow.unwrap_or_else(|error| unreachable!("{error}")))
    });
    Arc::clone(&FLOW)
}

/// Checks the text of a flow file. `file_name` is for the messages.
///
/// # Errors
/// [`ConfigError::Invalid`] with every problem found.
pub fn parse_flow(text: &str, file_name: &str) -> Result<Flow, ConfigError> {
    parse(text, file_name).map_err(ConfigError::Invalid)
}

/// Reads the flow file that a key of another file names; what is wrong with it is noted there.
pub(super) fn load(section: &Section<'_, '_>, key: &'static str, path: &Path) -> Option<Arc<Flow>> {
    match section.context.surroundings.read(path) {
        Ok(found) => parse(&found.text, &path.display().to_string())
            .map(Arc::new)
            .map_err(|problems| section.context.adopt(problems))
            .ok(),
        Err(error) => {
            section.problem(key, Fault::FileUnreadable { path: path.to_owned(), cause: cause(&error) });
            None
        }
    }
}

fn parse(text: &str, file_name: &str) -> Result<Flow, Vec<Problem>> {
    let context = Context::new(file_name, text, Path::new(""), &Nothing);
    let flow = context.parse().and_then(|document| read(&Section::root(&context, &document)));
    let (problems, _) = context.into_findings();
    match flow {
        Some(flow) if problems.is_empty() => Ok(flow),
        _ => Err(problems),
    }
}

/// A flow file names no other file.
struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<FoundFile> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn read(root: &Section<'_, '_>) -> Option<Flow> {
    let opening = root.optional("opening", prompt);
    let give_up = root.required("give_up", "\"Goodbye.\"", prompt);
    let prompts = |key| match root.list(key, "[\"Pardon?\"]", prompt) {
        Some(prompts) => prompts.into_iter().map(|(prompt, _)| prompt).collect(),
        None => Vec::new(),
    };
    let (not_understood, nothing_recognized) = (prompts("not_understood"), prompts("nothing_recognized"));
    let no_input = prompts("no_input");
    let sections = root.sections("intents");
    let intents: Vec<_> = sections.iter().map(read_intent).collect();
    root.finish();

    let intents: Vec<Intent> = intents.into_iter().collect::<Option<_>>()?;
    let names: Vec<String> = intents.iter().map(|intent| intent.name.clone()).collect();
    let parts = FlowParts { opening, intents, not_understood, nothing_recognized, no_input, give_up: give_up? };
    match Flow::new(parts) {
        Ok(flow) => Some(flow),
        Err(error) => {
            // The later of two intents that are in each other's way has the place of the fault.
            let at = error.intent().and_then(|name| names.iter().rposition(|other| other == name));
            let span = at.map_or(0..0, |index| sections[index].span());
            root.context.problem(span, if at.is_some() { "intents" } else { "" }, Fault::Flow(error));
            None
        }
    }
}

fn read_intent(section: &Section<'_, '_>) -> Option<Intent> {
    #[derive(Clone, Copy)]
    enum Next {
        Listen,
        HangUp,
        Continue,
    }
    let name = section.required("name", "\"sales\"", text);
    let phrases = section.list("phrases", "[\"sales\", \"sell\"]", |value| Ok(Phrase::new(&text(value)?)?));
    let key = section.optional("key", key);
    let answer = section.required("answer", "\"I understood: {heard}.\"", prompt);
    let next = word(&[("listen", Next::Listen), ("hang_up", Next::HangUp), ("continue", Next::Continue)]);
    let next = section.optional("then", next).unwrap_or(Next::Listen);
    let target = section.section("target").map(|target| read_target(&target));
    section.finish();
    let then = match next {
        Next::Listen => Then::Listen,
        Next::HangUp => Then::HangUp,
        Next::Continue => Then::Continue { target: target.clone().flatten() },
    };
    if target.is_some() && !matches!(then, Then::Continue { .. }) {
        section.problem("target", Fault::Missing { example: "then = \"continue\"".to_owned() });
    }
    Some(Intent {
        name: name?,
        phrases: phrases.unwrap_or_default().into_iter().map(|(p, _)| p).collect(),
        key,
        answer: answer?,
        then,
    })
}

fn read_target(section: &Section<'_, '_>) -> Option<DialplanTarget> {
    let context = section.optional("context", text).unwrap_or_default();
    let extension = section.required("extension", "\"100\"", text);
    let priority = section.optional("priority", number(1..=9_999_u32)).unwrap_or(1);
    section.finish();
    Some(DialplanTarget { context, extension: extension?, priority })
}

fn prompt(value: &DeValue<'_>) -> Result<Prompt, Fault> {
    Ok(Prompt::new(text(value)?)?)
}

fn key(value: &DeValue<'_>) -> Result<Key, Fault> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "a key of the telephone", "\"1\""))?;
    let mut characters = text.chars();
    let key = characters.next().filter(|_| characters.next().is_none()).and_then(Key::new);
    key.ok_or_else(|| FlowError::NotAKey { key: text.to_owned() }.into())
}
