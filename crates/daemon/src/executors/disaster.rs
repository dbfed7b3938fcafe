//! Disasters on purpose, for live drills. They go past the engine, which has to notice them as it would real ones.

use super::{Tools, fence::fence};
use crate::pump::with_causes;
use mainstay_engine::view::ClusterView;
use mainstay_libvirt::{Connection, DomainRef};
use mainstay_model::{HostId, Outcome, WorkloadId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Writing the memory of a large guest to nowhere takes a while.
const CRASH_WITHIN: Duration = Duration::from_secs(60);

/// What can be made to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "disaster")]
pub enum Disaster {
    /// The guest ends as a crashed one does.
    Crash {
        /// Which.
        workload: WorkloadId,
    },
    /// The guest's network cables are pulled, or plugged in again.
    Network {
        /// Which.
        workload: WorkloadId,
        /// Plugged in.
        up: bool,
    },
    /// The host loses its power, by its fence devices.
    PowerCut {
        /// Which.
        host: HostId,
    },
}

impl Disaster {
    /// Makes it happen; says what was done, or why nothing was.
    pub(crate) async fn strike(&self, tools: &Tools, view: &ClusterView) -> Result<String, String> {
        tracing::warn!(disaster = ?self, "a drill: this is done on purpose");
        match self {
            Disaster::Crash { workload } => {
                let (connection, domain, _) = find(tools, view, workload).await?;
                connection.crash(&domain, CRASH_WITHIN).await.map_err(|error| with_causes(&error))?;
                Ok(format!("{workload} was crashed"))
            }
            Disaster::Network { workload, up } => {
                let (connection, domain, limit) = find(tools, view, workload).await?;
                let links = connection.set_links(&domain, *up, limit).await.map_err(|error| with_causes(&error))?;
                let done = if *up { "plugged in" } else { "pulled" };
                Ok(format!("every network cable of {workload} was {done} ({links})"))
            }
            Disaster::PowerCut { host } => match fence(tools, host, 0).await {
                Ok(_) => Ok(format!("{host} has no power")),
                Err(Outcome::Failed { error }) => Err(error.message),
                Err(outcome) => Err(outcome.to_string()),
            },
        }
    }
}

pub(super) async fn find(
    tools: &Tools,
    view: &ClusterView,
    name: &WorkloadId,
) -> Result<(Connection, DomainRef, Duration), String> {
    let found =
        view.workloads.iter().find(|vm| vm.workload == *name).ok_or_else(|| format!("there is no VM {name}"))?;
    let host = found.host.as_ref().ok_or_else(|| format!("{name} runs nowhere"))?;
    let link = tools.links.get(host).ok_or_else(|| format!("{host} is not watched"))?;
    let limit = link.limit();
    let connection = link.open(limit).await.map_err(|error| with_causes(&error))?;
    let domain = connection.find_domain(name.as_str(), limit).await.map_err(|error| with_causes(&error))?;
    Ok((connection, domain.ok_or_else(|| format!("{name} is not on {host}"))?, limit))
}
