use serde_json::{Value, json};

use super::*;
use crate::{
    model::{
        spec::{EnvSource, EnvVar, Resource, VolumeMount},
        users::IdRange,
    },
    runtime::facts::NodeFacts,
};

struct Case {
    workload: WorkloadSpec,
    image: ImageConfiguration,
    user: ResolvedUser,
}

fn container() -> ContainerSpec {
    ContainerSpec {
        name: "web".into(),
        image: "busybox".into(),
        ..ContainerSpec::default()
    }
}

fn image(config: Value) -> ImageConfiguration {
    serde_json::from_value(json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []}, "history": [],
    }))
    .unwrap()
}

fn case(container: ContainerSpec, config: Value) -> Case {
    Case {
        workload: WorkloadSpec {
            name: "web".into(),
            containers: vec![container],
            ..WorkloadSpec::default()
        },
        image: image(config),
        user: ResolvedUser {
            home: "/root".into(),
            ..ResolvedUser::default()
        },
    }
}

fn volumes(container: &ContainerSpec) -> Vec<Mount> {
    let mounts = container.mounts.iter();
    mounts
        .map(|wish| defaults::bind(Path::new("/v"), &wish.path, &["bind"]))
        .collect()
}

fn written(case: &Case) -> Result<Value, ConfigError> {
    let id: ContainerId = "0123456789-0-3".parse().unwrap();
    let hostname = hostname(&id.uid, "web-1", &case.workload);
    let node = NodeFacts {
        name: "node-1".into(),
        address: Some([192, 0, 2, 7].into()),
        cpu_milli: 4000,
        memory: 8 << 30,
        least_oom_score: -1000,
        guarded: Vec::new(),
    };
    let facts = Facts {
        node: &node,
        instance: "web-1",
        uid: &id.uid,
        workload: &case.workload,
        addresses: &[[10, 1, 2, 3].into()],
    };
    let security = &case.workload.containers[0].security;
    let confinement = crate::runtime::bundle::confinement::of(security, u64::MAX).unwrap();
    let users = (!case.workload.host_users).then(|| {
        let pin = "/run/riklet/ns/0123456789/user".into();
        (pin, IdRange::at(131_072).unwrap())
    });
    let (root, locked): (_, &[_]) = match users {
        None => ("rootfs", &[]),
        Some(_) => ("/run/riklet/roots/0123456789-0-3/rootfs", &["noexec"]),
    };
    spec(&Ingredients {
        id: &id,
        node: &"abcdefghjk".parse().unwrap(),
        instance: "web-1",
        workload: &case.workload,
        facts: &facts,
        container: &case.workload.containers[0],
        image: &case.image,
        user: &case.user,
        hostname: &hostname,
        joined: &Joined {
            net: Some("/run/netns/rk-0123456789".into()),
            ipc: Some("/run/riklet/ns/0123456789/ipc".into()),
            uts: Some("/run/riklet/ns/0123456789/uts".into()),
            shm: Some("/run/riklet/ns/0123456789/shm".into()),
            users,
        },
        cgroups_path: "/riklet-abcdefghjk/pods/0123456789/0-3",
        seccomp: None,
        open_files: Some(20_000),
        root: Path::new(root),
        files: &[("/b/hosts".into(), "/etc/hosts".into())],
        locked,
        confinement: &confinement,
        devices: Vec::new(),
        volumes: volumes(&case.workload.containers[0]),
        swap: true,
    })
    .map(|spec| serde_json::to_value(spec).unwrap())
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn command_and_args_replace_the_images_as_in_kubernetes() {
    let config = json!({"Entrypoint": ["/entry", "-e"], "Cmd": ["default"]});
    for (command, args, expected) in [
        (&[][..], &[][..], &["/entry", "-e", "default"][..]),
        (&["/own"], &[], &["/own"]),
        (&[], &["mine"], &["/entry", "-e", "mine"]),
        (&["/own"], &["mine"], &["/own", "mine"]),
    ] {
        let mut container = container();
        container.command = texts(command);
        container.args = texts(args);
        let spec = written(&case(container, config.clone())).unwrap();
        assert_eq!(spec["process"]["args"], json!(expected));
    }
    let error = written(&case(container(), json!({}))).unwrap_err();
    assert_eq!(error, ConfigError::NoCommand("web".into()));
}

#[test]
fn variables_of_the_definition_lie_on_top_of_the_images() {
    let mut container = container();
    container.command = texts(&["/bin/$(WHO)", "$(MISSING)", "$$(WHO)", "a$b"]);
    let variable = |name: &str, value: &str| crate::model::spec::EnvVar {
        name: name.into(),
        value: value.into(),
        ..Default::default()
    };
    container.env = vec![
        variable("WHO", "me"),
        variable("LANG", "C"),
        variable("TWICE", "$(WHO)$(WHO)"),
    ];
    let case = case(container, json!({"Env": ["LANG=de", "IMG=1", "nonsense"]}));
    let spec = written(&case).unwrap();
    assert_eq!(
        spec["process"]["env"],
        json!([
            "LANG=C",
            "IMG=1",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=web-1",
            "WHO=me",
            "TWICE=meme",
            "HOME=/root"
        ])
    );
    assert_eq!(
        spec["process"]["args"],
        json!(["/bin/me", "$(MISSING)", "$(WHO)", "a$b"])
    );
}

#[test]
fn a_container_is_given_no_more_than_the_safe_defaults() {
    let mut root = case(container(), json!({"Cmd": ["x"], "WorkingDir": "srv"}));
    let spec = written(&root).unwrap();
    assert_eq!(spec["process"]["cwd"], "/srv");
    assert_eq!(spec["process"]["terminal"], false);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    let caps = &spec["process"]["capabilities"];
    for set in ["bounding", "effective", "permitted"] {
        let mut names: Vec<_> = caps[set].as_array().unwrap().iter().collect();
        names.sort_by_key(|n| n.as_str());
        assert_eq!(
            json!(names),
            json!([
                "CAP_CHOWN",
                "CAP_DAC_OVERRIDE",
                "CAP_FOWNER",
                "CAP_FSETID",
                "CAP_KILL",
                "CAP_NET_BIND_SERVICE",
                "CAP_SETFCAP",
                "CAP_SETGID",
                "CAP_SETPCAP",
                "CAP_SETUID",
                "CAP_SYS_CHROOT"
            ])
        );
    }
    assert_eq!(
        (&caps["ambient"], &caps["inheritable"]),
        (&json!([]), &json!([]))
    );
    let linux = &spec["linux"];
    assert_eq!(
        linux["cgroupsPath"],
        "/riklet-abcdefghjk/pods/0123456789/0-3"
    );
    assert_eq!(
        linux["resources"]["devices"],
        json!([{"allow": false, "access": "rwm"}])
    );
    assert_eq!(linux["resources"]["pids"]["limit"], 2048);
    let namespaces: Vec<_> = linux["namespaces"].as_array().unwrap().iter().collect();
    assert_eq!(
        json!(namespaces),
        json!([{"type": "pid"}, {"type": "mount"}, {"type": "cgroup"},
               {"type": "ipc", "path": "/run/riklet/ns/0123456789/ipc"},
               {"type": "uts", "path": "/run/riklet/ns/0123456789/uts"},
               {"type": "network", "path": "/run/netns/rk-0123456789"}])
    );
    let annotations = &spec["annotations"];
    assert_eq!(annotations["org.riklet.node"], "abcdefghjk");
    assert_eq!(annotations["org.riklet.attempt"], "3");
    assert_eq!(spec["root"], json!({"path": "rootfs", "readonly": false}));

    root.user.uid = 1000;
    let spec = written(&root).unwrap();
    assert_eq!(spec["process"]["capabilities"]["effective"], json!([]));
    assert_eq!(spec["process"]["user"]["uid"], 1000);
}

#[test]
fn ids_of_its_own_are_a_joined_namespace_with_its_mappings() {
    let mut case = case(container(), json!({"Cmd": ["x"]}));
    assert_eq!(written(&case).unwrap()["linux"]["uidMappings"], Value::Null);
    case.workload.host_users = false;
    let spec = written(&case).unwrap();
    let linux = &spec["linux"];
    let mapping = json!([{"containerID": 0, "hostID": 131_072, "size": 65_536}]);
    assert_eq!(linux["uidMappings"], mapping);
    assert_eq!(linux["gidMappings"], mapping);
    let user = json!({"type": "user", "path": "/run/riklet/ns/0123456789/user"});
    assert!(linux["namespaces"].as_array().unwrap().contains(&user));
    // Where its root can get, and with the options that it can't be without.
    assert_eq!(
        spec["root"]["path"],
        "/run/riklet/roots/0123456789-0-3/rootfs"
    );
    let mounts = spec["mounts"].as_array().unwrap();
    let hosts = mounts.iter().find(|m| m["destination"] == "/etc/hosts");
    let options = hosts.unwrap()["options"].as_array().unwrap();
    assert!(options.contains(&json!("noexec")), "{options:?}");
}

#[test]
fn nothing_of_another_runtimes_defaults_is_left() {
    let spec = written(&case(container(), json!({"Cmd": ["x"]}))).unwrap();
    assert!(!spec.to_string().contains("youki"));
    assert_eq!(spec["hostname"], "web-1");
    assert_eq!(spec["process"]["rlimits"][0]["hard"], 20_000);
}

#[test]
fn a_nul_is_refused_without_showing_the_value() {
    let mut container = container();
    container.command = texts(&["/x"]);
    container.env = vec![crate::model::spec::EnvVar {
        name: "SECRET".into(),
        value: "hush\0hush".into(),
        ..Default::default()
    }];
    let error = written(&case(container, json!({}))).unwrap_err();
    assert!(matches!(error, ConfigError::Nul(_)) && !error.to_string().contains("hush"));
}

#[test]
fn a_hostname_is_always_one() {
    let id: ContainerId = "0123456789-0-1".parse().unwrap();
    let mut workload = case(container(), json!({})).workload;
    assert_eq!(hostname(&id.uid, "a_b.c@cli", &workload), "a-b-c");
    assert_eq!(hostname(&id.uid, "___", &workload), "0123456789");
    assert_eq!(hostname(&id.uid, &"x".repeat(128), &workload).len(), 63);
    workload.hostname = Some("named".into());
    assert_eq!(hostname(&id.uid, "web", &workload), "named");
}

#[test]
fn variables_are_told_what_is_known_when_the_container_is_made() {
    let mut container = container();
    container.resources.limits.cpu_milli = Some(1500);
    let from = |name: &str, source| EnvVar {
        name: name.into(),
        from: Some(source),
        ..EnvVar::default()
    };
    let cores = EnvSource::Resource {
        container: 0,
        resource: Resource::Cpu,
        limit: true,
        divisor: 1000,
    };
    container.env = vec![
        from("NODE", EnvSource::NodeName),
        from("ADDRESS", EnvSource::PodIp),
        from("CORES", cores),
        EnvVar {
            name: "PLAIN".into(),
            value: "$(NODE)$$".into(),
            literal: true,
            ..EnvVar::default()
        },
        EnvVar {
            name: "BOTH".into(),
            value: "$(NODE)/$(PLAIN)".into(),
            ..EnvVar::default()
        },
    ];
    let spec = written(&case(container, json!({"Cmd": ["x"]}))).unwrap();
    let env = spec["process"]["env"].to_string();
    for pair in [
        "\"NODE=node-1\"",
        "\"ADDRESS=10.1.2.3\"",
        "\"CORES=2\"",
        "\"PLAIN=$(NODE)$$\"",
        "\"BOTH=node-1/$(NODE)$$\"",
    ] {
        assert!(env.contains(pair), "{pair} in {env}");
    }
}

#[test]
fn a_security_context_is_what_the_process_gets() {
    let mut container = container();
    container.tty = true;
    container.security.read_only_root = true;
    container.security.unmasked_proc = true;
    container.security.allow_privilege_escalation = Some(true);
    container.security.add = texts(&["NET_ADMIN"]);
    container.security.drop = texts(&["ALL"]);
    let mut asked = case(container, json!({"Cmd": ["x"]}));
    asked.workload.security.sysctls = vec![("net.core.somaxconn".into(), "64".into())];
    asked.workload.host_pid = true;
    asked.workload.host_ipc = true;
    let spec = written(&asked).unwrap();
    assert_eq!(spec["process"]["terminal"], true);
    assert_eq!(spec["root"]["readonly"], true);
    assert_eq!(spec["process"]["noNewPrivileges"], false);
    let bounding = &spec["process"]["capabilities"]["bounding"];
    assert_eq!(*bounding, json!(["CAP_NET_ADMIN"]));
    assert_eq!(spec["linux"]["sysctl"]["net.core.somaxconn"], "64");
    assert_eq!(spec["linux"]["maskedPaths"], json!([]));
    let namespaces = spec["linux"]["namespaces"].to_string();
    assert!(!namespaces.contains("\"pid\""));
    asked.workload.host_network = true;
    let refused = ConfigError::Sysctl("net.core.somaxconn".into());
    assert_eq!(written(&asked).unwrap_err(), refused);
}

#[test]
fn a_privileged_container_has_the_nodes_kernel() {
    let mut container = container();
    container.security.privileged = true;
    let spec = written(&case(container, json!({"Cmd": ["x"]}))).unwrap();
    assert_eq!(spec["process"]["noNewPrivileges"], false);
    let bounding = &spec["process"]["capabilities"]["bounding"];
    assert_eq!(bounding.as_array().unwrap().len(), 41);
    let devices = &spec["linux"]["resources"]["devices"];
    assert_eq!(*devices, json!([{"allow": true, "access": "rwm"}]));
    let mounts = spec["mounts"].as_array().unwrap();
    let sys = mounts.iter().find(|m| m["destination"] == "/sys").unwrap();
    assert!(!sys["options"].to_string().contains("\"ro\""));
}

#[test]
fn limits_and_requests_reach_the_kernel() {
    let mut container = container();
    container.resources.limits.cpu_milli = Some(250);
    container.resources.limits.memory = Some(64 << 20);
    container.resources.requests.cpu_milli = Some(100);
    let spec = written(&case(container, json!({"Cmd": ["x"]}))).unwrap();
    let resources = &spec["linux"]["resources"];
    assert_eq!(
        resources["cpu"],
        json!({"shares": 102, "quota": 25_000, "period": 100_000})
    );
    assert_eq!(
        resources["memory"],
        json!({"limit": 64 << 20, "swap": 64 << 20})
    );
    assert_eq!(spec["process"]["oomScoreAdj"], 999);
}

#[test]
fn a_volume_lies_where_the_definition_says_or_nowhere() {
    let at = |path: &str| {
        let mut container = container();
        container.mounts = vec![VolumeMount {
            volume: "v".into(),
            path: path.into(),
            read_only: false,
            sub_path: String::new(),
        }];
        written(&case(container, json!({"Cmd": ["x"]})))
    };
    for bad in [
        "/",
        "relative",
        "/a/../b",
        "/proc",
        "/proc/sys",
        "//proc/x",
        "",
        "/a\0",
        "/.",
    ] {
        let refused = at(bad).unwrap_err();
        assert_eq!(refused, ConfigError::Target("web".into(), bad.into()));
    }
    // It replaces what else would lie there, and comes after what it lies in.
    for (path, others) in [("/dev/shm/", "/dev/shm"), ("/etc/hosts", "/etc/hosts")] {
        let spec = at(path).unwrap();
        let mounts = spec["mounts"].as_array().unwrap().iter();
        let there: Vec<_> = mounts
            .filter(|m| m["destination"] == path || m["destination"] == others)
            .collect();
        assert_eq!(there.len(), 1);
        assert_eq!(there[0]["source"], "/v");
    }
    let spec = at("/etc").unwrap();
    let mounts = spec["mounts"].as_array().unwrap();
    let place = |path: &str| mounts.iter().position(|m| m["destination"] == path);
    assert!(place("/etc") < place("/etc/hosts"));
}
