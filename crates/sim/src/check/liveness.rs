//! Rule 7: when faults have ceased and their time has passed, what should run runs; and then nothing moves any more.

use super::{Checker, Rule};
use crate::{
    record::{Passage, Record},
    world::World,
};
use mainstay_engine::view::ClusterView;
use mainstay_model::{
    Code, Span, Subject, Time, WorkloadId,
    spec::{Managed, Selector},
};
use std::collections::BTreeSet;

/// Alarms that say that a person is needed, and that the workload is rightly down until then. What is taken for stopped by
/// a person is down rightly only if a person stopped it, or its host in good order.
const NEEDS_A_PERSON: [Code; 3] = [Code::RECOVERY_EXHAUSTED, Code::ORDER_BLOCKED, Code::PAUSED_BY_PERSON];

/// An alarm excuses what it speaks of for this long after it was cleared: what it waited for is being done.
const EXCUSES_FOR: Span = Span::minutes(2);

impl Checker {
    /// Faults ceased long ago: every managed workload has to run, unless an alarm rightly asks for a person.
    pub fn all_should_run(&mut self, world: &World, record: &Record, view: &ClusterView, roomy: bool) {
        for (name, guest) in &world.guests {
            let managed =
                world.spec.workload_rule(name, &guest.tags).is_some_and(|rule| rule.policy.managed == Managed::Yes);
            let unprotected = view.workloads.iter().any(|seen| seen.workload == *name && !seen.managed);
            let removed =
                guest.undefined_by_person && !world.hosts.values().any(|host| host.domains.contains_key(name));
            // Undefined and defined anew by a person, who did not start it: what is found off is left off.
            let found_off = guest.undefined_by_person && self.stops.redefined_at(name).is_some();
            let left_off = found_off
                || self.stops.wanted_off(name)
                || self.stops.is_to_stay_off(name)
                || self.is_believed_stopped(name)
                || self.was_found_off(name)
                || self.stays_off_as_backed_up(name);
            // An operator's restart and an unseen shutdown: which came first is not known (scenario 633).
            let left_off = left_off || self.is_on_record_as_stopped(name) && self.stops.asked_unaware(name);
            // A start of the controller's own, by a policy that is gone, came through and ended, and nothing was told of that (scenario 922).
            let untold = self.began.get(name).is_some_and(|began| self.told_live.get(name).is_none_or(|at| at < began));
            let left_off = left_off || self.is_on_record_as_stopped(name) && untold;
            // A person renamed it: it runs under its other name, and never under both. Whether it is well there is that one's affair.
            let runs_renamed = guest
                .twin
                .as_ref()
                .and_then(|twin| world.guests.get(twin))
                .is_some_and(|twin| !twin.processes.is_empty());
            // Repaired by a person, and reverted to a point that loops as well: it is tried until the ladder ends (scenario 873).
            let loops_again = guest.disk.loops && self.reverted_to_a_loop.contains(name);
            // The only VM of that name that the controller has seen is another one.
            let never_seen = self.uuids.get(name).is_some_and(|uuid| *uuid != guest.uuid);
            if !managed || unprotected || removed || left_off || runs_renamed || never_seen || loops_again {
                self.excused.insert(name.clone());
                continue;
            }
            self.stake(Rule::Liveness);
            let excused = self.is_excused(world, record, name, roomy);
            // A move whose answer was lost is made again when its deadline has passed (scenario 346).
            if excused || self.evidence.has_open_move(name, world.now) {
                // Also if it is well already: it was brought back a moment ago, and may have its way home before it.
                self.excused.insert(name.clone());
            }
            let well = guest.host().is_some_and(|host| self.seems_well(world, guest, &host));
            if well || excused {
                continue;
            }
            let doing = view.workloads.iter().find(|seen| seen.workload == *name);
            let doing =
                doing.map_or("not in its view".to_owned(), |seen| format!("{} ({:?})", seen.health, seen.doing));
            let text = format!("{name} does not run although faults have ceased; believed: {doing}");
            self.violate(world, Rule::Liveness, text);
        }
        self.nothing_starts_alone(world);
    }

    /// Nothing was wrong any more since then, and yet something was moved or started.
    pub fn should_have_rested(&mut self, world: &World, record: &Record, since: Time) {
        let later = |entry: &&Passage| entry.at > since;
        let own = |entry: &&Passage| !self.excused.contains(&entry.workload);
        let sick: BTreeSet<_> = self.excused.iter().collect();
        let moves = record.moves.iter().filter(|entry| !bound_to(world, &entry.workload, &sick));
        if let Some(Passage { workload, to, at, .. }) = record.starts.iter().chain(moves).filter(later).find(own) {
            let at_s = at.0 as f64 / 1000.0;
            let text =
                format!("{workload} was moved or started on {to} at {at_s} s although all had been well for long");
            self.violate(world, Rule::Bounded, text);
        }
    }

    /// True if an alarm says rightly that a person is needed, or did until a moment ago, or until a person took elsewhere
    /// what was left alone after its host's shutdown: found anew it is off because somebody put it there so.
    fn is_excused(&self, world: &World, record: &Record, workload: &WorkloadId, roomy: bool) -> bool {
        let now = world.now;
        let ran_twice =
            world.guests.get(workload).is_some_and(|guest| guest.disk.corrupted || guest.processes.len() > 1);
        // It answers no probe and works: it is not reset, and the alarm says so.
        let deaf = world.guests.get(workload).is_some_and(|guest| guest.is_deaf());
        let roomy = roomy && !world.hosts.values().any(|host| host.namesakes.contains(workload));
        let (went_with_its_host, redefined_at) =
            (self.stops.went_with_its_host(workload), self.stops.redefined_at(workload));
        record.alarms.iter().filter(|span| span.alarm.subject == Subject::Workload(workload.clone())).any(|span| {
            let code = span.alarm.code;
            let with_its_host = code == Code::STOPPED_BY_PERSON && went_with_its_host;
            let late = code == Code::STOPPED_BY_PERSON && self.stops.ended_late(workload);
            let twice = code == Code::RUNS_TWICE && ran_twice;
            let full = code == Code::NO_HOST_FITS && !roomy;
            let busy = code == Code::UNRESPONSIVE && deaf;
            let excuses = NEEDS_A_PERSON.contains(&code) || twice || full || with_its_host || late || busy;
            let lasts = |cleared: Time| {
                let removed = redefined_at.is_some_and(|at| span.raised <= at && at <= cleared);
                now.since(cleared) < EXCUSES_FOR || (with_its_host && removed)
            };
            excuses && span.cleared.is_none_or(lasts)
        })
    }
}

/// True if a rule keeps the workload together with one of these, or apart from it: where that one goes, and that it is well again, is
/// a reason to move (scenarios 743 and 937).
fn bound_to(world: &World, workload: &WorkloadId, others: &BTreeSet<&WorkloadId>) -> bool {
    let chooses = |selector: &Selector, name: &WorkloadId| {
        world.guests.get(name).is_some_and(|guest| selector.chooses(name, &guest.tags))
    };
    let together = world.spec.together.iter().map(|rule| &rule.selector);
    let mut selectors = together.chain(world.spec.apart.iter().map(|rule| &rule.selector));
    selectors.any(|it| chooses(it, workload) && others.iter().any(|other| chooses(it, other)))
}
