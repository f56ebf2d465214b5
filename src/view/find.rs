//! From what a person types to the instance that is meant.

use crate::model::{
    fold::{Fold, InstanceRecord, Tombstone},
    ids::InstanceId,
};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// An instance of which something may be left.
    Live(&'a InstanceRecord),
    /// Its last incarnation is gone.
    Gone(&'a InstanceId, &'a Tombstone),
}

impl Found<'_> {
    /// The instance's id.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        match self {
            Self::Live(record) => &record.instance,
            Self::Gone(id, _) => id,
        }
    }
}

/// Why nothing, or too much, was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No such instance.
    #[error("there is no instance {0:?} (see `riklet ps`)")]
    NotFound(String),
    /// Several instances have that bare name.
    #[error("{name:?} may be {}: say which", .ids.join(" or "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// What it may be.
        ids: Vec<String>,
    },
}

/// Finds the instance that `text` names: its id, its uid, or its name without `@manifest` or
/// `@cli` while only one has it. What is there goes before what is gone.
///
/// # Errors
/// There is none, or several have that name.
pub fn find<'a>(fold: &'a Fold, text: &str) -> Result<Found<'a>, FindError> {
    let live: Vec<Found<'a>> = fold.instances.values().map(Found::Live).collect();
    let gone: Vec<Found<'a>> = fold
        .tombstones
        .iter()
        .map(|(id, t)| Found::Gone(id, t))
        .collect();
    for candidates in [live, gone] {
        if let Some(exact) = candidates.iter().find(|c| c.instance().as_str() == text) {
            return Ok(*exact);
        }
        let of_uid = |c: &&Found<'a>| match c {
            Found::Live(record) => record.uid.as_str() == text,
            Found::Gone(_, tombstone) => tombstone.uid.as_str() == text,
        };
        if let Some(exact) = candidates.iter().find(of_uid) {
            return Ok(*exact);
        }
        let mut named = candidates.iter().filter(|c| c.instance().bare() == text);
        match (named.next(), named.next()) {
            (Some(one), None) => return Ok(*one),
            (Some(one), Some(other)) => {
                let mut ids = vec![one.instance().to_string(), other.instance().to_string()];
                ids.extend(named.map(|c| c.instance().to_string()));
                return Err(FindError::Ambiguous {
                    name: text.to_owned(),
                    ids,
                });
            }
            (None, _) => {}
        }
    }
    Err(FindError::NotFound(text.to_owned()))
}
