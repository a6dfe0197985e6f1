//! WebSocket framing.

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We have dialled: what we send is masked.
    Client,
    /// Asterisk has dialled.
    Server,
}
