//! Fence devices before they are needed: each is asked for the power of each of its hosts every `probe_every`. Which of them
//! could not be relied on is the engine's to say.

use super::{Context, STUCK};
use crate::{
    executors::{DeviceAnswer, Tools, of_host, probe},
    supervise::Pulse,
};
use mainstay_model::{
    DeviceId, HostId, Span,
    spec::{ClusterSpec, FenceDevice},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

/// Agents that run at once: each is an interpreter that starts.
const AT_ONCE: usize = 4;
/// Whose turn it is is looked up this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Pair = (HostId, DeviceId);

/// Asks fence devices for ever.
pub(crate) async fn watch_devices(context: Context, pulse: Pulse, tools: Tools) {
    let mut due: BTreeMap<Pair, Due> = BTreeMap::new();
    let mut asked: JoinSet<(HostId, DeviceAnswer)> = JoinSet::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let turns = pulse.part("fence devices", STUCK);
    loop {
        ticks.tick().await;
        turns.beat();
        let spec = Arc::clone(&tools.spec.borrow());
        while let Some(ended) = asked.try_join_next() {
            let Ok((host, answer)) = ended else { continue };
            if !answer.unasked {
                context.report(answer.fact(&host)).await;
            }
            let pair = (host, answer.device.clone());
            if let (Some(turn), Some(device)) = (due.get_mut(&pair), probed(&spec, &pair.1)) {
                turn.end(&pair, device.asked_again_in(answer.state.as_deref() == Some("on")));
            }
        }
        refresh(&mut due, &spec);
        let now = Instant::now();
        let free = AT_ONCE.saturating_sub(asked.len());
        let turns = due.iter_mut().filter(|(_, turn)| !turn.under_way && turn.at <= now);
        for ((host, device), turn) in turns.take(free) {
            turn.under_way = true;
            let (tools, host, device, level) = (tools.clone(), host.clone(), device.clone(), turn.level);
            asked.spawn(async move {
                let answer = probe(&tools, &host, &device, level).await;
                (host, answer)
            });
        }
    }
}

/// When a device is asked about a host next.
struct Due {
    at: Instant,
    level: u32,
    under_way: bool,
    round: u32,
}

impl Due {
    fn end(&mut self, pair: &Pair, again_in: Span) {
        self.round += 1;
        self.under_way = false;
        // A tenth more or less, so that devices are not asked in step for ever.
        self.at = Instant::now() + again_in.as_duration().mul_f64(0.9 + 0.2 * scatter(pair, self.round));
    }
}

/// Pairs that are new are asked soon, those that are gone no more.
fn refresh(due: &mut BTreeMap<Pair, Due>, spec: &ClusterSpec) {
    let mut wanted: BTreeMap<Pair, u32> = BTreeMap::new();
    for host in spec.hosts.keys() {
        for (level, device) in of_host(spec, host) {
            if probed(spec, &device).is_some() {
                wanted.insert((host.clone(), device), level);
            }
        }
    }
    due.retain(|pair, _| wanted.contains_key(pair));
    for (pair, level) in wanted {
        if let Entry::Vacant(new) = due.entry(pair) {
            let within = probed(spec, &new.key().1).map_or(Span::ZERO, FenceDevice::asked_soon);
            let at = Instant::now() + within.as_duration().mul_f64(scatter(new.key(), 0));
            new.insert(Due { at, level, under_way: false, round: 0 });
        }
    }
}

/// The device, if it is asked although nothing depends on it.
fn probed<'a>(spec: &'a ClusterSpec, device: &DeviceId) -> Option<&'a FenceDevice> {
    spec.fence_devices.get(device).filter(|device| device.probe_every > Span::ZERO)
}

/// A number from 0 to 1, another one for each pair and round, and the same at every start.
fn scatter((host, device): &Pair, round: u32) -> f64 {
    // FNV-1a: short and even enough.
    let bytes = host.as_str().bytes().chain([0]).chain(device.as_str().bytes()).chain(round.to_le_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    f64::from(hash) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_spread_over_their_interval() {
        let pair = |number: u32| (HostId::new(format!("h{number}")), DeviceId::new(format!("bmc-{number}")));
        let mut tenths = [0; 10];
        (0..1_000).for_each(|number| tenths[((scatter(&pair(number), 0) * 10.0) as usize).min(9)] += 1);
        assert!(tenths.iter().all(|count| *count > 20), "{tenths:?}");
        assert!(scatter(&pair(1), 0) != scatter(&pair(1), 1));
    }
}
