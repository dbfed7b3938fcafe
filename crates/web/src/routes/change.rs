//! Everything that changes something.

use super::{Answer, Api};
use crate::{Controller, Problem};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
};
use mainstay_daemon::{ByHand, Disaster, ReloadReport};
use mainstay_model::{Command, Reply};

pub(super) async fn command<C: Controller>(
    State(api): State<Api<C>>,
    command: Result<Json<Command>, JsonRejection>,
) -> Answer<Reply> {
    let Json(command) = command?;
    tracing::info!(?command, "asked by an operator");
    match api.controller.command(command).await? {
        Reply::Refused { text } => Err(Problem::refused(text)),
        reply => api.answer(reply),
    }
}

pub(super) async fn reload<C: Controller>(State(api): State<Api<C>>) -> Answer<ReloadReport> {
    api.answer(api.controller.reload().await??)
}

pub(super) async fn by_hand<C: Controller>(
    State(api): State<Api<C>>,
    what: Result<Json<ByHand>, JsonRejection>,
) -> Answer<Reply> {
    let Json(what) = what?;
    tracing::info!(?what, "done by hand, as an operator asked");
    let text = api.controller.by_hand(&what).await?.map_err(Problem::refused)?;
    api.answer(Reply::Accepted { text })
}

pub(super) async fn drill<C: Controller>(
    State(api): State<Api<C>>,
    disaster: Result<Json<Disaster>, JsonRejection>,
) -> Answer<Reply> {
    let Json(disaster) = disaster?;
    let text = api.controller.strike(&disaster).await?.map_err(Problem::refused)?;
    api.answer(Reply::Accepted { text })
}
