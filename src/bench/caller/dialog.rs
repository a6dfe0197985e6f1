//! One call as SIP sees it from the caller (RFC 3261 sections 12 to 15 and 17), without sockets or a clock.
//!
//! Datagrams and moments go in; datagrams to send and [`DialogEvent`]s come out. Every call of a method is followed by
//! draining [`Dialog::poll_transmit`] and [`Dialog::poll_event`]; [`Dialog::poll_timeout`] says when to wake it next.
//!
//! Everything is sent to the server that was dialled. Asterisk is that server, so no request needs another way.

use super::sdp::{LocalMedia, RemoteMedia, SdpError};
use super::sip::{self, BRANCH_COOKIE, Message, Method, ParseError, Start};
use super::{Party, Q850Cause};
use crate::bench::random_u64;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Estimated round trip (RFC 3261 section 17.1.1.1); the first retransmission comes after it.
const T1: Duration = Duration::from_millis(500);
/// Longest interval between retransmissions of anything but an INVITE.
const T2: Duration = Duration::from_secs(4);
/// How long a transaction waits for its answer.
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(32);

const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO, NOTIFY";

/// Who calls whom.
#[derive(Clone, Debug)]
pub(super) struct Parties {
    /// Where Asterisk listens.
    pub(super) server: SocketAddr,
    /// Where this caller listens.
    pub(super) local: SocketAddr,
    /// The dialled number.
    pub(super) number: String,
    /// The caller's own number.
    pub(super) caller_number: String,
}

/// What became known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DialogEvent {
    /// A provisional response: 180 is ringing.
    Progress { status: u16 },
    /// There is audio before the answer.
    EarlyMedia(RemoteMedia),
    /// The call is answered.
    Answered(RemoteMedia),
    /// Asterisk moved its end of the audio.
    MediaChanged(RemoteMedia),
    /// The call is over before it was answered.
    Refused { status: u16, reason: String, cause: Option<Q850Cause> },
    /// It was answered with audio that we cannot do; the call is being ended.
    NoCommonAudio(SdpError),
    /// Nothing answers there.
    NoResponse,
    /// The call is over.
    HungUp { by: Party, cause: Option<Q850Cause> },
}

/// A datagram that is sent again until somebody reacts.
struct Retransmission {
    datagram: Vec<u8>,
    next: Instant,
    interval: Duration,
    longest: Duration,
    give_up: Instant,
}

enum Repeat {
    NotYet,
    Again,
    GaveUp,
}

impl Retransmission {
    fn new(datagram: Vec<u8>, longest: Duration, now: Instant) -> Self {
        Self { datagram, next: now + T1, interval: T1, longest, give_up: now + TRANSACTION_TIMEOUT }
    }

    fn wakes_at(&self) -> Instant {
        self.next.min(self.give_up)
    }

    fn at(&mut self, now: Instant) -> Repeat {
        if now >= self.give_up {
            return Repeat::GaveUp;
        }
        if now < self.next {
            return Repeat::NotYet;
        }
        self.interval = (self.interval * 2).min(self.longest);
        self.next = now + self.interval;
        Repeat::Again
    }
}

enum State {
    /// The INVITE has no final response. `invite` repeats until a provisional one comes.
    Inviting { invite: Option<Retransmission>, hang_up: Cancel },
    /// Answered.
    Established,
    /// Our BYE waits for its answer.
    HangingUp { bye: Retransmission, branch: String },
    /// Over. Late messages are still answered.
    Ended,
}

/// A caller who hangs up before the answer.
enum Cancel {
    No,
    /// A CANCEL may not be sent before there is a provisional response (RFC 3261 section 9.1).
    Wanted,
    Sent(Retransmission),
}

/// The last request of the other side that we answered; when it comes again, so does the answer.
struct Served {
    cseq: u32,
    method: Method,
    response: Vec<u8>,
}

/// One call. See the module text for how to drive it.
pub(super) struct Dialog {
    parties: Parties,
    media: LocalMedia,
    call_id: String,
    from: String,
    /// The To header; with the tag of the other side as soon as that is known.
    to: String,
    contact: String,
    invite_branch: String,
    remote_target: String,
    route: Vec<String>,
    cseq: u32,
    descriptions: u32,
    state: State,
    /// What answers the 200 of the INVITE, each time it comes.
    ack: Option<Vec<u8>>,
    served: Option<Served>,
    /// Our 200 to an INVITE of the other side, until its ACK.
    unacknowledged: Option<Retransmission>,
    transmits: VecDeque<Vec<u8>>,
    events: VecDeque<DialogEvent>,
}

