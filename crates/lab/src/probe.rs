//! Asking guests how they are: the heartbeat over UDP, from the controller's place on the network.
//!
//! A socket belongs to the network namespace in which it was made, for ever. So a thread steps into the namespace, makes
//! the socket and ends, and the socket then works from wherever we are.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::command::{finish, poll_until};
use crate::error::{LabError, Result};
use crate::lab::Lab;

const HEARTBEAT_PORT: u16 = 7007;
const COMMAND_PORT: u16 = 7008;
/// How long one question waits; an emulated guest on a loaded machine answers within tens of milliseconds.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// How long a guest may take to accept a command. On a machine that is overloaded many times an emulated guest gets little of it.
const COMMAND_LIMIT: Duration = Duration::from_secs(120);

/// What a guest says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Of this boot of the guest; another one means that it was restarted.
    pub boot_id: String,
    /// Counts up ten times a second, in memory only.
    pub memory_counter: u64,
    /// Counts up ten times a second, each step written through to the disk first.
    pub disk_counter: u64,
    /// `errno` of the last write that failed, 0 if the last one succeeded.
    pub last_errno: i32,
    /// The longest that a write has taken since boot, in milliseconds.
    pub slowest_write_ms: u64,
}

impl Heartbeat {
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let mut words = text.split_whitespace().skip(1);
        Some(Self {
            boot_id: words.next()?.to_owned(),
            memory_counter: words.next()?.parse().ok()?,
            disk_counter: words.next()?.parse().ok()?,
            last_errno: words.next()?.parse().ok()?,
            slowest_write_ms: words.next()?.parse().ok()?,
        })
    }
}

/// Runs `work` on a thread of its own inside a network namespace. Sockets that it returns stay in that namespace.
pub fn in_namespace<T: Send>(namespace: &Path, work: impl FnOnce() -> std::io::Result<T> + Send) -> Result<T> {
    let entered = || {
        let file = std::fs::File::open(namespace)?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))?;
        work()
    };
    let result = std::thread::scope(|scope| scope.spawn(entered).join());
    let flat = result.unwrap_or_else(|_| Err(std::io::Error::other("the thread in the namespace panicked")));
    flat.map_err(|source| LabError::System { what: format!("working in {}", namespace.display()), source })
}

/// A UDP socket in a network namespace.
pub(crate) fn udp_socket(namespace: PathBuf) -> Result<UdpSocket> {
    in_namespace(&namespace, || UdpSocket::bind("0.0.0.0:0"))
}

/// Where a guest answers heartbeat questions.
pub(crate) fn heartbeat_address(lab: &Lab, guest: &str) -> Result<SocketAddr> {
    Ok((lab.guest_address(guest)?, HEARTBEAT_PORT).into())
}

impl Lab {
    /// Asks a guest for its heartbeat. `None`: it did not answer within half a second.
    pub async fn guest_probe(&self, guest: &str) -> Result<Option<Heartbeat>> {
        self.ask(heartbeat_address(self, guest)?, "?").await
    }

    /// Waits until a guest answers and returns its heartbeat.
    pub async fn wait_guest_answers(&self, guest: &str, limit: Duration) -> Result<Heartbeat> {
        let address = heartbeat_address(self, guest)?;
        let hint = "; see its console log below hosts/*/root/var/log/libvirt/qemu in the lab's folder";
        let what = format!("answer of guest {guest}");
        poll_until(what, hint, limit, || async { self.ask(address, "?").await.ok().flatten() }).await
    }

    /// Waits until a guest has been restarted, that is answers with another boot id than `before`.
    pub async fn wait_guest_rebooted(&self, guest: &str, before: &str, limit: Duration) -> Result<Heartbeat> {
        let address = heartbeat_address(self, guest)?;
        poll_until(format!("restart of guest {guest}"), "", limit, || async {
            self.ask(address, "?").await.ok().flatten().filter(|heartbeat| heartbeat.boot_id != before)
        })
        .await
    }

    /// Whether the guest's kernel answers a ping within half a second.
    pub async fn guest_pings(&self, guest: &str) -> Result<bool> {
        let mut command = self.controller_command("ping");
        command.args(["-n", "-q", "-c", "1", "-W", "0.5", &self.guest_address(guest)?.to_string()]);
        Ok(finish(command).await.is_ok())
    }

    /// Gives the guest's workload a command and returns what it answered before obeying.
    ///
    /// It is asked again and again over one socket, so that an answer that comes late counts: what was told to hang answers no
    /// second time.
    pub(crate) async fn tell_guest(&self, guest: &str, words: &str) -> Result<Heartbeat> {
        let address: SocketAddr = (self.guest_address(guest)?, COMMAND_PORT).into();
        let failed = |source| LabError::System { what: format!("asking {address}"), source };
        let socket = self.udp_to(address).await?;
        let asking = async {
            loop {
                // Errors are the network's word for "not there", which may change.
                let _ = socket.send(words.as_bytes()).await;
                let mut datagram = [0; 256];
                match tokio::time::timeout(PROBE_LIMIT, socket.recv(&mut datagram)).await {
                    Ok(Ok(length)) => {
                        if let Some(heartbeat) = Heartbeat::parse(&datagram[..length]) {
                            return Ok(heartbeat);
                        }
                    }
                    Ok(Err(error)) if error.kind() != std::io::ErrorKind::ConnectionRefused => {
                        return Err(failed(error));
                    }
                    Ok(Err(_)) => tokio::time::sleep(PROBE_LIMIT).await,
                    Err(_) => {}
                }
            }
        };
        let late = || LabError::Timeout {
            what: format!("guest {guest} taking {words:?}"),
            limit_ms: COMMAND_LIMIT.as_millis(),
            hint: String::new(),
        };
        tokio::time::timeout(COMMAND_LIMIT, asking).await.unwrap_or_else(|_| Err(late()))
    }

    async fn udp_to(&self, address: SocketAddr) -> Result<tokio::net::UdpSocket> {
        let failed = |source| LabError::System { what: format!("asking {address}"), source };
        let socket = udp_socket(self.controller_namespace())?;
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(failed)?;
        socket.connect(address).await.map_err(failed)?;
        Ok(socket)
    }

    async fn ask(&self, address: SocketAddr, words: &str) -> Result<Option<Heartbeat>> {
        let failed = |source| LabError::System { what: format!("asking {address}"), source };
        let socket = udp_socket(self.controller_namespace())?;
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = tokio::net::UdpSocket::from_std(socket).map_err(failed)?;
        let exchange = async {
            socket.connect(address).await?;
            socket.send(words.as_bytes()).await?;
            let mut datagram = [0; 256];
            let length = socket.recv(&mut datagram).await?;
            Ok::<_, std::io::Error>(Heartbeat::parse(&datagram[..length]))
        };
        // An error here is the network's word for "not there" (unreachable, refused): no answer, like silence.
        Ok(tokio::time::timeout(PROBE_LIMIT, exchange).await.ok().and_then(|answer| answer.ok().flatten()))
    }
}
