//! What people and scripts are shown: documents made of the fold.
//!
//! Owns: the shape of every document (`ps -o json` and the rest), and what of an instance is a
//! secret. In: the [`Fold`](crate::model::fold::Fold), lines of the journal, and what only a live daemon
//! knows ([`Live`]). Out: serde values, the same whether a daemon made them or a dead one's files.
//! Must never happen here: IO, a clock, or an environment value in clear without being asked.

mod degraded;
mod describe;
mod explain;
mod find;
mod images;
mod narrate;
mod plan;
mod ps;
mod repair;
mod secrets;
mod status;

pub use self::{
    degraded::Degraded,
    describe::{ContainerDescription, DescribeView, ExitView, Secrets, describe},
    explain::{ExplainView, Step, explain},
    find::{FindError, Found, find},
    images::{ImageRow, ImagesUse, Pruned, PullView, Pulling, image_users, images, size},
    narrate::narrate,
    plan::{ActionView, HeldView, InstancePlanView, PlanView},
    ps::{ContainerRow, PsRow, ps, row},
    repair::{DoubtedView, RepairView, repair},
    secrets::{hide_secrets, shown_spec},
    status::{
        Counts, LinkState, LinkView, Live, ManifestFault, SeqView, StatusView, Unclaimed, status,
    },
};

/// What a secret is shown as.
pub const HIDDEN: &str = "***";

#[cfg(test)]
mod tests;
