//! Images on the host's storage, by libvirt's storage API: the only way to a remote host's files without a shell there.
//!
//! libvirt sees files only through a pool. Where none covers a folder one is made, as virt-manager does, and left there:
//! it is transient, holds nothing open, and taking it down could pull it from under another call.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    connection::Connection,
    error::{Error, ErrorCode, Result},
    procedures::Procedure,
    types::{PoolRef, VolumeRef},
    xml::{Element, escaped},
};

/// Making an empty overlay takes a few hundredths of a second; several may be made one after the other.
const REFRESH_AGAIN: Duration = Duration::from_millis(50);
const REFRESH_TRIES: u32 = 40;

/// An image as libvirt sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// How calls refer to it.
    pub volume: VolumeRef,
    /// Its path.
    pub path: String,
    /// `qcow2`, `raw` and others, **as probed**: a guest can make its raw image look like another format.
    pub format: String,
    /// Size the guest sees.
    pub capacity_bytes: u64,
    /// The image it is an overlay of.
    pub backing: Option<String>,
    /// Owner, group and mode, as XML.
    permissions: Option<String>,
}

impl Volume {
    fn parse(volume: VolumeRef, xml: &str) -> Result<Self> {
        let root = Element::parse(xml, &volume.key)?;
        let attribute = |path: &[&str], name| root.find(path).and_then(|element| element.attribute(name));
        // libvirt writes volume sizes in bytes. An overlay is made as large as its base: a size that is not known is none.
        let capacity_bytes = root.text_of(&["capacity"]).and_then(|bytes| bytes.parse().ok());
        let no_size = || Error::Xml { subject: volume.key.clone(), why: "a size in <capacity> is missing".to_owned() };
        Ok(Self {
            path: root.text_of(&["target", "path"]).unwrap_or(&volume.key).to_owned(),
            format: attribute(&["target", "format"], "type").unwrap_or("raw").to_owned(),
            capacity_bytes: capacity_bytes.ok_or_else(no_size)?,
            backing: root.text_of(&["backingStore", "path"]).map(str::to_owned),
            permissions: root.find(&["target", "permissions"]).map(|found| xml[found.span.clone()].to_owned()),
            volume,
        })
    }
}

/// A folder of a host, as libvirt's storage API sees it: a pool.
pub(crate) struct Folder<'a> {
    connection: &'a Connection,
    pool: PoolRef,
    limit: Duration,
}

/// Splits an absolute path into folder and file name.
pub(crate) fn folder_and_name(path: &str) -> Result<(&str, &str)> {
    match path.rsplit_once('/') {
        Some(("", name)) if !name.is_empty() => Ok(("/", name)),
        Some((folder, name)) if folder.starts_with('/') && !name.is_empty() => Ok((folder, name)),
        _ => Err(Error::unfit(format!("{path:?} is no absolute path of a file"))),
    }
}

/// libvirt opens every file of a new pool's folder to read its size. Opening `/dev/watchdog` arms it: the host resets itself
/// a minute later.
fn holds_devices(folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    folder == "/dev" || folder == "/dev/char"
}

