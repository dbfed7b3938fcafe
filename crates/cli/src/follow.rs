//! Waiting for what was asked to be done: shows what happens, ends when the goal is reached, when what was ordered for it failed,
//! when an alarm says that it can't be reached, or when the time is up.

use crate::{
    client::{Client, Watching, segment},
    failure::{Exit, Failure},
    output::Output,
    render::{event, span},
};
use mainstay_engine::view::{ClusterView, HostView, OrderKind, OrderResult, OrderView, WorkloadView};
use mainstay_model::{
    Alarm, Code, HostId, PointId, PointState, RecoveryPoint, Severity, Span, Subject, Time, WorkloadId,
};
use mainstay_web::Notice;
use std::collections::BTreeSet;
use tokio::time::{Duration, Instant, timeout_at};

/// A person is shown so often that the wait goes on, and for what.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// It runs (there, if a place is given), and answers if it is probed.
    Runs(WorkloadId, Option<HostId>),
    /// It runs, and not there any more.
    Left(WorkloadId, HostId),
    /// It was stopped and runs again.
    RunsAnew(WorkloadId),
    /// It was brought back to a recovery point and runs.
    Reverted(WorkloadId),
    /// It is off.
    Off(WorkloadId),
    /// A recovery point was taken (of that name, if given), and is good.
    Point(WorkloadId, Option<PointId>),
    /// A recovery point is gone.
    Deleted(WorkloadId, PointId),
    /// The host's health is this word.
    Host(HostId, &'static str),
    /// No VM is on its way to another host any more.
    Rebalanced,
}

/// How a goal stands.
enum Standing {
    Reached,
    Waiting,
    Failed(String),
}

impl Goal {
    fn subject(&self) -> Subject {
        match self {
            Goal::Runs(vm, _)
            | Goal::Left(vm, _)
            | Goal::RunsAnew(vm)
            | Goal::Reverted(vm)
            | Goal::Off(vm)
            | Goal::Point(vm, _)
            | Goal::Deleted(vm, _) => Subject::Workload(vm.clone()),
            Goal::Host(host, _) => Subject::Host(host.clone()),
            Goal::Rebalanced => Subject::Cluster,
        }
    }

    /// Orders that serve this goal: if the last of them failed and nothing more is done, it is not reached.
    fn served_by(&self, order: &OrderView) -> bool {
        let kinds: &[OrderKind] = match self {
            Goal::Runs(..) | Goal::Left(..) => &[OrderKind::Start, OrderKind::Stop, OrderKind::Migrate],
            Goal::RunsAnew(_) => &[OrderKind::Start, OrderKind::Stop],
            Goal::Reverted(_) => &[OrderKind::Revert],
            Goal::Off(_) => &[], // it is asked again until it is off
            Goal::Point(_, name) if name.is_some() && order.point != *name => &[],
            Goal::Point(..) => &[OrderKind::TakePoint],
            Goal::Deleted(_, name) if order.point.as_ref() != Some(name) => &[],
            Goal::Deleted(..) => &[OrderKind::DeletePoint],
            Goal::Host(..) => &[OrderKind::Fence],
            Goal::Rebalanced => &[OrderKind::Migrate],
        };
        kinds.contains(&order.kind)
    }

    /// True if an alarm that was raised meanwhile says that the goal is out of reach.
    fn is_blocked_by(&self, alarm: &Alarm) -> bool {
        let of_points = [Code::POINT_FAILED, Code::POINT_OVERDUE, Code::POINT_LOST];
        match self {
            Goal::Point(..) | Goal::Deleted(..) => false, // its order tells
            _ if of_points.contains(&alarm.code) => false,
            _ => alarm.severity == Severity::Red || ![Code::UNRESPONSIVE, Code::NAMESAKE].contains(&alarm.code),
        }
    }

    /// By the picture alone.
    fn is_seen_in(&self, view: &ClusterView, asked_at: Time) -> bool {
        match self {
            Goal::Host(name, health) => host(view, name).is_some_and(|host| host.health == *health),
            Goal::Runs(name, place) => {
                vm(view, name).is_some_and(|vm| runs(vm) && (place.is_none() || vm.host == *place))
            }
            Goal::Left(name, from) => vm(view, name).is_some_and(|vm| runs(vm) && vm.host.as_ref() != Some(from)),
            Goal::RunsAnew(name) | Goal::Reverted(name) => {
                vm(view, name).is_some_and(|vm| runs(vm) && vm.since >= asked_at)
            }
            Goal::Off(name) => vm(view, name).is_some_and(|vm| vm.may_run_on.is_empty() && vm.doing.is_none()),
            Goal::Rebalanced => !view.workloads.iter().any(is_moved),
            Goal::Point(..) | Goal::Deleted(..) => false,
        }
    }

