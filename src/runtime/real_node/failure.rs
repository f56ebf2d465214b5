//! What an error of the edge means for the retry policy: one table.

use std::{error::Error, io, time::Duration};

use crate::{
    model::ids::{ContainerId, Uid},
    network::{cni::CniError, plug::NetworkError},
    node::{Failure, FailureKind},
    runtime::{
        bundle::{BundleError, overlay::OverlayError, profiles::ProfileError, user::UserError},
        cgroup::CgroupError,
        conmon::MonitorError,
        process::CallError,
        runc::RuncError,
        users::UsersError,
        volumes::VolumeError,
    },
};

/// Is somewhere in this chain a full disk?
fn disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut link = Some(error);
    while let Some(e) = link {
        let full = |e: &io::Error| {
            matches!(
                e.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        if e.downcast_ref::<io::Error>().is_some_and(full) {
            return true;
        }
        link = e.source();
    }
    false
}

fn failure<E: Error + Send + Sync + 'static>(
    kind: FailureKind,
    tried: String,
    error: E,
) -> Failure {
    let kind = if kind == FailureKind::Transient && disk_full(&error) {
        FailureKind::DiskFull
    } else {
        kind
    };
    Failure::new(kind, tried, error)
}

/// Work on files isn't done in time; it goes on by itself.
pub(super) fn late(tried: String, limit: Duration) -> Failure {
    let seconds = limit.as_secs();
    let message = format!("not done after {seconds} s: a file system that it is at may hang");
    let error = io::Error::new(io::ErrorKind::TimedOut, message);
    Failure::new(FailureKind::Transient, tried, error)
}

fn call_kind(error: &CallError) -> FailureKind {
    match error {
        CallError::Missing { .. } => FailureKind::ProgramMissing,
        CallError::Deadline { .. } => FailureKind::Hung,
        CallError::Cgroup { source, .. } => cgroup_kind(source),
        CallError::Spawn { .. } | CallError::Exit { .. } => FailureKind::Transient,
    }
}

fn cgroup_kind(error: &CgroupError) -> FailureKind {
    match error {
        CgroupError::Unkillable { .. } => FailureKind::Unkillable,
        _ => FailureKind::Transient,
    }
}

pub(super) fn of_cgroup(tried: &str, error: CgroupError) -> Failure {
    failure(cgroup_kind(&error), tried.to_owned(), error)
}

pub(super) fn of_io(tried: String, error: io::Error) -> Failure {
    failure(FailureKind::Transient, tried, error)
}

pub(super) fn of_runc(tried: String, error: RuncError) -> Failure {
    let kind = match &error {
        RuncError::Call { source, .. } => call_kind(source),
        RuncError::Refused { .. } | RuncError::Output { .. } => FailureKind::Transient,
    };
    failure(kind, tried, error)
}

pub(super) fn of_bundle(id: &ContainerId, error: BundleError) -> Failure {
    let kind = match &error {
        BundleError::NoContainer(_)
        | BundleError::Config(_)
        | BundleError::User(UserError::NoUser(_) | UserError::NoGroup(_))
        | BundleError::Overlay(OverlayError::Path { .. })
        | BundleError::Root(_)
        | BundleError::Id { .. }
        | BundleError::Overlay(OverlayError::Kernel(_))
        | BundleError::Capability(..)
        | BundleError::Profile(ProfileError::Parse { .. }) => FailureKind::Permanent,
        BundleError::Overlay(OverlayError::Mapped { source, .. }) if source.permanent() => {
            FailureKind::Permanent
        }
        BundleError::Volume(error) if error.permanent() => FailureKind::Permanent,
        BundleError::Overlay(OverlayError::SnapshotMissing { .. }) => FailureKind::SnapshotMissing,
        BundleError::User(UserError::Read { .. })
        | BundleError::Overlay(_)
        | BundleError::Profile(ProfileError::Read { .. })
        | BundleError::Volume(_)
        | BundleError::NoIds
        | BundleError::Closed { .. }
        | BundleError::Write { .. } => FailureKind::Transient,
    };
    failure(kind, format!("make the bundle of {id}"), error)
}

pub(super) fn of_network(tried: String, error: NetworkError) -> Failure {
    let kind = match &error {
        NetworkError::Plugin { source, .. } => match source.as_ref() {
            CniError::Missing { .. } => FailureKind::ProgramMissing,
            CniError::Call(source) => call_kind(source),
            CniError::Refused { .. } | CniError::Output { .. } => FailureKind::Transient,
        },
        NetworkError::Firewall(source) => call_kind(source),
        // The operator may mend it at any time.
        NetworkError::List(_)
        | NetworkError::Own { .. }
        | NetworkError::Bridge { .. }
        | NetworkError::Address { .. } => FailureKind::Transient,
    };
    failure(kind, tried, error)
}

pub(super) fn of_users(tried: String, error: UsersError) -> Failure {
    let kind = match &error {
        UsersError::Child(source) => call_kind(source),
        UsersError::End(source) => cgroup_kind(source),
        // The operator may raise it at any time.
        UsersError::Limit | UsersError::Step { .. } | UsersError::Network(_) => {
            FailureKind::Transient
        }
    };
    failure(kind, tried, error)
}

pub(super) fn of_volume(uid: &Uid, error: VolumeError) -> Failure {
    let kind = match error.permanent() {
        true => FailureKind::Permanent,
        false => FailureKind::Transient,
    };
    failure(kind, format!("make the volumes of {uid}"), error)
}

pub(super) fn of_monitor(id: &ContainerId, error: MonitorError) -> Failure {
    let kind = match &error {
        MonitorError::Spawn { source } | MonitorError::Runtime { source } => call_kind(source),
        MonitorError::Deadline { .. } => FailureKind::Hung,
        MonitorError::Prepare { .. }
        | MonitorError::Refused { .. }
        | MonitorError::Vanished { .. } => FailureKind::Transient,
    };
    failure(kind, format!("create the container {id}"), error)
}

/// A thread of ours that ended without an answer.
pub(super) fn hung_task(tried: &str, error: tokio::task::JoinError) -> Failure {
    Failure::new(FailureKind::Transient, tried, error)
}
