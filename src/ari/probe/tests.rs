//! What is concluded from what Asterisk said. The looks themselves are taken at a real one.

use super::super::BaseUrl;
use super::*;
use crate::config::{AppName, LinearCodec, RtpCodec, Secret};
use std::net::Ipv4Addr;

fn settings(url: &str) -> AriSettings {
    let app = AppName::new("arioso").unwrap();
    AriSettings::new("pbx", BaseUrl::parse(url).unwrap(), "bot", Secret::new("hunter2"), app)
}

fn is_failed(check: &Check) -> bool {
    matches!(check.outcome, Outcome::Failed { .. })
}

/// A leg that nobody comes to make.
struct NoLeg;

#[async_trait]
impl TestLeg for NoLeg {
    async fn make(&mut self, _: &Ari, _: ExternalMedia, _: &Capabilities) -> Result<String, TestLegError> {
        panic!("there is no Asterisk to make a leg in")
    }

    async fn hears(&mut self) -> bool {
        false
    }

    async fn end(&mut self) {}
}

const RTP: MediaTransport = MediaTransport::Rtp(RtpCodec::Ulaw);

async fn probed(url: &str) -> Report {
    let wanted =
        Wanted { transport: &RTP, dialplan_calls: false, advertise: Ipv4Addr::LOCALHOST.into(), test: &mut NoLeg };
    probe(&settings(url), wanted).await
}

#[test]
fn versions_too_old_for_the_media_legs_fail() {
    let outcome = |text: &str, transport: &MediaTransport| {
        let version = AsteriskVersion::parse(text);
        let asterisk = Capabilities { version_text: text.to_owned(), version, modules: None };
        let mut checks = Vec::new();
        version_checks(&asterisk, transport, &mut checks);
        let [check] = checks.try_into().unwrap();
        check.outcome
    };
    let failed = |outcome| matches!(outcome, Outcome::Failed { .. });
    assert!(failed(outcome("13.38.3", &RTP)));
    assert!(failed(outcome("16.5.1", &RTP)));
    assert!(matches!(outcome("16.6.2", &RTP), Outcome::Warning { .. }));
    assert_eq!(outcome("18.0.0", &RTP), Outcome::Passed);
    assert_eq!(outcome("22.10.1+dfsg-1", &RTP), Outcome::Passed);
    assert!(matches!(outcome("GIT-master-0123abc", &RTP), Outcome::Warning { .. }));
    assert_eq!(outcome("22.10.1", &MediaTransport::Rtp(RtpCodec::Slin16)), Outcome::Passed);
    assert!(failed(outcome("16.28.0", &MediaTransport::AudioSocket(LinearCodec::Slin))));
    assert!(matches!(outcome("18.26.0", &MediaTransport::AudioSocket(LinearCodec::Slin)), Outcome::Warning { .. }));
}

#[test]
fn an_address_that_asterisk_cannot_reach_fails() {
    let check = |url, ip: &str| media_address(&settings(url), ip.parse().unwrap());
    assert!(is_failed(&check("http://192.0.2.1:8088", "127.0.0.1")));
    assert!(is_failed(&check("http://127.0.0.1:8088", "0.0.0.0")));
    assert_eq!(check("http://127.0.0.1:8088", "127.0.0.1").outcome, Outcome::Passed);
    assert_eq!(check("http://192.0.2.1:8088", "192.0.2.2").outcome, Outcome::Passed);
}

#[tokio::test]
async fn an_asterisk_that_is_not_there_is_one_failure_and_the_rest_is_skipped() {
    // A port that was free a moment ago and that nobody listens on now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let report = probed(&format!("http://127.0.0.1:{port}")).await;
    assert!(!report.passed());
    let failed: Vec<&Check> = report.checks.iter().filter(|check| is_failed(check)).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].name, REACH);
    assert!(report.checks[1..].iter().all(|check| check.outcome == Outcome::Skipped));
    assert!(!format!("{report:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_host_name_that_means_nothing_is_to_be_corrected() {
    let report = probed("http://no-such-host.invalid:8088").await;
    let Outcome::Failed { fix } = &report.checks[0].outcome else { panic!("{report:?}") };
    assert_eq!(fix, "correct the host name in `url`");
}
