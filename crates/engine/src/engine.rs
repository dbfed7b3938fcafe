//! One turn of the loop, as it reads: observe, believe, decide. Each step is a file of its own.
//!
//! The engine is level-triggered, yet a step costs what changed, not what is there: whatever a fact touches goes on the
//! [`Agenda`], and only that is looked at. Nothing is lost by this, since whoever waits says for what or until when.

use crate::{
    Input, Step,
    agenda::Agenda,
    belief::{Belief, HostPhase, HostSenses, OrderRecord, Purpose, WorkloadRecord},
    decide::Broken,
    explain::Doing,
    few::Few,
    goodbye::TOLD_ON_WAKING,
    groups::Relations,
};
use mainstay_model::{
    Action, ActionId, Actor, Cause, Event, EventKind, HostId, IncidentId, Order, Severity, Span, Subject, Time,
    WorkloadId,
    spec::{ClusterSpec, HostSpec, ProtectionPolicy, RecoveryPolicy, Rule, WorkloadPolicy},
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, LazyLock},
};

/// Longer than this many heartbeats between two steps, and it was the controller that slept.
const SLEPT_HEARTBEATS: u64 = 4;

/// The engine: what should be, what is believed, what is on the agenda.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub now: Time,
    /// When the controller last woke up (or began): what it had asked before may have been answered long ago.
    pub awake_since: Time,
    /// Until when it was awake before that.
    pub asleep_at: Time,
    pub spec: Arc<ClusterSpec>,
    /// Why a newer configuration than this was refused.
    pub refused: Option<String>,
    /// The last orders that ended in this term, to be shown; what the journal keeps of them is for safety.
    pub ended: VecDeque<OrderRecord>,
    pub belief: Belief,
    pub agenda: Agenda,
    pub relations: Relations,
    /// Constraints that are broken and can't be mended now.
    pub broken: Broken,
    /// The last decision about each host and workload, for `explain`.
    pub doing: BTreeMap<Subject, Doing>,
    /// Who gave the command that is being carried out.
    pub actor: Option<Actor>,
    /// What this step has produced so far.
    pub out: Step,
}

impl Engine {
    pub(crate) fn new(spec: Arc<ClusterSpec>, belief: Belief, now: Time) -> Engine {
        let mut engine = Engine {
            now,
            awake_since: now,
            asleep_at: now,
            spec,
            refused: None,
            ended: VecDeque::new(),
            belief,
            agenda: Agenda::default(),
            relations: Relations::default(),
            broken: Broken::default(),
            doing: BTreeMap::new(),
            actor: None,
            out: Step::default(),
        };
        engine.adopt_spec();
        for (host, senses) in engine.belief.host_senses.iter_mut() {
            // What was never reached told nothing (scenario 827).
            let reached = engine.belief.hosts.get(host).filter(|record| record.capacity != Default::default());
            senses.known_before = reached.and_then(|record| match record.phase {
                HostPhase::Online | HostPhase::Returning => record.unheard_since.or(engine.belief.meta.alive_before),
                HostPhase::Lost { .. } | HostPhase::Off { .. } => Some(record.since),
            });
        }
        engine
    }

    /// One turn of the loop.
    pub(crate) fn step(&mut self, now: Time, inputs: impl IntoIterator<Item = Input>) -> Step {
        self.begin(now);
        for input in inputs {
            self.observe(input);
        }
        self.conclude()
    }

    /// What follows from what was observed.
    fn conclude(&mut self) -> Step {
        self.expire_orders();
        self.believe();
        self.withdraw_points_of_the_sick();
        self.decide();
        self.lint();
        self.finish()
    }

