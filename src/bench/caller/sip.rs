//! SIP messages (RFC 3261 section 7) as values: parsed from a datagram, written to one. No state, no sockets.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Part of every branch that follows RFC 3261 (section 8.1.1.7).
pub(super) const BRANCH_COOKIE: &str = "z9hG4bK";

/// What a request asks for. Those that a caller sends or has to answer in its own way; the rest is [`Method::Other`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Update,
    Info,
    Notify,
    Other(String),
}

impl Method {
    fn parse(token: &str) -> Self {
        // Methods are case-sensitive (RFC 3261 section 7.1).
        match token {
            "INVITE" => Self::Invite,
            "ACK" => Self::Ack,
            "BYE" => Self::Bye,
            "CANCEL" => Self::Cancel,
            "OPTIONS" => Self::Options,
            "UPDATE" => Self::Update,
            "INFO" => Self::Info,
            "NOTIFY" => Self::Notify,
            other => Self::Other(other.to_owned()),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack => "ACK",
            Self::Bye => "BYE",
            Self::Cancel => "CANCEL",
            Self::Options => "OPTIONS",
            Self::Update => "UPDATE",
            Self::Info => "INFO",
            Self::Notify => "NOTIFY",
            Self::Other(token) => token,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: Method, uri: String },
    Response { status: u16, reason: String },
}

/// A datagram that is no SIP message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ParseError {
    #[error("the datagram is not UTF-8")]
    NotUtf8,
    #[error("no empty line ends the headers")]
    NoEndOfHeaders,
    #[error("the first line is neither a request nor a response: {0:?}")]
    StartLine(String),
    #[error("a header line has no colon: {0:?}")]
    Header(String),
    #[error("Content-Length says {stated} and the body has {actual} bytes")]
    BodyCut { stated: usize, actual: usize },
}

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) start: Start,
    /// In order, names as written.
    headers: Vec<(Cow<'static, str>, String)>,
    pub(super) body: String,
}

impl Message {
    pub(super) fn request(method: Method, uri: impl Into<String>) -> Self {
        Self { start: Start::Request { method, uri: uri.into() }, headers: Vec::new(), body: String::new() }
    }

    pub(super) fn response(status: u16, reason: impl Into<String>) -> Self {
        Self { start: Start::Response { status, reason: reason.into() }, headers: Vec::new(), body: String::new() }
    }

