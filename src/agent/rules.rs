//! What instructions are judged by, made of the settings and of this machine.

use crate::{
    config::Config,
    image::reference::{Transport, TransportPolicy},
    intake::{Capacity, Rules},
    metrics,
};

/// Which transports a definition's images may name, by who brought it.
pub(super) fn transports(config: &Config) -> TransportPolicy {
    let of = |names: &[String]| {
        let named = |t: &Transport| names.iter().any(|name| name == t.name());
        std::iter::once(Transport::Docker)
            .chain(Transport::LOCAL)
            .filter(named)
            .collect()
    };
    TransportPolicy {
        scheduler: of(&config.images.scheduler_transports),
        local: of(&config.images.local_transports),
    }
}

/// What instructions are judged by.
pub(super) fn rules(config: &Config) -> Rules {
    let kept = [&config.state_dir, &config.run_dir];
    // By every name that they have.
    let own = kept
        .into_iter()
        .flat_map(|dir| [Some(dir.clone()), dir.canonicalize().ok()]);
    let capacity = metrics::capacity().map(|(cpu_milli, memory)| Capacity {
        cpu_milli: cpu_milli.saturating_sub(config.admission.reserved_cpu_milli),
        memory: memory.saturating_sub(config.admission.reserved_memory),
    });
    Rules {
        transports: transports(config),
        security: config.security.clone(),
        capacity: capacity.unwrap_or_default(),
        own_dirs: own.flatten().collect(),
    }
}
