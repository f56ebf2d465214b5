//! Short ways to say what a test is about.

use crate::model::{
    ids::{ContainerId, Uid},
    line::Moment,
    spec::{ContainerSpec, RestartPolicy, WorkloadSpec},
};

/// A uid that is the same for the same number.
#[must_use]
pub fn uid(n: u64) -> Uid {
    Uid::from_entropy(n)
}

/// The name of an attempt.
#[must_use]
pub fn container_id(uid: &Uid, n: u16, attempt: u32) -> ContainerId {
    ContainerId {
        uid: uid.clone(),
        n,
        attempt,
    }
}

/// A moment in the boot `boot-1`, `up` ms after it.
#[must_use]
pub fn moment(up: u64) -> Moment {
    moment_in("boot-1", up)
}

/// A moment in a boot; the wall clock is `up` ms after the Unix epoch.
#[must_use]
pub fn moment_in(boot: &str, up: u64) -> Moment {
    let at = i64::try_from(up)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    Moment {
        at: at.unwrap_or_default(),
        up,
        boot: boot.to_owned(),
    }
}

/// A workload of containers `c0`, `c1`, … of the image `image`, with 30 s of grace.
#[must_use]
pub fn workload(containers: usize, restart_policy: RestartPolicy) -> WorkloadSpec {
    let container = |n: usize| ContainerSpec {
        name: format!("c{n}"),
        image: "image".to_owned(),
        command: vec!["sleep".to_owned(), "1000".to_owned()],
        ..ContainerSpec::default()
    };
    WorkloadSpec {
        name: "workload".to_owned(),
        containers: (0..containers).map(container).collect(),
        restart_policy,
        grace_seconds: 30,
        ..WorkloadSpec::default()
    }
}
