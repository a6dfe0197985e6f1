//! What a configuration is read as, and what is said about one that is wrong.

use super::*;
use crate::call::{
    BargeIn, DialogCommand, DialogEvent, DialplanTarget, Endpointing, NoInput, ReplyId, UtteranceIndex, Watchdogs,
};
use crate::flow::{Conversation, Then};
use insta::assert_snapshot;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// The example of the documentation.
const EXAMPLE: &str = include_str!("../../examples/arioso.toml");

/// Files and variables that exist only here.
struct Pretended;

impl Surroundings for Pretended {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "ARI_PASSWORD" => Some("from the environment".to_owned()),
            "EMPTY_PASSWORD" => Some(String::new()),
            _ => None,
        }
    }

    fn read(&self, path: &Path) -> io::Result<FoundFile> {
        let (text, readable_by_all) = match path.to_str() {
            Some("/etc/arioso/ari.password") => ("from a file\n", false),
            Some("/etc/arioso/open.password") => ("seen by all\r\n", true),
            Some("/etc/arioso/two-lines.password") => ("one\ntwo\n", false),
            Some("/etc/arioso/short.toml") => (
                "give_up = \"Bye.\"\n[[intents]]\nname = \"sales\"\nkey = \"1\"\nanswer = \"{heard}\"\n\
                 then = \"continue\"\ntarget = { context = \"queues\", extension = \"sales\" }\n",
                false,
            ),
            Some("/etc/arioso/wrong.toml") => (
                "opening = \"Hi {name}\"\ngiveup = \"Bye.\"\n\n[[intents]]\nname = \"sales\"\nphrases = [\"sales\", \"!\"]\n\
                 key = \"12\"\nanswer = \"\"\nthen = \"transfer\"\n",
                false,
            ),
            Some("/etc/arioso/twice.toml") => (
                "give_up = \"Bye.\"\n[[intents]]\nname = \"a\"\nkey = \"1\"\nanswer = \"A\"\n\
                 [[intents]]\nname = \"b\"\nkey = \"1\"\nanswer = \"B\"\ntarget = { extension = \"9\" }\n",
                false,
            ),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(FoundFile { text: text.to_owned(), readable_by_all })
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "arioso.toml", Path::new("/etc/arioso"), &Pretended)
}

/// What is said about a wrong configuration.
fn errors(text: &str) -> String {
    parse(text).map(|config| panic!("accepted: {config:?}")).unwrap_or_else(|error| error.to_string())
}

/// What is said about a right one.
fn warnings(text: &str) -> String {
    let lines: Vec<String> = parse(text).unwrap().warnings.iter().map(Warning::to_string).collect();
    lines.join("\n")
}

const ASTERISK: &str = "[[asterisk]]\nname = \"pbx\"\nurl = \"http://127.0.0.1:8088\"\nusername = \"bot\"\n\
                        password_file = \"ari.password\"\napp = \"arioso\"\n";
const LOCAL: &str = "[engines.local]\nkind = \"local\"\n";
const BOT: &str =
    "[bots.b]\nlanguage = \"en\"\nrecognizer = [\"local\"]\nsynthesizer = [\"local\"]\ndialog = [\"local\"]\n";
const ROUTE: &str = "[[routes]]\nnumber = \"*\"\nbot = \"b\"\n";

/// A bot that converses.
fn conversation<'a>(config: &'a Config, name: &str) -> &'a ConversationBot {
    config.bots[&BotName::new(name).unwrap()].conversation().unwrap()
}

fn with_bot(lines: &str) -> String {
    format!("{LOCAL}{BOT}{lines}")
}

// ---- what is accepted -----------------------------------------------------------------------------------------------

#[test]
fn the_example_is_read_in_full() {
    let config = parse(EXAMPLE).unwrap();

    let [asterisk] = config.asterisks.as_slice() else { panic!("{:?}", config.asterisks) };
    assert_eq!(asterisk.name.as_str(), "pbx");
    assert_eq!(asterisk.url.as_str(), "http://127.0.0.1:8088");
    assert_eq!(asterisk.username, "bot");
    assert_eq!(asterisk.password.expose(), "from a file");
    assert_eq!(asterisk.app.as_str(), "arioso");
    assert_eq!(asterisk.transport, MediaTransport::Rtp(RtpCodec::Ulaw));
    assert_eq!(asterisk.dead_man, Duration::from_secs(60));
    assert_eq!(asterisk.dead_man_renewal(), Duration::from_secs(20));

    let loopback: IpAddr = "127.0.0.1".parse().unwrap();
    let media = Media {
        listen: loopback,
        ports: 31_000..=31_007,
        advertise: loopback,
        max_calls: 500,
        audiosocket_port: 9_092,
        websocket_port: 9_093,
        websocket_login: None,
        cpus: vec![],
    };
    assert_eq!(config.media, media);

    let name = |name: &str| EngineName::new(name).unwrap();
    let EngineKind::Local(local) = &config.engines[&name("local")] else { panic!() };
    assert_eq!((local.threads, &local.models, &local.flow), (None, &None, &reception()));
    assert_eq!(config.engines.len(), 1, "an engine that nobody has started would make the first call slow");

    let bot = conversation(&config, "reception");
    assert_eq!(bot.language.as_str(), "en-US");
    assert_eq!(bot.recognizer, [name("local")]);
    assert_eq!(bot.synthesizer, [name("local")]);
    assert_eq!(bot.dialog, [name("local")]);
    assert_eq!(bot.greeting.as_deref(), Some("Hello, this is the reception. How can I help you?"));
    assert_eq!(bot.endpointing, Endpointing::default());
    assert_eq!(bot.barge_in, BargeIn::default());
    assert_eq!(bot.no_input, NoInput::default());
    assert_eq!(bot.watchdogs, Watchdogs::default());

    assert_eq!(config.route("100").map(|route| route.bot.as_str()), Some("reception"));
    assert_eq!(config.route("101"), None);
    assert_eq!(config.warnings, []);
}

