//! Which modules of Asterisk a call needs, and for what.

/// How much a module is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// No call works without it; for what.
    Always(&'static str),
    /// Some calls do not work without it; which.
    Sometimes(&'static str),
}

/// Modules by name, without `.so`.
pub(super) const REQUIRED_MODULES: [(&str, Need); 17] = [
    ("res_ari", Need::Always("the interface itself")),
    ("res_ari_model", Need::Always("the interface itself")),
    ("res_ari_asterisk", Need::Always("version and modules are asked for")),
    ("res_ari_applications", Need::Always("the end of a call and its cause are subscribed to")),
    ("res_ari_channels", Need::Always("calls are answered and hung up")),
    ("res_ari_bridges", Need::Always("the caller and the bot are put together")),
    ("res_ari_events", Need::Always("calls are announced")),
    ("res_http_websocket", Need::Always("calls are announced")),
    ("res_stasis", Need::Always("calls are controlled from outside")),
    ("res_stasis_answer", Need::Always("calls are answered")),
    ("app_stasis", Need::Always("the dialplan hands calls over")),
    ("chan_rtp", Need::Always("audio comes to us and goes back")),
    ("res_rtp_asterisk", Need::Always("audio comes to us and goes back")),
    ("bridge_simple", Need::Always("two legs hear each other without a mixer's delay")),
    ("func_timeout", Need::Always("a call ends when its server is gone")),
    ("codec_ulaw", Need::Sometimes("callers with another codec cannot talk to a bot over ulaw")),
    ("codec_alaw", Need::Sometimes("callers with another codec cannot talk to a bot over alaw")),
];
