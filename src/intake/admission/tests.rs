use super::*;
use crate::model::spec::{Amounts, ContainerSpec, Port, Resources};

const GIB: u64 = 1 << 30;

fn of(role: Role, cpu: u64, memory: u64) -> ContainerSpec {
    ContainerSpec {
        role,
        resources: Resources {
            requests: Amounts {
                cpu_milli: Some(cpu),
                memory: Some(memory),
            },
            ..Resources::default()
        },
        ..ContainerSpec::default()
    }
}

fn workload(containers: Vec<ContainerSpec>) -> WorkloadSpec {
    WorkloadSpec {
        containers,
        ..WorkloadSpec::default()
    }
}

#[test]
fn requests_are_counted_as_kubelet_counts_them() {
    let cpu = |spec: &WorkloadSpec| needs(spec, |amounts| amounts.cpu_milli);
    let rows = [
        (vec![], 0),
        (vec![of(Role::Main, 100, 0), of(Role::Main, 200, 0)], 300),
        // An init container runs alone, before the rest.
        (vec![of(Role::Main, 100, 0), of(Role::Init, 500, 0)], 500),
        (vec![of(Role::Main, 600, 0), of(Role::Init, 500, 0)], 600),
        // A sidecar goes on running, and counts in what comes after it only.
        (
            vec![
                of(Role::Main, 100, 0),
                of(Role::Init, 500, 0),
                of(Role::Sidecar, 50, 0),
            ],
            500,
        ),
        (
            vec![
                of(Role::Main, 100, 0),
                of(Role::Sidecar, 50, 0),
                of(Role::Init, 500, 0),
            ],
            550,
        ),
        (
            vec![of(Role::Main, u64::MAX, 0), of(Role::Main, 1, 0)],
            u64::MAX,
        ),
    ];
    for (containers, wanted) in rows {
        assert_eq!(cpu(&workload(containers.clone())), wanted, "{containers:?}");
    }
}

#[test]
fn a_lack_names_what_is_wanted_what_is_left_and_who_has_it() {
    let one = workload(vec![of(Role::Main, 0, GIB)]);
    let ids: Vec<InstanceId> = ["a", "b", "c", "d"]
        .iter()
        .map(|id| InstanceId::from_wire(id).unwrap())
        .collect();
    let holders: Vec<_> = ids.iter().map(|id| (id, &one)).collect();
    let share = |all: u64| Share {
        reason: Reason::InsufficientMemory,
        what: "memory",
        of: &|spec| needs(spec, |amounts| amounts.memory),
        all,
        text: &size,
    };
    assert_eq!(share(5 * GIB).lacking(&holders, None, &one), None);
    let (reason, message) = share(9 * GIB / 2).lacking(&holders, None, &one).unwrap();
    assert_eq!(reason, Reason::InsufficientMemory);
    assert_eq!(
        message,
        "it requests 1 GiB of memory, of 4.5 GiB for instances 512 MiB is left: d has 1 GiB, \
         c has 1 GiB, b has 1 GiB, 1 more have the rest"
    );
    // Who has it may keep it, on a node that has become smaller.
    assert_eq!(share(GIB).lacking(&holders, Some(&one), &one), None);
    // Who asks for nothing is never refused.
    assert_eq!(share(0).lacking(&holders, None, &workload(vec![])), None);
}

#[test]
fn ports_meet_where_both_would_listen() {
    let listen = |port, protocol, at: &str| Listen {
        path: String::new(),
        port,
        protocol,
        at: at.parse().ok(),
    };
    let meets = |a: &Listen<'_>, b: &Listen<'_>| {
        assert_eq!(a.meets(b), b.meets(a));
        a.meets(b)
    };
    let all = listen(80, "TCP", "");
    assert!(meets(&all, &listen(80, "TCP", "")));
    assert!(meets(&all, &listen(80, "TCP", "10.0.0.1")));
    assert!(meets(
        &listen(80, "TCP", "0.0.0.0"),
        &listen(80, "TCP", "10.0.0.1")
    ));
    assert!(!meets(&all, &listen(80, "UDP", "")));
    assert!(!meets(&all, &listen(81, "TCP", "")));
    assert!(!meets(
        &listen(80, "TCP", "10.0.0.2"),
        &listen(80, "TCP", "10.0.0.1")
    ));
}

#[test]
fn on_the_nodes_network_every_port_is_the_nodes() {
    let container = ContainerSpec {
        ports: vec![Port {
            host: 0,
            container: 9_100,
            protocol: "TCP".to_owned(),
            name: None,
            host_ip: None,
        }],
        ..ContainerSpec::default()
    };
    let mut spec = workload(vec![container]);
    assert_eq!(ports(&spec).len(), 0);
    spec.host_network = true;
    assert_eq!(ports(&spec)[0].port, 9_100);
}
