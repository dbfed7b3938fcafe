//! Belief as people and programs are shown it: the picture of the cluster, and the answer to "why".

use crate::{
    alarms::failures,
    belief::{HostPhase, HostRecord, HostSenses, Ready, Sight, Want, WorkloadRecord},
    engine::Engine,
    explain::{Doing, Why},
    health::VmHealth,
    place::{Verdict as Place, bound_words, survey},
    view::{ClusterView, HostView, PointSummary, WorkloadView},
};
use mainstay_model::{Alarm, DomainState, HostId, PointState, SiteId, Subject, Time, WorkloadId, spec::Origin};
use std::fmt::Write;

/// Of the contract in `view`.
const VERSION: u32 = 1;

pub(super) fn words(engine: &Engine) -> (Vec<&'static str>, Vec<&'static str>) {
    let host = |record: &HostRecord| engine.host_health(&record.host).word();
    let workload = |record: &WorkloadRecord| workload_health(engine, record).0.word();
    (engine.belief.hosts.values().map(host).collect(), engine.belief.workloads.values().map(workload).collect())
}

pub(super) fn cluster(engine: &Engine, now: Time, more: Vec<Alarm>) -> ClusterView {
    let belief = &engine.belief;
    let policy = &engine.spec.alarms;
    let weighed = |alarm: Alarm| Some(Alarm { severity: policy.severity(alarm.code, alarm.severity)?, ..alarm });
    let mut alarms: Vec<Alarm> = belief.alarms.values().cloned().chain(more.into_iter().filter_map(weighed)).collect();
    alarms.sort_by(|a, b| (b.severity, a.raised_at, &a.subject).cmp(&(a.severity, b.raised_at, &b.subject)));
    ClusterView {
        version: VERSION,
        at: now,
        name: engine.spec.name.clone(),
        verdict: super::verdict::verdict(engine, &alarms),
        cut_off: belief.cut_off,
        hosts: belief.hosts.values().map(|record| host(engine, record, now)).collect(),
        workloads: belief.workloads.values().map(|record| workload(engine, record, now)).collect(),
        alarms,
        incidents: belief.incidents.values().filter(|incident| incident.closed_at.is_none()).cloned().collect(),
    }
}

fn host(engine: &Engine, record: &HostRecord, now: Time) -> HostView {
    let id = &record.host;
    let senses = engine.belief.host_senses.get(id);
    let spec = engine.host_spec(id);
    HostView {
        host: id.clone(),
        site: spec.map_or_else(|| SiteId::from("?"), |spec| spec.site.clone()),
        health: engine.host_health(id).word().to_owned(),
        since: record.since,
        evidence: senses.map(|senses| host_evidence(engine, record, senses, now)).unwrap_or_default(),
        doing: engine.doing.get(&Subject::Host(id.clone())).and_then(shown),
        in_service: engine.in_service(id),
        spare: spec.is_some_and(|spec| spec.spare),
        capacity: engine.capacity(id),
        used: engine.used(id),
        workloads: engine.belief.on_host(id).cloned().collect(),
        heard: senses.and_then(HostSenses::heard),
        fenceable: spec.is_some_and(|spec| !spec.fence.is_empty()),
        fence: engine.device_views(id),
    }
}

