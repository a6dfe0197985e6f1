//! The built-in dialogue: a small declarative conversation that recognises what the caller wants by phrases and keys,
//! and answers with fixed prompts. Sans-I/O: a [`Flow`] is data, a [`Conversation`] is one call's place in it.
//!
//! ```text
//! DialogCommand ─▶ Conversation::step ─▶ [DialogEvent]     (text, then at most one action, then done)
//! ```
//!
//! The data usually comes from a file (`config::flow_file`); here it only has to be consistent.

mod conversation;
mod definition;
mod words;

pub use conversation::Conversation;
pub use definition::{Flow, FlowError, FlowParts, Intent, Key, Prompt, Then};
pub use words::Phrase;

#[cfg(test)]
mod tests;
