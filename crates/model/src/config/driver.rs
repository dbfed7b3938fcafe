//! How the hosts of a site are reached: one kind per driver, as each site names one in a table of its own.

use super::table::Table;
use crate::Span;
use serde::Serialize;

/// A site's driver and its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverConfig {
    /// The hosts run libvirt.
    Libvirt(LibvirtConfig),
}

/// How the libvirt daemons of a site are reached. URIs are in the hosts' specs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LibvirtConfig {
    /// User for SASL.
    pub username: Option<String>,
    /// File with that user's password.
    pub password_file: Option<String>,
    /// Bound for connecting.
    pub connect_timeout: Span,
    /// Bound for a call that answers at once.
    pub call_timeout: Span,
    /// How often hosts are asked which guests they could start; `None`: never.
    pub ready_every: Option<Span>,
    /// Guests move live by TLS only.
    pub migrate_tls: bool,
    /// How often an idle connection is asked whether it still lives.
    pub keepalive_every: Span,
    /// So many unanswered in a row close it.
    pub keepalive_missed: u32,
}

impl LibvirtConfig {
    pub(super) fn read(table: &Table) -> LibvirtConfig {
        LibvirtConfig {
            username: table.optional_text("username"),
            password_file: table.optional_text("password_file"),
            connect_timeout: table.span("connect_timeout"),
            call_timeout: table.span("call_timeout"),
            ready_every: Some(table.span("ready_every")).filter(|every| *every > Span::ZERO),
            migrate_tls: table.flag("migrate_tls"),
            keepalive_every: table.span("keepalive_every"),
            keepalive_missed: table.whole("keepalive_missed"),
        }
    }
}