    /// Time goes on. If the controller itself slept, its silence about the hosts is not theirs.
    fn begin(&mut self, now: Time) {
        let slept = now.since(self.now);
        let before = self.now;
        self.now = self.now.max(now);
        if slept > self.spec.detection.heartbeat_every.times(SLEPT_HEARTBEATS).max(Span::secs(2)) {
            self.age_until(before);
            (self.awake_since, self.asleep_at) = (self.now, before);
            self.belief.meta.woke_up(self.now);
            self.watch_all_anew();
            self.belief.hosts.change_all(|record| _ = record.unheard_since.get_or_insert(before));
        }
        self.agenda.due(self.now);
    }

    /// Since when at the latest that held which was heard at that time. What waited for a controller that slept may be of any time
    /// since it fell asleep.
    pub(crate) fn held_at(&self, heard: Time) -> Time {
        let slept = self.asleep_at < self.awake_since;
        let told_on_waking = self.awake_since <= heard && heard < self.awake_since + TOLD_ON_WAKING;
        if slept && told_on_waking { self.asleep_at } else { heard }
    }

    /// It woke up a moment ago: what it knows is of before its sleep, and what came to pass meanwhile is being told (scenario 986).
    pub(crate) fn hears_what_waited_until(&self) -> Option<Time> {
        let slept = self.asleep_at < self.awake_since;
        Some(self.awake_since + TOLD_ON_WAKING).filter(|until| slept && self.now < *until)
    }

    /// All silence counts from now.
    pub(crate) fn watch_all_anew(&mut self) {
        for senses in self.belief.host_senses.values_mut() {
            senses.watch_anew(self.now);
        }
        for senses in self.belief.workload_senses.values_mut() {
            senses.watched_since = Some(self.now);
        }
        self.agenda.touch_all_hosts(&self.belief);
    }

    /// Orders whose deadline passed without an outcome: unknown, never done.
    fn expire_orders(&mut self) {
        while let Some(id) = self.agenda.next_expired(self.now) {
            self.outcome(id, mainstay_model::Outcome::unknown("its deadline passed without an answer"));
        }
    }

    fn finish(&mut self) -> Step {
        let mut step = std::mem::take(&mut self.out);
        step.changes = self.belief.take_changes();
        self.belief.meta.is_alive(self.now, !step.changes.is_empty());
        self.belief.meta.take_changes(&mut step.changes);
        let pulse = self.now + self.spec.detection.heartbeat_every.max(Span::millis(50));
        step.wake_at = Some(self.agenda.next_wake().map_or(pulse, |wake| wake.min(pulse)).max(self.now + Span(1)));
        step
    }

    /// Takes the configuration into use: hosts that are new are watched, those that are gone are forgotten if nothing may
    /// run there, everything is looked at again.
    pub(crate) fn adopt_spec(&mut self) {
        let spec = self.spec.clone();
        for host in spec.hosts.keys() {
            if !self.belief.hosts.contains(host) {
                self.belief.hosts.put(crate::belief::HostRecord::new(host.clone(), self.now));
            }
        }
        // A device may be another one now.
        self.belief.host_senses.values_mut().for_each(|senses| senses.devices.clear());
        for host in self.belief.hosts.keys() {
            self.belief.host_senses.entry(host.clone()).or_insert_with(|| HostSenses::new(self.now));
        }
        let gone: Vec<HostId> =
            self.belief.hosts.keys().filter(|host| !spec.hosts.contains_key(*host)).cloned().collect();
        for host in gone {
            self.belief.silent.remove(&host);
            if self.belief.on_host(&host).next().is_none() {
                self.forget_host(&host);
            } else {
                // Nobody watches it any more: what it said is no sign of life.
                self.belief.host_senses.insert(host, HostSenses::new(self.now));
            }
        }
        let ruleless = self.belief.workloads.values().filter(|it| it.trouble.is_some() || it.asked.is_some());
        let ruleless = ruleless.filter(|it| self.rule(&it.workload).is_none());
        let ruleless: Vec<WorkloadId> = ruleless.map(|record| record.workload.clone()).collect();
        ruleless.iter().for_each(|workload| self.let_go(workload));
        self.respect_stops();
        self.ask_no_more();
        self.relations.outdated = true;
        self.agenda.mended_at = None;
        self.belief.taken.clear();
        self.agenda.touch_all_hosts(&self.belief);
        self.agenda.touch_all_workloads(&self.belief);
    }

