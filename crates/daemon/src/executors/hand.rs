//! What a person does to a VM with their own hand, at its hypervisor: pause, resume, reset. It goes past the engine, which sees it
//! as it would see the same done with virsh: what a person paused it leaves alone.

use super::{Tools, disaster::find};
use crate::pump::with_causes;
use mainstay_engine::view::ClusterView;
use mainstay_model::WorkloadId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can be done by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Touch {
    /// It stands still, its memory kept.
    Pause,
    /// It goes on.
    Resume,
    /// As with its reset button: what it has not written to disk is lost.
    Reset,
}

/// Something done to a VM by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByHand {
    /// Which VM.
    pub workload: WorkloadId,
    /// What.
    pub touch: Touch,
}

/// How a person gets to a VM's console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Console {
    /// Which VM.
    pub workload: WorkloadId,
    /// The address of its host's libvirtd.
    pub uri: String,
    /// The command that attaches to its serial console, word by word.
    pub command: Vec<String>,
}

impl ByHand {
    /// Does it; says what was done, or why nothing was.
    pub(crate) async fn done(&self, tools: &Tools, view: &ClusterView) -> Result<String, String> {
        let ByHand { workload, touch } = self;
        if let Some(vm) = view.workloads.iter().find(|vm| vm.workload == *workload)
            && vm.managed
            && let Some(doing) = &vm.doing
        {
            return Err(format!(
                "{workload} is being seen to ({doing}); leave it alone first: mainstay vm unprotect {workload}"
            ));
        }
        let (connection, domain, limit) = find(tools, view, workload).await?;
        let (done, text) = match touch {
            Touch::Pause => (connection.suspend(&domain, limit).await, "is paused, and left so until it is resumed"),
            Touch::Resume => (connection.resume(&domain, limit).await, "goes on"),
            Touch::Reset => (connection.reset(&domain, limit).await, "was reset"),
        };
        done.map(|()| format!("{workload} {text}")).map_err(|error| with_causes(&error))
    }
}

/// Where a VM's console is.
pub(crate) fn console(tools: &Tools, view: &ClusterView, workload: &WorkloadId) -> Result<Console, String> {
    let vm = view.workloads.iter().find(|vm| vm.workload == *workload);
    let vm = vm.ok_or_else(|| format!("there is no VM {workload}"))?;
    let host = vm.host.as_ref().ok_or_else(|| format!("{workload} runs nowhere"))?;
    let link = tools.links.get(host).ok_or_else(|| format!("{host} is not watched"))?;
    let uri = link.config.uri.clone();
    let command = ["virsh", "--connect", &uri, "console", workload.as_str()].map(str::to_owned).into();
    Ok(Console { workload: workload.clone(), uri, command })
}
