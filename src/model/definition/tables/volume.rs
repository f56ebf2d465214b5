//! Volumes and their mounts.

use super::super::fields::{Object, does, never, refused};

const NO_STORAGE: &str = "there is no such storage on a node; use hostPath or emptyDir";
const KEYS: &str = "Which keys, and where; default: each key is a file of its name.";
const MODE: &str = "0 to 0777 (octal in YAML, 511 in JSON); default 0644.";

pub(in super::super) static VOLUME_MOUNT: Object = Object {
    at: "spec.containers[].volumeMounts[]",
    says: "",
    fields: &[
        does("name", r#""html""#, "A volume's name."),
        does(
            "mountPath",
            r#""/srv""#,
            "An absolute path without `..` and `:`, not `/`; unique in its container.",
        ),
        does("readOnly", "true", "Default false."),
        does(
            "subPath",
            r#""a/b""#,
            "A relative path without `..` within the volume.",
        ),
        never("subPathExpr", r#""$(POD)""#, "use subPath"),
        refused(
            "mountPropagation",
            r#""HostToContainer""#,
            "mounts made later are not passed on",
        )
        .but(&["None"]),
        refused(
            "recursiveReadOnly",
            r#""Enabled""#,
            "only the volume itself is read-only",
        )
        .but(&["Disabled"]),
    ],
    like: None,
};

pub(in super::super) static VOLUME: Object = Object {
    at: "spec.volumes[]",
    says: "A name and one source; without a source an emptyDir.",
    fields: &[
        does(
            "name",
            r#""html""#,
            "A label: 1 to 63 small letters, digits and `-`.",
        ),
        does(
            "emptyDir",
            "{}",
            "Lives as long as the incarnation's sandbox.",
        ),
        does("hostPath", r#"{"path": "/srv"}"#, "A path of the node."),
        does(
            "configMap",
            r#"{"name": "settings"}"#,
            "Files of a ConfigMap that is read with the Pod, as it was then.",
        ),
        does(
            "secret",
            r#"{"secretName": "login"}"#,
            "Files of a Secret that is read with the Pod, in memory.",
        ),
        does(
            "projected",
            r#"{"sources": [{"secret": {"name": "login"}}]}"#,
            "Several of these in one.",
        ),
        does(
            "downwardAPI",
            r#"{"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}"#,
            "Files that tell the Pod of itself, as it is when they are made.",
        ),
        never("awsElasticBlockStore", "{}", NO_STORAGE),
        never("azureDisk", "{}", NO_STORAGE),
        never("azureFile", "{}", NO_STORAGE),
        never("cephfs", "{}", NO_STORAGE),
        never("cinder", "{}", NO_STORAGE),
        never("csi", "{}", NO_STORAGE),
        never("ephemeral", "{}", NO_STORAGE),
        never("fc", "{}", NO_STORAGE),
        never("flexVolume", "{}", NO_STORAGE),
        never("flocker", "{}", NO_STORAGE),
        never("gcePersistentDisk", "{}", NO_STORAGE),
        never("gitRepo", "{}", "clone it in an init container"),
        never("glusterfs", "{}", NO_STORAGE),
        never("image", "{}", "an image's files can't be mounted"),
        never("iscsi", "{}", NO_STORAGE),
        never("nfs", "{}", "mount it on the node and use hostPath"),
        never("persistentVolumeClaim", r#"{"claimName": "x"}"#, NO_STORAGE),
        never("photonPersistentDisk", "{}", NO_STORAGE),
        never("portworxVolume", "{}", NO_STORAGE),
        never("quobyte", "{}", NO_STORAGE),
        never("rbd", "{}", NO_STORAGE),
        never("scaleIO", "{}", NO_STORAGE),
        never("storageos", "{}", NO_STORAGE),
        never("vsphereVolume", "{}", NO_STORAGE),
    ],
    like: None,
};

pub(in super::super) static EMPTY_DIR: Object = Object {
    at: "spec.volumes[0].emptyDir",
    says: "",
    fields: &[
        does("medium", r#""Memory""#, "Empty for the disk, or Memory."),
        does(
            "sizeLimit",
            r#""64Mi""#,
            "A quantity of bytes; default: no limit. In memory the kernel holds it; on the disk riklet looks, and evicts whoever takes more.",
        ),
    ],
    like: None,
};

pub(in super::super) static HOST_PATH: Object = Object {
    at: "spec.volumes[1].hostPath",
    says: "",
    fields: &[
        does("path", r#""/srv/web""#, "An absolute path without `..`."),
        does(
            "type",
            r#""Directory""#,
            "DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice or BlockDevice; default: not looked at.",
        ),
    ],
    like: None,
};

pub(in super::super) static CONFIG_MAP: Object = Object {
    at: "spec.volumes[2].configMap",
    says: "",
    fields: &[
        does(
            "name",
            r#""settings""#,
            "A ConfigMap that is read with the Pod.",
        ),
        does("items", r#"[{"key": "mode", "path": "m"}]"#, KEYS),
        does("defaultMode", "256", MODE),
        does(
            "optional",
            "true",
            "Without the document or a key there are no such files.",
        ),
    ],
    like: None,
};

pub(in super::super) static SECRET: Object = Object {
    at: "spec.volumes[3].secret",
    says: "",
    fields: &[
        does(
            "secretName",
            r#""login""#,
            "A Secret that is read with the Pod.",
        ),
        does("items", r#"[{"key": "password", "path": "p"}]"#, KEYS),
        does("defaultMode", "256", MODE),
        does(
            "optional",
            "true",
            "Without the document or a key there are no such files.",
        ),
    ],
    like: None,
};

pub(in super::super) static ITEM: Object = Object {
    at: "spec.volumes[2].configMap.items[]",
    says: "The same in secret and projected.",
    fields: &[
        does("key", r#""mode""#, "A key of the document."),
        does(
            "path",
            r#""etc/mode""#,
            "A relative path without `..`; each only once.",
        ),
        does("mode", "256", "Default: the volume's defaultMode."),
    ],
    like: None,
};

pub(in super::super) static PROJECTED: Object = Object {
    at: "spec.volumes[4].projected",
    says: "",
    fields: &[
        does(
            "sources",
            r#"[{"secret": {"name": "login"}}]"#,
            "At most 64.",
        ),
        does("defaultMode", "256", MODE),
    ],
    like: None,
};

pub(in super::super) static PROJECTION: Object = Object {
    at: "spec.volumes[4].projected.sources[]",
    says: "Exactly one of:",
    fields: &[
        does(
            "configMap",
            r#"{"name": "settings", "items": [{"key": "mode", "path": "z"}]}"#,
            "",
        ),
        does("secret", r#"{"name": "login"}"#, ""),
        does(
            "downwardAPI",
            r#"{"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}"#,
            "",
        ),
        never(
            "serviceAccountToken",
            r#"{"path": "token"}"#,
            "there is no API server to give one",
        ),
        never(
            "clusterTrustBundle",
            r#"{"path": "x"}"#,
            "there is no API server to give one",
        ),
        never(
            "podCertificate",
            r#"{"keyType": "x"}"#,
            "there is no API server to give one",
        ),
    ],
    like: None,
};

pub(in super::super) static PROJECTED_CONFIG_MAP: Object = Object {
    at: "spec.volumes[4].projected.sources[1].configMap",
    says: "",
    fields: &[
        does("name", r#""settings""#, "As in a volume of its own."),
        does("items", r#"[{"key": "mode", "path": "m"}]"#, KEYS),
        does(
            "optional",
            "true",
            "Without the document or a key there are no such files.",
        ),
    ],
    like: None,
};

pub(in super::super) static PROJECTED_SECRET: Object = Object {
    at: "spec.volumes[4].projected.sources[0].secret",
    says: "As configMap.",
    fields: &[
        does(
            "name",
            r#""login""#,
            "As in a volume of its own, but called `name`.",
        ),
        does("items", r#"[{"key": "password", "path": "p"}]"#, KEYS),
        does(
            "optional",
            "true",
            "Without the document or a key there are no such files.",
        ),
    ],
    like: None,
};

pub(in super::super) static PROJECTED_DOWNWARD: Object = Object {
    at: "spec.volumes[4].projected.sources[2].downwardAPI",
    says: "",
    fields: &[does(
        "items",
        r#"[{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]"#,
        "As in a volume of its own.",
    )],
    like: None,
};

pub(in super::super) static DOWNWARD: Object = Object {
    at: "spec.volumes[5].downwardAPI",
    says: "",
    fields: &[
        does(
            "items",
            r#"[{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]"#,
            "",
        ),
        does("defaultMode", "256", MODE),
    ],
    like: None,
};

pub(in super::super) static DOWNWARD_ITEM: Object = Object {
    at: "spec.volumes[5].downwardAPI.items[]",
    says: "A path and exactly one of fieldRef and resourceFieldRef.",
    fields: &[
        does(
            "path",
            r#""name""#,
            "A relative path without `..`; each only once.",
        ),
        does("mode", "256", "Default: the volume's defaultMode."),
        does(
            "fieldRef",
            r#"{"fieldPath": "metadata.labels"}"#,
            "As in a variable, see there.",
        ),
        does(
            "resourceFieldRef",
            r#"{"containerName": "nginx", "resource": "limits.cpu"}"#,
            "As in a variable.",
        ),
    ],
    like: None,
};
