//! Events as Asterisk 22.10 sent them (`tests/fixtures/ari`), and what must be survived.

use super::*;
use crate::ari::ChannelState;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ari/", $name, ".json"))
    };
}

fn channel_of(event: &Event) -> &str {
    event.channel_id().unwrap().as_str()
}

#[test]
fn a_call_enters_with_its_arguments() {
    let Event::StasisStart { channel, args, replaces } = parse_event(fixture!("stasis_start_call")).unwrap() else {
        panic!("not a StasisStart");
    };
    assert_eq!(channel.id.as_str(), "call-1;2");
    assert_eq!(channel.state, ChannelState::Ring);
    assert_eq!((channel.dialplan.context.as_str(), channel.dialplan.exten.as_str()), ("default", "bot"));
    assert_eq!(args, ["sales", "en"]);
    assert_eq!(replaces, None);
}

#[test]
fn a_sip_caller_has_a_name_a_number_and_a_call_id() {
    let Event::StasisStart { channel, .. } = parse_event(fixture!("stasis_start_sip")).unwrap() else {
        panic!("not a StasisStart");
    };
    assert_eq!((channel.caller.name.as_str(), channel.caller.number.as_str()), ("Alice", "100"));
    assert_eq!(channel.protocol_id, "1-32579@127.0.0.1");
}

#[test]
fn our_own_leg_enters_too() {
    let Event::StasisStart { channel, args, .. } = parse_event(fixture!("stasis_start_media")).unwrap() else {
        panic!("not a StasisStart");
    };
    assert_eq!((channel.id.as_str(), channel.state), ("media-1", ChannelState::Up));
    assert_eq!(args, ["media"]);
}

#[test]
fn a_hang_up_says_whose_wish_it_was() {
    let by = |text| match parse_event(text).unwrap() {
        Event::ChannelHangupRequest { by, .. } => by,
        other => panic!("{other:?}"),
    };
    assert!(matches!(by(fixture!("channel_hangup_request_far_end")), HangupOrigin::FarEnd { cause: Some(_) }));
    assert_eq!(by(fixture!("channel_hangup_request_ari")), HangupOrigin::Asterisk);
}

#[test]
fn the_end_has_a_cause() {
    let end = |text| match parse_event(text).unwrap() {
        Event::ChannelDestroyed { cause, cause_text, tech_cause, .. } => (cause, cause_text, tech_cause),
        other => panic!("{other:?}"),
    };
    assert_eq!(end(fixture!("channel_destroyed")), (16, "Normal Clearing".to_owned(), None));
    assert_eq!(end(fixture!("channel_destroyed_sip")), (0, "Unknown".to_owned(), None));
    assert_eq!(end(fixture!("channel_destroyed_busy")), (17, "User busy".to_owned(), None));
}

#[test]
fn a_key_has_a_duration() {
    let Event::ChannelDtmfReceived { digit, duration, .. } = parse_event(fixture!("channel_dtmf_received")).unwrap()
    else {
        panic!("not a ChannelDtmfReceived");
    };
    assert_eq!((digit, duration), ('#', Duration::from_millis(100)));
}

#[test]
fn bridges_list_their_members() {
    let entered = parse_event(fixture!("channel_entered_bridge")).unwrap();
    assert_eq!(channel_of(&entered), "media-1");
    let Event::ChannelEnteredBridge { bridge, .. } = &entered else { panic!("{entered:?}") };
    let members: Vec<&str> = bridge.channels.iter().map(ChannelId::as_str).collect();
    assert_eq!(members, ["call-1;2", "media-1"]);
    assert_eq!(bridge.technology, "simple_bridge");

    let left = parse_event(fixture!("channel_left_bridge")).unwrap();
    assert!(matches!(left, Event::ChannelLeftBridge { .. }));
    assert_eq!(left.bridge_id(), entered.bridge_id());

    let destroyed = parse_event(fixture!("bridge_destroyed")).unwrap();
    assert_eq!(destroyed.bridge_id(), entered.bridge_id());
    assert_eq!(destroyed.channel_id(), None);
}

#[test]
fn a_leg_that_is_dialled_makes_progress() {
    let status = |text| match parse_event(text).unwrap() {
        Event::Dial { status, .. } => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(fixture!("dial_started")), DialStatus::Started);
    assert_eq!(status(fixture!("dial_ringing")), DialStatus::Ringing);
    assert_eq!(status(fixture!("dial_progress")), DialStatus::Progress);
    assert_eq!(status(fixture!("dial_answer")), DialStatus::Answer);
    assert_eq!(status(fixture!("dial_busy")), DialStatus::Busy);
}

