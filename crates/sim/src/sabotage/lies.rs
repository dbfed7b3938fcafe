//! What a sabotaged controller hears and remembers instead of the truth.

use super::{Sabotage, Sabotaged};
use mainstay_engine::{Change, Input, Row, Table};
use mainstay_model::{
    Action, ActionId, Activity, Detail, DomainChange, DomainState, Fact, FailureKind, HostChannel, HostId, Incident,
    OffReason, Order, Outcome, PauseReason, PowerState, Resources, Span, WorkloadId, spec::ClusterSpec,
};
use std::{collections::BTreeSet, sync::Arc};

/// A host that was silent for this long has fallen.
const FALLS_AFTER: Span = Span::secs(10);

/// Everything was heard once by then.
const DEAF_AFTER: Span = Span::secs(30);

/// What a new term remembers instead of this.
pub(super) fn remembered(how: Sabotage, mut rows: Vec<Row>) -> Vec<Row> {
    match how {
        Sabotage::OrdersForgotten => {
            rows.retain(|row| row.table != Table::Order || !row.body.contains("\"ended\":null"))
        }
        Sabotage::StopLostWithTheTerm => {
            for row in rows.iter_mut().filter(|row| row.table == Table::Workload) {
                let Ok(mut body) = serde_json::from_str::<serde_json::Value>(&row.body) else { continue };
                if body["want"].get("stopped").is_some() {
                    body["want"] = "running".into();
                    row.body = body.to_string();
                }
            }
        }
        _ => {}
    }
    rows
}

/// Counters go on far beyond those of a forgotten time.
pub(super) fn skip_numbers(row: &mut Row) {
    let Ok(mut counters) = serde_json::from_str::<serde_json::Value>(&row.body) else { return };
    for counter in ["epoch", "next_order", "next_incident"] {
        if let Some(number) = counters.get(counter).and_then(serde_json::Value::as_u64) {
            counters[counter] = (number + 1_000_000).into();
        }
    }
    row.body = counters.to_string();
}

/// What is configured instead of this.
pub(super) fn configured(how: Sabotage, mut spec: Arc<ClusterSpec>) -> Arc<ClusterSpec> {
    if how == Sabotage::CutOffNeverJudged {
        Arc::make_mut(&mut spec).detection.cut_off_percent = 100;
    }
    if how == Sabotage::AttemptsNeverCounted {
        // What is older than the window does not count.
        Arc::make_mut(&mut spec).recovery.iter_mut().for_each(|rule| rule.policy.window = Span(1));
    }
    spec
}

/// An incident as it goes on record instead of this.
pub(super) fn from_detection(change: &mut Change) {
    let incident = change.body.as_deref().and_then(|body| serde_json::from_str::<Incident>(body).ok());
    let Some(mut incident) = incident else { return };
    let found = incident.opened_at;
    for hit in incident.workloads.iter_mut().filter(|hit| hit.down_since.is_none()) {
        hit.down_since = Some(hit.well_until.max(found));
    }
    change.body = serde_json::to_string(&incident).ok();
}

impl Sabotaged {
    /// What is true and may be needed for a lie.
    pub(super) fn remember(&mut self, fact: &Fact) {
        match fact {
            Fact::Inventory { host, .. } => _ = self.lists.insert(host.clone(), fact.clone()),
            Fact::HostHeard { host, channel: HostChannel::Hypervisor } => _ = self.silent.remove(host),
            Fact::HostSilent { host, channel: HostChannel::Hypervisor, .. } => {
                let since = *self.silent.entry(host.clone()).or_insert(self.now);
                if self.now.since(since) >= FALLS_AFTER {
                    self.fallen.insert(host.clone());
                }
            }
            _ => {}
        }
    }

