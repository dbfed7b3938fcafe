//! How long an agent waits by itself, held against the bound of one of its calls. An agent that is killed while it still waits
//! has switched nothing: a configuration taken over from Pacemaker (`delay = "30"`, killed after 20 s) would never fence.
//!
//! What the fence-agents library does in one call of `off`: it waits `delay` and a second, logs in (`login_timeout`), gives the
//! order, waits `power_wait` for each plug, then looks for at most `power_timeout` looks, `stonith_status_sleep` apart. `on` is
//! given again `retry_on` times, and the waits come again each time.

use std::time::Duration;

use crate::{Metadata, Options, Problem, ValueType};

/// For an interpreter to start, and a login: a wait that leaves less of the bound is too long.
const TO_ACT_S: u64 = 2;
/// The library adds a second to a delay.
const DELAY_EXTRA_S: u64 = 1;
/// Waited in full, whatever the device does. Others are bounds, and end when the device answers.
const CERTAIN: [&str; 2] = ["delay", "power_wait"];

/// Waits that do not fit into `timeout`.
pub(crate) fn check(metadata: &Metadata, options: &Options, timeout: Duration) -> Vec<Problem> {
    let timeout_s = timeout.as_secs();
    let waits = Waits { metadata, options };
    let mut problems = Vec::new();
    let delay = waits.seconds("delay").unwrap_or(0);
    let after_order = waits.seconds("power_wait").unwrap_or(0).saturating_mul(waits.plugs());
    let certain = (if delay > 0 { delay.saturating_add(DELAY_EXTRA_S) } else { 0 }).saturating_add(after_order);
    let too_slow = certain > 0 && certain.saturating_add(TO_ACT_S) > timeout_s;
    if too_slow {
        let name = if delay >= after_order { CERTAIN[0] } else { CERTAIN[1] };
        let by = [("delay", delay), ("power_wait", after_order)].into_iter().filter(|(_, seconds)| *seconds > 0);
        problems.push(Problem::TooSlow {
            name: name.to_owned(),
            waits: certain,
            by: by.map(|(name, seconds)| format!("{name} {seconds} s")).collect::<Vec<_>>().join(", "),
            timeout: timeout_s,
            needed: certain.saturating_add(waits.login()).saturating_add(TO_ACT_S),
            delay: delay > 0,
        });
    }
    for (name, parameter) in &metadata.parameters {
        let is_wait = parameter.value == ValueType::Seconds && !parameter.deprecated;
        let Some(seconds) = waits.seconds(name).filter(|_| is_wait) else { continue };
        // By default an order to switch on is given twice; that alone is no reason to warn.
        let again = matches!(name.as_str(), "power_wait" | "power_timeout") && waits.is_given("retry_on");
        let explicit = waits.is_given(name) || again;
        let seconds = if again { seconds.saturating_mul(waits.attempts()) } else { seconds };
        let said = too_slow && CERTAIN.contains(&name.as_str());
        if seconds > timeout_s && !said {
            let preset = !explicit;
            problems.push(Problem::Cut { name: name.clone(), waits: seconds, timeout: timeout_s, preset });
        }
    }
    problems
}

/// As the fence-agents library reads a switch.
pub(crate) fn is_yes(value: &str) -> bool {
    ["1", "yes", "on", "true"].contains(&value.to_lowercase().as_str())
}

struct Waits<'a> {
    metadata: &'a Metadata,
    options: &'a Options,
}

impl Waits<'_> {
    /// As the operator set it, perhaps by its older name; else the agent's default.
    fn seconds(&self, name: &str) -> Option<u64> {
        let parameter = self.metadata.parameters.get(name)?;
        let older = parameter.obsoletes.as_deref().and_then(|older| self.options.get(older));
        self.options.get(name).or(older).or(parameter.default.as_deref())?.trim().parse().ok()
    }

    fn is_given(&self, name: &str) -> bool {
        self.options.get(name).is_some()
    }

    /// How often an order to switch on is given.
    fn attempts(&self) -> u64 {
        1_u64.saturating_add(self.seconds("retry_on").unwrap_or(1))
    }

    /// How many plugs one call switches, one after the other.
    fn plugs(&self) -> u64 {
        let separator = self.options.get("plug_separator").filter(|text| !text.is_empty()).unwrap_or(",");
        let plugs = ["plug", "port"].into_iter().find_map(|name| self.options.get(name));
        plugs.map_or(1, |plugs| plugs.split(separator).count() as u64)
    }

    fn login(&self) -> u64 {
        self.seconds("login_timeout").unwrap_or(0)
    }
}
