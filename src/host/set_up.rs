//! From a caller who waits to two legs in a bridge, without races and without dead air.
//!
//! The bridge, the media leg and the caller's dead-man timer are made at the same time, while the call's task opens the
//! engines; the caller is answered when the first words are ready, or after a moment.

use super::legs::LegError;
use super::live_call::Arrival;
use super::node::{NodeContext, is_gone};
use crate::ari::{AriError, ConnectedLine, ExternalMedia, absolute_timeout};
use crate::transport::{CallHandle, TransportError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Our own leg enters the application at once; if not, something is wrong with it.
const MEDIA_LEG_LIMIT: Duration = Duration::from_secs(5);

/// So long a caller may hear ringing while the first words are being synthesised.
const FIRST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// Why a caller could not be connected to the bot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetUpError {
    /// No media worker could take the call.
    #[error("no media worker takes the call: {0}")]
    Worker(String),
    /// The bridge could not be made.
    #[error("cannot make a bridge: {0}")]
    Bridge(AriError),
    /// The external-media leg could not be made.
    #[error("cannot make the media leg: {0}")]
    MediaLeg(AriError),
    /// The external-media leg could not be made, or Asterisk could not connect to us for it.
    #[error("cannot make the media leg: {0}")]
    AudioSocketLeg(String),
    /// The media leg was made, and the connection for its audio did not come about.
    #[error("the media leg was made, but not its connection: {0}")]
    MediaConnection(String),
    /// The media leg never entered the application.
    #[error("the media leg was made but did not come up within {MEDIA_LEG_LIMIT:?}")]
    MediaLegSilent,
    /// The caller could not be answered or bridged.
    #[error("cannot connect the caller: {0}")]
    Connect(AriError),
    /// The media leg or the bridge was removed meanwhile.
    #[error("the media leg or the bridge disappeared during set-up")]
    MediaLegGone,
    /// The caller hung up meanwhile.
    #[error("the caller hung up during set-up")]
    CallerGone,
    /// The call was over before it was set up; its end says why.
    #[error("the call ended during set-up")]
    Abandoned,
}

/// What the set-up waits for besides the answers to its requests; the call's task signals it.
#[derive(Debug, Default)]
pub(super) struct Milestones {
    /// The media leg's `StasisStart` has come.
    pub(super) media_ready: Notify,
    /// The first audio of the greeting is there.
    pub(super) first_words: Notify,
    /// The call is over: finish what is under way, and begin nothing.
    pub(super) abandoned: CancellationToken,
}

impl Milestones {
    /// Waits for one of them; `Ok(false)` if it does not come in time.
    async fn wait(&self, milestone: &Notify, limit: Duration) -> Result<bool, SetUpError> {
        tokio::select! {
            () = milestone.notified() => Ok(true),
            () = sleep(limit) => Ok(false),
            () = self.abandoned.cancelled() => Err(SetUpError::Abandoned),
        }
    }

    fn check(&self) -> Result<(), SetUpError> {
        if self.abandoned.is_cancelled() { Err(SetUpError::Abandoned) } else { Ok(()) }
    }
}

/// Connects the caller. When this returns `Ok` both legs hear each other and the media worker knows the leg.
pub(super) async fn set_up(
    context: &NodeContext,
    arrival: &Arrival,
    media: &CallHandle,
    milestones: &Milestones,
) -> Result<(), SetUpError> {
    let (guarded, bridge, leg) = tokio::join!(
        guard_caller(context, arrival),
        make_bridge(context, arrival),
        make_media_leg(context, arrival, media, &milestones.abandoned)
    );
    guarded?;
    bridge?;
    leg?;
    if !milestones.wait(&milestones.media_ready, MEDIA_LEG_LIMIT).await? {
        return Err(SetUpError::MediaLegSilent);
    }
    // Late words are no reason to let the caller wait longer: silence after the answer is better than endless ringing.
    milestones.wait(&milestones.first_words, FIRST_WORDS_LIMIT).await?;
    context.ari.answer(&arrival.caller).await.map_err(connecting)?;
    milestones.check()?;
    let legs = [&arrival.caller, &arrival.media];
    // Whichever of the three is gone: a caller who is gone is told apart by an event.
    context.ari.add_channels(&arrival.bridge, &legs, ConnectedLine::Inhibit).await.map_err(SetUpError::Connect)
}

/// The caller's dead-man timer, the subscription through which its end is seen, and ringing meanwhile.
async fn guard_caller(context: &NodeContext, arrival: &Arrival) -> Result<(), SetUpError> {
    let caller = &arrival.caller;
    context.ari.set_absolute_timeout(caller, context.dead_man).await.map_err(connecting)?;
    context.ari.subscribe(caller).await.map_err(connecting)?;
    // An adopted caller is answered already; that ringing means nothing then is no error worth ending the call for.
    let _ = context.ari.ring(caller).await;
    Ok(())
}

async fn make_bridge(context: &NodeContext, arrival: &Arrival) -> Result<(), SetUpError> {
    let name = format!("{} {}", context.app, arrival.call);
    context.ari.create_bridge(&arrival.bridge, &name).await.map(|_| ()).map_err(SetUpError::Bridge)
}

async fn make_media_leg(
    context: &NodeContext,
    arrival: &Arrival,
    media: &CallHandle,
    abandoned: &CancellationToken,
) -> Result<(), SetUpError> {
    let wanted = ExternalMedia {
        channel: arrival.media.clone(),
        format: context.legs.format(),
        variables: [absolute_timeout(context.dead_man)].into_iter().collect(),
    };
    context.legs.make(&context.ari, &wanted, context.control, media, abandoned).await?;
    Ok(())
}

pub(super) fn worker(error: TransportError) -> SetUpError {
    SetUpError::Worker(error.to_string())
}

impl From<LegError> for SetUpError {
    fn from(error: LegError) -> Self {
        match error {
            LegError::Request(error) => Self::MediaLeg(error),
            LegError::AudioSocket { .. } => Self::AudioSocketLeg(error.to_string()),
            LegError::Worker(error) => worker(error),
            LegError::Abandoned => Self::Abandoned,
            LegError::Expected(_) | LegError::Dial(_) | LegError::NotConnected => {
                Self::MediaConnection(error.to_string())
            }
        }
    }
}

/// An error of a request that is about the caller alone.
fn connecting(error: AriError) -> SetUpError {
    if is_gone(&error) { SetUpError::CallerGone } else { SetUpError::Connect(error) }
}
