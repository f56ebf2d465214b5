//! Power cuts on a real filesystem, and kills of the store in its own writes.
//!
//! A ledger under load lies on a small ext4 beside a neighbour that syncs. The image of its disk
//! at one moment is what a power cut at that moment would have left: everything that the
//! filesystem had sent to the disk by then, and nothing else. (The file behind the loop device
//! lies on a second filesystem that is frozen while it is copied: no write to the disk gets
//! through, and the first filesystem isn't told.) Each image is mounted, so that ext4 replays its
//! own journal, and a ledger is opened on it.
//!
//! The same in a model, exhaustively, is `src/ledger/tests/power.rs`.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "support files are shared; each test file uses its own part"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that says what it measured; clippy knows only #[test] functions as such; its \
              children are not riklet's"
)]

mod cuts {
    pub mod cut;
    pub mod load;
    pub mod store_kills;
}
mod support {
    pub mod loop_disk;
    pub mod proof;
}

use support::proof::{self, Proof};

/// S03, and item "power cuts" of the reliability page.
#[test]
fn s03_whatever_a_power_cut_leaves_opens_or_rebuilds_and_honours_every_receipt() {
    let cuts = proof::rounds(12, 100);
    let mut proof = Proof::of(
        "whatever a power cut leaves opens or is rebuilt, and no receipt is broken",
        "images of the disk of a loaded ledger, beside a neighbour that syncs, taken at random \
         moments; each mounted, opened, judged against what its clients had been told, and \
         written to again",
    );
    let mut violations = Vec::new();
    cuts::cut::run(cuts, &mut proof, &mut violations);
    let within = proof.count("cuts within rotation")
        + proof.count("cuts within a snapshot")
        + proof.count("cuts within a deletion");
    if within < cuts / 5 {
        violations.push(format!(
            "only {within} of {cuts} cuts fell within a turning point"
        ));
    }
    proof.conclude("power_cuts", &violations);
}

/// S04.
#[test]
fn s04_a_store_that_is_killed_in_its_own_writes_always_opens_or_rebuilds() {
    let mut proof = Proof::of(
        "a kill within any write of the store's own files costs no start and no receipt",
        "SIGKILL by strace at drawn system calls of sled's files: writes, truncations, renames of \
         its snapshots",
    );
    let mut violations = Vec::new();
    cuts::store_kills::run(proof::rounds(12, 60), &mut proof, &mut violations);
    proof.conclude("store_kills", &violations);
}

/// The load, as a process of its own: see `cuts::load`.
#[test]
#[ignore = "a child of the other tests"]
fn child_writes() {
    cuts::load::run();
}
