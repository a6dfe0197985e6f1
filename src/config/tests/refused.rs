//! What is said about a configuration that is wrong.

use super::*;

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
    assert_snapshot!(errors(&format!("{ASTERISK}transport = \"carrier pigeon\"\n")), @r#"arioso.toml:7:13: asterisk.transport: "carrier pigeon" is none of the possible values; write "rtp" or "audiosocket" or "websocket""#);
    assert_snapshot!(errors(&format!("{ASTERISK}codec = \"g729\"\n")), @r#"arioso.toml:7:9: asterisk.codec: "g729" is none of the possible values; write "ulaw" or "alaw" or "g722" or "slin" or "slin16" or "slin24" or "slin48" or "opus""#);
    assert_snapshot!(errors("[engines.cloud]\nkind = \"cloud\"\n"), @r#"arioso.toml:2:8: engines.cloud.kind: "cloud" is none of the possible values; write "local" or "grpc""#);
}

#[test]
fn a_codec_that_a_transport_cannot_carry_is_refused_with_the_reason() {
    let with = |transport: &str, codec: &str| {
        let text = format!("{ASTERISK}transport = \"{transport}\"\ncodec = \"{codec}\"\n");
        parse(&text).map(|config| config.asterisks[0].transport.clone()).map_err(|error| error.to_string())
    };
    assert_snapshot!(with("rtp", "opus").unwrap_err(), @r#"arioso.toml:8:9: asterisk.codec: "opus" cannot be carried by RTP: Asterisk accepts only static payload types on an RTP leg; write "ulaw", "alaw", "g722", "slin" or "slin16""#);
    assert_snapshot!(with("audiosocket", "ulaw").unwrap_err(), @r#"arioso.toml:8:9: asterisk.codec: "ulaw" cannot be carried by AudioSocket: it has linear audio only, and other formats arrive tagged as such; write "slin", "slin16", "slin24" or "slin48""#);
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
    assert_snapshot!(with("websocket = \"listen\"\nwebsocket_client = \"arioso\"\n"), @r#"
        arioso.toml:7:13: asterisk.websocket: is only for transport = "websocket"; take it out, or write that
        arioso.toml:8:20: asterisk.websocket_client: is only for transport = "websocket"; take it out, or write that
    "#);
    let websocket = |lines: &str| with(&format!("transport = \"websocket\"\n{lines}"));
    assert_snapshot!(websocket("websocket = \"listen\"\n"), @r#"arioso.toml:1:1: asterisk.websocket_client: missing; add a line such as: websocket_client = "arioso" # a section of websocket_client.conf"#);
    assert_snapshot!(websocket("websocket_client = \"arioso\"\n"), @r#"arioso.toml:8:20: asterisk.websocket_client: is only for websocket = "listen", where Asterisk connects to us; take it out, or write that"#);
    assert_snapshot!(websocket("websocket = \"both\"\nwebsocket_client = \"a b\"\n"), @r#"
        arioso.toml:8:13: asterisk.websocket: "both" is none of the possible values; write "dial" or "listen"
        arioso.toml:9:20: asterisk.websocket_client: "a b" is no name here; names have 1 to 64 letters, digits, '-', '_' and '.', without spaces
    "#);
    let encrypted = ASTERISK.replace("http://", "https://");
    assert_snapshot!(errors(&format!("{encrypted}transport = \"websocket\"\n")), @r#"arioso.toml:3:7: asterisk.url: "https://127.0.0.1:8088" is encrypted, and we cannot open an encrypted WebSocket for audio; write http://, or websocket = "listen", so that Asterisk connects to us"#);
}

#[test]
fn the_law_has_moved_to_the_asterisk() {
    assert_snapshot!(errors("[media]\nlaw = \"alaw\"\n"), @r#"arioso.toml:2:7: media.law: is no key here any more; write codec = "ulaw" or codec = "alaw" in [[asterisk]]"#);
}

#[test]
fn ports_for_connections_and_who_may_use_them() {
    let with = |lines: &str| errors(&format!("[media]\n{lines}"));
    assert_snapshot!(with("websocket_port = 9092\n"), @r#"arioso.toml:2:18: media.websocket_port: "9092" is the port of AudioSocket and of WebSocket at once; give each its own"#);
    assert_snapshot!(with("audiosocket_port = 80\n"), @r#"arioso.toml:2:20: media.audiosocket_port: 80 is out of range; it may be from 1024 to 65535"#);
    assert_snapshot!(with("websocket_username = \"pbx\"\n"), @r#"arioso.toml:1:1: media.websocket_password_file: missing; add websocket_password_file = "…" with the name of a file that holds it, or websocket_password_env = "…" with the name of an environment variable"#);
    assert_snapshot!(with("websocket_password_env = \"ARI_PASSWORD\"\n"), @r#"arioso.toml:1:1: media.websocket_username: missing; add a line such as: websocket_username = "asterisk""#);
    assert_snapshot!(with("websocket_password = \"hunter2\"\n"), @r#"arioso.toml:2:22: media.websocket_password: secrets do not belong in this file; put it into a file of its own and name that with websocket_password_file, or into an environment variable and name that with websocket_password_env"#);
}

#[test]
fn processors_of_the_workers() {
    let with = |lines: &str| errors(&format!("[media]\n{lines}"));
    assert_snapshot!(with("cpus = []\n"), @r#"arioso.toml:2:8: media.cpus: "[]" is an empty list; name processors, or take the line out"#);
    assert_snapshot!(with("cpus = [1, 1]\n"), @r#"arioso.toml:2:12: media.cpus: "1" stands here twice; each processor has one worker"#);
    assert_snapshot!(with("ports = \"31000-31001\"\ncpus = [0, 1, 2]\n"), @r#"arioso.toml:3:8: media.cpus: "[0, 1, 2]" are more processors than there are media.ports; each worker needs a port"#);
    assert_snapshot!(with("cpus = [-1]\n"), @r#"arioso.toml:2:9: media.cpus: -1 is out of range; it may be from 0 to 8191"#);
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
    assert_snapshot!(errors(&with_bot(&format!("{route}{upper}"))), @r#"arioso.toml:12:15: routes.audiosocket: the route of UUID f81d… stands here a second time; the first is at arioso.toml:8:1: keep one of them"#);
    assert_snapshot!(errors(&with_bot(&both)), @r#"arioso.toml:10:10: routes.number: and audiosocket are both given; a route has one of them: write two routes"#);
    assert_snapshot!(errors(&with_bot(&bad("00000000-0000-0000-0000-000000000000"))), @r#"arioso.toml:9:15: routes.audiosocket: is not a UUID; write one that nobody can guess, made with: uuidgen --random"#);
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
    assert_snapshot!(errors("[bots.echo]\necho = true\nlanguage = \"en\"\ngreetings = \"Hi\"\n"), @r#"
        arioso.toml:3:12: bots.echo.language: means nothing to a bot that only echoes; take it out, or take out echo
        arioso.toml:4:1: bots.echo.greetings: unknown key; known here: echo
    "#);
    assert!(matches!(parse(&with_bot("echo = false\n")).unwrap().bots.values().next(), Some(Bot::Conversation(_))));
}

#[test]
fn listening_beyond_loopback_without_what_authenticates_is_warned_about() {
    let media = |lines: &str| format!("{LOCAL}{BOT}{ROUTE}[media]\nlisten = \"192.0.2.1\"\n{lines}");
    let listens = "transport = \"websocket\"\nwebsocket = \"listen\"\nwebsocket_client = \"arioso\"\n";
    assert_snapshot!(warnings(&format!("{ASTERISK}{listens}{}", media(""))), @r#"arioso.toml:20:1: media.websocket_username: nothing but the random id of a channel protects the WebSocket port at 192.0.2.1; set media.websocket_username and media.websocket_password_file to what its websocket_client.conf says"#);
    let login = "websocket_username = \"pbx\"\nwebsocket_password_env = \"ARI_PASSWORD\"\n";
    assert_eq!(warnings(&format!("{ASTERISK}{listens}{}", media(login))), "");
    let route = format!("[[routes]]\naudiosocket = \"{UUID}\"\nbot = \"b\"\n");
    assert_snapshot!(warnings(&format!("{ASTERISK}{}{route}", media(""))), @r#"arioso.toml:20:15: routes.audiosocket: the UUID is the only secret of this route, and it travels unencrypted to 192.0.2.1: let a firewall pass nobody but Asterisk to the AudioSocket port"#);
    let elsewhere = ASTERISK.replace("http://127.0.0.1:8088", "https://pbx.example");
    assert_snapshot!(warnings(&format!("{elsewhere}{listens}{LOCAL}{BOT}{ROUTE}")), @r#"arioso.toml:1:1: media.listen: Asterisk "pbx" is on another machine and is to connect to us, but the sockets are on 127.0.0.1 only, where it does not arrive; set media.listen to an address of this machine that it can reach"#);
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
fn audio_that_no_engine_is_given() {
    let with =
        |audio: &str| format!("[engines.lab]\nkind = \"grpc\"\nurl = \"http://127.0.0.1:1\"\naudio = \"{audio}\"\n");
    assert_snapshot!(errors(&with("opus/48000")), @r#"arioso.toml:4:9: engines.lab.audio: "opus/48000" is none of the possible values; write "auto" or "linear16/8000" or "linear16/16000" or "linear16/24000" or "linear16/48000" or "mulaw/8000" or "alaw/8000""#);
    assert!(parse(&with("auto")).is_ok());
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
