//! Simulated worlds for tests: small, scripted, and able to fail.

pub mod scheduler;