impl<'a> Folder<'a> {
    /// The folder that holds `path`. `limit` holds for each call, here and later.
    pub(crate) async fn of(connection: &'a Connection, path: &str, limit: Duration) -> Result<Folder<'a>> {
        let (folder, _) = folder_and_name(path)?;
        let name = escaped(&format!("mainstay{}", folder.replace('/', "-")));
        let target = escaped(folder);
        let xml = format!("<pool type='dir'><name>{name}</name><target><path>{target}</path></target></pool>");
        let lookup = async || connection.call(Procedure::StoragePoolLookupByTargetPath, &(folder,), limit).await;
        let found: Result<(PoolRef,)> = match lookup().await {
            Err(missing) if missing.is(ErrorCode::NO_STORAGE_POOL) && holds_devices(folder) => {
                return Err(Error::unfit(format!("{folder} holds devices: no storage pool is made for {path}")));
            }
            Err(missing) if missing.is(ErrorCode::NO_STORAGE_POOL) => {
                match connection.call(Procedure::StoragePoolCreateXml, &(xml, 0_u32), limit).await {
                    // Someone else, or another call of ours, may have been faster.
                    Err(refused @ Error::Libvirt { .. }) => lookup().await.map_err(|_| refused),
                    created => created,
                }
            }
            found => found,
        };
        Ok(Self { connection, pool: found?.0, limit })
    }

    /// The image at `path`.
    pub(crate) async fn volume(&self, path: &str) -> Result<Volume> {
        let lookup = async || self.connection.call(Procedure::StorageVolLookupByPath, &(path,), self.limit).await;
        let (volume,) = match lookup().await {
            // Files that came by other ways (snapshots) are known only after a look.
            Err(missing) if missing.is(ErrorCode::NO_STORAGE_VOL) => {
                self.refresh().await?;
                lookup().await?
            }
            found => found?,
        };
        self.describe(volume).await
    }

    /// All images of the folder.
    pub(crate) async fn volumes(&self) -> Result<Vec<Volume>> {
        self.refresh().await?;
        let (volumes, _count): (Vec<VolumeRef>, u32) =
            self.connection.call(Procedure::StoragePoolListAllVolumes, &(&self.pool, 1_i32, 0_u32), self.limit).await?;
        let mut described = Vec::with_capacity(volumes.len());
        for volume in volumes {
            match self.describe(volume).await {
                Err(gone) if gone.is(ErrorCode::NO_STORAGE_VOL) => {}
                found => described.push(found?),
            }
        }
        Ok(described)
    }

    /// Makes libvirt look at the folder. It refuses while an image is being made there: that takes a moment.
    async fn refresh(&self) -> Result<()> {
        for _ in 1..REFRESH_TRIES {
            match self.connection.call(Procedure::StoragePoolRefresh, &(&self.pool, 0_u32), self.limit).await {
                Err(busy) if busy.is(ErrorCode::INTERNAL_ERROR) => sleep(REFRESH_AGAIN).await,
                refreshed => return refreshed,
            }
        }
        self.connection.call(Procedure::StoragePoolRefresh, &(&self.pool, 0_u32), self.limit).await
    }

    async fn describe(&self, volume: VolumeRef) -> Result<Volume> {
        let (xml,): (String,) =
            self.connection.call(Procedure::StorageVolGetXmlDesc, &(&volume, 0_u32), self.limit).await?;
        Volume::parse(volume, &xml)
    }

    /// Makes an empty qcow2 image at `path` on top of `base`, with its size and owner. Fails if the file exists. The
    /// base's format is told and not probed: the guest could have written another format's header into a raw image.
    pub(crate) async fn create_overlay(&self, path: &str, base: &Volume, format: &str) -> Result<()> {
        let (_, name) = folder_and_name(path)?;
        let xml = format!(
            "<volume><name>{}</name><capacity unit='bytes'>{}</capacity><allocation>0</allocation>\
             <target><format type='qcow2'/>{}<compat>1.1</compat></target>\
             <backingStore><path>{}</path><format type='{}'/></backingStore></volume>",
            escaped(name),
            base.capacity_bytes,
            base.permissions.as_deref().unwrap_or_default(),
            escaped(&base.path),
            escaped(format),
        );
        let (_created,): (VolumeRef,) =
            self.connection.call(Procedure::StorageVolCreateXml, &(&self.pool, xml, 0_u32), self.limit).await?;
        Ok(())
    }

    /// Deletes the image at `path`.
    pub(crate) async fn delete(&self, path: &str) -> Result<()> {
        let volume = self.volume(path).await?.volume;
        self.connection.call(Procedure::StorageVolDelete, &(volume, 0_u32), self.limit).await
    }
}

impl Connection {
    /// Deletes an image file of the host. No check is made that nobody needs it. `limit` holds for each call.
    pub async fn delete_image(&self, path: &str, limit: Duration) -> Result<()> {
        Folder::of(self, path, limit).await?.delete(path).await
    }

    /// As [`Connection::image`], in two calls where an active pool knows the image already.
    pub(crate) async fn image_at_once(&self, path: &str, limit: Duration) -> Result<Volume> {
        let known: Result<(VolumeRef,)> = self.call(Procedure::StorageVolLookupByPath, &(path,), limit).await;
        match known {
            Err(Error::Libvirt { .. }) => self.image(path, limit).await,
            known => {
                let (volume,) = known?;
                let (xml,): (String,) = self.call(Procedure::StorageVolGetXmlDesc, &(&volume, 0_u32), limit).await?;
                Volume::parse(volume, &xml)
            }
        }
    }

    /// What libvirt knows of an image file of the host. `limit` holds for each call.
    pub async fn image(&self, path: &str, limit: Duration) -> Result<Volume> {
        Folder::of(self, path, limit).await?.volume(path).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_unknown_size_is_an_error_and_not_an_empty_disk() {
        let volume = VolumeRef { pool: "p".to_owned(), name: "a".to_owned(), key: "/s/a".to_owned() };
        let parse = |xml: &str| Volume::parse(volume.clone(), xml);
        assert_eq!(parse("<volume><capacity unit='bytes'>4096</capacity></volume>").unwrap().capacity_bytes, 4096);
        for xml in ["<volume/>", "<volume><capacity>-1</capacity></volume>"] {
            let error = parse(xml).unwrap_err().to_string();
            assert_eq!(error, "XML of /s/a can't be read: a size in <capacity> is missing");
        }
    }
}
