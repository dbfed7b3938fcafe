//! Rule 7: when faults have ceased and their time has passed, what should run runs; and then nothing moves any more.

use super::{Checker, Rule};
use crate::world::World;
use mainstay_engine::view::ClusterView;
use mainstay_model::{Code, HostId, Subject, WorkloadId, spec::Managed};

/// Alarms that say that a person is needed, and that the workload is rightly down until then.
const NEEDS_A_PERSON: [Code; 5] = [
    Code::STOPPED_BY_PERSON,
    Code::RECOVERY_EXHAUSTED,
    Code::RUNS_TWICE,
    Code::ORDER_BLOCKED,
    Code::PAUSED_BY_PERSON,
];

impl Checker {
    /// Faults ceased long ago: every managed workload has to run, unless an alarm rightly asks for a person.
    pub fn all_should_run(&mut self, world: &World, view: &ClusterView, roomy: bool) {
        for (name, guest) in &world.guests {
            let managed = world.spec.workload_rule(name, &guest.tags).is_some_and(|rule| rule.policy.managed == Managed::Yes);
            let unprotected = view.workloads.iter().any(|seen| seen.workload == *name && !seen.managed);
            if !managed || unprotected || guest.stopped_by_person.is_some() {
                continue;
            }
            self.stake(Rule::Liveness);
            let well = guest.host().is_some_and(|host| world.is_well_on(guest, &host));
            if !well && !excused(view, name, roomy) {
                let doing = view.workloads.iter().find(|seen| seen.workload == *name);
                let doing = doing.map_or("not in its view".to_owned(), |seen| format!("{} ({:?})", seen.health, seen.doing));
                let text = format!("{name} does not run although faults have ceased; believed: {doing}");
                self.violate(world, Rule::Liveness, text);
            }
        }
    }

    /// Nothing was wrong any more, and yet something was moved or started.
    pub fn restless(&mut self, world: &World, workload: &WorkloadId, host: &HostId) {
        let text = format!("{workload} was moved or started on {host} although all had been well for long");
        self.violate(world, Rule::Bounded, text);
    }
}

fn excused(view: &ClusterView, workload: &WorkloadId, roomy: bool) -> bool {
    let excuse = |code| NEEDS_A_PERSON.contains(&code) || (code == Code::NO_HOST_FITS && !roomy);
    view.alarms.iter().any(|alarm| excuse(alarm.code) && alarm.subject == Subject::Workload(workload.clone()))
}
