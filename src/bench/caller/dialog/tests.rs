//! A dialog against a server that is played by hand, in virtual time.

use super::*;
use crate::bench::caller::CallerCodec;

const SERVER: ([u8; 4], u16) = ([127, 0, 0, 1], 5060);
const SDP: &str = "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 20004 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

/// The dialog and what a server knows of it.
struct Call {
    dialog: Dialog,
    start: Instant,
    invite: Message,
}

fn media() -> RemoteMedia {
    RemoteMedia { address: ([127, 0, 0, 1], 20_004).into(), codec: CallerCodec::ULAW, telephone_event: Some(101) }
}

impl Call {
    fn new() -> Self {
        let parties = Parties {
            server: SERVER.into(),
            local: ([127, 0, 0, 1], 40_000).into(),
            number: "100".to_owned(),
            caller_number: "1000".to_owned(),
        };
        let media = LocalMedia {
            address: ([127, 0, 0, 1], 40_002).into(),
            codecs: vec![CallerCodec::ULAW, CallerCodec::ALAW],
            session: 1,
        };
        let start = Instant::now();
        let mut dialog = Dialog::invite(parties, media, start);
        let invite = Message::parse(&dialog.poll_transmit().unwrap()).unwrap();
        assert!(dialog.poll_transmit().is_none());
        Self { dialog, start, invite }
    }

    fn answered() -> Self {
        let mut call = Self::new();
        call.reply(200, SDP, 10);
        assert_eq!(call.sent(), ["ACK"]);
        assert_eq!(call.dialog.poll_event(), Some(DialogEvent::Answered(media())));
        call
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// The server answers the INVITE.
    fn reply(&mut self, status: u16, body: &str, ms: u64) {
        self.reply_to(&self.invite.clone(), status, body, ms);
    }

    fn reply_to(&mut self, request: &Message, status: u16, body: &str, ms: u64) {
        let to = request.value("To").unwrap();
        let to = if sip::tag(to).is_some() { to.to_owned() } else { format!("{to};tag=server") };
        let response = Message::response(status, "Words")
            .with_copied("Via", request)
            .with_copied("From", request)
            .with("To", to)
            .with_copied("Call-ID", request)
            .with_copied("CSeq", request)
            .with("Record-Route", "<sip:127.0.0.1:1;lr>, <sip:127.0.0.1:2;lr>")
            .with("Contact", "<sip:100@127.0.0.1:5060;ob>")
            .with("Reason", "Q.850;cause=17")
            .with_body("application/sdp", body.to_owned());
        self.dialog.handle(&response.to_bytes(), self.at(ms)).unwrap();
    }

    /// The server asks for something within the call.
    fn ask(&mut self, method: Method, cseq: u32, body: &str, ms: u64) {
        let request = Message::request(method.clone(), "sip:1000@127.0.0.1:40000")
            .with("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKserver")
            .with("From", "<sip:100@127.0.0.1>;tag=server")
            .with_copied("Call-ID", &self.invite)
            .with("To", self.invite.value("From").unwrap())
            .with("CSeq", format!("{cseq} {method}"))
            .with("Reason", "Q.850;cause=19")
            .with_body("application/sdp", body.to_owned());
        self.dialog.handle(&request.to_bytes(), self.at(ms)).unwrap();
    }

    fn next(&mut self) -> Option<Message> {
        self.dialog.poll_transmit().map(|datagram| Message::parse(&datagram).unwrap())
    }

    /// Methods and statuses of everything that was sent.
    fn sent(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next())
            .map(|message| match message.start {
                Start::Request { method, .. } => method.to_string(),
                Start::Response { status, .. } => status.to_string(),
            })
            .collect()
    }

    /// Lets time pass, and says when what was sent.
    fn pass(&mut self, until_ms: u64) -> Vec<(u64, String)> {
        let mut log = Vec::new();
        while let Some(wake) = self.dialog.poll_timeout().filter(|wake| *wake <= self.at(until_ms)) {
            self.dialog.handle_timeout(wake);
            let ms = u64::try_from((wake - self.start).as_millis()).unwrap();
            log.extend(self.sent().into_iter().map(|sent| (ms, sent)));
        }
        log
    }
}

fn times(log: &[(u64, String)]) -> Vec<u64> {
    log.iter().map(|(ms, _)| *ms).collect()
}

