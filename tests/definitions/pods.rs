//! Pods in the style of the Kubernetes documentation: each runs, or is refused with all reasons.

use std::{fs, path::Path};

use riklet::model::{
    definition::{Parsed, Strictness, Warning, documents::split, parse},
    spec::{Errand, FileText, Resource, Role, VolumeSource, WorkloadSpec},
};

/// Each file of `pods/` with its text.
pub(crate) fn files() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/definitions/pods");
    let mut files: Vec<(String, String)> = fs::read_dir(directory)
        .expect("the pods")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), fs::read_to_string(&path).expect("text"))
        })
        .collect();
    files.sort();
    files
}

fn read(name: &str) -> WorkloadSpec {
    let (_, text) = files()
        .into_iter()
        .find(|(file, _)| file == name)
        .expect("a file");
    parse(&text, Strictness::Strict).expect(name).spec
}

/// The paths that a file's first lines tell of, after a word.
fn told<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines()
        .map_while(|line| line.strip_prefix("# "))
        .filter_map(|line| line.strip_prefix(word))
        .collect()
}

fn paths(found: &[Warning]) -> Vec<&str> {
    found.iter().map(|w| w.path.as_str()).collect()
}

#[test]
fn every_pod_runs_or_is_refused_with_all_its_reasons_at_once() {
    let files = files();
    assert!(files.len() >= 22, "{}", files.len());
    for (name, text) in &files {
        let sorted = |mut paths: Vec<&str>| {
            paths.sort_unstable();
            paths.join("\n")
        };
        let warns = sorted(told(text, "warns: "));
        let refused = sorted(told(text, "refused: "));
        match parse(text, Strictness::Strict) {
            Ok(Parsed { warnings, .. }) => {
                assert_eq!(refused, "", "{name} runs");
                assert_eq!(sorted(paths(&warnings)), warns, "{name}");
            }
            Err(error) => assert_eq!(sorted(paths(&error.faults)), refused, "{name}"),
        }
    }
}

#[test]
fn a_pod_is_the_same_from_its_file_and_put_together_by_what_it_names() {
    for (name, text) in files() {
        let pieces = split(&[(name.clone(), text.clone())]);
        let [piece] = pieces.as_slice() else {
            panic!("{name}: {pieces:?}");
        };
        let apart = parse(&piece.definition, Strictness::Strict);
        assert_eq!(apart, parse(&text, Strictness::Strict), "{name}");
    }
}

#[test]
fn main_containers_come_first_then_init_containers_and_sidecars() {
    let roles = |spec: &WorkloadSpec| -> Vec<(String, Role)> {
        let containers = spec.containers.iter();
        containers.map(|c| (c.name.clone(), c.role)).collect()
    };
    assert_eq!(
        roles(&read("init_containers_wait_for_services")),
        [
            ("myapp-container".to_owned(), Role::Main),
            ("init-myservice".to_owned(), Role::Init),
            ("init-mydb".to_owned(), Role::Init),
        ]
    );
    assert_eq!(
        roles(&read("sidecar_ships_logs")),
        [
            ("myapp".to_owned(), Role::Main),
            ("logshipper".to_owned(), Role::Sidecar),
        ]
    );
}

#[test]
fn probes_have_kubernetes_defaults_and_know_ports_by_name() {
    let spec = read("probes_tcp_and_startup_by_name");
    let probes = &spec.containers[0].probes;
    let startup = probes.startup.as_ref().expect("a startup probe");
    let Errand::Http(http) = &startup.errand else {
        panic!("{startup:?}");
    };
    assert_eq!((http.port, http.path.as_str()), (8080, "/healthz"));
    assert_eq!((startup.failures, startup.period), (30, 10));
    let liveness = probes.liveness.as_ref().expect("a liveness probe");
    assert_eq!(
        (liveness.timeout, liveness.successes, liveness.failures),
        (1, 1, 3)
    );
    let Errand::Tcp { port: 8080, .. } = liveness.errand else {
        panic!("{liveness:?}");
    };
}

#[test]
fn references_become_values_or_what_is_known_later() {
    let spec = read("env_of_the_pod_and_its_resources");
    let env = &spec.containers[0].env;
    let value = |name: &str| env.iter().find(|v| v.name == name).expect("a variable");
    assert_eq!(value("MY_POD_NAMESPACE").value, "default");
    assert!(value("MY_POD_IP").from.is_some());
    let source = value("MY_MEM_REQUEST").from.clone();
    let riklet::model::spec::EnvSource::Resource {
        container: 0,
        resource: Resource::Memory,
        limit: false,
        divisor,
    } = source.expect("a source")
    else {
        panic!("{env:?}");
    };
    assert_eq!(divisor, 1 << 20);

    let spec = read("config_map_as_environment");
    let env: Vec<_> = spec.containers[0]
        .env
        .iter()
        .map(|v| (v.name.as_str(), v.value.as_str(), v.literal))
        .collect();
    assert_eq!(
        env,
        [
            ("SPECIAL_LEVEL", "very", true),
            ("SPECIAL_TYPE", "charm", true),
            ("SPECIAL_LEVEL_KEY", "very", true),
        ]
    );
}

#[test]
fn volumes_hold_the_files_of_what_they_name() {
    let spec = read("config_map_and_secret_as_volumes");
    let VolumeSource::Inline { files, secret } = &spec.volumes[0].source else {
        panic!("{spec:?}");
    };
    assert!(!secret && files.len() == 1 && files[0].path == "log_level.conf");
    let VolumeSource::Inline { files, secret } = &spec.volumes[1].source else {
        panic!("{spec:?}");
    };
    // 0400 is octal in Kubernetes' YAML.
    assert!(
        *secret && files.iter().all(|f| f.mode == 0o400),
        "{files:?}"
    );
    assert_eq!(files[0].text, FileText::Text("hunter2".to_owned()));

    let spec = read("projected_volume");
    let VolumeSource::Inline { files, secret } = &spec.volumes[0].source else {
        panic!("{spec:?}");
    };
    let paths: Vec<&str> = files.iter().map(|f| f.path.as_str()).collect();
    let expected = [
        "my-group/my-username",
        "labels",
        "cpu_limit",
        "my-group/my-config",
    ];
    assert_eq!((paths.as_slice(), *secret), (&expected[..], true));
    let labels = FileText::Text("zone=\"us-est-coast\"".to_owned());
    assert_eq!((files[0].mode, &files[1].text), (0o777, &labels));
}

#[test]
fn a_container_overrides_its_pods_security_field_by_field() {
    let spec = read("security_context");
    let security = &spec.containers[0].security;
    assert_eq!(
        (security.run_as_user, security.run_as_group),
        (Some(2000), Some(3000))
    );
    assert_eq!(security.add, ["NET_ADMIN", "SYS_TIME"]);
    assert_eq!(security.drop, ["ALL"]);
    assert_eq!(spec.security.fs_group, Some(2000));
    assert!(spec.security.fs_group_on_mismatch);
    assert_eq!(spec.security.supplemental_groups, [4000]);
}

#[test]
fn with_the_nodes_network_every_port_is_a_host_port() {
    let spec = read("host_network_and_paths");
    let ports: Vec<_> = spec.host_ports().map(|(n, p)| (n, p.host)).collect();
    assert_eq!(ports, [(0, 9100)]);
}
