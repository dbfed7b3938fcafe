//! Running the system's tools: each with a deadline, an error that names the command line, and nothing inherited.
//!
//! Also the one way by which the lab starts something that outlives it: [`spawn_detached`] puts the process into a
//! control group of the lab first, so that clean-up finds it even if its creator crashed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::error::{AtPath, LabError, Result};

/// Far more than any of the tools needs on a loaded machine; a call past it hangs.
const DEADLINE: Duration = Duration::from_secs(300);

/// Runs a command to its end and returns what it printed on standard output.
pub(crate) async fn run(argv: &[&str]) -> Result<String> {
    let (program, words) = argv.split_first().expect("callers pass at least the program");
    let mut command = Command::new(program);
    command.args(words);
    finish(command).await
}

/// As [`run`], for a command that is already put together.
pub(crate) async fn finish(mut command: Command) -> Result<String> {
    let shown = show(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(|source| missing_or(&command, source))?;
    let output = match tokio::time::timeout(DEADLINE, child.wait_with_output()).await {
        Ok(done) => done.map_err(|source| LabError::System { what: format!("waiting for `{shown}`"), source })?,
        Err(_) => {
            let hint = String::new();
            return Err(LabError::Timeout { what: format!("`{shown}`"), limit_ms: DEADLINE.as_millis(), hint });
        }
    };
    if !output.status.success() {
        let said = [output.stderr, output.stdout].concat();
        return Err(LabError::Command {
            command: shown,
            status: output.status.to_string(),
            output: last_line(&String::from_utf8_lossy(&said)),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a process in a session of its own that lives on when we do not, as a member of `cgroup`, its output in `log`.
pub(crate) fn spawn_detached<I, S>(cgroup: &Path, log: &Path, argv: I) -> Result<Child>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let output = std::fs::File::options().create(true).append(true).open(log).at("opening the log", log)?;
    let errors = output.try_clone().at("opening the log", log)?;
    let mut command = Command::new("setsid");
    command.args(["sh", "-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#]).arg(cgroup).args(argv);
    command.current_dir("/").stdin(Stdio::null()).stdout(output).stderr(errors);
    command.spawn().map_err(|source| missing_or(&command, source))
}

/// Waits until `probe` gives a value, asking every few milliseconds.
pub(crate) async fn poll_until<T, Answer: Future<Output = Option<T>>>(
    what: impl Into<String>,
    hint: impl Into<String>,
    limit: Duration,
    mut probe: impl FnMut() -> Answer,
) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(5);
    let asking = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(limit, asking).await.map_err(|_| LabError::Timeout {
        what: what.into(),
        limit_ms: limit.as_millis(),
        hint: hint.into(),
    })
}

fn missing_or(command: &Command, source: std::io::Error) -> LabError {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    match source.kind() {
        std::io::ErrorKind::NotFound => LabError::Missing { what: format!("the program {program}") },
        _ => LabError::System { what: format!("starting {program}"), source },
    }
}

fn show(command: &Command) -> String {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn last_line(text: &str) -> String {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it printed nothing").to_owned()
}
