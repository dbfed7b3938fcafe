//! What an executor works with: a connection of its own to the host, a deadline, and the steps that several share.

use super::{Tools, failure};
use crate::{
    link::Link,
    memory::{Changing, Definition},
    pump::with_causes,
    sensors::{capture, state},
    shortage,
};
use mainstay_libvirt::{Connection, DomainRef, domain::power::DefineFlags};
use mainstay_model::{Detail, DomainState, FailureKind, HostId, Outcome, WorkloadId, shell_word};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What comes of an action: done with a detail, or the outcome that it has instead.
pub(super) type Act = Result<Detail, Outcome>;

/// An order on its way at a host.
pub(super) struct Task<'a> {
    pub tools: &'a Tools,
    pub link: Arc<Link>,
    pub connection: Connection,
    /// The order's deadline.
    pub until: Instant,
}

impl<'a> Task<'a> {
    /// Reaches the host.
    pub async fn begin(tools: &'a Tools, host: &HostId, until: Instant) -> Result<Task<'a>, Outcome> {
        let unreachable = |why: String| Outcome::failed(FailureKind::Unreachable, why);
        let link = tools.links.get(host).ok_or_else(|| unreachable(format!("{host} is not in the configuration")))?;
        let connection = link.take().await.map_err(|error| {
            shortage::is_ours(&error);
            unreachable(with_causes(&error))
        })?;
        tools.still_our_term().await?;
        Ok(Task { tools, link, connection, until })
    }

    /// All went well: the connection can serve the next order.
    pub fn end(self) {
        self.link.give_back(self.connection);
    }

    /// The same task at another host.
    pub async fn at(&self, host: &HostId) -> Result<Task<'a>, Outcome> {
        Task::begin(self.tools, host, self.until).await
    }

    /// For a call that may take as long as the order may.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// For a call that answers at once.
    pub fn short(&self) -> Duration {
        self.left().min(self.link.limit())
    }

    /// The workload's domain here, if it is defined or runs here. Another VM of the same name is never touched.
    pub async fn find(&self, workload: &WorkloadId) -> Result<Option<DomainRef>, Outcome> {
        let found = self.connection.find_domain(workload.as_str(), self.short()).await.map_err(failure::before)?;
        match &found {
            Some(domain) if self.tools.memory.is_namesake(workload, domain.uuid) => {
                let why =
                    format!("what {} has under the name {workload} is another VM ({})", self.link.host, domain.uuid);
                Err(Outcome::failed(FailureKind::Refused, why))
            }
            _ => Ok(found),
        }
    }

    /// The workload's domain here.
    pub async fn expect(&self, workload: &WorkloadId) -> Result<DomainRef, Outcome> {
        let missing =
            || Outcome::failed(FailureKind::NotThere, format!("{workload} is not defined on {}", self.link.host));
        self.find(workload).await?.ok_or_else(missing)
    }

    /// What the domain does now.
    pub async fn state(&self, domain: &DomainRef) -> Result<DomainState, Outcome> {
        self.connection.domain_state(domain, self.short()).await.map(state).map_err(failure::before)
    }

    /// The workload's domain as it was last known, wherever that was: defined here from what is kept, with its snapshots'
    /// records, if it is not here or what is here is a leftover. True if it came from elsewhere.
    pub async fn ready(&self, workload: &WorkloadId) -> Result<(DomainRef, bool), Outcome> {
        let found = self.find(workload).await?;
        let kept = self.kept(workload).await?;
        let live = match &found {
            Some(domain) => self.state(domain).await?.is_live(),
            None => false,
        };
        match (found, kept) {
            (Some(domain), Some(kept)) if !live && kept.host != self.link.host => {
                tracing::debug!(%workload, here = %self.link.host, there = %kept.host, "what is defined here is a leftover");
                drop(domain);
                self.define(workload, &kept).await.map(|domain| (domain, true))
            }
            (Some(domain), _) => {
                self.settle(workload, &domain).await?;
                Ok((domain, false))
            }
            (None, Some(kept)) => {
                let elsewhere = kept.host != self.link.host;
                self.define(workload, &kept).await.map(|domain| (domain, elsewhere))
            }
            (None, None) => Err(Outcome::failed(
                FailureKind::NotThere,
                format!("{workload} is not defined on {}, and its definition was never seen", self.link.host),
            )),
        }
    }

