//! Damage, on the real thing: every file of a node in turn truncated, zeroed, flipped, swapped
//! with an old copy, removed, replaced by a directory or a link, while its containers run. The
//! daemon starts, keeps every container, says what it lost, and nothing of what is damaged is
//! changed by that.
//!
//! `RIKLET_SEED=n` draws other cases in the short form; the long form (`make prove`) has them all.
//! `DAMAGE=db/` tries only the files whose path has that text.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod harm {
    pub mod doubts;
    pub mod exits;
    pub mod files;
    pub mod kinds;
    pub mod offsets;
    pub mod stores;
    pub mod strangers;
    pub mod world;
}
mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod proof;
}

/// The seed of what is drawn in the short form.
fn seed() -> u64 {
    let given = std::env::var("RIKLET_SEED").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(7)
}

/// The next number of a sequence that a seed begins (splitmix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The next number below `limit`.
fn below(state: &mut u64, limit: usize) -> usize {
    usize::try_from(draw(state) % u64::try_from(limit.max(1)).unwrap()).unwrap()
}
