//! What each kind of line changes in what is known of a sandbox.

use super::record::{InstanceRecord, SandboxRecord};
use crate::model::line::{Event, Moment};

/// Takes what an event says of the sandbox.
pub(super) fn apply(record: &mut InstanceRecord, event: &Event, moment: &Moment) {
    match event {
        Event::SandboxIntended {
            generation,
            claim,
            users,
            ..
        } => {
            let former = record.sandbox.take();
            let number = former.as_ref().map_or(0, |s| s.number).saturating_add(1);
            // Until nothing of the incarnation is left: what it made by them may still be there.
            let held = former.as_ref().and_then(|s| s.users);
            // Failures count on only within a definition.
            let failed = former.filter(|s| s.generation == *generation && !s.ready);
            record.sandbox = Some(SandboxRecord {
                boot: moment.boot.clone(),
                generation: *generation,
                number,
                claim: claim.clone(),
                users: users.or(held),
                addresses: Vec::new(),
                ready: false,
                failures: failed.as_ref().map_or(0, |s| s.failures),
                retry_up: None,
                message: failed.and_then(|s| s.message),
            });
        }
        Event::SandboxReady { addresses, .. } => {
            if let Some(sandbox) = &mut record.sandbox {
                sandbox.addresses.clone_from(addresses);
                (sandbox.ready, sandbox.failures) = (true, 0);
                sandbox.message = None;
            }
        }
        Event::SandboxFailed {
            message, retry_up, ..
        } => {
            if let Some(sandbox) = &mut record.sandbox {
                sandbox.failures = sandbox.failures.saturating_add(1);
                sandbox.retry_up = Some(*retry_up);
                sandbox.message = Some(message.clone());
            }
        }
        _ => {}
    }
}
