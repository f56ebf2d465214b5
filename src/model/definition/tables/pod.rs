//! A definition as a whole, its metadata, and what holds for all of its containers.

use super::super::fields::{Object, does, ignored, never, refused, silent};

pub(in super::super) static POD: Object = Object {
    at: "",
    says: "RIK's JSON or a Kubernetes v1 Pod. ",
    fields: &[
        does(
            "apiVersion",
            r#""v1""#,
            "Any text: `v0` of RIK, `v1` of Kubernetes.",
        ),
        does(
            "kind",
            r#""Pod""#,
            "`Pod` (RIK: `pods`); beside it ConfigMap and Secret documents. Other kinds are refused.",
        ),
        does(
            "name",
            r#""web""#,
            "RIK's place of the name. From people 1 to 128 of `A-Z a-z 0-9 . _ -`, not starting \
             with `.` or `-`; from the scheduler up to 253 printable characters.",
        ),
        does(
            "metadata",
            r#"{"name": "web"}"#,
            "Kubernetes' place of the name.",
        ),
        silent(
            "replicas",
            "3",
            "the scheduler counts; this node is told of each copy",
        ),
        does(
            "spec",
            r#"{"containers": [{"name": "a", "image": "b:1"}]}"#,
            "What runs.",
        ),
        silent(
            "status",
            r#"{"phase": "Running"}"#,
            "what an API server wrote",
        ),
    ],
    like: None,
};

