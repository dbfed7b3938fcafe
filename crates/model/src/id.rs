//! Names of things. Each kind of thing has its own type, so that a host is never taken for a workload.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
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

/// Texts of fewer bytes than this, as those of nearly all names are, lie in the value itself; longer ones are shared.
const SHORT: usize = 16;

/// A text that is compared and copied far more often than it is read. Most comparisons end with its first bytes, and a copy of a
/// short one touches no memory but its own: to count who shares it took a tenth of a simulation at rest.
#[derive(Clone)]
struct Name {
    /// The first bytes as a number that orders as they do; zeroes where there are none.
    head: u64,
    text: Text,
}

#[derive(Clone)]
enum Text {
    Short(Short),
    Long(Arc<str>),
}

/// A short text, zeroes behind it, and its length as the last byte: so these bytes order as the text does. Aligned, so that it is
/// copied in whole words.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Short([u8; SHORT]);

impl Short {
    /// The bytes after the head, likewise as a number.
    #[inline]
    fn tail(self) -> u64 {
        u128::from_be_bytes(self.0) as u64
    }
}

impl Name {
    fn text(&self) -> &str {
        match &self.text {
            Text::Short(Short(bytes)) => {
                let [.., length] = *bytes;
                str::from_utf8(&bytes[..usize::from(length)]).expect("it was made of a text")
            }
            Text::Long(text) => text,
        }
    }

    #[cold]
    fn cmp_texts(&self, other: &Self) -> Ordering {
        match (&self.text, &other.text) {
            (Text::Long(text), Text::Long(other)) if Arc::ptr_eq(text, other) => Ordering::Equal,
            _ => self.text().cmp(other.text()),
        }
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        let length = text.len().min(SHORT - 1);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        let head = (u128::from_be_bytes(bytes) >> u64::BITS) as u64;
        if length < text.len() {
            return Name { head, text: Text::Long(text.into()) };
        }
        bytes[SHORT - 1] = length as u8;
        Name { head, text: Text::Short(Short(bytes)) }
    }
}

impl Ord for Name {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match self.head.cmp(&other.head) {
            Ordering::Equal => match (&self.text, &other.text) {
                (Text::Short(one), Text::Short(other)) => one.tail().cmp(&other.tail()),
                _ => self.cmp_texts(other),
            },
            order => order,
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
        self.text().hash(state);
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// Without a text of its own in between.
impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(with = "str")] Name);

        impl $name {
            /// Wraps a name; any text is accepted, checks belong to the configuration.
            pub fn new(name: impl AsRef<str>) -> Self {
                Self(name.as_ref().into())
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.text()
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
        let texts = [
            "",
            "\0",
            "a",
            "a\0",
            "a\0b",
            "ab",
            "host-001",
            "host-0010",
            "host-0011",
            "host-002",
            "host-of-fifteen",
            "host-of-fifteen\0",
            "host-of-sixteen-",
            "host-of-sixteen-bytes",
            "ü",
            "übergang-1",
        ];
        for (one, other) in texts.iter().flat_map(|one| texts.iter().map(move |other| (*one, *other))) {
            let names = [HostId::from(one), HostId::from(other)];
            assert_eq!(names[0].cmp(&names[1]), one.cmp(other), "{one:?} and {other:?}");
            assert_eq!(names[0] == names[1], one == other, "{one:?} and {other:?}");
            assert_eq!(names[0].as_str(), one);
        }
    }

    #[test]
    fn a_name_in_a_command_is_one_word() {
        assert_eq!(shell_word(&WorkloadId::from("web-1")).to_string(), "web-1");
        assert_eq!(shell_word(&WorkloadId::from("it's $(id)")).to_string(), r"'it'\''s $(id)'");
        assert_eq!(shell_word(&WorkloadId::from("")).to_string(), "''");
    }
}
