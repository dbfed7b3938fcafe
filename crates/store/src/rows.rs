//! The rows of the engine's memory, and the batch in which they change.

use crate::Event;

/// A change of memory that takes place as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The time of the step that made it, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Rows that changed, in order.
    pub changes: Vec<Change>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A row's new body, or none if it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which table.
    pub kind: Kind,
    /// Which row.
    pub key: String,
    /// JSON.
    pub body: Option<String>,
}

/// A row as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which table.
    pub kind: Kind,
    /// Which row.
    pub key: String,
    /// JSON.
    pub body: String,
}

/// Declares the kinds, each with its table and the statements on it as constants, which SQLite prepares once.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident in $table:literal,)*) => {
        /// What a row is about; each kind has its table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All kinds, in the order in which they are loaded.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// True if bodies of this kind are long and packed.
            pub(crate) fn is_packed(self) -> bool {
                self == Kind::Definition
            }

            pub(crate) fn upsert(self) -> &'static str {
                match self {
                    $(Kind::$kind => concat!(
                        "INSERT INTO ", $table, " (key, body, updated_ms) VALUES (?, ?, ?) ",
                        "ON CONFLICT (key) DO UPDATE SET body = excluded.body, updated_ms = excluded.updated_ms"
                    ),)*
                }
            }

            pub(crate) fn delete(self) -> &'static str {
                match self {
                    $(Kind::$kind => concat!("DELETE FROM ", $table, " WHERE key = ?"),)*
                }
            }

            pub(crate) fn select_one(self) -> &'static str {
                match self {
                    $(Kind::$kind => concat!("SELECT CAST(body AS BLOB) FROM ", $table, " WHERE key = ?"),)*
                }
            }

            pub(crate) fn select_page(self) -> &'static str {
                match self {
                    $(Kind::$kind => concat!("SELECT key, CAST(body AS BLOB) FROM ", $table, " WHERE key > ? ORDER BY key LIMIT ?"),)*
                }
            }

            pub(crate) fn select(self) -> &'static str {
                match self {
                    $(Kind::$kind => concat!("SELECT key, CAST(body AS BLOB) FROM ", $table, " ORDER BY key"),)*
                }
            }
        }
    };
}

kinds! {
    /// Counters and the epoch.
    Meta in "meta",
    /// Hosts.
    Host in "hosts",
    /// Workloads.
    Workload in "workloads",
    /// Definitions of workloads, to define them elsewhere.
    Definition in "definitions",
    /// Recovery points.
    Point in "points",
    /// The journal: orders and their outcomes.
    Order in "orders",
    /// Alarms.
    Alarm in "alarms",
    /// Incidents.
    Incident in "incidents",
    /// What the process keeps for itself, such as how its clock stood.
    Process in "config",
}
