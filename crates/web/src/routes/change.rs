//! Everything that changes something. What a caller may not do is refused before the controller hears of it.

use super::{Answer, Api};
use crate::{Caller, Controller, Problem, caller::needed};
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
};
use mainstay_daemon::{ByHand, DeviceAnswer, Disaster, ReloadReport};
use mainstay_model::{Command, Reply, Role};

pub(super) async fn command<C: Controller>(
    State(api): State<Api<C>>,
    Extension(caller): Extension<Caller>,
    command: Result<Json<Command>, JsonRejection>,
) -> Answer<Reply> {
    let Json(command) = command?;
    caller.must(needed(&command))?;
    tracing::info!(?command, by = %caller.name, "asked by an operator");
    match api.controller.command(command, Some(caller.name)).await? {
        Reply::Refused { text } => Err(Problem::refused(text)),
        reply => api.answer(reply),
    }
}

pub(super) async fn reload<C: Controller>(
    State(api): State<Api<C>>,
    Extension(caller): Extension<Caller>,
) -> Answer<ReloadReport> {
    caller.must(Role::Administer)?;
    tracing::info!(by = %caller.name, "asked to reload the configuration");
    api.answer(api.controller.reload().await??)
}

pub(super) async fn by_hand<C: Controller>(
    State(api): State<Api<C>>,
    Extension(caller): Extension<Caller>,
    what: Result<Json<ByHand>, JsonRejection>,
) -> Answer<Reply> {
    let Json(what) = what?;
    caller.must(Role::Operate)?;
    tracing::info!(?what, by = %caller.name, "done by hand, as an operator asked");
    let text = api.controller.by_hand(&what).await?.map_err(Problem::refused)?;
    api.answer(Reply::Accepted { text })
}

pub(super) async fn drill<C: Controller>(
    State(api): State<Api<C>>,
    Extension(caller): Extension<Caller>,
    disaster: Result<Json<Disaster>, JsonRejection>,
) -> Answer<Reply> {
    let Json(disaster) = disaster?;
    caller.must(Role::Administer)?;
    tracing::warn!(?disaster, by = %caller.name, "asked for a drill");
    let text = api.controller.strike(&disaster).await?.map_err(Problem::refused)?;
    api.answer(Reply::Accepted { text })
}

pub(super) async fn fence_test<C: Controller>(
    State(api): State<Api<C>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer<Vec<DeviceAnswer>> {
    caller.must(Role::Operate)?;
    let view = api.controller.view().await?;
    let found = view.hosts.iter().find(|host| host.host.as_str() == name);
    let known = || view.hosts.iter().map(|host| host.host.to_string());
    let host = found.ok_or_else(|| Problem::no_such("host", &name, known()))?;
    if !host.fenceable {
        return Err(Problem::refused(format!("{name} has no fence device")));
    }
    api.answer(api.controller.ask_fence(&host.host).await)
}