fn host_evidence(engine: &Engine, record: &HostRecord, senses: &HostSenses, now: Time) -> Vec<String> {
    let mut lines: Vec<String> = senses
        .channels
        .iter()
        .map(|(channel, sense)| match (sense.heard, sense.silent_since) {
            (Some(heard), None) => format!("{channel}: heard {} ago", ago(heard, now)),
            (Some(heard), Some(_)) => {
                let error = sense.error.as_deref().unwrap_or("no answer");
                format!("{channel}: silent, last heard {} ago ({error})", ago(heard, now))
            }
            (None, _) => format!(
                "{channel}: not heard since {} ({})",
                ago(senses.watched_since, now),
                sense.error.as_deref().unwrap_or("no answer")
            ),
        })
        .collect();
    if let Some(heard) = senses.guest_told {
        lines.push(format!("its guests: heard {} ago", ago(heard, now)));
    }
    if let Some(asked) = senses.inventory {
        lines.push(format!("its domains were listed {} ago", ago(asked, now)));
    }
    match &record.phase {
        HostPhase::Off { proof, .. } => lines.push(format!("proved off {} ago: {proof:?}", ago(record.since, now))),
        HostPhase::Lost { power: Some(power), .. } => lines.push(format!("its fence device says power is {power}")),
        _ => {}
    }
    if let HostPhase::Lost { level, exhausted, .. } = &record.phase
        && (*exhausted || *level > 0)
        && !record.fence_failures.is_empty()
    {
        lines.push(format!("fencing failed: {}", failures(record)));
    }
    lines.extend(engine.device_views(&record.host).into_iter().map(|device| {
        let when = |at: Option<Time>| at.map_or("never".to_owned(), |at| format!("{} ago", ago(at, now)));
        let name = format!("fence device {} (level {})", device.device, device.level);
        match (&device.error, device.asked) {
            (Some(error), _) => format!("{name}: {error}; last answered {}", when(device.answered)),
            (None, Some(_)) => format!("{name}: answered {}", when(device.answered)),
            (None, None) => format!("{name}: not asked yet"),
        }
    }));
    if senses.sight == Sight::Hung {
        lines.push("address answers, hypervisor and guests do not: hung".to_owned());
    }
    let _ = engine;
    lines
}

/// What is worth showing of a decision in a list.
fn shown(doing: &Doing) -> Option<String> {
    match doing {
        Doing::Nothing {
            why: Why::Well | Why::NotManaged | Why::Spare | Why::StoppedByPerson | Why::PausedByPerson | Why::Asleep,
        } => None,
        doing => Some(doing.to_string()),
    }
}

fn workload(engine: &Engine, record: &WorkloadRecord, now: Time) -> WorkloadView {
    let id = &record.workload;
    let senses = engine.belief.workload_senses.get(id);
    let (health, since) = workload_health(engine, record);
    let last_point =
        engine.last_good_point(id).map(|point| PointSummary { id: point.id.clone(), taken_at: point.taken_at });
    let activity = senses.and_then(|senses| senses.activity);
    WorkloadView {
        workload: id.clone(),
        health: health.word().to_owned(),
        since,
        evidence: workload_evidence(engine, record, now),
        host: record
            .may_run_on
            .first()
            .filter(|_| record.may_run_on.len() == 1)
            .cloned()
            .or_else(|| record.host.clone()),
        may_run_on: record.may_run_on.clone(),
        bound: engine.bound_by_device(record).map(|host| bound_words(&host, &record.passed_through)),
        lacks_on: engine
            .belief
            .readiness
            .lacking(id, now)
            .map(|(host, obstacles)| (host.clone(), obstacles.to_vec()))
            .collect(),
        doing: engine.doing.get(&Subject::Workload(id.clone())).and_then(shown),
        managed: engine.manages(id),
        wanted: record.want == Want::Running,
        priority: engine.rule(id).map_or(0, |rule| rule.policy.priority),
        needs: engine.needs(record),
        answers: (record.answers && engine.runs_on(id).is_some())
            .then(|| senses.is_some_and(|senses| senses.answered_since.is_some() && senses.silent().is_none())),
        last_point,
        points: engine
            .belief
            .points_of(id)
            .filter(|point| matches!(point.state, PointState::Good | PointState::Bad))
            .count() as u32,
        protected_every: engine.protection(id).filter(|_| engine.manages(id)).map(|rule| rule.policy.every),
        incident: record.incident,
        cpu_percent: activity.map(|activity| activity.cpu_percent),
        rates: activity.map(|activity| activity.rates),
    }
}

