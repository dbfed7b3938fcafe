//! The simulated world: hosts, networks, disks, faults, invariants.
