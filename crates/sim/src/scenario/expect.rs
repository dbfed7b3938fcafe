//! `expect.txt`: what must come of it, one sentence a line, such as `web-1 runs on h2 by 20s`.

use super::{ScenarioError, script::lines};
use crate::{record::Passage, report::Verdict, run::Simulation, world::SET_ASIDE};
use mainstay_engine::view::ClusterView;
use mainstay_model::{Alarm, HostId, PointId, Reply, Span, Subject, Time, WorkloadId};

/// One line of `expect.txt`.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    pub text: String,
    /// When it is looked at; `None`: at the end.
    pub at: Option<Time>,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
enum Wanted {
    Runs { guest: WorkloadId, host: Option<HostId>, wanted: bool },
    Answers { guest: WorkloadId, wanted: bool },
    NeverOn { guest: WorkloadId, host: HostId },
    Believed { name: String, health: String, wanted: bool },
    Fenced { host: Option<HostId>, count: Count },
    StartAfterFence { guest: WorkloadId, host: HostId },
    Starts { guest: WorkloadId, count: Count },
    StartsAfter { later: WorkloadId, earlier: WorkloadId },
    Moves { guest: Option<WorkloadId>, count: Count },
    Alarm { code: String, subject: Option<String>, wanted: bool },
    NoAlarms,
    Downtime { guest: WorkloadId, below: bool, bound: Span },
    Recorded { guest: WorkloadId, loss: bool, bound: Span, least: bool },
    Points { guest: WorkloadId, count: Count },
    Reverted { guest: WorkloadId, count: Count },
    Lost { guest: WorkloadId, at_most: Span },
    LostToDisk { guest: WorkloadId, bound: Span, least: bool },
    SameHost { first: WorkloadId, second: WorkloadId, same: bool },
    Power { host: HostId, on: bool },
    LastReply { word: String },
    Explains { name: String, words: String },
}

/// How often.
#[derive(Clone, Copy, Debug)]
struct Count {
    least: usize,
    most: usize,
}

/// Reads expectations.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Expectation>, ScenarioError> {
    let read = |(number, line): (usize, &str)| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (sentence, at) = match words.as_slice() {
            [sentence @ .., "by" | "at", time] if time.parse::<Span>().is_ok() => (sentence, time.parse::<Span>().ok()),
            sentence => (sentence, None),
        };
        let wanted = wanted(sentence).ok_or_else(|| {
            let what = format!(
                "`{line}` is not an expectation; docs/simulator.md lists them, for example `web-1 runs on h2 by 20s`"
            );
            ScenarioError::line(file, number, what)
        })?;
        Ok(Expectation { text: line.to_owned(), at: at.map(|span| Time(span.0)), wanted })
    };
    lines(text).map(read).collect()
}

fn wanted(words: &[&str]) -> Option<Wanted> {
    let guest = |name: &&str| WorkloadId::from(*name);
    let host = |name: &&str| HostId::from(*name);
    let own = |text: &&str| (*text).to_owned();
    Some(match words {
        ["no", "fence"] => Wanted::Fenced { host: None, count: Count::exactly(0) },
        ["no", "moves"] => Wanted::Moves { guest: None, count: Count::exactly(0) },
        ["no", "alarms"] => Wanted::NoAlarms,
        ["no", "alarm", code] => Wanted::Alarm { code: own(code), subject: None, wanted: false },
        ["no", "alarm", code, "on", name] => Wanted::Alarm { code: own(code), subject: Some(own(name)), wanted: false },
        ["alarm", code] => Wanted::Alarm { code: own(code), subject: None, wanted: true },
        ["alarm", code, "on", name] => Wanted::Alarm { code: own(code), subject: Some(own(name)), wanted: true },
        ["no", "start", "of", name] => Wanted::Starts { guest: guest(name), count: Count::exactly(0) },
        ["no", "start", "of", name, "before", on, "fenced"] => {
            Wanted::StartAfterFence { guest: guest(name), host: host(on) }
        }
        ["fenced", name, rest @ ..] => Wanted::Fenced { host: Some(host(name)), count: Count::parse(rest)? },
        ["power", name, "on"] => Wanted::Power { host: host(name), on: true },
        ["power", name, "off"] => Wanted::Power { host: host(name), on: false },
        ["believed", name, "is", "not", health] => {
            Wanted::Believed { name: own(name), health: own(health), wanted: false }
        }
        ["believed", name, "is", health] => Wanted::Believed { name: own(name), health: own(health), wanted: true },
        ["last", "reply", word] => Wanted::LastReply { word: own(word) },
        ["explain", name, "says", words @ ..] => Wanted::Explains { name: own(name), words: words.join(" ") },
        [name, "runs"] => Wanted::Runs { guest: guest(name), host: None, wanted: true },
        [name, "runs", "on", on] => Wanted::Runs { guest: guest(name), host: Some(host(on)), wanted: true },
        [name, "does", "not", "run"] => Wanted::Runs { guest: guest(name), host: None, wanted: false },
        [name, "does", "not", "run", "on", on] => {
            Wanted::Runs { guest: guest(name), host: Some(host(on)), wanted: false }
        }
        [name, "never", "runs", "on", on] => Wanted::NeverOn { guest: guest(name), host: host(on) },
        [name, "answers"] => Wanted::Answers { guest: guest(name), wanted: true },
        [name, "does", "not", "answer"] => Wanted::Answers { guest: guest(name), wanted: false },
        [name, "started", rest @ ..] => Wanted::Starts { guest: guest(name), count: Count::parse(rest)? },
        [name, "starts", "after", other] => Wanted::StartsAfter { later: guest(name), earlier: guest(other) },
        [name, "moved", rest @ ..] => Wanted::Moves { guest: Some(guest(name)), count: Count::parse(rest)? },
        [name, "reverted", rest @ ..] => Wanted::Reverted { guest: guest(name), count: Count::parse(rest)? },
        [name, "has", rest @ .., "points" | "point"] => {
            Wanted::Points { guest: guest(name), count: Count::parse(rest)? }
        }
        [name, "lost", "to", "its", "disk", "at", which @ ("least" | "most"), span] => {
            Wanted::LostToDisk { guest: guest(name), bound: span.parse().ok()?, least: *which == "least" }
        }
        [name, "lost", "at", "most", span] => Wanted::Lost { guest: guest(name), at_most: span.parse().ok()? },
        [name, "downtime", "below", span] => {
            Wanted::Downtime { guest: guest(name), below: true, bound: span.parse().ok()? }
        }
        [name, "downtime", "above", span] => {
            Wanted::Downtime { guest: guest(name), below: false, bound: span.parse().ok()? }
        }
        [name, "recorded", what @ ("down" | "lost"), "at", which @ ("least" | "most"), span] => Wanted::Recorded {
            guest: guest(name),
            loss: *what == "lost",
            bound: span.parse().ok()?,
            least: *which == "least",
        },
        [first, "and", second, "on", "one", "host"] => {
            Wanted::SameHost { first: guest(first), second: guest(second), same: true }
        }
        [first, "and", second, "on", "different", "hosts"] => {
            Wanted::SameHost { first: guest(first), second: guest(second), same: false }
        }
        _ => return None,
    })
}

