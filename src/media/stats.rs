//! What the media path counted. Asterisk sends no RTCP on an external-media leg, so this is all that is known of a link.

use std::time::Duration;

/// Both directions of a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaStats {
    /// From Asterisk.
    pub receive: ReceiveStats,
    /// To Asterisk.
    pub send: SendStats,
}

/// One direction, received. Counts are since the stream was made; samples are at 8,000 Hz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveStats {
    /// Packets of the stream, each counted once however often it came, also those with a refused payload.
    pub received: u64,
    /// Packets that never came (RFC 3550, A.3).
    pub lost: u64,
    /// Packets that came after their time to be played and were of no use.
    pub late: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that came after one with a higher sequence number.
    pub reordered: u64,
    /// Packets of an SSRC that had ended, or lone ones far from the stream's sequence numbers; not played.
    pub stray: u64,
    /// Times that the stream began again: another SSRC, other sequence numbers, or a jump of the timestamps that no
    /// passing of time explains.
    pub resets: u64,
    /// Datagrams that are not RTP, or carry more audio than one packet may.
    pub malformed: u64,
    /// Packets whose payload type is not G.711; not played.
    pub refused_payload_types: u64,
    /// Packets in the law that was not agreed; played all the same.
    pub other_law: u64,
    /// Frames in which at least some audio was made up.
    pub concealed_frames: u64,
    /// Samples taken out to shorten the delay (the far end's clock is faster, or the link has become steadier).
    pub skipped_samples: u64,
    /// Samples put in since audio came later than before (the far end's clock is slower, or the link less steady).
    pub inserted_samples: u64,
    /// Samples dropped, oldest first, since more audio came at once than the buffer may hold.
    pub discarded_samples: u64,
    /// Interarrival jitter (RFC 3550, A.8), now.
    pub jitter: Duration,
    /// Samples that wait to be played, now.
    pub buffered_samples: u32,
}

/// One direction, sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Packets written.
    pub packets: u64,
    /// Bytes of payload in them.
    pub payload_bytes: u64,
}
