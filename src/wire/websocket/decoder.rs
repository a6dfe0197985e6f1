//! From bytes to messages, whatever the split.

use super::{Header, HeaderStep, MAX_CONTROL_BYTES, Message, Opcode, Role, WebSocketError, apply_mask};

/// Finds the messages in what comes from a connection. Holds the beginning of a frame whose end has not come, and of a message
/// whose last fragment has not; both buffers grow to the longest that was needed, bounded by the limit, and are kept.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    max_message_bytes: usize,
    /// The beginning of a frame, or all of it when it was just given out.
    pending: Vec<u8>,
    /// The fragments of a message so far.
    fragments: Vec<u8>,
    /// The kind of the message whose fragments come.
    fragmented: Option<Opcode>,
    given_out: Option<Place>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The peer has closed: nothing behind that counts.
    Closed,
    Failed(WebSocketError),
}

/// Which buffer lent its bytes to the message that was last given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pending,
    Fragments,
}

/// Where a payload lies.
enum Payload<'i> {
    Input(&'i mut [u8]),
    /// In `pending`, from here to the end.
    Pending(usize),
    Fragments,
}

impl Decoder {
    /// At the beginning of the stream behind the handshake. `role` is ours. A message longer than `max_message_bytes` is
    /// refused as soon as its length is known.
    pub const fn new(role: Role, max_message_bytes: usize) -> Self {
        Self {
            role,
            max_message_bytes,
            pending: Vec::new(),
            fragments: Vec::new(),
            fragmented: None,
            given_out: None,
            state: State::Open,
        }
    }

    /// The next message of the stream, of which `input` holds the next bytes; what is used of it is cut off its front. To be
    /// called until `None`: then `input` is empty, and what was left of it is kept for the next time. A message in one frame
    /// that lies in `input` as a whole is not copied, only unmasked in place. Control frames come when they come, also
    /// between the fragments of a message. Behind a [`Message::Close`] there is nothing more.
    ///
    /// # Errors
    /// Any [`WebSocketError`], and the same one for ever after.
    pub fn next_message<'r, 'i: 'r>(
        &'r mut self,
        input: &mut &'i mut [u8],
    ) -> Result<Option<Message<'r>>, WebSocketError> {
        match self.given_out.take() {
            Some(Place::Pending) => self.pending.clear(),
            Some(Place::Fragments) => self.fragments.clear(),
            None => {}
        }
        match self.state {
            State::Open => {}
            State::Closed => {
                *input = &mut [];
                return Ok(None);
            }
            State::Failed(error) => return Err(error),
        }
        let (opcode, payload) = match self.next_payload(input) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.state = State::Failed(error);
                return Err(error);
            }
        };
        let payload: &'r [u8] = match payload {
            Payload::Input(bytes) => bytes,
            Payload::Pending(from) => {
                self.given_out = Some(Place::Pending);
                &self.pending[from..]
            }
            Payload::Fragments => {
                self.given_out = Some(Place::Fragments);
                &self.fragments
            }
        };
        let message = Message::read(opcode, payload);
        match message {
            Ok(Message::Close(_)) => self.state = State::Closed,
            Ok(_) => {}
            Err(error) => self.state = State::Failed(error),
        }
        message.map(Some)
    }

    /// The payload of the next message or control frame, unmasked.
    fn next_payload<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<(Opcode, Payload<'i>)>, WebSocketError> {
        while let Some((header, mut payload)) = self.next_frame(input)? {
            let bytes: &mut [u8] = match &mut payload {
                Payload::Input(bytes) => bytes,
                Payload::Pending(from) => &mut self.pending[*from..],
                // A frame never lies there.
                Payload::Fragments => continue,
            };
            if let Some(key) = header.key {
                apply_mask(key, bytes);
            }
            if header.opcode.is_control() || (header.fin && header.opcode != Opcode::Continuation) {
                return Ok(Some((header.opcode, payload)));
            }
            self.fragments.extend_from_slice(bytes);
            if let Payload::Pending(_) = payload {
                self.pending.clear();
            }
            if header.opcode != Opcode::Continuation {
                self.fragmented = Some(header.opcode);
            } else if header.fin
                && let Some(opcode) = self.fragmented.take()
            {
                return Ok(Some((opcode, Payload::Fragments)));
            }
        }
        Ok(None)
    }

    /// The next frame that has come as a whole, still masked.
    fn next_frame<'i>(&mut self, input: &mut &'i mut [u8]) -> Result<Option<(Header, Payload<'i>)>, WebSocketError> {
        if self.pending.is_empty()
            && let HeaderStep::Ready(header) = Header::read(input, self.role)?
        {
            let length = self.check(header)?;
            if input.len() - header.bytes >= length {
                let (frame, rest) = std::mem::take(input).split_at_mut(header.bytes + length);
                *input = rest;
                return Ok(Some((header, Payload::Input(&mut frame[header.bytes..]))));
            }
        }
        loop {
            match Header::read(&self.pending, self.role)? {
                HeaderStep::Needs(bytes) => {
                    if !self.fill(bytes, input) {
                        // Once more, so that what is wrong is said at once and not when more comes.
                        Header::read(&self.pending, self.role)?;
                        return Ok(None);
                    }
                }
                HeaderStep::Ready(header) => {
                    let length = self.check(header)?;
                    let whole = self.fill(header.bytes + length, input);
                    return Ok(whole.then_some((header, Payload::Pending(header.bytes))));
                }
            }
        }
    }

    /// The length of the payload, if a frame like this may come now.
    fn check(&self, header: Header) -> Result<usize, WebSocketError> {
        let before = match (header.opcode, self.fragmented) {
            (Opcode::Continuation, None) => return Err(WebSocketError::NothingToContinue),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(WebSocketError::NotContinued),
            (Opcode::Continuation, Some(_)) => self.fragments.len(),
            _ => 0,
        };
        let limit = if header.opcode.is_control() { MAX_CONTROL_BYTES } else { self.max_message_bytes };
        let bytes = header.length.saturating_add(before as u64);
        match usize::try_from(bytes) {
            Ok(bytes) if bytes <= limit => Ok(bytes - before),
            _ => Err(WebSocketError::MessageTooLong { bytes, limit }),
        }
    }

    #[cfg(test)]
    pub(super) fn buffered_bytes(&self) -> usize {
        self.pending.capacity() + self.fragments.capacity()
    }

    /// Takes bytes until `pending` has `length`; whether it has.
    fn fill(&mut self, length: usize, input: &mut &mut [u8]) -> bool {
        let missing = length.saturating_sub(self.pending.len());
        let here = missing.min(input.len());
        let (taken, rest) = std::mem::take(input).split_at_mut(here);
        if !taken.is_empty() {
            self.pending.reserve_exact(missing);
        }
        self.pending.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }
}
