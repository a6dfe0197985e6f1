//! Whole conversations in virtual time: a call, a scripted caller, scripted engines. Each file is named after what goes
//! wrong in it.

mod barge_in_while_synthesizing;
mod caller_hangs_up_at_every_state;
mod continuous_sound;
mod driver;
mod endless_reply;
mod engine_dies_mid_utterance;
mod engine_silent;
mod lossy_link;
mod ordinary_conversation;
mod stale_and_duplicated_events;
