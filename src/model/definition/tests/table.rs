//! Each field is treated as the table, and so the page, says.

use super::*;

/// A definition in which every object of the table is.
fn whole() -> Value {
    let errand = json!({"exec": {"command": ["true"]}});
    json!({
        "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"a": "b"}},
            "spec": {
                "os": {"name": "linux"},
                "dnsConfig": {"nameservers": ["10.0.0.1"], "options": [{"name": "ndots"}]},
                "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["a.test"]}],
                "securityContext": {
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"},
                    "sysctls": [{"name": "net.core.somaxconn", "value": "1"}]
                },
                "containers": [{
                    "name": "nginx", "image": "nginx:1.27",
                    "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                    "ports": [{"containerPort": 80, "name": "http"}],
                    "resources": {"limits": {"memory": "1Gi"}},
                    "volumeMounts": [{"name": "html", "mountPath": "/html"}],
                    "livenessProbe": errand,
                    "readinessProbe": {"httpGet": {
                        "port": 80, "httpHeaders": [{"name": "X-A", "value": "b"}]
                    }},
                    "startupProbe": {"tcpSocket": {"port": 80}},
                    "lifecycle": {"preStop": errand, "postStart": {"sleep": {"seconds": 1}}},
                    "securityContext": {"capabilities": {"add": ["CHOWN"]}}
                }],
                "initContainers": [{
                    "name": "side", "image": "a:1", "restartPolicy": "Always",
                    "livenessProbe": {"grpc": {"port": 80}},
                    "resources": {"limits": {"memory": "1Gi"}}
                }],
                "volumes": [
                    {"name": "html", "emptyDir": {}},
                    {"name": "host", "hostPath": {"path": "/srv"}},
                    {"name": "map", "configMap": {
                        "name": "settings", "items": [{"key": "mode", "path": "mode"}]
                    }},
                    {"name": "secret", "secret": {"secretName": "login"}},
                    {"name": "all", "projected": {"sources": [
                        {"secret": {"name": "login"}},
                        {"configMap": {"name": "settings"}},
                        {"downwardAPI": {"items": [
                            {"path": "x", "fieldRef": {"fieldPath": "metadata.uid"}}
                        ]}}
                    ]}},
                    {"name": "down", "downwardAPI": {"items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
                    ]}}
                ]
            }
        },
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
            "data": {"mode": "fast", "lines": "a\\nb"}
        },
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
            "data": {"password": "aHVudGVyMg=="}
        }
    ]})
}

/// Another shape of an object, where its field goes with others only.
fn shaped(mut value: Value, at: &str, field: &str) -> Value {
    let mut put = |pointer: &str, object: Value| {
        *value.pointer_mut(pointer).unwrap() = object;
    };
    let container = "/items/0/spec/containers/0";
    match (at, field) {
        ("spec", "hostNetwork" | "hostIPC") => put("/items/0/spec/securityContext", json!({})),
        ("spec.containers[].env[].valueFrom.resourceFieldRef", _) => put(
            &format!("{container}/env/0/valueFrom"),
            json!({"resourceFieldRef": {"resource": "limits.memory"}}),
        ),
        ("spec.containers[].env[].valueFrom.configMapKeyRef", _) => put(
            &format!("{container}/env/0/valueFrom"),
            json!({"configMapKeyRef": {"name": "settings", "key": "mode"}}),
        ),
        ("spec.containers[].env[].valueFrom", _) => {
            put(&format!("{container}/env/0/valueFrom"), json!({}));
        }
        ("spec.containers[].env[]", "value") => {
            put(&format!("{container}/env/0/valueFrom"), json!(null));
        }
        ("spec.containers[].envFrom[]", "configMapRef" | "secretRef") => {
            put(&format!("{container}/envFrom/0"), json!({}));
        }
        ("spec.containers[].livenessProbe", "exec" | "httpGet" | "tcpSocket" | "grpc") => {
            put(&format!("{container}/livenessProbe"), json!({}));
        }
        ("spec.containers[].lifecycle.preStop", _) => {
            put(&format!("{container}/lifecycle/preStop"), json!({}));
        }
        ("spec.containers[].readinessProbe", "exec" | "httpGet" | "tcpSocket" | "grpc") => {
            put(&format!("{container}/readinessProbe"), json!({}));
        }
        ("spec.containers[].ports[]", "port" | "hostPort") => put(
            &format!("{container}/ports/0"),
            json!({"containerPort": 80, "name": "http"}),
        ),
        ("spec.volumes[]", field) if field != "name" => {
            put("/items/0/spec/volumes/0", json!({"name": "html"}));
        }
        ("spec.volumes[5].downwardAPI.items[]", "resourceFieldRef") => put(
            "/items/0/spec/volumes/5/downwardAPI/items/0",
            json!({"path": "x"}),
        ),
        ("spec.volumes[4].projected.sources[]", _) => {
            put("/items/0/spec/volumes/4/projected/sources/0", json!({}));
        }
        _ => {}
    }
    value
}

