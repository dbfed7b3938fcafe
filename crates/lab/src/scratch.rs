//! A lab for one test: with a name of its own, and removed at the end of the test, however that ends.
//!
//! A test that passes, fails or panics drops its lab. A test program that gets SIGINT or SIGTERM removes its labs before it ends. One
//! that is killed can do nothing: the next test program on this machine finds its labs by the number of the process in their names.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::{Lab, LabError, LabSpec, PowerRunner, Result, Step};

/// Far above what building takes on a loaded machine with two cores.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// Begins the name of every lab of a test.
const PREFIX: &str = "t-";
/// Names of this program's labs, also of those that are being built.
static OURS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A lab that is removed when this is dropped.
#[derive(Debug)]
pub struct ScratchLab {
    lab: Lab,
    _removed_at_end: Removal,
}

/// Removes the lab of this name when it is dropped, however little there is of it.
#[derive(Debug)]
struct Removal(String);

impl ScratchLab {
    /// What to build: a lab of a name that no other lab of this machine has, also when test runs overlap.
    pub fn spec(purpose: &str, hosts: u8, guests: u8) -> LabSpec {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        LabSpec::new(&format!("{PREFIX}{purpose}-{}-{number}", std::process::id()), hosts, guests)
    }

    /// Builds it, or says what is missing on this machine.
    pub async fn up(spec: LabSpec, progress: impl Fn(Step)) -> Result<Self> {
        static FIRST: Once = Once::new();
        FIRST.call_once(|| {
            std::thread::spawn(remove_at_a_signal);
            remove_all(&leftovers(&Lab::list(), |process| Path::new("/proc").join(process).exists()));
        });
        let name = spec.name.clone();
        // From before the first part is built: a build that fails or is given up leaves parts as well.
        let removed_at_end = Removal::of(&name);
        let building = Lab::up(spec, PowerRunner::Task, progress);
        let late = |_| LabError::Timeout {
            what: format!("building the lab {name}"),
            limit_ms: BUILD_LIMIT.as_millis(),
            hint: String::new(),
        };
        let lab = tokio::time::timeout(BUILD_LIMIT, building).await.map_err(late)??;
        Ok(Self { lab, _removed_at_end: removed_at_end })
    }
}

impl Deref for ScratchLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Removal {
    fn of(name: &str) -> Removal {
        ours().insert(name.to_owned());
        Removal(name.to_owned())
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        remove_all(std::slice::from_ref(&self.0));
        ours().remove(&self.0);
    }
}

fn ours() -> std::sync::MutexGuard<'static, BTreeSet<String>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Labs of test programs that are there no more: they were killed.
fn leftovers(labs: &[String], is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let process = |name: &str| Some(name.strip_prefix(PREFIX)?.rsplit('-').nth(1)?.to_owned());
    let left =
        |name: &&String| process(name).is_some_and(|process| process.parse::<u32>().is_ok() && !is_there(&process));
    labs.iter().filter(left).cloned().collect()
}

/// Removes labs from a thread of its own: the caller's runtime can't be blocked on, or is gone.
fn remove_all(names: &[String]) {
    let remove = || {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let mut trouble = Ok(());
        for name in names {
            trouble = trouble.and(runtime.block_on(Lab::remove(name)).map_err(|error| format!("{name}: {error}")));
        }
        trouble
    };
    let removed = std::thread::scope(|scope| scope.spawn(remove).join());
    if !matches!(removed, Ok(Ok(()))) {
        tracing::error!(?removed, "a lab was not removed; mainstay lab down does it");
    }
}

/// Waits for SIGINT or SIGTERM, removes this program's labs and ends it.
fn remove_at_a_signal() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let asked = runtime.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::io::Result::Ok(())
    });
    if asked.is_ok() {
        remove_all(&Vec::from_iter(ours().iter().cloned()));
        std::process::exit(130);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labs_of_test_programs_that_are_gone_are_leftovers() {
        let labs = ["demo", "t-guests-17-0", "t-two-words-18-3", "t-guests-19-1", "t-odd", "t-guests-x-1", "lab-17-0"];
        let found = leftovers(&labs.map(str::to_owned), |process| process == "19");
        assert_eq!(found, ["t-guests-17-0", "t-two-words-18-3"]);
    }
}