pub(in super::super) static LIST: Object = Object {
    at: "",
    says: "Several documents as one.",
    fields: &[
        does("apiVersion", r#""v1""#, ""),
        does("kind", r#""List""#, ""),
        does("items", "[]", ""),
        silent("metadata", "{}", ""),
    ],
    like: None,
};

const FROM_AN_API_SERVER: &str = "what an API server wrote";

pub(in super::super) static METADATA: Object = Object {
    at: "metadata",
    says: "",
    fields: &[
        does("name", r#""web""#, "As `name` above, which goes before it."),
        does(
            "namespace",
            r#""prod""#,
            "Only fieldRef reads it; default `default`.",
        ),
        does(
            "labels",
            r#"{"app": "web"}"#,
            "Only fieldRef and downwardAPI read them.",
        ),
        does(
            "annotations",
            r#"{"note": "x"}"#,
            "Only fieldRef and downwardAPI read them.",
        ),
        refused(
            "generateName",
            r#""web-""#,
            "a definition needs a name of its own",
        ),
        silent("uid", r#""1""#, FROM_AN_API_SERVER),
        silent(
            "creationTimestamp",
            r#""2024-01-01T00:00:00Z""#,
            FROM_AN_API_SERVER,
        ),
        silent("resourceVersion", r#""1""#, FROM_AN_API_SERVER),
        silent("generation", "1", FROM_AN_API_SERVER),
        silent("selfLink", r#""/x""#, FROM_AN_API_SERVER),
        silent("managedFields", "[{}]", FROM_AN_API_SERVER),
        ignored("ownerReferences", "[{}]", "no owner is known on a node"),
        ignored(
            "finalizers",
            r#"["x"]"#,
            "nobody on a node could take them away",
        ),
        silent(
            "deletionTimestamp",
            r#""2024-01-01T00:00:00Z""#,
            FROM_AN_API_SERVER,
        ),
        silent("deletionGracePeriodSeconds", "1", FROM_AN_API_SERVER),
    ],
    like: None,
};

const PLACES: &str = "it says on which node a Pod runs, and this one has it already";
const ACCOUNT: &str = "a node has no API server, so no token is mounted";

pub(in super::super) static SPEC: Object = Object {
    at: "spec",
    says: "",
    fields: &[
        does(
            "containers",
            r#"[{"name": "a", "image": "b:1"}]"#,
            "At least one; with initContainers at most 64.",
        ),
        does(
            "initContainers",
            r#"[{"name": "i", "image": "b:1"}]"#,
            "Run in order, each to its end, before the containers.",
        ),
        does(
            "restartPolicy",
            r#""OnFailure""#,
            "Always, OnFailure or Never; default Always.",
        ),
        does(
            "terminationGracePeriodSeconds",
            "5",
            "0 to 604800; default 30.",
        ),
        does(
            "volumes",
            r#"[{"name": "html", "emptyDir": {}}, {"name": "conf", "emptyDir": {}}]"#,
            "What containers may mount; names are unique.",
        ),
        does(
            "hostNetwork",
            "true",
            "The node's network instead of an own one; a port's hostPort is then its containerPort.",
        ),
        does("hostPID", "true", "The node's processes."),
        does("hostIPC", "true", "The node's IPC namespace."),
        does(
            "hostUsers",
            "false",
            "False: a user namespace of its own, with 65,536 ids that no other has; its root is nobody on the node. Not beside hostNetwork, hostPID, hostIPC or privileged; ids up to 65535. Needs Linux 5.19. Default true.",
        ),
        does(
            "hostname",
            r#""web-0""#,
            "1 to 63 letters, digits and `-`; default: the instance's id.",
        ),
        does(
            "dnsPolicy",
            r#""Default""#,
            "ClusterFirst, ClusterFirstWithHostNet and Default: the node's servers; None: only those of dnsConfig.",
        ),
        does(
            "dnsConfig",
            r#"{"nameservers": ["10.0.0.1"]}"#,
            "On top of the node's.",
        ),
        does(
            "hostAliases",
            r#"[{"ip": "127.0.0.1", "hostnames": ["a.test"]}]"#,
            "Lines of /etc/hosts.",
        ),
        does(
            "securityContext",
            r#"{"runAsUser": 1000}"#,
            "Holds for every container that doesn't say otherwise.",
        ),
        does("os", r#"{"name": "linux"}"#, ""),
        ignored("affinity", r#"{"nodeAffinity": {}}"#, PLACES),
        ignored("nodeName", r#""other""#, PLACES),
        ignored("nodeSelector", r#"{"disk": "ssd"}"#, PLACES),
        ignored("tolerations", r#"[{"operator": "Exists"}]"#, PLACES),
        ignored("topologySpreadConstraints", "[{}]", PLACES),
        ignored("schedulerName", r#""mine""#, PLACES).but(&["default-scheduler"]),
        ignored("priority", "7", "nothing is preempted here").but(&["0"]),
        ignored(
            "priorityClassName",
            r#""high""#,
            "nothing is preempted here",
        ),
        ignored(
            "preemptionPolicy",
            r#""Never""#,
            "nothing is preempted here",
        )
        .but(&["PreemptLowerPriority"]),
        ignored(
            "overhead",
            r#"{"cpu": "1m"}"#,
            "only placing counts with it",
        ),
        ignored("serviceAccountName", r#""robot""#, ACCOUNT).but(&["default"]),
        ignored("serviceAccount", r#""robot""#, ACCOUNT).but(&["default"]),
        ignored("automountServiceAccountToken", "true", ACCOUNT),
        ignored(
            "enableServiceLinks",
            "true",
            "there are no Services, so no variables are made of them",
        ),
        ignored(
            "imagePullSecrets",
            r#"[{"name": "registry"}]"#,
            "the node's own registry credentials are used (see docs/operations.md)",
        ),
        refused("activeDeadlineSeconds", "60", "nothing would end it then"),
        refused(
            "ephemeralContainers",
            r#"[{"name": "debug"}]"#,
            "a Pod has the containers that it was made with",
        ),
        refused("hostnameOverride", r#""x""#, "use hostname"),
        refused(
            "readinessGates",
            r#"[{"conditionType": "x"}]"#,
            "nobody could set such a condition on a node",
        ),
        refused(
            "resourceClaims",
            r#"[{"name": "gpu"}]"#,
            "devices are not handed out",
        ),
        refused(
            "resources",
            r#"{"limits": {"cpu": "1"}}"#,
            "only containers have limits",
        ),
        refused(
            "runtimeClassName",
            r#""kata""#,
            "every workload runs by the node's one runtime",
        ),
        refused(
            "schedulingGates",
            r#"[{"name": "x"}]"#,
            "nobody could lift one on a node",
        ),
        refused("setHostnameAsFQDN", "true", "there is no cluster domain"),
        never(
            "shareProcessNamespace",
            "true",
            "each container has processes of its own",
        ),
        refused("subdomain", r#""web""#, "there is no cluster domain"),
    ],
    like: None,
};

pub(in super::super) static OS: Object = Object {
    at: "spec.os",
    says: "",
    fields: &[does("name", r#""linux""#, "Must be linux.")],
    like: None,
};

pub(in super::super) static DNS_CONFIG: Object = Object {
    at: "spec.dnsConfig",
    says: "",
    fields: &[
        does(
            "nameservers",
            r#"["10.0.0.1"]"#,
            "At most 3 addresses; at least 1 with `dnsPolicy: None`.",
        ),
        does(
            "searches",
            r#"["a.test"]"#,
            "At most 32 domains, 2048 characters in all.",
        ),
        does("options", r#"[{"name": "ndots", "value": "2"}]"#, ""),
    ],
    like: None,
};

pub(in super::super) static DNS_OPTION: Object = Object {
    at: "spec.dnsConfig.options[]",
    says: "",
    fields: &[
        does("name", r#""ndots""#, "Without spaces and `:`."),
        does("value", r#""2""#, "Without spaces."),
    ],
    like: None,
};

pub(in super::super) static HOST_ALIAS: Object = Object {
    at: "spec.hostAliases[]",
    says: "",
    fields: &[
        does("ip", r#""127.0.0.1""#, "An address."),
        does(
            "hostnames",
            r#"["a.test"]"#,
            "Names of letters, digits, `-` and `.`.",
        ),
    ],
    like: None,
};

pub(in super::super) static CONFIG_MAP_DOCUMENT: Object = Object {
    at: "ConfigMap",
    says: "A document beside the Pod, in its file or in another one that is read with it. Names \
           are unique among the documents that are read together; namespaces aren't looked at.",
    fields: &[
        does("apiVersion", r#""v1""#, ""),
        does("kind", r#""ConfigMap""#, ""),
        does(
            "metadata",
            r#"{"name": "settings"}"#,
            "Only its name is read.",
        ),
        does(
            "data",
            r#"{"mode": "fast", "lines": "a"}"#,
            "Keys of letters, digits, `-`, `_` and `.`.",
        ),
        does("binaryData", r#"{"logo": "AAH/"}"#, "Base64."),
        silent("immutable", "true", "it is read whenever the definition is"),
    ],
    like: None,
};

pub(in super::super) static SECRET_DOCUMENT: Object = Object {
    at: "Secret",
    says: "As a ConfigMap. Its values lie in the definition's record; views hide them.",
    fields: &[
        does("apiVersion", r#""v1""#, ""),
        does("kind", r#""Secret""#, ""),
        does("metadata", r#"{"name": "login"}"#, "Only its name is read."),
        does("data", r#"{"password": "aHVudGVyMg=="}"#, "Base64."),
        does(
            "stringData",
            r#"{"password": "hunter2"}"#,
            "Text; goes before data.",
        ),
        silent("type", r#""Opaque""#, "nothing depends on it"),
        silent("immutable", "true", "it is read whenever the definition is"),
    ],
    like: None,
};