    /// Nothing more is done for it by itself.
    fn is_at_rest(&self, view: &ClusterView) -> bool {
        match self {
            Goal::Point(..) | Goal::Deleted(..) => true,
            Goal::Rebalanced => !view.workloads.iter().any(is_moved),
            Goal::Host(name, _) => view
                .alarms
                .iter()
                .any(|alarm| alarm.code == Code::FENCE_FAILED && alarm.subject == Subject::Host(name.clone())),
            Goal::Runs(name, _)
            | Goal::Left(name, _)
            | Goal::RunsAnew(name)
            | Goal::Reverted(name)
            | Goal::Off(name) => {
                vm(view, name).is_none_or(|vm| vm.doing.as_deref().is_none_or(|doing| doing.starts_with("blocked")))
            }
        }
    }
}

/// What happens since a moment before the change was asked for.
#[derive(Debug)]
pub struct Following {
    client: Client,
    watching: Watching,
    since: Time,
}

impl Following {
    /// Begins to follow. The stream's first view tells the controller's time: all that is newer comes from the change.
    pub async fn start(client: &Client) -> Result<Following, Failure> {
        let mut watching = client.watch().await?;
        loop {
            if let Notice::View(view) = watching.next().await? {
                return Ok(Following { client: client.clone(), watching, since: view.now() });
            }
        }
    }

    /// Follows until the goal is reached.
    ///
    /// # Errors
    /// [`Failure::Undone`] if what was ordered for it failed; [`Failure::Blocked`] if an alarm about the subject is raised meanwhile
    /// or the time is up: the change itself goes on.
    pub async fn until(mut self, goal: &Goal, within: Span, output: &Output) -> Result<Exit, Failure> {
        let (started, subject) = (Instant::now(), goal.subject());
        let deadline = started + within.as_duration();
        let mut shown_at = started;
        let (mut doing, mut left) = (None, BTreeSet::new());
        loop {
            let Ok(notice) = timeout_at(deadline.min(shown_at + PROGRESS_EVERY), self.watching.next()).await else {
                shown_at = Instant::now();
                if shown_at >= deadline {
                    let ask =
                        if subject == Subject::Cluster { "status".to_owned() } else { format!("explain {subject}") };
                    let why = format!("not done after {within}; it goes on: `mainstay {ask}` says what it waits for");
                    return Err(Failure::Blocked(why));
                }
                let what = doing.as_deref().unwrap_or("it to be done");
                output.talk(&format!("after {}: {what}", span(passed(started))));
                continue;
            };
            match notice? {
                Notice::Event(happened) if happened.subject == subject => {
                    output.talk(event(&happened, &output.look(happened.at)).trim_end());
                    shown_at = Instant::now();
                }
                Notice::View(view) => {
                    match self.standing(goal, &view.data).await? {
                        Standing::Reached => {
                            output.talk(&format!("done after {}", span(passed(started))));
                            return Ok(Exit::Done);
                        }
                        Standing::Failed(why) => return Err(Failure::Undone(why)),
                        Standing::Waiting => {}
                    }
                    let about = |alarm: &&Alarm| alarm.subject == subject && alarm.raised_at >= self.since;
                    let alarm = view.data.alarms.iter().filter(about).find(|alarm| goal.is_blocked_by(alarm));
                    if let Some(alarm) = alarm {
                        return Err(Failure::Blocked(format!(
                            "{}: {}\n  help: {}",
                            alarm.code, alarm.text, alarm.advice
                        )));
                    }
                    doing = doing_of(&view.data, &subject);
                    let still = still_to_leave(goal, &view.data);
                    if still != left && !still.is_empty() {
                        output.talk(&format!(
                            "  {} to leave: {}",
                            still.len(),
                            Vec::from_iter(still.clone()).join(", ")
                        ));
                        shown_at = Instant::now();
                    }
                    left = still;
                }
                Notice::Event(_) | Notice::Missed(_) => {}
            }
        }
    }

