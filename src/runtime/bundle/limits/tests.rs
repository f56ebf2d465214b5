#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const GIB: u64 = 1 << 30;

fn amounts(cpu_milli: Option<u64>, memory: Option<u64>) -> Amounts {
    Amounts { cpu_milli, memory }
}

fn container(role: Role, requests: Amounts, limits: Amounts) -> ContainerSpec {
    ContainerSpec {
        role,
        resources: Resources { limits, requests },
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
fn shares_and_quotas_are_kubernetes_and_never_what_the_kernel_refuses() {
    for (milli, expected) in [
        (None, 2),
        (Some(0), 2),
        (Some(1), 2),
        (Some(250), 256),
        (Some(1000), 1024),
        (Some(u64::MAX), 262_144),
    ] {
        assert_eq!(shares(milli), expected, "{milli:?}");
    }
    for (milli, expected) in [(0, 1000), (1, 1000), (250, 25_000), (4000, 400_000)] {
        assert_eq!(quota(milli), expected);
    }
    assert!(i64::try_from(quota(u64::MAX)).is_ok());
}

#[test]
fn the_kernel_ends_last_what_everything_is_kept_for() {
    let score = |workload: &WorkloadSpec, n: usize| {
        oom_score_adj(workload, &workload.containers[n], 8 * GIB)
    };
    let (none, some) = (Amounts::default(), amounts(Some(100), Some(GIB)));
    let guaranteed = workload(vec![container(Role::Main, some, some)]);
    assert_eq!(score(&guaranteed, 0), -997);
    assert_eq!(
        score(&workload(vec![container(Role::Main, none, none)]), 0),
        1000
    );
    let burstable = workload(vec![
        container(Role::Main, some, some),
        container(Role::Main, none, none),
        container(Role::Main, amounts(None, Some(100 * GIB)), none),
        container(Role::Init, amounts(None, Some(1)), none),
    ]);
    let scores: Vec<_> = (0..4).map(|n| score(&burstable, n)).collect();
    assert_eq!(scores, [875, 999, 3, 999]);
    // Never at or below the daemon's own.
    let huge = amounts(None, Some(u64::MAX));
    let huge = workload(vec![container(Role::Main, huge, none)]);
    assert_eq!(oom_score_adj(&huge, &huge.containers[0], 0), 3);
}

#[test]
fn a_pod_may_use_what_its_containers_may_use_at_once() {
    let of = |role, milli| container(role, amounts(Some(milli), None), amounts(Some(milli), None));
    let pod = workload(vec![
        of(Role::Main, 100),
        of(Role::Main, 200),
        of(Role::Sidecar, 50),
        of(Role::Init, 400),
    ]);
    assert_eq!(of_pod(&pod).cpu_milli, Some(450));
    assert_eq!(of_pod(&pod).shares, 460);
    assert_eq!(of_pod(&pod).memory, None);
    let pod = workload(vec![
        of(Role::Main, 500),
        of(Role::Init, 400),
        of(Role::Sidecar, 50),
    ]);
    assert_eq!(of_pod(&pod).cpu_milli, Some(550));
    let unlimited = container(Role::Main, Amounts::default(), Amounts::default());
    let pod = workload(vec![of(Role::Main, 500), unlimited]);
    assert_eq!(of_pod(&pod).cpu_milli, None);
    assert_eq!(of_pod(&pod).shares, 512);
}

#[test]
fn swap_is_limited_where_it_is_counted() {
    let mut resources = Resources::default();
    assert_eq!(memory(&resources, true), None);
    resources.limits.memory = Some(GIB);
    assert_eq!(memory(&resources, true).unwrap().swap(), Some(1 << 30));
    assert_eq!(memory(&resources, false).unwrap().swap(), None);
    resources.limits.memory = Some(u64::MAX);
    assert_eq!(memory(&resources, true).unwrap().limit(), Some(i64::MAX));
}
