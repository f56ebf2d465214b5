//! Bad days: one table of what can go wrong, what the scheduler is told of it, what the command
//! line says, and which degraded mode shows it. Three instances that run beside it keep their pids
//! and their last seq through all of it, and after each row nothing of it is left on the machine.
//!
//! `BAD_DAY=runc` tries only the rows whose input has that text; with `--nocapture` the table is
//! shown when it holds, too.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod days {
    pub mod daemon_rows;
    pub mod definition_rows;
    pub mod image_rows;
    pub mod programs;
    pub mod runtime_rows;
    pub mod scheduler_rows;
    pub mod table;
    pub mod world;
}
mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod registry;
}

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use days::{
    daemon_rows, definition_rows, image_rows, runtime_rows, scheduler_rows,
    table::{Judged, Row, Seen, printed},
    world::World,
};

/// In this order: a hung call is shown for some minutes, so the rows with one come last.
const TABLE: &[&[Row]] = &[
    definition_rows::ROWS,
    image_rows::ROWS,
    scheduler_rows::ROWS,
    daemon_rows::ROWS,
    runtime_rows::ROWS,
];

#[test]
fn a_bad_day_is_told_and_touches_nobody_else() {
    let only = std::env::var("BAD_DAY").unwrap_or_default();
    let mut world = World::new();
    let mut judged = Vec::new();
    for row in TABLE.iter().flat_map(|rows| rows.iter()) {
        if row.input.contains(&only) {
            judged.push(live(&mut world, row));
        }
    }
    println!("{}", printed(&judged));
    let bad = judged.iter().filter(|j| !j.holds()).count();
    assert_eq!(bad, 0, "rows that don't hold");
}

/// Lives a row; a panic in it is one more fault of it.
fn live(world: &mut World, row: &'static Row) -> Judged {
    let began = Instant::now();
    let mut more = Vec::new();
    let mut tried = |what: &str, work: &mut dyn FnMut() -> Vec<String>| match catch_unwind(
        AssertUnwindSafe(work),
    ) {
        Ok(faults) => more.extend(faults),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            more.push(format!("{what}: {}", text.unwrap_or_default()));
        }
    };
    let mut seen = Seen::default();
    tried("begin", &mut || {
        world.begin();
        Vec::new()
    });
    tried("row", &mut || {
        seen = (row.case)(world);
        Vec::new()
    });
    tried("end", &mut || world.end());
    Judged::new(row, seen, more, began.elapsed().as_millis())
}
