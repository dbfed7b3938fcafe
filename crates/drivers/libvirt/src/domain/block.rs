//! Block jobs: folding an overlay into what it lies on while the guest runs.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::inventory::XmlFlags;
use crate::{
    connection::Connection,
    definition::image_chain,
    error::{Error, ErrorCode, Result},
    numbers::{flags, wire_enum},
    procedures::Procedure,
    types::DomainRef,
};

/// Between two looks at a block job. A small commit takes 30 to 500 ms.
const LOOK_EVERY: Duration = Duration::from_millis(25);

flags! {
    /// How to commit (`virDomainBlockCommitFlags`).
    CommitFlags {
        /// The image on top is the one written to: ends only by a pivot.
        ACTIVE = 2,
    }
}

flags! {
    /// How to end a block job (`virDomainBlockJobAbortFlags`).
    JobAbortFlags {
        /// Do not wait for it.
        ASYNC = 0,
        /// Not give up but finish: write to the other image from now on. Fails if it is not ready.
        PIVOT = 1,
    }
}

wire_enum! {
    /// What a block job does (`virDomainBlockJobType`).
    BlockJobKind {
        /// Not told.
        Unspecified = 0,
        /// Copies from below into the image.
        Pull = 1,
        /// Copies to another image.
        Copy = 2,
        /// Folds an inner image into what it lies on.
        Commit = 3,
        /// Folds the image written to into what it lies on.
        ActiveCommit = 4,
        /// A backup.
        Backup = 5,
    }
}

/// A block job under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockJob {
    /// What it does.
    pub kind: BlockJobKind,
    /// How far it is, in units of its own.
    pub current: u64,
    /// Where it ends.
    pub end: u64,
}

impl Connection {
    /// The block job of a disk; `None` if there is none.
    pub async fn block_job(&self, domain: &DomainRef, target: &str, limit: Duration) -> Result<Option<BlockJob>> {
        let (found, kind, _bandwidth, current, end): (bool, i32, u64, u64, u64) =
            self.call(Procedure::DomainGetBlockJobInfo, &(domain, target, 0_u32), limit).await?;
        Ok(found.then(|| BlockJob { kind: kind.into(), current, end }))
    }

    /// Ends the block job of a disk: gives it up, or pivots.
    pub async fn abort_block_job(
        &self,
        domain: &DomainRef,
        target: &str,
        flags: JobAbortFlags,
        limit: Duration,
    ) -> Result<()> {
        self.call(Procedure::DomainBlockJobAbort, &(domain, target, flags), limit).await
    }

    /// Folds image `top` of a running domain's disk into `base`, and waits until the disk no longer uses `top`. The
    /// file stays. Whoever else lies on `base` is ruined by this: see [`Connection::delete_external`]. When `limit` is
    /// over, or something fails, the job is given up: the domain goes on unharmed, `base` is partly overwritten.
    pub async fn commit(&self, domain: &DomainRef, target: &str, top: &str, base: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let is_active = self.image_chain(domain, target, left()).await?.first().map(String::as_str) == Some(top);
        let flags = if is_active { CommitFlags::ACTIVE } else { CommitFlags::NONE };
        let arguments = (domain, target, Some(base), Some(top), 0_u64, flags);
        let () = self.call(Procedure::DomainBlockCommit, &arguments, left()).await?;
        let followed = async {
            while self.commit_goes_on(domain, target, is_active, left()).await? {
                sleep(LOOK_EVERY).await;
            }
            Ok(())
        };
        let followed = timeout_at(deadline, followed)
            .await
            .unwrap_or(Err(Error::Deadline { procedure: Procedure::DomainBlockCommit, limit }));
        if let Err(error) = followed {
            if let Err(stuck) = self.abort_block_job(domain, target, JobAbortFlags::ASYNC, limit).await {
                tracing::warn!(%domain, target, error = %stuck, "the commit could not be given up");
            }
            return Err(error);
        }
        match self.image_chain(domain, target, limit).await?.iter().any(|image| image == top) {
            true => Err(Error::unfit(format!("the commit of {top} into {base} failed; libvirtd's log says why"))),
            false => Ok(()),
        }
    }

    async fn commit_goes_on(&self, domain: &DomainRef, target: &str, is_active: bool, limit: Duration) -> Result<bool> {
        let Some(job) = self.block_job(domain, target, limit).await? else { return Ok(false) };
        if is_active && job.current == job.end {
            match self.abort_block_job(domain, target, JobAbortFlags::PIVOT, limit).await {
                Ok(()) => return Ok(false),
                // In step by the numbers, but QEMU has not said so yet.
                Err(error) if error.is(ErrorCode::BLOCK_COPY_ACTIVE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Gives up a commit that was left behind on a disk, by a controller that ended in the middle of it. The domain goes on
    /// unharmed. Jobs of other kinds are somebody else's and are left alone.
    pub async fn give_up_commit(&self, domain: &DomainRef, target: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while let Some(job) = self.block_job(domain, target, limit).await? {
            if !matches!(job.kind, BlockJobKind::Commit | BlockJobKind::ActiveCommit) || Instant::now() > deadline {
                return Err(Error::unfit(format!("disk {target} of {domain} has a block job: {:?}", job.kind)));
            }
            match self.abort_block_job(domain, target, JobAbortFlags::NONE, limit).await {
                // It ended by itself meanwhile.
                Err(Error::Libvirt { .. }) | Ok(()) => sleep(LOOK_EVERY).await,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The images of a running domain's disk: the one written to first, then what it lies on.
    pub async fn image_chain(&self, domain: &DomainRef, target: &str, limit: Duration) -> Result<Vec<String>> {
        image_chain(&self.domain_xml(domain, XmlFlags::NONE, limit).await?, target)
    }
}
