//! Checkpoints, by which backup programs know what changed since their last backup. Mainstay takes none; it carries their
//! records from host to host, as the bitmaps travel in the images.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    connection::Connection,
    error::{ErrorCode, Result},
    numbers::flags,
    procedures::Procedure,
    types::DomainRef,
    xdr::wire_struct,
};

flags! {
    /// How to create (`virDomainCheckpointCreateFlags`).
    CreateFlags {
        /// Only write libvirt's record, for a checkpoint that exists.
        REDEFINE = 0,
        /// Fail if the image has no sound bitmap for it; needs a running domain.
        REDEFINE_VALIDATE = 2,
    }
}

/// `VIR_DOMAIN_CHECKPOINT_LIST_TOPOLOGICAL`: parents before children.
const TOPOLOGICAL: u32 = 1 << 1;
/// `VIR_DOMAIN_CHECKPOINT_XML_SECURE`.
const SECURE: u32 = 1;

wire_struct! {
    /// A checkpoint as calls refer to it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct CheckpointRef {
        /// Its name, unique within its domain.
        pub name: String,
        /// The domain it belongs to.
        pub domain: DomainRef,
    }
}

/// libvirt's record of a checkpoint, enough to write it again on another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// Its name.
    pub name: String,
    /// The whole record.
    pub xml: String,
}

impl Connection {
    /// The names of a domain's checkpoints, parents before children.
    pub async fn checkpoint_names(&self, domain: &DomainRef, limit: Duration) -> Result<Vec<String>> {
        let listed = self.call(Procedure::DomainListAllCheckpoints, &(domain, 1_i32, TOPOLOGICAL), limit).await;
        let (checkpoints, _count): (Vec<CheckpointRef>, i32) = match listed {
            Err(error) if error.is(ErrorCode::NO_SUPPORT) => return Ok(Vec::new()), // libvirt before 5.6 has none
            listed => listed?,
        };
        Ok(checkpoints.into_iter().map(|checkpoint| checkpoint.name).collect())
    }

    /// The records of these checkpoints, in the same order. `limit` holds for each.
    pub async fn checkpoint_records(
        &self,
        domain: &DomainRef,
        names: &[String],
        limit: Duration,
    ) -> Result<Vec<CheckpointRecord>> {
        let mut records = Vec::new();
        for name in names {
            let reference = CheckpointRef { name: name.clone(), domain: domain.clone() };
            let (xml,) = self.call(Procedure::DomainCheckpointGetXmlDesc, &(&reference, SECURE), limit).await?;
            records.push(CheckpointRecord { name: name.clone(), xml });
        }
        Ok(records)
    }

    /// Writes records again on the host that the domain came to. Those that are there already are left alone.
    pub async fn restore_checkpoints(
        &self,
        domain: &DomainRef,
        records: &[CheckpointRecord],
        limit: Duration,
    ) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let known: BTreeSet<String> = self.checkpoint_names(domain, limit).await?.into_iter().collect();
        for record in records.iter().filter(|record| !known.contains(&record.name)) {
            let arguments = (domain, record.xml.as_str(), CreateFlags::REDEFINE);
            let (_written,): (CheckpointRef,) =
                self.call(Procedure::DomainCheckpointCreateXml, &arguments, limit).await?;
        }
        Ok(())
    }
}
