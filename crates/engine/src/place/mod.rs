//! Placement: which host takes which workload. Owns the filter (what no host may break), the ordered score (which of the
//! hosts that fit is best), the bounded search (when the first try leaves someone out), and the words for all three.
//! Besides: proposals to even out load ([`rebalance`]) and to mend broken constraints ([`violations`]).
//!
//! ```text
//!  requests ─▶ units ─▶ filter ─▶ score ─▶ greedy by rank ─▶ all placed? ─▶ Placement
//!                                             ▲                  │ no
//!                                             └─ other orders ◀─ ejection
//! ```
//!
//! It moves nobody who is not requested, knows no time, and keeps nothing between calls. It does not decide when a start
//! or a migration leaves, nor how many at once. Same input, same output. `docs/placement.md` tells it to users.

mod board;
mod group;
mod rebalance;
mod refusal;
mod score;
mod search;
#[cfg(any(test, feature = "synthetic"))]
pub mod synthetic;
mod unit;
mod violations;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use group::{Bond, Group, Groups};
pub use rebalance::{Peak, Rebalance, RebalanceLimits, rebalance};
pub use refusal::{NoHostFits, Refusal};
pub(crate) use refusal::{bound_words, state_left, state_words};
pub use score::{Criterion, ScorePart};
pub(crate) use unit::preferences;
pub use violations::{Mend, Violation, violations};

use board::Board;
use mainstay_model::{
    HostId, Resources, SiteId, WorkloadId,
    spec::{HostRule, Origin},
};
use search::How;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use unit::Unit;

/// A host as placement sees it. Hosts that may not get work are given too, with the reason, so that it can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCandidate {
    /// Its site.
    pub site: SiteId,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// What it has for workloads, its own reserve subtracted and overcommit applied.
    pub capacity: Resources,
    /// What is taken by all that runs there, may run there, or is on its way there.
    pub used: Resources,
    /// A spare gets work only when no other host fits.
    pub spare: bool,
    /// Why it may not get work now, if so.
    pub refused: Option<Refusal>,
}

/// A workload that needs a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it needs there.
    pub needs: Resources,
    /// Higher is placed first.
    pub priority: i32,
    /// Where it may or should run.
    pub rules: Vec<HostRule>,
    /// Where `rules` stand.
    pub origin: Arc<Origin>,
    /// From where its disks can be used.
    pub reach: Reach,
    /// Where it runs or ran: it stays there if that is as good.
    pub current: Option<HostId>,
    /// The one host that it is bound for, if it is: all others are out of question.
    pub only: Option<HostId>,
    /// It goes back to this host, where it ran last: neither room nor maintenance there is held against it.
    pub back_to: Option<HostId>,
    /// Hosts that are out of question for this one workload, and why.
    pub excluded: BTreeMap<HostId, Refusal>,
    /// Hosts that lack something that it needs to start: they are taken only where no other fits.
    pub unready: BTreeSet<HostId>,
}

/// From where a workload's disks can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From every host of a site with shared storage.
    Site(SiteId),
    /// From one host only.
    Host(HostId),
}

/// Who goes where, and who nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Those with a host.
    pub placed: BTreeMap<WorkloadId, Chosen>,
    /// Those without.
    pub unplaced: BTreeMap<WorkloadId, NoHostFits>,
}

/// The host of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The host.
    pub host: HostId,
    /// Why this one.
    pub why: Vec<ScorePart>,
}

/// A proposed move of a running workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Who.
    pub workload: WorkloadId,
    /// Where it runs.
    pub from: HostId,
    /// Where it would run.
    pub to: HostId,
    /// What is gained, in words.
    pub why: String,
}

/// What a host means to one workload, as [`survey`] finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It would take it.
    Fits(Vec<ScorePart>),
    /// It would not.
    Refused(Refusal),
}

/// Places requested workloads. Whoever is requested counts as not yet placed for those it must be with, but is still kept
/// apart from where [`Groups`] has it (it may be running until it has moved). Drains name all that leave a host at once.
pub fn place(
    requests: &BTreeMap<WorkloadId, Request>,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
) -> Placement {
    let before = Board::new(hosts, groups, requests.keys());
    let units = unit::gather(requests, &before);
    let result = search::search(&units, &before);
    let mut placement = Placement::default();
    for (unit, seat) in units.iter().zip(&result.seats) {
        match seat {
            Some(seat) => {
                let chosen = Chosen { host: before.hosts[seat.host].0.clone(), why: why(unit, *seat, &result.board) };
                placement.placed.extend(unit.members.iter().map(|(id, _)| ((*id).clone(), chosen.clone())));
            }
            None => {
                let refused = NoHostFits { per_host: refusals(unit, &result.board) };
                placement.unplaced.extend(unit.members.iter().map(|(id, _)| ((*id).clone(), refused.clone())));
            }
        }
    }
    placement
}

/// What every host means to one workload now: the answer to "why not there?". If the workload runs, its own share must
/// not be in `used`.
pub fn survey(
    workload: &WorkloadId,
    request: &Request,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
) -> BTreeMap<HostId, Verdict> {
    let requests = BTreeMap::from([(workload.clone(), request.clone())]);
    let mut board = Board::new(hosts, groups, requests.keys());
    let units = unit::gather(&requests, &board);
    let unit = &units[0];
    let mut verdicts = BTreeMap::new();
    for (index, host) in hosts.keys().enumerate() {
        let verdict = board.refusal(unit, index).map_or_else(
            || {
                board.put(unit, index);
                let parts = board.explain(unit, index);
                board.take(unit, index);
                Verdict::Fits(parts)
            },
            Verdict::Refused,
        );
        verdicts.insert(host.clone(), verdict);
    }
    verdicts
}

fn refusals(unit: &Unit<'_>, board: &Board<'_>) -> BTreeMap<HostId, Refusal> {
    let hosts = board.hosts.iter().enumerate();
    hosts.filter_map(|(index, (id, _))| Some(((*id).clone(), board.refusal(unit, index)?))).collect()
}

fn why(unit: &Unit<'_>, seat: search::Seat, board: &Board<'_>) -> Vec<ScorePart> {
    let mut parts = board.explain(unit, seat.host);
    let name = |host: usize| board.hosts[host].0.clone();
    parts.push(match seat.how {
        How::Best { over, by } => ScorePart::RatherThan { host: name(over), by },
        How::OnlyFit => ScorePart::OnlyFit,
        How::MadeRoom { on } => ScorePart::MadeRoom { on: name(on) },
    });
    parts
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.host)?;
        for (index, part) in self.why.iter().enumerate() {
            let stop = if index == 0 { "" } else { "; " };
            write!(f, "{stop}{part}")?;
        }
        Ok(())
    }
}
