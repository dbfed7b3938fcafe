//! What the lab's tests share: labs with names of their own that do not outlive their test.

use std::ops::Deref;
use std::time::Duration;

use mainstay_lab::{Lab, LabSpec, PowerRunner};

/// Far above what anything here takes on a loaded machine with two cores.
pub const SOON: Duration = Duration::from_secs(60);

/// A lab that is removed at the end of its test, however that ends.
pub struct TestLab(Lab);

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        // The test's own runtime cannot be blocked on from here.
        let name = self.layout().name.clone();
        let remove = || tokio::runtime::Runtime::new().unwrap().block_on(Lab::remove(&name)).unwrap();
        std::thread::scope(|scope| scope.spawn(remove).join()).unwrap();
    }
}

/// A name that no other lab of this machine has, also when test runs overlap.
pub fn unique(purpose: &str) -> String {
    format!("t-{purpose}-{}", std::process::id())
}

/// Builds a lab, or fails with what is missing on this machine.
#[allow(clippy::print_stdout, reason = "the steps are shown when the test fails")]
pub async fn up(spec: LabSpec) -> TestLab {
    let name = spec.name.clone();
    let building = Lab::up(spec, PowerRunner::Task, |step| println!("{name}: {step}"));
    let built = tokio::time::timeout(2 * SOON, building).await.expect("a lab is built in time");
    TestLab(built.unwrap_or_else(|error| panic!("{error}")))
}
