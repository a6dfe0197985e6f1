//! Opus over WebSocket: Asterisk passes it through, and can neither answer marks nor forget what waits.

use super::*;

fn opus() -> (Channel, Leg) {
    Channel::new(Codec::Opus, LegKeys::FromAri)
}

/// Frames of audio, and the commands between them.
fn sorted(got: Vec<Got>) -> (usize, Vec<String>) {
    let (mut frames, mut commands) = (0, Vec::new());
    for got in got {
        match got {
            Got::Audio(_) => frames += 1,
            Got::Text(command) => commands.push(command),
            other => panic!("{other:?}"),
        }
    }
    (frames, commands)
}

fn status(queue_length: u32) -> String {
    format!(
        "STATUS channel_id:1.2 queue_length:{queue_length} xon_level:800 xoff_level:900 queue_full:false \
         bulk_media:false media_paused:false"
    )
}

#[test]
fn a_backlog_of_opus_is_left_out_as_the_status_tells_and_nothing_else_is_asked() {
    let mut rig = Rig::new();
    let (mut channel, leg) = opus();
    let (_call, _taken) = rig.add(Driver::Echo(SampleRate::HZ_16000), leg);
    channel.send(&Message::Text(&start(0)));
    rig.millis(100);
    let (frames, commands) = sorted(channel.take());
    assert!((6..=7).contains(&frames), "{frames}: one each 20 ms and one more to wait at Asterisk");
    assert!(!commands.is_empty() && commands.iter().all(|command| command == "GET_STATUS"), "{commands:?}");
    channel.send(&Message::Text(&status(2)));
    rig.millis(1_000);
    let (frames, commands) = sorted(channel.take());
    assert_eq!((frames, commands), (50, vec!["GET_STATUS".to_owned()]));
    channel.send(&Message::Text(&status(30)));
    rig.millis(560);
    assert_eq!(sorted(channel.take()).0, 0, "28 frames more than two");
    rig.millis(1_000);
    assert_eq!(sorted(channel.take()).0, 50);
}

#[test]
fn when_asterisk_wants_no_more_opus_it_is_not_told_to_do_what_it_cannot() {
    let mut rig = Rig::new();
    let (mut channel, leg) = opus();
    let (_call, _taken) = rig.add(Driver::Echo(SampleRate::HZ_16000), leg);
    channel.send(&Message::Text(&start(0)));
    rig.millis(100);
    channel.take();
    channel.send(&Message::Text("MEDIA_XOFF"));
    rig.millis(2_100);
    channel.send(&Message::Text("MEDIA_XON"));
    rig.millis(2_000);
    assert_eq!(channel.take(), [], "hundreds of frames wait still");
    rig.millis(14_000);
    let (frames, commands) = sorted(channel.take());
    assert!((5..=15).contains(&frames), "{frames}: it goes on when two are left of 900");
    assert!(commands.iter().all(|command| command == "GET_STATUS"), "{commands:?}");
}

#[test]
fn what_waits_of_opus_is_heard_and_counts_as_heard_when_the_caller_interrupts() {
    let mut rig = Rig::new();
    let (mut channel, leg) = opus();
    let settings = CallSettings { rate: SampleRate::HZ_16000, ..settings() };
    let (call, mut taken) = rig.add(Driver::Conversation(Box::new(settings)), leg);
    channel.send(&Message::Text(&start(0)));
    let reply = rig.reply(&call, &mut taken, vec![10_000; 16_000]);
    rig.millis(400);
    rig.input(&call, Input::Dtmf('1'));
    rig.millis(100);
    let commands = sorted(channel.take()).1;
    assert!(commands.iter().all(|command| command == "GET_STATUS"), "{commands:?}");
    let played = std::iter::from_fn(|| taken.try_recv().ok()).find_map(|output| match of_call(output) {
        Some(Output::Dialog(DialogCommand::Interrupt { reply: of, played_sample, .. })) if of == reply => {
            Some(played_sample)
        }
        _ => None,
    });
    let played = played.expect("the dialogue is told");
    assert!((6_080..=7_040).contains(&played), "{played} samples in 400 ms and the frame that fades");
}
