//! Outcomes are facts too. Done is believed, failed is certain not to have happened, unknown settles nothing: the host
//! must be asked again, or proved off.
//!
//! What may take a host out of `may_run_on`, or a doubt out of `unsettled` and `pending_on`, and why each is proof:
//!
//! | what | where | why |
//! |---|---|---|
//! | a start failed, and the host was not in doubt before | `start_failed` | the order itself put the host in, and did nothing |
//! | a start failed with [`Proof::Off`], nothing unknown was open there | `start_failed` | the hypervisor was asked after all that was known |
//! | a stop is done, no start of ours hangs there | `stop_ended` | its executor looked after the stop; a start that hangs can still come |
//! | a migration is done | `migrate_ended` | the guest goes on at the target, so it does not at the source |
//! | a start is done where another hung | `started` | it runs there now; until the other can't come any more it starts nowhere else (`late_on`) |
//! | a definition is removed | `learn` | the removal waits for a start that holds it, and a later one finds nothing to start |
//! | a host is proved off | `proved_off` | nothing executes without power |
//! | it went with its host's shutdown, and no start of ours may come there, or the host booted since | `went_with_their_host` | the host reported its end, and nothing from before a boot comes after it |
//! | the host says off, nothing is open there | `went_off` | newest report of the host itself |
//! | a list that was asked for after the doubt arose | `settled` | but a start that was never answered stays in `pending_on` |
//! | a start of unknown outcome, listed as running since | `learn` | it is through; the host stays in `may_run_on` |
//! | seen live, later than the doubt | `sight_settles`, `went_live` | what was started is there; the host stays in `may_run_on` |
//!
//! A failure never clears a doubt about an *earlier* order: that one may wait for the domain's lock, in the socket of a daemon
//! that hangs, or in TCP (scenarios 180 and 181).

mod host;
mod workload;

pub(crate) use workload::MOVE_PAUSE;
use workload::{LATE_START, Sent};

use crate::{
    belief::{AskedFor, OrderRecord, Sight},
    engine::Engine,
};
use mainstay_model::{
    Action, ActionId, Detail, EventKind, FailureKind, HostId, Outcome, PowerState, Severity, Span, Subject, Time,
    WorkloadId,
};

/// Orders that ended are shown until so many others have: a person who waits for one asks within seconds, while hundreds of
/// recovery points end.
const ENDED_SHOWN: usize = 2_000;

/// True for what a fence device says of a host's power.
fn tells_of_power(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Done { detail: Detail::Fenced { .. } | Detail::Power(_) })
}

impl Engine {
    pub(crate) fn outcome(&mut self, id: ActionId, outcome: Outcome) {
        let Some(mut record) = self.belief.order_ended(id) else { return };
        self.agenda.ended(id, record.order.deadline);
        record.ended = Some((self.now, outcome.clone()));
        let subject = match record.order.action.workload() {
            Some(workload) => Subject::Workload(workload.clone()),
            None => Subject::Host(record.order.action.host().clone()),
        };
        let severity = if matches!(outcome, Outcome::Done { .. }) { Severity::Green } else { Severity::Yellow };
        self.note(EventKind::Outcome, severity, subject.clone(), format!("{}: {outcome}", record.order.action));
        self.belief.order_closed(record.clone());
        if self.ended.len() == ENDED_SHOWN {
            self.ended.pop_front();
        }
        self.ended.push_back(record.clone());
        match subject {
            Subject::Workload(workload) => self.agenda.touch(&workload),
            _ => self.agenda.touch_host(record.order.action.host()),
        }
        self.agenda.stir();
        // A device that was asked before the controller slept told of then; meanwhile a person may have switched the host on.
        let of_the_past = record.ordered_at < self.awake_since && tells_of_power(&outcome);
        if of_the_past {
            let text = "that was before the controller slept: the host is asked again";
            self.note(EventKind::Believed, Severity::Yellow, Subject::Host(record.order.action.host().clone()), text);
        } else {
            self.learn(record, outcome);
        }
    }

