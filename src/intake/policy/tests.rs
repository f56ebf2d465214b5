use super::*;
use crate::model::spec::{ContainerSecurity, HostPathKind, Volume};

fn rules() -> Rules {
    Rules {
        own_dirs: vec!["/var/lib/riklet".into(), "/run/riklet".into()],
        ..Rules::default()
    }
}

fn mounting(path: &str) -> WorkloadSpec {
    WorkloadSpec {
        volumes: vec![Volume {
            name: "v".to_owned(),
            source: VolumeSource::HostPath {
                path: path.to_owned(),
                kind: HostPathKind::Unchecked,
            },
        }],
        ..WorkloadSpec::default()
    }
}

#[test]
fn the_scheduler_gets_what_concerns_no_other_and_every_fault_is_named_at_once() {
    let asked = ContainerSecurity {
        privileged: true,
        allow_privilege_escalation: Some(true),
        add: vec!["CHOWN".into(), "NET_ADMIN".into(), "SYS_ADMIN".into()],
        seccomp: Seccomp::Unconfined,
        unmasked_proc: true,
        ..ContainerSecurity::default()
    };
    let container = |role| ContainerSpec {
        role,
        security: asked.clone(),
        ..ContainerSpec::default()
    };
    let mut spec = WorkloadSpec {
        containers: vec![container(Role::Main), container(Role::Init)],
        host_network: true,
        host_pid: true,
        host_ipc: true,
        ..mounting("/etc")
    };
    spec.security.sysctls = vec![
        ("kernel.shm_rmid_forced".into(), "1".into()),
        ("net.core.somaxconn".into(), "9".into()),
    ];
    let faults = forbidden(&rules(), Source::Scheduler, &spec);
    let fields: Vec<&str> = faults
        .iter()
        .map(|f| f.split(':').next().unwrap())
        .collect();
    let own = |list: &str| {
        [
            format!("spec.{list}[0].securityContext.privileged"),
            format!("spec.{list}[0].securityContext.seccompProfile"),
            format!("spec.{list}[0].securityContext.procMount"),
            format!("spec.{list}[0].securityContext.capabilities.add (\"NET_ADMIN\")"),
            format!("spec.{list}[0].securityContext.capabilities.add (\"SYS_ADMIN\")"),
        ]
    };
    let mut wanted = vec!["spec.hostPID".to_owned(), "spec.hostIPC".to_owned()];
    wanted.extend(own("containers"));
    wanted.extend(own("initContainers"));
    wanted.push("spec.securityContext.sysctls[1] (\"net.core.somaxconn\")".to_owned());
    wanted.push("spec.volumes[0].hostPath.path".to_owned());
    assert_eq!(fields, wanted);
    assert!(faults.iter().all(|f| f.contains("security.scheduler.")));
    // Root's own sources get it all.
    for source in [Source::Manifest, Source::Cli] {
        assert_eq!(forbidden(&rules(), source, &spec), Vec::<String>::new());
    }
}

#[test]
fn what_the_settings_list_is_let_through() {
    let mut rules = rules();
    let allowed = &mut rules.security.scheduler;
    allowed.capabilities = vec!["CAP_NET_ADMIN".into()];
    allowed.sysctls = vec!["net.core.*".into()];
    allowed.host_network = false;
    let mut spec = WorkloadSpec {
        containers: vec![ContainerSpec {
            security: ContainerSecurity {
                add: vec!["NET_ADMIN".into()],
                ..ContainerSecurity::default()
            },
            ..ContainerSpec::default()
        }],
        ..WorkloadSpec::default()
    };
    spec.security.sysctls = vec![("net.core.somaxconn".into(), "9".into())];
    assert_eq!(
        forbidden(&rules, Source::Scheduler, &spec),
        Vec::<String>::new()
    );
    spec.host_network = true;
    let faults = forbidden(&rules, Source::Scheduler, &spec);
    assert!(faults[0].starts_with("spec.hostNetwork: "), "{faults:?}");
}

#[test]
fn a_path_of_the_node_has_one_meaning_however_it_is_spelt() {
    let mut rules = rules();
    rules.security.scheduler.host_paths = vec!["/srv/data/".into(), "/var/lib".into()];
    let faults = |source, path: &str| forbidden(&rules, source, &mounting(path)).len();
    for good in [
        "/srv/data",
        "/srv/data/a",
        "//srv//data/./a",
        "/var/lib/other",
        "/var/lib/rikletty",
    ] {
        assert_eq!(faults(Source::Scheduler, good), 0, "{good}");
    }
    assert_eq!(faults(Source::Scheduler, "/"), 2);
    for bad in [
        "/srv",
        "/srv/database",
        "/srv/data/../../etc",
        "srv/data",
        "",
        // Its own, or above it, though it is allowed or lies below what is.
        "/var/lib",
        "/var/lib/riklet",
        "/var/lib//riklet/./journal",
    ] {
        assert_eq!(faults(Source::Scheduler, bad), 1, "{bad}");
    }
    // Nobody gets riklet's own, root's sources neither.
    for own in ["/run/riklet", "/run/riklet/riklet.sock", "/var/lib/riklet/"] {
        assert_eq!(faults(Source::Cli, own), 1, "{own}");
        assert_eq!(faults(Source::Manifest, own), 1, "{own}");
    }
    assert_eq!(faults(Source::Cli, "/"), 0);
}
