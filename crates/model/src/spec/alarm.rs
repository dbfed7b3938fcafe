//! Alarms that a site wants otherwise: not at all, or with another severity.

use crate::{Code, Severity};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Which alarms are raised, and how bad they are. What is done about their reasons does not change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmPolicy {
    /// Never raised.
    pub mute: BTreeSet<Code>,
    /// Raised with this severity instead of their own.
    pub severity: BTreeMap<Code, Severity>,
}

impl AlarmPolicy {
    /// The severity with which an alarm of `own` severity is raised; `None`: it is not raised.
    pub fn severity(&self, code: Code, own: Severity) -> Option<Severity> {
        (!self.mute.contains(&code)).then(|| self.severity.get(&code).copied().unwrap_or(own))
    }
}
