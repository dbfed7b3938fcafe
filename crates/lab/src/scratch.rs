//! A lab for one test: with a name of its own, and removed at the end of the test, however that ends.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::{Lab, LabError, LabSpec, PowerRunner, Result, Step};

/// Far above what building takes on a loaded machine with two cores.
const BUILD_LIMIT: Duration = Duration::from_secs(120);

/// A lab that is removed when this is dropped.
#[derive(Debug)]
pub struct ScratchLab(Lab);

impl ScratchLab {
    /// What to build: a lab of a name that no other lab of this machine has, also when test runs overlap.
    pub fn spec(purpose: &str, hosts: u8, guests: u8) -> LabSpec {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        LabSpec::new(&format!("t-{purpose}-{}-{number}", std::process::id()), hosts, guests)
    }

    /// Builds it, or says what is missing on this machine.
    pub async fn up(spec: LabSpec, progress: impl Fn(Step)) -> Result<Self> {
        let (name, building) = (spec.name.clone(), Lab::up(spec, PowerRunner::Task, progress));
        let late = |_| LabError::Timeout {
            what: format!("building the lab {name}"),
            limit_ms: BUILD_LIMIT.as_millis(),
            hint: String::new(),
        };
        tokio::time::timeout(BUILD_LIMIT, building).await.map_err(late)?.map(Self)
    }
}

impl Deref for ScratchLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl Drop for ScratchLab {
    fn drop(&mut self) {
        // The test's own runtime can't be blocked on from here.
        let name = &self.0.layout().name;
        let remove = || match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(Lab::remove(name)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let removed = std::thread::scope(|scope| scope.spawn(remove).join());
        if !matches!(removed, Ok(Ok(()))) {
            tracing::error!(name, ?removed, "a lab was not removed; mainstay lab down does it");
        }
    }
}
