//! The caller hangs up at any moment of a conversation: the call ends once, at once, and nothing follows.

use crate::driver::{Driver, Engines, ms, says, settings};
use arioso::call::{EndReason, HangUpBy, Input, Output};

/// What happens at a moment.
type Step = fn(&mut Driver);

#[test]
fn the_call_ends_once_whatever_it_was_doing() {
    // A conversation of about ten seconds with every state in it, broken off every 60 ms.
    for cut in (0..10_000).step_by(60) {
        let engines = Engines {
            transcripts: ["sales".into(), "more".into()].into(),
            answers: [says("You are talking to sales. What else?"), says("More.")].into(),
            ..Engines::default()
        };
        let mut driver = Driver::new(settings(), engines);
        let script: [(u64, Step); 5] = [
            (200, |driver| driver.input(Input::Connected)),
            (1500, |driver| driver.speak(ms(700))),
            (4000, |driver| driver.speak(ms(700))),
            (6000, |driver| driver.input(Input::Dtmf('5'))),
            (9000, |driver| driver.speak(ms(400))),
        ];
        for (at, step) in script {
            if at <= cut {
                driver.run(ms(at).saturating_sub(driver.elapsed()));
                step(&mut driver);
            }
        }
        driver.run(ms(cut).saturating_sub(driver.elapsed()));
        driver.input(Input::CallerHungUp);
        let hung_up = driver.elapsed();
        assert_eq!(driver.end(), Some(EndReason::HangUp(HangUpBy::Caller)), "after {cut} ms");
        let length = driver.outputs.len();
        driver.input(Input::CallerHungUp);
        driver.input(Input::Dtmf('1'));
        driver.run(ms(3000));
        assert_eq!(driver.outputs.len(), length, "something followed the end after {cut} ms");
        assert!(driver.is_silent_since(hung_up));
        assert_eq!(driver.call.poll_timeout(), None);
        assert_eq!(driver.outputs.iter().filter(|(_, output)| matches!(output, Output::End(_))).count(), 1);
    }
}
