//! What would happen: a copy of the live controller is told a disaster, a command or a new configuration, and lives on in
//! a world where every order succeeds after a usual time. Nothing real is touched.

use crate::{Input, Step, belief::Sight, control::Controller, explain::Doing};
use mainstay_model::{
    Action, ActionId, Command, CommandId, Detail, EventKind, Fact, GuestChannel, HostChannel, HostId, Outcome,
    PointKind, PowerState, Reply, Severity, Span, Subject, Time, WorkloadId, spec::ClusterSpec,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Foreseeing ends here, if things are not at rest before.
const HORIZON: Span = Span::minutes(30);
/// At rest: no order under way and none given for this long.
const AT_REST: Span = Span::secs(20);

/// What is supposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "suppose")]
pub enum Hypothesis {
    /// The host loses its power now.
    HostLost {
        /// Which.
        host: HostId,
    },
    /// An operator gives this command now.
    Command {
        /// Which.
        command: Command,
    },
    /// This configuration is taken into use now.
    Configuration {
        /// What should be.
        #[schemars(with = "serde_json::Value")]
        spec: Arc<ClusterSpec>,
    },
}

/// What would happen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Foreseen {
    /// The replies to supposed commands.
    pub replies: Vec<Reply>,
    /// Beliefs, decisions, orders and alarms in their order.
    pub steps: Vec<ForeseenStep>,
    /// Workloads that end on another host.
    pub moved: Vec<ForeseenMove>,
    /// Workloads that end without running, and why.
    pub down: BTreeMap<WorkloadId, String>,
    /// True if things came to rest within the horizon.
    pub at_rest: bool,
}

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForeseenStep {
    /// How long after the supposed moment; a guess from usual durations.
    pub after_ms: u64,
    /// About what.
    pub subject: Subject,
    /// Which step of the loop.
    pub kind: EventKind,
    /// How bad.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
}

/// A workload that ends on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForeseenMove {
    /// Which.
    pub workload: WorkloadId,
    /// Where it is now.
    pub from: Option<HostId>,
    /// Where it would be.
    pub to: HostId,
}

impl Controller {
    /// What would happen from the live state if all of this came true now.
    pub fn what_if(&self, hypotheses: Vec<Hypothesis>, now: Time) -> Foreseen {
        let mut dream = Dream::new(self.clone(), now);
        dream.suppose(hypotheses);
        dream.live();
        dream.wake_up(self)
    }
}

/// A copy of the controller in a world where everything works.
struct Dream {
    controller: Controller,
    began: Time,
    now: Time,
    dark: BTreeSet<HostId>,
    pending: BTreeMap<(Time, ActionId), Action>,
    foreseen: Foreseen,
    quiet_since: Time,
}

impl Dream {
    fn new(controller: Controller, now: Time) -> Dream {
        let (dark, pending) = Default::default();
        Dream { controller, began: now, now, dark, pending, foreseen: Foreseen::default(), quiet_since: now }
    }

    fn suppose(&mut self, hypotheses: Vec<Hypothesis>) {
        let mut inputs = Vec::new();
        for hypothesis in hypotheses {
            match hypothesis {
                Hypothesis::HostLost { host } => {
                    self.dark.insert(host);
                }
                Hypothesis::Command { command } => inputs.push(Input::Command { id: CommandId(0), command, by: None }),
                Hypothesis::Configuration { spec } => inputs.push(Input::Spec(spec)),
            }
        }
        // Orders already under way end well too.
        for record in self.controller.engine.belief.all_in_flight() {
            let action = record.order.action.clone();
            self.pending.insert((self.now + usual(&action), record.order.id), action);
        }
        let step = self.controller.step(self.now, inputs);
        self.take(step);
    }

