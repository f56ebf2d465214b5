use proptest::prelude::*;
use serde_json::json;

use super::{fields::Treatment, *};
use crate::model::spec::RestartPolicy;

fn strict(value: &Value) -> Result<Parsed, DefinitionError> {
    parse(&value.to_string(), Strictness::Strict)
}

fn lenient(value: &Value) -> Result<Parsed, DefinitionError> {
    parse(&value.to_string(), Strictness::Lenient)
}

fn paths(found: &[Warning]) -> Vec<&str> {
    found.iter().map(|w| w.path.as_str()).collect()
}

fn rik() -> Value {
    json!({
        "apiVersion": "v0", "kind": "pods", "name": "web", "replicas": 3,
        "spec": {"containers": [{
            "name": "nginx", "image": "nginx:1.27",
            "env": [{"name": "PASSWORD", "value": "hunter2"}],
            "ports": {"port": 8080, "target_port": 80, "protocol": "TCP", "type": "clusterIP"}
        }]}
    })
}

fn with(mut value: Value, pointer: &str, field: &str, to: Value) -> Value {
    value.pointer_mut(pointer).unwrap()[field] = to;
    value
}

#[test]
fn a_rik_definition_is_read_with_kubernetes_defaults() {
    let parsed = strict(&rik()).unwrap();
    assert_eq!(parsed.warnings, []);
    let spec = parsed.spec;
    assert_eq!((spec.name.as_str(), spec.containers.len()), ("web", 1));
    assert_eq!(spec.restart_policy, RestartPolicy::Always);
    assert_eq!(spec.grace_seconds, 30);
    let port = &spec.containers[0].ports[0];
    assert_eq!(
        (port.host, port.container, port.protocol.as_str()),
        (8080, 80, "TCP")
    );
    assert_eq!(spec.containers[0].env[0].value, "hunter2");
}

#[test]
fn explicit_nulls_are_absent_fields() {
    let value = json!({
        "apiVersion": null, "kind": "Pod", "name": "web", "replicas": null,
        "spec": {"restartPolicy": null, "unknown": null, "containers": [{
            "name": "a", "image": "b", "env": null, "command": null, "workingDir": null,
            "ports": {"port": null, "target_port": null, "protocol": null, "type": null}
        }]}
    });
    let parsed = strict(&value).unwrap();
    assert_eq!(parsed.warnings, []);
    assert!(parsed.spec.containers[0].ports.is_empty());
}

