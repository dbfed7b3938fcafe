//! What a guest's console shows: for the incident record, when it hangs or panicked.

use std::time::Duration;

use crate::{connection::Connection, error::Result, procedures::Procedure, types::DomainRef};

/// A screen of 4096 × 4096 pixels, uncompressed.
const IMAGE_MAX: usize = 64 * 1024 * 1024;

/// A picture of a console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// Such as `image/png` or `image/x-portable-pixmap`.
    pub mime: String,
    /// The picture, as a file of that type.
    pub bytes: Vec<u8>,
}

impl Connection {
    /// Takes a picture of its first screen. Needs a running QEMU that answers, and a video device.
    pub async fn screenshot(&self, domain: &DomainRef, limit: Duration) -> Result<Screenshot> {
        let arguments = (domain, 0_u32, 0_u32);
        let ((mime,), bytes): ((Option<String>,), _) =
            self.download(Procedure::DomainScreenshot, &arguments, IMAGE_MAX, limit).await?;
        Ok(Screenshot { mime: mime.unwrap_or_else(|| "application/octet-stream".to_owned()), bytes })
    }
}
