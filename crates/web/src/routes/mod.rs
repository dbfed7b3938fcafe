//! Paths and what answers them.

mod change;
mod read;
mod watch;

use crate::{Controller, Envelope, Leader, Problem, VERSION};
use axum::{
    Json, Router,
    http::Uri,
    routing::{get, post},
};
use mainstay_model::Span;

/// What every handler gets.
#[derive(Clone, Debug)]
struct Api<C> {
    controller: C,
    machine: String,
}

type Answer<T> = Result<Json<Envelope<T>>, Problem>;

/// The API over a controller; `machine` is the name by which the leader is shown.
pub fn router<C: Controller>(controller: C, machine: impl Into<String>) -> Router {
    Router::new()
        .route("/v1/cluster", get(read::cluster::<C>))
        .route("/v1/hosts", get(read::hosts::<C>))
        .route("/v1/hosts/{host}", get(read::host::<C>))
        .route("/v1/vms", get(read::vms::<C>))
        .route("/v1/vms/{vm}", get(read::vm::<C>))
        .route("/v1/vms/{vm}/points", get(read::points::<C>))
        .route("/v1/vms/{vm}/console", get(read::console::<C>))
        .route("/v1/config", get(read::config::<C>))
        .route("/v1/by-hand", post(change::by_hand::<C>))
        .route("/v1/orders", get(read::orders::<C>))
        .route("/v1/stats", get(read::stats::<C>))
        .route("/v1/alarms", get(read::alarms::<C>))
        .route("/v1/incidents", get(read::incidents::<C>))
        .route("/v1/incidents/{incident}", get(read::incident::<C>))
        .route("/v1/events", get(read::events::<C>))
        .route("/v1/explain/{subject}", get(read::explain::<C>))
        .route("/v1/ready", get(read::ready::<C>))
        .route("/v1/ready/{subject}", get(read::ready_of::<C>))
        .route("/v1/watch", get(watch::watch::<C>))
        .route("/v1/what-if", post(read::what_if::<C>))
        .route("/v1/commands", post(change::command::<C>))
        .route("/v1/drill", post(change::drill::<C>))
        .route("/v1/reload", post(change::reload::<C>))
        .route("/v1/openapi.json", get(async || Json(crate::openapi())))
        .fallback(async |uri: Uri| Problem::no_such_path(uri.path()))
        .with_state(Api { controller, machine: machine.into() })
}

impl<C: Controller> Api<C> {
    fn envelope<T>(&self, data: T) -> Envelope<T> {
        let (health, now) = (self.controller.health(), self.controller.now());
        let Span(age_ms) = now.since(health.last_step);
        let leader = Leader { name: self.machine.clone(), pid: std::process::id(), trouble: health.storage_trouble };
        Envelope { version: VERSION, at: health.last_step, age_ms, leader, data }
    }

    fn answer<T>(&self, data: T) -> Answer<T> {
        Ok(Json(self.envelope(data)))
    }
}
