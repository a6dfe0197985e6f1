//! `arioso bench media`, from the command line to the figures: packets flow both ways over every transport, and none is
//! lost. How exact and how cheap is what the command is for, and nothing that a test could say.

// A test may panic where it goes wrong.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arioso"));
    command.args(["bench", "media", "--calls", "2", "--seconds", "2", "--warm-up", "1", "--repeat", "1"]);
    command.args(arguments).env_remove("ARIOSO_LOG").output().unwrap()
}

fn figures(arguments: &[&str]) -> Value {
    let output = bench(&[arguments, &["--json", "-"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["steps"][0]["repetitions"][0].clone()
}

fn packets_flow_both_ways(arguments: &[&str]) -> Value {
    let figures = figures(arguments);
    for figure in ["set_up_failed", "lost_out", "duplicated_out", "lost_in", "duplicated_in"] {
        assert_eq!(figures[figure], 0.0, "{figure} of {figures}");
    }
    assert!(figures["pacing_p50"].is_number() && figures["cpu"].as_f64() > Some(0.0), "{figures}");
    figures
}

#[test]
fn rtp_with_a_recogniser_and_the_bare_echo_beside_it() {
    let figures = packets_flow_both_ways(&["--transport", "rtp"]);
    assert!(figures["to_engine_p50"].as_f64() > Some(0.0), "the engine has heard the callers: {figures}");
    assert!(figures["baseline_cpu"].is_number(), "{figures}");
}

#[test]
fn rtp_echo() {
    let figures = packets_flow_both_ways(&["--transport", "rtp", "--mode", "echo", "--no-baseline"]);
    assert!(figures["turnaround_p50"].as_f64() > Some(0.0), "what callers say comes back: {figures}");
}

#[test]
fn audiosocket() {
    packets_flow_both_ways(&["--transport", "audiosocket"]);
}

#[test]
fn websocket() {
    packets_flow_both_ways(&["--transport", "websocket"]);
}

#[test]
fn packets_of_a_stranger_disturb_no_call() {
    let figures = packets_flow_both_ways(&["--flood", "500", "--no-baseline"]);
    assert!(figures["flood_sent"].as_f64() > Some(0.0), "{figures}");
}

#[test]
fn what_is_not_as_asserted_fails_and_says_what_it_is() {
    let output = bench(&["--no-baseline", "--assert", "set_up_failed=0", "--assert", "pacing_p50<1ns"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("pacing_p50<1ns: at 2 calls it is"), "{errors}");
    assert!(!errors.contains("set_up_failed=0:"), "{errors}");
}

#[test]
fn an_unknown_metric_is_wrong_usage() {
    assert_eq!(bench(&["--assert", "speed<1ms"]).status.code(), Some(2));
}
