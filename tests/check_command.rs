//! `arioso check` as a user and as a program sees it: what is printed where, and the exit code.

// A test may panic where it goes wrong.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const GOOD: &str = include_str!("../examples/arioso.toml");

fn arioso(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arioso"));
    command.args(arguments).current_dir(folder).env_remove("ARIOSO_LOG").env_remove("ARIOSO_CONFIG");
    command.output().unwrap()
}

fn folder_with(configuration: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("arioso.toml"), configuration).unwrap();
    let password = folder.path().join("ari.password");
    fs::write(&password, "correct horse\n").unwrap();
    #[cfg(unix)]
    fs::set_permissions(&password, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    folder
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_configuration_in_order_is_summed_up() {
    let folder = folder_with(GOOD);
    let output = arioso(folder.path(), &["check"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    insta::assert_snapshot!(text(&output.stdout), @r#"
        arioso.toml is in order.
          asterisk  pbx              http://127.0.0.1:8088, application "arioso", rtp with ulaw
          media     127.0.0.1        advertised as 127.0.0.1, UDP ports 31000-31007, at most 500 calls
          engine    local            in this process
          bot       echo             echoes the caller, without engines
          bot       reception        en-US; hears by local; speaks by local; converses by local
          route     100              reception
          route     900              echo
    "#);
}

#[test]
fn a_wrong_configuration_is_explained_on_standard_error() {
    let wrong =
        GOOD.replace("greeting", "greting").replace("recognizer = [\"local\"]", "recognizer = [\"lab\", \"local\"]");
    let folder = folder_with(&wrong);
    let output = arioso(folder.path(), &["check"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    insta::assert_snapshot!(text(&output.stderr), @r#"
        arioso.toml:29:15: bots.reception.recognizer: there is no engine called "lab"; there is: local
        arioso.toml:32:1: bots.reception.greting: unknown key; did you mean "greeting"?
    "#);
}

#[test]
fn a_configuration_that_is_not_there_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = arioso(folder.path(), &["check", "--config", "other.toml"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    insta::assert_snapshot!(text(&output.stderr), @r#"arioso: cannot read the configuration other.toml: there is no such file; name it with --config, or start from the example in docs/configuration.md"#);
}

#[test]
fn a_program_can_read_the_result() {
    let folder = folder_with(GOOD);
    let output = arioso(folder.path(), &["check", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["ok"], true);
    assert_eq!(result["summary"]["media"]["ports"], serde_json::json!([31_000, 31_007]));
    assert!(!text(&output.stdout).contains("correct horse"));

    let folder = folder_with(&GOOD.replace("app = ", "ap = "));
    let output = arioso(folder.path(), &["check", "--json"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), ""));
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["ok"], false);
    assert_eq!(result["errors"][1]["key"], "asterisk.ap");
    assert_eq!((&result["errors"][1]["line"], &result["errors"][1]["column"]), (&8.into(), &1.into()));
}

#[test]
fn wrong_usage_has_the_exit_code_of_a_wrong_configuration() {
    let folder = folder_with(GOOD);
    assert_eq!(arioso(folder.path(), &["chekc"]).status.code(), Some(2));
    let mut command = Command::new(env!("CARGO_BIN_EXE_arioso"));
    let output = command.arg("check").current_dir(folder.path()).env("ARIOSO_LOG", "arioso=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("arioso: ARIOSO_LOG is \"arioso=loud\""), "{}", text(&output.stderr));
}

#[test]
fn what_is_missing_for_a_command_has_that_exit_code_too_and_says_what_to_do() {
    let folder = folder_with("[media]\n");
    fs::write(folder.path().join("empty"), "").unwrap();
    fs::write(folder.path().join("wrong.toml"), "give_up = 1\n").unwrap();
    for (arguments, told) in [
        (&["serve"][..], "no [[asterisk]] is configured"),
        (&["doctor"], "no [[asterisk]] is configured"),
        (&["engine", "serve", "--token-file", "nope"], "cannot read the token in nope: there is no such file"),
        (&["engine", "serve", "--token-file", "empty"], "the secret in empty is empty"),
        (&["engine", "serve", "--flow", "nope"], "cannot read nope: there is no such file"),
        (&["engine", "serve", "--flow", "wrong.toml"], "wrong.toml:1:11: give_up: has a number where a text is needed"),
        (&["engine", "serve", "--listen", "0.0.0.0:0"], "--token-file FILE"),
        (&["engine", "serve", "--listen", "localhost:50991"], "such as 127.0.0.1:50051"),
        (&["engine", "serve", "--threads", "0"], "from 1 to 256"),
        (&["engine", "serve", "--threads", "9999"], "from 1 to 256"),
        (&["models", "verify", "nope"], "there is no model \"nope\""),
        (&["models", "say", " ", "x.wav"], "there is nothing to say"),
    ] {
        let output = arioso(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(told), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn every_command_explains_its_exit_codes_and_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--help"][..], &["engine", "serve", "--help"], &["models", "fetch", "--help"]] {
        let output = arioso(folder.path(), arguments);
        let words = ["Exit codes", "ARIOSO_LOG", "ARIOSO_CONFIG", "ARIOSO_MODELS", "ARIOSO_ASTERISK_ROOT"];
        assert!(words.iter().all(|word| text(&output.stdout).contains(word)), "{}", text(&output.stdout));
    }
}
