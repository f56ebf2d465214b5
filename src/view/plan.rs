//! `plan`: what riklet would do now.

use serde::{Deserialize, Serialize};

use crate::{
    model::ids::InstanceId,
    plan::{InstancePlan, Planned},
};

/// Everything that is to be done; without instances the node has converged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Only those with something to do.
    pub instances: Vec<InstancePlanView>,
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
