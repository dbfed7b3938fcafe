//! A fence agent: an executable that is given options and an action, and gives an exit code.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_model::spec::fencing::METADATA_WITHIN;
use tokio::process::Command;
use tokio::sync::OnceCell;
use tracing::debug;

use crate::{Error, Metadata, Options, Problem, process};

/// Where distributions install fence agents; a daemon's PATH often lacks them.
const USUAL_PLACES: [&str; 2] = ["/usr/sbin", "/sbin"];
/// Of a line quoted in an error.
const QUOTED_CHARS: usize = 300;

/// An installed fence agent. Clones share what was learned from its metadata.
#[derive(Clone)]
pub struct Agent {
    name: String,
    path: PathBuf,
    metadata: Arc<OnceCell<Metadata>>,
}

/// What an agent answered: its exit code, and the end of what it said, without secrets.
#[derive(Debug, Clone)]
pub struct Output {
    /// None if a signal ended it.
    pub code: Option<i32>,
    /// The last 256 KiB.
    pub stdout: String,
    /// The last 16 KiB.
    pub stderr: String,
}

impl Agent {
    /// Finds an agent by its path, or by its name in /usr/sbin, /sbin and PATH.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such executable file.
    pub fn find(name: &str) -> Result<Self, Error> {
        let from_path = std::env::var_os("PATH").unwrap_or_default();
        let mut places: Vec<PathBuf> = USUAL_PLACES.iter().map(PathBuf::from).collect();
        places.extend(
            std::env::split_paths(&from_path)
                .filter(|place| place.is_absolute() && !USUAL_PLACES.iter().any(|usual| Path::new(usual) == place)),
        );
        let candidates = if name.contains('/') {
            vec![PathBuf::from(name)]
        } else {
            places.iter().map(|place| place.join(name)).collect()
        };
        let not_found = || Error::NotFound {
            name: name.to_owned(),
            searched: candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        };
        let path = candidates.iter().find(|path| is_executable(path)).ok_or_else(not_found)?;
        let name = path.file_name().map_or_else(|| name.to_owned(), |file| file.to_string_lossy().into_owned());
        // Absolute, since it runs in another directory; links stay, since an agent may behave by the name it is called.
        let path = std::path::absolute(path).map_err(|source| Error::NotRun { path: path.clone(), source })?;
        Ok(Self { name, path, metadata: Arc::default() })
    }

    /// Its name, such as `fence_ipmilan`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself: its parameters and actions. Asked once, then remembered.
    ///
    /// # Errors
    /// If it does not answer, or not in the form of the FenceAgentAPI.
    pub async fn metadata(&self) -> Result<&Metadata, Error> {
        let ask = || async {
            let output = self.succeed("metadata", &Options::default(), METADATA_WITHIN.as_duration()).await?;
            Metadata::parse(&output.stdout).map_err(|source| Error::Metadata { agent: self.name.clone(), source })
        };
        self.metadata.get_or_try_init(ask).await
    }

    /// All that is wrong with `options` for this agent, whose calls are killed after `timeout`.
    ///
    /// # Errors
    /// If its metadata cannot be had.
    pub async fn check(&self, options: &Options, timeout: Duration) -> Result<Vec<Problem>, Error> {
        Ok(self.metadata().await?.check(options, timeout))
    }

    /// Runs one action, whatever its exit code. At the deadline the agent and all it started are killed.
    ///
    /// # Errors
    /// If it could not be run, or did not end in time.
    pub async fn run(&self, action: &str, options: &Options, timeout: Duration) -> Result<Output, Error> {
        let options = options.resolve().await?;
        let started = Instant::now();
        let mut command = Command::new(&self.path);
        command.env("LC_ALL", "C").current_dir("/");
        let ended = process::run(command, options.to_input(action)?, timeout)
            .await
            .map_err(|source| Error::NotRun { path: self.path.clone(), source })?;
        let stderr = options.redact(&ended.stderr);
        let Some(status) = ended.status else {
            let (agent, action) = (self.name.clone(), action.to_owned());
            return Err(Error::Deadline { agent, action, after: timeout, said: last_line(&stderr) });
        };
        let output = Output { code: status.code(), stdout: options.redact(&ended.stdout), stderr };
        debug!(agent = self.name, action, ?options, code = output.code, took = ?started.elapsed(), "fence agent answered");
        Ok(output)
    }

    /// Runs one action for which only exit code 0 is good.
    ///
    /// # Errors
    /// As [`Agent::run`], and [`Error::Failed`] with the agent's last words.
    pub async fn succeed(&self, action: &str, options: &Options, timeout: Duration) -> Result<Output, Error> {
        let output = self.run(action, options, timeout).await?;
        if output.code == Some(0) { Ok(output) } else { Err(self.failed(action, &output)) }
    }

    pub(crate) fn failed(&self, action: &str, output: &Output) -> Error {
        let (agent, action) = (self.name.clone(), action.to_owned());
        Error::Failed { agent, action, code: output.code, said: output.reason() }
    }

    pub(crate) fn unclear(&self, output: &Output, problem: &'static str) -> Error {
        let code = output.code.unwrap_or_default();
        Error::Unclear { agent: self.name.clone(), code, problem, said: output.reason() }
    }
}

impl Output {
    /// The line in which the agent most likely says what is wrong.
    fn reason(&self) -> String {
        let said = [&self.stderr, &self.stdout].into_iter().map(|text| last_line(text));
        said.into_iter().find(|line| !line.is_empty()).unwrap_or_default()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Agent").field(&self.path).finish()
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

fn last_line(text: &str) -> String {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(QUOTED_CHARS).collect()
}