    /// How the goal stands: by what is seen, and by what came of the orders that serve it.
    async fn standing(&self, goal: &Goal, view: &ClusterView) -> Result<Standing, Failure> {
        let seen = goal.is_seen_in(view, self.since);
        let by_orders = matches!(goal, Goal::Reverted(_) | Goal::Point(..) | Goal::Deleted(..) | Goal::Rebalanced);
        if seen && !by_orders {
            return Ok(Standing::Reached);
        }
        let orders = self.orders(goal).await?;
        let under_way = orders.iter().any(|order| order.result == OrderResult::UnderWay);
        let Some(last) = orders.last() else {
            return Ok(if seen && matches!(goal, Goal::Rebalanced) { Standing::Reached } else { Standing::Waiting });
        };
        let why = || format!("{}: {}", last.text, last.reason.as_deref().unwrap_or("it failed"));
        let failed = last.result == OrderResult::Failed;
        Ok(match goal {
            Goal::Point(..) | Goal::Deleted(..) if under_way => Standing::Waiting,
            Goal::Point(name, _) | Goal::Deleted(name, _) => {
                let wanted = matches!(goal, Goal::Point(..));
                match (self.point(name, last.point.as_ref()).await?, wanted) {
                    (Some(PointState::Good), true) | (None, false) => Standing::Reached,
                    (Some(PointState::Bad), true) => {
                        Standing::Failed(format!("{}: it exists, but {name} was not well meanwhile", last.text))
                    }
                    (None, true) => Standing::Failed(why()),
                    (Some(_), false) if failed => {
                        Standing::Failed(format!("{}; the controller tries again in a while", why()))
                    }
                    (Some(_), _) => Standing::Waiting, // the outcome is unknown: the host's list tells
                }
            }
            _ if under_way => Standing::Waiting,
            _ if seen && last.result == OrderResult::Done => Standing::Reached,
            Goal::Rebalanced if seen && !failed => Standing::Reached,
            _ if failed && goal.is_at_rest(view) => Standing::Failed(why()),
            _ => Standing::Waiting,
        })
    }

    /// Orders since the change was asked for that serve the goal, oldest first.
    async fn orders(&self, goal: &Goal) -> Result<Vec<OrderView>, Failure> {
        let about = match goal.subject() {
            Subject::Cluster => String::new(),
            Subject::Host(name) => format!("&subject={}", segment(&format!("host:{name}"))),
            Subject::Workload(name) => format!("&subject={}", segment(&format!("vm:{name}"))),
        };
        let mut orders =
            self.client.get::<Vec<OrderView>>(&format!("/v1/orders?since={}{about}", self.since.0)).await?.data;
        orders.retain(|order| goal.served_by(order));
        Ok(orders)
    }

    /// What is known of a recovery point; `None`: it is not on record.
    async fn point(&self, vm: &WorkloadId, point: Option<&PointId>) -> Result<Option<PointState>, Failure> {
        let points = self.client.get::<Vec<RecoveryPoint>>(&format!("/v1/vms/{}/points", segment(vm.as_str()))).await?;
        Ok(points.data.into_iter().find(|one| Some(&one.id) == point).map(|one| one.state))
    }
}

fn passed(since: Instant) -> Span {
    Span(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
}

fn vm<'a>(view: &'a ClusterView, name: &WorkloadId) -> Option<&'a WorkloadView> {
    view.workloads.iter().find(|vm| vm.workload == *name)
}

fn host<'a>(view: &'a ClusterView, name: &HostId) -> Option<&'a HostView> {
    view.hosts.iter().find(|host| host.host == *name)
}

fn runs(vm: &WorkloadView) -> bool {
    vm.health == "running" && vm.doing.is_none() && vm.answers != Some(false)
}

fn is_moved(vm: &WorkloadView) -> bool {
    vm.health == "migrating"
}

fn doing_of(view: &ClusterView, subject: &Subject) -> Option<String> {
    match subject {
        Subject::Workload(name) => vm(view, name)?.doing.clone(),
        Subject::Host(name) => host(view, name)?.doing.clone(),
        Subject::Cluster => None,
    }
}

/// The VMs that a host which is being drained still has, each with what is done about it.
fn still_to_leave(goal: &Goal, view: &ClusterView) -> BTreeSet<String> {
    let Goal::Host(name, "maintenance") = goal else { return BTreeSet::new() };
    let there = host(view, name).map(|host| &host.workloads).into_iter().flatten();
    let managed = there.filter_map(|name| vm(view, name)).filter(|vm| vm.managed);
    managed
        .map(|vm| match (vm.health.as_str(), &vm.doing) {
            ("running", Some(doing)) => format!("{} ({doing})", vm.workload),
            (health, _) => format!("{} ({health})", vm.workload),
        })
        .collect()
}