impl Dialog {
    /// Begins the call: the INVITE is the first datagram to send.
    pub(super) fn invite(parties: Parties, media: LocalMedia, now: Instant) -> Self {
        let Parties { server, local, number, caller_number } = &parties;
        let mut dialog = Self {
            call_id: format!("{:016x}@{}", random_u64(), local.ip()),
            from: format!("<sip:{caller_number}@{local}>;tag={:016x}", random_u64()),
            to: format!("<sip:{number}@{server}>"),
            contact: format!("<sip:{caller_number}@{local}>"),
            invite_branch: new_branch(),
            remote_target: format!("sip:{number}@{server}"),
            route: Vec::new(),
            cseq: 1,
            descriptions: 0,
            state: State::Ended,
            ack: None,
            served: None,
            unacknowledged: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            parties,
            media,
        };
        let invite = dialog
            .request(Method::Invite, dialog.cseq, &dialog.invite_branch)
            .with("Contact", &dialog.contact)
            .with("Allow", ALLOW)
            .with_body("application/sdp", dialog.media.offer());
        let datagram = invite.to_bytes();
        dialog.transmits.push_back(datagram.clone());
        // An INVITE repeats at doubling intervals without a longest one (section 17.1.1.2).
        let invite = Some(Retransmission::new(datagram, TRANSACTION_TIMEOUT, now));
        dialog.state = State::Inviting { invite, hang_up: Cancel::No };
        dialog
    }

    /// Hangs up: CANCEL before the answer, BYE after it. Nothing happens if the call is ending already.
    pub(super) fn hang_up(&mut self, now: Instant) {
        match &mut self.state {
            State::Inviting { hang_up: hang_up @ Cancel::No, .. } => {
                *hang_up = Cancel::Wanted;
                self.cancel_when_allowed(now);
            }
            State::Established => self.send_bye(now),
            State::Inviting { .. } | State::HangingUp { .. } | State::Ended => {}
        }
    }

    /// The network says that nobody is there. It ends a call that has not been heard of yet; in any other the
    /// retransmissions decide, because an Asterisk that restarts may be back in a second.
    pub(super) fn unreachable(&mut self) {
        if matches!(self.state, State::Inviting { invite: Some(_), .. }) {
            self.end(DialogEvent::NoResponse);
        }
    }

    /// Takes a datagram from the server.
    pub(super) fn handle(&mut self, datagram: &[u8], now: Instant) -> Result<(), ParseError> {
        let message = Message::parse(datagram)?;
        match message.start.clone() {
            Start::Request { method, .. } => self.handle_request(&method, &message, now),
            Start::Response { status, reason } => self.handle_response(status, reason, &message, now),
        }
        Ok(())
    }

