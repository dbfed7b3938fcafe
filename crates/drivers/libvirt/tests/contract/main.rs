//! What this client promises, held against real libvirtds, real QEMUs and, for what those never send, a fake server.
//!
//! The libvirtds are those of a lab (crate `mainstay-lab`), made for each test and removed after it. Where a lab can't
//! be made the tests fail and say what is missing: `script/bootstrap` installs it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and shows what it measured")]

mod domains;
mod fake_server;
mod faults;
mod fixture;
mod migration;
mod readiness;
mod security;
mod snapshots;
