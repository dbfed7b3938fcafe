//! Reads `[alarms]`.

use super::format::alarm_code;
use super::problem::{NO_EFFECT, Report};
use super::table::{Entry, Table};
use crate::spec::{AlarmPolicy, ClusterSpec};
use crate::{Code, Severity, Span};
use serde::Serialize;
use serde::de::{Deserialize, IntoDeserializer, value::Error};

/// The program that the controller runs to tell people of alarms: nothing of this concerns the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotifyConfig {
    /// Program and arguments; empty: nobody is told.
    pub program: Vec<String>,
    /// Alarms below this severity are not told.
    pub from: Severity,
    /// A red alarm that nobody acknowledged is told again so often; zero: never.
    pub remind_every: Span,
    /// The program is killed after this long.
    pub timeout: Span,
}

/// Puts the policy into the spec; returns the rest.
pub fn read(document: &Table, spec: &mut ClusterSpec, report: &mut Report) -> NotifyConfig {
    let table = document.table("alarms").expect("`alarms` has a default");
    let mute = table.texts::<Vec<_>>("mute").iter().filter_map(|code| alarm_code(code).ok()).collect();
    let severity = table.named("severity").iter().filter_map(severity).collect();
    spec.alarms = AlarmPolicy { mute, severity };
    for entry in table.named("severity") {
        if alarm_code(&entry.name).is_ok_and(|code| spec.alarms.mute.contains(&code)) {
            let message = format!("`{}` is given a severity, and is muted", entry.name);
            report.warning(NO_EFFECT, &entry.at, message).also(&table.at("mute"), "never raised");
        }
    }
    NotifyConfig {
        program: table.texts("notify"),
        from: table.choice("notify_from"),
        remind_every: table.span("remind_every"),
        timeout: table.span("timeout"),
    }
}

fn severity(entry: &Entry) -> Option<(Code, Severity)> {
    let severity: Result<_, Error> = Severity::deserialize(entry.node.text()?.into_deserializer());
    Some((alarm_code(&entry.name).ok()?, severity.ok()?))
}
