//! The reply in progress: its text as it is written, its audio as it comes, and how the two belong together.

use super::clauses::{LONGEST, first_clause};
use super::engines::{DialogAction, DialogCommand};
use super::event::Timeline;
use super::heard::Alignment;
use super::ids::{ReplyId, UtteranceIndex};
use std::time::{Duration, Instant};

/// Text of one reply, in bytes: more than an hour of speech. What the dialogue sends beyond that is dropped.
const MAX_TEXT: usize = 64 * 1024;

/// Clauses that the synthesiser has, at most, without having made a sound since: enough never to let it wait, and few
/// enough for every queue on the way.
pub(super) const MAX_CLAUSES_AHEAD: u32 = 4;

/// Where the text of a reply stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// More may come from the dialogue.
    Open,
    /// The dialogue is done.
    Complete,
    /// Complete, and the synthesiser has been told so.
    Flushed,
}

/// What the bot is saying, or about to.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) id: ReplyId,
    /// What was asked of the dialogue; `None` for a greeting, which nobody needs to be asked for.
    pub(super) question: Option<DialogCommand>,
    pub(super) timeline: Timeline,
    pub(super) action: Option<DialogAction>,
    text: String,
    /// Whether there is more than white space in it.
    has_words: bool,
    text_state: Text,
    /// There is no complete clause in what was not sent yet: it need not be looked at again before more text comes.
    no_clause: bool,
    /// Since when it could be heard, if the caller did not speak.
    held_since: Option<Instant>,
    /// Bytes of `text` that the synthesiser was given.
    sent: usize,
    is_being_synthesized: bool,
    /// Clauses that the synthesiser was given since its last audio.
    clauses_ahead: u32,
    /// Samples that the synthesiser has delivered.
    received: i64,
    audio_complete: bool,
    alignment: Alignment,
    /// Where the session of the synthesiser in use began within this reply: characters and samples.
    session_origin: (usize, i64),
}

impl Reply {
    pub(super) fn new(id: ReplyId, utterance: Option<UtteranceIndex>, question: Option<DialogCommand>) -> Self {
        let timeline = Timeline {
            reply: id,
            utterance,
            speech_end: None,
            endpoint: None,
            final_text: None,
            first_text: None,
            first_audio: None,
            first_packet: None,
            stop: None,
            barge_in: None,
        };
        Self {
            id,
            question,
            timeline,
            action: None,
            text: String::new(),
            has_words: false,
            text_state: Text::Open,
            no_clause: false,
            held_since: None,
            sent: 0,
            is_being_synthesized: false,
            clauses_ahead: 0,
            received: 0,
            audio_complete: false,
            alignment: Alignment::default(),
            session_origin: (0, 0),
        }
    }

    /// More text from the dialogue, which has not said that it is done. Returns how many bytes of it found no room.
    pub(super) fn append(&mut self, delta: &str, now: Instant) -> usize {
        let room = MAX_TEXT - self.text.len();
        let fits = (0..=room.min(delta.len())).rev().find(|end| delta.is_char_boundary(*end)).unwrap_or(0);
        let delta_that_fits = &delta[..fits];
        if !delta_that_fits.trim().is_empty() {
            self.timeline.first_text.get_or_insert(now);
            self.has_words = true;
        }
        self.text.push_str(delta_that_fits);
        self.no_clause = false;
        delta.len() - fits
    }

    /// The dialogue is done.
    pub(super) fn complete_text(&mut self) {
        if self.text_state == Text::Open {
            self.text_state = Text::Complete;
            self.no_clause = false;
        }
    }

    pub(super) fn text_is_complete(&self) -> bool {
        self.text_state != Text::Open
    }

    /// Whether there are words in it so far.
    pub(super) fn has_words(&self) -> bool {
        self.has_words
    }

    /// Takes the next clause for the synthesiser, if one is complete and the synthesiser is not too far behind. White space
    /// alone is passed over; what has nothing to speak in it ("...") goes together with what follows, since no audio may
    /// come of it.
    pub(super) fn next_clause(&mut self) -> Option<String> {
        while !self.no_clause && self.clauses_ahead < MAX_CLAUSES_AHEAD {
            let rest = &self.text[self.sent..];
            let length = next_spoken(rest, self.text_is_complete());
            if length == 0 {
                self.no_clause = true;
                break;
            }
            self.sent += length;
            let clause = &rest[..length];
            if !clause.trim().is_empty() {
                self.clauses_ahead += 1;
                self.is_being_synthesized = true;
                return Some(clause.to_owned());
            }
        }
        None
    }

