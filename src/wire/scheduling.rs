//! What the scheduler says, as an [`Instruction`].

use super::generated::{common::WorkloadRequestKind, worker::InstanceScheduling};
use crate::model::{
    ids::Source,
    instruction::{Ask, Instruction},
};

/// The longest definition that is looked at, in bytes; a longer one is refused for its instance.
pub const MAX_DEFINITION: usize = 256 << 10;

impl From<InstanceScheduling> for Instruction {
    /// Total: whatever comes is an instruction, if only one that will be refused. The id and the
    /// definition stay as they came.
    fn from(scheduling: InstanceScheduling) -> Self {
        let ask = match WorkloadRequestKind::try_from(scheduling.action) {
            Ok(WorkloadRequestKind::Create) if scheduling.definition.len() > MAX_DEFINITION => {
                Ask::TooBig {
                    bytes: scheduling.definition.len(),
                }
            }
            Ok(WorkloadRequestKind::Create) => Ask::Create {
                definition: scheduling.definition,
            },
            Ok(WorkloadRequestKind::Destroy) => Ask::Destroy { force: false },
            Err(_) => Ask::Unknown {
                action: scheduling.action,
            },
        };
        Self {
            instance: scheduling.instance_id,
            source: Source::Scheduler,
            ask,
        }
    }
}
