//! The controller on real parts: libvirtd, QEMU, power switches, all in a lab of its own per test; and what speaks libvirt badly.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "in a test, a failure is the report")]

mod behaviour;
mod contract;
mod data;
mod deposed;
mod doors;
mod files;
mod guests;
mod hypervisors;
mod idle;
mod ipv6;
mod killed;
mod moves;
mod points;
mod readiness;
mod recovery;
mod support;
mod wire;
