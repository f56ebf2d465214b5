//! What the files of one look ask for. Pure.
//!
//! Owns: which Pods there are, and which file holds which. In: files with their texts. Out: what
//! is wanted, and what is wrong, each with its file. Must never happen here: a value of a text in
//! a fault's message, for any may be a secret.

use std::collections::BTreeMap;

use super::directory::ManifestFile;
use crate::{
    model::{
        definition::{
            Strictness,
            documents::{Piece, split},
            parse,
        },
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
        let mut texts = Vec::new();
        for file in files {
            match &file.text {
                // Somebody is about to write it: that is no way to remove what it held.
                Ok(text) if !text.contains("kind") => {
                    let why = match text.trim().is_empty() {
                        true => "is empty",
                        false => "names no kind: is it half-written, or no definition at all?",
                    };
                    sheet.fault(&file.name, None, Reason::InvalidDefinition, why);
                }
                Ok(text) => texts.push((file.name.clone(), text.clone())),
                Err(why) => sheet.fault(&file.name, None, Reason::InvalidDefinition, why),
            }
        }
        for piece in split(&texts) {
            sheet.take(piece);
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
        self.file_of(instance).is_some()
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

    fn take(&mut self, piece: Piece) {
        let Piece {
            file,
            name,
            definition,
            faults,
        } = piece;
        let named = name.and_then(|name| InstanceId::local(&name, Source::Manifest).ok());
        if !faults.is_empty() {
            let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
            let reason = Reason::InvalidDefinition;
            return self.fault(&file, named.as_ref(), reason, &texts.join("; "));
        }
        let first = named.as_ref().and_then(|id| self.file_of(id));
        if let Some(first) = first {
            let why = format!("{first} has a Pod of this name already, and comes first");
            return self.fault(&file, named.as_ref(), Reason::InvalidDefinition, &why);
        }
        match (parse(&definition, Strictness::Strict), named) {
            (Ok(parsed), Some(id)) => {
                let wanted = Wanted {
                    file,
                    definition,
                    spec: parsed.spec,
                };
                self.wanted.insert(id, wanted);
            }
            (Ok(_), None) => {
                let why = "has a Pod without a legal name";
                self.fault(&file, None, Reason::InvalidDefinition, why);
            }
            (Err(error), named) => {
                self.fault(&file, named.as_ref(), error.reason, &error.to_string());
            }
        }
    }

    /// The file that names it first, be it faultily.
    fn file_of(&self, instance: &InstanceId) -> Option<&str> {
        let faulty = |fault: &&ManifestFault| fault.instance.as_deref() == Some(instance.as_str());
        let faulty = self.faults.iter().find(faulty);
        let wanted = self.wanted.get(instance).map(|wanted| wanted.file.as_str());
        wanted.or(faulty.map(|fault| fault.file.as_str()))
    }
}
