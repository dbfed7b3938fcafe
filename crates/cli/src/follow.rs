//! Waiting for what was asked to be done: shows the subject's events, ends when the goal is reached, when an alarm says
//! that it can't be, or when the time is up.

use crate::{
    client::{Client, Watching},
    failure::{Exit, Failure},
    output::Output,
    render::{event, span},
};
use mainstay_engine::view::{ClusterView, WorkloadView};
use mainstay_model::{Alarm, HostId, PointId, Span, Subject, Time, WorkloadId};
use mainstay_web::Notice;
use tokio::time::{Instant, timeout_at};

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// It runs (there, if a place is given), and answers if it is probed.
    Runs(WorkloadId, Option<HostId>),
    /// It runs, and not there any more.
    Left(WorkloadId, HostId),
    /// It was stopped and runs again.
    RunsAnew(WorkloadId),
    /// It is off.
    Off(WorkloadId),
    /// It has a newer recovery point (of that name, if given).
    Point(WorkloadId, Option<PointId>),
    /// The host's health is this word.
    Host(HostId, &'static str),
}

impl Goal {
    fn subject(&self) -> Subject {
        match self {
            Goal::Runs(vm, _) | Goal::Left(vm, _) | Goal::RunsAnew(vm) | Goal::Off(vm) | Goal::Point(vm, _) => {
                Subject::Workload(vm.clone())
            }
            Goal::Host(host, _) => Subject::Host(host.clone()),
        }
    }

    fn reached(&self, view: &ClusterView, asked_at: Time) -> bool {
        match self {
            Goal::Host(name, health) => view.hosts.iter().any(|host| host.host == *name && host.health == *health),
            Goal::Runs(name, place) => {
                vm(view, name).is_some_and(|vm| runs(vm) && (place.is_none() || vm.host == *place))
            }
            Goal::Left(name, from) => vm(view, name).is_some_and(|vm| runs(vm) && vm.host.as_ref() != Some(from)),
            Goal::RunsAnew(name) => vm(view, name).is_some_and(|vm| runs(vm) && vm.since >= asked_at),
            Goal::Off(name) => vm(view, name).is_some_and(|vm| vm.may_run_on.is_empty() && vm.doing.is_none()),
            Goal::Point(name, point) => vm(view, name)
                .and_then(|vm| vm.last_point.as_ref())
                .is_some_and(|last| point.as_ref().map_or(last.taken_at >= asked_at, |wanted| last.id == *wanted)),
        }
    }
}

/// What happens since a moment before the change was asked for.
#[derive(Debug)]
pub struct Following {
    watching: Watching,
    since: Time,
}

impl Following {
    /// Begins to follow. The stream's first view tells the controller's time: all that is newer comes from the change.
    pub async fn start(client: &Client) -> Result<Following, Failure> {
        let mut watching = client.watch().await?;
        loop {
            if let Notice::View(view) = watching.next().await? {
                return Ok(Following { watching, since: view.now() });
            }
        }
    }

    /// Follows until the goal is reached.
    ///
    /// # Errors
    /// [`Failure::Blocked`] if an alarm about the subject is raised meanwhile or the time is up: the change itself goes on.
    pub async fn until(mut self, goal: &Goal, within: Span, output: &Output) -> Result<Exit, Failure> {
        let (started, subject) = (Instant::now(), goal.subject());
        let deadline = started + within.as_duration();
        loop {
            let Ok(notice) = timeout_at(deadline, self.watching.next()).await else {
                let why =
                    format!("not done after {within}; it goes on: `mainstay explain {subject}` says what it waits for");
                return Err(Failure::Blocked(why));
            };
            match notice? {
                Notice::Event(happened) if happened.subject == subject => {
                    output.talk(event(&happened, &output.look(happened.at)).trim_end());
                }
                Notice::View(view) if goal.reached(&view.data, self.since) => {
                    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    output.talk(&format!("done after {}", span(Span(took))));
                    return Ok(Exit::Done);
                }
                Notice::View(view) => {
                    let about = |alarm: &&Alarm| alarm.subject == subject && alarm.raised_at >= self.since;
                    if let Some(alarm) = view.data.alarms.iter().find(about) {
                        return Err(Failure::Blocked(format!(
                            "{}: {}\n  help: {}",
                            alarm.code, alarm.text, alarm.advice
                        )));
                    }
                }
                Notice::Event(_) | Notice::Missed(_) => {}
            }
        }
    }
}

fn vm<'a>(view: &'a ClusterView, name: &WorkloadId) -> Option<&'a WorkloadView> {
    view.workloads.iter().find(|vm| vm.workload == *name)
}

fn runs(vm: &WorkloadView) -> bool {
    vm.health == "running" && vm.doing.is_none() && vm.answers != Some(false)
}
