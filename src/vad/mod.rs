//! Is the caller speaking? [`Detector`] decides frame by frame, [`Segmenter`] makes utterances of the decisions.
//!
//! Both hold the state of one call only: a detector shared between calls hears one caller in another's silence.

mod detector;
mod segmenter;

pub use detector::Detector;
pub use segmenter::{Endpointing, SegmentEnd, SegmentEvent, Segmenter};
