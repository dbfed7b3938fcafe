//! Carries out orders: one task each, bounded per host, one file per kind of action. Decides nothing.
//!
//! ```text
//!   order ──▶ of an older epoch? refused ──▶ known id? once only ──▶ waits for its turn at the host ──▶ still our term? ──▶ action
//!                                                                                                                          │
//!   outcome fact ◀── Done, proved │ Failed, surely not done │ Unknown: deadline, lost connection ◀─────────────────────────┘
//! ```
//! A process may stand still between any two of its instructions (a suspended machine), and another controller take over
//! meanwhile. So the term on record is looked at when an order's turn has come, when its host is reached, and before a guest is
//! started. What is left is a pause between that look and the call itself, which no host can tell: libvirtd knows no terms.

mod disaster;
mod failure;
mod fence;
mod hand;
mod hooks;
mod migrate;
mod point;
mod power;
mod probe;
mod resume;
mod revert;
mod screenshot;
mod start;
mod stop;
mod task;
mod undefine;

use crate::{
    Clock, DieAt, Moment,
    link::Links,
    memory::Memory,
    pump::{Dispatch, with_causes},
    rehearse::maybe_die,
};
pub use disaster::Disaster;
pub use fence::check_devices;
pub(crate) use hand::console;
pub use hand::{ByHand, Console, Touch};
pub(crate) use hooks::HookTurns;
use mainstay_engine::Input;
use mainstay_model::{Action, ActionId, Epoch, FailureKind, HostId, Order, Outcome, spec::ClusterSpec};
pub use probe::DeviceAnswer;
pub(crate) use probe::{Boards, of_host, probe, probe_all};
pub(crate) use revert::is_set_aside;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use task::{Act, Task};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout_at},
};

/// Long orders under way per host. libvirtd has 20 workers; sensors and short orders need some.
const PER_HOST: usize = 8;
/// Outcomes remembered, should an order come twice.
const REMEMBERED: usize = 1024;

/// What orders are carried out with.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub clock: Clock,
    pub memory: Memory,
    pub links: Links,
    pub spec: watch::Receiver<Arc<ClusterSpec>>,
    /// Where pictures of consoles go.
    pub pictures: PathBuf,
    /// Whose turn it is to run hooks.
    pub hook_turns: HookTurns,
    /// Boards of fence devices that are being asked.
    pub boards: Boards,
    /// Rehearsals only.
    pub die_at: Option<DieAt>,
}

impl Tools {
    /// Nothing is done any more once another controller has taken over, nor while that can't be found out.
    async fn still_our_term(&self) -> Result<(), Outcome> {
        self.memory.store().confirm_term().await.map_err(|error| {
            let kind = if error.ends_the_term() { FailureKind::OldEpoch } else { FailureKind::Other };
            Outcome::failed(kind, with_causes(&error))
        })
    }
}

/// The executors of this process.
pub(crate) struct Executors {
    tools: Tools,
    outcomes: mpsc::Sender<Input>,
    registry: Arc<Mutex<Registry>>,
    turns: BTreeMap<HostId, Arc<Semaphore>>,
    highest: Epoch,
}

/// Orders under way (`None`) and done.
#[derive(Debug, Default)]
struct Registry(BTreeMap<ActionId, Option<Outcome>>);

impl Registry {
    fn finish(&mut self, id: ActionId, outcome: Outcome) {
        self.0.insert(id, Some(outcome));
        while self.0.len() > REMEMBERED {
            let oldest = self.0.iter().find(|(_, outcome)| outcome.is_some()).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.0.remove(&oldest);
        }
    }
}

impl Executors {
    /// Executors that report outcomes there.
    pub fn new(tools: Tools, outcomes: mpsc::Sender<Input>) -> Executors {
        Executors { tools, outcomes, registry: Arc::default(), turns: BTreeMap::new(), highest: Epoch::default() }
    }

    fn tell(&self, id: ActionId, outcome: Outcome) {
        let outcomes = self.outcomes.clone();
        tokio::spawn(async move { outcomes.send(Input::Outcome { id, outcome }).await });
    }
}

