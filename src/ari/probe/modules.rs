//! Which modules of Asterisk a call needs, and what happens without them.

/// How much a module is needed, and what is so without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// No call works.
    Always(&'static str),
    /// Some calls do not work.
    Sometimes(&'static str),
}

/// Modules by name, without `.so`.
pub(super) const REQUIRED_MODULES: [(&str, Need); 17] = [
    ("res_ari", Need::Always("there is no ARI")),
    ("res_ari_model", Need::Always("there is no ARI")),
    ("res_ari_asterisk", Need::Always("nobody can ask for version and modules")),
    ("res_ari_applications", Need::Always("the end of a call and its cause are not told")),
    ("res_ari_channels", Need::Always("calls cannot be answered")),
    ("res_ari_bridges", Need::Always("caller and bot cannot be put together")),
    ("res_ari_events", Need::Always("calls are not announced")),
    ("res_http_websocket", Need::Always("calls are not announced")),
    ("res_stasis", Need::Always("calls cannot be controlled from outside")),
    ("res_stasis_answer", Need::Always("calls cannot be answered")),
    ("app_stasis", Need::Always("the dialplan cannot hand calls over")),
    ("chan_rtp", Need::Always("there are no media legs")),
    ("res_rtp_asterisk", Need::Always("there is no audio")),
    ("bridge_simple", Need::Always("two legs are mixed, with some 50 ms of delay, or not joined at all")),
    ("func_timeout", Need::Always("calls outlive a server that died")),
    ("codec_ulaw", Need::Sometimes("a caller with another codec cannot talk to a bot over ulaw")),
    ("codec_alaw", Need::Sometimes("a caller with another codec cannot talk to a bot over alaw")),
];