/// Where an object is in the definition: its pointer, and its path in messages.
fn place(at: &str) -> (String, String) {
    let path = at.replace("[]", "[0]");
    let pointer: String = path
        .split('.')
        .filter(|part| !part.is_empty())
        .map(|part| format!("/{}", part.replace('[', "/").replace(']', "")))
        .collect();
    match at {
        "ConfigMap" => ("/items/1".to_owned(), "ConfigMap/settings".to_owned()),
        "Secret" => ("/items/2".to_owned(), "Secret/login".to_owned()),
        _ => (format!("/items/0{pointer}"), path),
    }
}

fn fed(at: &str, field: &str, to: Value) -> (Value, String) {
    let (pointer, path) = place(at);
    let mut value = shaped(whole(), at, field);
    let object = value.pointer_mut(&pointer);
    object.unwrap_or_else(|| panic!("no {at} at {pointer}"))[field] = to;
    let path = match path.as_str() {
        "" => field.to_owned(),
        path => format!("{path}.{field}"),
    };
    (value, path)
}

#[test]
fn a_definition_with_every_object_is_runnable() {
    let parsed = strict(&whole()).unwrap();
    assert_eq!(parsed.warnings, []);
}

#[test]
fn every_field_of_the_table_is_treated_as_it_says() {
    let mut seen = 0;
    for object in OBJECTS {
        for field in object.fields {
            let sample: Value = serde_json::from_str(field.sample)
                .unwrap_or_else(|e| panic!("{}.{}: {e}", object.at, field.name));
            let (value, path) = fed(object.at, field.name, sample);
            let of = |found: &[Warning]| {
                let at = |w: &&Warning| w.path == path;
                found.iter().filter(at).count()
            };
            let (strict, lenient) = (strict(&value), lenient(&value));
            let warned = |result: &Result<Parsed, DefinitionError>| match result {
                Ok(parsed) => of(&parsed.warnings),
                Err(_) => 0,
            };
            let refused = |result: &Result<Parsed, DefinitionError>| match result {
                Ok(_) => 0,
                Err(error) => of(&error.faults),
            };
            let said = format!("{path} {:?}: {strict:?}", field.treatment);
            match field.treatment {
                Treatment::Supported | Treatment::Silent => {
                    assert!(strict.is_ok() && lenient.is_ok(), "{said}");
                    assert_eq!((warned(&strict), warned(&lenient)), (0, 0), "{said}");
                }
                Treatment::Ignored => {
                    assert_eq!((warned(&strict), warned(&lenient)), (1, 1), "{said}");
                }
                Treatment::Refused => {
                    assert_eq!((refused(&strict), warned(&lenient)), (1, 1), "{said}");
                }
                Treatment::Never => {
                    assert_eq!((refused(&strict), refused(&lenient)), (1, 1), "{said}");
                }
            }
            for anyway in field.anyway {
                let other: Value = serde_json::from_str(anyway).unwrap_or(json!(anyway));
                let (value, _) = fed(object.at, field.name, other);
                let parsed = super::strict(&value).unwrap_or_else(|e| panic!("{path}: {e}"));
                assert_eq!(of(&parsed.warnings), 0, "{path} {anyway}");
            }
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn every_supported_field_is_read() {
    for object in OBJECTS {
        let supported = |f: &&super::super::fields::Field| f.treatment == Treatment::Supported;
        for field in object.fields.iter().filter(supported) {
            // A value that no field may have.
            let (value, path) = fed(object.at, field.name, json!({"nonsense": [{}]}));
            let error = strict(&value).expect_err(&path);
            let there = error.faults.iter().any(|f| f.path.starts_with(&path));
            // Without its kind or name a document has another place.
            let elsewhere = ["kind", "metadata"].contains(&field.name);
            assert!(there || elsewhere, "{path}: {error}");
        }
    }
}

#[test]
fn no_field_is_twice_in_an_object_and_no_row_would_break_the_page() {
    for object in OBJECTS {
        let mut names: Vec<&str> = object.fields.iter().map(|f| f.name).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{}", object.at);
        for field in object.fields {
            let bad = ['|', '\n'];
            assert!(!field.says.contains(bad), "{}.{}", object.at, field.name);
        }
    }
}
