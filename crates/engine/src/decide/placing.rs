//! From "needs a host" to an order: one placement for all that need a host in this step, then starts and migrations by
//! priority within the limits. What each needs is in `request`, what the hosts have in `room`.

use super::{moving::MIGRATE_TIMEOUT, request::has_its_place, waiting, waiting_until};
use crate::{
    belief::{HostPhase, HostSenses, MoveWhy, Seen, Sight, Unlisted, Want},
    engine::Engine,
    explain::{Blocked, Doing, WaitingOn},
    place::{Groups, NoHostFits, Placement, Refusal, Request, place, state_left},
};
use mainstay_model::{
    Action, Cause, EventKind, HostId, Resources, Severity, Span, Subject, WorkloadId,
    spec::{Rung, Strength},
};
use std::collections::{BTreeMap, BTreeSet};

/// What a host is needed for.
#[derive(Clone, Debug)]
pub(super) enum PlaceFor {
    /// A rung of the ladder.
    Recovery { rung: Rung, cause: Cause },
    /// A live migration.
    LiveMove { to: Option<HostId>, why: MoveWhy },
    /// The start that ends a cold move, or that an operator asked for; at its old host too, unless it is to leave that.
    ColdMove { to: Option<HostId>, leave: bool },
    /// The start, where it ran before, of what was stopped for a move and could not be started elsewhere.
    GoBack { to: HostId },
}

/// A person who renames a VM starts it under its new name within this, as far as it is waited for.
const RENAMED_WITHIN: Span = Span::minutes(1);
/// No host that was switched on runs a VM sooner.
const BOOT_TAKES: Span = Span::secs(5);
/// So long a controller that begins or woke up waits for what hosts in reach run.
const LISTENS_AT_MOST: Span = Span::secs(10);

impl Engine {
    pub(super) fn place_and_start(&mut self, wanted: BTreeMap<WorkloadId, PlaceFor>) {
        if wanted.is_empty() {
            return;
        }
        let mut ready: BTreeMap<WorkloadId, PlaceFor> = BTreeMap::new();
        for (workload, what) in wanted {
            match self.predecessor(&workload, &what) {
                Some(doing) => self.decided(&workload, doing),
                None => {
                    ready.insert(workload, what);
                }
            }
        }
        let requests: BTreeMap<WorkloadId, Request> = ready
            .iter()
            .filter_map(|(workload, what)| Some((workload.clone(), self.request(workload, what)?)))
            .collect();
        let mut placement = self.find_places(&requests);
        self.place_otherwise(requests, &mut ready, &mut placement);
        let mut order: Vec<&WorkloadId> = ready.keys().collect();
        order.sort_by_key(|workload| std::cmp::Reverse(self.priority(workload)));
        for workload in order {
            let what = &ready[workload];
            let doing = match placement.placed.get(workload) {
                Some(chosen) => {
                    let why: Vec<String> = chosen.why.iter().map(ToString::to_string).collect();
                    self.send_to(workload, what, &chosen.host, &why.join(", "))
                }
                None => self.nowhere(placement.unplaced.remove(workload).unwrap_or_default()),
            };
            self.decided(workload, doing);
        }
    }

    /// For those without a place: first their hosts are looked at again on which they failed, then the one where they ran.
    /// The others keep their places, but for those whose place is taken by that: they are placed anew, on what is left, and
    /// not beside it (scenario 739).
    fn place_otherwise(
        &mut self,
        mut requests: BTreeMap<WorkloadId, Request>,
        ready: &mut BTreeMap<WorkloadId, PlaceFor>,
        placement: &mut Placement,
    ) {
        let as_wished = requests.clone();
        for otherwise in [Engine::begin_anew, Engine::go_back] {
            let mut changed = false;
            for (workload, request) in &mut requests {
                if let Some(chosen) = placement.placed.get(workload) {
                    request.only = Some(chosen.host.clone());
                } else if let Some(what) = ready.get_mut(workload) {
                    changed |= otherwise(self, workload, what, request);
                }
            }
            if !changed {
                continue;
            }
            let mut again = self.find_places(&requests);
            let displaced: Vec<&WorkloadId> =
                again.unplaced.keys().filter(|workload| placement.placed.contains_key(*workload)).collect();
            if !displaced.is_empty() {
                for workload in displaced {
                    requests.insert(workload.clone(), as_wished[workload].clone());
                }
                for (workload, chosen) in &again.placed {
                    if let Some(request) = requests.get_mut(workload) {
                        request.only = Some(chosen.host.clone());
                    }
                }
                again = self.find_places(&requests);
            }
            placement.unplaced.retain(|workload, _| !again.placed.contains_key(workload));
            for (workload, why) in again.unplaced {
                placement.unplaced.entry(workload).or_insert(why); // what was said first of the others is what they wait for
            }
            placement.placed = again.placed;
        }
    }

