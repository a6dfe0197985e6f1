//! The playout queue: order, fades, pauses, bounds.

use super::*;
use proptest::prelude::*;

fn playout() -> Playout {
    Playout::new(SampleRate::HZ_8000, Duration::from_secs(1))
}

#[test]
fn audio_comes_out_as_it_went_in_and_silence_follows() {
    let mut playout = playout();
    playout.push((1..=100).collect());
    playout.push((101..=200).collect());
    let mut frame = [7; 160];
    assert_eq!(playout.frame(&mut frame), 160);
    assert_eq!(frame[..], (1..=160).collect::<Vec<i16>>()[..]);
    assert_eq!(playout.frame(&mut frame), 40);
    assert_eq!((frame[39], frame[40], frame[159]), (200, 0, 0));
    assert_eq!(playout.played(), 200);
}

#[test]
fn a_stopped_reply_fades_over_one_frame_and_is_gone() {
    let mut playout = playout();
    playout.push(vec![10_000; 1600]);
    let mut frame = [0; 160];
    playout.frame(&mut frame);
    assert_eq!(playout.stop(), 320, "the frame that fades is heard too");
    playout.push(vec![500; 160]);
    assert_eq!(playout.frame(&mut frame), 0, "what fades is not the new reply");
    assert!(frame.windows(2).all(|pair| pair[0] >= pair[1]), "a fade only falls");
    assert!(frame[0] > 9_000 && frame[159] == 0);
    assert_eq!(playout.frame(&mut frame), 160);
    assert_eq!((frame[0], playout.played()), (500, 160), "the new reply counts from its own start");
}

#[test]
fn stopping_twice_does_not_lengthen_the_fade() {
    let mut playout = playout();
    let mut frame = [0; 160];
    playout.push(vec![10_000; 1600]);
    playout.frame(&mut frame);
    playout.stop();
    playout.push(vec![10_000; 1600]);
    playout.stop();
    playout.frame(&mut frame);
    assert!(frame[0] > 9_000);
    playout.frame(&mut frame);
    assert_eq!(frame, [0; 160]);
}

#[test]
fn of_a_reply_that_has_not_begun_nothing_is_heard_when_it_is_stopped_or_paused() {
    let mut playout = playout();
    let mut frame = [7; 160];
    playout.push(vec![10_000; 1600]);
    playout.pause();
    assert_eq!((playout.frame(&mut frame), frame), (0, [0; 160]));
    assert_eq!(playout.stop(), 0);
    assert_eq!((playout.frame(&mut frame), frame), (0, [0; 160]));
}

#[test]
fn active_call_does_nothing_on_pause_here_it_fades_out_is_silent_and_goes_on_at_the_same_sample() {
    let mut playout = playout();
    let mut frame = [0; 160];
    playout.push((0..800).map(|n| 10_000 + n).collect());
    playout.frame(&mut frame);
    playout.pause();
    assert_eq!(playout.frame(&mut frame), 0);
    assert!(frame[0] > 9_500 && frame[..40].is_sorted_by(|a, b| a > b) && frame[40..] == [0; 120], "{frame:?}");
    for _ in 0..5 {
        assert_eq!((playout.frame(&mut frame), frame), (0, [0; 160]));
    }
    playout.push(vec![1; 10]);
    assert_eq!((playout.played(), playout.queued(), playout.is_paused()), (160, 650, true));
    playout.resume();
    assert_eq!(playout.frame(&mut frame), 160);
    assert!(frame[..40].is_sorted_by(|a, b| a < b), "{frame:?}");
    assert_eq!(frame[40..], (200..320).map(|n| 10_000 + n).collect::<Vec<i16>>()[..]);
}

#[test]
fn a_paused_reply_that_is_stopped_is_gone_and_the_next_one_plays() {
    let mut playout = playout();
    let mut frame = [0; 160];
    playout.push(vec![10_000; 1600]);
    playout.frame(&mut frame);
    playout.pause();
    playout.frame(&mut frame);
    assert_eq!(playout.stop(), 160);
    playout.push(vec![500; 160]);
    assert_eq!((playout.frame(&mut frame), frame), (160, [500; 160]));
}

#[test]
fn an_idle_queue_takes_little_memory_even_after_a_long_reply() {
    let mut playout = Playout::new(SampleRate::HZ_8000, Duration::from_secs(60));
    for _ in 0..3_000 {
        playout.push(vec![1; 160]);
    }
    playout.frame(&mut [0; 160]);
    playout.stop();
    let bytes = size_of::<Playout>() + playout.chunks.capacity() * size_of::<Vec<i16>>() + 2 * playout.tail.capacity();
    assert!(bytes <= 1_024, "{bytes} bytes");
}

