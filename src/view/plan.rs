//! `plan`: what riklet would do now.

use serde::{Deserialize, Serialize};

use crate::{
    model::{fold::InstanceRecord, ids::InstanceId},
    plan::{InstancePlan, Planned},
};

/// Everything that is to be done; without instances the node has converged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Only those with something to do.
    pub instances: Vec<InstancePlanView>,
    /// Instances in doubt: whatever is due for them, nothing is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldView>,
}

/// An instance for which nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    /// Its id.
    pub instance: String,
    /// Why, in a sentence.
    pub why: String,
}

/// What is to be done to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePlanView {
    /// Its id.
    pub instance: String,
    /// In order.
    pub actions: Vec<ActionView>,
}

/// One planned action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionView {
    /// Its name: `create`, `start`, …
    pub action: String,
    /// The container's id, where it is about one.
    pub container: Option<String>,
    /// Why, in a sentence.
    pub why: String,
}

/// Why nothing is done to an instance in doubt; none if it isn't.
pub(super) fn in_doubt(record: &InstanceRecord) -> Option<String> {
    let why = record.doubt.as_ref()?;
    Some(format!(
        "it is in doubt, for lines about it may be lost ({why}): it is neither started nor \
         stopped until an instruction names it, or `riklet state repair --accept`"
    ))
}

impl From<&Planned> for ActionView {
    fn from(planned: &Planned) -> Self {
        Self {
            action: planned.action.name().to_owned(),
            container: planned.action.container().map(ToString::to_string),
            why: planned.why.clone(),
        }
    }
}

impl PlanView {
    /// Takes those of the instances that are in doubt.
    pub fn hold<'a>(&mut self, records: impl Iterator<Item = &'a InstanceRecord>) {
        let held = records.filter_map(|record| {
            Some(HeldView {
                instance: record.instance.to_string(),
                why: in_doubt(record)?,
            })
        });
        self.held.extend(held);
    }

    /// Takes the plan of an instance, unless there is nothing in it.
    pub fn push(&mut self, instance: &InstanceId, plan: &InstancePlan) {
        if !plan.actions.is_empty() {
            self.instances.push(InstancePlanView {
                instance: instance.to_string(),
                actions: plan.actions.iter().map(ActionView::from).collect(),
            });
        }
    }
}
