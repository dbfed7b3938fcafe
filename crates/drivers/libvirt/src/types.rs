//! The nouns on the wire: domains, snapshots, storage pools and volumes, as libvirt refers to them.

use std::{fmt, str::FromStr};

use crate::xdr::{Decode, Decoder, Encode, XdrError, wire_struct};

/// A domain's or pool's UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

impl Encode for Uuid {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), XdrError> {
        self.0.encode(out)
    }
}

impl Decode for Uuid {
    fn decode(input: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Decode::decode(input).map(Self)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(formatter, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A text is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no UUID (32 hexadecimal digits, dashes allowed)")]
pub struct NoUuid(String);

impl FromStr for Uuid {
    type Err = NoUuid;

    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let refuse = || NoUuid(text.to_owned());
        let digits = text.chars().filter(|char| *char != '-').map(|char| char.to_digit(16));
        let digits = digits.collect::<Option<Vec<_>>>().ok_or_else(refuse)?;
        if digits.len() != 32 {
            return Err(refuse());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(Self(bytes))
    }
}

wire_struct! {
    /// A domain as calls refer to it. libvirt finds it by `uuid`; `name` and `id` go along for the log.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    pub struct DomainRef {
        /// The name when it was looked up; a rename makes it stale, which does no harm.
        pub name: String,
        /// The identity.
        pub uuid: Uuid,
        /// libvirt's number of the running instance; -1 when it is off.
        pub id: i32,
    }
}

impl DomainRef {
    /// True if the domain ran when it was looked up.
    pub fn is_active(&self) -> bool {
        self.id >= 0
    }
}

impl fmt::Display for DomainRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

wire_struct! {
    /// A snapshot as calls refer to it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SnapshotRef {
        /// Its name, unique within its domain.
        pub name: String,
        /// The domain it belongs to.
        pub domain: DomainRef,
    }
}

wire_struct! {
    /// A storage pool as calls refer to it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct PoolRef {
        /// Its name.
        pub name: String,
        /// Its identity.
        pub uuid: Uuid,
    }
}

wire_struct! {
    /// A storage volume as calls refer to it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct VolumeRef {
        /// Name of its pool.
        pub pool: String,
        /// File name within the pool.
        pub name: String,
        /// libvirt's key: for files, the path.
        pub key: String,
    }
}

wire_struct! {
    /// An error as the server sends it.
    pub(crate) struct WireError {
        pub code: i32,
        pub domain: i32,
        pub message: Option<String>,
        pub level: i32,
    }
}
