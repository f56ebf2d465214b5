//! The wire: RIK v1 as generated code, and the one place where it meets the model.
//!
//! Exists so that nothing above sees a proto type. Owns: the generated code, the conversions,
//! one connection to the scheduler and its two calls. In: [`Report`]s and samples to send. Out:
//! [`Instruction`](crate::model::instruction::Instruction)s. Must never happen here: a decision
//! about what to send or when to connect again (that is `session` and `reporter`), or a
//! connection that is silently made anew: a status on a connection without a Register stream
//! makes RIK's scheduler forget the whole node.

mod error;
pub(crate) mod generated;
mod link;
mod scheduling;
mod status;

pub use error::{ConnectError, RegisterError, Said, SendError};
pub use link::{Connection, Instructions, Registration, StatusSender, Target, Tls, connect};
pub use scheduling::MAX_DEFINITION;
pub use status::{Message, Report};

/// The largest gRPC message taken, in bytes. A larger one ends the stream: its bytes can't be
/// skipped, for tonic has no way to.
pub const MAX_MESSAGE: usize = 16 << 20;

#[cfg(test)]
mod tests;
