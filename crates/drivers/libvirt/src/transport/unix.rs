//! UNIX sockets: libvirtd's, or virtqemud's where libvirt runs as modular daemons.

use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use super::{Transport, split, unreachable};
use crate::error::{Error, Result};

const SYSTEM_SOCKETS: [&str; 2] = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];
const SESSION_SOCKETS: [&str; 2] = ["libvirt/libvirt-sock", "libvirt/virtqemud-sock"];

pub(super) async fn connect(socket: Option<&Path>, session: bool) -> Result<Transport> {
    let path = match socket {
        Some(path) => path.to_owned(),
        None => usual_socket(session)?,
    };
    let stream = UnixStream::connect(&path).await.map_err(|source| {
        unreachable(path.display().to_string(), "can't connect to the socket; does libvirtd run?", source)
    })?;
    Ok(split(stream))
}

fn usual_socket(session: bool) -> Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).unwrap_or_default();
    let candidates: Vec<PathBuf> = match session {
        true => SESSION_SOCKETS.iter().map(|name| runtime.join(name)).collect(),
        false => SYSTEM_SOCKETS.iter().map(PathBuf::from).collect(),
    };
    candidates.iter().find(|path| path.exists()).cloned().ok_or_else(|| Error::Unasked {
        target: "the local libvirtd".to_owned(),
        why: format!("neither of its sockets exists: {candidates:?}; does libvirtd run?"),
        source: None,
    })
}
