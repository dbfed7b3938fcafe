//! Everything that only looks.

use super::{Answer, Api};
use crate::{Controller, EventFilter, Explanation, Problem};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
};
use mainstay_daemon::{Console, EventQuery, WorkloadStats};
use mainstay_engine::{
    view::{ClusterView, HostView, OrderView, Points, ReadyView, WorkloadView},
    whatif::{Foreseen, Hypothesis},
};
use mainstay_model::{Alarm, Event, Incident, IncidentId, Subject, Time, WorkloadId};
use serde::Deserialize;

/// More events than this in one answer help nobody.
const EVENTS_AT_MOST: u32 = 1_000;

type Ask<C> = State<Api<C>>;

pub(super) async fn cluster<C: Controller>(State(api): Ask<C>) -> Answer<ClusterView> {
    let view = api.controller.view().await?;
    api.answer(ClusterView::clone(&view))
}

pub(super) async fn hosts<C: Controller>(State(api): Ask<C>) -> Answer<Vec<HostView>> {
    api.answer(api.controller.view().await?.hosts.clone())
}

pub(super) async fn host<C: Controller>(State(api): Ask<C>, Path(name): Path<String>) -> Answer<HostView> {
    let view = api.controller.view().await?;
    let found = view.hosts.iter().find(|host| host.host.as_str() == name);
    let known = || view.hosts.iter().map(|host| host.host.to_string());
    api.answer(found.ok_or_else(|| Problem::no_such("host", &name, known()))?.clone())
}

pub(super) async fn vms<C: Controller>(State(api): Ask<C>) -> Answer<Vec<WorkloadView>> {
    api.answer(api.controller.view().await?.workloads.clone())
}

pub(super) async fn vm<C: Controller>(State(api): Ask<C>, Path(name): Path<String>) -> Answer<WorkloadView> {
    let view = api.controller.view().await?;
    api.answer(find_vm(&view, &name)?.clone())
}

pub(super) async fn points<C: Controller>(State(api): Ask<C>, Path(name): Path<String>) -> Answer<Points> {
    let view = api.controller.view().await?;
    let vm = &find_vm(&view, &name)?.workload;
    api.answer(api.controller.points(vm).await?)
}

/// Which VM's statistics are wanted; all if none is named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StatsFilter {
    vm: Option<String>,
}

pub(super) async fn stats<C: Controller>(
    State(api): Ask<C>,
    filter: Result<Query<StatsFilter>, QueryRejection>,
) -> Answer<Vec<WorkloadStats>> {
    let Query(StatsFilter { vm }) = filter?;
    let mut stats = api.controller.all_stats();
    if let Some(name) = vm {
        let known: Vec<_> = stats.iter().map(|one| one.workload.to_string()).collect();
        stats.retain(|one| one.workload.as_str() == name);
        if stats.is_empty() {
            return Err(Problem::no_such("VM", &name, known));
        }
    }
    api.answer(stats)
}

pub(super) async fn alarms<C: Controller>(State(api): Ask<C>) -> Answer<Vec<Alarm>> {
    api.answer(api.controller.view().await?.alarms.clone())
}

pub(super) async fn console<C: Controller>(State(api): Ask<C>, Path(name): Path<String>) -> Answer<Console> {
    let view = api.controller.view().await?;
    let vm = &find_vm(&view, &name)?.workload;
    api.answer(api.controller.console(vm).await?.map_err(Problem::refused)?)
}

/// The configuration in force, with every default filled in and every secret hidden.
pub(super) async fn config<C: Controller>(State(api): Ask<C>) -> Answer<serde_json::Value> {
    let spec = serde_json::to_value(&*api.controller.spec())
        .map_err(|error| Problem::bad_request(format!("the configuration can't be written as JSON: {error}")))?;
    api.answer(spec)
}

/// Which orders are wanted; the newest of all if nothing is said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderFilter {
    subject: Option<String>,
    since: Option<u64>,
}

pub(super) async fn orders<C: Controller>(
    State(api): Ask<C>,
    filter: Result<Query<OrderFilter>, QueryRejection>,
) -> Answer<Vec<OrderView>> {
    let Query(OrderFilter { subject: name, since }) = filter?;
    let about = match name {
        Some(name) => Some(subject(&*api.controller.view().await?, &name)?),
        None => None,
    };
    api.answer(api.controller.orders(about, Time(since.unwrap_or(0))).await?)
}