    fn learn(&mut self, record: OrderRecord, outcome: Outcome) {
        let (since, deadline, doubted) = (record.ordered_at, record.order.deadline, record.doubted);
        // Between terms the clock may have been set: what is left of an older term's time is not known, so all of it counts.
        let older = record.order.epoch < self.belief.meta.epoch;
        let until = if older { self.now + deadline.since(since) } else { deadline };
        let lost = older && !doubted && matches!(outcome, Outcome::Unknown { .. });
        match record.order.action {
            Action::CheckPower { host } => match outcome {
                Outcome::Done { detail: Detail::Power(state) } => self.power_learned(&host, state),
                // Not to know is no reason to wait: fencing verifies for itself.
                _ => self.power_learned(&host, PowerState::On),
            },
            Action::Fence { host, level } => self.fence_ended(&host, level, outcome),
            Action::PowerOn { host } => self.power_on_ended(&host, &outcome),
            Action::Start { workload, host } => {
                if matches!(outcome, Outcome::Unknown { .. }) && self.came_up_since(&workload, &host, since) {
                    self.started(&workload, &host, since); // the start is through
                    if doubted {
                        self.one_more_may_come(&workload, &host); // or the one before it is (scenario 904)
                    }
                    return;
                }
                if lost && self.came_up_in_another_term(&workload, &host, since) {
                    return; // it is through; its host's first list tells what became of it (scenario 661)
                }
                // Not after a revert: where it ran before, no start is under way for that (scenario 943).
                let one_more = doubted && matches!(outcome, Outcome::Done { .. });
                self.start_ended(&workload, &host, Sent { since, until, doubted }, outcome);
                if one_more {
                    self.one_more_may_come(&workload, &host);
                }
            }
            Action::Revert { workload, host, point, .. } => {
                let asked = self.is_asked(
                    &workload,
                    |asked| matches!(asked, AskedFor::Revert { point: wanted, .. } if *wanted == point),
                );
                self.revert_ended(&workload, &host, &point, &outcome);
                if matches!(outcome, Outcome::Done { .. }) {
                    self.runs_anew(&workload, &host, since);
                }
                match &outcome {
                    Outcome::Done { .. } if asked => self.asked_is_done(&workload),
                    Outcome::Unknown { .. } if asked => self.asked_in_doubt(&workload),
                    _ => {}
                }
                let not_there = matches!(&outcome, Outcome::Failed { error } if error.kind == FailureKind::NotThere);
                let failed = match &outcome {
                    Outcome::Failed { error } if asked => Some(error.clone()),
                    _ => None,
                };
                if !lost || !self.came_up_in_another_term(&workload, &host, since) {
                    self.start_ended(&workload, &host, Sent { since, until, doubted }, outcome);
                }
                if let Some(error) = failed {
                    self.asked_failed(&workload, &error); // only now is it known whether it runs there
                }
                if not_there {
                    self.point_not_there(&workload, &point);
                }
            }
            Action::Stop { workload, host, how } => self.stop_ended(&workload, &host, how, since, outcome),
            Action::Resume { workload, host } => match outcome {
                Outcome::Done { .. } => self.started(&workload, &host, since),
                Outcome::Failed { .. } => {
                    // Else it was tried to see whether there is room for its disk, or the VM was left alone since (scenario 754).
                    if self.belief.workloads.get(&workload).is_some_and(|it| it.trying.is_some()) {
                        self.rung_failed(&workload, &host);
                    }
                    // It was told to be off while this was under way, and that said nothing then (scenario 348).
                    if !self.seen_live(&workload, &host) {
                        self.unsettle(&workload, &host, self.now);
                    }
                }
                Outcome::Unknown { .. } => self.start_unknown(&workload, &host, until),
            },
            Action::Migrate { workload, from, to } => {
                self.migrate_ended(&workload, &from, &to, Sent { since, until, doubted }, outcome);
            }
            Action::Undefine { workload, host } => {
                if matches!(outcome, Outcome::Done { .. }) {
                    if let Some(senses) = self.belief.workload_senses.get_mut(&workload) {
                        senses.seen.remove(&host);
                        senses.gone.insert(host.clone(), self.now); // a list that was asked for before may come yet (scenario 449)
                    }
                    if let Some(record) = self.belief.workloads.get_mut(&workload) {
                        record.left.remove(&host);
                        record.late_on.remove(&host);
                        if record.pending_on.remove(&host) {
                            self.belief.runs_not(&workload, &host);
                        }
                    }
                } else if self
                    .belief
                    .workloads
                    .get(&workload)
                    .is_some_and(|record| record.pending_on.contains(&host) && record.trying.is_some())
                {
                    self.rung_failed(&workload, &host); // the start that hangs there still holds it
                } else {
                    if self.seen_live(&workload, &host)
                        && let Some(record) = self.belief.workloads.get_mut(&workload)
                    {
                        record.trying = None; // the start that hung there came through, and it runs
                    }
                    let refused = matches!(&outcome, Outcome::Failed { error } if error.kind == FailureKind::Refused);
                    self.removal_failed(&workload, &host, refused);
                }
            }
            Action::DisableAutostart { workload, host } => {
                if !matches!(outcome, Outcome::Done { .. }) {
                    self.tidy_later(&workload);
                } else if let Some(senses) = self.belief.workload_senses.get_mut(&workload)
                    && let Some(seen) = senses.seen.get_mut(&host)
                {
                    seen.autostart = false;
                }
            }
            Action::TakePoint { workload, point, .. } => self.point_taken(&workload, &point, outcome),
            Action::DeletePoint { workload, point, .. } => self.point_deleted(&workload, &point, &outcome),
            Action::Screenshot { .. } => {}
        }
    }

