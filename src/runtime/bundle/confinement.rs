//! What a container may do, from its `securityContext`.
//!
//! Owns: the rules for capabilities, new privileges and what `privileged` comes to. In: the
//! definition's model. Out: plain values. Must never happen here: IO, or a right that the
//! definition doesn't ask for by name.

use oci_spec::runtime::Capability;

use super::defaults::CAPABILITIES;
use crate::model::spec::ContainerSecurity;

/// Every capability, in the kernel's order: the place is the kernel's number.
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// What a container may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// The most it may have.
    pub capabilities: Vec<Capability>,
    /// No process gains what its parent hasn't: setuid files are only files.
    pub no_new_privileges: bool,
    /// The node's devices, and its kernel's files to write.
    pub privileged: bool,
    /// What of /proc is hidden or read-only elsewhere, isn't.
    pub unmasked: bool,
}

/// A capability that there isn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCapability(pub String);

fn named(names: &[String]) -> Result<(bool, Vec<Capability>), UnknownCapability> {
    let mut found = Vec::with_capacity(names.len());
    for name in names.iter().filter(|name| *name != "ALL") {
        let parsed = name.parse();
        found.push(parsed.map_err(|_| UnknownCapability(name.clone()))?);
    }
    Ok((names.iter().any(|name| name == "ALL"), found))
}

/// All that `bounds`, the daemon's own bounding set, has: it can't give away what it hasn't.
fn all(bounds: u64) -> impl Iterator<Item = Capability> {
    let bits = ALL.into_iter().enumerate();
    bits.filter(move |(bit, _)| bounds >> bit & 1 == 1)
        .map(|(_, capability)| capability)
}

/// The daemon's own bounding set, as bits; everything if the kernel doesn't say.
#[must_use]
pub fn own_bounds() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

/// What a definition's words come to: the default capabilities (or all), without those to drop,
/// then with those to add.
///
/// # Errors
/// A capability that there isn't.
pub fn of(security: &ContainerSecurity, bounds: u64) -> Result<Confinement, UnknownCapability> {
    let (add_all, add) = named(&security.add)?;
    let (drop_all, drop) = named(&security.drop)?;
    let privileged = security.privileged;
    let mut capabilities: Vec<Capability> = match privileged || add_all {
        true => all(bounds).collect(),
        false => CAPABILITIES.to_vec(),
    };
    if !privileged {
        capabilities.retain(|c| !drop_all && !drop.contains(c));
        let more = add.into_iter().filter(|c| !capabilities.contains(c));
        capabilities.extend(more.collect::<Vec<_>>());
    }
    let powerful = privileged || capabilities.contains(&Capability::SysAdmin);
    Ok(Confinement {
        no_new_privileges: !security.allow_privilege_escalation.unwrap_or(powerful),
        capabilities,
        privileged,
        unmasked: privileged || security.unmasked_proc,
    })
}

#[cfg(test)]
mod tests;