    fn live(&mut self) {
        let tick = self.controller.spec().detection.heartbeat_every.max(Span::millis(100));
        while self.now.since(self.began) < HORIZON {
            if self.pending.is_empty() && self.now.since(self.quiet_since) >= AT_REST {
                self.foreseen.at_rest = true;
                return;
            }
            self.now = self.now + tick;
            let mut inputs = self.signs_of_life();
            while let Some(entry) = self.pending.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let ((_, id), action) = entry.remove_entry();
                inputs.push(Input::Outcome { id, outcome: self.outcome(&action) });
            }
            let step = self.controller.step(self.now, inputs);
            self.take(step);
        }
    }

    fn take(&mut self, step: Step) {
        self.foreseen.replies.extend(step.replies.into_iter().map(|(_, reply)| reply));
        let told =
            step.events.into_iter().filter(|event| !matches!(event.kind, EventKind::Outcome | EventKind::Controller));
        for event in told {
            // The routine of protection is no part of a plan.
            if !event.text.contains("recovery point") {
                self.quiet_since = self.now;
                self.foreseen.steps.push(ForeseenStep {
                    after_ms: self.now.since(self.began).0,
                    subject: event.subject,
                    kind: event.kind,
                    severity: event.severity,
                    text: event.text,
                });
            }
        }
        for order in step.orders {
            self.pending.insert((self.now + usual(&order.action), order.id), order.action);
        }
    }

    /// All hosts that were heard and are not supposed dark are heard; guests that answered and run, answer.
    fn signs_of_life(&self) -> Vec<Input> {
        let engine = &self.controller.engine;
        let mut inputs = Vec::new();
        for (host, senses) in &engine.belief.host_senses {
            let channels = senses.channels.keys().chain([&HostChannel::Hypervisor]).collect::<BTreeSet<_>>();
            for channel in channels {
                let fact = if self.dark.contains(host) {
                    let error = "supposed to be without power".to_owned();
                    Fact::HostSilent { host: host.clone(), channel: *channel, error, closed: false }
                } else if senses.sight == Sight::Heard {
                    Fact::HostHeard { host: host.clone(), channel: *channel }
                } else {
                    continue;
                };
                inputs.push(Input::Fact(fact));
            }
        }
        for record in engine.belief.workloads.values().filter(|record| record.answers) {
            if engine.runs_on(&record.workload).is_some_and(|host| !self.dark.contains(host)) {
                let channel = engine
                    .belief
                    .workload_senses
                    .get(&record.workload)
                    .and_then(|senses| senses.channels.keys().next());
                let channel = channel.copied().unwrap_or(GuestChannel::Ping);
                inputs.push(Input::Fact(Fact::GuestHeard { workload: record.workload.clone(), channel }));
            }
        }
        inputs
    }

    fn outcome(&self, action: &Action) -> Outcome {
        let detail = match action {
            Action::CheckPower { host } => {
                Detail::Power(if self.dark.contains(host) { PowerState::Off } else { PowerState::On })
            }
            Action::Fence { host, .. } => {
                let already_off = self.dark.contains(host);
                Detail::Fenced { already_off, by: "its fence device".to_owned() }
            }
            Action::TakePoint { kind, .. } => {
                let kind = if *kind == PointKind::Auto { PointKind::Memory } else { *kind };
                Detail::Point { kind, frozen: false, handle: String::new(), bytes: None }
            }
            _ => Detail::None,
        };
        Outcome::Done { detail }
    }

    fn wake_up(mut self, live: &Controller) -> Foreseen {
        let dream = &self.controller.engine;
        for record in dream.belief.workloads.values().filter(|record| dream.manages(&record.workload)) {
            let id = &record.workload;
            let before = live.engine.belief.workloads.get(id).and_then(|record| record.host.clone());
            let ran = live.engine.runs_on(id).is_some();
            match dream.runs_on(id) {
                Some(to) if before.as_ref() != Some(to) => {
                    self.foreseen.moved.push(ForeseenMove { workload: id.clone(), from: before, to: to.clone() });
                }
                Some(_) => {}
                None if ran => {
                    let doing = dream.doing.get(&Subject::Workload(id.clone())).map(Doing::to_string);
                    self.foreseen.down.insert(id.clone(), doing.unwrap_or_else(|| "it does not run".to_owned()));
                }
                None => {}
            }
        }
        self.foreseen
    }
}

/// How long an action usually takes, for the plan's times only.
fn usual(action: &Action) -> Span {
    match action {
        Action::CheckPower { .. }
        | Action::Resume { .. }
        | Action::Undefine { .. }
        | Action::DisableAutostart { .. } => Span::millis(200),
        Action::Fence { .. } | Action::Start { .. } | Action::TakePoint { .. } | Action::Screenshot { .. } => {
            Span::secs(1)
        }
        Action::DeletePoint { .. } | Action::PowerOn { .. } => Span::secs(1),
        Action::Stop { .. } | Action::Revert { .. } => Span::secs(3),
        Action::Migrate { .. } => Span::secs(5),
    }
}
