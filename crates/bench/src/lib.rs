//! Mainstay seen from outside, in the lab: what the demo and the measurements share.
//!
//! ```text
//!   Stage = lab (faults, truth) + controller (the real `mainstay up`, asked through the real command line)
//! ```
//! Nothing here is part of the product. What is told and measured comes from the lab's own truth (process table, guests'
//! counters); the product is only asked when to go on.

mod controller;
mod error;
mod interrupt;
mod stage;
mod talk;

pub use controller::Controller;
pub use error::{Error, Result};
pub use interrupt::until_interrupted;
pub use stage::{Restarted, Stage};
pub use talk::{Talk, seconds};
