//! What the rules compare with. Every exception in here carries its reason.

/// The layers from the top; a module names only modules of later rows.
pub(crate) const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["agent"],
    &[
        "session",
        "manifests",
        "reconciler",
        "reporter",
        "probes",
        "evictions",
        "api",
    ],
    &["intake", "view"],
    &["wire"],
    &["ledger"],
    &["journal"],
    &["store"],
    &["runtime", "image", "network", "metrics"],
    &["book", "node"],
    &["plan"],
    &["model"],
];

/// Usable by every layer but the pure ones; they themselves name only each other and the model.
pub(crate) const LEAVES: &[&str] = &["clock", "config", "error_chain"];

/// The pure layers: no leaf, no IO, no clock, no logging.
pub(crate) const PURE: &[&str] = &["model", "plan"];

/// Neighbours of one row that may name each other, and why: (who, whom, reason).
pub(crate) const SIDEWAYS: &[(&str, &str, &str)] = &[
    (
        "session",
        "reporter",
        "one sender: the reporter runs only while the session is registered",
    ),
    (
        "image",
        "runtime",
        "runtime/process.rs is the one place that spawns",
    ),
    (
        "network",
        "runtime",
        "runtime/process.rs is the one place that spawns",
    ),
    (
        "metrics",
        "runtime",
        "runtime/cgroup.rs is the one reader of cgroups",
    ),
    (
        "runtime",
        "image",
        "the real node is put together in runtime",
    ),
    (
        "runtime",
        "network",
        "the real node is put together in runtime",
    ),
];

/// Where `unsafe` may stand, and why: (file, reason).
pub(crate) const UNSAFE: &[(&str, &str)] = &[
    (
        "src/runtime/process/sys.rs",
        "what runs between fork and exec; waitid and waitpid, for nix's lose the status of a \
         child that a real-time signal ended",
    ),
    ("src/network/netns.rs", "one ioctl raises `lo`"),
    (
        "src/runtime/idmap.rs",
        "neither nix nor rustix has mount_setattr; open_tree and move_mount go with it",
    ),
    (
        "src/main.rs",
        "jemalloc reads its settings from a symbol, and a name for the linker is unsafe",
    ),
];

/// The most lines of a file, without its tests.
pub(crate) const FILE_LINES: usize = 400;

/// Files that may be longer, and why: (file, lines, reason). One that is no longer longer than
/// others has to leave this list.
pub(crate) const LONG_FILES: &[(&str, usize, &str)] = &[];

/// Functions that may be longer, and why: (file, function, lines, reason).
pub(crate) const LONG_FUNCTIONS: &[(&str, &str, usize, &str)] = &[
    (
        "src/model/fold/transition.rs",
        "apply",
        80,
        "one match, an arm a kind of line",
    ),
    (
        "src/model/fold/transition.rs",
        "apply_to_container",
        70,
        "one match, an arm a kind of line",
    ),
    (
        "src/reconciler/executor.rs",
        "execute",
        70,
        "one match, an arm an action",
    ),
];

/// The most lines of a function's body that hold code, as clippy counts them.
pub(crate) const FUNCTION_LINES: usize = 60;

/// The most lines of `main.rs`.
pub(crate) const MAIN_LINES: usize = 60;

/// Where a test may sleep, and why: (file, reason).
pub(crate) const SLEEPS: &[(&str, &str)] = &[
    (
        "tests/support/registry.rs",
        "wait_for itself, which looks every 5 ms with a bound; and a registry that is slow on \
         purpose",
    ),
    (
        "tests/support/daemon.rs",
        "the waits with a bound themselves, on a daemon that is another process",
    ),
    (
        "tests/cuts/cut.rs",
        "the wait with a bound itself, on a load that is another process",
    ),
    (
        "tests/support/strace.rs",
        "a wait with a bound for strace, which is another process",
    ),
    (
        "tests/storm.rs",
        "a millisecond between two looks at journal, cgroups and processes, none of which can be \
         waited for; and the wait with a bound after the storm",
    ),
    (
        "tests/main_job.rs",
        "time passing while nothing happens is what is tested: an idle daemon does nothing",
    ),
];
