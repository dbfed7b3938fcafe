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

/// A target: its name and folder below `fuzz/corpus`, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("libvirt_frame", wire::frames),
    ("libvirt_body", wire::body),
    ("libvirt_event", wire::event),
    ("domain_xml", xml::domain),
    ("snapshot_xml", xml::snapshot),
    ("fence_metadata", fence::metadata),
    ("fence_output", fence::output),
    ("configuration", text::configuration),
    ("scenario", text::scenario),
    ("memory", memory::restore),
];

/// Does with `data` what the target of this name does.
///
/// # Panics
/// If the target finds something wrong, or there is none of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target of TARGETS");
    target(data);
}
