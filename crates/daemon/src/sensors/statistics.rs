//! Counters of all running domains, in one call that waits for no guest: an activity that stands still while the domain
//! counts as running is the sign of a hang. What QEMU did not tell is left out, never told as zero.

use super::{Context, STUCK};
use crate::{link::Link, supervise::Pulse};
use mainstay_libvirt::{
    Connection,
    domain::statistics::{DomainStats, StatsGroups},
};
use mainstay_model::{Activity, Fact, WorkloadId};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Often enough to see a hang within its bound of 15 s, seldom enough to cost nothing.
const EVERY: Duration = Duration::from_secs(2);

/// Reads statistics for ever. A failed attempt is not told: heartbeats do that.
pub(super) async fn watch(link: &Link, context: &Context, pulse: &Pulse, connection: &Connection) {
    // Not at once: the first inventory shall not wait behind it.
    let mut ticks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let part = pulse.part("statistics", STUCK + link.limit());
    loop {
        ticks.tick().await;
        part.beat();
        let wanted =
            StatsGroups::STATE | StatsGroups::CPU | StatsGroups::BALLOON | StatsGroups::INTERFACE | StatsGroups::BLOCK;
        match connection.statistics(wanted, link.limit()).await {
            Ok(all) => {
                let activities: Vec<_> = all.iter().filter_map(|stats| counted(context, stats)).collect();
                if !activities.is_empty() {
                    context.report(Fact::Activity { host: link.host.clone(), activities }).await;
                }
            }
            Err(error) => tracing::debug!(host = %link.host, %error, "no statistics"),
        }
    }
}

fn counted(context: &Context, stats: &DomainStats) -> Option<(WorkloadId, Activity)> {
    let workload = WorkloadId::new(&stats.domain.name);
    if context.memory.is_namesake(&workload, stats.domain.uuid) {
        return None;
    }
    let activity = activity(stats)?;
    context.stats.counted(&workload, activity, context.clock.now());
    if let Some(used) = stats.resident_kib {
        context.stats.learn(&workload, |shown| shown.memory_used_mib = Some(used / 1024));
    }
    Some((workload, activity))
}

/// The counters, if QEMU answered: a stuck one tells nothing of its disks.
fn activity(stats: &DomainStats) -> Option<Activity> {
    if !stats.state?.is_active() {
        return None;
    }
    let disks = || stats.disks.iter();
    let answered = stats.disks.is_empty() || disks().any(|disk| disk.write_bytes.is_some());
    let sum = |values: &mut dyn Iterator<Item = Option<u64>>| values.flatten().sum();
    answered.then(|| Activity {
        cpu_ms: stats.cpu_time_ns.unwrap_or(0) / 1_000_000,
        disk_read: sum(&mut disks().map(|disk| disk.read_bytes)),
        disk_written: sum(&mut disks().map(|disk| disk.write_bytes)),
        net_received: sum(&mut stats.nics.iter().map(|nic| nic.received_bytes)),
        net_sent: sum(&mut stats.nics.iter().map(|nic| nic.sent_bytes)),
    })
}
