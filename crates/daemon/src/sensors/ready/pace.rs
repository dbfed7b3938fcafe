//! How fast hosts are asked for files, over all hosts: in a large cluster that is most of what readiness costs.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Each takes two calls and more. With 1,000 hosts, 10,000 guests and sixteen hosts for each guest all files have been looked at
/// after thirteen minutes; the engine trusts an answer for thirty.
const FILES_A_SECOND: u32 = 200;
/// So few need not wait: a guest that is new or was changed is looked for soon, whatever else is under way.
const AT_ONCE: u32 = 20;

/// Gives each pass its turn. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<Mutex<Option<Instant>>>);

impl Pace {
    /// How long a pass that looks at so many files has to wait. Its time is taken, whether it looks or not.
    pub fn turn(&self, files: usize) -> Duration {
        let now = Instant::now();
        let files = u32::try_from(files).unwrap_or(u32::MAX);
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = free.unwrap_or(now).max(now);
        *free = Some(begin + Duration::from_secs(1) * files / FILES_A_SECOND);
        if files <= AT_ONCE { Duration::ZERO } else { begin - now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passes_wait_for_one_another_and_small_ones_do_not() {
        let pace = Pace::default();
        assert_eq!(pace.turn(200), Duration::ZERO);
        assert_eq!(pace.turn(100), Duration::from_secs(1));
        assert_eq!(pace.turn(20), Duration::ZERO);
        assert_eq!(pace.turn(200), Duration::from_millis(1_600));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(pace.turn(200), Duration::ZERO);
    }
}
