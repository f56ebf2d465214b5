use prost::Message as _;

use super::generated::common::{
    InstanceMetric, ResourceStatus, WorkerMetric, WorkerRegistration, WorkerStatus, worker_status,
};
use super::generated::worker::InstanceScheduling;
use super::{MAX_DEFINITION, Message, Report, Target, Tls, connect};
use crate::model::{
    ids::{InstanceId, Source, Uid},
    instruction::{Ask, Instruction},
    state::{Reason, State, StateReport},
};

/// The bytes as RIK v1's own numbers say them, written down by hand.
#[test]
fn the_numbers_of_rik_v1_are_on_the_wire() {
    let registration = WorkerRegistration {
        hostname: "n1".into(),
        ..Default::default()
    };
    assert_eq!(registration.encode_to_vec(), b"\x0a\x02n1");

    let create = InstanceScheduling::decode(&b"\x0a\x01a\x12\x02{}"[..]).unwrap();
    assert_eq!(
        (
            create.instance_id.as_str(),
            create.definition.as_str(),
            create.action
        ),
        ("a", "{}", 0)
    );
    let destroy = InstanceScheduling::decode(&b"\x0a\x01a\x18\x01"[..]).unwrap();
    assert_eq!(destroy.action, 1);

    let instance = WorkerStatus {
        status: Some(worker_status::Status::Instance(InstanceMetric {
            status: ResourceStatus::Running.into(),
            metrics: "m".into(),
            instance_id: "a".into(),
            ..Default::default()
        })),
        identifier: "n".into(),
        host_address: None,
    };
    assert_eq!(
        instance.encode_to_vec(),
        b"\x0a\x08\x08\x02\x12\x01m\x1a\x01a\x1a\x01n"
    );
    let worker = WorkerStatus {
        status: Some(worker_status::Status::Worker(WorkerMetric {
            status: ResourceStatus::Running.into(),
            metrics: "m".into(),
        })),
        identifier: "n".into(),
        host_address: Some("h".into()),
    };
    assert_eq!(
        worker.encode_to_vec(),
        b"\x12\x05\x08\x02\x12\x01m\x1a\x01n\x22\x01h"
    );
}

/// A peer without riklet's own fields reads and writes the same messages.
#[test]
fn own_fields_begin_at_16() {
    let bare = InstanceMetric {
        instance_id: "a".into(),
        ..Default::default()
    }
    .encoded_len();
    let own = InstanceMetric {
        instance_id: "a".into(),
        generation: 1,
        seq: 2,
        reason: "Error".into(),
        exit_code: Some(3),
        time: "t".into(),
        gap: 4,
        ..Default::default()
    };
    let bytes = own.encode_to_vec();
    let mut rest = &bytes[bare..];
    while !rest.is_empty() {
        let (tag, kind) = prost::encoding::decode_key(&mut rest).unwrap();
        assert!(tag >= 16, "field {tag}");
        prost::encoding::skip_field(kind, tag, &mut rest, Default::default()).unwrap();
    }
}

fn scheduling(definition: String, action: i32) -> InstanceScheduling {
    InstanceScheduling {
        instance_id: "../x".into(),
        definition,
        action,
    }
}

#[test]
fn whatever_the_scheduler_says_is_an_instruction() {
    let ask =
        |definition: &str, action| Instruction::from(scheduling(definition.into(), action)).ask;
    assert_eq!(
        ask("{}", 0),
        Ask::Create {
            definition: "{}".into()
        }
    );
    assert_eq!(ask("{}", 1), Ask::Destroy { force: false });
    assert_eq!(ask("{}", 7), Ask::Unknown { action: 7 });
    assert_eq!(ask("{}", -1), Ask::Unknown { action: -1 });
    let raw = Instruction::from(scheduling(String::new(), 0));
    assert_eq!(
        (raw.instance.as_str(), raw.source),
        ("../x", Source::Scheduler)
    );
}

