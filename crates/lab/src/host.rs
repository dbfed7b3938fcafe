//! A host's power and its processes, as seen from outside: on, off, alive, and signals to what runs inside.
//!
//! ```text
//!   off ──power_on──▶ on (PID 1 lives) ──power_off: cable down, then SIGKILL to all──▶ off
//! ```
//! Nothing here needs the lab's creator: the power controller calls it from a process of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Pid;

use crate::cgroup::Cgroups;
use crate::command::{poll_until, run, spawn_detached};
use crate::error::{AtPath, LabError, Result};
use crate::layout::Layout;
use crate::network;

/// PID 1 of every host.
const INIT: &str = include_str!("../host/init.sh");

/// If this file is in a host's folder and executable, it runs at each boot of the host (`host/init.sh` starts it).
pub(crate) const BOOT_SCRIPT: &str = "rc.local";

/// A loaded machine starts a libvirtd in well under a second; ten times that means that it will not start.
const LIBVIRT_LIMIT: Duration = Duration::from_secs(180);

/// Process id of the host's PID 1 as this machine numbers it, if the host is on.
pub(crate) fn init_process(layout: &Layout, host: &str) -> Option<Pid> {
    let text = fs::read_to_string(layout.host_pid_file(host)).ok()?;
    let pid: Pid = Pid::from_raw(text.trim().parse().ok()?)?;
    // The number may have been given to another process since: PID 1 of this host is known by its command line.
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let own_folder = layout.host_dir(host);
    let words = command_line.split(|byte| *byte == 0);
    words.into_iter().any(|word| word == own_folder.as_os_str().as_encoded_bytes()).then_some(pid)
}

/// As [`init_process`], with the error for a host that is off.
pub(crate) fn init_process_or_off(layout: &Layout, host: &str) -> Result<Pid> {
    init_process(layout, host).ok_or_else(|| LabError::HostOff { host: host.to_owned() })
}

/// A path inside the host, as this machine reaches it. Sockets can be connected to through it as well.
pub(crate) fn path_inside(init: Pid, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{init}/root{path}"))
}

/// Switches the host on and waits until its PID 1 lives. A host that is on stays as it is.
pub(crate) async fn power_on(layout: &Layout, host: &str) -> Result<()> {
    if init_process(layout, host).is_some() {
        return Ok(());
    }
    let cgroup = Cgroups::of_lab(&layout.name)?.make(host)?;
    let disk = layout.host_dir(host);
    let init = disk.join("init.sh");
    fs::write(&init, INIT).at("writing", &init)?;
    let network = format!("--net={}", layout.namespace_path(host).display());
    let unshare = "unshare --mount --uts --ipc --pid --fork --propagation private sh";
    let mut argv: Vec<&str> = vec!["nsenter", &network];
    argv.extend(unshare.split(' '));
    let (init, disk_text) = (init.display().to_string(), disk.display().to_string());
    argv.extend([init.as_str(), host, disk_text.as_str()]);
    let log = disk.join("init.log");
    let mut launcher = spawn_detached(&cgroup, &log, argv)?;
    // Reaps the launcher when the host ends, so that a long-lived lab keeps no zombies.
    tokio::spawn(async move { launcher.wait().await });
    network::set_cable(layout, host, true).await?;
    let hint = format!("; see {}", log.display());
    poll_until(format!("power on of {host}"), hint, Duration::from_secs(120), || async { init_process(layout, host) })
        .await
        .map(|_| ())
}

/// Cuts the host's power, also that of a frozen one. The cable goes down first, else the dying daemons' TCP FINs would
/// tell their peers at once, which no power cut does. When this returns, no process of the host runs any more: a guest
/// may be started elsewhere.
pub(crate) async fn power_off(layout: &Layout, host: &str) -> Result<()> {
    network::set_cable(layout, host, false).await?;
    Cgroups::of_lab(&layout.name)?.end(host).await
}

/// libvirtd's TCP port, as the kernel's table of connections writes it, and its word for listening.
const LIBVIRT_PORT: &str = ":407D ";
const LISTENING: &str = " 0A ";

/// Waits until the host's libvirtd takes connections, on its socket and over the network: the port is opened last.
pub(crate) async fn wait_for_libvirt(layout: &Layout, host: &str) -> Result<()> {
    let log = layout.host_dir(host).join("root/var/log/libvirt/libvirtd.log");
    let hint = format!("; see {} and {}", layout.host_dir(host).join("init.log").display(), log.display());
    poll_until(format!("start of libvirtd on {host}"), hint, LIBVIRT_LIMIT, || async {
        let init = init_process(layout, host)?;
        let listening = ["tcp", "tcp6"].iter().any(|table| {
            let connections = fs::read_to_string(format!("/proc/{init}/net/{table}")).unwrap_or_default();
            connections.lines().any(|line| line.contains(LIBVIRT_PORT) && line.contains(LISTENING))
        });
        let socket = path_inside(init, "/run/libvirt/libvirt-sock");
        let answers = std::os::unix::net::UnixStream::connect(socket).is_ok();
        (listening && answers).then_some(())
    })
    .await
}

/// Sends a signal to a process of the host that wrote its number (as the host counts) into `pid_file`.
pub(crate) async fn signal_inside(layout: &Layout, host: &str, signal: &str, pid_file: &str) -> Result<()> {
    let init = init_process_or_off(layout, host)?;
    let file = path_inside(init, pid_file);
    let number = fs::read_to_string(&file).at("reading", &file)?;
    let target = format!("--target={init}");
    run(&["nsenter", &target, "--pid", "--mount", "kill", signal, number.trim()]).await.map(|_| ())
}

/// Runs a command inside the host, in all its namespaces and its control group, and returns what it printed.
pub(crate) async fn run_inside(layout: &Layout, host: &str, argv: &[&str]) -> Result<String> {
    let init = init_process_or_off(layout, host)?;
    let cgroup = Cgroups::of_lab(&layout.name)?.make(host)?.display().to_string();
    let target = format!("--target={init}");
    // Joining the group first makes daemons started so part of the host: frozen with it, ended with it.
    let join = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;
    let enter = ["sh", "-c", join, &cgroup, "nsenter", &target, "--mount", "--uts", "--ipc", "--net", "--pid", "--"];
    run(&[&enter[..], argv].concat()).await
}
