//! A call in progress, as its user sees it.

use super::line::{self, End, Line, Phase};
use super::recording::{Dbfs, HeardPacket, Recording, VoiceSegment};
use super::speaker::{Key, QueueFull, Said, SpeechQueue, SpeechTiming};
use super::{CallerError, CallerSettings, Party, Q850Cause};
use crate::audio::SampleRate;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HungUp {
    /// Who hung up.
    pub by: Party,
    /// When the end was known: Asterisk's BYE came, or the answer to ours.
    pub at: Instant,
    /// Why, if it was said.
    pub cause: Option<Q850Cause>,
}

impl fmt::Display for HungUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Party::Caller => f.write_str("the caller hung up")?,
            Party::Asterisk => f.write_str("Asterisk hung up")?,
        }
        self.cause.map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

/// A call from dialling to after its end. What was heard can be read at any time. Dropping it hangs up, in the
/// background.
#[derive(Debug)]
pub struct ActiveCall {
    settings: CallerSettings,
    line: Arc<Line>,
    orders: line::Orders,
}

impl ActiveCall {
    pub(super) fn dial(settings: CallerSettings) -> Result<Self, CallerError> {
        let (line, orders) = line::open(&settings)?;
        Ok(Self { settings, line, orders })
    }

    /// When the INVITE left; the origin of [`Self::recording`].
    pub fn dialled_at(&self) -> Instant {
        self.line.read(|state| state.recorder.recording.origin())
    }