impl Dispatch for Executors {
    fn dispatch(&mut self, order: Order) {
        if order.epoch < self.highest {
            let why = format!("it is of epoch {}, the newest known is {}", order.epoch, self.highest);
            return self.tell(order.id, Outcome::failed(FailureKind::OldEpoch, why));
        }
        self.highest = order.epoch;
        {
            let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            match registry.0.get(&order.id) {
                Some(Some(outcome)) => return self.tell(order.id, outcome.clone()),
                Some(None) => return,
                None => drop(registry.0.insert(order.id, None)),
            }
        }
        let turn = self.turns.entry(order.action.host().clone()).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST)));
        let (tools, turn) = (self.tools.clone(), Arc::clone(turn));
        let (registry, outcomes) = (Arc::clone(&self.registry), self.outcomes.clone());
        tokio::spawn(async move {
            let (id, action, began) = (order.id, order.action.clone(), Instant::now());
            let (links, die_at) = (tools.links.clone(), tools.die_at.clone());
            let (hosts, workload) = (touched(&action), action.workload().cloned());
            // A task of its own, so that a panic becomes an outcome too.
            let outcome = tokio::spawn(async move { carry_out(&tools, &turn, &order).await }).await;
            let outcome =
                outcome.unwrap_or_else(|_| Outcome::unknown("the executor failed; the log has its last words"));
            tracing::debug!(%id, %action, %outcome, took = ?began.elapsed(), "order ended");
            maybe_die(die_at.as_ref(), Moment::BeforeOutcome, &action);
            registry.lock().unwrap_or_else(PoisonError::into_inner).finish(id, outcome.clone());
            // The pump has stopped: the journal says that the outcome is unknown, which is true.
            let _ = outcomes.send(Input::Outcome { id, outcome }).await;
            for link in hosts.iter().filter_map(|host| links.get(host)) {
                workload.iter().for_each(|workload| link.look.at(workload));
            }
        });
    }
}

/// Hosts whose inventory an action changes.
fn touched(action: &Action) -> Vec<HostId> {
    let other = match action {
        Action::Migrate { to, .. } => Some(to.clone()),
        _ => None,
    };
    std::iter::once(action.host().clone()).chain(other).collect()
}

/// True for actions that may hold a worker of libvirtd for long. Stopping must never wait behind them.
fn is_long(action: &Action) -> bool {
    matches!(
        action,
        Action::Start { .. }
            | Action::Migrate { .. }
            | Action::TakePoint { .. }
            | Action::DeletePoint { .. }
            | Action::Revert { .. }
    )
}

async fn carry_out(tools: &Tools, turn: &Semaphore, order: &Order) -> Outcome {
    let until = tools.clock.instant_of(order.deadline);
    let late = || {
        Outcome::failed(FailureKind::Unreachable, "not begun before its deadline: too much is under way on its host")
    };
    let _permit = if is_long(&order.action) {
        match timeout_at(until, turn.acquire()).await {
            Ok(permit) => Some(permit),
            Err(_) => return late(),
        }
    } else {
        None
    };
    if until <= Instant::now() {
        return late();
    }
    if let Err(over) = tools.still_our_term().await {
        return over;
    }
    let hooks = hooks::of(tools, &order.action).await;
    if let Err(why) = hooks.before(until).await {
        hooks.after();
        return Outcome::failed(FailureKind::Refused, why);
    }
    let outcome = match timeout_at(until, perform(tools, order, until)).await {
        Ok(Ok(detail)) => Outcome::Done { detail },
        Ok(Err(outcome)) => outcome,
        Err(_) => Outcome::unknown("no outcome before its deadline"),
    };
    // The outcome does not wait for it: a slow hook must not push a finished point past its deadline.
    hooks.after();
    outcome
}

async fn perform(tools: &Tools, order: &Order, until: Instant) -> Act {
    match &order.action {
        Action::CheckPower { host } => return power::check(tools, host).await,
        Action::Fence { host, level } => return fence::fence(tools, host, *level).await,
        Action::PowerOn { host } => return power::on(tools, host).await,
        _ => {}
    }
    let task = Task::begin(tools, order.action.host(), until).await?;
    let detail = match &order.action {
        Action::Start { workload, .. } => start::start(&task, workload).await,
        Action::Stop { workload, how, .. } => stop::stop(&task, workload, *how).await,
        Action::Resume { workload, .. } => resume::resume(&task, workload).await,
        Action::Undefine { workload, .. } => undefine::undefine(&task, workload).await,
        Action::DisableAutostart { workload, .. } => undefine::disable_autostart(&task, workload).await,
        Action::Migrate { workload, to, .. } => migrate::migrate(&task, workload, to).await,
        Action::TakePoint { workload, point, kind, freeze, .. } => {
            point::take(&task, workload, point, *kind, *freeze).await
        }
        Action::DeletePoint { workload, point, .. } => point::delete(&task, workload, point).await,
        Action::Revert { workload, point, keep_broken, .. } => {
            revert::revert(&task, workload, point, *keep_broken).await
        }
        Action::Screenshot { workload, .. } => screenshot::screenshot(&task, workload).await,
        Action::CheckPower { .. } | Action::Fence { .. } | Action::PowerOn { .. } => {
            unreachable!("these need no connection and returned above")
        }
    }?;
    task.end();
    Ok(detail)
}

#[cfg(test)]
mod tests;
