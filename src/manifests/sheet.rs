//! What the files of one look ask for. Pure.
//!
//! Owns: which Pods there are, and which file holds which. In: files with their texts. Out: what
//! is wanted, and what is wrong, each with its file. Must never happen here: a value of a text in
//! a fault's message, for any may be a secret.

use std::collections::BTreeMap;

use super::directory::ManifestFile;
use crate::{
    model::{
        definition::{Strictness, parse},
        ids::{InstanceId, Source},
        spec::WorkloadSpec,
        state::Reason,
    },
    view::ManifestFault,
};

/// An instance that a file asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The file.
    pub(super) file: String,
    /// Its definition, with the documents that it names.
    pub(super) definition: String,
    /// The definition's model.
    pub(super) spec: WorkloadSpec,
}

/// What the files of one look ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sheet {
    /// By the instance.
    pub(super) wanted: BTreeMap<InstanceId, Wanted>,
    /// What is wrong. One that names an instance concerns that one alone.
    pub(super) faults: Vec<ManifestFault>,
}

impl Sheet {
    /// Reads the files, in the order of their names.
    pub(super) fn read(files: &[ManifestFile]) -> Self {
        let mut sheet = Self::default();
        for file in files {
            match &file.text {
                Ok(text) => sheet.take(&file.name, text),
                Err(why) => sheet.fault(&file.name, None, Reason::InvalidDefinition, why),
            }
        }
        sheet
    }

    /// Files of which it isn't known which instances they hold.
    pub(super) fn broken(&self) -> impl Iterator<Item = &str> {
        let whole = self.faults.iter().filter(|fault| fault.instance.is_none());
        whole.map(|fault| fault.file.as_str())
    }

    /// Does a file ask for it, be it faultily?
    pub(super) fn names(&self, instance: &InstanceId) -> bool {
        let faulty = |fault: &ManifestFault| fault.instance.as_deref() == Some(instance.as_str());
        self.wanted.contains_key(instance) || self.faults.iter().any(faulty)
    }

    pub(super) fn fault(
        &mut self,
        file: &str,
        instance: Option<&InstanceId>,
        reason: Reason,
        message: &str,
    ) {
        self.faults.push(ManifestFault {
            file: file.to_owned(),
            instance: instance.map(ToString::to_string),
            reason,
            message: message.to_owned(),
        });
    }

    fn take(&mut self, file: &str, text: &str) {
        let parsed = match parse(text, Strictness::Strict) {
            Ok(parsed) => parsed,
            Err(error) => return self.fault(file, None, error.reason, &error.to_string()),
        };
        let id = match InstanceId::local(&parsed.spec.name, Source::Manifest) {
            Ok(id) => id,
            Err(error) => {
                return self.fault(file, None, Reason::InvalidDefinition, &error.to_string());
            }
        };
        if let Some(first) = self.wanted.get(&id) {
            let why = format!(
                "{} has a Pod of this name already, and comes first",
                first.file
            );
            return self.fault(file, Some(&id), Reason::InvalidDefinition, &why);
        }
        let wanted = Wanted {
            file: file.to_owned(),
            definition: text.to_owned(),
            spec: parsed.spec,
        };
        self.wanted.insert(id, wanted);
    }
}
