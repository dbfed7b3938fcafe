//! Names of things. Each kind of thing has its own type, so that a host is never taken for a workload.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::{borrow::Borrow, cmp::Ordering, fmt, hash::Hash, hash::Hasher, sync::Arc};

/// A name as one word of a command that a person copies into a shell: a VM's name may hold anything, a blank, a quote or
/// `$(…)`, and must not be taken for more than a name. It costs nothing until it is written.
pub fn shell_word<T: fmt::Display + ?Sized>(name: &T) -> ShellWord<'_, T> {
    ShellWord(name)
}

/// See [`shell_word`].
#[derive(Clone, Copy, Debug)]
pub struct ShellWord<'a, T: ?Sized>(&'a T);

impl<T: fmt::Display + ?Sized> fmt::Display for ShellWord<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.to_string();
        let plain = |c: char| c.is_alphanumeric() || "-_.:@%+=,/".contains(c);
        match !name.is_empty() && name.chars().all(plain) {
            true => f.pad(&name),
            false => write!(f, "'{}'", name.replace('\'', r"'\''")),
        }
    }
}

/// So many bytes of a name lie beside the pointer to it.
const HEAD: usize = size_of::<u64>();

/// A shared text that is compared far more often than it is read: most comparisons end with its first bytes.
#[derive(Clone, Deserialize)]
#[serde(from = "Arc<str>")]
struct Name {
    /// The first bytes as a number that orders as they do; zeroes where there are none.
    head: u64,
    text: Arc<str>,
}

impl From<Arc<str>> for Name {
    fn from(text: Arc<str>) -> Self {
        let mut head = [0; HEAD];
        let length = text.len().min(HEAD);
        head[..length].copy_from_slice(&text.as_bytes()[..length]);
        Self { head: u64::from_be_bytes(head), text }
    }
}

impl Ord for Name {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match self.head.cmp(&other.head) {
            Ordering::Equal => self.cmp_rest(other),
            order => order,
        }
    }
}

impl Name {
    /// As names of one head compare.
    #[inline]
    fn cmp_rest(&self, other: &Self) -> Ordering {
        let (length, others) = (self.text.len(), other.text.len());
        match length.max(others) {
            0..=HEAD => length.cmp(&others),
            _ if Arc::ptr_eq(&self.text, &other.text) => Ordering::Equal,
            _ => self.text.cmp(&other.text),
        }
    }
}

impl PartialOrd for Name {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Name {}

/// As its text, so that it can be looked up by text.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(with = "Arc<str>")] Name);

        impl $name {
            /// Wraps a name; any text is accepted, checks belong to the configuration.
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(Arc::<str>::from(name.as_ref()).into())
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0.text
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
                self.as_str()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
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
    fn names_are_ordered_as_their_texts() {
        let texts =
            ["", "\0", "a", "a\0", "a\0b", "ab", "host-001", "host-0010", "host-0011", "host-002", "ü", "übergang-1"];
        for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (*one, *other))) {
            let names = [HostId::from(one), HostId::from(other)];
            assert_eq!(names[0].cmp(&names[1]), one.cmp(other), "{one:?} and {other:?}");
            assert_eq!(names[0] == names[1], one == other, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn a_name_in_a_command_is_one_word() {
        assert_eq!(shell_word(&WorkloadId::from("web-1")).to_string(), "web-1");
        assert_eq!(shell_word(&WorkloadId::from("it's $(id)")).to_string(), r"'it'\''s $(id)'");
        assert_eq!(shell_word(&WorkloadId::from("")).to_string(), "''");
    }
}