#[test]
fn the_engine_that_the_example_only_mentions_can_be_put_first() {
    let lab = ["# [engines.lab]", "# kind = \"grpc\"", "# url = "];
    let text = lab.iter().fold(EXAMPLE.to_owned(), |text, line| text.replace(line, &line[2..]));
    let config = parse(&text.replace("recognizer = [\"local\"]", "recognizer = [\"lab\", \"local\"]")).unwrap();
    let EngineKind::Grpc(lab) = &config.engines[&EngineName::new("lab").unwrap()] else { panic!() };
    assert_eq!((lab.url.as_str(), &lab.token, &lab.ca_file), ("http://127.0.0.1:50051", &None, &None));
    assert_eq!(lab.url.host_and_port(), ("127.0.0.1", 50_051));
    let bot = conversation(&config, "reception");
    assert_eq!(bot.recognizer.iter().map(EngineName::as_str).collect::<Vec<_>>(), ["lab", "local"]);
    assert_eq!(config.warnings, []);
}

#[test]
fn everything_that_can_be_set_is_taken_over() {
    let config = parse(&format!(
        "[media]\nlisten = \"::\"\nports = \"20000\"\nadvertise = \"192.0.2.1\"\nmax_calls = 1_000\n\
         audiosocket_port = 9_000\nwebsocket_port = 9_001\nwebsocket_username = \"pbx\"\n\
         websocket_password_env = \"ARI_PASSWORD\"\ncpus = [0]\n\
         [engines.local]\nkind = \"local\"\nthreads = 2\nmodels = \"models\"\nflow = \"short.toml\"\n\
         [engines.far]\nkind = \"grpc\"\nurl = \"https://engines.example:443/\"\ntoken_env = \"ARI_PASSWORD\"\n\
         ca_file = \"/ca.pem\"\n\
         {BOT}no_input = \"1min\"\n\
         [bots.b.endpointing]\nstart_evidence = \"60ms\"\nsilence = \"1s\"\npre_roll = \"0ms\"\nmax_utterance = \"10s\"\n\
         [bots.b.barge_in]\nevidence = \"200ms\"\n\
         [bots.b.watchdogs]\nfinal_hypothesis = \"1s\"\nfirst_text = \"2s\"\nfirst_audio = \"3s\"\nnext_audio = \"4s\"\n\
         {ASTERISK}transport = \"websocket\"\ncodec = \"slin16\"\nwebsocket = \"listen\"\nwebsocket_client = \"arioso\"\n\
         dead_man = \"30s\"\n"
    ))
    .unwrap();

    assert_eq!((&config.media.ports, config.media.max_calls), (&(20_000..=20_000), 1_000));
    assert_eq!(config.media.cpus, [0]);
    assert_eq!((config.media.audiosocket_port, config.media.websocket_port), (9_000, 9_001));
    let login = config.media.websocket_login.as_ref().unwrap();
    assert_eq!((login.username.as_str(), login.password.expose()), ("pbx", "from the environment"));
    let connection = WebSocketConnection::Listen { client: ClientName::new("arioso").unwrap() };
    let websocket = MediaTransport::WebSocket { codec: LegCodec::Linear(LinearCodec::Slin16), connection };
    assert_eq!(config.asterisks[0].transport, websocket);
    assert_eq!(
        (config.media.listen.to_string(), config.media.advertise.to_string()),
        ("::".into(), "192.0.2.1".into())
    );
    let EngineKind::Local(local) = &config.engines[&EngineName::new("local").unwrap()] else { panic!() };
    assert_eq!(
        (local.threads.map(usize::from), local.models.as_deref()),
        (Some(2), Some(Path::new("/etc/arioso/models")))
    );
    let target = DialplanTarget { context: "queues".into(), extension: "sales".into(), priority: 1 };
    assert_eq!(local.flow.parts().intents[0].then, Then::Continue { target: Some(target) });
    let EngineKind::Grpc(far) = &config.engines[&EngineName::new("far").unwrap()] else { panic!() };
    assert_eq!((far.url.as_str(), far.ca_file.as_deref()), ("https://engines.example:443", Some(Path::new("/ca.pem"))));
    assert_eq!(far.token.as_ref().map(Secret::expose), Some("from the environment"));

    let bot = conversation(&config, "b");
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    assert_eq!(bot.no_input.timeout, s(60));
    let endpointing = Endpointing { start_evidence: ms(60), silence: s(1), pre_roll: ms(0), max_utterance: s(10) };
    assert_eq!(bot.endpointing, endpointing);
    assert_eq!(bot.barge_in, BargeIn::OnSpeech { evidence: ms(200) });
    let watchdogs = Watchdogs { final_hypothesis: s(1), first_text: s(2), first_audio: s(3), next_audio: s(4) };
    assert_eq!(bot.watchdogs, watchdogs);
    assert_eq!(config.asterisks[0].dead_man, s(30));
}

#[test]
fn barge_in_can_be_switched_off() {
    let config = parse(&with_bot("[bots.b.barge_in]\nenabled = false\n")).unwrap();
    assert_eq!(conversation(&config, "b").barge_in, BargeIn::Off);
}

#[test]
fn an_exact_number_goes_before_all_numbers_whatever_their_order() {
    let second = BOT.replace("[bots.b]", "[bots.c]");
    let config = parse(&with_bot(&format!("{second}{ROUTE}[[routes]]\nnumber = \"100\"\nbot = \"c\"\n"))).unwrap();
    assert_eq!(config.route("100").map(|route| route.bot.as_str()), Some("c"));
    assert_eq!(config.route("200").map(|route| route.bot.as_str()), Some("b"));
}

