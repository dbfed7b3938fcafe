//! Names of things. Each kind of thing has its own type, so that a host is never taken for a workload.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, sync::Arc};

/// A name as one word of a command that a person copies into a shell: a VM's name may hold anything, a blank, a quote or
/// `$(…)`, and must not be taken for more than a name.
pub fn shell_word(name: &impl fmt::Display) -> String {
    let name = name.to_string();
    let plain = |c: char| c.is_alphanumeric() || "-_.:@%+=,/".contains(c);
    match !name.is_empty() && name.chars().all(plain) {
        true => name,
        false => format!("'{}'", name.replace('\'', r"'\''")),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name; any text is accepted, checks belong to the configuration.
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(Arc::from(name.as_ref()))
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }
        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self::new(name)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name_type!(
    /// A set of hosts under one management, or a cloud.
    SiteId
);
name_type!(
    /// A hypervisor node, unique over all sites.
    HostId
);
name_type!(
    /// Something kept available: a VM today. Its name as the hypervisor knows it.
    WorkloadId
);
name_type!(
    /// A recovery point. Unique per workload; also the snapshot's name on the hypervisor.
    PointId
);
name_type!(
    /// A fence device as named in the configuration.
    DeviceId
);

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number_type!(
    /// One action, for ever: the idempotency key under which executors remember what they did.
    ActionId, "a"
);
number_type!(
    /// One incident: from the first sign of trouble until all is well or a person took over.
    IncidentId, "i"
);
number_type!(
    /// Number of the leader's term. Whoever receives an action of an older epoch refuses it.
    Epoch, "e"
);
number_type!(
    /// One request of an operator, so that its reply finds its way back.
    CommandId, "c"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_command_is_one_word() {
        assert_eq!(shell_word(&WorkloadId::from("web-1")), "web-1");
        assert_eq!(shell_word(&WorkloadId::from("it's $(id)")), r"'it'\''s $(id)'");
        assert_eq!(shell_word(&WorkloadId::from("")), "''");
    }
}
