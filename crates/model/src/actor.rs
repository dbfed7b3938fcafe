//! Who asked: the name under which a command is on record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longer names are cut.
const AT_MOST: usize = 64;

/// What a caller of the API may do. Each may do all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// See everything, change nothing.
    Read,
    /// Start, stop, move, protect and revert VMs; maintenance; acknowledge alarms.
    Operate,
    /// Also cut power, vouch that a host is off, reload the configuration, and make disasters happen.
    Administer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Administer => "administer",
        })
    }
}

/// A person or program that gave a command, as the API knows it: the user of the process at the socket's other end, or the
/// name of the token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Actor(String);

impl Actor {
    /// A name; what could not be printed in one word is replaced.
    pub fn new(name: &str) -> Actor {
        let plain = |c: char| if c.is_alphanumeric() || "-_.@ ".contains(c) { c } else { '?' };
        Actor(name.trim().chars().take(AT_MOST).map(plain).collect())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