#[test]
fn a_definition_over_the_limit_is_not_kept() {
    let fits = "x".repeat(MAX_DEFINITION);
    assert_eq!(
        Instruction::from(scheduling(fits.clone(), 0)).ask,
        Ask::Create {
            definition: fits.clone()
        }
    );
    let bytes = MAX_DEFINITION + 1;
    assert_eq!(
        Instruction::from(scheduling(fits.clone() + "x", 0)).ask,
        Ask::TooBig { bytes }
    );
    // A destroy's definition is nobody's business, however long it is.
    assert_eq!(
        Instruction::from(scheduling(fits + "x", 1)).ask,
        Ask::Destroy { force: false }
    );
}

fn sent(report: StateReport) -> InstanceMetric {
    let report = Report {
        generation: 2,
        gap: 3,
        at: Some("2026-11-22T15:39:04Z".parse().unwrap()),
        restarts: 4,
        containers: vec![serde_json::json!({"name": "c"})],
        ..Report::new(
            Uid::from_entropy(1),
            InstanceId::from_wire("a").unwrap(),
            42,
            report,
        )
    };
    let proto = Message::Instance(report).into_proto("n", None);
    assert_eq!(proto.identifier, "n");
    match proto.status {
        Some(worker_status::Status::Instance(metric)) => metric,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_carries_its_state_in_the_metrics_text_too() {
    let mut report = StateReport::because(State::Failed, Reason::Error, "it \"died\"");
    report.exit_code = Some(7);
    let metric = sent(report);
    assert_eq!(metric.status(), ResourceStatus::Failed);
    assert_eq!(
        metric.metrics,
        r#"{"state":"Failed","reason":"Error","message":"it \"died\"","restarts":4,"containers":[{"name":"c"}]}"#
    );
    assert_eq!((metric.generation, metric.seq, metric.gap), (2, 42, 3));
    assert_eq!(
        (metric.reason.as_str(), metric.exit_code),
        ("Error", Some(7))
    );
    assert_eq!(metric.time, "2026-11-22T15:39:04Z");
}

#[test]
fn pending_and_unknown_are_never_sent() {
    for state in [
        State::Creating,
        State::Running,
        State::Failed,
        State::Destroying,
        State::Terminated,
    ] {
        let status = sent(StateReport::plain(state)).status();
        assert!(
            !matches!(status, ResourceStatus::Pending | ResourceStatus::Unknown),
            "{state}"
        );
        assert_eq!(status.as_str_name(), state.to_string().to_uppercase());
    }
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let metric = sent(StateReport::because(
        State::Failed,
        Reason::Error,
        "é".repeat(100_000),
    ));
    assert!(metric.metrics.len() < 8192);
}

#[test]
fn a_node_that_takes_no_placements_is_not_running() {
    let status = |placements| {
        let message = Message::Node {
            placements,
            metrics: "{}".into(),
        };
        match message.into_proto("n", Some("10.0.0.1")).status {
            Some(worker_status::Status::Worker(metric)) => metric.status(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(status(true), ResourceStatus::Running);
    assert_ne!(status(false), ResourceStatus::Running);
}

fn tls() -> Tls {
    Tls {
        ca: "/nonexistent/ca.pem".into(),
        identity: None,
        domain: None,
    }
}

#[test]
fn an_address_gets_scheme_and_port_or_a_reason() {
    let uri = |url: &str, tls: Option<Tls>| {
        Target {
            tls,
            ..Target::new(url)
        }
        .uri()
        .map(|uri| uri.to_string())
    };
    assert_eq!(uri("h", None).unwrap(), "http://h:4995/");
    assert_eq!(uri("h:1", None).unwrap(), "http://h:1/");
    assert_eq!(uri("http://[::1]:7", None).unwrap(), "http://[::1]:7/");
    assert_eq!(uri("[::1]", None).unwrap(), "http://[::1]:4995/");
    assert_eq!(uri("h", Some(tls())).unwrap(), "https://h:4995/");
    for (bad, tls) in [
        ("", None),
        ("ftp://h", None),
        ("https://h", None),
        ("http://h", Some(tls())),
        ("a b", None),
    ] {
        assert!(uri(bad, tls).is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn an_unreadable_tls_file_is_named() {
    let target = Target {
        tls: Some(tls()),
        ..Target::new("https://127.0.0.1:1")
    };
    let error = connect(&target).await.unwrap_err();
    let line = crate::error_chain::one_line(&error);
    assert!(
        line.contains("/nonexistent/ca.pem") && line.contains("No such file"),
        "{line}"
    );
}