#[test]
fn what_waits_at_the_far_end_when_a_reply_stops_was_not_heard() {
    let mut playout = playout();
    playout.push(vec![10_000; 1600]);
    playout.set_lookahead(320);
    let mut frame = [0; 160];
    for _ in 0..5 {
        playout.frame(&mut frame);
    }
    assert_eq!((playout.played(), playout.heard()), (800, 480));
    assert_eq!(playout.stop(), 640, "of the two frames that are taken back, the first fades out");
    playout.push(vec![500; 160]);
    assert_eq!(playout.frame(&mut frame), 160, "the fade is not made here");
    assert_eq!(playout.stop(), 0, "all of a reply that has just begun can be taken back");
}

#[test]
fn more_than_fits_is_reported() {
    let mut playout = playout();
    assert_eq!(playout.push(vec![1; 7_000]), 0);
    assert_eq!(playout.push(vec![1; 7_000]), 6_000);
    assert_eq!(playout.queued(), 8_000);
}

#[test]
fn truncation_keeps_what_comes_before() {
    let mut playout = playout();
    playout.push((0..200).collect());
    playout.push((200..400).collect());
    let mut frame = [0; 160];
    playout.frame(&mut frame);
    playout.truncate(250);
    assert_eq!(playout.queued(), 90);
    playout.push(vec![-1; 10]);
    playout.frame(&mut frame);
    assert_eq!((frame[0], frame[89], frame[90]), (160, 249, -1));
    playout.truncate(0);
    assert_eq!(playout.queued(), 0);
}

proptest! {
    #[test]
    fn no_sample_is_lost_or_played_twice(chunks in prop::collection::vec(0usize..500, 0..20)) {
        let mut playout = playout();
        let mut next = 0i16;
        let mut accepted = Vec::new();
        for len in chunks {
            let pcm: Vec<i16> = (0..len).map(|_| { next = next.wrapping_add(1); next }).collect();
            let dropped = playout.push(pcm.clone());
            accepted.extend_from_slice(&pcm[..len - dropped]);
        }
        let mut heard = Vec::new();
        let mut frame = [0; 160];
        while playout.queued() > 0 {
            let n = playout.frame(&mut frame);
            heard.extend_from_slice(&frame[..n]);
        }
        prop_assert_eq!(playout.played(), accepted.len() as i64);
        prop_assert_eq!(heard, accepted);
    }

    /// Whatever is pushed, played, paused and resumed in whatever order: each sample is played once, at its place, but for
    /// the 5 ms that fade out at a pause, which are heard again when it goes on.
    #[test]
    fn no_sample_is_lost_or_doubled_by_pauses(operations in prop::collection::vec(0usize..7, 0..100)) {
        let mut playout = Playout::new(SampleRate::HZ_8000, Duration::from_secs(10));
        let (mut pushed, mut heard) = (0i16, 0);
        let mut frame = [0; 160];
        let (mut paused, mut resumed) = (false, false);
        for operation in operations.into_iter().chain([3, 0, 0].into_iter().cycle().take(600)) {
            match operation {
                1 => {
                    // Some of them no whole frame.
                    let chunk: Vec<i16> = (0..277).map(|n| pushed + n + 1).collect();
                    pushed += 277;
                    prop_assert_eq!(playout.push(chunk), 0);
                }
                2 => {
                    playout.pause();
                    paused = true;
                }
                3 => {
                    playout.resume();
                    resumed |= paused;
                    paused = false;
                }
                _ => {
                    let before = playout.played();
                    let taken = playout.frame(&mut frame);
                    prop_assert_eq!(playout.played(), before + taken as i64);
                    prop_assert!(!paused || taken == 0);
                    for (n, sample) in frame[..taken].iter().enumerate() {
                        heard += 1;
                        let faded = resumed && n < 40 && (0..heard).contains(sample);
                        prop_assert!(*sample == heard || faded, "{sample} in place of {heard}");
                    }
                    resumed &= taken == 0;
                    // What fades out is at most 5 ms of what is to come.
                    let silent_from = if taken == 0 { 40 } else { taken };
                    prop_assert!(frame[silent_from..].iter().all(|sample| *sample == 0));
                }
            }
        }
        prop_assert_eq!((playout.played(), playout.queued()), (i64::from(pushed), 0));
        prop_assert_eq!(heard, pushed);
    }
}