#[test]
fn a_kubernetes_pod_is_taken_as_it_is_in_json_and_yaml() {
    let yaml = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 5
  hostname: web-0
  hostNetwork: true
  dnsPolicy: ClusterFirst
  volumes: []
  containers:
  - name: a
    image: busybox
    command: [sleep]
    args: [\"60\"]
    workingDir: /tmp
    resources: {}
    terminationMessagePolicy: File
    ports:
    - {containerPort: 80, hostPort: 80, name: http}
    - {containerPort: 53, protocol: udp}
  - {name: b, image: busybox}
";
    let from_yaml = parse(yaml, Strictness::Strict).unwrap();
    let spec = &from_yaml.spec;
    assert_eq!(from_yaml.warnings, []);
    assert_eq!(spec.name, "web");
    assert_eq!(
        (spec.restart_policy, spec.grace_seconds, spec.host_network),
        (RestartPolicy::OnFailure, 5, true)
    );
    assert_eq!(spec.hostname.as_deref(), Some("web-0"));
    assert_eq!(spec.containers[0].args, ["60"]);
    assert_eq!(spec.containers[0].working_dir.as_deref(), Some("/tmp"));
    let ports: Vec<_> = spec.containers[0]
        .ports
        .iter()
        .map(|p| (p.host, p.container, p.protocol.as_str()))
        .collect();
    assert_eq!(ports, [(80, 80, "TCP"), (53, 53, "UDP")]);
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(strict(&value).unwrap(), from_yaml);
}

#[test]
fn unknown_and_unsupported_fields_are_faults_for_people_and_warnings_for_the_scheduler() {
    let value = with(rik(), "/spec/containers/0", "foo", json!(1));
    let value = with(value, "/spec", "subdomain", json!("x"));
    let expected = ["spec.subdomain", "spec.containers[0].foo"];
    let error = strict(&value).unwrap_err();
    assert_eq!(paths(&error.faults), expected);
    assert_eq!(error.reason, Reason::InvalidDefinition);
    let parsed = lenient(&value).unwrap();
    assert_eq!(paths(&parsed.warnings), expected);
    assert_eq!(parsed.spec, strict(&rik()).unwrap().spec);
    let only = with(rik(), "/spec", "subdomain", json!("x"));
    assert_eq!(strict(&only).unwrap_err().reason, Reason::Unsupported);
}

#[test]
fn all_faults_are_listed_at_once_with_their_paths() {
    let value = json!({
        "kind": 7, "name": "../x",
        "spec": {
            "restartPolicy": "Sometimes", "terminationGracePeriodSeconds": -1, "hostname": "-",
            "containers": [
                {"name": "a b", "image": "", "env": [{"name": "A=B", "value": 1}]},
                {"name": "c", "command": ["x", 2], "workingDir": "tmp"},
                {"name": "c", "image": "i", "ports": [{"port": 70000}, {"protocol": "ICMP"}]},
                "d"
            ]
        }
    });
    let error = strict(&value).unwrap_err();
    assert_eq!(
        paths(&error.faults),
        [
            "kind",
            "name",
            "spec.terminationGracePeriodSeconds",
            "spec.containers[0].name",
            "spec.containers[0].image",
            "spec.containers[0].env[0].name",
            "spec.containers[0].env[0].value",
            "spec.containers[1].image",
            "spec.containers[1].command[1]",
            "spec.containers[1].workingDir",
            "spec.containers[2].ports[0].port",
            "spec.containers[2].ports[1].protocol",
            "spec.containers[2].ports[1]",
            "spec.containers[2].name",
            "spec.containers[3]",
            "spec.restartPolicy",
            "spec.hostname",
        ]
    );
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn ids_that_a_user_namespace_has_not_are_faults_with_it_and_fine_without() {
    let security = json!({
        "runAsUser": 65_536, "runAsGroup": 65_535, "fsGroup": 70_000,
        "supplementalGroups": [1, 65_536],
    });
    let value = with(rik(), "/spec", "securityContext", security);
    let own = json!({"runAsUser": 65_535, "runAsGroup": 100_000});
    let value = with(value, "/spec/containers/0", "securityContext", own);
    assert!(strict(&value).is_ok());
    let value = with(value, "/spec", "hostUsers", json!(false));
    let error = strict(&value).unwrap_err();
    let expected = [
        "spec.securityContext.runAsUser",
        "spec.securityContext.fsGroup",
        "spec.securityContext.supplementalGroups[1]",
        "spec.containers[0].securityContext.runAsGroup",
    ];
    assert_eq!(paths(&error.faults), expected);
    assert!(
        error.to_string().contains("65535 with hostUsers false"),
        "{error}"
    );
    // As it would run without is another workload: the scheduler hears no, too.
    assert!(lenient(&value).is_err());
}

#[test]
fn what_kubernetes_takes_for_not_said_is_not_said() {
    let said_nothing = json!({
        "kind": "Pod", "metadata": {"name": "a"},
        "spec": {
            "restartPolicy": "", "dnsPolicy": "", "hostname": "", "hostNetwork": null,
            "containers": [{
                "name": "c", "image": "i", "imagePullPolicy": "", "terminationMessagePolicy": "",
                "ports": [{"containerPort": 80, "hostPort": 0, "protocol": "", "name": "", "hostIP": ""}],
                "livenessProbe": {"httpGet": {"port": 80, "scheme": "", "path": "", "host": ""}}
            }]
        }
    });
    let plain = json!({
        "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{
            "name": "c", "image": "i", "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": 80}}
        }]}
    });
    assert_eq!(
        strict(&said_nothing).unwrap().spec,
        strict(&plain).unwrap().spec
    );
}