impl Count {
    fn exactly(count: usize) -> Count {
        Count { least: count, most: count }
    }

    fn parse(words: &[&str]) -> Option<Count> {
        Some(match words {
            ["never"] => Count::exactly(0),
            ["once"] => Count::exactly(1),
            ["twice"] => Count::exactly(2),
            ["at", "least", "once"] => Count { least: 1, most: usize::MAX },
            ["at", "least", count] | ["at", "least", count, "times"] => {
                Count { least: count.parse().ok()?, most: usize::MAX }
            }
            ["at", "most", count] | ["at", "most", count, "times"] => Count { least: 0, most: count.parse().ok()? },
            [count] | [count, "times"] => Count::exactly(count.parse().ok()?),
            _ => return None,
        })
    }

    fn holds(self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }
}

impl Expectation {
    /// Whether it holds now, and what is instead.
    pub fn judge(&self, simulation: &Simulation) -> Verdict {
        let (holds, found) = self.wanted.judge(simulation);
        Verdict { expectation: self.text.clone(), holds, found }
    }
}

impl Wanted {
    fn judge(&self, simulation: &Simulation) -> (bool, String) {
        let (world, record) = (&simulation.world, &simulation.record);
        let now = world.now;
        let runs_on = |guest: &WorkloadId| -> Vec<HostId> {
            world.guests.get(guest).map(|guest| guest.runs_on().cloned().collect()).unwrap_or_default()
        };
        let of = |list: &[Passage], guest: &WorkloadId| list.iter().filter(|entry| entry.workload == *guest).count();
        match self {
            Wanted::Runs { guest, host, wanted } => {
                let hosts = runs_on(guest);
                let runs = host.as_ref().map_or(hosts.len() == 1, |host| hosts.as_slice() == [host.clone()]);
                (runs == *wanted, format!("it runs on {hosts:?}"))
            }
            Wanted::Answers { guest: name, wanted } => {
                let guest = world.guests.get(name);
                let well = guest.is_some_and(|guest| guest.host().is_some_and(|host| world.is_well_on(guest, &host)));
                (well == *wanted, format!("it runs on {:?}, {}", runs_on(name), if well { "well" } else { "not well" }))
            }
            Wanted::NeverOn { guest, host } => {
                let started = record.starts.iter().chain(&record.moves);
                let count = started.filter(|entry| entry.workload == *guest && entry.to == *host).count();
                (count == 0, format!("it came there {count} times"))
            }
            Wanted::Believed { name, health, wanted } => {
                let found = simulation.view().and_then(|view| believed(&view, name));
                (found.as_ref().is_some_and(|found| found == health) == *wanted, format!("it is believed {found:?}"))
            }
            Wanted::Fenced { host, count } => {
                let fencings =
                    record.fencings.iter().filter(|fencing| host.as_ref().is_none_or(|host| fencing.host == *host));
                let found = fencings.count();
                (count.holds(found), format!("fenced {found} times"))
            }
            Wanted::StartAfterFence { guest, host } => {
                let fenced = record.fencings.iter().find(|fencing| fencing.host == *host).and_then(|it| it.confirmed);
                let started = record.starts.iter().find(|entry| entry.workload == *guest).map(|entry| entry.at);
                let holds = started.is_none_or(|started| fenced.is_some_and(|fenced| fenced <= started));
                (holds, format!("started at {started:?}, {host} fenced at {fenced:?}"))
            }
            Wanted::Starts { guest, count } => {
                let found = of(&record.starts, guest);
                (count.holds(found), format!("started {found} times"))
            }
            Wanted::StartsAfter { later, earlier } => {
                let first = |guest: &WorkloadId| {
                    record.starts.iter().find(|entry| entry.workload == *guest).map(|entry| entry.at)
                };
                let (late, early) = (first(later), first(earlier));
                let holds = late.is_some() && early.is_some() && late > early;
                (holds, format!("{later} started at {late:?}, {earlier} at {early:?}"))
            }
            Wanted::Moves { guest, count } => {
                let found = guest.as_ref().map_or(record.moves.len(), |guest| of(&record.moves, guest));
                (count.holds(found), format!("moved {found} times"))
            }
            Wanted::Alarm { code, subject, wanted } => {
                let raised = |alarm: &Alarm| {
                    alarm.code.to_string() == *code
                        && subject.as_ref().is_none_or(|subject| *subject == subject_name(&alarm.subject))
                };
                let found = record.alarms.iter().any(|span| raised(&span.alarm));
                let all: Vec<_> =
                    record.alarms.iter().map(|span| format!("{} on {}", span.alarm.code, span.alarm.subject)).collect();
                (found == *wanted, format!("alarms raised: {all:?}"))
            }
            Wanted::NoAlarms => {
                let open = record.alarms.iter().filter(|span| span.cleared.is_none());
                let open: Vec<_> = open.map(|span| format!("{} on {}", span.alarm.code, span.alarm.subject)).collect();
                (open.is_empty(), format!("alarms standing: {open:?}"))
            }
            Wanted::Downtime { guest, below, bound } => {
                let found = record.downtime(guest, now);
                ((found < *bound) == *below, format!("its longest downtime was {found}"))
            }
            Wanted::Recorded { guest, loss, bound, least } => {
                let incidents = simulation.incidents();
                let parts = incidents.iter().flat_map(|it| &it.workloads).filter(|part| part.workload == *guest);
                let spans = parts.map(|part| match loss {
                    true => part.data_loss.unwrap_or_default(),
                    false => part.downtime(now),
                });
                let found = spans.fold(Span::ZERO, |sum, span| sum + span);
                (if *least { found >= *bound } else { found <= *bound }, format!("its incidents say {found}"))
            }
            Wanted::Points { guest, count } => {
                let own = |point: &&PointId| !point.as_str().starts_with(SET_ASIDE);
                let found = world.guests.get(guest).map_or(0, |guest| guest.points.keys().filter(own).count());
                (count.holds(found), format!("it has {found}"))
            }
            Wanted::Reverted { guest, count } => {
                let found = record.reverts.iter().filter(|(name, ..)| name == guest).count();
                (count.holds(found), format!("reverted {found} times"))
            }
            Wanted::LostToDisk { guest, bound, least } => {
                let found = Span(record.lost_to_disk.get(guest).copied().unwrap_or(0));
                (if *least { found >= *bound } else { found <= *bound }, format!("its disk lost {found}"))
            }
            Wanted::Lost { guest, at_most } => {
                let found: u64 =
                    record.reverts.iter().filter(|(name, ..)| name == guest).map(|(_, _, lost)| lost).sum();
                (found <= at_most.0, format!("it lost {}", Span(found)))
            }
            Wanted::SameHost { first, second, same } => {
                let (one, other) = (runs_on(first), runs_on(second));
                let both = one.len() == 1 && other.len() == 1;
                (both && (one == other) == *same, format!("they run on {one:?} and {other:?}"))
            }
            Wanted::Power { host, on } => {
                let found = world.hosts.get(host).is_some_and(|host| host.power != crate::world::Power::Off);
                (found == *on, format!("its power is {}", if found { "on" } else { "off" }))
            }
            Wanted::LastReply { word } => {
                let found = record.replies.last().map_or("none", |reply| match reply {
                    Reply::Accepted { .. } => "accepted",
                    Reply::Nothing { .. } => "nothing",
                    Reply::Refused { .. } => "refused",
                });
                (found == word, format!("it was {:?}", record.replies.last()))
            }
            Wanted::Explains { name, words } => {
                let said = simulation.explain(name).unwrap_or_default();
                (said.contains(words), format!("it says {said:?}"))
            }
        }
    }
}

fn believed(view: &ClusterView, name: &str) -> Option<String> {
    let host = view.hosts.iter().find(|host| host.host.as_str() == name).map(|host| host.health.clone());
    let guest =
        || view.workloads.iter().find(|guest| guest.workload.as_str() == name).map(|guest| guest.health.clone());
    host.or_else(guest)
}

fn subject_name(subject: &Subject) -> String {
    subject.to_string()
}