    /// What the engine hears instead of this fact, and what it hears before.
    pub(super) fn fact(&mut self, how: Sabotage, fact: Fact, told: &mut Vec<Input>) -> Option<Fact> {
        match how {
            Sabotage::SickPoint | Sabotage::StopForgotten | Sabotage::HeldIsOff => return how.other_states(fact),
            Sabotage::DeafToOneHost => {
                let deaf_to = self.lists.keys().next().filter(|_| self.now.since(self.began) > DEAF_AFTER);
                return self.unheard(fact, |host| Some(host) == deaf_to);
            }
            Sabotage::HostNeverTakenBack => return self.unheard(fact, |host| self.fallen.contains(host)),
            _ => {}
        }
        Some(match (how, fact) {
            (Sabotage::CapacityIgnored, Fact::Inventory { host, asked_at, domains, .. }) => {
                Fact::Inventory { host, asked_at, capacity: Resources::of(1 << 30, 1 << 20), domains }
            }
            (Sabotage::PointNeverMissed, Fact::PointsSeen { workload, asked_at, mut points, set_aside }) => {
                points.extend(self.points_on_record(&workload));
                Fact::PointsSeen { workload, asked_at, points, set_aside }
            }
            (Sabotage::SetAsideForgotten, Fact::PointsSeen { workload, asked_at, points, .. }) => {
                Fact::PointsSeen { workload, asked_at, points, set_aside: BTreeSet::new() }
            }
            (Sabotage::WritersAreKilled, Fact::Activity { host, activities }) => {
                let none = activities.into_iter().map(|(workload, _)| (workload, Activity::default())).collect();
                Fact::Activity { host, activities: none }
            }
            (Sabotage::LibvirtdIsTheHost, Fact::HostHeard { host, channel: HostChannel::Ping })
                if self.silent.contains_key(&host) =>
            {
                Fact::HostSilent { host, channel: HostChannel::Ping, error: "no answer".to_owned(), closed: false }
            }
            (Sabotage::LibvirtdIsTheHost, Fact::GuestHeard { workload, channel })
                if self.listed_on(&workload).is_some_and(|host| self.silent.contains_key(host)) =>
            {
                Fact::GuestSilent { workload, channel }
            }
            (Sabotage::EventIsEnough, Fact::Domain { host, workload, change: DomainChange::State(state) }) => {
                if !state.is_live()
                    && let Some(Fact::Inventory { capacity, domains, .. }) = self.lists.get(&host)
                {
                    let mut domains = domains.clone();
                    if let Some(seen) = Arc::make_mut(&mut domains).get_mut(&workload) {
                        seen.state = state;
                    }
                    let (host, asked_at, capacity) = (host.clone(), self.now + Span(1), *capacity);
                    told.push(Input::Fact(Fact::Domain {
                        host: host.clone(),
                        workload: workload.clone(),
                        change: DomainChange::State(state),
                    }));
                    return Some(Fact::Inventory { host, asked_at, capacity, domains });
                }
                Fact::Domain { host, workload, change: DomainChange::State(state) }
            }
            (Sabotage::LateListCounts, Fact::Power { host, asked_at, state: PowerState::Off }) => {
                self.old_list_again(&host);
                Fact::Power { host, asked_at, state: PowerState::Off }
            }
            (_, fact) => fact,
        })
    }

