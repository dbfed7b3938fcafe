//! The way into the running controller, for the HTTP API and tests: a clonable [`Handle`] that asks the pump, the store
//! and the sensors' latest statistics. Every call has a deadline; none can hold the loop up.

use crate::{
    executors::{ByHand, Console, DeviceAnswer, Disaster, Tools, console, probe_all},
    news::News,
    stats::{StatsBoard, WorkloadStats},
};
use mainstay_engine::{
    Input,
    control::Controller,
    view::{ClusterView, OrderView, Points, ReadyView},
    whatif::{Foreseen, Hypothesis},
};
use mainstay_model::spec::ClusterSpec;
use mainstay_model::{
    Actor, Command, Event, HostId, Incident, IncidentId, Reply, Severity, Span, Subject, Time, WorkloadId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

/// A step of the engine takes milliseconds; whoever waits longer than this is told so.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The way into the running controller.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) news: broadcast::Sender<News>,
    pub(crate) health: watch::Receiver<Health>,
    pub(crate) service: mpsc::Sender<ServiceRequest>,
    pub(crate) stats: StatsBoard,
    pub(crate) clock: crate::Clock,
    pub(crate) tools: Tools,
    pub(crate) facts: mpsc::Sender<Input>,
}

/// Why the controller gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It has stopped or is stopping.
    #[error("the controller is stopping")]
    Stopped,
    /// It is overloaded or can't write its memory.
    #[error("the controller gave no answer within {} s; its log says why", ANSWER_WITHIN.as_secs())]
    Late,
    /// Its history can't be read.
    #[error("the history can't be read; the controller's log says why")]
    History,
}

/// Which events are wanted. `Default`: the newest hundred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventQuery {
    /// Not older than this.
    pub since: Option<Time>,
    /// Only about this.
    pub subject: Option<Subject>,
    /// At least as bad as this.
    pub severity: Option<Severity>,
    /// Only of this incident.
    pub incident: Option<IncidentId>,
    /// No more than this many, the newest.
    pub limit: u32,
}

impl Default for EventQuery {
    fn default() -> EventQuery {
        EventQuery { since: None, subject: None, severity: None, incident: None, limit: 100 }
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReport {
    /// Hosts that are watched from now on.
    pub hosts_added: Vec<String>,
    /// Hosts that are no longer watched.
    pub hosts_removed: Vec<String>,
    /// Hosts whose connection was made anew.
    pub hosts_changed: Vec<String>,
    /// What is allowed but looks wrong, each with file and line.
    pub warnings: Vec<String>,
}

/// Why a reload was refused; the old configuration stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the configuration was refused, the old one stays:\n{}", problems.join("\n"))]
pub struct ReloadRefused {
    /// All problems, each with file, line and column.
    pub problems: Vec<String>,
}

impl ReloadRefused {
    /// The first problem, and how many more there are.
    pub(crate) fn in_short(&self) -> String {
        match &self.problems[..] {
            [first, _, ..] => format!("{first}; and {} more", self.problems.len() - 1),
            problems => problems.concat(),
        }
    }
}

/// Whether the process does its work. For readiness, watchdog and `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// True once the first step was carried out.
    pub ready: bool,
    /// Why nothing can be made durable just now, so that no order leaves.
    pub storage_trouble: Option<String>,
    /// When the loop last turned.
    pub last_step: Time,
}

/// What the pump can be asked.
#[derive(Debug)]
pub(crate) enum Request {
    View(oneshot::Sender<Arc<ClusterView>>),
    Command(Command, Option<Actor>, oneshot::Sender<Reply>),
    Explain(String, oneshot::Sender<Option<String>>),
    Points(WorkloadId, oneshot::Sender<Points>),
    /// Where workloads could start now; `None` for all.
    Ready(Option<String>, oneshot::Sender<Option<Vec<ReadyView>>>),
    Incidents(oneshot::Sender<Vec<Incident>>),
    Orders(Option<Subject>, Time, oneshot::Sender<Vec<OrderView>>),
    Copy(oneshot::Sender<Box<Controller>>),
}

/// What the service around the pump can be asked.
#[derive(Debug)]
pub(crate) enum ServiceRequest {
    Events(EventQuery, oneshot::Sender<Option<Vec<Event>>>),
    Reload(oneshot::Sender<Result<ReloadReport, ReloadRefused>>),
    Stop,
}

impl Handle {
    /// What is believed now. Its age is [`Handle::now`] minus its `at`.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn view(&self) -> Result<Arc<ClusterView>, NoAnswer> {
        self.ask(Request::View).await
    }

    /// The controller's clock: wall clock at its start plus time passed since.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// News from now on: that the belief changed, and each new event. A slow reader is told how much it missed.
    pub fn watch(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Gives a command to the engine. The reply comes when it is durable.
    ///
    /// # Errors
    /// [`NoAnswer::Late`] does not mean that the command is lost: it may still be carried out.
    pub async fn command(&self, command: Command) -> Result<Reply, NoAnswer> {
        self.command_by(command, None).await
    }

    /// As [`Handle::command`], on record as that of `by`.
    ///
    /// # Errors
    /// As [`Handle::command`].
    pub async fn command_by(&self, command: Command, by: Option<Actor>) -> Result<Reply, NoAnswer> {
        self.ask(|answer| Request::Command(command, by, answer)).await
    }

    /// Asks each fence device of a host for its power, switching nothing. The engine hears the answers too.
    pub async fn ask_fence(&self, host: &HostId) -> Vec<DeviceAnswer> {
        let answers = probe_all(&self.tools, host).await;
        for answer in &answers {
            // The pump has stopped: nothing acts on it any more.
            let _ = self.facts.send(Input::Fact(answer.fact(host))).await;
        }
        answers
    }

    /// Why things are as they are with a host, workload or alarm; `None`: no such thing.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn explain(&self, subject: &str) -> Result<Option<String>, NoAnswer> {
        self.ask(|answer| Request::Explain(subject.to_owned(), answer)).await
    }