    /// The next datagram to send to the server.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub(super) fn poll_event(&mut self) -> Option<DialogEvent> {
        self.events.pop_front()
    }

    /// Whether the call is over.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let by_state = match &self.state {
            State::Inviting { invite, hang_up } => {
                let cancel = if let Cancel::Sent(cancel) = hang_up { Some(cancel) } else { None };
                invite.iter().chain(cancel).map(Retransmission::wakes_at).min()
            }
            State::HangingUp { bye, .. } => Some(bye.wakes_at()),
            State::Established | State::Ended => None,
        };
        by_state.into_iter().chain(self.unacknowledged.as_ref().map(Retransmission::wakes_at)).min()
    }

    /// Repeats what is due and gives up what is hopeless.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let mut due = Vec::new();
        let mut gave_up = None;
        let mut check = |retransmission: &mut Retransmission, event: Option<DialogEvent>| match retransmission.at(now) {
            Repeat::NotYet => {}
            Repeat::Again => due.push(retransmission.datagram.clone()),
            Repeat::GaveUp => gave_up = event.or(gave_up.take()),
        };
        let hung_up = || Some(DialogEvent::HungUp { by: Party::Caller, cause: None });
        match &mut self.state {
            State::Inviting { invite, hang_up } => {
                if let Some(invite) = invite {
                    check(invite, Some(DialogEvent::NoResponse));
                }
                if let Cancel::Sent(cancel) = hang_up {
                    check(cancel, hung_up());
                }
            }
            State::HangingUp { bye, .. } => check(bye, hung_up()),
            State::Established | State::Ended => {}
        }
        // An ACK that never comes does not end the call: the audio shows whether it lives.
        if let Some(response) = &mut self.unacknowledged {
            check(response, None);
        }
        self.unacknowledged.take_if(|response| now >= response.give_up);
        self.transmits.extend(due);
        if let Some(event) = gave_up {
            self.end(event);
        }
    }

    // ---- responses ----------------------------------------------------------------------------------------------

    fn handle_response(&mut self, status: u16, reason: String, message: &Message, now: Instant) {
        let Some((_, method)) = message.cseq() else { return };
        let branch = message.branch().unwrap_or_default();
        if method == Method::Invite && branch == self.invite_branch {
            match status {
                100..200 => self.provisional(status, message, now),
                200..300 => self.success(message, now),
                _ => self.failure(status, reason, message),
            }
        } else if status >= 200 {
            match &mut self.state {
                State::HangingUp { branch: bye_branch, .. } if branch == bye_branch => {
                    self.end(DialogEvent::HungUp { by: Party::Caller, cause: None });
                }
                // What counts is the final response to the INVITE, which follows the one to the CANCEL.
                State::Inviting { hang_up: Cancel::Sent(cancel), .. } if method == Method::Cancel => {
                    cancel.next = cancel.give_up;
                }
                _ => {}
            }
        }
    }

    fn provisional(&mut self, status: u16, message: &Message, now: Instant) {
        let State::Inviting { invite, hang_up } = &mut self.state else { return };
        *invite = None;
        let cancelled = !matches!(hang_up, Cancel::No);
        self.cancel_when_allowed(now);
        if cancelled {
            return;
        }
        self.events.push_back(DialogEvent::Progress { status });
        // A provisional description that we cannot use is no reason to end the call: the final one counts.
        if let Ok(media) = self.media.agree(&message.body) {
            self.events.push_back(DialogEvent::EarlyMedia(media));
        }
    }

    fn success(&mut self, message: &Message, now: Instant) {
        let State::Inviting { hang_up, .. } = &self.state else {
            // The 200 came again: its ACK was lost.
            self.transmits.extend(self.ack.clone());
            return;
        };
        let cancelled = !matches!(hang_up, Cancel::No);
        self.to = message.value("To").unwrap_or(&self.to).to_owned();
        self.route = message.record_route();
        self.route.reverse();
        if let Some(contact) = message.value("Contact") {
            self.remote_target = sip::uri(contact).to_owned();
        }
        // The ACK of a 2xx is a request of its own, with a branch of its own (section 13.2.2.4).
        let ack = self.request(Method::Ack, self.cseq, &new_branch()).to_bytes();
        self.ack = Some(ack.clone());
        self.transmits.push_back(ack);
        self.state = State::Established;
        match self.media.agree(&message.body) {
            // The answer and our CANCEL crossed on the way.
            _ if cancelled => self.send_bye(now),
            Ok(media) => self.events.push_back(DialogEvent::Answered(media)),
            Err(error) => {
                self.events.push_back(DialogEvent::NoCommonAudio(error));
                self.send_bye(now);
            }
        }
    }

    fn failure(&mut self, status: u16, reason: String, message: &Message) {
        // The ACK of a failure belongs to the INVITE's transaction and has its branch (section 17.1.1.3).
        let mut ack = self.request(Method::Ack, 1, &self.invite_branch);
        ack.replace("To", message.value("To").unwrap_or(&self.to));
        self.transmits.push_back(ack.to_bytes());
        let State::Inviting { hang_up, .. } = &self.state else { return };
        let cause = message.q850_cause().map(Q850Cause);
        let event = match hang_up {
            Cancel::No => DialogEvent::Refused { status, reason, cause },
            Cancel::Wanted | Cancel::Sent(_) => DialogEvent::HungUp { by: Party::Caller, cause },
        };
        self.end(event);
    }

    // ---- requests of the other side -----------------------------------------------------------------------------

    fn handle_request(&mut self, method: &Method, message: &Message, now: Instant) {
        if *method == Method::Ack {
            self.unacknowledged = None;
            return;
        }
        let Some((cseq, _)) = message.cseq() else { return };
        if let Some(served) = &self.served
            && (served.cseq, &served.method) == (cseq, method)
        {
            self.transmits.push_back(served.response.clone());
            return;
        }
        let ours = message.value("Call-ID") == Some(&self.call_id);
        let response = match method {
            // Asterisk asks this from time to time whether we live; it need not belong to the call.
            Method::Options => self.response(200, "OK", message).with("Allow", ALLOW),
            _ if !ours => self.response(481, "Call/Transaction Does Not Exist", message),
            Method::Bye => self.response(200, "OK", message),
            Method::Invite | Method::Update => self.answer_offer(message),
            Method::Cancel | Method::Info | Method::Notify => self.response(200, "OK", message),
            Method::Ack | Method::Other(_) => self.response(405, "Method Not Allowed", message).with("Allow", ALLOW),
        };
        let datagram = response.to_bytes();
        self.transmits.push_back(datagram.clone());
        if !ours {
            return;
        }
        if *method == Method::Invite {
            self.unacknowledged = Some(Retransmission::new(datagram.clone(), T2, now));
        }
        self.served = Some(Served { cseq, method: method.clone(), response: datagram });
        if *method == Method::Bye && !self.is_ended() {
            let cause = message.q850_cause().map(Q850Cause);
            self.end(DialogEvent::HungUp { by: Party::Asterisk, cause });
        }
    }

    /// Answers a re-INVITE or an UPDATE: Asterisk moves its end of the audio, or tells us who we are connected to.
    fn answer_offer(&mut self, message: &Message) -> Message {
        if !matches!(self.state, State::Established) {
            return self.response(491, "Request Pending", message);
        }
        if let Some(contact) = message.value("Contact") {
            self.remote_target = sip::uri(contact).to_owned();
        }
        let is_update = matches!(&message.start, Start::Request { method: Method::Update, .. });
        let description = match (message.body.is_empty(), is_update) {
            (true, true) => None,
            // An INVITE without an offer asks for ours.
            (true, false) => Some(self.media.offer()),
            (false, _) => match self.media.agree(&message.body) {
                Ok(media) => {
                    self.events.push_back(DialogEvent::MediaChanged(media));
                    self.descriptions += 1;
                    Some(self.media.answer(self.descriptions, &media))
                }
                Err(_) => return self.response(488, "Not Acceptable Here", message),
            },
        };
        let ok = self.response(200, "OK", message).with("Contact", &self.contact).with("Allow", ALLOW);
        match description {
            Some(description) => ok.with_body("application/sdp", description),
            None => ok,
        }
    }

    // ---- sending ------------------------------------------------------------------------------------------------

    fn cancel_when_allowed(&mut self, now: Instant) {
        if !matches!(self.state, State::Inviting { invite: None, hang_up: Cancel::Wanted }) {
            return;
        }
        // A CANCEL is the INVITE again with another method: same URI, branch and number (section 9.1).
        let cancel = self.request(Method::Cancel, 1, &self.invite_branch).to_bytes();
        self.transmits.push_back(cancel.clone());
        if let State::Inviting { hang_up, .. } = &mut self.state {
            *hang_up = Cancel::Sent(Retransmission::new(cancel, T2, now));
        }
    }

    fn send_bye(&mut self, now: Instant) {
        self.cseq += 1;
        let branch = new_branch();
        let bye = self.request(Method::Bye, self.cseq, &branch).to_bytes();
        self.transmits.push_back(bye.clone());
        self.state = State::HangingUp { bye: Retransmission::new(bye, T2, now), branch };
    }

    fn end(&mut self, event: DialogEvent) {
        self.state = State::Ended;
        self.unacknowledged = None;
        self.events.push_back(event);
    }

    fn request(&self, method: Method, cseq: u32, branch: &str) -> Message {
        let local = self.parties.local;
        let cseq = format!("{cseq} {method}");
        let request = Message::request(method, &self.remote_target)
            .with("Via", format!("SIP/2.0/UDP {local};branch={branch};rport"))
            .with("Max-Forwards", "70");
        let routed = self.route.iter().fold(request, |request, route| request.with("Route", route));
        routed
            .with("From", &self.from)
            .with("To", &self.to)
            .with("Call-ID", &self.call_id)
            .with("CSeq", cseq)
            .with("User-Agent", "arioso-caller")
    }

    fn response(&self, status: u16, reason: &str, request: &Message) -> Message {
        let to = request.value("To").unwrap_or_default();
        // Whoever answers a request from outside of the call gives it a tag (section 8.2.6.2).
        let tag = if sip::tag(to).is_none() { format!(";tag={:016x}", random_u64()) } else { String::new() };
        Message::response(status, reason)
            .with_copied("Via", request)
            .with_copied("From", request)
            .with("To", format!("{to}{tag}"))
            .with_copied("Call-ID", request)
            .with_copied("CSeq", request)
    }
}

fn new_branch() -> String {
    format!("{BRANCH_COOKIE}{:016x}", random_u64())
}

#[cfg(test)]
mod tests;