    /// Where no host is left but those on which it failed, these are tried again, the least tried first, as often as the
    /// ladder says. For a rung of the ladder this includes the host that it was to leave: it has no other.
    fn begin_anew(&self, workload: &WorkloadId, what: &mut PlaceFor, request: &mut Request) -> bool {
        let waived = |refusal: &Refusal| match what {
            PlaceFor::Recovery { .. } => matches!(refusal, Refusal::FailedThere | Refusal::ToLeave),
            PlaceFor::LiveMove { .. } => *refusal == Refusal::FailedThere,
            PlaceFor::ColdMove { .. } | PlaceFor::GoBack { .. } => false,
        };
        if !request.excluded.values().any(waived) {
            return false;
        }
        let attempts = self.belief.workloads.get(workload).map_or(&[][..], |record| &record.attempts);
        let times = |host: &HostId| attempts.iter().filter(|it| it.host.as_ref() == Some(host)).count();
        let open = request.excluded.iter().filter(|(host, refusal)| waived(refusal) && self.in_service(host));
        let least = open.map(|(host, _)| times(host)).min();
        request.excluded.retain(|host, refusal| !waived(refusal) || Some(times(host)) > least);
        true
    }

    /// Where no other host takes it, it goes back to the one where it ran: what was stopped for a move, and what would have
    /// no room there by the sum of all that ran there.
    fn go_back(&self, workload: &WorkloadId, what: &mut PlaceFor, request: &mut Request) -> bool {
        let Some(record) = self.belief.workloads.get(workload) else { return false };
        let home = match what {
            PlaceFor::ColdMove { leave: true, .. } => {
                let from = record.moving.as_ref().filter(|moving| moving.why != MoveWhy::Operator);
                from.and_then(|moving| moving.from.clone()).filter(|from| self.can_go_back_to(from))
            }
            PlaceFor::Recovery { .. } => record.host.clone().filter(|home| {
                let open = !request.excluded.contains_key(home) && request.back_to.is_none();
                self.in_service(home) && open && has_its_place(record, home)
            }),
            PlaceFor::ColdMove { .. } | PlaceFor::LiveMove { .. } | PlaceFor::GoBack { .. } => None,
        };
        let Some(home) = home else { return false };
        if matches!(what, PlaceFor::ColdMove { .. }) {
            *what = PlaceFor::GoBack { to: home.clone() };
            request.excluded.remove(&home);
        }
        (request.only, request.back_to) = (Some(home.clone()), Some(home));
        true
    }

    /// True if what was stopped there can be started there again, whatever the host is to be freed for.
    pub(super) fn can_go_back_to(&self, host: &HostId) -> bool {
        let record = self.belief.hosts.get(host);
        let online = record.is_some_and(|it| it.phase == HostPhase::Online && it.capacity != Resources::ZERO);
        online && self.sight(host) == Sight::Heard && self.host_spec(host).is_some()
    }

