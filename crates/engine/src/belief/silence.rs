//! How long silence must last before it means something: phi accrual (Hayashibara et al., "The φ accrual failure
//! detector", 2004) over the recent intervals between signs of life, between a floor and a hard bound.

use mainstay_model::{Span, Time, spec::Detection};

/// Weight of the newest interval in the running mean and deviation: about the last sixteen count.
const WEIGHT: f64 = 1.0 / 16.0;

/// The rhythm of one channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beat {
    mean_ms: f64,
    deviation_ms: f64,
    intervals: u32,
}

impl Beat {
    /// Notes the interval between two signs of life.
    pub(crate) fn note(&mut self, earlier: Time, now: Time) {
        let interval = now.since(earlier).0 as f64;
        if self.intervals == 0 {
            self.mean_ms = interval;
        } else {
            let error = interval - self.mean_ms;
            self.mean_ms += WEIGHT * error;
            self.deviation_ms += WEIGHT * (error.abs() - self.deviation_ms);
        }
        self.intervals = self.intervals.saturating_add(1);
    }

    /// Silence of this length means loss: where phi reaches its limit, kept between floor and bound. Until the rhythm
    /// is known (eight intervals) the hard bound counts.
    pub(crate) fn lost_after(&self, detection: &Detection) -> Span {
        if self.intervals < 8 {
            return detection.host_lost_after;
        }
        let phi = f64::from(detection.phi_centi) / 100.0;
        // Mean absolute deviation to standard deviation of a normal distribution: × 1.2533. A deviation below a tenth of
        // the mean is an accident of few samples.
        let sigma = (1.2533 * self.deviation_ms).max(self.mean_ms / 10.0);
        let silence = self.mean_ms + sigma * normal_quantile_of_phi(phi);
        let floor = detection.host_lost_floor.min(detection.host_lost_after);
        Span(silence as u64).clamp(floor, detection.host_lost_after)
    }
}

/// z with P(Z > z) = 10^-phi, by the tail bound exp(-z²/2) = 10^-phi: never too small, within 15 % for phi above 2.
fn normal_quantile_of_phi(phi: f64) -> f64 {
    (2.0 * phi * std::f64::consts::LN_10).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(intervals: &[u64]) -> Beat {
        let mut beat = Beat::default();
        let mut now = Time(0);
        for interval in intervals {
            let next = now + Span(*interval);
            beat.note(now, next);
            now = next;
        }
        beat
    }

    #[test]
    fn a_steady_rhythm_is_judged_at_the_floor_a_jittery_one_at_the_bound() {
        let detection = Detection::default();
        assert_eq!(beat(&[500; 30]).lost_after(&detection), detection.host_lost_floor);
        let jittery: Vec<u64> = (0..30).map(|n| if n % 3 == 0 { 1_600 } else { 100 }).collect();
        assert_eq!(beat(&jittery).lost_after(&detection), detection.host_lost_after);
    }

    #[test]
    fn an_unknown_rhythm_is_judged_at_the_bound() {
        let detection = Detection::default();
        assert_eq!(beat(&[500; 3]).lost_after(&detection), detection.host_lost_after);
    }
}
