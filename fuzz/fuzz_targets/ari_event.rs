//! Any text as an event of Asterisk: it is understood, skipped or refused, and never panics.
#![no_main]

use arioso::ari::parse_event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = parse_event(text) {
        // The message is for a log line.
        assert!(!error.to_string().is_empty());
    }
});
