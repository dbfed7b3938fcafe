//! SSH as libvirt's own `qemu+ssh` does it: the system's `ssh` runs virt-ssh-helper on the other side, or nc where that
//! is missing, and its standard input and output are the byte stream. Keys, agents, aliases and jump hosts are ssh's.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, BufReader},
    process::{Child, ChildStderr, Command},
    task::JoinSet,
};

use super::Transport;
use crate::{
    error::{Error, Result},
    uri::{Proxy, Ssh},
};

/// Of what ssh says on standard error, as much is kept for the message about the end.
const LAST_WORDS_MAX: u64 = 2048;
const SYSTEM_SOCKET: &str = "/var/run/libvirt/libvirt-sock";

pub(super) async fn connect(ssh: &Ssh, name: &str) -> Result<Transport> {
    let mut child = command(ssh, name).spawn().map_err(|source| Error::Unasked {
        target: ssh.host.clone(),
        why: "can't run ssh; is openssh-client installed?".to_owned(),
        source: Some(source),
    })?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::Connect {
            target: ssh.host.clone(),
            why: "ssh came without pipes".to_owned(),
            source: None,
        });
    };
    let mut last_words = JoinSet::new();
    last_words.spawn(collect(child, stderr));
    Ok(Transport { reader: Box::pin(stdout), writer: Box::pin(stdin), last_words })
}

fn command(ssh: &Ssh, name: &str) -> Command {
    let mut command = Command::new(ssh.command.as_deref().unwrap_or("ssh".as_ref()));
    if let Some(port) = ssh.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &ssh.user {
        command.arg("-l").arg(user);
    }
    if let Some(keyfile) = &ssh.keyfile {
        command.arg("-i").arg(keyfile);
    }
    // Nobody sits in front of us to type a password: BatchMode turns a prompt into an error.
    command.args(["-T", "-e", "none", "-o", "BatchMode=yes"]);
    if ssh.no_verify {
        command.args(["-o", "StrictHostKeyChecking=no"]);
    }
    command.arg("--").arg(&ssh.host).arg(format!("sh -c {}", quoted(&remote_script(ssh, name))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What runs on the other side; the same decisions as libvirt's `virNetClientSSHHelperCommand`.
fn remote_script(ssh: &Ssh, name: &str) -> String {
    let netcat = quoted(ssh.netcat.as_deref().unwrap_or("nc"));
    let socket = quoted(ssh.socket.as_deref().unwrap_or(SYSTEM_SOCKET));
    // Only some netcats know -q; those need it, to leave when their input ends.
    let netcat = format!(
        "if {netcat} -q 2>&1 | grep \"requires an argument\" >/dev/null 2>&1; then ARG=-q0; else ARG=; fi; \
         exec {netcat} $ARG -U {socket}"
    );
    let helper = format!("exec virt-ssh-helper {}", quoted(name));
    match ssh.proxy {
        Proxy::Native => helper,
        Proxy::Auto if ssh.netcat.is_none() && ssh.socket.is_none() => {
            format!("if command -v virt-ssh-helper >/dev/null 2>&1; then {helper}; else {netcat}; fi")
        }
        Proxy::Auto | Proxy::Netcat => netcat,
    }
}

/// `text` as one word for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What ssh's last words mean. Its exit code is 255 for everything, so that the words must tell (OpenSSH does not translate
/// them).
pub(crate) fn failed(target: String, why: String) -> Error {
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| why.contains(phrase));
    // As `strerror` says them in the C locale: what this machine lacks is no silence of the other.
    if says(&["Could not resolve hostname", "Too many open files", "Cannot allocate memory", "Cannot assign requested"])
    {
        Error::Unasked { target, why, source: None }
    } else if says(&["Permission denied", "Host key verification failed", "Too many authentication failures"]) {
        Error::Auth { target, why }
    } else {
        Error::Connect { target, why, source: None }
    }
}

/// Keeps ssh's process, drains its standard error, and returns the end of the story.
async fn collect(mut child: Child, stderr: ChildStderr) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut words = Vec::new();
    let kept = (&mut stderr).take(LAST_WORDS_MAX).read_to_end(&mut words).await;
    let drained = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    let status = child.wait().await;
    tracing::debug!(?kept, ?drained, ?status, "ssh ended");
    let words = String::from_utf8_lossy(&words);
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    format!("ssh ended ({status}): {}", words.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_paths_can_not_break_out_of_the_script() {
        let ssh = Ssh { host: "h".into(), socket: Some("/a'; rm -rf /; '".into()), ..Ssh::default() };
        let script = remote_script(&ssh, "qemu:///system");
        assert!(script.ends_with(r"nc' $ARG -U '/a'\''; rm -rf /; '\'''"), "{script}");
        assert!(!script.contains("virt-ssh-helper"), "an explicit socket needs nc: {script}");
    }

    #[test]
    fn the_helper_is_preferred_and_nc_the_fallback() {
        let script = remote_script(&Ssh { host: "h".into(), ..Ssh::default() }, "qemu:///system");
        assert!(script.starts_with("if command -v virt-ssh-helper"), "{script}");
        assert!(script.contains("-U '/var/run/libvirt/libvirt-sock'"), "{script}");
    }
}
