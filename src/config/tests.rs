//! What a configuration is read as; what is said about one that is wrong is in `refused`.

mod refused;

use super::*;
use crate::audio::{PcmFormat, SampleRate};
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
         ca_file = \"/ca.pem\"\naudio = \"linear16/16000\"\n\
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
    assert_eq!(far.audio, Some(PcmFormat::Linear16(SampleRate::HZ_16000)));

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
        arioso.toml:1:1: no [[asterisk]] is configured; `arioso serve` needs one, or a route with a UUID for AudioSocket
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
