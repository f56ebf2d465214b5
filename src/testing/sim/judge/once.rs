//! What is begun at most once: work whose policy is Never.
//!
//! But for what riklet itself ended before its time, and what a power cut took the lines of.

use std::collections::BTreeMap;

use super::kin::{Kin, Work};
use crate::model::{ids::ContainerId, spec::RestartPolicy, state::Reason};

/// Which attempt has begun each work.
#[derive(Debug, Default)]
pub(super) struct Once(BTreeMap<Work, ContainerId>);

impl Once {
    /// An attempt is seen running.
    pub(super) fn runs(&mut self, id: &ContainerId, kin: Option<&Kin>) -> Option<String> {
        let kin = kin.filter(|kin| kin.policy == RestartPolicy::Never)?;
        let first = self.0.insert(kin.work(id, id.n), id.clone())?;
        (first != *id).then(|| format!("{id} begins the work again that {first} began, by Never"))
    }

    /// An attempt's end is recorded.
    pub(super) fn ended(&mut self, id: &ContainerId, reason: Option<Reason>) {
        let ours = [Reason::Replacing, Reason::NodeDrained, Reason::SandboxError];
        if reason.is_some_and(|r| ours.contains(&r)) {
            self.0.retain(|_, of| of != id);
        }
    }
}
