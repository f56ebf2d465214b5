//! The wire: generated code, and the one place where it is converted to and from the model.
//!
//! Exists so that nothing above sees a proto type. Owns: `mod generated` and the conversions.

pub(crate) mod generated;

#[cfg(test)]
mod tests;
