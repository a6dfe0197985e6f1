//! Where others fail.

use super::*;
use std::net::Shutdown;

/// Fonoster: slin16 is asked for, and its audio, of type 0x12, is thrown away. An Asterisk before 22.7 calls it 0x10.
#[test]
fn fonoster_audio_of_type_0x12_is_heard_at_16_khz_and_so_is_that_which_old_versions_call_0x10() {
    for sent_as in [AudioType::Slin16, AudioType::Slin8] {
        let mut rig = Rig::new();
        let (mut far, stream) = streams();
        let codec = Codec::Linear16(SampleRate::HZ_16000);
        let leg = Leg::AudioSocket(AudioSocketLeg { stream, codec, read: Vec::new(), keys: LegKeys::FromAri });
        let (call, _taken) = rig.add(Driver::Echo(SampleRate::HZ_16000), leg);
        let mut spoken = Vec::new();
        for frame in 0..50i16 {
            let pcm: Vec<i16> = (1..=320).map(|n| frame * 320 + n).collect();
            far.write_all(&audiosocket_frame_of(sent_as, &pcm)).unwrap();
            spoken.extend(pcm);
            rig.millis(20);
        }
        rig.millis(100);
        let heard = audio_of(AudioType::Slin16, &read(&mut far)).concat();
        let heard: Vec<i16> = heard
            .as_chunks::<2>()
            .0
            .iter()
            .map(|bytes| i16::from_le_bytes(*bytes))
            .filter(|sample| *sample != 0)
            .collect();
        // Behind what was sent there may be the beginning of its concealment.
        assert_eq!(heard[..spoken.len()], spoken, "{sent_as:?}");
        let stats = rig.run(async move { call.stats().await }).unwrap();
        assert_eq!((stats.receive.received, stats.receive.malformed, stats.receive.discarded), (50, 0, 0));
        assert_eq!(rig.worker.stats().unexpected_messages, 0);
    }
}

/// jambonz#767: the flush for the old reply takes the new one with it.
#[test]
fn jambonz_767_a_reply_that_begins_right_behind_a_flush_arrives_whole() {
    let mut rig = Rig::new();
    let (mut channel, leg) = Channel::new(SLIN, LegKeys::FromAri);
    let (call, mut taken) = rig.add(Driver::Conversation(Box::new(settings())), leg);
    channel.send(&Message::Text(&start(320)));
    rig.reply(&call, &mut taken, vec![10_000; 8_000]);
    rig.millis(400);
    while taken.try_recv().is_ok() {}
    rig.input(&call, Input::Dtmf('1'));
    rig.millis(1);
    let second = std::iter::from_fn(|| taken.try_recv().ok())
        .find_map(|output| match of_call(output) {
            Some(Output::Dialog(DialogCommand::Dtmf { reply, .. })) => Some(reply),
            _ => None,
        })
        .expect("the key is a question");
    let pcm: Vec<i16> = (0..8_000).map(|n| -1 - n).collect();
    rig.input(&call, Input::Dialog(DialogEvent::Text { reply: second, delta: "Certainly.".to_owned() }));
    rig.input(&call, Input::Dialog(DialogEvent::Done { reply: second }));
    rig.input(&call, Input::Synthesizer(SynthesizerEvent::Audio { reply: second, start_sample: 0, pcm: pcm.clone() }));
    let (mut queue, mut flushes) = (Vec::new(), 0);
    for _ in 0..1_500 {
        rig.millis(1);
        for got in channel.take() {
            match got {
                Got::Audio(pcm) => queue.extend(pcm),
                Got::Text(command) if command == "FLUSH_MEDIA" => {
                    flushes += 1;
                    queue.clear();
                }
                // Marks are not answered here.
                Got::Text(_) | Got::Pong(_) | Got::Closed => {}
            }
        }
    }
    assert_eq!(flushes, 1);
    queue.retain(|sample| *sample < 0);
    assert_eq!(queue, pcm);
}

/// pipecat#2955: a processor is busy for a call that has hung up.
#[test]
fn pipecat_2955_after_a_leg_is_lost_or_left_a_worker_has_nothing_to_do_for_it() {
    for half_closed in [true, false] {
        for keys in [LegKeys::FromAri, LegKeys::FromLeg] {
            let mut rig = Rig::new();
            let (mut far, leg) = audiosocket(keys);
            let (_first, mut first_taken) = rig.echo(leg);
            let (channel, leg) = Channel::new(SLIN, keys);
            let (_second, mut second_taken) = rig.echo(leg);
            rig.millis(100);
            assert!(rig.worker.stats().messages_sent >= 10);
            far.write_all(&audiosocket_frame(1)).unwrap();
            // Closed in one direction, the other way still takes everything.
            let streams = [far, channel.stream];
            let kept = if half_closed {
                streams.iter().for_each(|stream| stream.shutdown(Shutdown::Write).unwrap());
                Some(streams)
            } else {
                drop(streams);
                None
            };
            rig.millis(2);
            assert!(first_taken.try_recv().is_ok() && second_taken.try_recv().is_ok(), "nobody is told");
            let sent = rig.worker.stats().messages_sent;
            rig.millis(1_000);
            assert_eq!(rig.stepped.ready_connections(), 0, "half closed: {half_closed}, {keys:?}");
            assert_eq!(rig.worker.stats().messages_sent, sent);
            assert!(first_taken.try_recv().is_err() && second_taken.try_recv().is_err());
            drop(kept);
        }
    }
    // One that has left itself, and whose far end neither closes nor stops talking.
    let mut rig = Rig::new();
    let (mut far, leg) = audiosocket(LegKeys::FromAri);
    let (call, _taken) = rig.echo(leg);
    rig.millis(100);
    rig.run(async move { call.remove().await });
    let sent = rig.worker.stats().messages_sent;
    for _ in 0..50 {
        far.write_all(&audiosocket_frame(1)).expect("no reset");
        rig.millis(1);
        assert_eq!(rig.stepped.ready_connections(), 0);
    }
    assert_eq!(rig.worker.stats().messages_sent, sent);
}