    /// Places all requests together. If every request names its host, as after crashes, only those hosts are considered, so
    /// the cost does not grow with the cluster. If that finds no place, all hosts are considered, so that the explanation
    /// lists each host's reason.
    fn find_places(&mut self, requests: &BTreeMap<WorkloadId, Request>) -> Placement {
        self.locate_groups(requests);
        let bound_for: Option<BTreeSet<&HostId>> = requests.values().map(|request| request.only.as_ref()).collect();
        if let Some(bound_for) = bound_for {
            let hosts = bound_for.into_iter().filter_map(|host| Some((host.clone(), self.candidate(host)?))).collect();
            let placement = place(requests, &hosts, &self.relations.groups);
            if placement.unplaced.is_empty() {
                return placement;
            }
        }
        self.sum_up();
        place(requests, &self.candidates(), &self.relations.groups)
    }

    /// Why this rung could not bring the workload up once a host has let go of it, if so. A revert is made where its points
    /// are; anything else needs another host.
    pub(super) fn could_go(
        &mut self,
        workload: &WorkloadId,
        from: &HostId,
        rung: Rung,
        cause: Cause,
    ) -> Result<(), NoHostFits> {
        let Some(mut request) = self.request(workload, &PlaceFor::Recovery { rung, cause }) else { return Ok(()) };
        if rung != Rung::Revert {
            request.only = None;
            request.excluded.insert(from.clone(), Refusal::ToLeave);
        }
        let requests = BTreeMap::from([(workload.clone(), request)]);
        match self.find_places(&requests).unplaced.pop_first() {
            Some((_, why)) => Err(why),
            None => Ok(()),
        }
    }

    /// No alarm is raised while a host that may take it was not heard yet in this term.
    pub(super) fn nowhere(&self, why: NoHostFits) -> Doing {
        match why.per_host.keys().find(|host| self.sight(host) == Sight::Unknown) {
            Some(host) => waiting(WaitingOn::Answer { host: host.clone() }),
            None => Doing::Blocked { by: Blocked::NoHost { why } },
        }
    }

    /// A workload that has to run before this one may start, if there is one that does not.
    fn predecessor(&self, workload: &WorkloadId, what: &PlaceFor) -> Option<Doing> {
        if matches!(what, PlaceFor::LiveMove { .. }) {
            return None;
        }
        let after = self.relations.after.get(workload)?;
        let missing = after.iter().find(|(other, rule)| {
            let Some(record) = self.belief.workloads.get(*other) else { return false };
            let wanted = record.want == Want::Running && self.manages(other);
            let being_started = record.trouble.is_some();
            let counts = rule.policy == Strength::Required || being_started;
            let stopped = record.want != Want::Running && rule.policy == Strength::Required;
            (wanted && counts && !self.is_well(other)) || stopped
        });
        let (other, rule) = missing?;
        Some(waiting(WaitingOn::Predecessor { workload: other.clone(), origin: rule.origin.clone() }))
    }

    /// Notes where those are now with whom these workloads share a group.
    fn locate_groups(&mut self, requests: &BTreeMap<WorkloadId, Request>) {
        let groups = &self.relations.groups;
        let company = requests.keys().flat_map(|workload| groups.of(workload)).flat_map(|group| &group.members);
        let company: BTreeSet<WorkloadId> = company.cloned().collect();
        for member in company {
            self.relations.groups.locate(&member, self.belief.may_run_on(&member));
        }
    }

    /// The groups with all their members where they are now.
    pub(crate) fn located_groups(&self) -> Groups {
        let mut groups = self.relations.groups.clone();
        for member in self.relations.groups.members() {
            groups.locate(member, self.belief.may_run_on(member));
        }
        groups
    }

