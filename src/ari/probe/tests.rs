//! What is concluded from what Asterisk said. The looks themselves are taken at a real one.

use super::super::BaseUrl;
use super::*;
use crate::config::{AppName, Secret};

fn settings(url: &str) -> AriSettings {
    let app = AppName::new("arioso").unwrap();
    AriSettings::new("pbx", BaseUrl::parse(url).unwrap(), "bot", Secret::new("hunter2"), app)
}

fn is_failed(check: &Check) -> bool {
    matches!(check.outcome, Outcome::Failed { .. })
}

#[test]
fn versions_too_old_for_external_media_fail() {
    assert!(is_failed(&version("13.38.3")));
    assert!(is_failed(&version("16.5.1")));
    assert!(matches!(version("16.6.2").outcome, Outcome::Warning { .. }));
    assert_eq!(version("18.0.0").outcome, Outcome::Passed);
    assert_eq!(version("22.10.1+dfsg-1").outcome, Outcome::Passed);
    assert!(matches!(version("GIT-master-0123abc").outcome, Outcome::Warning { .. }));
}

#[test]
fn an_address_that_asterisk_cannot_reach_fails() {
    let check = |url, media: &str| media_address(&settings(url), media.parse().unwrap());
    assert!(is_failed(&check("http://192.0.2.1:8088", "127.0.0.1:31000")));
    assert!(is_failed(&check("http://127.0.0.1:8088", "0.0.0.0:31000")));
    assert_eq!(check("http://127.0.0.1:8088", "127.0.0.1:31000").outcome, Outcome::Passed);
    assert_eq!(check("http://192.0.2.1:8088", "192.0.2.2:31000").outcome, Outcome::Passed);
}

#[tokio::test]
async fn an_asterisk_that_is_not_there_is_one_failure_and_the_rest_is_skipped() {
    // A port that was free a moment ago and that nobody listens on now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let report = probe(&settings(&format!("http://127.0.0.1:{port}")), "127.0.0.1:31000".parse().unwrap()).await;
    assert!(!report.passed());
    let failed: Vec<&Check> = report.checks.iter().filter(|check| is_failed(check)).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].name, REACH);
    assert!(report.checks[1..].iter().all(|check| check.outcome == Outcome::Skipped));
    assert!(!format!("{report:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_host_name_that_means_nothing_is_to_be_corrected() {
    let report = probe(&settings("http://no-such-host.invalid:8088"), "127.0.0.1:31000".parse().unwrap()).await;
    let Outcome::Failed { fix } = &report.checks[0].outcome else { panic!("{report:?}") };
    assert_eq!(fix, "correct the host name in `url`");
}