    /// Who is asked since this reload and was not before may hang since long: silence counts from now, and nothing that was
    /// heard before says that it is well (scenario 544).
    pub(crate) fn ask_anew(&mut self, before: &ClusterSpec) {
        let was_asked = |record: &WorkloadRecord| {
            before.workload_rule(&record.workload, &record.tags).is_some_and(|rule| rule.policy.probes.any())
        };
        let is_asked = |record: &&WorkloadRecord| self.rule(&record.workload).is_some_and(|it| it.policy.probes.any());
        let anew = self.belief.workloads.values().filter(is_asked).filter(|record| !was_asked(record));
        let anew: Vec<WorkloadId> = anew.map(|record| record.workload.clone()).collect();
        for workload in anew {
            self.belief.workload_senses.entry(workload).or_default().watched_since = Some(self.now);
        }
    }

    /// Who is looked after and not asked any more gives no answer, and none is missed.
    fn ask_no_more(&mut self) {
        let unasked = self.belief.workloads.values().filter(|record| record.answers);
        let unasked = unasked.filter(|it| self.rule(&it.workload).is_some_and(|rule| !rule.policy.probes.any()));
        let unasked: Vec<WorkloadId> = unasked.map(|record| record.workload.clone()).collect();
        for workload in unasked {
            if let Some(record) = self.belief.workloads.get_mut(&workload) {
                record.answers = false;
            }
            if let Some(senses) = self.belief.workload_senses.get_mut(&workload) {
                senses.channels = Few::default();
            }
        }
    }

    /// A host that is not in the configuration, and on which nothing may run.
    pub(crate) fn forget_host(&mut self, host: &HostId) {
        self.leave_incident(host);
        self.belief.forget_host(host);
        self.settle_alarms(Subject::Host(host.clone()), vec![]);
        self.doing.remove(&Subject::Host(host.clone()));
    }

    /// A workload is to be left alone: what was meant to be done for it is dropped, and its story ends here.
    pub(crate) fn let_go(&mut self, workload: &WorkloadId) {
        self.leave_incident_of(workload);
        self.asked_is_given_up(workload, "it is left alone from now on");
        if let Some(record) = self.belief.workloads.get_mut(workload) {
            // What a person stopped is powered on or left off by the policy that it has when it is looked after again (scenario 737).
            record.trouble.take_if(|trouble| trouble.cause != Cause::PersonStop || trouble.started_at.is_some());
            (record.trying, record.moving) = (None, None);
        }
    }

    // ---- what should be -------------------------------------------------------------------------------------------

    pub(crate) fn host_spec(&self, host: &HostId) -> Option<&HostSpec> {
        self.spec.hosts.get(host)
    }

    /// The workload's rule, if it is to be looked after at all.
    pub(crate) fn rule(&self, workload: &WorkloadId) -> Option<&Rule<WorkloadPolicy>> {
        let record = self.belief.workloads.get(workload)?;
        self.spec.workload_rule(workload, &record.tags)
    }

