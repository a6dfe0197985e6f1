//! The Asterisk that tests share, and what can be dialled there besides Arioso.

use arioso::bench::asterisk::{LocalAsterisk, LocalAsteriskSettings};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Longer than anything here takes on a busy machine. No test waits so long unless it fails.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Numbers that the dialplan answers itself.
pub(crate) const SITE_DIALPLAN: &str = r#"
; Hears itself.
exten => 901,1,Answer()
 same => n,Echo()
; Hears a prompt, and is hung up on with cause 19 (no answer), which a dialplan sends rarely.
exten => 902,1,Answer()
 same => n,Playback(goodbye)
 same => n,Hangup(19)
; Is refused.
exten => 903,1,Busy()
exten => 904,1,Hangup(34)
; Presses four keys; the dialplan keeps them by the caller's number.
exten => 905,1,Answer()
 same => n,Read(KEYS,,4,,1,20)
 same => n,Set(GLOBAL(KEYS_${CALLERID(num)})=${KEYS})
 same => n,Hangup(16)
; Rings for ever.
exten => 906,1,Ringing()
 same => n,Wait(600)
; Speaks before it answers, and is silent then.
exten => 907,1,Progress()
 same => n,Playback(goodbye,noanswer)
 same => n,Answer()
 same => n,Wait(600)
; Hears a prompt in another codec than the one it was answered with: Asterisk sends a re-INVITE. The pauses keep
; Asterisk from sending it before it has seen the ACK, and from playing before it has seen ours.
exten => 908,1,Answer()
 same => n,Wait(0.5)
 same => n,Set(PJSIP_MEDIA_OFFER(audio)=!all,alaw)
 same => n,Set(PJSIP_SEND_SESSION_REFRESH()=invite)
 same => n,Wait(0.5)
 same => n,Playback(goodbye)
 same => n,Hangup(16)
; What a call comes to whose time limit nobody renews, as in Stasis() after the death of Arioso.
exten => 909,1,Answer()
 same => n,Set(TIMEOUT(absolute)=1)
 same => n,Wait(600)
"#;

pub(crate) fn settings() -> LocalAsteriskSettings {
    LocalAsteriskSettings { site_dialplan: SITE_DIALPLAN.to_owned(), ..LocalAsteriskSettings::default() }
}

/// The shared one.
pub(crate) async fn asterisk() -> &'static LocalAsterisk {
    static SHARED: OnceCell<LocalAsterisk> = OnceCell::const_new();
    let started = SHARED.get_or_try_init(|| LocalAsterisk::start(settings())).await;
    started.unwrap_or_else(|error| panic!("these tests need an Asterisk of their own: {error}"))
}
