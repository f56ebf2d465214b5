//! The `riklet` program: everything is in the library, so that tests reach it.

// Unsafe: a static with a name for the linker, by which jemalloc finds its settings.
#![allow(unsafe_code)]

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// glibc's allocator keeps what bursts of work have freed in a cache and an arena of each thread,
/// and the daemon would stay at the size of its largest burst.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// One arena for all threads, no cache of a thread's own, and back to the kernel after a second:
/// a node agent waits for the kernel more than for a lock on its memory (docs/performance.md).
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: &[u8] = b"narenas:1,tcache:false,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    let cli = riklet::cli::parse();
    riklet::cli::init_tracing(&cli);
    match riklet::cli::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(line) = error.line() {
                // Nobody may be listening any more; the exit code still tells.
                let _ = std::io::Write::write_fmt(
                    &mut std::io::stderr(),
                    format_args!("riklet: {line}\n"),
                );
            }
            error.exit_code()
        }
    }
}
