//! What must withstand any bytes: one function per target, which panics if something is wrong.
//!
//! ```text
//!   script/fuzz (nightly, cargo-fuzz) ──finds──▶ fuzz/corpus/TARGET/* ──▶ replayed by `cargo test -p mainstay-fuzzing`
//! ```
//! An error is always a good answer; a panic, an endless loop or a value that contradicts itself is not.

#![forbid(unsafe_code)]

mod fence;
mod memory;
mod text;
mod wire;
mod xml;

pub use fence::{metadata as fence_metadata, output as fence_output};
pub use memory::restore as memory;
pub use text::{configuration, scenario};
pub use wire::{body as libvirt_body, event as libvirt_event, frames as libvirt_frame};
pub use xml::{domain as domain_xml, snapshot as snapshot_xml};

/// A target: its name and folder below `fuzz/corpus`, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. The fuzz targets name theirs and not this list: what they do not reach is then not in their program, whose
/// every place costs time on every run.
pub const TARGETS: &[Target] = &[
    ("libvirt_frame", libvirt_frame),
    ("libvirt_body", libvirt_body),
    ("libvirt_event", libvirt_event),
    ("domain_xml", domain_xml),
    ("snapshot_xml", snapshot_xml),
    ("fence_metadata", fence_metadata),
    ("fence_output", fence_output),
    ("configuration", configuration),
    ("scenario", scenario),
    ("memory", memory),
];