#[test]
fn whole_numbers_may_be_written_as_others_and_texts_are_told_apart() {
    let of = |port: &str| {
        let text = format!(
            "kind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: c\n    image: i\n    \
             ports: [{{containerPort: {port}}}]\n"
        );
        parse(&text, Strictness::Strict).map(|p| p.spec.containers[0].ports[0].container)
    };
    for port in ["80", "80.0", "8e1", "0x50", "8_0", "+80"] {
        assert_eq!(of(port).ok(), Some(80), "{port}");
    }
    for port in ["80.5", "-80", "0", "1e30", "true", "[80]"] {
        assert!(of(port).is_err(), "{port}");
    }
    let said = of("\"80\"").unwrap_err().to_string();
    assert!(
        said.ends_with("not a string; take it out of its quotes"),
        "{said}"
    );
}

#[test]
fn a_field_that_stands_twice_is_a_fault_for_people_in_json_and_in_yaml() {
    let json = r#"{"kind":"Pod","name":"a","spec":{"containers":[{"name":"c","image":"i","image":"hunter2"}]}}"#;
    let said = parse(json, Strictness::Strict).unwrap_err().to_string();
    assert!(
        said.contains("a field stands there twice at line 1"),
        "{said}"
    );
    // Go's reader takes the last one.
    let parsed = parse(json, Strictness::Lenient).unwrap();
    assert_eq!(parsed.spec.containers[0].image, "hunter2");
    let yaml = "kind: Pod\nname: a\nspec:\n  containers: [{name: c, image: i}]\nname: hunter2\n";
    let said = parse(yaml, Strictness::Strict).unwrap_err().to_string();
    assert!(said.contains("has a field twice"), "{said}");
    assert!(
        said.contains("line 5") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn what_is_no_yaml_is_told_with_its_place_and_its_mend_and_never_quoted() {
    let begun = "kind: Pod\nname: hunter2\nspec:\n";
    let ten = |of: &str| [of; 10].join(",");
    let aliases = ["hunter2", "*a0", "*a1", "*a2", "*a3", "*a4", "*a5"].into_iter();
    let bomb = aliases
        .enumerate()
        .map(|(n, of)| format!("  a{n}: &a{n} [{}]\n", ten(of)));
    let bomb: String = bomb.collect();
    for (rest, expected) in [
        ("\tcontainers: []\n", "isn't indented by tabs: see line 4"),
        (
            "  containers: {{ .Values.hunter2 }}\n",
            "a template; render it first: see line 4",
        ),
        ("  grace: .inf\n", "a number that is none: see line 4"),
        (&bomb, "nests too deep or holds more than is read"),
        (
            "  containers: [hunter2\n",
            "is neither JSON nor YAML: see line",
        ),
        (
            &format!("  a: {}{}\n", "[".repeat(60), "]".repeat(60)),
            "nests too deep or holds more than is read",
        ),
    ] {
        let text = format!("{begun}{rest}");
        let said = parse(&text, Strictness::Strict).unwrap_err().to_string();
        assert!(said.contains(expected), "{rest:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn functions_and_other_kinds_are_refused_as_unsupported() {
    for kind in ["Function", "function", "Deployment"] {
        let error = lenient(&with(rik(), "", "kind", json!(kind))).unwrap_err();
        assert_eq!(error.reason, Reason::Unsupported, "{kind}");
        assert_eq!(paths(&error.faults), ["kind"]);
    }
}

#[test]
fn what_would_run_as_another_workload_is_refused_even_from_the_scheduler() {
    let env = json!([{"name": "A", "valueFrom": {"fileKeyRef": {"path": "x", "key": "y"}}}]);
    let error = lenient(&with(rik(), "/spec/containers/0", "env", env)).unwrap_err();
    assert_eq!(error.reason, Reason::Unsupported);
    assert_eq!(
        paths(&error.faults),
        ["spec.containers[0].env[0].valueFrom.fileKeyRef"]
    );
}

#[test]
fn limits_hold() {
    let big = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BYTES));
    let error = parse(&big, Strictness::Lenient).unwrap_err();
    assert_eq!(paths(&error.faults), ["definition"]);

    let many = |n: usize| {
        let list: Vec<Value> = (0..n)
            .map(|i| json!({"name": format!("c{i}"), "image": "x"}))
            .collect();
        with(rik(), "/spec", "containers", json!(list))
    };
    assert_eq!(strict(&many(64)).unwrap().spec.containers.len(), 64);
    assert_eq!(
        paths(&strict(&many(65)).unwrap_err().faults),
        ["spec.containers"]
    );
    assert!(strict(&many(0)).is_err());

    let long = json!(["x".repeat(131_072)]);
    let error = strict(&with(rik(), "/spec/containers/0", "args", long)).unwrap_err();
    assert_eq!(paths(&error.faults), ["spec.containers[0].args[0]"]);
}

#[test]
fn deep_nesting_is_a_fault_and_never_an_overflow() {
    for depth in [40, 127, 100_000] {
        let text = format!(
            "{{\"kind\":\"Pod\",\"x\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        );
        assert!(parse(&text, Strictness::Lenient).is_err());
        let yaml = format!("x: {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&yaml, Strictness::Strict).is_err());
    }
}

#[test]
fn a_nul_anywhere_is_a_fault() {
    for (pointer, field) in [
        ("", "anything"),
        ("/spec/containers/0", "image"),
        ("/spec/containers/0/env/0", "value"),
    ] {
        let error = lenient(&with(rik(), pointer, field, json!("a\0b"))).unwrap_err();
        assert!(
            error.faults.iter().any(|f| f.path.ends_with(field)),
            "{error}"
        );
    }
    assert!(lenient(&with(rik(), "/spec", "a\0b", json!(1))).is_err());
}

#[test]
fn a_hostile_text_makes_neither_long_paths_nor_long_lists() {
    let mut value = rik();
    for i in 0..1000 {
        value[format!("{i}{}", "k".repeat(200))] = json!(1);
    }
    let warnings = lenient(&value).unwrap().warnings;
    assert!(warnings.len() <= 33);
    assert_eq!(warnings[32].message, "968 more of this kind");
    assert!(warnings.iter().all(|w| w.path.len() < 300));
}

#[test]
fn a_message_never_quotes_a_value() {
    for text in [
        "{\"kind\":\"Pod\",\"name\":\"x\",\"spec\":{\"restartPolicy\":\"hunter2\",\"containers\":[]}}",
        "{\"password\": hunter2}",
        "password: [hunter2",
        "spec:\n  a: 'hunter2\n b: 1",
    ] {
        let error = parse(text, Strictness::Strict).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
}

mod table;

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("spec".to_owned()),
        Just("containers".to_owned()),
        Just("name".to_owned()),
        Just("metadata".to_owned()),
        Just("kind".to_owned()),
        Just("Pod".to_owned()),
        Just("env".to_owned()),
        Just("ports".to_owned()),
        Just("image".to_owned()),
        Just("restartPolicy".to_owned()),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused(text in ".{0,400}") {
        for strictness in [Strictness::Strict, Strictness::Lenient] {
            if let Err(e) = parse(&text, strictness) {
                prop_assert!(!e.faults.is_empty());
            }
        }
    }

    #[test]
    fn arbitrary_json_is_read_or_refused(value in any_json(), spec in any_json(), one in any_json()) {
        let pod = with(rik(), "/spec", "containers", json!([one]));
        let pods = with(rik(), "", "spec", spec);
        for value in [value, pod, pods] {
            for result in [strict(&value), lenient(&value)] {
                if let Err(e) = result {
                    prop_assert!(!e.faults.is_empty() && !e.to_string().contains('\n'));
                }
            }
        }
    }

    #[test]
    fn a_strict_reading_is_a_lenient_one_without_warnings(value in any_json()) {
        let pod = with(rik(), "", "extra", value);
        if let Ok(parsed) = strict(&pod) {
            prop_assert_eq!(lenient(&pod).unwrap(), parsed);
        }
    }
}
