//! The engines of this process: Whisper hears, Piper speaks, both in pure Rust on threads of their own.

pub mod models;
pub mod whisper;
