//! Move a running workload to another host without stopping it. The records of snapshots and checkpoints move along.

use super::{
    failure,
    task::{Act, Task},
};
use crate::pump::with_causes;
use mainstay_libvirt::domain::migration::{MigrateFlags, Migration};
use mainstay_model::{Detail, DomainState, FailureKind, HostId, Outcome, WorkloadId, config::LibvirtConfig};

pub(super) async fn migrate(task: &Task<'_>, workload: &WorkloadId, to: &HostId) -> Act {
    let target = task.at(to).await?;
    if is_running(&target, workload).await? && !is_running(task, workload).await? {
        return Ok(Detail::None);
    }
    let domain = task.expect(workload).await?;
    if task.state(&domain).await? != DomainState::Running {
        return Err(Outcome::failed(FailureKind::Other, format!("{workload} does not run on {}", task.link.host)));
    }
    task.settle(workload, &domain).await?;
    // A sensor that wrote the records back meanwhile would keep libvirt from migrating it.
    let _changing = task.tools.memory.change(workload);
    // On record before libvirt is made to forget them, and owed to whichever host has the workload in the end: if this
    // process ends meanwhile, the next one writes them there.
    task.capture(workload, &domain).await?;
    let owed = task.tools.memory.owe(workload).await;
    owed.map_err(|error| Outcome::failed(FailureKind::Other, with_causes(&error)))?;
    let records = task.kept(workload).await?.map(|kept| kept.records()).unwrap_or_default();
    let migration = Migration {
        destination: as_seen_from_a_host(&target.link.config.uri),
        flags: flags(&task.link.config.driver, &target.link.config.driver),
        data_uri: None,
        bandwidth_mib_s: None,
    };
    let (limit, short) = (task.left(), task.link.limit());
    let moved = if records.is_empty() {
        task.connection.migrate(&domain, &migration, limit).await
    } else {
        let (here, there) = (&task.connection, &target.connection);
        here.migrate_with_records(there, &domain, &records, &migration, limit, short).await
    };
    moved.map_err(failure::during)?;
    let moved = target
        .expect(workload)
        .await
        .map_err(|_| Outcome::unknown(format!("it left, and {to} does not tell of it")))?;
    // Memory that was saved there before is older than the disks now.
    if target.connection.has_managed_save(&moved, target.short()).await.unwrap_or(false)
        && let Err(error) = task.tools.memory.note_save(workload, to, true).await
    {
        tracing::error!(%workload, error = with_causes(&error), "that its saved memory is stale can't be kept");
    }
    target.capture_done(workload, &moved).await?;
    target.end();
    Ok(Detail::None)
}

/// TLS if the site of either host wants it.
fn flags(here: &LibvirtConfig, there: &LibvirtConfig) -> MigrateFlags {
    // Unsafe only by libvirt's reckoning: it knows few shared file systems, the configuration says that this is one.
    let usual = MigrateFlags::MOVE | MigrateFlags::UNSAFE | MigrateFlags::AUTO_CONVERGE | MigrateFlags::ABORT_ON_ERROR;
    if here.migrate_tls || there.migrate_tls { usual | MigrateFlags::TLS } else { usual }
}

async fn is_running(task: &Task<'_>, workload: &WorkloadId) -> Result<bool, Outcome> {
    match task.find(workload).await? {
        Some(domain) => Ok(task.state(&domain).await? == DomainState::Running),
        None => Ok(false),
    }
}

/// Options of our own client (keys, sockets) mean nothing on the host that is to connect.
fn as_seen_from_a_host(uri: &str) -> String {
    uri.split('?').next().unwrap_or(uri).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_that_wants_tls_gets_it_in_both_directions() {
        let (wants, does_not) =
            (LibvirtConfig { migrate_tls: true, ..LibvirtConfig::default() }, LibvirtConfig::default());
        for (here, there, tls) in [(&wants, &does_not, true), (&does_not, &wants, true), (&does_not, &does_not, false)]
        {
            assert_eq!(flags(here, there) == flags(here, there) | MigrateFlags::TLS, tls);
        }
    }
}