    /// Adds a header at the end.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((Cow::Borrowed(name), value.into()));
        self
    }

    /// Adds every header `name` of `other`, in its order.
    #[must_use]
    pub(super) fn with_copied(mut self, name: &'static str, other: &Self) -> Self {
        self.headers.extend(other.values(name).map(|value| (Cow::Borrowed(name), value.to_owned())));
        self
    }

    /// Gives the first header `name` another value.
    pub(super) fn replace(&mut self, name: &str, value: &str) {
        if let Some((_, old)) = self.headers.iter_mut().find(|(written, _)| is_named(written, name)) {
            value.clone_into(old);
        }
    }

    /// Sets the body; an empty one needs no call.
    #[must_use]
    pub(super) fn with_body(mut self, content_type: &'static str, body: String) -> Self {
        self.headers.push((Cow::Borrowed("Content-Type"), content_type.to_owned()));
        self.body = body;
        self
    }

    /// Reads one datagram.
    pub(super) fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(datagram).map_err(|_| ParseError::NotUtf8)?;
        // Empty lines before a message are allowed (RFC 3261 section 7.5).
        let text = text.trim_start_matches(['\r', '\n']);
        let (head, body) = text.split_once("\r\n\r\n").ok_or(ParseError::NoEndOfHeaders)?;
        let mut lines = head.split("\r\n");
        let start = parse_start(lines.next().unwrap_or_default())?;
        let mut message = Self { start, headers: Vec::new(), body: String::new() };
        for line in lines {
            // A line that begins with white space goes on with the header before it (section 7.3.1).
            if line.starts_with([' ', '\t']) {
                let (_, value) = message.headers.last_mut().ok_or_else(|| ParseError::Header(line.to_owned()))?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| ParseError::Header(line.to_owned()))?;
            message.headers.push((Cow::Owned(name.trim().to_owned()), value.trim().to_owned()));
        }
        message.body = match message.value("Content-Length").and_then(|length| length.parse::<usize>().ok()) {
            None => body.to_owned(),
            // What follows the stated length is not part of the message (section 18.3).
            Some(stated) => body.get(..stated).ok_or(ParseError::BodyCut { stated, actual: body.len() })?.to_owned(),
        };
        Ok(message)
    }

    /// The datagram, with the Content-Length that the body has.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = match &self.start {
            Start::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            Start::Response { status, reason } => format!("SIP/2.0 {status} {reason}\r\n"),
        };
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_named(name, "Content-Length")) {
            // Writing to a String does not fail.
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into_bytes()
    }

    /// The first header of that name, in its long or compact form.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(written, _)| is_named(written, name)).map(|(_, value)| value.as_str())
    }

    /// Every header of that name, in order.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(written, _)| is_named(written, name)).map(|(_, value)| value.as_str())
    }

    /// Number and method of the CSeq header.
    pub(super) fn cseq(&self) -> Option<(u32, Method)> {
        let (number, method) = self.value("CSeq")?.split_once(char::is_whitespace)?;
        Some((number.parse().ok()?, Method::parse(method.trim())))
    }

    /// The branch of the topmost Via: what ties a response to its request.
    pub(super) fn branch(&self) -> Option<&str> {
        parameter(self.value("Via")?.split(',').next()?, "branch")
    }

    /// The URIs of the Record-Route headers, top to bottom, in angle brackets.
    pub(super) fn record_route(&self) -> Vec<String> {
        let values = self.values("Record-Route").flat_map(|value| value.split(','));
        values.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
    }

    /// The code of a `Reason: Q.850;cause=…` header (RFC 3326).
    pub(super) fn q850_cause(&self) -> Option<u8> {
        let reasons = self.values("Reason").flat_map(|value| value.split(','));
        let q850 = reasons.map(str::trim).find(|reason| {
            reason.split(';').next().is_some_and(|protocol| protocol.trim().eq_ignore_ascii_case("Q.850"))
        });
        parameter(q850?, "cause")?.parse().ok()
    }
}

/// The `tag` of a From or To value.
pub(super) fn tag(name_address: &str) -> Option<&str> {
    // Parameters inside the angle brackets belong to the URI.
    parameter(name_address.rsplit_once('>').map_or(name_address, |(_, after)| after), "tag")
}

/// The URI of a From, To, Contact or Route value.
pub(super) fn uri(name_address: &str) -> &str {
    match name_address.split_once('<').and_then(|(_, after)| after.split_once('>')) {
        Some((uri, _)) => uri,
        // Without brackets, parameters belong to the header (RFC 3261 section 20).
        None => name_address.split(';').next().unwrap_or_default().trim(),
    }
}

fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let mut parameters = value.split(';').skip(1).map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
    let found = parameters.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().trim_matches('"'))
}

fn parse_start(line: &str) -> Result<Start, ParseError> {
    let wrong = || ParseError::StartLine(line.chars().take(80).collect());
    if let Some(status_line) = line.strip_prefix("SIP/2.0 ") {
        let (status, reason) = status_line.split_once(' ').unwrap_or((status_line, ""));
        let status = status.parse().ok().filter(|status| (100..700).contains(status)).ok_or_else(wrong)?;
        return Ok(Start::Response { status, reason: reason.to_owned() });
    }
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(uri), Some("SIP/2.0"), None) if !method.is_empty() && !uri.is_empty() => {
            Ok(Start::Request { method: Method::parse(method), uri: uri.to_owned() })
        }
        _ => Err(wrong()),
    }
}

