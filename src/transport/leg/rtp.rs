//! A leg over RTP: both streams of a call, which share the worker's socket with all others.

use super::RtpLeg;
use crate::audio::CodecError;
use crate::media::{MediaStats, PacketError, ReceivedFrame, RtpReceiver, RtpSender};
use crate::transport::quarantine::{self, OldStream};
use std::net::SocketAddr;
use std::time::Instant;
use uuid::Uuid;

#[derive(Debug)]
pub(in crate::transport) struct RtpStreams {
    /// As the socket sees it.
    pub(in crate::transport) remote: SocketAddr,
    receive: RtpReceiver,
    send: RtpSender,
    /// The stream of the call that had this address before.
    old: Option<OldStream>,
    /// The SSRC that was heard last.
    ssrc: Option<u32>,
}

/// What became of a datagram.
pub(in crate::transport) enum Arrived {
    /// It is the call's.
    Taken,
    /// It is a late one of the call that had this address before.
    OfOldStream,
    /// No audio, and no fault.
    Rtcp,
    Refused(PacketError),
}

impl RtpStreams {
    pub(in crate::transport) fn new(
        leg: &RtpLeg,
        remote: SocketAddr,
        old: Option<OldStream>,
    ) -> Result<Self, CodecError> {
        // RFC 3550 section 5.1: SSRC, first sequence number and first timestamp are random.
        let random = Uuid::new_v4().as_u128();
        let (ssrc, sequence, timestamp) = (random as u32, (random >> 32) as u16, (random >> 80) as u32);
        Ok(Self {
            remote,
            receive: RtpReceiver::new(leg.receive)?,
            send: RtpSender::new(leg.send, ssrc, sequence, timestamp)?,
            old,
            ssrc: None,
        })
    }

    pub(in crate::transport) fn datagram(&mut self, datagram: &[u8], arrival: Instant) -> Arrived {
        let ssrc = quarantine::ssrc(datagram);
        if let Some(old) = self.old {
            if arrival >= old.until {
                self.old = None;
            } else if ssrc == Some(old.ssrc) {
                return Arrived::OfOldStream;
            }
        }
        match self.receive.packet(datagram, arrival) {
            Ok(()) => {
                self.ssrc = ssrc;
                Arrived::Taken
            }
            Err(PacketError::Rtcp) => Arrived::Rtcp,
            Err(error) => Arrived::Refused(error),
        }
    }

    pub(in crate::transport) fn poll_frame(&mut self, out: &mut [i16], now: Instant) -> Option<ReceivedFrame> {
        self.receive.poll_frame(out, now)
    }

    /// Writes the next packet; its length.
    pub(in crate::transport) fn packet(&mut self, pcm: &[i16], datagram: &mut [u8]) -> usize {
        self.send.packet(pcm, datagram)
    }

    /// The SSRC that was heard last, which must not be taken for the next call's.
    pub(in crate::transport) const fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    pub(in crate::transport) fn stats(&self) -> MediaStats {
        MediaStats { receive: self.receive.stats(), send: self.send.stats() }
    }
}
