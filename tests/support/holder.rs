//! The program that runs in the storm's containers; rustc makes it, static, at the test's start.
//! It is no module of a test.
//!
//! It tells the witness who it is, holds a lock by its instance, and ends as the witness says:
//! `INSTANCE`, `GEN` and `WITNESS` (an abstract socket's name) are in its environment. Lock and
//! connection are let go of by the kernel when it dies, before anybody can see that it died.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process::exit,
};

unsafe extern "C" {
    fn signal(number: i32, to: extern "C" fn(i32)) -> usize;
    fn _exit(code: i32) -> !;
}

extern "C" fn ends_well(_: i32) {
    // SAFETY: async-signal-safe, by POSIX.
    unsafe { _exit(0) }
}

fn main() {
    // SAFETY: the function does nothing but end the process. 15 is SIGTERM: the first process of
    // a pid namespace gets no signal that it has no function for.
    unsafe { signal(15, ends_well) };
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let (witness, instance) = (env("WITNESS"), env("INSTANCE"));
    let address = SocketAddr::from_abstract_name(&witness).unwrap();
    let Ok(mut link) = UnixStream::connect_addr(&address) else {
        exit(99);
    };
    writeln!(link, "hello {instance} {}", env("GEN")).unwrap();
    let lock = SocketAddr::from_abstract_name(format!("{witness}/{instance}")).unwrap();
    let held = UnixListener::bind_addr(&lock);
    match &held {
        Ok(_) => writeln!(link, "holds").unwrap(),
        Err(error) if error.kind() == ErrorKind::AddrInUse => writeln!(link, "taken").unwrap(),
        Err(error) => writeln!(link, "failed {error}").unwrap(),
    }
    let mut order = String::new();
    let mut orders = BufReader::new(link.try_clone().unwrap());
    // Nothing: the witness is gone, and with it the reason to be here.
    if orders.read_line(&mut order).unwrap_or(0) == 0 {
        exit(98);
    }
    let code = order.trim().strip_prefix("exit ").and_then(|n| n.parse().ok()).unwrap_or(97);
    writeln!(link, "exits {code}").unwrap();
    exit(code);
}
