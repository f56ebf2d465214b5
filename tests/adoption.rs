//! Adoption: a start finds whatever a crash has left, and does the right thing with it. One test a
//! row of the matrix in docs/architecture.md, "What a start finds", with a real daemon, monitor and
//! runc; and runc at its worst (S09, S10, S19, exact exits).

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, reason = "each test file uses its own part")]
    pub mod proof;
}
mod survival {
    pub mod gates;
    pub mod machine;
    pub mod node;
    pub mod rows;
}

use std::{collections::BTreeSet, time::Instant};

use support::proof::{self, Proof};
use survival::{
    node::Node,
    rows::{self, Row},
};

/// Makes a test of each row, and the list of them all.
macro_rules! matrix {
    ($list:ident, $node:expr, $($row:ident),+ $(,)?) => {
        const $list: &[Row] = &[$((stringify!($row), rows::$row)),+];
        $(#[test]
        fn $row() {
            let mut node = $node;
            rows::$row(&mut node);
            node.end();
        })+
    };
}

matrix!(
    ROWS,
    Node::new(),
    running_is_adopted_as_it_is,
    running_and_never_recorded_started_is_adopted,
    running_without_its_monitor_is_kept_and_flagged,
    created_and_not_started_is_started,
    an_intent_without_proof_is_cleared_and_the_next_attempt_is_made,
    an_exit_while_nobody_looked_is_recorded_as_it_was,
    an_exit_file_that_says_nothing_is_an_unknown_exit,
    gone_without_a_word_is_unknown_and_follows_the_policy,
    paused_is_adopted_and_thawed_to_be_killed,
    lost_runtime_state_is_ended_by_cgroup_and_made_anew,
    lost_runtime_state_of_what_ended_takes_nothing_from_its_exit,
);

matrix!(
    REBOOT_ROWS,
    Node::on_a_machine(),
    after_a_reboot_what_was_to_run_runs_again_and_what_ended_does_not,
    processes_under_another_boot_id_are_ended_first,
);

/// The last column of the matrix.
fn documented() -> BTreeSet<&'static str> {
    let page = include_str!("../docs/architecture.md");
    let section = page.split("## What a start finds").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = section
        .lines()
        .filter_map(|line| line.trim_end().strip_suffix("` |"));
    cells.map(|line| line.rsplit('`').next().unwrap()).collect()
}

#[test]
fn each_row_of_the_matrix_has_a_test_and_each_test_a_row() {
    let tested: BTreeSet<_> = ROWS
        .iter()
        .chain(REBOOT_ROWS)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(documented(), tested);
}

/// The matrix again and again on the same two nodes, which grow old by it.
#[test]
fn adoption_matrix() {
    let rounds = proof::rounds(0, 12);
    let mut proof = Proof::of(
        "whatever a crash leaves, the next start finds, and does with it what the matrix says",
        "each row of the matrix with real runc and conmon, the named process killed at the named step; all rows again and again on two nodes that grow old by it",
    );
    for (rows, fresh) in [
        (ROWS, Node::new as fn() -> Node),
        (REBOOT_ROWS, Node::on_a_machine),
    ] {
        if rounds == 0 {
            continue;
        }
        let mut node = fresh();
        for _ in 0..rounds {
            for (name, live) in rows {
                let began = Instant::now();
                live(&mut node);
                println!("{name}: {:?}", began.elapsed());
                proof.one(*name);
                proof.one("rows lived");
            }
            node.end();
        }
    }
    proof.conclude("adoption_matrix", &[]);
}
