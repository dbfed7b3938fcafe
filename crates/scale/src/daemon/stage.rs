//! What the controller is put onto: addresses of hosts, its configuration, a fence device, and the switch of a rack.

use crate::{
    cluster::{Size, has_ssd, host_name, set},
    hypervisors::address,
};
use std::{
    collections::BTreeSet,
    fmt::Write,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A fence agent that switches a host off by making a file.
const AGENT: &str = r#"#!/bin/sh
while IFS='=' read -r key value; do
  case $key in action) action=$value ;; plug) plug=$value ;; power) power=$value ;; esac
done
case $action in
  metadata) cat <<XML
<?xml version="1.0" ?><resource-agent name="fence_rack" shortdesc="A simulated rack"><parameters>
<parameter name="plug" required="1"><content type="string"/></parameter>
<parameter name="power" required="1"><content type="string"/></parameter>
</parameters><actions><action name="on"/><action name="off"/><action name="status"/><action name="monitor"/></actions></resource-agent>
XML
  ;;
  off) : >"$power/$plug.off" ;;
  on) rm -f "$power/$plug.off" ;;
  status) if [ -e "$power/$plug.off" ]; then echo "Status: OFF"; exit 2; fi; echo "Status: ON" ;;
esac
"#;

/// A folder with all that the controller needs, gone when dropped.
pub struct Stage {
    folder: tempfile::TempDir,
    /// Where the fence device keeps which hosts are off.
    pub power: PathBuf,
}

impl Stage {
    /// Gives this process's network namespace an address for every host, and writes the files.
    pub fn set(size: Size, readiness: bool) -> io::Result<Stage> {
        run("ip", &["link", "set", "lo", "up"])?;
        // Every address in it is this machine's: 10.88 are hosts, 10.90 guests.
        run("ip", &["route", "replace", "local", "10.88.0.0/14", "dev", "lo"])?;
        let folder = tempfile::tempdir()?;
        let power = folder.path().join("power");
        std::fs::create_dir(&power)?;
        let agent = folder.path().join("fence_rack");
        std::fs::write(&agent, AGENT)?;
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755))?;
        let stage = Stage { folder, power };
        std::fs::write(stage.config(), configuration(size, &agent, &stage, readiness))?;
        Ok(stage)
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("mainstay.toml")
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// Where the controller's log goes.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// How much the store takes, its log included.
    pub fn stored(&self) -> io::Result<u64> {
        let files = std::fs::read_dir(self.folder.path().join("state"))?;
        files.map(|file| file?.metadata().map(|metadata| metadata.len())).sum()
    }

    /// A rack loses its power: from now on its addresses swallow everything.
    pub fn cut(&self, rack: usize) -> io::Result<()> {
        let network = format!("10.88.{rack}.0/24");
        run("iptables", &["-I", "INPUT", "-d", &network, "-j", "DROP"])?;
        run("iptables", &["-I", "INPUT", "-s", &network, "-j", "DROP"])
    }
}

fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), said.trim())))
}

/// Intervals are the defaults; hosts that are lost together are fenced together, and stay off.
fn configuration(size: Size, agent: &Path, stage: &Stage, readiness: bool) -> String {
    let mut text = String::new();
    write_configuration(&mut text, size, agent, stage, readiness).expect("a string takes all");
    text
}

fn write_configuration(
    text: &mut String,
    size: Size,
    agent: &Path,
    stage: &Stage,
    readiness: bool,
) -> std::fmt::Result {
    let ready = if readiness { "" } else { "\nready_every = \"0s\"" };
    let (agent, power, socket) = (agent.display(), stage.power.display(), stage.socket());
    writeln!(
        text,
        "[controller]\nstate_directory = \"{}\"\napi_socket = \"{}\"\nlog = \"warn,mainstay_daemon::pump=debug\"\n\
         [limits]\nfencings = 1000\n[fence.rack]\nagent = \"{agent}\"\noptions = {{ power = \"{power}\" }}\n\
         [site.here]\nshared_storage = true\n[site.here.libvirt]\nuri = \"qemu+tcp://{{address}}/system\"{ready}",
        stage.folder.path().join("state").display(),
        socket.display(),
    )?;
    for host in 0..size.hosts {
        let tags = if has_ssd(host) { "tags = [\"ssd\"]\n" } else { "" };
        writeln!(
            text,
            "[site.here.host.{}]\naddress = \"{}\"\nfence = \"rack\"\nrevive = {{ after_fence = \"leave-off\" }}\n{tags}",
            host_name(host),
            address(host)
        )?;
    }
    writeln!(
        text,
        "[[vm]]\ntags = [\"bound\"]\nhosts = {{ require = [\"tag:ssd\"] }}\n[[vm]]\nmatch = \"*\"\n[[protection]]\nmatch = \"*\""
    )?;
    let sets: BTreeSet<usize> = (0..size.workloads).filter_map(|workload| set(size, workload)).collect();
    sets.iter().try_for_each(|set| writeln!(text, "[[apart]]\ntags = [\"set-{set}\"]"))
}