    /// After a restart of the controller: whatever was under way may have been done or not.
    pub(crate) fn forget_outcomes(&mut self) {
        let now = self.now;
        let unsettled = self.belief.workloads.values().filter(|record| !record.unsettled.is_empty());
        let unsettled: Vec<WorkloadId> = unsettled.map(|record| record.workload.clone()).collect();
        let late = self.belief.workloads.values().filter(|record| !record.late_on.is_empty());
        let late: Vec<WorkloadId> = late.map(|record| record.workload.clone()).collect();
        for workload in late {
            let (workloads, meta) = (&mut self.belief.workloads, &self.belief.meta);
            let Some(record) = workloads.get_mut(&workload) else { continue };
            for until in record.late_on.values_mut() {
                // What the term before is known to have lasted since counts (scenario 797).
                *until = now + LATE_START - meta.lasted_before_since(*until - LATE_START);
            }
        }
        for workload in unsettled {
            let Some(record) = self.belief.workloads.get_mut(&workload) else { continue };
            for open in record.unsettled.values_mut() {
                open.may_happen_until = now + open.may_happen_until.since(open.since);
                open.since = now;
            }
        }
        self.age_what_is_unknown();
        let under_way: Vec<ActionId> = self.belief.all_in_flight().map(|record| record.order.id).collect();
        for id in under_way {
            let fenced = match self.belief.orders.get(&id).map(|record| &record.order.action) {
                Some(Action::Fence { host, .. }) => {
                    self.belief.hosts.get(host).map(|record| (host.clone(), record.phase.clone()))
                }
                _ => None,
            };
            self.outcome(id, Outcome::unknown("the controller restarted meanwhile"));
            // That nobody listened is no failure of the fence device: the same level is asked again, at once.
            if let Some((host, phase)) = fenced
                && let Some(record) = self.belief.hosts.get_mut(&host)
            {
                record.phase = phase;
            }
        }
    }

    /// What the term before saw of a host counts for the orders there whose outcome was unknown by then, however many terms that takes
    /// (scenario 882).
    fn age_what_is_unknown(&mut self) {
        let lasted = |engine: &Engine, host: &HostId, at: Time| engine.in_sight_before_since(host, at);
        let slept = self.belief.orders.values().filter(|order| order.waited_awake > Span::ZERO);
        for id in slept.map(|order| order.order.id).collect::<Vec<_>>() {
            if let Some(order) = self.belief.orders.get_mut(&id) {
                order.waited = order.waited + std::mem::take(&mut order.waited_awake);
            }
        }
        self.age_by(lasted, |order, lasted| order.waited = order.waited + lasted);
    }

    /// So does what was seen of it until the controller fell asleep (scenario 914).
    pub(crate) fn age_until(&mut self, asleep_at: Time) {
        let lasted = |engine: &Engine, host: &HostId, at: Time| {
            let began = engine.belief.meta.began_at.unwrap_or_default();
            let in_sight = engine.sight(host) == Sight::Heard;
            if in_sight { asleep_at.since(at.max(engine.awake_since).max(began)) } else { Span::ZERO }
        };
        self.age_by(lasted, |order, lasted| order.waited_awake = order.waited_awake + lasted);
    }

    fn age_by(&mut self, lasted: impl Fn(&Engine, &HostId, Time) -> Span, add: impl Fn(&mut OrderRecord, Span)) {
        let unknown = self.belief.orders.values().filter_map(|order| match order.ended {
            Some((at, Outcome::Unknown { .. })) => Some((order.order.id, lasted(self, order.acts_at()?, at))),
            _ => None,
        });
        for (id, lasted) in unknown.filter(|(_, lasted)| *lasted > Span::ZERO).collect::<Vec<_>>() {
            if let Some(order) = self.belief.orders.get_mut(&id) {
                add(order, lasted);
            }
        }
    }
}
