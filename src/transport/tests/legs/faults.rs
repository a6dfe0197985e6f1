//! What cannot be used is counted, and said once a call; the call goes on.

use super::*;
use std::sync::{Arc, Mutex};

/// What was logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The warnings of what is done.
fn warnings(act: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || written.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    let bytes = log.0.lock().unwrap();
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

#[test]
fn what_is_no_audiosocket_is_counted_and_said_once_with_the_call_and_the_audio_is_heard() {
    let mut rig = Rig::new();
    let (mut far, leg) = audiosocket(LegKeys::FromAri);
    let (_call, _taken) = rig.echo(leg);
    let warnings = warnings(|| {
        far.write_all(&[3, 0, 2, b'1', b'2']).unwrap();
        // Half a sample, an unknown type, and audio of another rate.
        far.write_all(&[0x10, 0, 1, 7]).unwrap();
        far.write_all(&[0x77, 0, 1, 0]).unwrap();
        far.write_all(&audiosocket_frame_of(AudioType::Slin48, &[9; 960])).unwrap();
        far.write_all(&audiosocket_frame(1_000)).unwrap();
        rig.millis(60);
    });
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("call=test") && warnings[0].contains("DTMF frame has 2 bytes"), "{warnings:#?}");
    assert_eq!((rig.worker.stats().malformed_messages, rig.worker.stats().unexpected_messages), (2, 2));
    let whole = [1_000i16; 160].iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
    assert!(audio(&read(&mut far)).contains(&whole), "the caller is not heard any more");
}

#[test]
fn audio_that_ends_within_a_sample_is_heard_up_to_there() {
    let mut rig = Rig::new();
    let (mut far, leg) = audiosocket(LegKeys::FromAri);
    let (_call, _taken) = rig.echo(leg);
    let mut message = audiosocket_frame(1_000);
    message.push(5);
    message[2] += 1;
    let warnings = warnings(|| {
        far.write_all(&message).unwrap();
        rig.millis(60);
    });
    assert!(warnings.len() == 1 && warnings[0].contains("321 bytes ends within a sample"), "{warnings:#?}");
    assert!(audio(&read(&mut far)).iter().any(|frame| frame[..2] == 1_000i16.to_le_bytes()));
}

/// What Asterisk says itself is the only hint why a command had no effect.
#[test]
fn a_command_that_asterisk_refuses_is_said_in_its_words() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (_call, _taken) = rig.echo(leg);
    let text = "FLUSH_MEDIA not supported in passthrough mode";
    let warnings = warnings(|| {
        channel.send(&Message::Text(&start(320)));
        channel.send(&Message::Text(&format!("ERROR channel_id:1.2 error_text:{text}")));
        channel.send(&Message::Text("MEDIA_TELEPORTED where:elsewhere"));
        channel.send(&Message::Text("STATUS channel_id:1.2 queue_length:many"));
        channel.send(&Message::Binary(&[1]));
        rig.millis(2);
    });
    assert!(warnings.len() == 1 && warnings[0].contains(text) && warnings[0].contains("call=test"), "{warnings:#?}");
    assert_eq!((rig.worker.stats().malformed_messages, rig.worker.stats().unexpected_messages), (2, 2));
}

#[test]
fn an_event_that_is_not_known_and_a_message_that_cannot_be_read_are_said() {
    for (message, said) in [
        ("MEDIA_TELEPORTED where:elsewhere", "MEDIA_TELEPORTED"),
        ("STATUS channel_id:1.2 queue_length:many", "queue_length"),
    ] {
        let mut rig = Rig::new();
        let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
        let (_call, _taken) = rig.echo(leg);
        let warnings = warnings(|| {
            for _ in 0..3 {
                channel.send(&Message::Text(message));
            }
            rig.millis(2);
        });
        assert!(warnings.len() == 1 && warnings[0].contains(said), "{warnings:#?}");
    }
}
