//! Any text as a control message of chan_websocket, in both forms and both directions: it is read or refused, and what is
//! written from it reads the same.
#![no_main]

use arioso::wire::media_websocket::{Command, Event, Format, MAX_COMMAND_BYTES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for format in [Format::Json, Format::PlainText] {
        let mut written = String::new();
        match Event::parse(text, format) {
            Ok(event) if event.write("channel", format, &mut written).is_ok() => {
                assert_eq!(Event::parse(&written, format), Ok(event));
            }
            Ok(_) => assert!(written.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        written.clear();
        match Command::parse(text, format) {
            Ok(command) if command.write(format, &mut written).is_ok() => {
                assert!(written.len() <= MAX_COMMAND_BYTES);
                assert_eq!(Command::parse(&written, format), Ok(command));
            }
            Ok(_) => assert!(written.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