    /// Fails if memory of the workload is saved here which a start would go on from.
    pub async fn no_saved_memory(&self, workload: &WorkloadId, domain: &DomainRef) -> Result<(), Outcome> {
        let here = &self.link.host;
        if self.tools.memory.stale_saves(workload).contains(here)
            || !self.connection.has_managed_save(domain, self.short()).await.map_err(failure::before)?
        {
            return Ok(());
        }
        let why = format!(
            "its memory is saved on {here}, and its disks alone are half of its state: start it first, or throw that \
             memory away: virsh managedsave-remove {}",
            shell_word(workload)
        );
        Err(Outcome::failed(FailureKind::Refused, why))
    }

    /// The workload's definition as it was last known.
    pub async fn kept(&self, workload: &WorkloadId) -> Result<Option<Definition>, Outcome> {
        let kept = self.tools.memory.definition(workload).await;
        kept.map_err(|error| Outcome::failed(FailureKind::Other, with_causes(&error)))
    }

    async fn define(&self, workload: &WorkloadId, kept: &Definition) -> Result<DomainRef, Outcome> {
        if let Some(doubt) = &kept.doubt {
            let why = format!(
                "{}'s last known definition of {workload} is in doubt ({doubt}): starting from it could lose data; \
                 see which image is the newest, define it by hand, and start it",
                kept.host
            );
            return Err(Outcome::failed(FailureKind::Refused, why));
        }
        // Until it is seen running with its records, what is kept counts, and not what this host has of them.
        let owed = self.tools.memory.owe(workload).await;
        owed.map_err(|error| Outcome::failed(FailureKind::Other, with_causes(&error)))?;
        let domain =
            self.connection.define(&kept.xml, DefineFlags::NONE, self.short()).await.map_err(failure::during)?;
        if let Err(error) = self.connection.restore(&domain, &kept.records(), self.short()).await {
            // It can run without them; they stay owed, and the sensors write them once it runs.
            tracing::warn!(%workload, error = with_causes(&error), "its records could not be written here yet");
        }
        Ok(domain)
    }

    /// Writes the records here that are owed to the host where the workload is.
    pub async fn settle(&self, workload: &WorkloadId, domain: &DomainRef) -> Result<(), Outcome> {
        if !self.tools.memory.owes(workload) {
            return Ok(());
        }
        if let Some(kept) = self.kept(workload).await? {
            self.connection.restore(domain, &kept.records(), self.short()).await.map_err(failure::before)?;
        }
        let settled = self.tools.memory.settle(workload).await;
        settled.map_err(|error| Outcome::failed(FailureKind::Other, with_causes(&error)))
    }

    /// From here on, until [`Task::capture`], the definition on record is in doubt.
    pub async fn begin_change(&self, workload: &WorkloadId, doing: &str) -> Result<Changing, Outcome> {
        let changing = self.tools.memory.begin_change(workload, doing).await;
        changing.map_err(|error| Outcome::failed(FailureKind::Other, with_causes(&error)))
    }

    /// As [`Task::begin_change`], but for a point within the images: it switches none, so nothing is in doubt.
    pub async fn begin_point(&self, workload: &WorkloadId, internal: bool, doing: &str) -> Result<Changing, Outcome> {
        if internal { Ok(self.tools.memory.change(workload)) } else { self.begin_change(workload, doing).await }
    }

    /// As [`Task::capture`], after something was done: whatever goes wrong now, that can't be called undone.
    pub async fn capture_done(&self, workload: &WorkloadId, domain: &DomainRef) -> Result<(), Outcome> {
        let captured = self.capture(workload, domain).await;
        captured.map_err(|outcome| Outcome::unknown(format!("done, but {workload} could not be read back: {outcome}")))
    }

    /// Keeps the definition as it is now, before anybody is told that something is done.
    pub async fn capture(&self, workload: &WorkloadId, domain: &DomainRef) -> Result<(), Outcome> {
        let now = self.tools.clock.now();
        let definition = capture(&self.connection, domain, &self.link.host, now, self.short()).await;
        let definition = definition.map_err(failure::during)?;
        let kept = self.tools.memory.keep_definition(workload, definition).await;
        kept.map_err(|error| Outcome::unknown(with_causes(&error)))
    }
}
