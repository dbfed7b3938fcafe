//! The peer that Mainstay is measured against, in the same lab: Corosync and Pacemaker with their VirtualDomain agent
//! and this lab's own fence agent. Needs what `script/bootstrap --bench` installs.
//!
//! ```text
//!   lab with its guests ──up──▶ every guest is Pacemaker's ──down──▶ lab with its guests, as after Lab::up
//! ```
//! It must not run at the same time as a Mainstay controller of this lab. It only sets Pacemaker up and away; breaking
//! things and measuring is the caller's, with the lab's own faults and truth.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::command::poll_until;
use crate::error::{AtPath, LabError, Result};
use crate::host;
use crate::lab::{Lab, require};
use crate::layout;

const BOOT_SCRIPT: &str = include_str!("../host/pacemaker.sh");
/// Corosync forms a ring and Pacemaker elects within ten seconds here; a resource start follows.
const LIMIT: Duration = Duration::from_secs(400);

/// How Pacemaker is set up; what is not here is as its documentation recommends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacemakerSettings {
    /// Corosync declares a silent host dead after this (its default is 3000).
    pub token_ms: u32,
    /// VirtualDomain looks at each guest this often, in seconds (its documentation's value is 10).
    pub monitor_s: u32,
}

/// Sets Pacemaker up on all hosts, hands all guests over to it, and waits until they answer.
pub async fn pacemaker_up(lab: &Lab, settings: PacemakerSettings) -> Result<()> {
    for program in ["corosync", "pacemakerd", "crm", "crm_mon"] {
        require(program).map_err(|_| LabError::Missing { what: format!("{program} (script/bootstrap --bench)") })?;
    }
    let agents = agents_folder(lab);
    fs::create_dir_all(&agents).at("creating", &agents)?;
    let agent = agents.join("fence_mainstay_lab");
    fs::copy(lab.layout().fence_agent(), &agent).at("writing", &agent)?;
    lab.clear_guests().await?;
    for host in lab.host_names() {
        write_host(lab, &host, settings)?;
        let boot = format!("setsid {} </dev/null >/dev/null 2>&1 &", boot_script(lab, &host).display());
        lab.run_in_host(&host, &["sh", "-c", &boot]).await?;
    }
    wait_online(lab).await?;
    let configuration = lab.layout().shared().join("pacemaker.crm");
    fs::write(&configuration, cluster_configuration(lab, settings)?).at("writing", &configuration)?;
    let load = ["crm", "-F", "configure", "load", "update", &configuration.display().to_string()];
    lab.run_in_host("h1", &load).await?;
    for guest in lab.guest_names() {
        lab.wait_guest_answers(&guest, LIMIT).await?;
    }
    Ok(())
}

/// Waits until Pacemaker counts every host as online: after a host came back, for one.
pub async fn wait_online(lab: &Lab) -> Result<()> {
    let expected = format!("Online: [ {} ]", lab.host_names().join(" "));
    let hint = "; see pacemaker.log in the hosts' folders";
    poll_until("Pacemaker seeing every host online", hint, LIMIT, || async {
        let seen = lab.run_in_host("h1", &["crm_mon", "-1"]).await.ok()?;
        seen.contains(&expected).then_some(())
    })
    .await
}

/// Takes Pacemaker away without a trace by a power cut of every host, and starts the guests where they were at first.
pub async fn pacemaker_down(lab: &Lab) -> Result<()> {
    for host in lab.host_names() {
        let script = boot_script(lab, &host);
        fs::remove_file(&script).at("removing", script)?;
        lab.power_cut(&host).await?;
        for folder in ["var/lib/pacemaker", "var/lib/corosync", "etc/corosync"] {
            let folder = lab.host_file(&host, folder);
            fs::remove_dir_all(&folder).at("removing", folder)?;
        }
    }
    for host in lab.host_names() {
        lab.power_on(&host).await?;
    }
    lab.start_guests(&|_| ()).await
}

fn agents_folder(lab: &Lab) -> PathBuf {
    lab.layout().dir.join("agents")
}

fn boot_script(lab: &Lab, host: &str) -> PathBuf {
    lab.layout().host_dir(host).join(host::BOOT_SCRIPT)
}

fn write_host(lab: &Lab, host: &str, settings: PacemakerSettings) -> Result<()> {
    let corosync = lab.host_file(host, "etc/corosync");
    fs::create_dir_all(&corosync).at("creating", &corosync)?;
    let file = corosync.join("corosync.conf");
    fs::write(&file, corosync_configuration(lab, settings)).at("writing", file)?;
    let disk = lab.layout().host_dir(host).display().to_string();
    let text = BOOT_SCRIPT.replace("@DISK@", &disk).replace("@AGENTS@", &agents_folder(lab).display().to_string());
    let script = boot_script(lab, host);
    fs::write(&script, text).at("writing", &script)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).at("making executable", script)
}

fn corosync_configuration(lab: &Lab, settings: PacemakerSettings) -> String {
    let token = settings.token_ms;
    let mut nodes = String::new();
    for (host, number) in lab.host_names().iter().zip(1..) {
        let address = layout::host_address(number);
        writeln!(nodes, "  node {{\n    ring0_addr: {address}\n    name: {host}\n    nodeid: {number}\n  }}")
            .expect("writing to a String does not fail");
    }
    format!(
        "totem {{
  version: 2
  cluster_name: lab
  transport: knet
  crypto_cipher: none
  crypto_hash: none
  token: {token}
}}
nodelist {{
{nodes}}}
quorum {{
  provider: corosync_votequorum
}}
logging {{
  to_stderr: no
  to_syslog: no
  to_logfile: yes
  logfile: /var/log/corosync/corosync.log
  timestamp: hires
}}
"
    )
}

fn cluster_configuration(lab: &Lab, settings: PacemakerSettings) -> Result<String> {
    let hosts = lab.host_names().join(" ");
    let mut text = format!(
        "property stonith-enabled=true no-quorum-policy=stop stonith-timeout=30s dc-deadtime=5s
rsc_defaults resource-stickiness=100 migration-threshold=1000 failure-timeout=0
primitive fence stonith:fence_mainstay_lab \\
  params pcmk_host_list=\"{hosts}\" pcmk_host_check=static-list pcmk_reboot_action=off \\
  op monitor interval=60s timeout=20s
"
    );
    for (guest, host) in lab.first_spread() {
        let xml = lab.layout().shared().join(format!("{guest}.pacemaker.xml"));
        fs::write(&xml, lab.guest_xml(&guest)?).at("writing", &xml)?;
        let (xml, monitor) = (xml.display(), settings.monitor_s);
        write!(
            text,
            "primitive {guest} ocf:heartbeat:VirtualDomain \\
  params config={xml} hypervisor=qemu:///system migration_transport=tcp force_stop=true \\
  op start timeout=90s interval=0 op stop timeout=60s interval=0 op monitor interval={monitor}s timeout=30s \\
  meta allow-migrate=false
location {guest}-first {guest} 10: {host}
"
        )
        .expect("writing to a String does not fail");
    }
    Ok(text)
}