    /// The workload's own tags and those that the configuration gives it.
    pub(crate) fn tags<'a>(&self, record: &'a WorkloadRecord) -> Cow<'a, BTreeSet<String>> {
        match self.spec.workload_rule(&record.workload, &record.tags) {
            Some(rule) if !rule.policy.tags.is_empty() => {
                Cow::Owned(record.tags.union(&rule.policy.tags).cloned().collect())
            }
            _ => Cow::Borrowed(&record.tags),
        }
    }

    /// How the workload is brought back.
    pub(crate) fn recovery(&self, workload: &WorkloadId) -> &RecoveryPolicy {
        static DEFAULT: LazyLock<RecoveryPolicy> = LazyLock::new(RecoveryPolicy::default);
        let record = self.belief.workloads.get(workload);
        let rule = record.and_then(|record| self.spec.recovery_rule(workload, &self.tags(record)));
        rule.map_or(&DEFAULT, |rule| &rule.policy)
    }

    /// How the workload is protected, if it is.
    pub(crate) fn protection(&self, workload: &WorkloadId) -> Option<&Rule<ProtectionPolicy>> {
        let record = self.belief.workloads.get(workload)?;
        self.spec.protection_rule(workload, &self.tags(record))
    }

    /// A new term begins with old memory: what was under way has an unknown outcome, deadlines are gone, and silence counts
    /// from now.
    pub(crate) fn resume(&mut self, now: Time, restored: Option<String>) {
        self.now = now;
        self.belief.tidy_journal();
        self.forget_outcomes();
        if let Some(why) = restored {
            self.memory_restored(why);
        }
    }

    // ---- what goes out --------------------------------------------------------------------------------------------

    /// Writes an event into history, and into its subject's incident.
    pub(crate) fn note(&mut self, kind: EventKind, severity: Severity, subject: Subject, text: impl Into<String>) {
        let incident = self.incident_of(&subject);
        let event =
            Event { at: self.now, subject, severity, kind, text: text.into(), incident, by: self.actor.clone() };
        self.tell(&event);
        self.out.events.push(event);
    }

    /// Orders an action: into the journal first; it leaves when the step is durable.
    pub(crate) fn order(&mut self, action: Action, within: Span, purpose: Purpose) -> ActionId {
        let id = self.belief.meta.new_order();
        let deadline = self.now + within;
        let subject = match action.workload() {
            Some(workload) => Subject::Workload(workload.clone()),
            None => Subject::Host(action.host().clone()),
        };
        let (mut doubted, mut had_it, mut was_off) = (false, true, None);
        if let (Some(workload), Some(host)) = (action.workload().cloned(), action.may_run_on().cloned()) {
            doubted = self.belief.may_run_on(&workload).contains(&host);
            had_it = doubted || self.has_it(&workload, &host);
            was_off = self.off_there(&workload, &host);
            self.belief.may_run(&workload, &host);
        }
        if let Action::Revert { workload, .. } = &action
            && let Some(record) = self.belief.workloads.get_mut(workload)
        {
            record.reverted_to = None; // what ends from here on is ended by this order: that blames no earlier point
        }
        let incident = self.incident_of(&subject);
        self.note(EventKind::Ordered, Severity::Green, subject, action.to_string());
        let senses = action.workload().and_then(|workload| self.belief.workload_senses.get(workload));
        let points_listed = senses.is_some_and(|senses| senses.points_listed.is_some());
        let order = Order { id, epoch: self.belief.meta.epoch, action, deadline };
        self.belief.order_left(OrderRecord {
            order: order.clone(),
            purpose,
            ordered_at: self.now,
            incident,
            doubted,
            had_it,
            was_off,
            points_listed,
            left_its_mark: false,
            waited: Span::ZERO,
            waited_awake: Span::ZERO,
            ended: None,
        });
        self.agenda.expect(id, deadline);
        self.out.orders.push(order);
        id
    }

    /// The incident a subject is in, if it is in one.
    pub(crate) fn incident_of(&self, subject: &Subject) -> Option<IncidentId> {
        match subject {
            Subject::Cluster => None,
            Subject::Host(host) => self.belief.hosts.get(host).and_then(|record| record.incident),
            Subject::Workload(workload) => self.belief.workloads.get(workload).and_then(|record| record.incident),
        }
    }

    /// The order that decides over the workload's life now, if one is under way.
    pub(crate) fn life_order(&self, workload: &WorkloadId) -> Option<&OrderRecord> {
        self.belief.in_flight(&Subject::Workload(workload.clone())).find(|record| record.purpose == Purpose::Life)
    }
}
