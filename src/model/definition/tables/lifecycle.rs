//! Probes and hooks.

use super::super::fields::{Object, does, refused};

pub(in super::super) static PROBE: Object = Object {
    at: "spec.containers[].livenessProbe",
    says: "startupProbe is the same. Exactly one of exec, httpGet, tcpSocket and grpc. 0 is the default.",
    fields: &[
        does(
            "exec",
            r#"{"command": ["true"]}"#,
            "Passes if it exits with 0.",
        ),
        does(
            "httpGet",
            r#"{"port": 80}"#,
            "Passes with a status of 200 to 399.",
        ),
        does(
            "tcpSocket",
            r#"{"port": 80}"#,
            "Passes if the connection opens.",
        ),
        does(
            "grpc",
            r#"{"port": 80}"#,
            "Passes if `grpc.health.v1` answers SERVING.",
        ),
        does("initialDelaySeconds", "3", "Default 0."),
        does("periodSeconds", "3", "Default 10."),
        does("timeoutSeconds", "3", "Default 1."),
        does("successThreshold", "1", "Must be 1."),
        does("failureThreshold", "5", "Default 3."),
        does(
            "terminationGracePeriodSeconds",
            "3",
            "When the probe ends its container; at least 1; default: the Pod's.",
        ),
    ],
    like: None,
};

pub(in super::super) static READINESS_PROBE: Object = Object {
    at: "spec.containers[].readinessProbe",
    says: "As livenessProbe, but for:",
    fields: &[
        does("successThreshold", "2", "Default 1."),
        refused(
            "terminationGracePeriodSeconds",
            "3",
            "a readiness probe ends nothing",
        ),
    ],
    like: Some(&PROBE),
};

pub(in super::super) static EXEC: Object = Object {
    at: "spec.containers[].livenessProbe.exec",
    says: "",
    fields: &[does(
        "command",
        r#"["cat", "/tmp/healthy"]"#,
        "No shell; at least one word.",
    )],
    like: None,
};

pub(in super::super) static HTTP_GET: Object = Object {
    at: "spec.containers[].readinessProbe.httpGet",
    says: "",
    fields: &[
        does(
            "port",
            r#""http""#,
            "1 to 65535, or the name of a port of this container.",
        ),
        does("path", r#""/healthz""#, "Path and query; default `/`."),
        does("host", r#""localhost""#, "Default: the instance's address."),
        does(
            "scheme",
            r#""HTTPS""#,
            "HTTP or HTTPS, whose certificate isn't verified; default HTTP.",
        ),
        does("httpHeaders", r#"[{"name": "X-A", "value": "b"}]"#, ""),
    ],
    like: None,
};

pub(in super::super) static HEADER: Object = Object {
    at: "spec.containers[].readinessProbe.httpGet.httpHeaders[]",
    says: "",
    fields: &[
        does("name", r#""X-A""#, "A header's name."),
        does("value", r#""b""#, "Without line breaks."),
    ],
    like: None,
};

pub(in super::super) static TCP_SOCKET: Object = Object {
    at: "spec.containers[].startupProbe.tcpSocket",
    says: "",
    fields: &[
        does(
            "port",
            "80",
            "1 to 65535, or the name of a port of this container.",
        ),
        does("host", r#""localhost""#, "Default: the instance's address."),
    ],
    like: None,
};

pub(in super::super) static GRPC: Object = Object {
    at: "spec.initContainers[].livenessProbe.grpc",
    says: "",
    fields: &[
        does("port", "80", "1 to 65535; no name."),
        does("service", r#""db""#, "Default: the server as a whole."),
    ],
    like: None,
};

pub(in super::super) static LIFECYCLE: Object = Object {
    at: "spec.containers[].lifecycle",
    says: "",
    fields: &[
        does(
            "postStart",
            r#"{"exec": {"command": ["true"]}}"#,
            "If it fails the container is restarted.",
        ),
        does(
            "preStop",
            r#"{"sleep": {"seconds": 1}}"#,
            "Before SIGTERM, within the grace.",
        ),
        refused(
            "stopSignal",
            r#""SIGINT""#,
            "containers are ended by SIGTERM or their image's signal",
        ),
    ],
    like: None,
};

pub(in super::super) static HOOK: Object = Object {
    at: "spec.containers[].lifecycle.preStop",
    says: "postStart is the same. Exactly one of:",
    fields: &[
        does("exec", r#"{"command": ["true"]}"#, "As in a probe."),
        does("httpGet", r#"{"port": 80}"#, "As in a probe."),
        does("tcpSocket", r#"{"port": 80}"#, "As in a probe."),
        does("sleep", r#"{"seconds": 1}"#, ""),
    ],
    like: None,
};

pub(in super::super) static SLEEP: Object = Object {
    at: "spec.containers[].lifecycle.postStart.sleep",
    says: "",
    fields: &[does("seconds", "1", "0 up to the grace.")],
    like: None,
};
