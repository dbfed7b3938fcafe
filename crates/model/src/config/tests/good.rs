//! What right configurations mean.

use super::super::{DriverConfig, FileUse, example};
use super::loaded;
use crate::spec::{AfterFence, Cause, HostRule, LadderStep, Managed, Rung, Selector, Strength};
use crate::{Code, Resources, Severity, Span};

#[test]
fn hosts_get_their_addresses_uris_and_fences() {
    let loaded = loaded(example());
    let (h1, h2, h3) = (&loaded.spec.hosts["h1"], &loaded.spec.hosts["h2"], &loaded.spec.hosts["h3"]);
    assert_eq!(h1.uri, "qemu+tcp://10.77.0.11/system");
    assert_eq!(h1.fence, [vec!["bmc-1".into()], vec!["pdu-a".into(), "pdu-b".into()]]);
    assert_eq!(h2.uri, "qemu+ssh://root@h2.example.org/system");
    assert_eq!(h2.reserve, Resources::of(2048, 1));
    assert_eq!(h3.capacity, Some(Resources::of(65_536, 16)));
    assert_eq!((h3.revive.within, h3.revive.after_fence), (Span::secs(90), AfterFence::LeaveOff));
    assert_eq!(h3.cpu_overcommit_percent, 400);
    assert_eq!(loaded.spec.fence_devices["pdu-a"].plug["h1"], "1");
    assert_eq!(loaded.spec.fence_devices["bmc-1"].options["lanplus"].expose(), "true");
    let DriverConfig::Libvirt(libvirt) = &loaded.drivers["paris"];
    assert_eq!(libvirt.username.as_deref(), Some("mainstay"));
}

#[test]
fn a_host_without_address_is_found_by_its_name() {
    let loaded = loaded("[site.a.libvirt]\n[site.a.host.h1]\n[site.a.host.h2]\naddress = ''\nuri = 'qemu:///system'");
    assert_eq!(loaded.spec.hosts["h1"].address, "h1");
    assert_eq!(loaded.spec.hosts["h1"].uri, "qemu+tls://h1/system");
    assert_eq!(loaded.spec.hosts["h2"].address, "");
}

#[test]
fn rules_know_where_they_stand() {
    let loaded = loaded(example());
    let line = 1 + example().lines().position(|line| line == "[[vm]]").unwrap() as u32;
    let origin = &loaded.spec.workloads[0].origin;
    assert_eq!(origin.to_string(), format!("mainstay.toml:{line} `[[vm]] match = \"db-*\"`"));
    assert_eq!(loaded.spec.recovery[0].origin.key, "[[recovery]] tags = [\"database\"]");
    let host = &loaded.spec.hosts["h1"].origin;
    assert_eq!(host.key, "site.paris.host.h1");
    assert_eq!(example().lines().nth(host.line as usize - 1), Some("[site.paris.host.h1]"));
}

#[test]
fn policies_are_read_as_written() {
    let loaded = loaded(example());
    let rules = &loaded.spec.workloads;
    let db = &rules[0].policy;
    let preferred = |host: &str, score| HostRule {
        hosts: vec![host.into()],
        host_tags: vec![],
        strength: Strength::Preferred(score),
    };
    let ssd = HostRule { hosts: vec![], host_tags: vec!["ssd".into()], strength: Strength::Required };
    assert_eq!(db.hosts, [ssd, preferred("h2", 100)]);
    assert_eq!((db.priority, &db.probes.tcp[..]), (100, &[5432][..]));
    assert_eq!(rules[1].selector, Selector { names: vec!["web-*".into(), "shop".into()], tags: vec![] });
    assert_eq!(rules[1].policy.hosts, [preferred("h3", -100)]);
    assert_eq!((rules[2].policy.managed, rules[2].policy.memory_mib), (Managed::WatchOnly, Some(2048)));

    let recovery = &loaded.spec.recovery[0].policy;
    let step = |rung, attempts| LadderStep { rung, attempts };
    assert_eq!(recovery.ladder, [step(Rung::Restart, 2), step(Rung::Relocate, 2), step(Rung::Alarm, 1)]);
    assert_eq!(recovery.by_cause[&Cause::Hung], [step(Rung::Alarm, 1)]);
    assert_eq!(loaded.spec.protection[0].policy.keep.hourly, 24);
    assert_eq!(loaded.spec.together[0].policy.strength, Strength::Preferred(50));
    assert_eq!(loaded.spec.apart[0].policy.strength, Strength::Required);
    assert_eq!(loaded.spec.order[0].policy.after, Selector::name("db-*"));
    let window = &loaded.spec.maintenance_windows[0];
    assert_eq!((&window.days, window.from_minute, window.lasts), (&[6].into(), 120, Span::hours(2)));
}

#[test]
fn alarms_are_muted_weighed_and_told_as_written() {
    let loaded = loaded(example());
    let alarms = &loaded.spec.alarms;
    assert_eq!(alarms.severity(Code::STOPPED_BY_PERSON, Severity::Yellow), None);
    assert_eq!(alarms.severity(Code::POINT_OVERDUE, Severity::Yellow), Some(Severity::Red));
    assert_eq!(alarms.severity(Code::HOST_LOST, Severity::Red), Some(Severity::Red));
    let notify = loaded.notify;
    assert_eq!(notify.program, ["/usr/local/bin/tell", "on-call"]);
    assert_eq!((notify.from, notify.remind_every, notify.timeout), (Severity::Red, Span::hours(1), Span::secs(30)));
}

#[test]
fn files_that_cannot_be_read_are_told_with_their_place() {
    let loaded = loaded(example());
    assert_eq!(loaded.files.len(), 10);
    let token = loaded.files.iter().find(|file| file.holds == FileUse::Token).unwrap();
    let problem = token.unreadable("permission denied");
    assert_eq!(problem.to_string(), "`/etc/mainstay/api.token` cannot be read: permission denied");
    let problems = [problem];
    let line = example().lines().nth(problems[0].line - 1).unwrap();
    assert!(line.starts_with("api_token_file"), "{line}");
}

#[test]
fn a_file_with_windows_line_ends_means_the_same() {
    let plain = loaded(example()).spec;
    assert_eq!(loaded(&example().replace('\n', "\r\n")).spec, plain);
}