    /// When the call was answered, if it was.
    pub fn answered_at(&self) -> Option<Instant> {
        self.line.read(|state| state.answered.map(|answered| answered.at))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// [`CallerError::Refused`], [`CallerError::NoResponse`], [`CallerError::NoCommonAudio`]; [`CallerError::NotInTime`]
    /// after `timeout`.
    pub async fn wait_answered(&self, timeout: Duration) -> Result<Instant, CallerError> {
        let server = self.settings.server;
        let answered = |state: &line::State| match (&state.phase, state.answered) {
            // The call may be over already when somebody looks.
            (Phase::Over(End::NoCommonAudio { problem }), _) => {
                Some(Err(CallerError::NoCommonAudio { problem: problem.clone() }))
            }
            (_, Some(answered)) => Some(Ok(answered.at)),
            (Phase::Over(end), None) => Some(Err(end.error(server))),
            (Phase::Dialling | Phase::Answered, None) => None,
        };
        self.line.wait("the answer", timeout, |state, _| answered(state).ok_or(None)).await?
    }

    /// Waits until the other side rings or plays something before it answers: a 180 or 183 response.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_answered`].
    pub async fn wait_ringing(&self, timeout: Duration) -> Result<(), CallerError> {
        let server = self.settings.server;
        let ringing = |state: &line::State| match &state.phase {
            _ if state.progress.is_some_and(|status| status > 100) || state.answered.is_some() => Some(Ok(())),
            Phase::Over(end) => Some(Err(end.error(server))),
            Phase::Dialling | Phase::Answered => None,
        };
        self.line.wait("ringing", timeout, |state, _| ringing(state).ok_or(None)).await?
    }

    /// Rate of what is said and heard.
    pub fn rate(&self) -> SampleRate {
        self.line.read(|state| state.recorder.recording.rate())
    }

    // ---- speaking -----------------------------------------------------------------------------------------------

    /// Speaks `pcm` (at [`Self::rate`]) after everything that was said before; between, the caller sends silence. Says when its
    /// packets leave.
    ///
    /// # Errors
    ///
    /// [`CallerError::NotAnswered`], [`CallerError::Ended`], [`CallerError::TooMuchToSay`].
    pub fn say(&self, pcm: &[i16]) -> Result<Said, CallerError> {
        self.speak(|queue| queue.say(pcm))
    }

    /// Speaks `pcm` and waits until its last packet has left.
    ///
    /// # Errors
    ///
    /// As [`Self::say`]; [`CallerError::Ended`] also if the call ends meanwhile.
    pub async fn say_to_end(&self, pcm: &[i16]) -> Result<Said, CallerError> {
        let said = self.say(pcm)?;
        self.wait_said(said).await?;
        Ok(said)
    }

    /// Waits until the last packet of `said` has left.
    ///
    /// # Errors
    ///
    /// [`CallerError::Ended`] if the call ends before.
    pub async fn wait_said(&self, said: Said) -> Result<(), CallerError> {
        // The sending thread is as punctual as the machine lets it be.
        let timeout = said.last_packet_at.saturating_duration_since(Instant::now()) + Duration::from_secs(10);
        let done = |state: &line::State| match (&state.phase, &state.speech) {
            (_, Some(queue)) if queue.has_left(said.last_frame) => Some(Ok(())),
            (Phase::Over(end), _) => Some(Err(end.error(self.settings.server))),
            _ => None,
        };
        self.line.wait("the end of what is said", timeout, |state, _| done(state).ok_or(None)).await?
    }

    /// Stops speaking: what has not left yet is forgotten.
    pub fn fall_silent(&self) {
        self.line.change(|state| state.speech.as_mut().map(SpeechQueue::clear));
    }

    /// Presses a key for 100 ms, as RFC 4733 events, after everything that was said before. Says when its packets leave.
    ///
    /// # Errors
    ///
    /// [`CallerError::NoSuchKey`], [`CallerError::NoTelephoneEvents`], and as [`Self::say`].
    pub fn press(&self, digit: char) -> Result<Said, CallerError> {
        let key = Key::new(digit).ok_or(CallerError::NoSuchKey(digit))?;
        let events = self.line.read(|state| state.answered.map(|answered| answered.media.telephone_event));
        if events == Some(None) {
            return Err(CallerError::NoTelephoneEvents);
        }
        self.speak(|queue| queue.press(key))
    }

    /// How punctual the sending was so far.
    pub fn speech_timing(&self) -> SpeechTiming {
        self.line.read(|state| state.timing)
    }

    fn speak(&self, say: impl FnOnce(&mut SpeechQueue) -> Result<Said, QueueFull>) -> Result<Said, CallerError> {
        self.line.change(|state| match (&state.phase, &mut state.speech) {
            (Phase::Over(end), _) => Err(end.error(self.settings.server)),
            (_, None) => Err(CallerError::NotAnswered),
            (_, Some(queue)) => say(queue).map_err(|QueueFull| CallerError::TooMuchToSay),
        })
    }

    // ---- listening ----------------------------------------------------------------------------------------------

    /// What was heard since the answer, at [`Self::rate`]; what did not arrive is silence.
    pub fn heard(&self) -> Vec<i16> {
        self.answered_at().map(|answered| self.heard_since(answered)).unwrap_or_default()
    }

    /// What was heard since `moment`, also before the answer.
    pub fn heard_since(&self, moment: Instant) -> Vec<i16> {
        self.line.read(|state| state.recorder.recording.samples_since(moment).to_vec())
    }

    /// Everything heard since dialling, with every packet.
    pub fn recording(&self) -> Recording {
        self.line.read(|state| state.recorder.recording.clone())
    }

    /// Every packet that was heard since `moment`.
    pub fn packets_since(&self, moment: Instant) -> Vec<HeardPacket> {
        self.line.read(|state| {
            let packets = state.recorder.recording.packets();
            packets[packets.partition_point(|packet| packet.arrived < moment)..].to_vec()
        })
    }

    /// When the last voiced packet arrived. A single one counts.
    pub fn last_voice_at(&self) -> Option<Instant> {
        self.line.read(|state| state.recorder.recording.last_voice(self.settings.voice))
    }

    /// The stretches of voice since dialling.
    pub fn voice_segments(&self) -> Vec<VoiceSegment> {
        self.line.read(|state| state.recorder.recording.voice_segments(self.settings.voice))
    }

    /// Waits until a voice is heard, looking at packets that arrived at `since` or later, and says when its first packet
    /// arrived. A voice is three packets in a row of at least [`CallerSettings::voice`].
    ///
    /// # Errors
    ///
    /// [`CallerError::NotInTime`] after `timeout`; the end of the call if it ends before.
    pub async fn wait_for_voice(&self, since: Instant, timeout: Duration) -> Result<Instant, CallerError> {
        let threshold: Dbfs = self.settings.voice;
        let voice = |state: &line::State| match (state.recorder.recording.first_voice(threshold, since), &state.phase) {
            (Some(moment), _) => Some(Ok(moment)),
            (None, Phase::Over(end)) => Some(Err(end.error(self.settings.server))),
            (None, Phase::Dialling | Phase::Answered) => None,
        };
        self.line.wait("a voice", timeout, |state, _| voice(state).ok_or(None)).await?
    }

    /// Waits until no voiced packet has arrived for `quiet`, and says when the quiet began: the arrival of the last
    /// voiced packet, or the call's answer if there was none.
    ///
    /// # Errors
    ///
    /// [`CallerError::NotAnswered`]; [`CallerError::NotInTime`] after `timeout`; the end of the call if it ends before.
    pub async fn wait_for_quiet(&self, quiet: Duration, timeout: Duration) -> Result<Instant, CallerError> {
        let answered = self.answered_at().ok_or(CallerError::NotAnswered)?;
        let threshold = self.settings.voice;
        let is_quiet = |state: &line::State, now: Instant| {
            let since = state.recorder.recording.last_voice(threshold).map_or(answered, |voice| voice.max(answered));
            match &state.phase {
                _ if now >= since + quiet => Ok(Ok(since)),
                Phase::Over(end) => Ok(Err(end.error(self.settings.server))),
                // Silence makes no event: look again when it would be long enough.
                Phase::Dialling | Phase::Answered => Err(Some(since + quiet)),
            }
        };
        self.line.wait("quiet", timeout, is_quiet).await?
    }

    // ---- ending -------------------------------------------------------------------------------------------------

    /// Hangs up and waits until Asterisk agrees. In a call that is over it says how that came.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_hung_up`].
    pub async fn hang_up(&self) -> Result<HungUp, CallerError> {
        self.orders.hang_up();
        self.wait_hung_up(super::dialog::TRANSACTION_TIMEOUT * 2).await
    }

    /// Waits until the call is over.
    ///
    /// # Errors
    ///
    /// [`CallerError::NotInTime`] after `timeout`; what prevented the call if it was never answered.
    pub async fn wait_hung_up(&self, timeout: Duration) -> Result<HungUp, CallerError> {
        let server = self.settings.server;
        let over = |state: &line::State| match &state.phase {
            Phase::Over(End::HungUp(hung_up)) => Some(Ok(*hung_up)),
            Phase::Over(end) => Some(Err(end.error(server))),
            Phase::Dialling | Phase::Answered => None,
        };
        self.line.wait("the end of the call", timeout, |state, _| over(state).ok_or(None)).await?
    }

    /// How the call ended, if it is over after it was answered or cancelled.
    pub fn hung_up(&self) -> Option<HungUp> {
        self.line.read(|state| match &state.phase {
            Phase::Over(End::HungUp(hung_up)) => Some(*hung_up),
            _ => None,
        })
    }
}