pub(super) fn workload_health(engine: &Engine, record: &WorkloadRecord) -> (VmHealth, Time) {
    let id = &record.workload;
    let senses = engine.belief.workload_senses.get(id);
    let migrating =
        engine.life_order(id).is_some_and(|order| matches!(order.order.action, mainstay_model::Action::Migrate { .. }));
    if migrating {
        return (VmHealth::Migrating, engine.life_order(id).map_or(record.known_since, |order| order.ordered_at));
    }
    if let Some(trouble) = &record.trouble
        && trouble.started_at.is_none()
    {
        let word = match trouble.cause {
            mainstay_model::Cause::Hung => VmHealth::Unresponsive,
            mainstay_model::Cause::IoError => VmHealth::Paused,
            mainstay_model::Cause::Crashed | mainstay_model::Cause::Panicked | mainstay_model::Cause::Signalled => {
                VmHealth::Crashed
            }
            _ => VmHealth::Down,
        };
        return (word, trouble.since);
    }
    if let (Want::Stopped { at, .. }, true) = (&record.want, record.may_run_on.is_empty()) {
        return (VmHealth::Stopped, *at);
    }
    let Some(host) = record.may_run_on.first() else { return (VmHealth::Down, record.known_since) };
    let Some(seen) = senses.and_then(|senses| senses.seen.get(host)) else {
        return (VmHealth::Unknown, record.known_since);
    };
    let up_since = senses.and_then(|senses| senses.up_since).unwrap_or(seen.at);
    let answered = senses.is_some_and(|senses| senses.answered_since.is_some());
    match seen.state {
        _ if engine.sight(host) != Sight::Heard => {
            // Its host says nothing now, but the guest may speak for itself.
            let speaks = senses.is_some_and(|senses| senses.heard().is_some() && senses.silent().is_none());
            (if speaks { VmHealth::Running } else { VmHealth::Unknown }, up_since)
        }
        // Off, though a start that was never answered may still come: that one will be stopped as well.
        DomainState::Off(_) if record.want != Want::Running => (VmHealth::Stopped, seen.since),
        DomainState::Running if record.answers && !answered => (VmHealth::Starting, up_since),
        DomainState::Running if senses.is_some_and(|senses| senses.silent().is_some()) && record.answers => {
            (VmHealth::Unresponsive, up_since)
        }
        DomainState::Running => (VmHealth::Running, up_since),
        DomainState::Paused(mainstay_model::PauseReason::Asleep) => (VmHealth::Asleep, seen.at),
        DomainState::Paused(_) => (VmHealth::Paused, seen.at),
        DomainState::Panicked => (VmHealth::Crashed, seen.at),
        DomainState::Off(_) => (VmHealth::Down, seen.at),
    }
}

fn workload_evidence(engine: &Engine, record: &WorkloadRecord, now: Time) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(senses) = engine.belief.workload_senses.get(&record.workload) else { return lines };
    for (host, seen) in &senses.seen {
        lines.push(format!("{host} says: {}, as of {} ago", seen.state, ago(seen.at, now)));
    }
    for (channel, sense) in senses.channels.iter() {
        match (sense.heard, sense.silent) {
            (Some(heard), silent) if silent.is_none_or(|silent| silent < heard) => {
                lines.push(format!("{channel}: answered {} ago", ago(heard, now)));
            }
            (Some(heard), _) => lines.push(format!("{channel}: silent, last answered {} ago", ago(heard, now))),
            (None, Some(_)) => lines.push(format!("{channel}: never answered")),
            (None, None) => {}
        }
    }
    if let Some(activity) = senses.activity {
        lines.push(format!("last disk or network activity {} ago", ago(activity.moved_at, now)));
    }
    if !record.unsettled.is_empty() {
        let hosts: Vec<&str> = record.unsettled.keys().map(HostId::as_str).collect();
        lines.push(format!("an order's outcome is unknown on {}", hosts.join(" and ")));
    }
    lines
}

/// How long ago.
fn ago(then: Time, now: Time) -> String {
    now.since(then).roughly()
}

// ---- why --------------------------------------------------------------------------------------------------------------

pub(super) fn explain(engine: &Engine, subject: &str, now: Time) -> Option<String> {
    let as_host = engine.belief.hosts.get(&HostId::from(subject)).map(|record| explain_host(engine, record, now));
    as_host.or_else(|| {
        let record = engine.belief.workloads.get(&WorkloadId::from(subject))?;
        Some(explain_workload(engine, record, now))
    })
}

fn paragraph(text: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}");
    for line in lines {
        let _ = writeln!(text, "  - {line}");
    }
}

