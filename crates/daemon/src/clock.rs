//! The controller's clock: wall clock at its start plus monotonic time since, so that it never goes back and a corrected
//! wall clock makes nobody look silent.

use mainstay_model::{Span, Time};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
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

/// A jump of the wall clock below this is none: reading two clocks takes a moment.
const JUMP: Span = Span::secs(1);

/// How the controller's clock stood to the machine's time since its boot, which nobody sets and no suspension stops. On record
/// for each term: so the next one, on the same boot, knows how much time has passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClockMark {
    boot: String,
    since_boot_ms: u64,
    shown: Time,
}

impl ClockMark {
    /// As it stands now; `None`: this machine does not tell one boot from another.
    pub fn of(clock: &Clock) -> Option<ClockMark> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let (since_boot_ms, shown) = at_one_moment(clock);
        Some(ClockMark { boot: boot.trim().to_owned(), since_boot_ms, shown })
    }

    /// What the clock of this older mark would show at the moment of the newer one `now`: what it showed, and what has passed since.
    /// `None` if that is not known, since the machine was booted meanwhile, or is another one.
    pub fn would_show(&self, now: &ClockMark) -> Option<Time> {
        let passed = Span(now.since_boot_ms.checked_sub(self.since_boot_ms)?);
        (self.boot == now.boot).then(|| self.shown + passed)
    }

    /// By how much more the clock has advanced since an older mark than time has passed. Zero if that is not known, since
    /// the machine was booted meanwhile, or is another one.
    pub fn set_ahead_since(&self, older: &ClockMark) -> Span {
        if self.boot != older.boot {
            return Span::ZERO;
        }
        let passed = Span(self.since_boot_ms.saturating_sub(older.since_boot_ms));
        let jump = self.shown.since(older.shown + passed);
        if jump < JUMP { Span::ZERO } else { jump }
    }
}

/// How often the two clocks are read anew if a loaded machine kept this process waiting in between.
const READINGS: usize = 20;

/// The machine's time since its boot, and what the controller's clock shows, read within a millisecond if that can be had.
fn at_one_moment(clock: &Clock) -> (u64, Time) {
    let since_boot = || {
        let time = clock_gettime(ClockId::Boottime);
        time.tv_sec as u64 * 1_000 + time.tv_nsec as u64 / 1_000_000
    };
    let readings = (0..READINGS).map(|_| {
        let (before, shown, after) = (since_boot(), clock.now(), since_boot());
        (after - before, (before, shown))
    });
    let mut best: Option<(u64, (u64, Time))> = None;
    for reading in readings {
        if best.is_none_or(|best| reading.0 < best.0) {
            best = Some(reading);
        }
        if reading.0 <= 1 {
            break;
        }
    }
    best.map_or_else(|| (since_boot(), clock.now()), |(_, reading)| reading)
}

fn millis(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_ahead_is_told_from_time_that_passed() {
        let mark =
            |boot: &str, since_boot_ms, shown| ClockMark { boot: boot.to_owned(), since_boot_ms, shown: Time(shown) };
        let before = mark("one", 5_000, 1_000_000);
        assert_eq!(mark("one", 65_000, 1_060_000).set_ahead_since(&before), Span::ZERO, "a minute passed");
        assert_eq!(mark("one", 65_000, 4_660_000).set_ahead_since(&before), Span::hours(1));
        assert_eq!(mark("one", 65_000, 1_060_400).set_ahead_since(&before), Span::ZERO, "read a moment later");
        assert_eq!(mark("one", 65_000, 1_000_000).set_ahead_since(&before), Span::ZERO, "set back");
        assert_eq!(mark("two", 65_000, 4_660_000).set_ahead_since(&before), Span::ZERO, "nobody knows");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_take_the_time_back_that_passed_meanwhile() {
        let mark =
            |boot: &str, since_boot_ms, shown| ClockMark { boot: boot.to_owned(), since_boot_ms, shown: Time(shown) };
        let before = mark("one", 5_000, 1_000_000);
        assert_eq!(before.would_show(&mark("one", 65_000, 400_000)), Some(Time(1_060_000)), "a minute passed");
        assert_eq!(before.would_show(&mark("two", 65_000, 400_000)), None, "not known");
        assert_eq!(before.would_show(&mark("one", 4_000, 400_000)), None, "that was before");
    }

    #[test]
    fn a_wall_clock_set_back_does_not_take_time_back() {
        let future = Time(u64::MAX / 2);
        assert!(Clock::start(future).now() >= future);
        assert!(Clock::start(Time(0)).now() > Time(1_600_000_000_000));
    }
}
