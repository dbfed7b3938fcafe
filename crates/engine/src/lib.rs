//! How Mainstay decides: pure. Facts in, orders out; time is an argument; no clock, no randomness, no I/O, ordered maps.
//!
//! ```text
//!   inputs ──▶ observe ──▶ believe ──▶ decide ──▶ step { changes, events, orders, replies, wake_at }
//! ```
//!
//! [`control::Controller`] is what the daemon and the simulator drive: the engine with epochs, journal and recovery.

#![forbid(unsafe_code)]

pub mod control;
mod io;
pub mod place;
pub mod view;

pub use io::{Change, Input, Row, Step, Table};
