//! Images on the host's storage, by libvirt's storage API: the only way to a remote host's files without a shell there.
//!
//! libvirt sees files only through a pool. Where no pool covers a folder, one is made for the time of the call; it is
//! transient, and taking it down touches no file.

use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::{
    connection::Connection,
    error::{Error, ErrorCode, Result},
    procedures::Procedure,
    types::{PoolRef, VolumeRef},
    xml::{Element, escaped},
};

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
        Ok(Self {
            path: root.text_of(&["target", "path"]).unwrap_or(&volume.key).to_owned(),
            format: attribute(&["target", "format"], "type").unwrap_or("raw").to_owned(),
            // libvirt writes volume sizes in bytes.
            capacity_bytes: root.text_of(&["capacity"]).and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            backing: root.text_of(&["backingStore", "path"]).map(str::to_owned),
            permissions: root.find(&["target", "permissions"]).map(|found| xml[found.span.clone()].to_owned()),
            volume,
        })
    }
}

/// A folder of a host, opened as a pool.
pub(crate) struct Folder<'a> {
    connection: &'a Connection,
    pool: PoolRef,
    /// Made by us, to be taken down again.
    ours: bool,
    limit: Duration,
    _turn: OwnedMutexGuard<()>,
}

/// Splits an absolute path into folder and file name.
pub(crate) fn folder_and_name(path: &str) -> Result<(&str, &str)> {
    match path.rsplit_once('/') {
        Some(("", name)) if !name.is_empty() => Ok(("/", name)),
        Some((folder, name)) if folder.starts_with('/') && !name.is_empty() => Ok((folder, name)),
        _ => Err(Error::unfit(format!("{path:?} is no absolute path of a file"))),
    }
}

impl<'a> Folder<'a> {
    /// Opens the folder that holds `path`. Call [`Folder::close`] when done, whatever happened.
    pub(crate) async fn of(connection: &'a Connection, path: &str, limit: Duration) -> Result<Folder<'a>> {
        let (folder, _) = folder_and_name(path)?;
        let turn = connection.storage_turn(limit).await?;
        let lookup = Procedure::StoragePoolLookupByTargetPath;
        let found: Result<(PoolRef,)> = connection.call(lookup, &(folder,), limit).await;
        let (pool, ours) = match found {
            Ok((pool,)) => (pool, false),
            Err(error) if error.is(ErrorCode::NO_STORAGE_POOL) => {
                // Named after the folder: a pool that a crash left behind is found again, not joined by another.
                let name = format!("mainstay{}", folder.replace('/', "-"));
                let (name, folder) = (escaped(&name), escaped(folder));
                let xml = format!("<pool type='dir'><name>{name}</name><target><path>{folder}</path></target></pool>");
                let (pool,) = connection.call(Procedure::StoragePoolCreateXml, &(xml, 0_u32), limit).await?;
                (pool, true)
            }
            Err(error) => return Err(error),
        };
        let folder = Self { connection, pool, ours, limit, _turn: turn };
        if !ours {
            // Files that came by other ways (snapshots) are known only after this.
            let () = connection.call(Procedure::StoragePoolRefresh, &(&folder.pool, 0_u32), limit).await?;
        }
        Ok(folder)
    }

    pub(crate) async fn close(self) {
        if self.ours {
            let gone: Result<()> =
                self.connection.call(Procedure::StoragePoolDestroy, &(&self.pool,), self.limit).await;
            if let Err(error) = gone {
                tracing::warn!(pool = self.pool.name, %error, "a transient pool was left behind");
            }
        }
    }

    /// The image at `path`.
    pub(crate) async fn volume(&self, path: &str) -> Result<Volume> {
        let (volume,) = self.connection.call(Procedure::StorageVolLookupByPath, &(path,), self.limit).await?;
        self.describe(volume).await
    }

    /// All images of the folder.
    pub(crate) async fn volumes(&self) -> Result<Vec<Volume>> {
        let (volumes, _count): (Vec<VolumeRef>, u32) =
            self.connection.call(Procedure::StoragePoolListAllVolumes, &(&self.pool, 1_i32, 0_u32), self.limit).await?;
        let mut described = Vec::with_capacity(volumes.len());
        for volume in volumes {
            described.push(self.describe(volume).await?);
        }
        Ok(described)
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
        let folder = Folder::of(self, path, limit).await?;
        let deleted = folder.delete(path).await;
        folder.close().await;
        deleted
    }

    /// What libvirt knows of an image file of the host. `limit` holds for each call.
    pub async fn image(&self, path: &str, limit: Duration) -> Result<Volume> {
        let folder = Folder::of(self, path, limit).await?;
        let volume = folder.volume(path).await;
        folder.close().await;
        volume
    }
}
