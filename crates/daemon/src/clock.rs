//! The controller's clock: wall clock at its start plus monotonic time since, so that it never goes back and a corrected
//! wall clock makes nobody look silent.

use mainstay_model::Time;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The controller's clock. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    at_start: Time,
}

impl Clock {
    /// A clock that shows the wall clock's time now, but never less than `not_before` (the last time on record: a wall
    /// clock that was set back while the controller was down must not make the past look like the future).
    pub fn start(not_before: Time) -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| millis(since.as_millis()));
        Clock { started: Instant::now(), at_start: Time(wall.max(not_before.0)) }
    }

    /// What it showed at its start.
    pub fn started(&self) -> Time {
        self.at_start
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time(self.at_start.0.saturating_add(millis(self.started.elapsed().as_millis())))
    }

    /// The moment at which this clock will show `time`, for sleeping until then.
    pub fn instant_of(&self, time: Time) -> Instant {
        self.started + time.since(self.at_start).as_duration()
    }
}

fn millis(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_does_not_take_time_back() {
        let future = Time(u64::MAX / 2);
        assert!(Clock::start(future).now() >= future);
        assert!(Clock::start(Time(0)).now() > Time(1_600_000_000_000));
    }
}