#[test]
fn the_invite_repeats_until_somebody_is_heard() {
    let mut call = Call::new();
    assert_eq!(times(&call.pass(4_000)), [500, 1_500, 3_500]);
    call.reply(100, "", 4_000);
    assert!(call.pass(100_000).is_empty());
    assert_eq!(call.dialog.poll_event(), Some(DialogEvent::Progress { status: 100 }));
    assert_eq!(call.dialog.poll_event(), None);
}

#[test]
fn nobody_is_given_up_after_32_seconds_or_when_the_network_says_so() {
    let mut call = Call::new();
    call.pass(32_000);
    assert_eq!(call.dialog.poll_event(), Some(DialogEvent::NoResponse));
    assert!(call.dialog.is_ended());

    let mut call = Call::new();
    call.dialog.unreachable();
    assert_eq!(call.dialog.poll_event(), Some(DialogEvent::NoResponse));

    let mut call = Call::answered();
    call.dialog.unreachable();
    assert!(!call.dialog.is_ended(), "an answered call waits for Asterisk to come back");
}

#[test]
fn an_answer_is_acknowledged_along_the_route_and_again_when_it_comes_again() {
    let mut call = Call::new();
    call.reply(180, "", 5);
    call.reply(183, SDP, 6);
    call.reply(200, SDP, 10);
    let ack = call.next().unwrap();
    assert_eq!(ack.start, Start::Request { method: Method::Ack, uri: "sip:100@127.0.0.1:5060;ob".to_owned() });
    assert_eq!(ack.values("Route").collect::<Vec<_>>(), ["<sip:127.0.0.1:2;lr>", "<sip:127.0.0.1:1;lr>"]);
    assert_eq!(ack.cseq(), Some((1, Method::Ack)));
    assert_ne!(ack.branch(), call.invite.branch());
    assert_eq!(sip::tag(ack.value("To").unwrap()), Some("server"));
    call.reply(200, SDP, 20);
    assert_eq!(call.next(), Some(ack));
    let events: Vec<_> = std::iter::from_fn(|| call.dialog.poll_event()).collect();
    let progress = |status| DialogEvent::Progress { status };
    let expected = [progress(180), progress(183), DialogEvent::EarlyMedia(media()), DialogEvent::Answered(media())];
    assert_eq!(events, expected);
}

#[test]
fn a_refusal_is_acknowledged_in_the_invites_own_transaction() {
    let mut call = Call::new();
    call.reply(486, "", 10);
    let ack = call.next().unwrap();
    assert_eq!(ack.branch(), call.invite.branch());
    assert_eq!(sip::tag(ack.value("To").unwrap()), Some("server"));
    let refused = DialogEvent::Refused { status: 486, reason: "Words".to_owned(), cause: Some(Q850Cause(17)) };
    assert_eq!(call.dialog.poll_event(), Some(refused));
    assert!(call.dialog.is_ended());
    call.reply(486, "", 600);
    assert_eq!(call.sent(), ["ACK"]);
    assert_eq!(call.dialog.poll_event(), None);
}

#[test]
fn hanging_up_before_the_answer_waits_for_a_provisional_response_and_cancels() {
    let mut call = Call::new();
    call.dialog.hang_up(call.at(1));
    assert!(call.sent().is_empty(), "a CANCEL may not come before a provisional response");
    call.reply(180, "", 2);
    let cancel = call.next().unwrap();
    assert_eq!(cancel.branch(), call.invite.branch());
    assert_eq!(cancel.cseq(), Some((1, Method::Cancel)));
    assert_eq!(times(&call.pass(2_000)), [502, 1_502]);
    call.reply_to(&cancel, 200, "", 2_000);
    assert!(call.pass(10_000).is_empty());
    call.reply(487, "", 10_000);
    assert_eq!(call.sent(), ["ACK"]);
    let hung_up = DialogEvent::HungUp { by: Party::Caller, cause: Some(Q850Cause(17)) };
    assert_eq!(call.dialog.poll_event(), Some(hung_up));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut call = Call::new();
    call.reply(100, "", 1);
    call.dialog.poll_event();
    call.dialog.hang_up(call.at(2));
    call.reply(200, SDP, 3);
    assert_eq!(call.sent(), ["CANCEL", "ACK", "BYE"]);
    assert_eq!(call.dialog.poll_event(), None, "it was never answered for the user");
}

