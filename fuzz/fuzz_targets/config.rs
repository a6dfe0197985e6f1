//! Any text as a configuration and as a flow file: it is read, or refused with places that exist, and a secret does not
//! show.
#![no_main]

use arioso::config::{Bot, Config, ConfigError, Entrance, FoundFile, Surroundings, parse_flow};
use libfuzzer_sys::fuzz_target;
use std::io;
use std::path::Path;

const SECRET: &str = "correct horse battery staple";

/// Every variable is set, every file is there: a secret, or a flow if it is called so.
struct Plenty<'a> {
    flow: &'a str,
}

impl Surroundings for Plenty<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (!name.starts_with("NO")).then(|| SECRET.to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<FoundFile> {
        let text = if path.extension().is_some_and(|end| end == "toml") { self.flow } else { SECRET };
        Ok(FoundFile { text: text.to_owned(), readable_by_all: text.len().is_multiple_of(2) })
    }
}

fuzz_target!(|text: &str| {
    if let Err(error) = parse_flow(text, "flow.toml") {
        check_places(&error, text);
    }
    let parsed = Config::parse(text, "arioso.toml", Path::new("/etc/arioso"), &Plenty { flow: text });
    assert!(!format!("{parsed:?}").contains(SECRET) || text.contains(SECRET));
    match parsed {
        Ok(config) => {
            for route in &config.routes {
                assert!(config.bots.contains_key(&route.bot));
                if let Entrance::Number(number) = &route.entrance {
                    assert!(config.route(&number.to_string()).is_some());
                }
            }
            for bot in config.bots.values().filter_map(Bot::conversation) {
                for engines in [&bot.recognizer, &bot.synthesizer, &bot.dialog] {
                    assert!(!engines.is_empty() && engines.iter().all(|name| config.engines.contains_key(name)));
                }
            }
        }
        Err(error) => {
            assert!(!error.to_string().contains(SECRET) || text.contains(SECRET));
            check_places(&error, text);
        }
    }
});

fn check_places(error: &ConfigError, text: &str) {
    let ConfigError::Invalid(problems) = error else { panic!("no file was read: {error}") };
    assert!(!problems.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        let line = lines.get(problem.place.line - 1).expect("the line exists");
        assert!(problem.place.column <= line.chars().count() + 1, "{problem}");
    }
}
