//! Listeners and dialling on loopback sockets.