    /// What the engine hears instead of this outcome; `None`: nothing yet.
    pub(super) fn outcome(&mut self, how: Sabotage, id: ActionId, outcome: Outcome) -> Option<Outcome> {
        let Some(order) = self.open.get(&id).cloned() else { return Some(outcome) };
        let unknown = matches!(outcome, Outcome::Unknown { .. });
        let failed = matches!(outcome, Outcome::Failed { .. });
        match (how, &order.action) {
            (Sabotage::UnknownIsDone, _) if unknown => Some(Outcome::done()),
            (Sabotage::HangingStartForgotten | Sabotage::EarlyListSettles, Action::Start { .. }) if unknown => {
                self.doubtful.insert(id);
                None
            }
            (Sabotage::StaleListSettles, _) if unknown => Some(self.as_listed(&order).unwrap_or(outcome)),
            (Sabotage::LostTargetForgotten, Action::Migrate { .. }) if unknown => {
                Some(Outcome::failed(FailureKind::Unreachable, "not connected"))
            }
            (Sabotage::UnreachableSettles, action) => Some(match outcome {
                Outcome::Failed { error } if error.kind == FailureKind::Unreachable => {
                    Outcome::failed(FailureKind::Other, error.message)
                }
                Outcome::Unknown { reason, .. }
                    if reason.starts_with("connection") && matches!(action, Action::Start { .. }) =>
                {
                    Outcome::failed(FailureKind::Other, reason)
                }
                outcome => outcome,
            }),
            (Sabotage::SetAsideForgotten, Action::Revert { .. }) => Some(match outcome {
                Outcome::Done { .. } => Outcome::done(),
                outcome => outcome.having(Detail::None),
            }),
            (Sabotage::FailedPointIsGood, Action::TakePoint { .. }) if unknown || failed => Some(Outcome::done()),
            (Sabotage::FailedStopIsOff, Action::Stop { .. }) if failed => Some(Outcome::done()),
            (Sabotage::UnknownPowerIsOff, Action::CheckPower { .. }) if unknown || failed => {
                Some(Outcome::Done { detail: Detail::Power(PowerState::Off) })
            }
            (Sabotage::LateListCounts, Action::Fence { host, .. } | Action::CheckPower { host }) => {
                let off =
                    matches!(outcome, Outcome::Done { detail: Detail::Fenced { .. } | Detail::Power(PowerState::Off) });
                if off {
                    self.old_list_again(host);
                }
                Some(outcome)
            }
            _ => Some(outcome),
        }
    }

    /// The engine hears the last list of a host again, as a new one.
    fn old_list_again(&mut self, host: &HostId) {
        if let Some(Fact::Inventory { host, capacity, domains, .. }) = self.lists.get(host).cloned() {
            let asked_at = self.now + Span(1);
            self.made_up.push(Input::Fact(Fact::Inventory { host, asked_at, capacity, domains }));
        }
    }

    /// Unknown outcomes that a list settles.
    pub(super) fn lists_settle(&mut self, how: Sabotage, told: &mut Vec<Input>) {
        let Some(Input::Fact(Fact::Inventory { host, .. })) = told.last() else { return };
        if how != Sabotage::EarlyListSettles {
            return;
        }
        let host = host.clone();
        let of_host = |id: &&ActionId| self.open.get(id).is_some_and(|order| *order.action.host() == host);
        let ids: Vec<_> = self.doubtful.iter().filter(of_host).copied().collect();
        for id in ids {
            self.give_up(id, told);
        }
    }

    /// Orders whose deadline passed: the engine itself would take their outcome for unknown.
    pub(super) fn deadlines_pass(&mut self, how: Sabotage, told: &mut Vec<Input>) {
        let now = self.now;
        let expired: Vec<_> = self.open.values().filter(|order| order.deadline <= now).cloned().collect();
        for order in expired {
            let starts = matches!(order.action, Action::Start { .. });
            match how {
                Sabotage::HangingStartForgotten | Sabotage::EarlyListSettles if starts => self.give_up(order.id, told),
                _ => {
                    let unknown = Outcome::unknown("its deadline passed");
                    let outcome = self.outcome(how, order.id, unknown.clone());
                    // Otherwise the engine finds out by itself.
                    if let Some(outcome) = outcome.filter(|outcome| *outcome != unknown) {
                        told.push(Input::Outcome { id: order.id, outcome });
                    }
                    self.open.remove(&order.id);
                }
            }
        }
    }

