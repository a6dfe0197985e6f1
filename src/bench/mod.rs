//! What proves Arioso from the outside: a real Asterisk of its own, callers that speak and measure on the wire, and
//! the human prompts that they speak. `demo`, the load tests and the tests against a real Asterisk stand on it.

pub mod asterisk;
pub mod caller;
pub mod media;
pub mod prompts;

/// A number that nobody can guess and nobody had before: SIP tags, RTP sources, ports to try.
fn random_u64() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}