    /// What would happen if all of this came true now, touching nothing. It is foreseen on a copy, beside the loop.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn what_if(&self, hypotheses: Vec<Hypothesis>) -> Result<Foreseen, NoAnswer> {
        let (copy, now) = (self.ask(Request::Copy).await?, self.now());
        let dream = tokio::task::spawn_blocking(move || copy.what_if(hypotheses, now));
        tokio::time::timeout(ANSWER_WITHIN, dream).await.map_err(|_| NoAnswer::Late)?.map_err(|_| NoAnswer::Stopped)
    }

    /// Makes a disaster happen on the real thing, for a live drill. The engine is told nothing: it has to notice.
    ///
    /// # Errors
    /// The outer one if the controller does not answer, the inner one says why it did not happen.
    pub async fn strike(&self, disaster: &Disaster) -> Result<Result<String, String>, NoAnswer> {
        Ok(disaster.strike(&self.tools, &*self.view().await?).await)
    }

    /// Pauses, resumes or resets a VM at its hypervisor, as a person would with virsh.
    ///
    /// # Errors
    /// The outer one if the controller does not answer, the inner one says why it was not done.
    pub async fn by_hand(&self, what: &ByHand) -> Result<Result<String, String>, NoAnswer> {
        Ok(what.done(&self.tools, &*self.view().await?).await)
    }

    /// How a person gets to a VM's console.
    ///
    /// # Errors
    /// The outer one if the controller does not answer, the inner one says why there is none.
    pub async fn console(&self, workload: &WorkloadId) -> Result<Result<Console, String>, NoAnswer> {
        Ok(console(&self.tools, &*self.view().await?, workload))
    }

    /// The configuration in force.
    pub fn spec(&self) -> Arc<ClusterSpec> {
        self.tools.spec.borrow().clone()
    }

    /// Recovery points of a workload, oldest first.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn points(&self, workload: &WorkloadId) -> Result<Points, NoAnswer> {
        self.ask(|answer| Request::Points(workload.clone(), answer)).await
    }

    /// On which hosts a workload could start now, or those of a host, or all that are managed; `None`: no such thing.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn ready(&self, subject: Option<&str>) -> Result<Option<Vec<ReadyView>>, NoAnswer> {
        self.ask(|answer| Request::Ready(subject.map(str::to_owned), answer)).await
    }

    /// The newest orders about a subject (`None`: about anything) that left at `since` or later, oldest first.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn orders(&self, subject: Option<Subject>, since: Time) -> Result<Vec<OrderView>, NoAnswer> {
        self.ask(|answer| Request::Orders(subject, since, answer)).await
    }

    /// Incidents on record, oldest first.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn incidents(&self) -> Result<Vec<Incident>, NoAnswer> {
        self.ask(Request::Incidents).await
    }

    /// One incident with its story; `None`: no such.
    ///
    /// # Errors
    /// If the controller is stopping or does not answer.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Incident>, NoAnswer> {
        Ok(self.incidents().await?.into_iter().find(|incident| incident.id == id))
    }

    /// Events on record, oldest first.
    ///
    /// # Errors
    /// If the controller is stopping, does not answer, or can't read its history.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<Event>, NoAnswer> {
        self.ask_service(|answer| ServiceRequest::Events(query, answer)).await?.ok_or(NoAnswer::History)
    }

    /// What people look for in a workload: system, address, rates, state. `None`: no such workload, or not seen yet.
    pub fn stats(&self, workload: &WorkloadId) -> Option<WorkloadStats> {
        self.stats.of(workload, self.now())
    }

    /// [`Handle::stats`] of every workload, by name.
    pub fn all_stats(&self) -> Vec<WorkloadStats> {
        self.stats.all(self.now())
    }

    /// Reads the configuration file again. A bad one changes nothing.
    ///
    /// # Errors
    /// The outer one if the controller does not answer, the inner one if the configuration is refused.
    pub async fn reload(&self) -> Result<Result<ReloadReport, ReloadRefused>, NoAnswer> {
        self.ask_service(ServiceRequest::Reload).await
    }

    /// Whether the process does its work.
    pub fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// True if it does: the loop turns, and memory can be written.
    pub fn is_healthy(&self) -> bool {
        let health = self.health();
        health.ready && health.storage_trouble.is_none() && self.now().since(health.last_step) < Span::secs(10)
    }

    /// Asks the controller to stop cleanly. Guests go on as they are.
    pub async fn shutdown(&self) {
        // An error means that it has stopped already.
        let _ = self.service.send(ServiceRequest::Stop).await;
    }

    /// Waits until the controller stops, by request or because another one leads.
    pub async fn ended(&self) {
        self.service.closed().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, NoAnswer> {
        answer(&self.requests, request).await
    }

    async fn ask_service<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> ServiceRequest) -> Result<T, NoAnswer> {
        answer(&self.service, request).await
    }
}

/// Asks, and waits for the answer within the bound.
pub(crate) async fn answer<R, T>(
    to: &mpsc::Sender<R>,
    request: impl FnOnce(oneshot::Sender<T>) -> R,
) -> Result<T, NoAnswer> {
    let (sender, receiver) = oneshot::channel();
    let exchange = async {
        to.send(request(sender)).await.map_err(|_| NoAnswer::Stopped)?;
        receiver.await.map_err(|_| NoAnswer::Stopped)
    };
    tokio::time::timeout(ANSWER_WITHIN, exchange).await.unwrap_or(Err(NoAnswer::Late))
}
