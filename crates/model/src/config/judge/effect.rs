//! Warnings: what is written and has no effect, and what is left without protection.

use super::overlap::{covered, whom};
use crate::DeviceId;
use crate::config::names::meant;
use crate::config::problem::{NO_EFFECT, Report, UNPROTECTED};
use crate::spec::{Cause, ClusterSpec, LadderStep, Managed, Rule, Rung, Strength};
use std::collections::BTreeSet;

/// Rules that never match, since earlier ones match first.
pub fn unreachable_rules(spec: &ClusterSpec, report: &mut Report) {
    unreachable(&spec.workloads, report);
    unreachable(&spec.recovery, report);
    unreachable(&spec.protection, report);
}

fn unreachable<T>(rules: &[Rule<T>], report: &mut Report) {
    for (index, rule) in rules.iter().enumerate() {
        let earlier = &rules[..index];
        if covered(&rule.selector, earlier.iter().map(|rule| &rule.selector)) {
            let message = format!("this rule never matches: earlier ones match {} first", whom(&rule.selector));
            let widest = earlier.iter().find(|e| covered(&rule.selector, std::iter::once(&e.selector)));
            let also = widest.map(|earlier| report.span_of(&earlier.origin));
            let problem = report.warning(NO_EFFECT, &report.span_of(&rule.origin), message);
            problem.help("the first match counts: put special rules before general ones");
            if let Some(also) = also {
                problem.also(&also, "matches first");
            }
        }
    }
}

/// Rungs after `alarm`, and `resume` where nothing is paused.
pub fn unreachable_rungs(spec: &ClusterSpec, report: &mut Report) {
    for rule in &spec.recovery {
        let own = std::iter::once((None, &rule.policy.ladder));
        let ladders = own.chain(rule.policy.by_cause.iter().map(|(cause, ladder)| (Some(*cause), ladder)));
        for (cause, ladder) in ladders {
            let is_alarm = |step: &LadderStep| step.rung == Rung::Alarm;
            let after_alarm = ladder.iter().skip_while(|step| !is_alarm(step)).find(|step| !is_alarm(step));
            if let Some(step) = after_alarm {
                let message = format!("`{}` stands after `alarm` in a ladder, and is never tried", step.rung);
                report
                    .warning(NO_EFFECT, &report.span_of(&rule.origin), message)
                    .help("`alarm` leaves the VM to a person; put it last");
            }
            if cause != Some(Cause::IoError) && ladder.iter().any(|step| step.rung == Rung::Resume) {
                report
                    .warning(
                        NO_EFFECT,
                        &report.span_of(&rule.origin),
                        "`resume` helps only a VM paused on an I/O error",
                    )
                    .help("put it into the ladder for that: on = { io-error = [\"resume x5\", …] }");
            }
        }
    }
}

/// Rules that require spares: they are then used like any other host.
pub fn spares_only(spec: &ClusterSpec, report: &mut Report) {
    for rule in &spec.workloads {
        for hosts in rule.policy.hosts.iter().filter(|hosts| hosts.strength == Strength::Required) {
            let allowed = meant(&hosts.hosts, &hosts.host_tags, spec);
            if !allowed.is_empty() && allowed.iter().all(|host| spec.hosts[host].spare) {
                let message = format!("{} may run only on spare hosts", whom(&rule.selector));
                report
                    .warning(NO_EFFECT, &report.span_of(&rule.origin), message)
                    .help("spares are for when others fail; allow another host, or make one of these no spare");
            }
        }
    }
}

/// Fence devices that no host names.
pub fn unused_devices(spec: &ClusterSpec, report: &mut Report) {
    let used: BTreeSet<&DeviceId> = spec.hosts.values().flat_map(|host| host.fence.iter().flatten()).collect();
    for (name, device) in spec.fence_devices.iter().filter(|(name, _)| !used.contains(name)) {
        report
            .warning(NO_EFFECT, &report.span_of(&device.origin), format!("no host is fenced by `{name}`"))
            .help(format!("give hosts fence = \"{name}\", or take the device out"));
    }
}

/// Hosts without fence devices, nothing managed, nothing protected.
pub fn unprotected(spec: &ClusterSpec, report: &mut Report) {
    for (name, host) in spec.hosts.iter().filter(|(_, host)| host.fence.is_empty()) {
        report
            .warning(UNPROTECTED, &report.span_of(&host.origin), format!("host `{name}` has no fence device"))
            .help("if it is lost, its VMs wait until a person confirms that it is off; give it fence = \"…\"");
    }
    let whole_file = 0..0;
    if !spec.workloads.iter().any(|rule| rule.policy.managed == Managed::Yes) {
        report
            .warning(UNPROTECTED, &whole_file, "no VM is managed: none will be brought back")
            .help("add a table [[vm]] with match = \"*\"");
    }
    if spec.protection.is_empty() {
        report
            .warning(UNPROTECTED, &whole_file, "no VM is protected: none will have recovery points")
            .help("add a table [[protection]] with match = \"*\"");
    }
}
