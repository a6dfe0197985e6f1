//! What the media path counted. Asterisk sends no RTCP on an external-media leg, so this is all that is known of a link.

use super::assembler::ReceivedFrame;
use super::quality::{mean_opinion_score, rating};
use crate::audio::{Codec, FRAME_TIME};
use std::fmt;
use std::time::Duration;

/// Both directions of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaStats {
    /// From Asterisk.
    pub receive: ReceiveStats,
    /// To Asterisk.
    pub send: SendStats,
}

impl MediaStats {
    /// How well the audio travelled, in one line for the log.
    pub fn summary(&self, codec: Codec) -> impl fmt::Display {
        Summary { stats: *self, codec }
    }
}

struct Summary {
    stats: MediaStats,
    codec: Codec,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MediaStats { receive, send } = &self.stats;
        write!(f, "{} packets heard, {} sent", receive.received, send.packets)?;
        if receive.received == 0 {
            return Ok(());
        }
        let unheard = [("lost", receive.lost), ("late", receive.late), ("unreadable", receive.malformed)];
        for (what, count) in unheard.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        // A frame is 20 ms. A pause of the network is not told from the silence of a sender that sends none.
        let nothing = FRAME_TIME * u32::try_from(receive.silence_frames).unwrap_or(u32::MAX);
        if nothing >= Duration::from_secs(1) {
            write!(f, ", nothing for {:.1} s", nothing.as_secs_f64())?;
        }
        // What we know of the way from mouth to ear is our own part: a frame, and what packets wait for others.
        let rating = rating(self.codec, receive, FRAME_TIME + receive.target_delay);
        write!(f, ", jitter {:.1} ms, MOS {:.1}", receive.jitter.as_secs_f64() * 1e3, mean_opinion_score(rating))
    }
}

/// One direction, received. Counts are since the stream was made; samples are at the rate of its codec. On transports over
/// TCP nothing is lost, reordered or doubled, and what counts such things stays zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStats {
    /// Packets of the stream, each counted once however often it came, also those without audio or with a refused payload.
    pub received: u64,
    /// Packets that never came (RFC 3550, A.3).
    pub lost: u64,
    /// Stretches of lost or late packets, however many were in each.
    pub loss_runs: u64,
    /// Packets that came after what lacked in their place had been made up, and were of no use.
    pub late: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that came after one with a higher sequence number.
    pub reordered: u64,
    /// Packets of an SSRC that had ended, or lone ones far from the stream's numbers; not heard.
    pub stray: u64,
    /// Times that the stream began again: another SSRC, other sequence numbers, or a jump of the timestamps that no
    /// passing of time explains.
    pub resets: u64,
    /// Datagrams that are not RTP, and payloads that cannot be decoded.
    pub malformed: u64,
    /// RTCP packets on the port of RTP.
    pub rtcp: u64,
    /// Packets whose payload type is no codec of the stream's rate; not heard.
    pub refused_payload_types: u64,
    /// Packets of another codec than the agreed one, with the same rate; heard all the same.
    pub other_codec: u64,
    /// Packets (or payloads) for which there was no room, since nobody took the frames.
    pub discarded: u64,
    /// Frames in which at least some audio was made up.
    pub concealed_frames: u64,
    /// Frames without anything: the sender was silent, or nothing came.
    pub silence_frames: u64,
    /// Samples by which the caller's time was stretched, since audio came later than it was due.
    pub inserted_samples: u64,
    /// Interarrival jitter (RFC 3550, A.8), now.
    pub jitter: Duration,
    /// How long packets behind a gap would be held, now.
    pub target_delay: Duration,
    /// The longest that packets were held.
    pub longest_delay: Duration,
}

impl ReceiveStats {
    /// Part of the packets that were not heard, since they were lost or late: 0 to 1.
    pub fn loss_fraction(&self) -> f64 {
        let sent = self.received + self.lost;
        if sent == 0 { 0.0 } else { (self.lost + self.late) as f64 / sent as f64 }
    }

    /// How much longer the stretches of loss are than if packets were lost independently of each other: 1 for random loss,
    /// more for bursts (ITU-T G.107, 7.3).
    pub fn burst_ratio(&self) -> f64 {
        if self.loss_runs == 0 {
            return 1.0;
        }
        let run = (self.lost + self.late) as f64 / self.loss_runs as f64;
        (run * (1.0 - self.loss_fraction())).max(1.0)
    }

    pub(super) fn note_frame(&mut self, frame: ReceivedFrame) {
        match frame {
            ReceivedFrame::Audio => {}
            ReceivedFrame::Concealed => self.concealed_frames += 1,
            ReceivedFrame::Silence => self.silence_frames += 1,
        }
    }
}

/// One direction, sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Packets written.
    pub packets: u64,
    /// Bytes of payload in them.
    pub payload_bytes: u64,
    /// Frames that could not be encoded, and were not sent.
    pub failed_frames: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::g711::Law;

    #[test]
    fn a_call_is_summed_up_in_a_line() {
        let law = Codec::G711(Law::A);
        assert_eq!(MediaStats::default().summary(law).to_string(), "0 packets heard, 0 sent");
        let receive = ReceiveStats { received: 500, jitter: Duration::from_micros(250), ..ReceiveStats::default() };
        let mut stats = MediaStats { receive, send: SendStats { packets: 510, ..SendStats::default() } };
        assert_eq!(stats.summary(law).to_string(), "500 packets heard, 510 sent, jitter 0.2 ms, MOS 4.4");
        stats.receive.silence_frames = 600;
        assert_eq!(
            stats.summary(law).to_string(),
            "500 packets heard, 510 sent, nothing for 12.0 s, jitter 0.2 ms, MOS 4.4"
        );
        stats.receive.silence_frames = 0;
        (stats.receive.lost, stats.receive.loss_runs, stats.receive.late) = (40, 38, 2);
        let told = stats.summary(law).to_string();
        assert_eq!(told, "500 packets heard, 510 sent, 40 lost, 2 late, jitter 0.2 ms, MOS 3.6");
    }
}