#[test]
fn a_bye_repeats_until_it_is_answered_and_not_for_ever() {
    let mut call = Call::answered();
    call.dialog.hang_up(call.at(1_000));
    let bye = call.next().unwrap();
    assert_eq!(bye.cseq(), Some((2, Method::Bye)));
    assert_eq!(times(&call.pass(13_000)), [1_500, 2_500, 4_500, 8_500, 12_500]);
    call.reply_to(&bye, 481, "", 13_100);
    assert_eq!(call.dialog.poll_event(), Some(DialogEvent::HungUp { by: Party::Caller, cause: None }));

    let mut call = Call::answered();
    call.dialog.hang_up(call.at(1_000));
    call.pass(33_000);
    assert_eq!(call.dialog.poll_event(), Some(DialogEvent::HungUp { by: Party::Caller, cause: None }));
    assert_eq!(call.dialog.poll_timeout(), None);
}

#[test]
fn a_bye_of_the_other_side_ends_the_call_once() {
    let mut call = Call::answered();
    call.ask(Method::Bye, 7, "", 100);
    call.ask(Method::Bye, 7, "", 600);
    assert_eq!(call.sent(), ["200", "200"]);
    let hung_up = DialogEvent::HungUp { by: Party::Asterisk, cause: Some(Q850Cause(19)) };
    assert_eq!(call.dialog.poll_event(), Some(hung_up));
    call.dialog.hang_up(call.at(700));
    assert!(call.sent().is_empty());
    assert_eq!(call.dialog.poll_event(), None);
}

#[test]
fn a_reinvite_is_answered_until_it_is_acknowledged() {
    let mut call = Call::answered();
    let moved = SDP.replace("20004", "20008").replace("AVP 0", "AVP 8 0");
    call.ask(Method::Invite, 7, &moved, 100);
    let ok = call.next().unwrap();
    assert!(ok.body.contains("m=audio 40002 RTP/AVP 8 101\r\n"), "{}", ok.body);
    let media = RemoteMedia { address: ([127, 0, 0, 1], 20_008).into(), codec: CallerCodec::ALAW, ..media() };
    assert_eq!(call.dialog.poll_event(), Some(DialogEvent::MediaChanged(media)));
    assert_eq!(times(&call.pass(2_000)), [600, 1_600]);
    call.ask(Method::Ack, 7, "", 2_000);
    assert!(call.pass(60_000).is_empty());
    // An offer that we cannot take changes nothing.
    call.ask(Method::Invite, 8, &SDP.replace("AVP 0", "AVP 9"), 60_000);
    call.ask(Method::Ack, 8, "", 60_001);
    assert_eq!(call.sent(), ["488"]);
    // One without an offer asks for ours.
    call.ask(Method::Invite, 9, "", 60_010);
    assert!(call.next().unwrap().body.contains("RTP/AVP 0 8 101"));
    assert_eq!(call.dialog.poll_event(), None);
}

#[test]
fn other_requests_are_answered_and_change_nothing() {
    let mut call = Call::answered();
    for (cseq, method) in [Method::Options, Method::Info, Method::Notify, Method::Update].into_iter().enumerate() {
        call.ask(method, u32::try_from(cseq).unwrap() + 1, "", 100);
    }
    call.ask(Method::Other("PUBLISH".to_owned()), 9, "", 100);
    assert_eq!(call.sent(), ["200", "200", "200", "200", "405"]);
    let stranger =
        Message::request(Method::Bye, "sip:x").with("Call-ID", "other").with("CSeq", "1 BYE").with("To", "<sip:x>");
    call.dialog.handle(&stranger.to_bytes(), call.at(200)).unwrap();
    let refused = call.next().unwrap();
    assert!(matches!(refused.start, Start::Response { status: 481, .. }));
    assert!(sip::tag(refused.value("To").unwrap()).is_some());
    assert_eq!(call.dialog.poll_event(), None);
}

#[test]
fn an_answer_without_common_audio_is_hung_up_with_the_reason() {
    let mut call = Call::new();
    call.reply(200, &SDP.replace("AVP 0", "AVP 9"), 10);
    assert_eq!(call.sent(), ["ACK", "BYE"]);
    let Some(DialogEvent::NoCommonAudio(error)) = call.dialog.poll_event() else { panic!("no event") };
    assert_eq!(error, SdpError::UnknownCodecs(vec![9, 101]));
}

#[test]
fn what_is_no_sip_is_refused_and_changes_nothing() {
    let mut call = Call::answered();
    assert!(call.dialog.handle(b"\r\n\r\n", call.at(50)).is_err());
    assert!(call.dialog.handle(&[0x80; 172], call.at(50)).is_err());
    assert!(call.sent().is_empty());
    assert!(!call.dialog.is_ended());
}