#[test]
fn without_an_asterisk_and_routes_there_is_only_a_warning() {
    assert_snapshot!(warnings(&with_bot("")), @r#"
        arioso.toml:1:1: no [[asterisk]] is configured; `arioso serve` needs one
        arioso.toml:1:1: no [[routes]] is configured; every caller would be sent back to the dialplan
    "#);
}

#[test]
fn ports_of_the_ephemeral_range_are_warned_about() {
    let text = |ports: &str| format!("{ASTERISK}{LOCAL}{BOT}{ROUTE}[media]\nports = \"{ports}\"\n");
    assert_snapshot!(warnings(&text("32760-32767")), @"");
    assert_snapshot!(warnings(&text("32760-32768")), @r#"arioso.toml:18:9: media.ports: ports 32760-32768 overlap the ephemeral range 32768-60999, from which the system gives ports to other programs; choose ports below 32768, or reserve these with net.ipv4.ip_local_reserved_ports"#);
    assert_snapshot!(warnings(&text("61000-61007")), @"");
}

#[test]
fn an_asterisk_elsewhere_needs_an_address_that_it_can_reach_and_encryption() {
    let asterisk = ASTERISK.replace("127.0.0.1", "pbx.example");
    assert_snapshot!(warnings(&format!("{asterisk}{LOCAL}{BOT}{ROUTE}")), @r#"
        arioso.toml:1:1: media.advertise: Asterisk "pbx" is on another machine and is told to send audio to 127.0.0.1, which is itself; set media.advertise (and media.listen) to an address of this machine that it can reach
        arioso.toml:3:7: asterisk.url: the secret is sent unencrypted to another machine; use an https:// address
    "#);
}

#[test]
fn a_secret_that_others_can_read_is_warned_about() {
    let asterisk = ASTERISK.replace("ari.password", "open.password");
    let text = format!("{asterisk}{LOCAL}{BOT}{ROUTE}");
    assert_eq!(parse(&text).unwrap().asterisks[0].password.expose(), "seen by all");
    assert_snapshot!(warnings(&text), @r#"arioso.toml:5:17: asterisk.password_file: every user of this machine can read /etc/arioso/open.password; take that away with: chmod o-r /etc/arioso/open.password"#);
}

#[test]
fn a_token_in_the_clear_is_warned_about() {
    let lab = "[engines.lab]\nkind = \"grpc\"\nurl = \"http://192.0.2.9:50051\"\ntoken_env = \"ARI_PASSWORD\"\n";
    assert_snapshot!(warnings(&format!("{ASTERISK}{LOCAL}{lab}{BOT}{ROUTE}")), @r#"arioso.toml:11:7: engines.lab.url: the secret is sent unencrypted to another machine; use an https:// address"#);
}

#[test]
fn sockets_on_loopback_hear_nothing_from_elsewhere_and_the_other_way_round() {
    let text = |listen: &str, advertise: &str| {
        format!("{ASTERISK}{LOCAL}{BOT}{ROUTE}[media]\nlisten = \"{listen}\"\nadvertise = \"{advertise}\"\n")
    };
    assert_snapshot!(warnings(&text("127.0.0.1", "192.0.2.1")), @r#"arioso.toml:19:13: media.advertise: Asterisk is told to send audio to 192.0.2.1, but the sockets are on 127.0.0.1 only, where it does not arrive; set media.listen to an address that receives it, or to "0.0.0.0" for all of them"#);
    assert_snapshot!(warnings(&text("192.0.2.1", "127.0.0.1")), @r#"arioso.toml:19:13: media.advertise: Asterisk is told to send audio to 127.0.0.1, but the sockets are on 192.0.2.1 only, where it does not arrive; set media.listen to an address that receives it, or to "0.0.0.0" for all of them"#);
    for (listen, advertise) in [("0.0.0.0", "127.0.0.1"), ("0.0.0.0", "192.0.2.1"), ("10.0.0.1", "192.0.2.1")] {
        assert_eq!(warnings(&text(listen, advertise)), "", "{listen} and {advertise}");
    }
}

#[test]
fn a_language_that_only_some_engines_know_is_warned_about() {
    let lab = "[engines.lab]\nkind = \"grpc\"\nurl = \"http://127.0.0.1:1\"\n";
    let bot = BOT.replace("\"en\"", "\"de-DE\"").replacen("[\"local\"]", "[\"lab\", \"local\"]", 1);
    let bot = bot.replace("synthesizer = [\"local\"]", "synthesizer = [\"lab\"]");
    assert_snapshot!(warnings(&format!("{ASTERISK}{LOCAL}{lab}{bot}{ROUTE}")), @r#"arioso.toml:13:12: bots.b.language: the built-in engines know English only: those in recognizer fail with "de-DE", and only the others can help"#);
}

// ---- what is refused ------------------------------------------------------------------------------------------------

#[test]
fn text_that_is_no_toml() {
    assert_snapshot!(errors("[media]\nlisten = 127.0.0.1\n"), @r#"arioso.toml:2:15: not valid TOML: invalid float, expected nothing; look for quotes and brackets that are missing here, and for keys that are given twice"#);
    assert_snapshot!(errors("[media\n"), @r#"arioso.toml:1:7: not valid TOML: unclosed table, expected `]`; look for quotes and brackets that are missing here, and for keys that are given twice"#);
    assert_snapshot!(errors("[media]\nports = \"1\"\nports = \"2\"\n"), @r#"arioso.toml:3:1: not valid TOML: duplicate key; look for quotes and brackets that are missing here, and for keys that are given twice"#);
}

#[test]
fn unknown_keys_are_all_reported_each_with_the_nearest_known_one() {
    assert_snapshot!(errors(&format!(
        "[medai]\n{}[bots.b.endpointing]\nsilnce = \"1s\"\nfoo = 1\n",
        with_bot("greetings = \"Hi\"\n"),
    )), @r#"
        arioso.toml:1:2: medai: unknown key; did you mean "media"?
        arioso.toml:9:1: bots.b.greetings: unknown key; did you mean "greeting"?
        arioso.toml:11:1: bots.b.endpointing.silnce: unknown key; did you mean "silence"?
        arioso.toml:12:1: bots.b.endpointing.foo: unknown key; known here: start_evidence, silence, pre_roll, max_utterance
    "#);
    assert_snapshot!(errors(&ASTERISK.replace("password_file", "pasword_file")), @r#"
        arioso.toml:1:1: asterisk.password_file: missing; add password_file = "…" with the name of a file that holds it, or password_env = "…" with the name of an environment variable
        arioso.toml:5:1: asterisk.pasword_file: unknown key; did you mean "password_file"?
    "#);
}

#[test]
fn missing_keys_are_all_reported_each_with_an_example() {
    assert_snapshot!(errors("[[asterisk]]\n[engines.lab]\nkind = \"grpc\"\n[bots.b]\n[[routes]]\n"), @r#"
        arioso.toml:1:1: asterisk.name: missing; add a line such as: name = "pbx"
        arioso.toml:1:1: asterisk.url: missing; add a line such as: url = "http://127.0.0.1:8088"
        arioso.toml:1:1: asterisk.username: missing; add a line such as: username = "bot"
        arioso.toml:1:1: asterisk.password_file: missing; add password_file = "…" with the name of a file that holds it, or password_env = "…" with the name of an environment variable
        arioso.toml:1:1: asterisk.app: missing; add a line such as: app = "arioso"
        arioso.toml:2:1: engines.lab.url: missing; add a line such as: url = "http://127.0.0.1:50051"
        arioso.toml:4:1: bots.b.language: missing; add a line such as: language = "en-US"
        arioso.toml:4:1: bots.b.recognizer: missing; add a line such as: recognizer = ["lab"]
        arioso.toml:4:1: bots.b.synthesizer: missing; add a line such as: synthesizer = ["lab"]
        arioso.toml:4:1: bots.b.dialog: missing; add a line such as: dialog = ["lab"]
        arioso.toml:5:1: routes.number: missing; add a line such as: number = "100"
        arioso.toml:5:1: routes.bot: missing; add a line such as: bot = "b"
    "#);
}

#[test]
fn values_of_another_kind() {
    assert_snapshot!(errors(&format!(
        "{ASTERISK}dead_man = 60\n[media]\nlisten = 1\nports = 31000\nmax_calls = \"500\"\ncpus = 0\n\
         [engines.local]\nkind = true\n[bots.b]\nlanguage = 1.5\nrecognizer = \"local\"\nendpointing = \"600ms\"\n\
         [bots.b.barge_in]\nenabled = \"no\"\n[routes]\nnumber = 100\n"
    )), @r#"
        arioso.toml:7:12: asterisk.dead_man: has a number where a duration is needed; write it like this: "600ms", "2s" or "1min"
        arioso.toml:9:10: media.listen: has a number where a text is needed; write it like this: "127.0.0.1"
        arioso.toml:10:9: media.ports: has a number where a text is needed; write it like this: "31000-31007"
        arioso.toml:11:13: media.max_calls: has a text where a whole number is needed; write it like this: 100
        arioso.toml:12:8: media.cpus: has a number where a list is needed; write it like this: [0, 1]
        arioso.toml:14:8: engines.local.kind: has true or false where a text is needed; write it like this: "local" or "grpc"
        arioso.toml:15:1: bots.b.synthesizer: missing; add a line such as: synthesizer = ["local"]
        arioso.toml:15:1: bots.b.dialog: missing; add a line such as: dialog = ["local"]
        arioso.toml:16:12: bots.b.language: has a fraction where a text is needed; write it like this: "en-US"
        arioso.toml:17:14: bots.b.recognizer: has a text where a list is needed; write it like this: ["local"]
        arioso.toml:18:15: bots.b.endpointing: has a text where a table is needed; write it like this: [bots.b.endpointing]
        arioso.toml:20:11: bots.b.barge_in.enabled: has a text where true or false is needed; write it like this: true
        arioso.toml:21:1: routes: has a table where a list of tables is needed; write it like this: [[routes]]
    "#);
}

#[test]
fn addresses_that_are_none() {
    let with_url = |url: &str| errors(&ASTERISK.replace("http://127.0.0.1:8088", url));
    assert_snapshot!(with_url("127.0.0.1"), @r#"arioso.toml:3:7: asterisk.url: "127.0.0.1" is not an address; write one such as "http://127.0.0.1:8088""#);
    assert_snapshot!(with_url("ws://127.0.0.1:8088"), @r#"arioso.toml:3:7: asterisk.url: "ws://127.0.0.1:8088" begins with another scheme; write it with http:// or https://"#);
    assert_snapshot!(with_url("http://bot:secret@127.0.0.1"), @r#"arioso.toml:3:7: asterisk.url: has more than a scheme, a host, a port and a path; take out what stands before '@' or follows '?' or '#'"#);
    assert_snapshot!(with_url("http://127.0.0.1:99999"), @r#"arioso.toml:3:7: asterisk.url: "http://127.0.0.1:99999" is not an address; write one such as "http://127.0.0.1:8088""#);
    assert_snapshot!(errors("[media]\nlisten = \"localhost\"\n"), @r#"arioso.toml:2:10: media.listen: "localhost" is not an IP address; write one such as "127.0.0.1" or "::1""#);
    assert_snapshot!(errors("[media]\nlisten = \"0.0.0.0\"\n"), @r#"arioso.toml:1:1: media.advertise: missing; add a line such as: advertise = "192.0.2.10""#);
    assert_snapshot!(errors("[media]\nlisten = \"0.0.0.0\"\nadvertise = \"0.0.0.0\"\n"), @r#"arioso.toml:3:13: media.advertise: "0.0.0.0" is no address that audio can be sent to; write the one under which Asterisk reaches this machine"#);
    assert_snapshot!(errors("[media]\nlisten = \"127.0.0.1\"\nadvertise = \"::1\"\n"), @r#"arioso.toml:3:13: media.advertise: "::1" is of another IP version than media.listen; write both as IPv4 or both as IPv6"#);
}

#[test]
fn values_out_of_range() {
    assert_snapshot!(errors(&format!(
        "{ASTERISK}dead_man = \"5s\"\n[media]\nports = \"80-90\"\nmax_calls = 0\n[engines.local]\nkind = \"local\"\n\
         threads = -1\n{BOT}no_input = \"10 s\"\n[bots.b.endpointing]\nsilence = \"50ms\"\npre_roll = \"-1s\"\n\
         [bots.b.watchdogs]\nfirst_text = \"99999999999999999999s\"\n"
    )), @r#"
        arioso.toml:7:12: asterisk.dead_man: 5s is out of range; it may be from 10s to 60min
        arioso.toml:9:9: media.ports: "80-90" is not a range of ports; write the first and the last, from 1024 to 65535: "31000-31007"
        arioso.toml:10:13: media.max_calls: 0 is out of range; it may be from 1 to 10000
        arioso.toml:13:11: engines.local.threads: -1 is out of range; it may be from 1 to 256
        arioso.toml:19:12: bots.b.no_input: "10 s" is not a duration; write a whole number and its unit: "600ms", "2s" or "1min"
        arioso.toml:21:11: bots.b.endpointing.silence: 50ms is out of range; it may be from 100ms to 5s
        arioso.toml:22:12: bots.b.endpointing.pre_roll: "-1s" is not a duration; write a whole number and its unit: "600ms", "2s" or "1min"
        arioso.toml:24:14: bots.b.watchdogs.first_text: "99999999999999999999s" is not a duration; write a whole number and its unit: "600ms", "2s" or "1min"
    "#);
    assert_snapshot!(errors("[media]\nports = \"31007-31000\"\n"), @r#"arioso.toml:2:9: media.ports: "31007-31000" is not a range of ports; write the first and the last, from 1024 to 65535: "31000-31007""#);
}

#[test]
fn names_that_do_not_exist() {
    assert_snapshot!(errors(&format!("{LOCAL}{}{}", BOT.replace("[\"local\"]", "[\"locla\"]"), ROUTE.replace("\"b\"", "\"q\""))), @r#"
        arioso.toml:5:15: bots.b.recognizer: there is no engine called "locla"; did you mean "local"?
        arioso.toml:6:16: bots.b.synthesizer: there is no engine called "locla"; did you mean "local"?
        arioso.toml:7:11: bots.b.dialog: there is no engine called "locla"; did you mean "local"?
        arioso.toml:10:7: routes.bot: there is no bot called "q"; did you mean "b"?
    "#);
    assert_snapshot!(errors(BOT), @r#"
        arioso.toml:3:15: bots.b.recognizer: there is no engine called "local"; there is none at all
        arioso.toml:4:16: bots.b.synthesizer: there is no engine called "local"; there is none at all
        arioso.toml:5:11: bots.b.dialog: there is no engine called "local"; there is none at all
    "#);
}

#[test]
fn names_that_are_none() {
    assert_snapshot!(errors(&format!(
        "{}[engines.\"my engine\"]\nkind = \"local\"\n[bots.\"\"]\nlanguage = \"english\"\n[[routes]]\nnumber = \"1 0\"\n",
        ASTERISK.replace("\"arioso\"", "\"a,b\"").replace("\"bot\"", "\"bot:x\"")
    )), @r#"
        arioso.toml:4:12: asterisk.username: "bot:x" has a colon, which a user name cannot have; write only the user name
        arioso.toml:6:7: asterisk.app: "a,b" is no name here; names have 1 to 73 letters, digits, '-', '_' and '.', without spaces
        arioso.toml:7:10: engines: "my engine" is no name here; names have 1 to 64 letters, digits, '-', '_' and '.', without spaces
        arioso.toml:9:1: bots..recognizer: missing; add a line such as: recognizer = ["local"]
        arioso.toml:9:1: bots..synthesizer: missing; add a line such as: synthesizer = ["local"]
        arioso.toml:9:1: bots..dialog: missing; add a line such as: dialog = ["local"]
        arioso.toml:9:7: bots: "" is no name here; names have 1 to 64 letters, digits, '-', '_' and '.', without spaces
        arioso.toml:10:12: bots..language: "english" is not a language tag; write one such as "en-US" (BCP 47)
        arioso.toml:11:1: routes.bot: missing; add a line such as: bot = "reception"
        arioso.toml:12:10: routes.number: "1 0" is no number; write up to 79 characters without spaces and commas, or "*" for all numbers
    "#);
}

#[test]
fn lists_of_engines_are_not_empty_and_have_no_doubles() {
    let bot = BOT.replacen("[\"local\"]", "[]", 1).replacen("[\"local\"]", "[\"local\", \"local\"]", 1);
    assert_snapshot!(errors(&format!("{LOCAL}{bot}")), @r#"
        arioso.toml:5:14: bots.b.recognizer: "[]" is an empty list; name at least one engine
        arioso.toml:6:25: bots.b.synthesizer: engine "local" stands here a second time; the first is at arioso.toml:6:16: keep one of them
    "#);
}

#[test]
fn what_may_be_there_once_is_there_twice() {
    let second = ASTERISK.replace("\"pbx\"", "\"other\"");
    assert_snapshot!(errors(&format!("{ASTERISK}{ASTERISK}")), @r#"arioso.toml:8:8: asterisk.name: Asterisk "pbx" stands here a second time; the first is at arioso.toml:1:1: keep one of them"#);
    assert_snapshot!(errors(&format!("{ASTERISK}{second}")), @r#"arioso.toml:12:7: asterisk.app: application "arioso" at http://127.0.0.1:8088 stands here a second time; the first is at arioso.toml:1:1: keep one of them"#);
    assert_snapshot!(errors(&with_bot(&format!("{ROUTE}{ROUTE}"))), @r#"arioso.toml:12:10: routes.number: the route of number "*" stands here a second time; the first is at arioso.toml:8:1: keep one of them"#);
}

#[test]
fn transports_and_engines_that_are_not_there() {
    assert_snapshot!(errors(&format!("{ASTERISK}transport = \"carrier pigeon\"\n")), @"");
    assert_snapshot!(errors(&format!("{ASTERISK}codec = \"g729\"\n")), @"");
    assert_snapshot!(errors("[engines.cloud]\nkind = \"cloud\"\n"), @r#"arioso.toml:2:8: engines.cloud.kind: "cloud" is none of the possible values; write "local" or "grpc""#);
}

#[test]
fn a_codec_that_a_transport_cannot_carry_is_refused_with_the_reason() {
    let with = |transport: &str, codec: &str| {
        let text = format!("{ASTERISK}transport = \"{transport}\"\ncodec = \"{codec}\"\n");
        parse(&text).map(|config| config.asterisks[0].transport.clone()).map_err(|error| error.to_string())
    };
    assert_snapshot!(with("rtp", "opus").unwrap_err(), @"");
    assert_snapshot!(with("audiosocket", "ulaw").unwrap_err(), @"");
    let carried = |transport: &str| {
        let all = ["ulaw", "alaw", "g722", "slin", "slin16", "slin24", "slin48", "opus"];
        all.into_iter().filter(|codec| with(transport, codec).is_ok()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(carried("rtp"), "ulaw alaw g722 slin slin16");
    assert_eq!(carried("audiosocket"), "slin slin16 slin24 slin48");
    assert_eq!(carried("websocket"), "ulaw alaw g722 slin slin16 slin24 slin48 opus");
    for (transport, codec) in [("rtp", "slin16"), ("audiosocket", "slin24"), ("websocket", "opus")] {
        assert_eq!(with(transport, codec).unwrap().codec().asterisk_format(), codec);
    }
    let MediaTransport::Rtp(wideband) = with("rtp", "slin16").unwrap() else { panic!() };
    assert_eq!((wideband.receive().asterisk_format(), wideband.send().asterisk_format()), ("slin16", "g722"));
    assert_eq!(wideband.receive().rate(), wideband.send().rate());
}

#[test]
fn every_transport_has_a_codec_of_its_own_unless_told_otherwise() {
    let with = |lines: &str| parse(&format!("{ASTERISK}{lines}")).unwrap().asterisks[0].transport.to_string();
    assert_eq!(with(""), "rtp with ulaw");
    assert_eq!(with("transport = \"audiosocket\"\n"), "audiosocket with slin");
    assert_eq!(with("transport = \"websocket\"\n"), "websocket (dial) with ulaw");
}

#[test]
fn what_is_for_websockets_only_says_so() {
    let with = |lines: &str| errors(&format!("{ASTERISK}{lines}"));
    assert_snapshot!(with("websocket = \"listen\"\nwebsocket_client = \"arioso\"\n"), @"");
    let websocket = |lines: &str| with(&format!("transport = \"websocket\"\n{lines}"));
    assert_snapshot!(websocket("websocket = \"listen\"\n"), @"");
    assert_snapshot!(websocket("websocket_client = \"arioso\"\n"), @"");
    assert_snapshot!(websocket("websocket = \"both\"\nwebsocket_client = \"a b\"\n"), @"");
    let encrypted = ASTERISK.replace("http://", "https://");
    assert_snapshot!(errors(&format!("{encrypted}transport = \"websocket\"\n")), @"");
}

#[test]
fn the_law_has_moved_to_the_asterisk() {
    assert_snapshot!(errors("[media]\nlaw = \"alaw\"\n"), @"");
}

#[test]
fn ports_for_connections_and_who_may_use_them() {
    let with = |lines: &str| errors(&format!("[media]\n{lines}"));
    assert_snapshot!(with("websocket_port = 9092\n"), @"");
    assert_snapshot!(with("audiosocket_port = 80\n"), @"");
    assert_snapshot!(with("websocket_username = \"pbx\"\n"), @"");
    assert_snapshot!(with("websocket_password_env = \"ARI_PASSWORD\"\n"), @"");
    assert_snapshot!(with("websocket_password = \"hunter2\"\n"), @"");
}

#[test]
fn processors_of_the_workers() {
    let with = |lines: &str| errors(&format!("[media]\n{lines}"));
    assert_snapshot!(with("cpus = []\n"), @"");
    assert_snapshot!(with("cpus = [1, 1]\n"), @"");
    assert_snapshot!(with("ports = \"31000-31001\"\ncpus = [0, 1, 2]\n"), @"");
    assert_snapshot!(with("cpus = [-1]\n"), @"");
}

const UUID: &str = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";

#[test]
fn a_route_has_a_number_or_a_uuid() {
    let route = format!("[[routes]]\naudiosocket = \"{UUID}\"\nbot = \"b\"\n");
    let config = parse(&with_bot(&format!("{ROUTE}{route}"))).unwrap();
    let routes: Vec<_> = config.audiosocket_routes().collect();
    let [(id, bot)] = routes.as_slice() else { panic!("{routes:?}") };
    assert_eq!((id.bytes()[..4].to_vec(), bot.as_str()), (vec![0xf8, 0x1d, 0x4f, 0xae], "b"));
    assert!(!format!("{config:?} {id}").contains("4fae"), "the UUID is a secret");
    assert!(config.uses_audiosocket());

    let upper = route.replace(UUID, &UUID.to_uppercase());
    let both = route.replace("bot", "number = \"100\"\nbot");
    let bad = |uuid: &str| route.replace(UUID, uuid);
    assert_snapshot!(errors(&with_bot(&format!("{route}{upper}"))), @"");
    assert_snapshot!(errors(&with_bot(&both)), @"");
    assert_snapshot!(errors(&with_bot(&bad("00000000-0000-0000-0000-000000000000"))), @"");
    for wrong in [
        "f81d4fae7dec41d0a76500a0c91e6bf6",
        "+81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        "x81d4fae-7dec-41d0-a765-00a0c91e6bf6",
    ] {
        assert!(parse(&with_bot(&bad(wrong))).is_err(), "{wrong}");
    }
}

#[test]
fn an_echo_bot_has_nothing_else() {
    let config = parse("[bots.echo]\necho = true\n").unwrap();
    assert_eq!(config.bots[&BotName::new("echo").unwrap()], Bot::Echo);
    assert_snapshot!(errors("[bots.echo]\necho = true\nlanguage = \"en\"\ngreetings = \"Hi\"\n"), @"");
    assert!(matches!(parse(&with_bot("echo = false\n")).unwrap().bots.values().next(), Some(Bot::Conversation(_))));
}

#[test]
fn listening_beyond_loopback_without_what_authenticates_is_warned_about() {
    let media = |lines: &str| format!("{LOCAL}{BOT}{ROUTE}[media]\nlisten = \"192.0.2.1\"\n{lines}");
    let listens = "transport = \"websocket\"\nwebsocket = \"listen\"\nwebsocket_client = \"arioso\"\n";
    assert_snapshot!(warnings(&format!("{ASTERISK}{listens}{}", media(""))), @"");
    let login = "websocket_username = \"pbx\"\nwebsocket_password_env = \"ARI_PASSWORD\"\n";
    assert_eq!(warnings(&format!("{ASTERISK}{listens}{}", media(login))), "");
    let route = format!("[[routes]]\naudiosocket = \"{UUID}\"\nbot = \"b\"\n");
    assert_snapshot!(warnings(&format!("{ASTERISK}{}{route}", media(""))), @"");
    let elsewhere = ASTERISK.replace("http://127.0.0.1:8088", "https://pbx.example");
    assert_snapshot!(warnings(&format!("{elsewhere}{listens}{LOCAL}{BOT}{ROUTE}")), @"");
    let dials = "transport = \"websocket\"\n";
    assert_eq!(warnings(&format!("{ASTERISK}{dials}{}", media(""))), "", "nobody connects to us");
}

#[test]
fn secrets_come_from_exactly_one_place_and_are_never_shown() {
    let with = |lines: &str| errors(&ASTERISK.replace("password_file = \"ari.password\"", lines));
    assert_snapshot!(with(""), @r#"arioso.toml:1:1: asterisk.password_file: missing; add password_file = "…" with the name of a file that holds it, or password_env = "…" with the name of an environment variable"#);
    assert_snapshot!(with("password_file = \"ari.password\"\npassword_env = \"ARI_PASSWORD\""), @r#"arioso.toml:6:16: asterisk.password_env: password_file and password_env are both given; keep one of them"#);
    assert_snapshot!(with("password = \"hunter2\""), @r#"arioso.toml:5:12: asterisk.password: secrets do not belong in this file; put it into a file of its own and name that with password_file, or into an environment variable and name that with password_env"#);
    assert_snapshot!(with("password_file = \"no.password\""), @r#"arioso.toml:5:17: asterisk.password_file: cannot read /etc/arioso/no.password: there is no such file; relative paths begin at the folder of this file"#);
    assert_snapshot!(with("password_file = \"two-lines.password\""), @r#"arioso.toml:5:17: asterisk.password_file: the secret in /etc/arioso/two-lines.password has more than one line; leave only the secret there"#);
    assert_snapshot!(with("password_env = \"OTHER_PASSWORD\""), @r#"arioso.toml:5:16: asterisk.password_env: the environment variable OTHER_PASSWORD is not set; set it before starting, or name a file instead"#);
    assert_snapshot!(with("password_env = \"EMPTY_PASSWORD\""), @r#"arioso.toml:5:16: asterisk.password_env: the secret in the environment variable EMPTY_PASSWORD is empty; write it there"#);
    assert_snapshot!(with("password_env = \"hunter2\""), @r#"arioso.toml:5:16: asterisk.password_env: the environment variable named here is not set; set it before starting, or name a file instead"#);
    assert_snapshot!(with("password_env = \"hunter-2\""), @r#"arioso.toml:5:16: asterisk.password_env: is not the name of an environment variable; names have letters, digits and underscores only"#);
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(hidden)");
}

#[test]
fn a_language_that_no_engine_of_a_list_knows() {
    assert_snapshot!(errors(&format!("{LOCAL}{}", BOT.replace("\"en\"", "\"de-DE\""))), @r#"
        arioso.toml:4:12: bots.b.language: "de-DE" is not known to the built-in engines, which know English only, and recognizer lists no others; list an engine of kind "grpc" there, or write "en-US"
        arioso.toml:4:12: bots.b.language: "de-DE" is not known to the built-in engines, which know English only, and synthesizer lists no others; list an engine of kind "grpc" there, or write "en-US"
    "#);
    for english in ["en", "en-GB", "EN-us"] {
        assert!(parse(&format!("{LOCAL}{}", BOT.replace("\"en\"", &format!("\"{english}\"")))).is_ok(), "{english}");
    }
}

#[test]
fn an_address_of_asterisk_that_every_request_would_miss() {
    let with = |url: &str| errors(&ASTERISK.replace("http://127.0.0.1:8088", url));
    assert_snapshot!(with("http://127.0.0.1:8088/ari"), @r#"arioso.toml:3:7: asterisk.url: "http://127.0.0.1:8088/ari" ends in /ari, which is added; leave it out"#);
    assert_snapshot!(with("http://127.0.0.1:8088/pbx/ari/"), @r#"arioso.toml:3:7: asterisk.url: "http://127.0.0.1:8088/pbx/ari/" ends in /ari, which is added; leave it out"#);
    assert_snapshot!(with("http://127.0.0.256:8088"), @r#"arioso.toml:3:7: asterisk.url: "http://127.0.0.256:8088" is not an address; write one such as "http://127.0.0.1:8088""#);
    assert!(parse(&ASTERISK.replace(":8088", ":8088/pbx/")).is_ok());
}

#[test]
fn a_certificate_for_an_address_without_encryption() {
    assert_snapshot!(errors("[engines.lab]\nkind = \"grpc\"\nurl = \"http://127.0.0.1:1\"\nca_file = \"ca.pem\"\n"), @r#"arioso.toml:4:11: engines.lab.ca_file: "http://127.0.0.1:1" is not encrypted, so there is nothing to check with a certificate; write https://, or take ca_file out"#);
}

#[test]
fn faults_in_a_flow_file_have_their_place_in_that_file() {
    let with = |file: &str| errors(&format!("{LOCAL}flow = \"{file}\"\n"));
    assert_snapshot!(with("missing.toml"), @r#"arioso.toml:3:8: engines.local.flow: cannot read /etc/arioso/missing.toml: there is no such file; relative paths begin at the folder of this file"#);
    assert_snapshot!(with("wrong.toml"), @r#"
        /etc/arioso/wrong.toml:1:1: give_up: missing; add a line such as: give_up = "Goodbye."
        /etc/arioso/wrong.toml:1:11: opening: prompt "Hi {name}" has braces other than {heard}: take them out
        /etc/arioso/wrong.toml:2:1: giveup: unknown key; did you mean "give_up"?
        /etc/arioso/wrong.toml:6:21: intents.phrases: phrase "!" has no letters or digits: write what a caller says
        /etc/arioso/wrong.toml:7:7: intents.key: "12" is no key of a telephone: write one of 0 to 9, *, # or A to D
        /etc/arioso/wrong.toml:8:10: intents.answer: "" is blank; write something, or take the line out
        /etc/arioso/wrong.toml:9:8: intents.then: "transfer" is none of the possible values; write "listen" or "hang_up" or "continue"
    "#);
    assert_snapshot!(with("twice.toml"), @r#"
        /etc/arioso/twice.toml:6:1: intents: intents `a` and `b` both have key 1: give one of them another key
        /etc/arioso/twice.toml:10:10: intents.target: missing; add a line such as: then = "continue"
    "#);
    assert_snapshot!(parse_flow("give_up = \"Bye.\"\n", "empty.toml").unwrap_err(), @r#"empty.toml:1:1: has no intent: add at least one, with phrases and an answer"#);
}

#[test]
fn the_built_in_reception_understands_what_callers_say() {
    for (said, answer) in [
        ("Sales, please.", "I understood: Sales, please. I would put you through to our sales team now."),
        ("I want to buy a phone.", "I understood: I want to buy a phone. I would put you through to our sales team"),
        ("Can you help? My telephone is broken.", "I understood: Can you help? My telephone is broken. I would put"),
        ("The help desk", "I understood: The help desk. I would put you through to our support team now."),
        ("What are your opening hours?", "I understood: What are your opening hours. We are open from Monday"),
        ("When do you close today", "I understood: When do you close today. We are open from Monday"),
        ("No, thank you. Bye-bye!", "Thank you for calling. Goodbye."),
        ("Good bye.", "Thank you for calling. Goodbye."),
        ("No problem.", "I heard: No problem. I can help you with sales, support, or our opening hours."),
        ("I would like a pizza", "I heard: I would like a pizza. I can help you with sales, support, or our opening"),
    ] {
        let turn = DialogCommand::UserTurn { utterance: UtteranceIndex(0), text: said.to_owned(), reply: ReplyId(1) };
        let events = Conversation::new(reception()).step(&turn);
        let Some(DialogEvent::Text { delta, .. }) = events.first() else { panic!("\"{said}\": {events:?}") };
        assert!(delta.starts_with(answer), "\"{said}\" was answered with \"{delta}\"");
    }
}

// ---- documentation --------------------------------------------------------------------------------------------------

/// The TOML blocks of the documentation.
fn documented() -> Vec<&'static str> {
    let text = include_str!("../../docs/configuration.md");
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_documented_example_is_the_example() {
    assert_eq!(documented()[0], EXAMPLE);
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let minimal = parse(&with_bot(&format!("{ASTERISK}{ROUTE}"))).unwrap();
    let written = parse(documented()[1]).unwrap();
    assert_eq!(written.warnings, []);
    assert_eq!(written.asterisks, minimal.asterisks);
    assert_eq!(written.media, minimal.media);
    assert_eq!(written.engines, minimal.engines);
    let bots = |config: &Config| -> Vec<_> {
        let bots = config.bots.values().filter_map(Bot::conversation).cloned();
        bots.map(|bot| ConversationBot { language: english(), ..bot }).collect()
    };
    let (written, minimal) = (bots(&written), bots(&minimal));
    assert_eq!(written, minimal);
}

fn english() -> Language {
    Language::new("en").unwrap()
}

// ---- files ----------------------------------------------------------------------------------------------------------

#[test]
fn a_configuration_is_read_with_the_files_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ari.password"), "from a real file\n").unwrap();
    let path = folder.path().join("arioso.toml");
    std::fs::write(&path, EXAMPLE).unwrap();
    assert_eq!(Config::load(&path).unwrap().asterisks[0].password.expose(), "from a real file");
}

#[test]
fn a_configuration_that_is_not_there_or_no_text() {
    assert_snapshot!(Config::load(Path::new("no/such.toml")).unwrap_err(), @r#"cannot read the configuration no/such.toml: there is no such file; name it with --config, or start from the example in docs/configuration.md"#);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("arioso.toml");
    std::fs::write(&path, [0xFF, 0xFE]).unwrap();
    let text = Config::load(&path).unwrap_err().to_string();
    assert_eq!(
        text,
        format!("cannot read the configuration {}: it is not UTF-8 text; save it as UTF-8", path.display())
    );
    let error = Config::load(folder.path()).unwrap_err();
    assert!(error.to_string().ends_with(": it is a folder; name a file, such as the arioso.toml in it"), "{error}");
}
