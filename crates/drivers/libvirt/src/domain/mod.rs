//! The verbs on domains, a file for each group. All are methods of `Connection`, take a `DomainRef` and a time limit.

pub mod agent;
pub mod block;
pub mod checkpoint;
pub mod drill;
pub mod external;
mod images;
pub mod inventory;
pub mod migration;
pub mod power;
pub mod screenshot;
pub mod snapshot;
pub mod state;
pub mod statistics;
