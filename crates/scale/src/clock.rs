//! CPU time of this thread, and memory of this process: on a shared machine the wall clock measures the neighbours.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// CPU time that this thread has used so far.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a piece of work gives, and the CPU time it takes. What it gives is dropped outside.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = used();
    let result = work();
    (result, used() - before)
}

/// Memory of this process that is in RAM, in bytes; `None` where `/proc` does not tell.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}