    /// Another host that told of its end there and has not listed it as off since: an event may be a late one, of a process
    /// before the one that runs.
    pub(crate) fn only_hearsay(&self, workload: &WorkloadId, target: &HostId) -> Option<HostId> {
        if let Some(home) = self.not_listed_in_this_term(workload).filter(|home| home != target) {
            return Some(home);
        }
        if let Some(host) = self.may_have_another_name(workload) {
            return Some(host);
        }
        if let Some(host) = self.runs_what_nobody_listed(workload) {
            return Some(host);
        }
        if let Some(host) = self.may_be_up_again(workload, target).or_else(|| self.listens_for(target)) {
            return Some(host);
        }
        let one_more = |host: &&HostId| *host != target && self.one_more_comes_until(workload, host).is_some();
        if let Some(host) = self.spec.hosts.keys().find(one_more) {
            return Some(host.clone());
        }
        let seen = &self.belief.workload_senses.get(workload)?.seen;
        let mut told = seen.iter().filter(|(host, seen)| *host != target && !seen.state.is_live());
        let unlisted = |(host, seen): &(&HostId, &Seen)| {
            let listed = self.belief.host_senses.get(*host).and_then(|senses| senses.inventory);
            // A controller that slept asks again: what was off may have been started there meanwhile.
            let since = seen.since.max(self.awake_since);
            self.sight(host) == Sight::Heard && listed.is_none_or(|asked_at| asked_at <= since)
        };
        told.find(unlisted).map(|(host, _)| host.clone())
    }

    /// A host on which something of an unknown name began to run before this one was missed, or about when a definition of this one
    /// was removed, and that has not listed it yet: it may be this one, renamed and started by a person (scenarios 525 and 529).
    /// What begins later is not waited for, so that a host on which VMs are made all the time holds nothing up.
    fn runs_what_nobody_listed(&self, workload: &WorkloadId) -> Option<HostId> {
        let missed_at = self.belief.workloads.get(workload)?.trouble.as_ref()?.since;
        let gone_at = self.belief.workload_senses.get(workload).and_then(|senses| senses.gone_at);
        // Of what has another name on record by now, any may be the one.
        let renamed = self.belief.other_names(self.belief.workloads.get(workload)?).next().is_some();
        let until = match gone_at {
            _ if renamed => self.now,
            Some(gone) => missed_at.max(gone + RENAMED_WITHIN),
            None => missed_at,
        };
        let mut unlisted = self.belief.unknown_runs.iter();
        // What fell silent since may run it still: that ends with the proof that it is off (scenario 814).
        let off = |host: &HostId| {
            self.belief.hosts.get(host).is_some_and(|record| matches!(record.phase, HostPhase::Off { .. }))
        };
        let may_tell = |host: &HostId| self.sight(host) == Sight::Heard || renamed && !off(host);
        let of_before = |(host, unlisted): &(&HostId, &Unlisted)| unlisted.since <= until && may_tell(host);
        unlisted.find(of_before).map(|(host, _)| host.clone())
    }

    /// A host that has not listed its VMs since a definition of this one was gone. A person may have renamed it: the lists tell of
    /// it under its other name, and whether that runs (scenario 460). What its last host does not have may be anywhere, so the lists
    /// have to be of after the controller's last sleep.
    fn may_have_another_name(&self, workload: &WorkloadId) -> Option<HostId> {
        let home = self.belief.workloads.get(workload)?.host.as_ref()?;
        let senses = self.belief.workload_senses.get(workload);
        let there = senses.is_some_and(|senses| senses.seen.contains_key(home));
        let missed = !there && self.sight(home) == Sight::Heard;
        let gone_at = senses.and_then(|senses| senses.gone_at);
        let since = gone_at.max(missed.then_some(self.awake_since))?;
        let listed = |host: &HostId| self.belief.host_senses.get(host).and_then(|senses| senses.inventory);
        let mut watched = self.spec.hosts.keys().filter(|host| self.may_tell(host));
        watched.find(|host| listed(host) <= Some(since)).cloned()
    }

    /// The host where it ran last, if that was neither proved off nor lost, and has not listed its VMs since this term began. That
    /// it was off there an earlier term may have had from a late event (scenario 305).
    fn not_listed_in_this_term(&self, workload: &WorkloadId) -> Option<HostId> {
        let home = self.belief.workloads.get(workload)?.host.as_ref()?;
        self.host_spec(home)?;
        let listed = self.belief.host_senses.get(home).and_then(|senses| senses.inventory);
        (self.may_tell(home) && listed.is_none()).then(|| home.clone())
    }

