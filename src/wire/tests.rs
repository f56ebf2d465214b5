use prost::Message as _;

use super::generated::common::{
    InstanceMetric, ResourceStatus, WorkerMetric, WorkerRegistration, WorkerStatus, worker_status,
};
use super::generated::worker::InstanceScheduling;

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
