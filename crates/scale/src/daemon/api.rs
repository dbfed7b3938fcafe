//! The controller's status, asked as the command line asks it: HTTP over its UNIX socket.

use serde_json::Value;
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// How many hosts and guests are well.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Hosts online.
    pub online: usize,
    /// Guests running.
    pub running: usize,
}

/// The whole cluster, and of it what counts here.
pub fn status(socket: &Path) -> io::Result<Status> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /v1/cluster HTTP/1.1\r\nHost: mainstay\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| &answer[at + 4..]);
    let document: Value = serde_json::from_slice(body.unwrap_or_default()).map_err(io::Error::other)?;
    let count = |list: &str, key: &str, wanted: &str| {
        let all = document["data"][list].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|one| one[key] == wanted).count()
    };
    Ok(Status { online: count("hosts", "health", "online"), running: count("workloads", "health", "running") })
}
