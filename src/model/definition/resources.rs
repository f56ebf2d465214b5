//! A container's limits and requests.

use super::{
    quantity::{Unit, quantity},
    reader::{Fields, Findings},
    tables::{AMOUNTS, RESOURCES},
};
use crate::model::spec::{Amounts, Resources};

pub(super) fn resources(fields: &Fields<'_>, findings: &mut Findings) -> Resources {
    let Some(fields) = fields.object("resources", &RESOURCES, findings) else {
        return Resources::default();
    };
    let limits = amounts(&fields, "limits", findings);
    let asked = amounts(&fields, "requests", findings);
    let over = |request: Option<u64>, limit: Option<u64>| {
        limit.is_some_and(|limit| request.is_some_and(|request| request > limit))
    };
    for (name, request, limit) in [
        ("cpu", asked.cpu_milli, limits.cpu_milli),
        ("memory", asked.memory, limits.memory),
    ] {
        if over(request, limit) {
            let path = format!("{}.{name}", fields.at("requests"));
            findings.fault(&path, format!("must not be more than the limit of {name}"));
        }
    }
    Resources {
        limits,
        // Kubernetes' rule: what isn't asked for is the limit.
        requests: Amounts {
            cpu_milli: asked.cpu_milli.or(limits.cpu_milli),
            memory: asked.memory.or(limits.memory),
        },
    }
}

fn amounts(fields: &Fields<'_>, field: &'static str, findings: &mut Findings) -> Amounts {
    let Some(fields) = fields.object(field, &AMOUNTS, findings) else {
        return Amounts::default();
    };
    // A limit of 0 is no limit, and a request of 0 asks for nothing; but that a request of 0
    // was said keeps the limit from being one.
    let zero = |n: &u64| field == "requests" || *n > 0;
    Amounts {
        cpu_milli: amount(&fields, "cpu", Unit::Milli, findings).filter(zero),
        memory: amount(&fields, "memory", Unit::One, findings).filter(zero),
    }
}

/// A quantity; one of bytes that isn't whole gets a warning.
pub(super) fn amount(
    fields: &Fields<'_>,
    field: &'static str,
    unit: Unit,
    findings: &mut Findings,
) -> Option<u64> {
    match quantity(fields.get(field)?, unit) {
        Ok(amount) => {
            if !amount.exact {
                findings.warn(&fields.at(field), "is rounded up");
            }
            Some(amount.value)
        }
        Err(message) => {
            findings.fault(&fields.at(field), message);
            None
        }
    }
}