fn explain_host(engine: &Engine, record: &HostRecord, now: Time) -> String {
    let view = host(engine, record, now);
    let mut text = format!("{} is {}, since {} ago.\n", view.host, view.health, ago(view.since, now));
    paragraph(&mut text, "Seen", &view.evidence);
    let doing = engine.doing.get(&Subject::Host(view.host.clone())).map(ToString::to_string);
    paragraph(&mut text, "Doing", &doing.into_iter().collect::<Vec<_>>());
    let mut rules = Vec::new();
    if let Some(spec) = engine.host_spec(&view.host) {
        rules.push(format!("{} defines it", spec.origin));
        let detection = &engine.spec.detection;
        rules.push(format!(
            "it counts as lost after at most {} of silence (detection.host_lost_after)",
            detection.host_lost_after
        ));
        let levels: Vec<String> =
            spec.fence.iter().map(|level| level.iter().map(|d| d.as_str()).collect::<Vec<_>>().join(" and ")).collect();
        rules.push(match levels.len() {
            0 => "it has no fence device: if it is lost, a person has to confirm that it is off".to_owned(),
            _ => format!("it is fenced by {}", levels.join(", then ")),
        });
    }
    paragraph(&mut text, "Because", &rules);
    alarms_of(engine, &Subject::Host(view.host), &mut text);
    text
}

fn explain_workload(engine: &Engine, record: &WorkloadRecord, now: Time) -> String {
    let view = workload(engine, record, now);
    let id = &record.workload;
    let place = view.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let mut text = format!("{id} is {}{place}, since {} ago.\n", view.health, ago(view.since, now));
    paragraph(&mut text, "Seen", &view.evidence);
    let mut doing: Vec<String> =
        engine.doing.get(&Subject::Workload(id.clone())).map(ToString::to_string).into_iter().collect();
    doing.extend(record.attempts.iter().map(|attempt| {
        let host = attempt.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        format!("tried {}{host} {} ago", attempt.rung, ago(attempt.at, now))
    }));
    paragraph(&mut text, "Doing", &doing);
    let mut because = Vec::new();
    let told = |what: &str, origin: Option<&Origin>, default: &str| match origin {
        Some(origin) => format!("{what}: {origin}"),
        None => format!("{what}: {default}"),
    };
    because.push(told("managed by", engine.rule(id).map(|rule| &rule.origin), "no rule, so it is not managed"));
    let tags = engine.tags(record);
    because.push(told(
        "brought back as in",
        engine.spec.recovery_rule(id, &tags).map(|rule| &rule.origin),
        "the default recovery policy",
    ));
    because.push(told(
        "protected as in",
        engine.protection(id).map(|rule| &rule.origin),
        "no rule, so no recovery points are taken",
    ));
    if let Some(after) = engine.relations.after.get(id) {
        because.extend(after.iter().map(|(other, rule)| format!("starts after {other}: {}", rule.origin)));
    }
    paragraph(&mut text, "Because", &because);
    if let Some(request) = engine.request_for_start(record) {
        let mut hosts = engine.candidates();
        if let Some(host) = view.host.as_ref().and_then(|host| hosts.get_mut(host)) {
            host.used = host.used.minus(engine.needs(record));
        }
        let lines: Vec<String> = survey(id, &request, &hosts, &engine.located_groups())
            .into_iter()
            .map(|(host, verdict)| match verdict {
                Place::Fits(parts) => format!(
                    "{host}: would take it ({}; {})",
                    parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                    readiness(engine, id, &host, now)
                ),
                Place::Refused(refusal) => format!("{host}: {refusal}"),
            })
            .collect();
        paragraph(&mut text, "Where it could run", &lines);
    }
    alarms_of(engine, &Subject::Workload(id.clone()), &mut text);
    text
}

/// Whether what the workload needs is on the host, in words.
fn readiness(engine: &Engine, workload: &WorkloadId, host: &HostId, now: Time) -> String {
    if engine.runs_on(workload) == Some(host) {
        return "it runs there".to_owned();
    }
    match engine.belief.readiness.of(workload, host, now) {
        Ready::Yes { asked_at } => format!("all that it needs was there {} ago", ago(asked_at, now)),
        Ready::Lacks { asked_at, .. } => format!("something that it needs was missing {} ago", ago(asked_at, now)),
        Ready::Unknown => "whether all that it needs is there was not looked at".to_owned(),
    }
}

fn alarms_of(engine: &Engine, subject: &Subject, text: &mut String) {
    let alarms: Vec<&Alarm> = engine.belief.alarms.values().filter(|alarm| alarm.subject == *subject).collect();
    let lines: Vec<String> =
        alarms.iter().map(|alarm| format!("{} {}: {}", alarm.code, alarm.severity, alarm.text)).collect();
    paragraph(text, "Alarms", &lines);
    let advice: Vec<String> = alarms.iter().map(|alarm| alarm.advice.clone()).collect();
    paragraph(text, "What would change it", &advice);
}