    /// Whether the synthesiser should be told, now, that there is no more text. Says so once.
    pub(super) fn take_flush(&mut self) -> bool {
        let due = self.text_state == Text::Complete && self.sent == self.text.len() && self.has_words();
        if due {
            self.text_state = Text::Flushed;
        }
        due
    }

    /// Its first audio is there and is held back: for how long so far.
    pub(super) fn hold(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.held_since.get_or_insert(now))
    }

    /// Whether anything of it was given to the synthesiser.
    pub(super) fn is_being_synthesized(&self) -> bool {
        self.is_being_synthesized
    }

    /// Whether the synthesiser was told that it has all of the text.
    pub(super) fn is_flushed(&self) -> bool {
        self.text_state == Text::Flushed
    }

    /// Audio of so many samples has come.
    pub(super) fn audio(&mut self, samples: usize, now: Instant) {
        self.timeline.first_audio.get_or_insert(now);
        self.clauses_ahead = 0;
        self.received += samples as i64;
    }

    /// Position in the synthesiser's session of a position in this reply.
    pub(super) fn session_position(&self, position: i64) -> i64 {
        (position - self.session_origin.1).max(0)
    }

    /// Samples that the synthesiser has delivered.
    pub(super) fn received(&self) -> i64 {
        self.received
    }

    /// A mark of the session in use. One that is more than `tolerance` samples ahead of its audio is not believed:
    /// `false`.
    pub(super) fn mark(&mut self, text_end: usize, sample: i64, tolerance: i64) -> bool {
        let (characters, origin) = self.session_origin;
        let position = origin.saturating_add(sample);
        let believable = sample >= 0 && position <= self.received.saturating_add(tolerance);
        if believable {
            self.alignment.mark(characters.saturating_add(text_end), position);
        }
        believable
    }

    pub(super) fn complete_audio(&mut self) {
        self.audio_complete = true;
        // All of the text has been spoken when the audio ends, also where the engine gives no marks.
        self.alignment.mark(self.text.chars().count(), self.received);
    }

    /// Whether nothing more will come to be played.
    pub(super) fn is_complete(&self) -> bool {
        match self.text_state {
            Text::Open => false,
            Text::Complete | Text::Flushed => self.audio_complete || !self.has_words(),
        }
    }

    /// Whether the synthesiser is the one to wait for when nothing is left to play: it has all the text, or it was
    /// given a clause and has not made a sound since.
    pub(super) fn waits_for_audio(&self) -> bool {
        !self.audio_complete && (self.text_state == Text::Flushed || self.clauses_ahead > 0)
    }

    /// What the caller has heard of it.
    pub(super) fn heard_text(&self, played: i64, hz: u32) -> &str {
        self.alignment.heard(&self.text, played, hz)
    }

    /// Another synthesiser goes on from the last clause that the old one finished. Returns the position at which its
    /// audio will be appended; what was received beyond that must not be played.
    pub(super) fn restart_synthesis(&mut self, played: i64, hz: u32) -> i64 {
        // A mark may be ahead of its audio: what was not received was not spoken.
        let (characters, sample) = self.alignment.last_before(self.received);
        // If the caller has heard more than the last finished clause, the new voice goes on with the next word.
        let (characters, sample) = if played > sample {
            (self.alignment.heard(&self.text, played, hz).chars().count(), played)
        } else {
            (characters, sample)
        };
        self.sent = self.text.char_indices().nth(characters).map_or(self.text.len(), |(at, _)| at);
        self.alignment.restart(characters, sample);
        self.session_origin = (characters, sample);
        self.received = sample;
        self.clauses_ahead = 0;
        self.audio_complete = false;
        self.no_clause = false;
        if self.text_state == Text::Flushed {
            self.text_state = Text::Complete;
        }
        sample
    }
}

/// The length of the first clauses of `text` up to one with something to speak in it; 0 if there is none yet.
fn next_spoken(text: &str, complete: bool) -> usize {
    let mut length = 0;
    loop {
        let clause = first_clause(&text[length..], complete);
        if clause == 0 {
            return if complete { length } else { 0 };
        }
        let spoken = text[length..length + clause].contains(char::is_alphanumeric);
        length += clause;
        if spoken || length >= LONGEST {
            return length;
        }
    }
}
