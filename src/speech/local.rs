//! The engines of this process: Whisper hears, Piper speaks, both in pure Rust on threads of their own.

pub mod models;
pub mod piper;
mod pool;
pub mod whisper;

pub use pool::{Admission, InferencePool, JobThread, PoolError};
