//! The power controller: what a rack's management network is to real hosts. It cuts and restores power on request,
//! outlives whoever made the lab, and its devices can be told to fail.
//!
//! One request per connection on the lab's UNIX socket, a line `ACTION HOST`; the answer is the exit code a fence agent
//! would give, a space, and text. The fence agent `fence_mainstay_lab` in the lab's folder is a client of it; so works
//! for a host that is cut off from the network, as real ones do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use crate::cgroup::Cgroups;
use crate::command::{poll_until, spawn_detached};
use crate::error::{AtPath, Result};
use crate::host;
use crate::lab::Lab;
use crate::layout::Layout;

const FENCE_AGENT: &str = include_str!("../host/fence_mainstay_lab");
/// A client that says nothing must not hold a connection for ever.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Between off and on of a reboot, as a machine's firmware takes a moment.
const REBOOT_PAUSE: Duration = Duration::from_secs(1);

/// Exit codes of fence agents: done or on; failed; off (for `status`).
const DONE: u8 = 0;
const FAILED: u8 = 1;
const OFF: u8 = 2;

/// In which process a lab's power controller runs.
#[derive(Debug, Clone)]
pub enum PowerRunner {
    /// As a task of this process: gone when the lab's handle is dropped. For tests.
    Task,
    /// As a process of its own that outlives us: this command line, with the lab's folder added, must call [`serve`].
    Process(Vec<String>),
}

/// How a host's power device misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerFault {
    /// Every request fails.
    Dead,
    /// Every request takes this much longer.
    Slow {
        /// How much, in milliseconds.
        delay_ms: u64,
    },
    /// `on`, `off` and `reboot` report success and do nothing; `status` tells the truth.
    Lying,
}

/// One request that the power controller has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerRecord {
    /// When the answer was given.
    pub at: SystemTime,
    /// `on`, `off`, `reboot`, `status`, …
    pub action: String,
    /// The host.
    pub host: String,
    /// The fence agent's exit code: 0 is done.
    pub code: u8,
}

impl PowerRecord {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let at = UNIX_EPOCH + Duration::try_from_secs_f64(words.next()?.parse().ok()?).ok()?;
        let (action, host) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Self { at, action, host, code: words.next()?.parse().ok()? })
    }
}

impl Lab {
    /// Everything that was asked of the power controller so far, oldest first.
    pub fn power_history(&self) -> Result<Vec<PowerRecord>> {
        let log = self.layout().power_log();
        let text = fs::read_to_string(&log).at("reading", log)?;
        Ok(text.lines().filter_map(PowerRecord::parse).collect())
    }
}

/// A power controller that runs in this process; it ends when this is dropped.
#[derive(Debug)]
pub struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts the controller of a lab and waits until it answers.
pub(crate) async fn start(layout: &Layout, runner: PowerRunner) -> Result<Option<Running>> {
    let agent = layout.fence_agent();
    let text = FENCE_AGENT.replace("@SOCKET@", &layout.power_socket().display().to_string());
    fs::write(&agent, text).at("writing", &agent)?;
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).at("making executable", &agent)?;
    let running = match runner {
        PowerRunner::Task => {
            let dir = layout.dir.clone();
            let task = tokio::spawn(async move {
                if let Err(error) = serve(&dir).await {
                    tracing::error!(%error, "the lab's power controller ended");
                }
            });
            Some(Running(task.abort_handle()))
        }
        PowerRunner::Process(mut argv) => {
            argv.push(layout.dir.display().to_string());
            let cgroup = Cgroups::of_lab(&layout.name)?.make("power")?;
            let mut child = spawn_detached(&cgroup, &layout.dir.join("power.err"), argv)?;
            tokio::spawn(async move { child.wait().await });
            None
        }
    };
    let hint = format!("; see {}", layout.dir.join("power.err").display());
    poll_until("start of the power controller", hint, Duration::from_secs(120), || async {
        UnixStream::connect(layout.power_socket()).await.ok()
    })
    .await?;
    Ok(running)
}

