//! What a degraded mode means to an operator, in a line each.
//!
//! Owns: the words of `status` beside a mode; docs/recovery.md has a section of each. In: a mode
//! with what exactly is wrong. Out: a [`Degraded`]. Must never happen here: judging whether a
//! mode is on.

use serde::{Deserialize, Serialize};

use crate::model::line::DegradedMode;

/// A degraded mode that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Its name.
    pub mode: String,
    /// What exactly is wrong.
    pub detail: String,
    /// What riklet does as long as it lasts.
    #[serde(default)]
    pub meanwhile: String,
    /// What to do about it.
    #[serde(default)]
    pub mend: String,
}

impl Degraded {
    /// With the words for the mode.
    #[must_use]
    pub fn new(mode: DegradedMode, detail: &str) -> Self {
        let (meanwhile, mend) = words(mode);
        Self {
            mode: mode.to_string(),
            detail: detail.to_owned(),
            meanwhile: meanwhile.to_owned(),
            mend: mend.to_owned(),
        }
    }
}

fn words(mode: DegradedMode) -> (&'static str, &'static str) {
    match mode {
        DegradedMode::JournalReadOnly => (
            "nothing is accepted, started or stopped; what runs goes on",
            "mend the disk of the state dir (`dmesg`, `findmnt -T`); no restart is needed",
        ),
        DegradedMode::JournalDamaged => (
            "instances that lost lines may be about (InDoubt) are neither started nor stopped",
            "`riklet state repair` lists them: name each by apply or delete, or accept them all",
        ),
        DegradedMode::StoreRebuilt => (
            "nothing was lost and nothing waits",
            "none needed; if it is so at every start, look at the disk",
        ),
        DegradedMode::StoreOff => (
            "the journal alone is used and nothing is lost; the store is tried every 30 s",
            "look for a full, failing or read-only disk",
        ),
        DegradedMode::DiskFull => (
            "creates are refused, nothing is killed, stops and exits are recorded",
            "make room on the disk of the state dir; it is left by itself",
        ),
        DegradedMode::Unclaimed => (
            "what it is runs on; `riklet ps` shows it",
            "keep it, or `riklet delete` it by the id that `ps` shows",
        ),
        DegradedMode::RuntimeHung => (
            "the call was killed and is tried again; all other instances go on",
            "`riklet explain` what stays Failed; a dead mount, a frozen cgroup, a dead registry",
        ),
        DegradedMode::RuntimeMissing => (
            "what runs goes on, what is to start is tried again",
            "`riklet doctor` names the program; install it, or set its path under [programs]",
        ),
        DegradedMode::SchedulerLost => (
            "everything runs on, every state is kept to be sent, the link is tried for ever",
            "check the scheduler's address, the network and the certificate",
        ),
        DegradedMode::JournalLost => (
            "what the store knew is known; the history before is gone",
            "find out who removed journal/; what isn't known any more is Unclaimed",
        ),
        DegradedMode::NetworkMissing => (
            "without plugins new instances have lo only, without a list they wait; all else works",
            "`riklet doctor` says what is missing or wrong; or set network.enabled = false",
        ),
        DegradedMode::ManifestsUnreadable => (
            "what its manifests asked for runs on; none is added, changed or removed",
            "make the directory be there and readable again; it is left by itself",
        ),
    }
}
