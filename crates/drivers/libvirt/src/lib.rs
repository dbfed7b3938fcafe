//! Driver for libvirt: an own asynchronous client of its RPC protocol. No libvirt library is linked or needed.
//!
//! Owns the wire (XDR, frames, transports, authentication, keepalive, events) and the verbs on domains and hosts. Does
//! not decide anything, retries nothing, reconnects nothing: the caller does, who knows why.
//!
//! ```no_run
//! # async fn example() -> mainstay_libvirt::Result<()> {
//! use mainstay_libvirt::{Connection, EventKind, Options};
//! use std::time::Duration;
//!
//! let connection = Connection::open(&"qemu+tcp://h1/system".parse()?, &Options::default()).await?;
//! let mut events = connection.subscribe(&EventKind::ALL, Duration::from_secs(2)).await?;
//! let domains = connection.inventory(Duration::from_secs(2)).await?;
//! while let Some(event) = events.next().await { /* … */ }
//! # Ok(()) }
//! ```

pub mod auth;
pub mod connection;
pub mod definition;
pub mod domain;
mod error;
mod error_code;
pub mod events;
pub mod frame;
pub mod host;
pub mod lifecycle;
mod numbers;
pub mod procedures;
mod pump;
pub mod ready;
mod resolve;
pub mod storage;
mod transport;
pub mod typed_params;
pub mod types;
pub mod uri;
pub mod xdr;
pub mod xml;

pub use auth::Credentials;
pub use connection::{Connection, Keepalive, Options};
pub use error::{CloseReason, Error, ErrorCode, Result, is_shortage};
pub use events::{DomainEvent, Event, EventKind, Events};
pub use lifecycle::{Lifecycle, StopCause};
pub use resolve::resolve;
pub use types::{DomainRef, SnapshotRef, Uuid};
pub use uri::Uri;
