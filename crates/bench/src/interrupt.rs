//! Ends the show when a person (Ctrl-C) or the system asks, so that what was built can be taken down.

use crate::error::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` until it is done, or until SIGINT or SIGTERM comes: then it is dropped where it stands.
///
/// # Errors
/// Those of `work`, and [`Error::Interrupted`].
pub async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let listen = |kind| signal(kind).map_err(|source| Error::Run { what: "listening for signals".into(), source });
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err(Error::Interrupted),
        _ = terminate.recv() => Err(Error::Interrupted),
    }
}
