//! How Mainstay decides: pure. Facts in, orders out; time is an argument; no clock, no randomness, no I/O, ordered maps.
//!
//! ```text
//!   inputs ──▶ observe ──▶ believe ──▶ decide ──▶ step { changes, events, orders, replies, wake_at }
//! ```
//!
//! [`control::Controller`] is what the daemon and the simulator drive: the engine with its term and its journal.

#![forbid(unsafe_code)]

mod agenda;
mod alarms;
mod asked;
mod belief;
mod believe;
mod came_up;
mod command;
pub mod control;
mod decide;
mod devices;
mod ends;
mod engine;
pub mod explain;
mod few;
mod goodbye;
mod groups;
mod health;
mod incident;
mod io;
mod ledger;
mod lint;
mod names;
mod observe;
mod outcome;
pub mod place;
mod points;
mod readiness;
mod restored;
mod settle;
mod sighting;
mod unseen;
pub mod view;
pub mod whatif;
mod whose;

pub use io::{Change, Input, Row, Step, Table};
pub use lint::WITHHELD;