    /// A start counts as failed, unless its host lists that it runs.
    fn give_up(&mut self, id: ActionId, told: &mut Vec<Input>) {
        self.doubtful.remove(&id);
        let Some(order) = self.open.remove(&id) else { return };
        let (Some(workload), host) = (order.action.workload(), order.action.host()) else { return };
        let outcome = match self.lists_live(workload, host) {
            Some(true) => Outcome::unknown("no answer"),
            _ => Outcome::failed(FailureKind::Other, "it did not start"),
        };
        told.push(Input::Outcome { id, outcome });
    }

    /// What came of an order, by the lists that its hosts gave last; `None`: they say nothing of it.
    fn as_listed(&self, order: &Order) -> Option<Outcome> {
        let runs = |workload, host| self.lists_live(workload, host);
        let failed = || Outcome::failed(FailureKind::Other, "it was not done");
        match &order.action {
            Action::Start { workload, host } if runs(workload, host)? => None,
            Action::Start { .. } => Some(failed()),
            Action::Stop { workload, host, .. } => Some(if runs(workload, host)? { failed() } else { Outcome::done() }),
            Action::Migrate { workload, to, .. } if !runs(workload, to)? => {
                Some(Outcome::failed(FailureKind::Unreachable, "it is not there"))
            }
            _ => None,
        }
    }

    /// Whether the last list of the host has it live; `None`: there is none.
    fn lists_live(&self, workload: &WorkloadId, host: &HostId) -> Option<bool> {
        let Fact::Inventory { domains, .. } = self.lists.get(host)? else { return None };
        Some(domains.get(workload).is_some_and(|seen| seen.state.is_live()))
    }

    /// Where it was listed as live.
    fn listed_on(&self, workload: &WorkloadId) -> Option<&HostId> {
        self.lists.keys().find(|host| self.lists_live(workload, host) == Some(true))
    }

    /// Without what such a host says, and its guests.
    fn unheard(&self, fact: Fact, of: impl Fn(&HostId) -> bool) -> Option<Fact> {
        match fact {
            Fact::HostHeard { host, channel } if of(&host) => {
                Some(Fact::HostSilent { host, channel, error: "no answer".to_owned(), closed: false })
            }
            Fact::GuestHeard { workload, channel } if self.listed_on(&workload).is_some_and(&of) => {
                Some(Fact::GuestSilent { workload, channel })
            }
            Fact::Inventory { ref host, .. } | Fact::Domain { ref host, .. } | Fact::Activity { ref host, .. }
                if of(host) =>
            {
                None
            }
            fact => Some(fact),
        }
    }
}

impl Sabotage {
    /// The fact with other states of domains in it; `None`: the engine does not hear it.
    fn other_states(self, fact: Fact) -> Option<Fact> {
        Some(match fact {
            Fact::GuestSilent { workload, channel } if self == Sabotage::SickPoint => {
                Fact::GuestHeard { workload, channel }
            }
            Fact::Domain { host, workload, change: DomainChange::State(state) } => {
                Fact::Domain { host, workload, change: DomainChange::State(self.seen(state)?) }
            }
            Fact::Inventory { host, asked_at, capacity, mut domains } => {
                for seen in Arc::make_mut(&mut domains).values_mut() {
                    seen.state = self.seen(seen.state).unwrap_or(DomainState::Running);
                }
                Fact::Inventory { host, asked_at, capacity, domains }
            }
            fact => fact,
        })
    }

    /// The state that the engine hears instead of this; `None`: it hears nothing.
    fn seen(self, state: DomainState) -> Option<DomainState> {
        let held = matches!(state, DomainState::Panicked | DomainState::Paused(PauseReason::IoError));
        match (self, state) {
            (Sabotage::SickPoint, _) if held => None,
            (Sabotage::HeldIsOff, _) if held => Some(DomainState::Off(OffReason::Crashed)),
            (Sabotage::StopForgotten, DomainState::Off(OffReason::Shutdown | OffReason::Destroyed)) => {
                Some(DomainState::Off(OffReason::Crashed))
            }
            (_, state) => Some(state),
        }
    }
}