    /// A host with a definition of the workload that was off, and may be up again:
    /// - It is heard, and tells first what it runs.
    /// - It was heard a moment before it was called off: a device that is early, or lies, is found out by the next answer (scenario 990).
    /// - A person may have switched it on while the controller was away, slept or was cut off, and libvirt-guests starts there what ran before an
    ///   orderly shutdown. It is listened for as long as a silence takes to mean something (scenarios 981 to 983).
    fn may_be_up_again(&self, workload: &WorkloadId, target: &HostId) -> Option<HostId> {
        let record = self.belief.workloads.get(workload)?;
        let detection = self.spec.detection;
        let mut homes = record.host.iter().chain(&record.left).filter(|home| *home != target);
        let may_be_up = |home: &&HostId| {
            let known = self.belief.hosts.get(*home).zip(self.belief.host_senses.get(*home));
            let Some((host, senses)) = known.filter(|_| self.host_spec(home).is_some()) else { return false };
            let off = matches!(host.phase, HostPhase::Off { .. }) || host.closed_at.is_some();
            let just_heard = self.now < host.since + detection.host_lost_floor
                && senses.silence(self.now) < detection.host_lost_floor;
            let unwatched = host.since + BOOT_TAKES < senses.watched_since;
            let listened = self.now >= senses.watched_since + detection.host_lost_after;
            off && (senses.hypervisor_answers() || just_heard || unwatched && !listened)
        };
        homes.find(may_be_up).cloned()
    }

    /// The controller began or woke up a moment ago, and a host in reach has not told yet what it runs: a person may have started the workload
    /// there, where it never was (scenario 984). A list that hangs is not waited for.
    pub(super) fn listens_for(&self, target: &HostId) -> Option<HostId> {
        let awake_for = self.now.since(self.awake_since);
        if awake_for >= LISTENS_AT_MOST {
            return None;
        }
        let untold = |(host, senses): &(&HostId, &HostSenses)| {
            // Of one that it had in sight all through its sleep, what waited is heard by now.
            let heard_all_along = senses.well_since.is_some_and(|well| well < self.awake_since);
            let listed = senses.inventory.is_some_and(|asked_at| asked_at >= self.awake_since || heard_all_along);
            let comes = senses.hypervisor_answers() || awake_for < self.spec.detection.host_lost_after;
            !listed && comes && *host != target && self.host_spec(host).is_some()
        };
        self.belief.host_senses.iter().find(untold).map(|(host, _)| host.clone())
    }

    /// The host is in use and not out of sight: its next list is on its way.
    fn may_tell(&self, host: &HostId) -> bool {
        let phase = self.belief.hosts.get(host).map(|record| &record.phase);
        let in_use = matches!(phase, Some(HostPhase::Online | HostPhase::Returning));
        in_use && matches!(self.sight(host), Sight::Heard | Sight::Unknown | Sight::Suspect)
    }

