//! The controller, in the foreground.

use super::{Context, config};
use crate::failure::{Exit, Failure};
use clap::Args;
use mainstay_daemon::{Handle, Options};
use mainstay_model::config::ControllerConfig;
use mainstay_web::{Listeners, Tls, TlsError, Token, router};
use std::{fs, io::IsTerminal, path::PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Run the controller here, in the foreground
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no server: what it remembers is in its state directory. Ctrl-C or SIGTERM stops it (guests go on), SIGHUP makes it
read its configuration again. Exit code 5: another controller has taken over (mainstay explain MS1004); not to be restarted.
Exit code 6: the database was deleted or replaced (mainstay explain MS1006).

Examples:
  mainstay up
  mainstay up --config ./mainstay.toml --state-dir ./state --socket ./api.sock
  mainstay up --json-log | jq .fields.message")]
pub struct Up {
    #[command(flatten)]
    file: config::File,
    /// Where everything is kept, instead of where the configuration says
    #[arg(long, value_name = "PATH")]
    state_dir: Option<PathBuf>,
    /// Log as JSON, a line each, to stdout
    #[arg(long)]
    json_log: bool,
    /// What is logged, such as `info` or `mainstay_engine=debug`, instead of what the configuration says
    #[arg(long, env = "MAINSTAY_LOG", value_name = "FILTER")]
    log: Option<String>,
}

pub(super) async fn run(context: &Context<'_>, arguments: Up) -> Result<Exit, Failure> {
    // Read here too, since log and socket are needed before the controller starts; it says all that is wrong.
    let loaded = config::read_to_run(context, &arguments.file.config).await?;
    start_log(&arguments, &loaded.controller)?;
    let listeners = listen(context.socket.clone(), &loaded.controller).await?;
    let options = Options { config: arguments.file.config, state_dir: arguments.state_dir, die_at: None };
    let running =
        mainstay_daemon::start(options).await.map_err(|error| Failure::other("the controller did not start", error))?;
    for warning in &running.warnings {
        tracing::warn!("{warning}");
    }
    let router = router(running.handle.clone(), machine());
    let handle = running.handle.clone();
    let until_either = async {
        tokio::select! {
            () = until_stopped(handle.clone()) => {}
            () = handle.ended() => {}
        }
    };
    listeners.serve(router, until_either).await;
    handle.shutdown().await;
    running.stopped().await?;
    Ok(Exit::Done)
}

fn start_log(arguments: &Up, config: &ControllerConfig) -> Result<(), Failure> {
    let filter = arguments.log.as_ref().unwrap_or(&config.log);
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::other(format!("`{filter}` is no log filter; write for example `info`"), error))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    match arguments.json_log {
        true => log.json().with_writer(std::io::stdout).init(),
        false => log
            .with_ansi(std::io::stderr().is_terminal() && crate::output::wants_color())
            .with_writer(std::io::stderr)
            .init(),
    }
    Ok(())
}

/// Opens the doors first: if another controller has them, nothing else must be touched.
async fn listen(asked: Option<PathBuf>, config: &ControllerConfig) -> Result<Listeners, Failure> {
    let path = asked.unwrap_or_else(|| PathBuf::from(&config.api_socket));
    let failed = |error| Failure::other("the API can't be served", error);
    let listeners = Listeners::unix(&path).map_err(failed)?;
    tracing::info!(socket = %path.display(), "the API is here");
    let Some(address) = &config.api_listen else { return Ok(listeners) };
    let mut tokens = Vec::new();
    for (name, token) in &config.api_tokens {
        let unreadable =
            |source| Failure::File { what: "can't read the token in", path: PathBuf::from(&token.file), source };
        let text = fs::read_to_string(&token.file).map_err(unreadable)?;
        tokens.push(Token::new(name, token.role, &text).map_err(failed)?);
    }
    let tls = tls(config).transpose().map_err(|error| Failure::other("the API can't be served", error))?;
    let address =
        address.parse().map_err(|error| Failure::other(format!("`api_listen` is no address: {address}"), error))?;
    let encrypted = tls.is_some();
    let listeners = listeners.and_tcp(address, tokens, tls).await.map_err(failed)?;
    tracing::info!(%address, encrypted, "and here, for clients with a token");
    Ok(listeners)
}

/// The certificate and key of the API, if it has them.
pub(super) fn tls(config: &ControllerConfig) -> Option<Result<Tls, TlsError>> {
    let (certificate, key) = (config.api_certificate_file.as_ref()?, config.api_key_file.as_ref()?);
    Some(Tls::server(certificate.as_ref(), key.as_ref()))
}

/// Ends at the first signal to stop; reloads meanwhile.
async fn until_stopped(handle: Handle) {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
        tracing::error!("signals can't be received; stop this process by SIGKILL");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => return,
            _ = terminate.recv() => return,
            // Both outcomes are events of the controller, so the log has them already.
            _ = hangup.recv() => drop(handle.reload().await),
        }
    }
}

fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this machine".to_owned() } else { name.trim().to_owned() }
}
