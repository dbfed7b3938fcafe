//! From values to text: pure functions, tried against golden texts. Nothing here asks or prints.

mod alarms;
mod amount;
mod events;
mod foreseen;
mod hosts;
mod incident;
mod look;
mod nagios;
mod points;
mod ready;
mod stats;
mod status;
mod table;
mod vms;

pub use alarms::alarms;
pub use amount::{ago, ago_in_words, bytes, count, rate, span};
pub use events::{event, events};
pub use foreseen::foreseen;
pub use hosts::{host, hosts};
pub use incident::{incident, incidents};
pub use look::{Look, Tone};
pub use nagios::{nagios, nagios_unknown};
pub use points::points;
pub use ready::ready;
pub use stats::stats;
pub use status::{footer, status};
pub use table::{Cell, Table};
pub use vms::{vm, vms};
