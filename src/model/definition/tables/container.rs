//! A container, its environment, ports and resources.

use super::super::fields::{Object, does, ignored, never, refused, silent};

const ONLY_MAIN: &str = "Only of containers and sidecars.";

pub(in super::super) static CONTAINER: Object = Object {
    at: "spec.containers[]",
    says: "",
    fields: &[
        does(
            "name",
            r#""nginx""#,
            "1 to 63 letters, digits, `-`, `_` and `.`; unique among all containers.",
        ),
        does(
            "image",
            r#""nginx:1.27""#,
            "An image's reference, 1 to 1024 characters.",
        ),
        does(
            "imagePullPolicy",
            r#""Never""#,
            "Always, IfNotPresent or Never; default Always for the tag latest, else IfNotPresent.",
        ),
        does(
            "command",
            r#"["sleep"]"#,
            "Replaces the image's entrypoint. `$(NAME)` is the variable NAME, `$$` is `$`.",
        ),
        does(
            "args",
            r#"["60"]"#,
            "Replaces the image's arguments; as command.",
        ),
        does("workingDir", r#""/tmp""#, "An absolute path without `..`."),
        does(
            "env",
            r#"[{"name": "A", "value": "1"}]"#,
            "In order; a later one may name former ones by `$(NAME)`.",
        ),
        does(
            "envFrom",
            r#"[{"configMapRef": {"name": "settings"}}]"#,
            "Before env.",
        ),
        does(
            "ports",
            r#"[{"containerPort": 80, "name": "http"}]"#,
            "A list, or RIK's one object.",
        ),
        does("resources", r#"{"limits": {"cpu": "1"}}"#, ""),
        does(
            "volumeMounts",
            r#"[{"name": "html", "mountPath": "/html"}]"#,
            "",
        ),
        does(
            "livenessProbe",
            r#"{"tcpSocket": {"port": 80}}"#,
            "Restarts the container. Only of containers and sidecars.",
        ),
        does(
            "readinessProbe",
            r#"{"tcpSocket": {"port": 80}}"#,
            "The instance is Running only while it passes. Only of containers and sidecars.",
        ),
        does(
            "startupProbe",
            r#"{"tcpSocket": {"port": 80}}"#,
            "The other probes wait for it. Only of containers and sidecars.",
        ),
        does(
            "lifecycle",
            r#"{"preStop": {"exec": {"command": ["true"]}}}"#,
            ONLY_MAIN,
        ),
        does("securityContext", r#"{"runAsUser": 1}"#, ""),
        does("stdin", "true", "An open standard input."),
        ignored(
            "stdinOnce",
            "true",
            "nothing attaches to a container's start",
        ),
        does("tty", "true", "A terminal."),
        does(
            "terminationMessagePath",
            r#""/dev/last-words""#,
            "An absolute path without `..`; default /dev/termination-log.",
        ),
        does(
            "terminationMessagePolicy",
            r#""FallbackToLogsOnError""#,
            "File or FallbackToLogsOnError; default File.",
        ),
        refused(
            "restartPolicy",
            r#""Never""#,
            "a container's own policy is only for init containers",
        ),
        refused(
            "restartPolicyRules",
            "[{}]",
            "containers restart by the Pod's restartPolicy",
        ),
        ignored(
            "resizePolicy",
            "[{}]",
            "a changed definition replaces the containers",
        ),
        never(
            "volumeDevices",
            r#"[{"name": "x", "devicePath": "/dev/x"}]"#,
            "block devices are not handed in",
        ),
    ],
    like: None,
};

pub(in super::super) static INIT_CONTAINER: Object = Object {
    at: "spec.initContainers[]",
    says: "As a container, but for:",
    fields: &[does(
        "restartPolicy",
        r#""Always""#,
        "Always: a sidecar, which is started in its turn and goes on beside the containers.",
    )],
    like: Some(&CONTAINER),
};

pub(in super::super) static ENV: Object = Object {
    at: "spec.containers[].env[]",
    says: "",
    fields: &[
        does(
            "name",
            r#""A""#,
            "Letters, digits, `_`, `-` and `.`, not starting with a digit.",
        ),
        does(
            "value",
            r#""1""#,
            "With its name at most 131071 bytes. `$(NAME)` is the variable NAME, `$$` is `$`.",
        ),
        does(
            "valueFrom",
            r#"{"fieldRef": {"fieldPath": "metadata.name"}}"#,
            "Not beside a value.",
        ),
    ],
    like: None,
};

pub(in super::super) static VALUE_FROM: Object = Object {
    at: "spec.containers[].env[].valueFrom",
    says: "Exactly one of:",
    fields: &[
        does("fieldRef", r#"{"fieldPath": "metadata.uid"}"#, ""),
        does("resourceFieldRef", r#"{"resource": "limits.cpu"}"#, ""),
        does(
            "configMapKeyRef",
            r#"{"name": "settings", "key": "mode"}"#,
            "",
        ),
        does(
            "secretKeyRef",
            r#"{"name": "login", "key": "password"}"#,
            "",
        ),
        never(
            "fileKeyRef",
            r#"{"path": "x"}"#,
            "variables are not read from files of volumes",
        ),
    ],
    like: None,
};

pub(in super::super) static FIELD_REF: Object = Object {
    at: "spec.containers[].env[].valueFrom.fieldRef",
    says: "",
    fields: &[
        does(
            "fieldPath",
            r#""spec.nodeName""#,
            "metadata.name, metadata.namespace, metadata.uid, `metadata.labels['KEY']`, \
             `metadata.annotations['KEY']`, spec.nodeName, spec.serviceAccountName, status.hostIP, \
             status.hostIPs, status.podIP, status.podIPs; in a volume metadata.labels and \
             metadata.annotations too, and there neither node name, service account nor addresses.",
        ),
        silent("apiVersion", r#""v1""#, "there is only v1"),
    ],
    like: None,
};

pub(in super::super) static RESOURCE_FIELD_REF: Object = Object {
    at: "spec.containers[].env[].valueFrom.resourceFieldRef",
    says: "",
    fields: &[
        does(
            "resource",
            r#""limits.memory""#,
            "limits.cpu, limits.memory, requests.cpu or requests.memory. Where there is no limit: what the node has.",
        ),
        does(
            "containerName",
            r#""nginx""#,
            "Default: this container; required in a volume.",
        ),
        does(
            "divisor",
            r#""1Mi""#,
            "Default 1 (a core, a byte): the amount is divided by it and rounded up.",
        ),
    ],
    like: None,
};

pub(in super::super) static KEY_REF: Object = Object {
    at: "spec.containers[].env[].valueFrom.configMapKeyRef",
    says: "secretKeyRef is the same.",
    fields: &[
        does(
            "name",
            r#""settings""#,
            "A document that is read with the Pod.",
        ),
        does("key", r#""mode""#, "A key of it."),
        does(
            "optional",
            "true",
            "Without the document or key there is no such variable.",
        ),
    ],
    like: None,
};

pub(in super::super) static ENV_FROM: Object = Object {
    at: "spec.containers[].envFrom[]",
    says: "Each key of a document becomes a variable. Keys that can't be a variable's name are \
           left out with a warning.",
    fields: &[
        does("prefix", r#""APP_""#, "Goes before each name."),
        does(
            "configMapRef",
            r#"{"name": "settings"}"#,
            "This or secretRef.",
        ),
        does("secretRef", r#"{"name": "login"}"#, "This or configMapRef."),
    ],
    like: None,
};

pub(in super::super) static CONFIG_MAP_ENV: Object = Object {
    at: "spec.containers[].envFrom[].configMapRef",
    says: "secretRef is the same.",
    fields: &[
        does(
            "name",
            r#""settings""#,
            "A document that is read with the Pod.",
        ),
        does(
            "optional",
            "true",
            "Without the document there are no such variables.",
        ),
    ],
    like: None,
};

pub(in super::super) static PORT: Object = Object {
    at: "spec.containers[].ports[]",
    says: "",
    fields: &[
        does("containerPort", "80", "1 to 65535."),
        does(
            "hostPort",
            "8080",
            "1 to 65535, or 0 for none; a hostPort and protocol only once, unless on other hostIPs.",
        ),
        does(
            "hostIP",
            r#""127.0.0.1""#,
            "The node's address that hostPort is on; default all.",
        ),
        does(
            "name",
            r#""www""#,
            "1 to 15 small letters, digits and `-`, a letter among them; unique in its container.",
        ),
        does("protocol", r#""UDP""#, "TCP, UDP or SCTP; default TCP."),
        does(
            "port",
            "8080",
            "RIK's hostPort; without target_port also the containerPort.",
        ),
        does("target_port", "80", "RIK's containerPort."),
        does("targetPort", "80", "The same."),
        silent("type", r#""clusterIP""#, "how RIK's cluster would show it"),
    ],
    like: None,
};

pub(in super::super) static RESOURCES: Object = Object {
    at: "spec.containers[].resources",
    says: "",
    fields: &[
        does(
            "limits",
            r#"{"cpu": "2", "memory": "1Gi"}"#,
            "What it can't go beyond; default: nothing.",
        ),
        does(
            "requests",
            r#"{"cpu": "10m"}"#,
            "What is kept for it, at most the limit; default: the limit.",
        ),
        refused(
            "claims",
            r#"[{"name": "gpu"}]"#,
            "devices are not handed out",
        ),
    ],
    like: None,
};

pub(in super::super) static AMOUNTS: Object = Object {
    at: "spec.containers[].resources.limits",
    says: "requests is the same. Quantities are Kubernetes': `250m`, `0.5`, `1.5Gi`, `64M`, `1e3`.",
    fields: &[
        does("cpu", r#""250m""#, "Cores, rounded up to thousandths."),
        does("memory", r#""64Mi""#, "Bytes, rounded up."),
        refused(
            "ephemeral-storage",
            r#""1Gi""#,
            "only an emptyDir's sizeLimit bounds the disk",
        ),
    ],
    like: None,
};
