#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::model::spec::ContainerSpec;

fn node() -> NodeFacts {
    NodeFacts {
        name: "node-1".into(),
        address: Some([192, 0, 2, 7].into()),
        cpu_milli: 4000,
        memory: 8 << 30,
        least_oom_score: -1000,
        guarded: Vec::new(),
    }
}

#[test]
fn an_incarnation_is_told_what_it_is_and_where() {
    let (node, uid) = (node(), "aaaaaaaaa2".parse().unwrap());
    let mut workload = WorkloadSpec::default();
    let addresses = [[10, 0, 0, 2].into(), [10, 0, 0, 3].into()];
    let value = |workload: &WorkloadSpec, source: &EnvSource| {
        let facts = Facts {
            node: &node,
            instance: "web-1@cli",
            uid: &uid,
            workload,
            addresses: &addresses,
        };
        facts.value(source)
    };
    assert_eq!(value(&workload, &EnvSource::Name), "web-1");
    assert_eq!(value(&workload, &EnvSource::Uid), "aaaaaaaaa2");
    assert_eq!(value(&workload, &EnvSource::NodeName), "node-1");
    assert_eq!(value(&workload, &EnvSource::HostIp), "192.0.2.7");
    assert_eq!(value(&workload, &EnvSource::PodIp), "10.0.0.2");
    workload.host_network = true;
    assert_eq!(value(&workload, &EnvSource::PodIp), "192.0.2.7");
}

#[test]
fn an_amount_is_rounded_up_and_no_limit_is_the_nodes_own() {
    let (node, uid) = (node(), "aaaaaaaaa2".parse().unwrap());
    let mut workload = WorkloadSpec::default();
    let mut limited = ContainerSpec::default();
    limited.resources.limits.cpu_milli = Some(1001);
    limited.resources.requests.memory = Some(1);
    workload.containers = vec![limited, ContainerSpec::default()];
    let facts = Facts {
        node: &node,
        instance: "web",
        uid: &uid,
        workload: &workload,
        addresses: &[],
    };
    let amount = |container, resource, limit, divisor| {
        facts.value(&EnvSource::Resource {
            container,
            resource,
            limit,
            divisor,
        })
    };
    assert_eq!(amount(0, Resource::Cpu, true, 1000), "2");
    assert_eq!(amount(0, Resource::Memory, false, 1 << 20), "1");
    assert_eq!(amount(0, Resource::Cpu, false, 1), "0");
    assert_eq!(amount(1, Resource::Cpu, true, 1000), "4");
    assert_eq!(amount(1, Resource::Memory, true, 1 << 20), "8192");
    assert_eq!(
        amount(9, Resource::Memory, true, 0),
        (8_u64 << 30).to_string()
    );
}
