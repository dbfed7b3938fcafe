//! Make a host forget a workload, or at least not start it by itself. Data stays where it is.

use super::{
    failure,
    task::{Act, Task},
};
use mainstay_libvirt::{
    ErrorCode,
    definition::Definition,
    domain::{inventory::XmlFlags, power::UndefineFlags},
};
use mainstay_model::{Detail, FailureKind, Outcome, WorkloadId, shell_word};

pub(super) async fn undefine(task: &Task<'_>, workload: &WorkloadId) -> Act {
    let Some(domain) = task.find(workload).await? else { return Ok(Detail::None) };
    if task.state(&domain).await?.is_live() {
        let why = format!("{workload} runs on {}: its definition stays", task.link.host);
        return Err(Outcome::failed(FailureKind::Refused, why));
    }
    // Defined nowhere, it could be started nowhere.
    if task.kept(workload).await?.is_none_or(|kept| kept.doubt.is_some()) {
        let why = format!("the definition of {workload} on {} may be the only good one: it stays", task.link.host);
        return Err(Outcome::failed(FailureKind::Refused, why));
    }
    if task.connection.has_managed_save(&domain, task.short()).await.map_err(failure::before)? {
        let why = format!(
            "memory of {workload} is saved on {}, and its definition stays with it; to throw both away: virsh undefine \
             --managed-save {}",
            task.link.host,
            shell_word(workload)
        );
        return Err(Outcome::failed(FailureKind::Refused, why));
    }
    let undefined = match task.connection.undefine(&domain, UndefineFlags::LEAVE_DATA, task.short()).await {
        // libvirt before 8.9 knows no flag that keeps the state of a TPM.
        Err(error) if error.is(ErrorCode::INVALID_ARG) => {
            let xml = task.connection.domain_xml(&domain, XmlFlags::INACTIVE, task.short()).await;
            if Definition::parse(&xml.map_err(failure::before)?).map_err(failure::before)?.tpm.is_some() {
                let why = format!(
                    "{workload} has an emulated TPM, and this libvirt would delete its state with the definition: it stays \
                     on {}",
                    task.link.host
                );
                return Err(Outcome::failed(FailureKind::Refused, why));
            }
            task.connection.undefine(&domain, UndefineFlags::LEAVE_DATA_WITHOUT_TPM, task.short()).await
        }
        undefined => undefined,
    };
    match undefined {
        Err(error) if !error.is(ErrorCode::NO_DOMAIN) => Err(failure::during(error)),
        _ => Ok(Detail::None),
    }
}

pub(super) async fn disable_autostart(task: &Task<'_>, workload: &WorkloadId) -> Act {
    let Some(domain) = task.find(workload).await? else { return Ok(Detail::None) };
    match task.connection.set_autostart(&domain, false, task.short()).await {
        Err(error) if !error.is(ErrorCode::NO_DOMAIN) => Err(failure::during(error)),
        _ => Ok(Detail::None),
    }
}
