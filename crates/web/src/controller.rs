//! What the API asks of a controller. The daemon's [`Handle`] is one; tests bring a small one of their own.

use mainstay_daemon::{
    ByHand, Console, Disaster, EventQuery, Handle, Health, News, NoAnswer, ReloadRefused, ReloadReport, WorkloadStats,
};
use mainstay_engine::{
    view::{ClusterView, OrderView, Points, ReadyView},
    whatif::{Foreseen, Hypothesis},
};
use mainstay_model::spec::ClusterSpec;
use mainstay_model::{Command, Event, Incident, Reply, Subject, Time, WorkloadId};
use std::{future::Future, sync::Arc};
use tokio::sync::broadcast;

/// A running controller as the API sees it.
pub trait Controller: Clone + Send + Sync + 'static {
    /// Its clock.
    fn now(&self) -> Time;
    /// Whether it does its work.
    fn health(&self) -> Health;
    /// What is believed now.
    fn view(&self) -> impl Future<Output = Result<Arc<ClusterView>, NoAnswer>> + Send;
    /// News from now on.
    fn watch(&self) -> broadcast::Receiver<News>;
    /// Gives a command.
    fn command(&self, command: Command) -> impl Future<Output = Result<Reply, NoAnswer>> + Send;
    /// Why things are as they are.
    fn explain(&self, subject: &str) -> impl Future<Output = Result<Option<String>, NoAnswer>> + Send;
    /// What would happen if all of this came true now.
    fn what_if(&self, hypotheses: Vec<Hypothesis>) -> impl Future<Output = Result<Foreseen, NoAnswer>> + Send;
    /// Makes a disaster happen, for a live drill.
    fn strike(&self, disaster: &Disaster) -> impl Future<Output = Result<Result<String, String>, NoAnswer>> + Send;
    /// Pauses, resumes or resets a VM.
    fn by_hand(&self, what: &ByHand) -> impl Future<Output = Result<Result<String, String>, NoAnswer>> + Send;
    /// How a person gets to a VM's console.
    fn console(&self, workload: &WorkloadId) -> impl Future<Output = Result<Result<Console, String>, NoAnswer>> + Send;
    /// The configuration in force.
    fn spec(&self) -> Arc<ClusterSpec>;
    /// Recovery points of a workload.
    fn points(&self, workload: &WorkloadId) -> impl Future<Output = Result<Points, NoAnswer>> + Send;
    /// On which hosts workloads could start now.
    fn ready(&self, subject: Option<&str>) -> impl Future<Output = Result<Option<Vec<ReadyView>>, NoAnswer>> + Send;
    /// The newest orders about a subject (`None`: about anything) that left at `since` or later, oldest first.
    fn orders(
        &self,
        subject: Option<Subject>,
        since: Time,
    ) -> impl Future<Output = Result<Vec<OrderView>, NoAnswer>> + Send;
    /// Incidents on record.
    fn incidents(&self) -> impl Future<Output = Result<Vec<Incident>, NoAnswer>> + Send;
    /// Events on record.
    fn events(&self, query: EventQuery) -> impl Future<Output = Result<Vec<Event>, NoAnswer>> + Send;
    /// Statistics of every workload.
    fn all_stats(&self) -> Vec<WorkloadStats>;
    /// Reads the configuration again.
    fn reload(&self) -> impl Future<Output = Result<Result<ReloadReport, ReloadRefused>, NoAnswer>> + Send;
}

impl Controller for Handle {
    fn now(&self) -> Time {
        Handle::now(self)
    }
    fn health(&self) -> Health {
        Handle::health(self)
    }
    async fn view(&self) -> Result<Arc<ClusterView>, NoAnswer> {
        Handle::view(self).await
    }
    fn watch(&self) -> broadcast::Receiver<News> {
        Handle::watch(self)
    }
    async fn command(&self, command: Command) -> Result<Reply, NoAnswer> {
        Handle::command(self, command).await
    }
    async fn explain(&self, subject: &str) -> Result<Option<String>, NoAnswer> {
        Handle::explain(self, subject).await
    }
    async fn what_if(&self, hypotheses: Vec<Hypothesis>) -> Result<Foreseen, NoAnswer> {
        Handle::what_if(self, hypotheses).await
    }
    async fn strike(&self, disaster: &Disaster) -> Result<Result<String, String>, NoAnswer> {
        Handle::strike(self, disaster).await
    }
    async fn by_hand(&self, what: &ByHand) -> Result<Result<String, String>, NoAnswer> {
        Handle::by_hand(self, what).await
    }
    async fn console(&self, workload: &WorkloadId) -> Result<Result<Console, String>, NoAnswer> {
        Handle::console(self, workload).await
    }
    fn spec(&self) -> Arc<ClusterSpec> {
        Handle::spec(self)
    }
    async fn points(&self, workload: &WorkloadId) -> Result<Points, NoAnswer> {
        Handle::points(self, workload).await
    }
    async fn ready(&self, subject: Option<&str>) -> Result<Option<Vec<ReadyView>>, NoAnswer> {
        Handle::ready(self, subject).await
    }

    async fn orders(&self, subject: Option<Subject>, since: Time) -> Result<Vec<OrderView>, NoAnswer> {
        Handle::orders(self, subject, since).await
    }
    async fn incidents(&self) -> Result<Vec<Incident>, NoAnswer> {
        Handle::incidents(self).await
    }
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, NoAnswer> {
        Handle::events(self, query).await
    }
    fn all_stats(&self) -> Vec<WorkloadStats> {
        Handle::all_stats(self)
    }
    async fn reload(&self) -> Result<Result<ReloadReport, ReloadRefused>, NoAnswer> {
        Handle::reload(self).await
    }
}
