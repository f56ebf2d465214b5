//! What a workload's processes may do.

use super::super::fields::{Object, does, refused};

const LSM: &str = "riklet writes no such label or profile";

pub(in super::super) static POD_SECURITY: Object = Object {
    at: "spec.securityContext",
    says: "The first four hold for every container that doesn't say otherwise.",
    fields: &[
        does(
            "runAsUser",
            "1000",
            "0 to 2147483647; default: the image's.",
        ),
        does(
            "runAsGroup",
            "1000",
            "0 to 2147483647; default: the image's.",
        ),
        does(
            "runAsNonRoot",
            "true",
            "Refuse to run as user 0; not beside `runAsUser: 0`.",
        ),
        does(
            "seccompProfile",
            r#"{"type": "RuntimeDefault"}"#,
            "Default RuntimeDefault.",
        ),
        does(
            "fsGroup",
            "2000",
            "A group of every process, which owns what volumes hold.",
        ),
        does(
            "fsGroupChangePolicy",
            r#""OnRootMismatch""#,
            "Always or OnRootMismatch; default Always.",
        ),
        does(
            "supplementalGroups",
            "[10]",
            "Further groups of every process.",
        ),
        refused(
            "supplementalGroupsPolicy",
            r#""Strict""#,
            "the image's groups are kept",
        )
        .but(&["Merge"]),
        does(
            "sysctls",
            r#"[{"name": "net.core.somaxconn", "value": "1024"}]"#,
            "",
        ),
        refused("seLinuxOptions", r#"{"level": "s0"}"#, LSM),
        refused("seLinuxChangePolicy", r#""Recursive""#, LSM).but(&["MountOption"]),
        refused("appArmorProfile", r#"{"type": "RuntimeDefault"}"#, LSM),
        refused(
            "windowsOptions",
            r#"{"hostProcess": true}"#,
            "this is Linux",
        ),
    ],
    like: None,
};

pub(in super::super) static SYSCTL: Object = Object {
    at: "spec.securityContext.sysctls[]",
    says: "",
    fields: &[
        does(
            "name",
            r#""net.core.somaxconn""#,
            "A parameter of a namespace: `net.*` (not with hostNetwork), `fs.mqueue.*`, `kernel.shm*`, \
             `kernel.msg*` and `kernel.sem` (not with hostIPC). Each only once. Which of them a \
             source may set is the node's policy.",
        ),
        does("value", r#""1024""#, "At most 4096 characters."),
    ],
    like: None,
};

pub(in super::super) static CONTAINER_SECURITY: Object = Object {
    at: "spec.containers[].securityContext",
    says: "",
    fields: &[
        does("runAsUser", "1000", "Default: the Pod's."),
        does("runAsGroup", "1000", "Default: the Pod's."),
        does("runAsNonRoot", "true", "Default: the Pod's."),
        does("readOnlyRootFilesystem", "true", "Default false."),
        does(
            "privileged",
            "true",
            "Default false; not without hostUsers.",
        ),
        does(
            "allowPrivilegeEscalation",
            "true",
            "Default false, which is not Kubernetes' default; but true with privileged or the capability SYS_ADMIN, which don't go with false.",
        ),
        does("capabilities", r#"{"drop": ["ALL"]}"#, ""),
        does(
            "seccompProfile",
            r#"{"type": "Unconfined"}"#,
            "Default: the Pod's.",
        ),
        does(
            "procMount",
            r#""Default""#,
            "Default or, without hostUsers, Unmasked.",
        ),
        refused("seLinuxOptions", r#"{"level": "s0"}"#, LSM),
        refused("appArmorProfile", r#"{"type": "RuntimeDefault"}"#, LSM),
        refused(
            "windowsOptions",
            r#"{"hostProcess": true}"#,
            "this is Linux",
        ),
    ],
    like: None,
};

pub(in super::super) static CAPABILITIES: Object = Object {
    at: "spec.containers[].securityContext.capabilities",
    says: "Names with or without `CAP_`, or ALL.",
    fields: &[
        does("add", r#"["NET_ADMIN"]"#, "On top of the 11 default ones."),
        does("drop", r#"["NET_RAW"]"#, "Before those to add are added."),
    ],
    like: None,
};

pub(in super::super) static SECCOMP: Object = Object {
    at: "spec.securityContext.seccompProfile",
    says: "",
    fields: &[
        does(
            "type",
            r#""Localhost""#,
            "RuntimeDefault, Unconfined or Localhost.",
        ),
        does(
            "localhostProfile",
            r#""audit.json""#,
            "Only with Localhost: a relative path without `..` below the node's directory of profiles.",
        ),
    ],
    like: None,
};
