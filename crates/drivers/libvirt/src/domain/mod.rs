//! The verbs on domains, a file for each group. All are methods of `Connection`, take a `DomainRef` and a time limit.

pub mod inventory;