/// Serves the lab in `dir` for ever.
pub async fn serve(dir: &Path) -> Result<()> {
    let spec_file = dir.join("lab.json");
    let text = fs::read(&spec_file).at("reading", &spec_file)?;
    let spec: crate::LabSpec = serde_json::from_slice(&text).map_err(std::io::Error::from).at("reading", &spec_file)?;
    let controller = Controller { layout: Layout::new(&spec.name, Some(dir.to_owned())), hosts: spec.host_names() };
    let socket = controller.layout.power_socket();
    // A socket left by an earlier controller of this lab.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).at("listening on", &socket)?;
    loop {
        let (connection, _) = listener.accept().await.at("accepting on", &socket)?;
        let controller = controller.clone();
        tokio::spawn(async move {
            // A client that hung up or said nothing knows so itself.
            let asked = tokio::time::timeout(REQUEST_LIMIT, read_request(connection)).await;
            if let Ok(Ok((request, connection))) = asked {
                controller.answer(&request, connection).await;
            }
        });
    }
}

async fn read_request(connection: UnixStream) -> std::io::Result<(String, UnixStream)> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    Ok((line, reader.into_inner()))
}

#[derive(Debug, Clone)]
struct Controller {
    layout: Layout,
    hosts: Vec<String>,
}

impl Controller {
    async fn answer(&self, request: &str, mut connection: UnixStream) {
        let mut words = request.split_whitespace();
        let (action, host) = (words.next().unwrap_or("monitor"), words.next().unwrap_or("-"));
        let (code, text) = self.obey(action, host).await;
        self.log(&format!("{action} {host} {code} {text}"));
        // The client may have given up waiting.
        let _ = connection.write_all(format!("{code} {text}").as_bytes()).await;
    }

    async fn obey(&self, action: &str, host: &str) -> (u8, String) {
        match action {
            "monitor" => return (DONE, String::new()),
            "list" => return (DONE, self.hosts.iter().map(|h| format!("{h},{h}\n")).collect()),
            _ => {}
        }
        if !self.hosts.iter().any(|known| known == host) {
            return (FAILED, format!("no host {host:?}; there are {}", self.hosts.join(", ")));
        }
        let fault = read_fault(&self.layout, host);
        match fault {
            Some(PowerFault::Dead) => return (FAILED, "the power device does not answer".to_owned()),
            Some(PowerFault::Slow { delay_ms }) => tokio::time::sleep(Duration::from_millis(delay_ms)).await,
            Some(PowerFault::Lying) if action != "status" => return (DONE, String::new()),
            Some(PowerFault::Lying) | None => {}
        }
        let result = match action {
            "status" => match host::init_process(&self.layout, host) {
                Some(_) => return (DONE, "on".to_owned()),
                None => return (OFF, "off".to_owned()),
            },
            "on" => host::power_on(&self.layout, host).await,
            "off" => host::power_off(&self.layout, host).await,
            "reboot" => self.reboot(host).await,
            other => return (FAILED, format!("unknown action {other:?}")),
        };
        result.map_or_else(|error| (FAILED, error.to_string()), |()| (DONE, String::new()))
    }

    async fn reboot(&self, host: &str) -> Result<()> {
        host::power_off(&self.layout, host).await?;
        tokio::time::sleep(REBOOT_PAUSE).await;
        host::power_on(&self.layout, host).await
    }

    fn log(&self, line: &str) {
        use std::io::Write;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let file = fs::File::options().create(true).append(true).open(self.layout.power_log());
        // A full disk must not stop the power controller.
        let _ = file.and_then(|mut file| writeln!(file, "{:.3} {}", now.as_secs_f64(), line.trim_end()));
    }
}

fn read_fault(layout: &Layout, host: &str) -> Option<PowerFault> {
    serde_json::from_slice(&fs::read(layout.power_fault(host)).ok()?).ok()
}

/// Makes a host's power device misbehave, or work again.
pub(crate) fn set_fault(layout: &Layout, host: &str, fault: Option<PowerFault>) -> Result<()> {
    let path: PathBuf = layout.power_fault(host);
    match fault {
        Some(fault) => {
            let text = serde_json::to_vec(&fault).map_err(std::io::Error::from).at("writing", &path)?;
            fs::write(&path, text).at("writing", path)
        }
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("removing", path),
            _ => Ok(()),
        },
    }
}
