//! What the lab's tests share.

use std::time::Duration;

use mainstay_lab::{LabSpec, ScratchLab};

/// Far above what anything here takes on a machine with two cores that is overloaded many times.
pub const SOON: Duration = Duration::from_secs(400);

/// Builds a lab, or fails with what is missing on this machine.
#[allow(clippy::print_stdout, reason = "the steps are shown when the test fails")]
pub async fn up(spec: LabSpec) -> ScratchLab {
    let name = spec.name.clone();
    ScratchLab::up(spec, |step| println!("{name}: {step}")).await.unwrap_or_else(|error| panic!("{error}"))
}
