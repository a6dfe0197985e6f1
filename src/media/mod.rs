//! One direction of a media stream each: what arrives, what leaves, and how well.

pub mod playout;