#[test]
fn the_other_events_of_a_call() {
    assert!(matches!(parse_event(fixture!("stasis_end")).unwrap(), Event::StasisEnd { .. }));
    assert!(matches!(parse_event(fixture!("channel_hold")).unwrap(), Event::ChannelHold { .. }));
    assert!(matches!(parse_event(fixture!("channel_unhold")).unwrap(), Event::ChannelUnhold { .. }));
    let Event::ChannelStateChange { channel } = parse_event(fixture!("channel_state_change")).unwrap() else {
        panic!("not a ChannelStateChange");
    };
    assert_eq!(channel.state, ChannelState::Up);
    assert_eq!(
        parse_event(fixture!("application_replaced")).unwrap(),
        Event::ApplicationReplaced { application: "arioso".to_owned() }
    );
}

#[test]
fn events_without_use_are_unknown_whatever_their_fields_are() {
    let unknown = |text| match parse_event(text).unwrap() {
        Event::Unknown { event_type } => event_type,
        other => panic!("{other:?}"),
    };
    assert_eq!(unknown(fixture!("channel_varset")), "ChannelVarset");
    assert_eq!(unknown(fixture!("channel_dialplan")), "ChannelDialplan");
    assert_eq!(
        unknown(r#"{"type":"FromTheFuture","channel":7,"peer":{"status":"x"},"cause":"none"}"#),
        "FromTheFuture"
    );
}

#[test]
fn unknown_fields_states_and_variables_are_tolerated() {
    let event = parse_event(
        r#"{"type":"StasisStart","novelty":[1],"args":["a"],"channel":{"id":"c","name":"X/c","state":"Dreaming",
            "channelvars":{"TEXT":"t","NUMBER":5,"OBJECT":{}},"tenantid":"t"}}"#,
    );
    let Event::StasisStart { channel, .. } = event.unwrap() else { panic!("not a StasisStart") };
    assert_eq!(channel.state, ChannelState::Other);
    assert_eq!(channel.channelvars.len(), 1);
    assert_eq!(channel.channelvars["TEXT"], "t");
}

#[test]
fn a_transfer_names_the_channel_that_was_replaced() {
    let event = parse_event(
        r#"{"type":"StasisStart","args":[],"channel":{"id":"new","name":"X/n","state":"Up"},
            "replace_channel":{"id":"old","name":"X/o","state":"Up"}}"#,
    );
    let Event::StasisStart { channel, replaces, .. } = event.unwrap() else { panic!("not a StasisStart") };
    assert_eq!(channel.id.as_str(), "new");
    assert_eq!(replaces.unwrap().id.as_str(), "old");
}

#[test]
fn what_is_no_event_is_an_error() {
    for text in ["", "null", "[]", "{}", "{\"type\":5}", "{\"type\":\"StasisEnd\"", "\u{0}"] {
        assert!(matches!(parse_event(text), Err(EventError::NotAnEvent(_))), "{text:?}");
    }
}

#[test]
fn a_malformed_event_says_which_and_where() {
    let error = parse_event(
        "{\"type\":\"ChannelDestroyed\",\n\"channel\":{\"id\":\"c\",\"name\":\"n\",\"state\":\"Up\"},\n\"cause\":\"sixteen\"}",
    );
    let text = error.unwrap_err().to_string();
    assert!(text.starts_with("malformed ChannelDestroyed") && text.contains("line 3"), "{text}");

    for text in [
        r#"{"type":"StasisEnd"}"#,
        r#"{"type":"StasisEnd","channel":{"id":"..","name":"n","state":"Up"}}"#,
        r#"{"type":"ChannelDtmfReceived","digit":"12","duration_ms":1,"channel":{"id":"c","name":"n","state":"Up"}}"#,
        r#"{"type":"ChannelDtmfReceived","digit":"5","duration_ms":-1,"channel":{"id":"c","name":"n","state":"Up"}}"#,
        r#"{"type":"BridgeDestroyed","bridge":[]}"#,
    ] {
        assert!(matches!(parse_event(text), Err(EventError::Malformed { .. })), "{text}");
    }
}
