//! Arioso: a voice-bot media server for Asterisk.
//!
//! The library is a sans-I/O core with a thin asynchronous shell. `ARCHITECTURE.md` is the map; in short:
//!
//! ```text
//! audio, wire ← vad, media ← call, flow ← config ← transport, ari, speech ← host, bench ← cli
//! ```
//!
//! A `use` may only point against an arrow: to what stands further left. Modules of the shell do not import each other; `host`
//! joins them. The core never reads a clock, opens a socket or awaits: time and bytes are passed in, values come out.
//! It builds alone with `--no-default-features`.

// ---- core -------------------------------------------------------------------------------------------------------
pub mod audio;
pub mod call;
pub mod flow;
pub mod media;
pub mod vad;
pub mod wire;

// ---- shell: here the clock and the sockets that clippy.toml bans elsewhere are allowed ------------------------------
#[cfg(feature = "parsers")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod ari;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod bench;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod cli;
#[cfg(feature = "parsers")]
pub mod config;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod host;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod speech;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod telemetry;
#[cfg(feature = "shell")]
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod transport;
