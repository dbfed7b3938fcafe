//! The simulated world: hosts, networks, disks, faults, invariants.
mod check;
mod deed;
mod leader;
mod random;
mod record;
mod run;
mod scenario;
mod store;
mod world;
