//! The session description of a telephone call (RFC 8866, RFC 3264): one audio stream, telephone events.

use super::codec::CallerCodec;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// The payload type that we offer for telephone events (RFC 4733); dynamic, 101 by custom.
const TELEPHONE_EVENT: u8 = 101;

/// What we say about our side.
#[derive(Clone, Debug)]
pub(super) struct LocalMedia {
    /// Where we receive RTP.
    pub(super) address: SocketAddr,
    /// What we speak, the preferred one first; not empty.
    pub(super) codecs: Vec<CallerCodec>,
    /// `sess-id` of the origin line, the same for the whole call.
    pub(super) session: u32,
}

/// What was agreed, or what the other side offers that we can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemoteMedia {
    /// Where it receives RTP.
    pub(super) address: SocketAddr,
    /// What both speak.
    pub(super) codec: CallerCodec,
    /// Payload type for telephone events, if it takes any.
    pub(super) telephone_event: Option<u8>,
}

/// A description without an audio stream that we could join.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum SdpError {
    #[error("no audio stream over RTP/AVP, or one that is refused")]
    AudioMissing,
    #[error("no address to send audio to")]
    AddressMissing,
    #[error("no codec that we offered: payload types {0:?}")]
    UnknownCodecs(Vec<u8>),
}

impl LocalMedia {
    /// A description that offers everything.
    pub(super) fn offer(&self) -> String {
        self.describe(0, &self.codecs, TELEPHONE_EVENT)
    }

    /// The answer to an offer of the other side. `version` counts the descriptions that we sent in this call.
    pub(super) fn answer(&self, version: u32, agreed: &RemoteMedia) -> String {
        self.describe(version, &[agreed.codec], agreed.telephone_event.unwrap_or(TELEPHONE_EVENT))
    }

    fn describe(&self, version: u32, codecs: &[CallerCodec], telephone_event: u8) -> String {
        let Self { address, session, .. } = self;
        let (ip, port) = (address.ip(), address.port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut text = format!(
            "v=0\r\no=- {session} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP"
        );
        // Writing to a String does not fail.
        for codec in codecs {
            let _ = write!(text, " {}", codec.payload_type());
        }
        let _ = write!(text, " {telephone_event}\r\n");
        for codec in codecs {
            let _ = write!(text, "a=rtpmap:{} {}/8000\r\n", codec.payload_type(), codec.encoding_name());
        }
        let _ = write!(text, "a=rtpmap:{telephone_event} telephone-event/8000\r\na=fmtp:{telephone_event} 0-15\r\n");
        text.push_str("a=ptime:20\r\na=sendrecv\r\n");
        text
    }

    /// Reads the other side's description and picks what both can do: its order of preference wins.
    pub(super) fn agree(&self, description: &str) -> Result<RemoteMedia, SdpError> {
        let mut session_ip = None;
        let mut stream: Option<Stream> = None;
        for line in description.lines().map(str::trim_end) {
            match line.split_once('=') {
                Some(("m", media)) => match stream {
                    // Only the first audio stream counts; what follows belongs to others.
                    Some(_) => break,
                    None => stream = Stream::parse(media),
                },
                Some(("c", connection)) => match &mut stream {
                    Some(stream) => stream.ip = parse_connection(connection),
                    None => session_ip = session_ip.or(parse_connection(connection)),
                },
                Some(("a", attribute)) => {
                    if let (Some(stream), Some(map)) = (&mut stream, attribute.strip_prefix("rtpmap:")) {
                        stream.read_rtpmap(map);
                    }
                }
                _ => {}
            }
        }
        let stream = stream.ok_or(SdpError::AudioMissing)?;
        let ip = stream.ip.or(session_ip).ok_or(SdpError::AddressMissing)?;
        let ours = |payload_type: &u8| self.codecs.iter().copied().find(|codec| codec.payload_type() == *payload_type);
        let codec = stream.payload_types.iter().find_map(ours);
        let codec = codec.ok_or_else(|| SdpError::UnknownCodecs(stream.payload_types.clone()))?;
        let address = SocketAddr::new(ip, stream.port);
        Ok(RemoteMedia { address, codec, telephone_event: stream.telephone_event })
    }
}

struct Stream {
    port: u16,
    payload_types: Vec<u8>,
    ip: Option<IpAddr>,
    telephone_event: Option<u8>,
}

impl Stream {
    /// `audio 20000 RTP/AVP 0 8 101`; `None` for another kind of stream and for port 0, which means refused.
    fn parse(media: &str) -> Option<Self> {
        let mut words = media.split_whitespace();
        let ("audio", port, "RTP/AVP") = (words.next()?, words.next()?, words.next()?) else { return None };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let payload_types = words.filter_map(|word| word.parse().ok()).collect();
        Some(Self { port, payload_types, ip: None, telephone_event: None })
    }

