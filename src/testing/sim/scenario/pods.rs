//! Stories of pods that have more to them than containers.

use super::{
    super::{Happening, Shape},
    ALWAYS, BOOTED, NEVER, ON_FAILURE, destroy, exit, pass,
};
use crate::testing::fake_node::Script;

const fn pod(id: u8, policy: usize, shape: Shape, tag: u32) -> Happening {
    Happening::Pod {
        id,
        policy,
        shape,
        tag,
    }
}

const fn nth(which: usize, code: i32) -> Happening {
    Happening::Exit { which, code }
}

/// Of what a pod may meet.
pub(super) const OF_PODS: &[(&str, &[Happening])] = &[
    (
        "init containers and a sidecar",
        &[
            pod(0, ALWAYS, Shape::Inits, 0),
            exit(1),
            exit(0),
            nth(1, 0),
            nth(1, 1),
            exit(1),
            destroy(0),
        ],
    ),
    (
        "an init container fails for good",
        &[
            pod(0, NEVER, Shape::Inits, 0),
            exit(0),
            nth(1, 3),
            pass(9_000),
        ],
    ),
    (
        "init containers and a reboot",
        &[
            pod(0, ALWAYS, Shape::Inits, 0),
            exit(0),
            nth(1, 0),
            BOOTED,
            pass(4_000),
            exit(0),
            nth(1, 0),
        ],
    ),
    (
        "a job with a sidecar completes",
        &[
            pod(0, ON_FAILURE, Shape::Job, 0),
            exit(0),
            exit(1),
            exit(0),
            exit(0),
            pass(2_000),
        ],
    ),
    (
        "a pod is replaced",
        &[
            pod(0, ALWAYS, Shape::Inits, 0),
            exit(0),
            nth(1, 0),
            pod(0, ALWAYS, Shape::Inits, 1),
            pass(8_000),
        ],
    ),
    (
        "probes and hooks",
        &[
            pod(0, ALWAYS, Shape::Probes, 0),
            pass(6_000),
            Happening::Script("live", Some(Script::Fails)),
            pass(25_000),
            Happening::Script("live", None),
            Happening::Script("ready", Some(Script::Hangs)),
            pass(45_000),
            destroy(0),
        ],
    ),
    (
        "a hook after the start fails",
        &[
            Happening::Script("post", Some(Script::Fails)),
            pod(0, NEVER, Shape::Probes, 0),
            pass(2_000),
        ],
    ),
    (
        "evicted, and nothing starts again",
        &[
            pod(0, ALWAYS, Shape::Bounded, 0),
            Happening::Fills(1_025),
            pass(25_000),
            exit(1),
            pass(15_000),
            BOOTED,
            pass(15_000),
        ],
    ),
    (
        "evicted, then replaced and destroyed",
        &[
            pod(0, NEVER, Shape::Bounded, 0),
            Happening::Fills(1_024),
            pass(25_000),
            Happening::Stubborn(true),
            Happening::Fills(1 << 20),
            pass(15_000),
            Happening::Fills(0),
            pod(0, NEVER, Shape::Bounded, 1),
            pass(25_000),
            destroy(0),
            pass(9_000),
        ],
    ),
    (
        "a hook before the end never ends",
        &[
            Happening::Script("pre", Some(Script::Hangs)),
            pod(0, ALWAYS, Shape::Probes, 0),
            destroy(0),
            pass(9_000),
        ],
    ),
    (
        "a host port is passed on",
        &[
            Happening::Stubborn(true),
            pod(0, ALWAYS, Shape::SharedPort, 0),
            destroy(0),
            pod(1, ALWAYS, Shape::SharedPort, 0),
            pass(9_000),
        ],
    ),
    (
        "a sandbox is lost",
        &[
            pod(0, ALWAYS, Shape::Job, 0),
            exit(0),
            Happening::LoseSandbox { which: 0 },
            pass(11_000),
            exit(1),
            pass(9_000),
        ],
    ),
];
