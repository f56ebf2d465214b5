//! How much memory the C library keeps for itself. Why: glibc gives each thread an arena of its
//! own, up to 8 a core, and keeps what was freed in each; a daemon that works in bursts on many
//! threads ends up with all of them half empty (measured: docs/performance.md). Owns: that one
//! setting. Must never happen here: anything else.

// Unsafe: mallopt is a C function with no safe wrapper.
#![allow(unsafe_code)]

/// Arenas for all threads together. Two threads run futures, and what blocks waits for the
/// kernel more than for a lock on an arena.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Keeps the C library to a few arenas. Before the first thread is started.
pub(super) fn limit() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes two numbers, and is called while there is one thread. It refuses
        // only what it doesn't know, and then everything stays as it is.
        let taken = unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, ARENAS) };
        if taken == 0 {
            tracing::debug!("the C library takes no limit of arenas");
        }
    }
}
