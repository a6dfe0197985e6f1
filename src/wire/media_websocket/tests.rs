//! Messages as Asterisk writes them, both ways, in both forms.

use super::*;
use proptest::prelude::*;

const BOTH: [Format; 2] = [Format::Json, Format::PlainText];

fn start() -> MediaStart<'static> {
    MediaStart {
        connection_id: "2f7c6a1e-9d0b-4a57-9f0e-5b6d1c3e8a90".into(),
        channel: "WebSocket/INCOMING/0x7f2a3c01d2b0".into(),
        channel_id: "arioso-leg-41".into(),
        format: "slin16".into(),
        optimal_frame_size: 640,
        ptime_ms: Some(20),
    }
}

/// Each event as Asterisk 22.10 writes it: as JSON, as plain text, and what it means.
fn events() -> Vec<(&'static str, &'static str, Event<'static>)> {
    let status = Status {
        queue_length: 12,
        xon_level: 800,
        xoff_level: 900,
        queue_full: false,
        bulk_media: true,
        media_paused: false,
    };
    vec![
        (
            r#"{"event":"MEDIA_START","connection_id":"2f7c6a1e-9d0b-4a57-9f0e-5b6d1c3e8a90","channel":"WebSocket/INCOMING/0x7f2a3c01d2b0","channel_id":"arioso-leg-41","format":"slin16","optimal_frame_size":640,"ptime":20,"channel_variables":{}}"#,
            "MEDIA_START connection_id:2f7c6a1e-9d0b-4a57-9f0e-5b6d1c3e8a90 channel:WebSocket/INCOMING/0x7f2a3c01d2b0 channel_id:arioso-leg-41 format:slin16 optimal_frame_size:640 ptime:20",
            Event::MediaStart(start()),
        ),
        (
            r##"{"event":"DTMF_END","digit":"#","channel_id":"arioso-leg-41"}"##,
            "DTMF_END digit:# channel_id:arioso-leg-41",
            Event::DtmfEnd { digit: '#' },
        ),
        (r#"{"event":"MEDIA_XOFF","channel_id":"arioso-leg-41"}"#, "MEDIA_XOFF", Event::MediaXoff),
        (r#"{"event":"MEDIA_XON","channel_id":"arioso-leg-41"}"#, "MEDIA_XON", Event::MediaXon),
        (
            r#"{"event":"MEDIA_BUFFERING_COMPLETED","channel_id":"arioso-leg-41","correlation_id":"reply-7"}"#,
            "MEDIA_BUFFERING_COMPLETED reply-7",
            Event::MediaBufferingCompleted { id: Some("reply-7".into()) },
        ),
        (
            r#"{"event":"MEDIA_BUFFERING_COMPLETED","channel_id":"arioso-leg-41","correlation_id":""}"#,
            "MEDIA_BUFFERING_COMPLETED",
            Event::MediaBufferingCompleted { id: None },
        ),
        (
            r#"{"event":"MEDIA_MARK_PROCESSED","channel_id":"arioso-leg-41","correlation_id":"48000"}"#,
            "MEDIA_MARK_PROCESSED 48000",
            Event::MediaMarkProcessed { id: Some("48000".into()) },
        ),
        (r#"{"event":"QUEUE_DRAINED","channel_id":"arioso-leg-41"}"#, "QUEUE_DRAINED", Event::QueueDrained),
        (
            r#"{"event":"STATUS","channel_id":"arioso-leg-41","queue_length":12,"xon_level":800,"xoff_level":900,"queue_full":false,"bulk_media":true,"media_paused":false}"#,
            "STATUS channel_id:arioso-leg-41 queue_length:12 xon_level:800 xoff_level:900 queue_full:false bulk_media:true media_paused:false",
            Event::Status(status),
        ),
        (
            r#"{"event":"ERROR","channel_id":"arioso-leg-41","error_text":"FLUSH_MEDIA not supported in passthrough mode"}"#,
            "ERROR channel_id:arioso-leg-41 error_text:FLUSH_MEDIA not supported in passthrough mode",
            Event::Error { text: "FLUSH_MEDIA not supported in passthrough mode".into() },
        ),
        (
            r#"{"event":"MEDIA_LATER","channel_id":"arioso-leg-41"}"#,
            "MEDIA_LATER",
            Event::Unknown { name: "MEDIA_LATER".into() },
        ),
    ]
}

fn commands() -> Vec<(&'static str, Option<&'static str>, Command<'static>)> {
    let named = |name| Some(Cow::Borrowed(name));
    vec![
        (r#"{"command":"ANSWER"}"#, Some("ANSWER"), Command::Answer),
        (r#"{"command":"HANGUP"}"#, Some("HANGUP"), Command::HangUp),
        (r#"{"command":"START_MEDIA_BUFFERING"}"#, Some("START_MEDIA_BUFFERING"), Command::StartMediaBuffering),
        (
            r#"{"command":"STOP_MEDIA_BUFFERING","correlation_id":"reply-7"}"#,
            Some("STOP_MEDIA_BUFFERING reply-7"),
            Command::StopMediaBuffering { id: named("reply-7") },
        ),
        (
            r#"{"command":"STOP_MEDIA_BUFFERING"}"#,
            Some("STOP_MEDIA_BUFFERING"),
            Command::StopMediaBuffering { id: None },
        ),
        (
            r#"{"command":"MARK_MEDIA","correlation_id":"48000"}"#,
            Some("MARK_MEDIA 48000"),
            Command::MarkMedia { id: named("48000") },
        ),
        (r#"{"command":"FLUSH_MEDIA"}"#, Some("FLUSH_MEDIA"), Command::FlushMedia),
        (r#"{"command":"PAUSE_MEDIA"}"#, Some("PAUSE_MEDIA"), Command::PauseMedia),
        (r#"{"command":"CONTINUE_MEDIA"}"#, Some("CONTINUE_MEDIA"), Command::ContinueMedia),
        (r#"{"command":"REPORT_QUEUE_DRAINED"}"#, Some("REPORT_QUEUE_DRAINED"), Command::ReportQueueDrained),
        (r#"{"command":"GET_STATUS"}"#, Some("GET_STATUS"), Command::GetStatus),
        (r#"{"command":"SET_MEDIA_DIRECTION","direction":"out"}"#, None, Command::SetMediaDirection(Direction::Out)),
    ]
}

#[test]
fn events_are_read_and_written_in_both_forms() {
    for (json, plain, event) in events() {
        for (format, text) in BOTH.into_iter().zip([json, plain]) {
            assert_eq!(Event::parse(text, format).as_ref(), Ok(&event), "{text}");
            let mut written = String::new();
            event.write("arioso-leg-41", format, &mut written).unwrap();
            assert_eq!(written, text);
        }
    }
}

#[test]
fn commands_are_read_and_written_in_both_forms() {
    for (json, plain, command) in commands() {
        for (format, text) in BOTH.into_iter().zip([Some(json), plain]) {
            let mut written = "before".to_owned();
            match text {
                Some(text) => {
                    assert_eq!(Command::parse(text, format).as_ref(), Ok(&command), "{text}");
                    command.write(format, &mut written).unwrap();
                    assert_eq!(written, format!("before{text}"));
                }
                None => {
                    assert_eq!(command.write(format, &mut written), Err(WriteError::JsonOnly));
                    assert_eq!(written, "before");
                }
            }
        }
    }
}

#[test]
fn what_asterisk_adds_later_is_ignored() {
    let json =
        r#"{ "new": [{"a": null}, 1.5], "event": "DTMF_END", "digit": "5", "channel_variables": {"format": 1} }"#;
    assert_eq!(Event::parse(json, Format::Json), Ok(Event::DtmfEnd { digit: '5' }));
    let plain = "DTMF_END digit:5 duration_ms:120 channel_id:x";
    assert_eq!(Event::parse(plain, Format::PlainText), Ok(Event::DtmfEnd { digit: '5' }));
}

#[test]
fn a_channel_name_may_hold_spaces() {
    let plain = "MEDIA_START connection_id:my client channel:WebSocket/my client/0x1 (A: b) channel_id:x format:ulaw optimal_frame_size:160";
    let Ok(Event::MediaStart(start)) = Event::parse(plain, Format::PlainText) else { panic!("not read") };
    assert_eq!((&*start.connection_id, &*start.channel), ("my client", "WebSocket/my client/0x1 (A: b)"));
    assert_eq!((&*start.channel_id, start.optimal_frame_size, start.ptime_ms), ("x", 160, None));
}

#[test]
fn escapes_of_json_are_understood_and_written() {
    let json = r#"{"event":"ERROR","channel_id":"x","error_text":"a \"quoted\" \u00e4\n\\"}"#;
    let event = Event::parse(json, Format::Json).unwrap();
    assert_eq!(event, Event::Error { text: "a \"quoted\" ä\n\\".into() });
    let mut written = String::new();
    event.write("x", Format::Json, &mut written).unwrap();
    assert_eq!(Event::parse(&written, Format::Json), Ok(event.clone()));
    assert_eq!(event.write("x", Format::PlainText, &mut written), Err(WriteError::Text));
}

/// What comes and goes with the audio must not cost an allocation.
#[test]
fn marks_are_borrowed_from_the_message() {
    for (format, text) in BOTH.into_iter().zip([
        r#"{"event":"MEDIA_MARK_PROCESSED","channel_id":"x","correlation_id":"48000"}"#,
        "MEDIA_MARK_PROCESSED 48000",
    ]) {
        let event = Event::parse(text, format);
        assert!(matches!(event, Ok(Event::MediaMarkProcessed { id: Some(Cow::Borrowed("48000")) })), "{event:?}");
    }
}

#[test]
fn a_wrong_message_is_refused_with_what_is_wrong() {
    use MessageError::{Missing, NoName, UnknownCommand, Value};
    let json = |text| Event::parse(text, Format::Json).unwrap_err();
    let plain = |text| Event::parse(text, Format::PlainText).unwrap_err();
    for text in ["", "MEDIA_XON", "[]", r#"["MEDIA_XON"]"#, r#"{"event":"MEDIA_XON""#, r#"{"event":7}"#, "null"] {
        assert!(matches!(json(text), MessageError::Json { .. }), "{text}");
    }
    assert_eq!(json("{}"), NoName);
    assert_eq!(json(r#"{"command":"ANSWER"}"#), NoName);
    assert_eq!(plain("  "), NoName);
    assert_eq!(plain("DTMF_END"), Missing { message: "DTMF_END", key: "digit" });
    assert_eq!(json(r#"{"event":"ERROR"}"#), Missing { message: "ERROR", key: "error_text" });
    let digit = Value { key: "digit", expected: "one of 0-9 * # A-D" };
    assert_eq!(plain("DTMF_END digit:55"), digit);
    assert_eq!(plain("DTMF_END digit:x"), digit);
    assert_eq!(plain("STATUS queue_length:-1"), Value { key: "queue_length", expected: "a number" });
    assert_eq!(plain("STATUS queue_full:1"), Value { key: "queue_full", expected: "true or false" });
    assert_eq!(Command::parse("DANCE", Format::PlainText), Err(UnknownCommand));
    assert_eq!(
        Command::parse(r#"{"command":"SET_MEDIA_DIRECTION","direction":"up"}"#, Format::Json),
        Err(Value { key: "direction", expected: "both, in or out" })
    );
}

#[test]
fn a_command_is_never_longer_than_asterisk_reads() {
    let long = "x".repeat(MAX_COMMAND_BYTES - "MARK_MEDIA ".len());
    let mut out = String::new();
    let mark = |id: &str| Command::MarkMedia { id: Some(id.to_owned().into()) };
    assert_eq!(mark(&long).write(Format::PlainText, &mut out), Ok(()));
    assert_eq!(out.len(), MAX_COMMAND_BYTES);
    out.clear();
    assert_eq!(mark(&long).write(Format::Json, &mut out), Err(WriteError::TooLong { bytes: 161 }));
    assert_eq!(mark(&(long + "x")).write(Format::PlainText, &mut out), Err(WriteError::TooLong { bytes: 129 }));
    for wrong in ["", " x", "x ", "a\nb"] {
        assert_eq!(mark(wrong).write(Format::PlainText, &mut out), Err(WriteError::Text), "{wrong:?}");
    }
    assert_eq!(out, "");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        for format in BOTH {
            let _ = (Event::parse(&text, format), Command::parse(&text, format));
        }
    }

    #[test]
    fn any_id_comes_back(id in any::<String>().prop_filter("an empty id is none", |id| !id.is_empty())) {
        for format in BOTH {
            let event = Event::MediaMarkProcessed { id: Some(Cow::Borrowed(&id)) };
            let mut written = String::new();
            match event.write("channel", format, &mut written) {
                Ok(()) => prop_assert_eq!(Event::parse(&written, format), Ok(event)),
                Err(_) => prop_assert!(format == Format::PlainText && written.is_empty()),
            }
        }
    }
}
