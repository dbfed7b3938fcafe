//! Which domains there are.

use std::time::Duration;

use crate::{connection::Connection, error::Result, procedures::Procedure, types::DomainRef};

impl Connection {
    /// All domains, running or not.
    pub async fn list_domains(&self, limit: Duration) -> Result<Vec<DomainRef>> {
        let (domains, _count): (Vec<DomainRef>, u32) =
            self.call(Procedure::ConnectListAllDomains, &(1_i32, 0_u32), limit).await?;
        Ok(domains)
    }
}
