//! The real controller: `mainstay up` in the lab's controller namespace, asked through the real command line.

use crate::error::{Error, Result};
use mainstay_engine::view::ClusterView;
use mainstay_lab::Lab;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Between two looks at the status; each costs a process.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// A clean stop takes milliseconds; after this it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// The command line has its own deadlines; this one is for a command line that hangs.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// A running controller; killed when dropped.
#[derive(Debug)]
pub struct Controller {
    mainstay: PathBuf,
    socket: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Controller {
    /// Starts a controller that remembers nothing, and waits until it answers. Configuration, memory and log lie in the
    /// lab's folder.
    ///
    /// # Errors
    /// If it cannot be started or ends by itself.
    pub async fn up(mainstay: &Path, lab: &Lab, configuration: &str) -> Result<Controller> {
        let folder = &lab.layout().dir;
        let (file, log) = (folder.join("mainstay.toml"), folder.join("controller.log"));
        let run = |what: &str| {
            let what = what.to_owned();
            move |source| Error::Run { what, source }
        };
        fs::write(&file, configuration).map_err(run("writing the controller's configuration"))?;
        for old in [folder.join("controller"), lab.api_socket()] {
            let gone = if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            gone.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                .map_err(run("removing an earlier controller's memory"))?;
        }
        let output = File::create(&log).map_err(run("writing the controller's log"))?;
        let errors = output.try_clone().map_err(run("writing the controller's log"))?;
        let mut command = lab.controller_command(mainstay);
        command.arg("up").arg("--config").arg(&file).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.kill_on_drop(true).spawn().map_err(run("starting the controller"))?;
        let mut controller = Controller { mainstay: mainstay.to_owned(), socket: lab.api_socket(), log, child };
        controller.wait("an answer of the controller", Duration::from_secs(30), |_| Some(())).await?;
        Ok(controller)
    }

    /// Asks for the status until `look` finds what it looks for.
    ///
    /// # Errors
    /// [`Error::Late`] after `limit`; [`Error::Ended`] if the controller is gone.
    pub async fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        look: impl Fn(&ClusterView) -> Option<T>,
    ) -> Result<T> {
        let looking = async {
            loop {
                if let Ok(Some(status)) = self.child.try_wait() {
                    let (status, tail) = (status.to_string(), tail(&self.log));
                    return Err(Error::Ended { status, log: self.log.clone(), tail });
                }
                // Until it listens, and while it is overloaded, there is no answer.
                if let Some(found) = status(&self.mainstay, &self.socket).await.ok().as_ref().and_then(&look) {
                    return Ok(found);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let late = || Error::Late {
            what: what.to_owned(),
            limit_s: limit.as_secs(),
            log: self.log.clone(),
            tail: tail(&self.log),
        };
        timeout(limit, looking).await.unwrap_or_else(|_| Err(late()))
    }

    /// What the controller believes now.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> Result<ClusterView> {
        status(&self.mainstay, &self.socket).await
    }

    /// Runs a command of `mainstay` against this controller and gives back what it printed. Exit code 3 (degraded) is an
    /// answer too.
    ///
    /// # Errors
    /// If it fails.
    pub async fn mainstay(&self, arguments: &[&str]) -> Result<String> {
        mainstay(&self.mainstay, &self.socket, arguments).await
    }

    /// Stops it cleanly. Guests go on.
    ///
    /// # Errors
    /// If it cannot even be killed.
    pub async fn down(mut self) -> Result<()> {
        if let Some(pid) = self.child.id() {
            let kill = Command::new("kill").arg(pid.to_string()).status().await;
            kill.map_err(|source| Error::Run { what: "stopping the controller".into(), source })?;
        }
        if timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            self.child.kill().await.map_err(|source| Error::Run { what: "killing the controller".into(), source })?;
        }
        Ok(())
    }
}

async fn status(program: &Path, socket: &Path) -> Result<ClusterView> {
    let text = mainstay(program, socket, &["status", "--json"]).await?;
    let unreadable =
        |source: serde_json::Error| Error::Command { command: "status --json".into(), said: source.to_string() };
    let mut answer: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
    serde_json::from_value(answer["data"].take()).map_err(unreadable)
}

async fn mainstay(program: &Path, socket: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--socket").arg(socket).env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let failed = |said: String| Error::Command { command: arguments.join(" "), said };
    let output = timeout(COMMAND_WITHIN, command.output()).await.map_err(|_| failed("it hangs".into()))?;
    let output = output.map_err(|source| Error::Run { what: format!("running {}", program.display()), source })?;
    match output.status.code() {
        Some(0 | 3) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        _ => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
