//! What is to be measured.

use super::caller_audio::StampCode;
use crate::audio::g711::Law;
use crate::audio::{ByteOrder, Codec, SampleRate};
use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// What the server does with the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Speech detection on, audio of every call to a recogniser over gRPC; after a greeting the bot is silent.
    Full,
    /// An echo bot: the bare media path, without detection and engines.
    Echo,
    /// As full, and the bot answers whenever the caller has finished.
    Conversation,
}

/// How the audio travels between Asterisk and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// UDP.
    Rtp,
    /// TCP, towards the server.
    Audiosocket,
    /// TCP, with the server dialling.
    Websocket,
}

impl Transport {
    /// As in the configuration.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Audiosocket => "audiosocket",
            Self::Websocket => "websocket",
        }
    }

    /// The codec where none is chosen.
    pub const fn default_codec(self) -> Codec {
        match self {
            Self::Rtp | Self::Websocket => Codec::G711(Law::Mu),
            Self::Audiosocket => Codec::Linear16(SampleRate::HZ_8000),
        }
    }
}

/// What callers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum CallerAudio {
    /// Sentences with pauses.
    Speech,
    /// Noise without end, at the level of speech.
    Noise,
    /// Nothing.
    Silence,
}

/// What is to be measured, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// One step each: so many calls at the same time.
    pub calls: Vec<usize>,
    /// How long is measured.
    pub window: Duration,
    /// How long the calls run before.
    pub warm_up: Duration,
    /// How often each step is measured, with new processes each time.
    pub repeat: usize,
    /// What the server does.
    pub mode: Mode,
    /// How audio travels.
    pub transport: Transport,
    /// How audio is written.
    pub codec: Codec,
    /// What callers say.
    pub audio: CallerAudio,
    /// Calls that arrive a second.
    pub set_up_rate: u32,
    /// Packets a second from a stranger's address; 0: none.
    pub flood: u32,
    /// Whether the bare echo is measured beside it.
    pub baseline: bool,
    /// Processors of the server; none: not placed.
    pub server_cpus: Vec<usize>,
    /// Processors of everything else; none: not placed.
    pub tool_cpus: Vec<usize>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            calls: vec![1, 50, 250, 500, 1000],
            window: Duration::from_secs(20),
            warm_up: Duration::from_secs(5),
            repeat: 3,
            mode: Mode::Full,
            transport: Transport::Rtp,
            codec: Codec::G711(Law::Mu),
            audio: CallerAudio::Speech,
            set_up_rate: 100,
            flood: 0,
            baseline: true,
            server_cpus: Vec::new(),
            tool_cpus: Vec::new(),
        }
    }
}

impl Plan {
    /// Whether the marks in callers' audio can be read again at the end of their way: no codec but these keeps them, and no
    /// change of codec or rate.
    pub(super) fn follows_packets(&self) -> bool {
        let kept = StampCode::of(self.codec, self.byte_order()).exists();
        match self.mode {
            // On an RTP leg G.722 goes back where linear audio at 16 kHz comes.
            Mode::Echo => kept && !(self.transport == Transport::Rtp && self.codec.rate() != SampleRate::HZ_8000),
            // The engine hears 8 kHz.
            Mode::Full | Mode::Conversation => kept && self.codec.rate() == SampleRate::HZ_8000,
        }
    }

    /// Of linear audio on the wire.
    pub(super) const fn byte_order(&self) -> ByteOrder {
        match self.transport {
            Transport::Rtp => ByteOrder::Big,
            Transport::Audiosocket | Transport::Websocket => ByteOrder::Little,
        }
    }

    /// Whether the bare echo runs beside it: it is one of packets.
    pub(super) fn has_baseline(&self) -> bool {
        self.baseline && self.transport == Transport::Rtp
    }

    /// Whether a figure of this name can come out of it.
    pub fn measures(&self, name: &str) -> bool {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if begins(&["lost_in", "loss_in", "late_in", "duplicated_in"]) {
            self.follows_packets()
        } else if begins(&["turnaround_"]) {
            self.mode == Mode::Echo && self.follows_packets()
        } else if begins(&["to_engine_"]) {
            self.mode != Mode::Echo && self.follows_packets()
        } else if begins(&["unmarked_in", "tool_engine_"]) {
            self.mode != Mode::Echo
        } else if begins(&["first_audio_", "replies"]) {
            self.mode == Mode::Conversation
        } else if begins(&["baseline_"]) {
            self.has_baseline()
        } else if begins(&["flood_"]) {
            self.flood > 0
        } else {
            true
        }
    }

    /// What was measured, for the head of a table.
    pub(super) fn heading(&self) -> String {
        let word = |word: Option<clap::builder::PossibleValue>| {
            word.map_or_else(String::new, |word| word.get_name().to_owned())
        };
        format!(
            "{}, {} {}, {} × {} s after {} s",
            word(self.mode.to_possible_value()),
            self.transport.name(),
            self.codec.asterisk_format(),
            self.repeat,
            self.window.as_secs(),
            self.warm_up.as_secs(),
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "calls": self.calls,
            "seconds": self.window.as_secs_f64(),
            "warm_up_seconds": self.warm_up.as_secs_f64(),
            "repeat": self.repeat,
            "mode": self.mode,
            "transport": self.transport,
            "codec": self.codec.asterisk_format(),
            "audio": self.audio,
            "calls_a_second": self.set_up_rate,
            "flood": self.flood,
            "server_cpus": self.server_cpus,
            "tool_cpus": self.tool_cpus,
        })
    }
}

/// A codec by Asterisk's name for it.
pub(super) fn codec(name: &str) -> Option<Codec> {
    let linear = |rate| Codec::Linear16(rate);
    let all = [
        Codec::G711(Law::Mu),
        Codec::G711(Law::A),
        Codec::G722,
        Codec::Opus,
        linear(SampleRate::HZ_8000),
        linear(SampleRate::HZ_16000),
        linear(SampleRate::HZ_24000),
        linear(SampleRate::HZ_48000),
    ];
    all.into_iter().find(|codec| codec.asterisk_format() == name)
}