    fn send_to(&mut self, workload: &WorkloadId, what: &PlaceFor, host: &HostId, why: &str) -> Doing {
        let live = matches!(what, PlaceFor::LiveMove { .. });
        let (busy, limit, word) = if live {
            (self.migrations_on(host), self.spec.limits.migrations_per_host, "migrations")
        } else {
            (self.starts_on(host), self.spec.limits.starts_per_host, "starts")
        };
        if busy >= limit as usize {
            return waiting(WaitingOn::Limit { what: word.to_owned(), host: host.clone() });
        }
        if let Some(old) = self.only_hearsay(workload, host).filter(|_| !live) {
            return waiting_until(WaitingOn::Answer { host: old }, self.now + Span::secs(1));
        }
        self.call_in(host);
        if !live {
            self.note_what_stays(workload, host);
        }
        let start_timeout = self.recovery(workload).start_timeout;
        let (workload_name, host_name) = (workload.clone(), host.clone());
        match what {
            PlaceFor::LiveMove { why: reason, .. } => {
                let from = self.belief.workloads.get(workload).and_then(|record| record.host.clone());
                let Some(from) = from else { return waiting(WaitingOn::Answer { host: host.clone() }) };
                self.put_by(workload, host, *reason == MoveWhy::Operator);
                let because = match reason {
                    MoveWhy::Operator => "an operator asked for it",
                    MoveWhy::Maintenance => "its host goes into maintenance",
                    MoveWhy::FailBack => "its home is back",
                    MoveWhy::Constraint => "it breaks a required constraint where it is",
                    MoveWhy::Balance => "an operator asked to even out load",
                };
                self.order_life(
                    Action::Migrate { workload: workload_name, from, to: host_name },
                    MIGRATE_TIMEOUT,
                    because,
                )
            }
            PlaceFor::ColdMove { .. } => {
                let moving = self.belief.workloads.get(workload).and_then(|record| record.moving.as_ref());
                let asked_for = moving.is_some_and(|it| it.why == MoveWhy::Operator && it.to.as_ref() == Some(host));
                self.put_by(workload, host, asked_for);
                if let Some(record) = self.belief.workloads.get_mut(workload)
                    && let Some(from) = record.host.clone()
                {
                    record.left.insert(from);
                }
                let action = Action::Start { workload: workload_name, host: host_name };
                self.order_life(action, start_timeout, "it was stopped to be moved")
            }
            PlaceFor::GoBack { .. } => {
                self.is_stuck(workload, host);
                let action = Action::Start { workload: workload_name, host: host_name };
                self.order_life(action, start_timeout, "it could not be started elsewhere, and goes back")
            }
            PlaceFor::Recovery { rung, cause } => {
                self.count_attempt(workload, *rung, Some(host.clone()));
                let record = self.belief.workloads.get_mut(workload).expect("placed on record");
                if let Some(from) = record.host.clone().filter(|from| from != host) {
                    record.left.insert(from);
                }
                let revert_to = self.point_to_revert_to(workload);
                let keep_broken = self.protection(workload).is_some_and(|rule| rule.policy.keep_broken);
                let because = format!("it {cause}; {host}: {why}");
                match revert_to {
                    Some(point) => {
                        let action = Action::Revert { workload: workload_name, host: host_name, point, keep_broken };
                        let bound = self.protection(workload).map_or(start_timeout, |rule| rule.policy.timeout);
                        self.order_life(action, bound.max(start_timeout), &because)
                    }
                    None => {
                        let action = Action::Start { workload: workload_name, host: host_name };
                        self.order_life(action, start_timeout, &because)
                    }
                }
            }
        }
    }

    /// What it starts without on this host is in the history: nothing of it is deleted.
    fn note_what_stays(&mut self, workload: &WorkloadId, host: &HostId) {
        let Some(record) = self.belief.workloads.get(workload) else { return };
        let Some(home) = self.home(record).filter(|home| home != host && !record.only_here.is_empty()) else { return };
        let text = format!("starts on {host} without {}", state_left(&record.only_here, &home));
        self.note(EventKind::Decided, Severity::Yellow, Subject::Workload(workload.clone()), text);
    }

    /// What a person decides is not undone by fail-back.
    fn put_by(&mut self, workload: &WorkloadId, host: &HostId, person: bool) {
        let Some(record) = self.belief.workloads.get_mut(workload) else { return };
        record.kept_on = person.then(|| host.clone());
        if person {
            record.came_from = None;
        }
    }

    /// A spare that gets work is a spare no longer.
    fn call_in(&mut self, host: &HostId) {
        if self.is_idle_spare(host)
            && let Some(record) = self.belief.hosts.get_mut(host)
        {
            record.called_in = true;
            let text = "the spare is brought in: no other host has room";
            self.note(EventKind::Decided, Severity::Yellow, Subject::Host(host.clone()), text);
            self.agenda.touch_host(host);
        }
    }

    /// Starts under way on a host.
    fn starts_on(&self, host: &HostId) -> usize {
        let subject = Subject::Host(host.clone());
        let orders = self.belief.in_flight(&subject);
        orders.filter(|record| matches!(record.order.action, Action::Start { .. } | Action::Revert { .. })).count()
    }
}
