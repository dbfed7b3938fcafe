//! The configuration file, read and checked: what the process runs with.

use crate::link::{Link, LinkConfig};
use mainstay_model::{
    HostId,
    config::{ControllerConfig, NotifyConfig, Problem, Problems, load, unreadable},
    spec::ClusterSpec,
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::io::AsyncReadExt;

/// What was read.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub spec: Arc<ClusterSpec>,
    pub controller: ControllerConfig,
    pub notify: NotifyConfig,
    pub links: BTreeMap<HostId, LinkConfig>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration {} can't be read; `mainstay config example` prints one to begin with", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It says what can't be; all problems at once.
    #[error(transparent)]
    Problems(Problems),
    /// Files it names, or addresses of hosts, can't be used.
    #[error("the configuration names what can't be used:\n{}", .0.join("\n"))]
    Named(Vec<String>),
}

impl ConfigError {
    /// Each problem in one line, with its place where it has one.
    pub fn lines(&self) -> Vec<String> {
        match self {
            ConfigError::File { source, .. } => vec![format!("{self}: {source}")],
            ConfigError::Problems(problems) => problems.iter().map(line).collect(),
            ConfigError::Named(lines) => lines.clone(),
        }
    }
}

/// No configuration or password is longer; a wrong path (a disk image, /dev/zero) shall not fill the memory.
const TEXT_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads a file that a person wrote.
///
/// # Errors
/// The system's, or that it is over 16 MiB and so cannot be meant.
pub async fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(TEXT_MAX_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > TEXT_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB; is it the right file?"));
    }
    Ok(text)
}

impl Config {
    /// Reads the file and all that it names.
    pub async fn read(path: &Path) -> Result<Config, ConfigError> {
        let file = |source| ConfigError::File { path: path.to_owned(), source };
        let text = read_text(path).await.map_err(file)?;
        let loaded = load(&path.display().to_string(), &text).map_err(ConfigError::Problems)?;
        let mut wrong: Vec<String> =
            unreadable(&loaded.files, |path| std::fs::File::open(path).map(drop)).iter().map(line).collect();
        let links = LinkConfig::all(&loaded.spec, &loaded.drivers);
        for (host, config) in &links {
            if let Err(error) = Link::new(host.clone(), config.clone()) {
                wrong.push(format!(
                    "{}: host {host}: {}",
                    loaded.spec.hosts[host].origin,
                    crate::pump::with_causes(&error)
                ));
            }
        }
        if !wrong.is_empty() {
            return Err(ConfigError::Named(wrong));
        }
        let warnings = loaded.warnings.iter().map(line).collect();
        Ok(Config {
            spec: Arc::new(loaded.spec),
            controller: loaded.controller,
            notify: loaded.notify,
            links,
            warnings,
        })
    }
}

fn line(problem: &Problem) -> String {
    let help = if problem.help.is_empty() { String::new() } else { format!(" ({})", problem.help) };
    format!("{}:{}:{}: {}{help}", problem.file(), problem.line, problem.column, problem.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_path_that_cannot_be_meant_does_not_fill_the_memory() {
        let error = Config::read(Path::new("/dev/zero")).await.unwrap_err();
        assert_eq!(
            error.lines(),
            [
                "the configuration /dev/zero can't be read; `mainstay config example` prints one to begin with: it is longer \
              than 16 MiB; is it the right file?"
            ]
        );
    }
}
