//! The caller hangs up at any moment of a conversation: the call ends once, at once, and nothing follows.

use crate::driver::{Driver, Engines, ms, says, settings, switched};
use arioso::call::{DialogAction, DialogEvent, EndReason, HangUpBy, Input, Output, ReplyId, Service};

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
        hang_up(driver, &format!("after {cut} ms"));
    }
}

/// The caller hangs up now, and every engine and timer goes on as if nothing had happened.
fn hang_up(mut driver: Driver, when: &str) {
    assert_eq!(driver.end(), None, "not ended yet {when}");
    driver.input(Input::CallerHungUp);
    let hung_up = driver.elapsed();
    assert_eq!(driver.end(), Some(EndReason::HangUp(HangUpBy::Caller)), "{when}");
    let length = driver.outputs.len();
    driver.input(Input::CallerHungUp);
    driver.input(Input::Dtmf('1'));
    driver.run(ms(3000));
    assert_eq!(driver.outputs.len(), length, "something followed the end {when}");
    assert!(driver.is_silent_since(hung_up), "{when}");
    assert_eq!(driver.call.poll_timeout(), None, "{when}");
    assert_eq!(driver.outputs.iter().filter(|(_, output)| matches!(output, Output::End(_))).count(), 1, "{when}");
}

#[test]
fn while_the_apology_plays_and_while_it_is_on_its_way() {
    // One second of apology, then 200 ms until it has been heard.
    for cut in (0..1200).step_by(20) {
        let mut driver = Driver::connected(settings(), Engines::default());
        driver.run(ms(500));
        driver.input(Input::EnginesExhausted { service: Service::Dialog });
        driver.run(ms(cut));
        hang_up(driver, &format!("{cut} ms into the apology"));
    }
}

#[test]
fn while_the_good_bye_is_on_its_way() {
    for cut in (0..200).step_by(20) {
        let mut good_bye = says("Good bye.");
        good_bye.insert(1, DialogEvent::Action { reply: ReplyId(0), action: DialogAction::HangUp });
        let engines = Engines { transcripts: ["bye".into()].into(), answers: [good_bye].into(), ..Engines::default() };
        let mut driver = Driver::connected(settings(), engines);
        driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
        driver.speak(ms(400));
        driver.run_until("end of the good-bye", |driver| driver.reply_ended(1));
        driver.run(ms(cut));
        hang_up(driver, &format!("{cut} ms after the good-bye"));
    }
}

#[test]
fn while_an_engine_is_being_replaced() {
    for late in Service::ALL {
        for answered in [false, true] {
            let mut driver = Driver::connected(
                settings(),
                Engines {
                    transcripts: ["sales".into()].into(),
                    answers: [says("Sales.")].into(),
                    ..Engines::default()
                },
            );
            driver.run_until("end of the greeting", |driver| driver.reply_ended(0));
            match late {
                Service::Recognition => driver.engines.final_after = None,
                Service::Synthesis => driver.engines.audio_after = None,
                Service::Dialog => driver.engines.text_after = None,
            }
            driver.speak(ms(400));
            driver.run_until("the request for another engine", |driver| {
                driver.output(|output| matches!(output, Output::FailOver { service, .. } if *service == late)).is_some()
            });
            if answered {
                driver.input(switched(late));
            }
            hang_up(driver, &format!("while the {late} is replaced, the other one there: {answered}"));
        }
    }
}
