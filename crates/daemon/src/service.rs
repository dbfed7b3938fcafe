//! The controller process from start to stop.

use crate::Handle;
use std::path::PathBuf;

/// How the controller is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file; read again at a reload.
    pub config: PathBuf,
    /// Where everything is kept (database, pictures); none: what the configuration says.
    pub state_dir: Option<PathBuf>,
}

/// Why the controller did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be used; all problems at once, each with file, line and column.
    #[error("the configuration can't be used:\n{}", problems.join("\n"))]
    Config {
        /// All problems.
        problems: Vec<String>,
    },
}

/// A controller that runs.
#[derive(Debug)]
pub struct Running {
    /// The way into it.
    pub handle: Handle,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Waits until it has stopped: after [`Handle::shutdown`], SIGTERM or SIGINT.
    pub async fn stopped(self) {
        // A panic of the service was printed by the panic hook; there is nothing left to wait for.
        let _ = self.task.await;
    }
}

/// Starts the controller: reads configuration and memory, carries out the first step, begins to watch the hosts.
///
/// # Errors
/// If the configuration or the store can't be used. Nothing runs then.
pub async fn start(options: Options) -> Result<Running, StartError> {
    Err(StartError::Config { problems: vec![format!("{}: not read yet", options.config.display())] })
}
