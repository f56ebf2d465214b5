//! How much memory the C library keeps for itself.
//!
//! Why: glibc gives each thread an arena of its own, up to 8 a core, and keeps what was freed in
//! each. A daemon that works in bursts on many threads ends up with all of them half empty and
//! stays at the size of its largest burst (measured: docs/performance.md). Owns: the number of
//! arenas, and giving back what they hold and nobody uses. Must never happen here: anything else.

// Unsafe: mallopt and malloc_trim are C functions with no safe wrapper.
#![allow(unsafe_code)]

/// Arenas for all threads together. Two threads run futures, and what blocks waits for the
/// kernel more than for a lock on an arena.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// Keeps the C library to a few arenas. Before the first thread is started.
pub fn limit_arenas() {
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

/// Gives the kernel back every page that was freed, wherever it lies. Takes milliseconds and holds
/// the arenas' locks meanwhile: for when nothing is at work. Blocks.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes a number, keeps to pages that nobody has, and may be called from any
        // thread at any time (malloc_trim(3): MT-Safe).
        unsafe { nix::libc::malloc_trim(0) };
    }
}