pub(super) async fn incidents<C: Controller>(State(api): Ask<C>) -> Answer<Vec<Incident>> {
    api.answer(api.controller.incidents().await?)
}

pub(super) async fn incident<C: Controller>(State(api): Ask<C>, Path(name): Path<String>) -> Answer<Incident> {
    let number = name.strip_prefix('i').unwrap_or(&name).parse();
    let id = IncidentId(number.map_err(|_| Problem::bad_request(format!("`{name}` is not an incident, such as i7")))?);
    let incidents = api.controller.incidents().await?;
    let newest: Vec<String> = incidents.iter().rev().map(|incident| incident.id.to_string()).collect();
    let found = incidents.into_iter().find(|incident| incident.id == id);
    api.answer(found.ok_or_else(|| Problem::no_such("incident", &id.to_string(), newest))?)
}

pub(super) async fn events<C: Controller>(
    State(api): Ask<C>,
    filter: Result<Query<EventFilter>, QueryRejection>,
) -> Answer<Vec<Event>> {
    let Query(filter) = filter?;
    let subject = match &filter.subject {
        Some(name) => Some(subject(&*api.controller.view().await?, name)?),
        None => None,
    };
    let query = EventQuery {
        since: filter.since.map(Time),
        subject,
        severity: filter.severity,
        incident: filter.incident.map(IncidentId),
        limit: filter.limit.unwrap_or(EventQuery::default().limit).min(EVENTS_AT_MOST),
    };
    api.answer(api.controller.events(query).await?)
}

pub(super) async fn explain<C: Controller>(State(api): Ask<C>, Path(subject): Path<String>) -> Answer<Explanation> {
    let Some(text) = api.controller.explain(&subject).await? else {
        let view = api.controller.view().await?;
        return Err(Problem::no_such("host, VM or alarm", &subject, names(&view)));
    };
    api.answer(Explanation { subject, text })
}

pub(super) async fn ready<C: Controller>(State(api): Ask<C>) -> Answer<Vec<ReadyView>> {
    api.answer(api.controller.ready(None).await?.unwrap_or_default())
}

pub(super) async fn ready_of<C: Controller>(State(api): Ask<C>, Path(subject): Path<String>) -> Answer<Vec<ReadyView>> {
    let Some(found) = api.controller.ready(Some(&subject)).await? else {
        let view = api.controller.view().await?;
        return Err(Problem::no_such("host or VM", &subject, names(&view)));
    };
    api.answer(found)
}

pub(super) async fn what_if<C: Controller>(
    State(api): Ask<C>,
    hypotheses: Result<Json<Vec<Hypothesis>>, JsonRejection>,
) -> Answer<Foreseen> {
    let Json(hypotheses) = hypotheses?;
    api.answer(api.controller.what_if(hypotheses).await?)
}

fn find_vm<'a>(view: &'a ClusterView, name: &str) -> Result<&'a WorkloadView, Problem> {
    let found = view.workloads.iter().find(|vm| vm.workload.as_str() == name);
    found.ok_or_else(|| Problem::no_such("VM", name, view.workloads.iter().map(|vm| vm.workload.to_string())))
}

/// The subject meant by a name.
fn subject(view: &ClusterView, name: &str) -> Result<Subject, Problem> {
    if let Some(host) = name.strip_prefix("host:") {
        return Ok(Subject::Host(host.into()));
    }
    if let Some(vm) = name.strip_prefix("vm:") {
        return Ok(Subject::Workload(vm.into()));
    }
    if view.workloads.iter().any(|vm| vm.workload.as_str() == name) {
        return Ok(Subject::Workload(WorkloadId::new(name)));
    }
    if let Some(host) = view.hosts.iter().find(|host| host.host.as_str() == name) {
        return Ok(Subject::Host(host.host.clone()));
    }
    if name == "cluster" {
        return Ok(Subject::Cluster);
    }
    Err(Problem::no_such("host or VM", name, names(view)))
}

fn names(view: &ClusterView) -> Vec<String> {
    let hosts = view.hosts.iter().map(|host| host.host.to_string());
    hosts.chain(view.workloads.iter().map(|vm| vm.workload.to_string())).collect()
}
