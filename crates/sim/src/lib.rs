//! The simulated world: hosts, networks, disks, faults, invariants; and the real controller in it.
//!
//! ```text
//!   scenario (a folder) ─┐
//!                        ├─▶ run ─▶ world ⇄ controller ─▶ check (the ten safety rules, true state) ─▶ report
//!   fuzz (a seed) ───────┘
//! ```
//!
//! The controller is the very code that the daemon drives. Time is virtual, chance comes from the seed: the same scenario
//! or seed gives the same trace, byte by byte. docs/simulator.md documents what a scenario can say.

#![forbid(unsafe_code)]

mod check;
mod clock;
mod deed;
pub mod fuzz;
mod leader;
#[cfg(test)]
mod parity;
mod random;
mod record;
mod report;
mod rival;
mod run;
pub mod sabotage;
pub mod scenario;
mod seen;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod world;

pub use check::{Rule, Violation};
pub use report::{Alarmed, Fenced, HostEnd, Moved, Report, Told, Verdict, WorkloadEnd};