/// Header names are case-insensitive and some have a compact form (RFC 3261 section 7.3.3).
fn is_named(written: &str, name: &str) -> bool {
    let compact = match name {
        "Via" => "v",
        "From" => "f",
        "To" => "t",
        "Call-ID" => "i",
        "Contact" => "m",
        "Content-Length" => "l",
        "Content-Type" => "c",
        _ => name,
    };
    written.eq_ignore_ascii_case(name) || written.eq_ignore_ascii_case(compact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OK: &str = "SIP/2.0 200 OK\r\n\
        v: SIP/2.0/UDP 127.0.0.1:40000;rport=40000;branch=z9hG4bK77,SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKother\r\n\
        Record-Route: <sip:10.0.0.1;lr>\r\nRecord-Route: <sip:10.0.0.2;lr>, <sip:10.0.0.3;lr>\r\n\
        From: \"A;tag=x\" <sip:1000@127.0.0.1;tag=uri>;tag=ours\r\nTo: <sip:100@127.0.0.1>;tag=theirs\r\n\
        i: 5@x\r\nCSEQ:  1   INVITE\r\nContact: <sip:127.0.0.1:5060;transport=udp>\r\n\
        Subject: folded\r\n  over two lines\r\nl: 4\r\n\r\nv=0\nrest";

    #[test]
    fn reads_what_a_dialog_is_made_of() {
        let message = Message::parse(OK.as_bytes()).unwrap();
        assert_eq!(message.start, Start::Response { status: 200, reason: "OK".to_owned() });
        assert_eq!(message.branch(), Some("z9hG4bK77"));
        assert_eq!(tag(message.value("From").unwrap()), Some("ours"));
        assert_eq!(tag(message.value("to").unwrap()), Some("theirs"));
        assert_eq!(uri(message.value("Contact").unwrap()), "sip:127.0.0.1:5060;transport=udp");
        assert_eq!(message.value("Call-ID"), Some("5@x"));
        assert_eq!(message.cseq(), Some((1, Method::Invite)));
        assert_eq!(message.record_route(), ["<sip:10.0.0.1;lr>", "<sip:10.0.0.2;lr>", "<sip:10.0.0.3;lr>"]);
        assert_eq!(message.value("Subject"), Some("folded over two lines"));
        assert_eq!(message.body, "v=0\n", "what follows the stated length is not the body");
    }

    #[test]
    fn finds_the_q850_cause_among_other_reasons() {
        let bye = "BYE sip:x SIP/2.0\r\nReason: SIP;cause=200\r\nReason: Q.850 ;cause=17;text=\"User busy\"\r\n\r\n";
        assert_eq!(Message::parse(bye.as_bytes()).unwrap().q850_cause(), Some(17));
        let without = "BYE sip:x SIP/2.0\r\nReason: SIP;cause=200\r\n\r\n";
        assert_eq!(Message::parse(without.as_bytes()).unwrap().q850_cause(), None);
    }

    #[test]
    fn a_written_message_reads_back_the_same() {
        let body = "v=0\r\ns=-\r\n".to_owned();
        let request = Message::request(Method::Invite, "sip:100@127.0.0.1:5060")
            .with("Via", "SIP/2.0/UDP 127.0.0.1:40000;branch=z9hG4bK1")
            .with("CSeq", "1 INVITE")
            .with_body("application/sdp", body);
        let read = Message::parse(&request.to_bytes()).unwrap();
        assert_eq!(read.start, request.start);
        assert_eq!(read.value("Content-Length"), Some("10"));
        assert_eq!(read.body, request.body);
        assert_eq!(read.to_bytes(), request.to_bytes());
    }

    #[test]
    fn says_what_is_wrong_with_a_message() {
        let error = |text: &str| Message::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error("HTTP/1.1 200 OK\r\n\r\n"), ParseError::StartLine("HTTP/1.1 200 OK".to_owned()));
        assert_eq!(error("SIP/2.0 99 Low\r\n\r\n"), ParseError::StartLine("SIP/2.0 99 Low".to_owned()));
        assert_eq!(error("BYE sip:x SIP/2.0\r\n"), ParseError::NoEndOfHeaders);
        assert_eq!(error("BYE sip:x SIP/2.0\r\nVia\r\n\r\n"), ParseError::Header("Via".to_owned()));
        let cut = error("BYE sip:x SIP/2.0\r\nContent-Length: 9\r\n\r\nabc");
        assert_eq!(cut, ParseError::BodyCut { stated: 9, actual: 3 });
        assert_eq!(Message::parse(b"\xff\r\n\r\n").unwrap_err(), ParseError::NotUtf8);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn any_headers_are_read_or_refused(head in "[ -~\r\n]{0,200}") {
            if let Ok(message) = Message::parse(format!("BYE sip:x SIP/2.0\r\n{head}\r\n\r\n").as_bytes()) {
                let _ = (message.branch(), message.cseq(), message.q850_cause(), message.record_route());
                let _ = message.value("To").map(|to| (tag(to), uri(to)));
            }
        }
    }
}