    fn read_rtpmap(&mut self, map: &str) {
        let Some((payload_type, encoding)) = map.split_once(' ') else { return };
        if encoding.trim().eq_ignore_ascii_case("telephone-event/8000") {
            self.telephone_event = payload_type.parse().ok().filter(|kind| self.payload_types.contains(kind));
        }
    }
}

/// `IN IP4 127.0.0.1`, with an optional `/ttl`.
fn parse_connection(connection: &str) -> Option<IpAddr> {
    connection.split_whitespace().nth(2)?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> LocalMedia {
        LocalMedia {
            address: ([127, 0, 0, 1], 40_002).into(),
            codecs: vec![CallerCodec::ULAW, CallerCodec::ALAW],
            session: 7,
        }
    }

    #[test]
    fn an_offer_says_what_a_telephone_says() {
        assert_eq!(
            local().offer(),
            "v=0\r\no=- 7 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 0 8 101\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
             a=ptime:20\r\na=sendrecv\r\n"
        );
    }

    #[test]
    fn the_preference_of_the_other_side_wins() {
        let answer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=Asterisk\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                      m=audio 20004 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:20\r\n";
        let agreed = local().agree(answer).unwrap();
        let address = ([127, 0, 0, 1], 20_004).into();
        assert_eq!(agreed, RemoteMedia { address, codec: CallerCodec::ALAW, telephone_event: Some(96) });
        let ours = local().answer(3, &agreed);
        assert!(ours.contains("o=- 7 3 IN") && ours.contains("m=audio 40002 RTP/AVP 8 96\r\n"), "{ours}");
        assert!(!ours.contains("PCMU"), "{ours}");
    }

    #[test]
    fn g722_is_offered_with_the_clock_that_the_standard_gives_it() {
        let wideband = LocalMedia { codecs: vec![CallerCodec::G722], ..local() };
        let offer = wideband.offer();
        assert!(offer.contains("RTP/AVP 9 101\r\na=rtpmap:9 G722/8000\r\n"), "{offer}");
        let answer = "c=IN IP4 127.0.0.1\r\nm=audio 20004 RTP/AVP 9 101\r\na=rtpmap:101 telephone-event/8000\r\n";
        assert_eq!(wideband.agree(answer).unwrap().codec, CallerCodec::G722);
        assert!(local().agree(answer).is_err());
    }

    #[test]
    fn an_address_of_the_stream_is_stronger_than_that_of_the_session() {
        let text = "c=IN IP4 10.0.0.1\nm=video 9 RTP/AVP 31\nc=IN IP4 10.0.0.9\nm=audio 4000 RTP/AVP 0\nc=IN IP4 10.0.0.2/127\n\
                    m=audio 5000 RTP/AVP 8\nc=IN IP4 10.0.0.3\n";
        let agreed = local().agree(text).unwrap();
        assert_eq!(
            agreed,
            RemoteMedia { address: ([10, 0, 0, 2], 4000).into(), codec: CallerCodec::ULAW, telephone_event: None }
        );
    }

    #[test]
    fn says_why_nothing_was_agreed() {
        let error = |text: &str| local().agree(text).unwrap_err();
        assert_eq!(error("v=0\r\n"), SdpError::AudioMissing);
        assert_eq!(error("c=IN IP4 127.0.0.1\r\nm=audio 0 RTP/AVP 0\r\n"), SdpError::AudioMissing);
        assert_eq!(error("m=audio 4000 RTP/AVP 0\r\n"), SdpError::AddressMissing);
        assert_eq!(
            error("c=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 9 101\r\n"),
            SdpError::UnknownCodecs(vec![9, 101])
        );
    }
}
