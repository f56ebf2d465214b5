//! The table of a definition's fields: what riklet does about each.
//!
//! Owns: the shape of the table; the rows are in [`tables`](super::tables). The parser asks it
//! what a field means, and docs/definition.md is made from it: a field that isn't in it can't be
//! read, so the page can't lie.

/// What is done about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Done as the field says.
    Supported,
    /// Taken without a word: it says nothing to a node.
    Silent,
    /// It has no effect, and what runs here is the same without it: a warning, from any source.
    Ignored,
    /// What would run is not what was meant: refused from people; a warning for the scheduler.
    Refused,
    /// What would run is another workload: refused from any source.
    Never,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What is done about it.
    pub treatment: Treatment,
    /// Its default, its limits, or why it isn't done.
    pub says: &'static str,
    /// A value for it, in JSON: fed to the parser by a test, at its place of a whole definition.
    pub sample: &'static str,
    /// Values that ask only for what happens anyway: neither ignored nor refused. False, the
    /// empty text, the empty list and the empty object always are such.
    pub anyway: &'static [&'static str],
}

/// An object of a definition.
#[derive(Debug)]
pub struct Object {
    /// Where it stands: `spec.containers[]`.
    pub at: &'static str,
    /// What it is, in a sentence; empty if its field says it.
    pub says: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// An object whose fields it has too, where it has no row of its own.
    pub like: Option<&'static Object>,
}

impl Object {
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        let own = self.fields.iter().find(|f| f.name == name);
        own.or_else(|| self.like?.field(name))
    }
}

const fn field(
    name: &'static str,
    treatment: Treatment,
    sample: &'static str,
    says: &'static str,
) -> Field {
    Field {
        name,
        treatment,
        says,
        sample,
        anyway: &[],
    }
}

pub(super) const fn does(name: &'static str, sample: &'static str, says: &'static str) -> Field {
    field(name, Treatment::Supported, sample, says)
}

pub(super) const fn silent(name: &'static str, sample: &'static str, says: &'static str) -> Field {
    field(name, Treatment::Silent, sample, says)
}

pub(super) const fn ignored(name: &'static str, sample: &'static str, says: &'static str) -> Field {
    field(name, Treatment::Ignored, sample, says)
}

pub(super) const fn refused(name: &'static str, sample: &'static str, says: &'static str) -> Field {
    field(name, Treatment::Refused, sample, says)
}

pub(super) const fn never(name: &'static str, sample: &'static str, says: &'static str) -> Field {
    field(name, Treatment::Never, sample, says)
}

impl Field {
    /// The same, but for values that ask for nothing else than what happens anyway.
    pub(super) const fn but(mut self, anyway: &'static [&'static str]) -> Self {
        self.anyway = anyway;
        self
    }
}
