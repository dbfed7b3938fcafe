//! Profiles: how large the drawn clusters are, which kinds of fault seeds draw, and how many.

use super::faults::Kind;
use serde::{Serialize, Serializer};
use std::fmt;

/// What seeds are drawn from. The same seed under another profile is another run.
#[derive(Debug)]
pub struct Profile {
    name: &'static str,
    /// What it is for, in one sentence.
    pub about: &'static str,
    /// From so many to so many.
    pub(super) hosts: (u64, u64),
    pub(super) guests: (u64, u64),
    pub(super) faults: (u64, u64),
    /// So many of a thousand kinds of fault are allowed in a seed.
    density: (u64, u64),
    /// Kinds that this profile is about: allowed in most seeds, others in few.
    theme: &'static [Kind],
}

const DEFAULT: Profile = Profile {
    name: "default",
    about: "everything, in every mixture",
    hosts: (2, 5),
    guests: (1, 10),
    faults: (2, 25),
    density: (100, 600),
    theme: &[],
};

impl Profile {
    /// Every profile, the default one first.
    pub const ALL: &'static [Profile] = &[
        DEFAULT,
        Profile { name: "calm", about: "one to three faults, far apart", faults: (1, 3), ..DEFAULT },
        Profile {
            name: "storm",
            about: "faults of most kinds on top of each other",
            faults: (25, 80),
            density: (600, 950),
            ..DEFAULT
        },
        Profile {
            name: "controller",
            about: "a controller that dies, sleeps and meets others of its kind",
            theme: Kind::OF_CONTROLLER,
            ..DEFAULT
        },
        Profile { name: "storage", about: "disks and datastores that fail", theme: Kind::OF_STORAGE, ..DEFAULT },
        Profile {
            name: "network",
            about: "partitions, lost calls, late and doubled facts",
            theme: Kind::OF_NETWORK,
            ..DEFAULT
        },
        Profile {
            name: "people",
            about: "owners, operators and other tools at work",
            theme: Kind::OF_PEOPLE,
            ..DEFAULT
        },
        Profile { name: "small", about: "two hosts and one to three guests", hosts: (2, 2), guests: (1, 3), ..DEFAULT },
        Profile {
            name: "large",
            about: "eight to sixteen hosts and up to sixty guests",
            hosts: (8, 16),
            guests: (20, 60),
            faults: (10, 60),
            ..DEFAULT
        },
    ];

    /// The one of that name.
    pub fn named(name: &str) -> Option<&'static Profile> {
        Profile::ALL.iter().find(|profile| profile.name == name)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// In how many of a thousand seeds this kind is allowed, where others are allowed in `density`.
    pub(super) fn chance(&self, kind: Kind, density: u64) -> u64 {
        match self.theme {
            [] => density,
            theme if theme.contains(&kind) => 800,
            _ => density / 4,
        }
    }

    /// Of how many of a thousand kinds a seed allows.
    pub(super) fn density(&self) -> (u64, u64) {
        self.density
    }
}

impl Default for &'static Profile {
    fn default() -> Self {
        &Profile::ALL[0]
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}
