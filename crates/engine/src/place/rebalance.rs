//! Proposals to even out load: few moves that lower the largest use share of any host by a stated minimum, or none.
//!
//! Each step takes one workload from the host with the largest share to where the pair of hosts is evenest. What a step
//! does depends on the board alone, and of all steps only as many are proposed as are worth it: a second call after the
//! proposal was carried out finds nothing worth it any more. No step breaks a required constraint, lowers a preference,
//! or uses a spare for a workload that is not on one.

use super::{Bond, Groups, HostCandidate, Move, Request, board::Board, unit::Unit};
use mainstay_model::{HostId, ResourceKind, WorkloadId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Bounds of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebalanceLimits {
    /// At most so many moves. If a proposal uses them up, the next one may go on from there.
    pub moves: usize,
    /// The largest use share must fall by so many percent points, or nothing is proposed.
    pub least_gain_percent: u64,
}

impl Default for RebalanceLimits {
    fn default() -> RebalanceLimits {
        RebalanceLimits { moves: 5, least_gain_percent: 10 }
    }
}

/// A proposal: moves to be made one after the other, and what they gain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebalance {
    /// In order; none if it is not worth it.
    pub moves: Vec<Move>,
    /// The fullest host in service now; `None` if there is none.
    pub before: Option<Peak>,
    /// The fullest one after `moves`, or (if none are proposed) after as many as are allowed, which were not worth it.
    pub after: Option<Peak>,
    /// What was asked.
    pub limits: RebalanceLimits,
}

/// The largest use share of any host in service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// The host.
    pub host: HostId,
    /// Its scarcer resource.
    pub what: ResourceKind,
    /// Use share in hundredths of a percent.
    pub share: u64,
}

/// Steps looked ahead to learn what there is to gain, of which only those worth it are proposed.
const STEPS: usize = 200;

/// Proposes moves that even out load. `running` are the workloads that may be moved, with `current` where they run; they
/// are counted in `used` of their hosts. Those that must be with others stay where they are.
pub fn rebalance(
    running: &BTreeMap<WorkloadId, Request>,
    hosts: &BTreeMap<HostId, HostCandidate>,
    groups: &Groups,
    limits: RebalanceLimits,
) -> Rebalance {
    let mut even = Evening::new(running, hosts, groups);
    let mut peaks: Vec<Peak> = even.peak().into_iter().collect();
    let mut moves = Vec::new();
    while let Some(peak) = peaks.last().filter(|_| moves.len() < STEPS) {
        let Some(step) = even.step(peak) else { break };
        let Some(after) = even.peak() else { break };
        moves.push(step);
        peaks.push(after);
    }
    let most = limits.moves.min(moves.len());
    let least = (limits.least_gain_percent * 100).max(1);
    let worth = worth(&peaks, least).map(|steps| steps.min(most));
    let worth = worth.filter(|steps| peaks[0].share - peaks[*steps].share >= least);
    moves.truncate(worth.unwrap_or(0));
    let after = peaks.get(worth.unwrap_or(most)).cloned();
    Rebalance { moves, before: peaks.into_iter().next(), after, limits }
}

/// The least number of steps that gain `least` and leave less than `least` to be gained.
fn worth(peaks: &[Peak], least: u64) -> Option<usize> {
    let (first, last) = (peaks.first()?.share, peaks.last()?.share);
    peaks.iter().position(|peak| first - peak.share >= least && peak.share - last < least)
}

struct Evening<'a> {
    board: Board<'a>,
    running: &'a BTreeMap<WorkloadId, Request>,
    on_host: BTreeMap<usize, Vec<&'a WorkloadId>>,
}

impl<'a> Evening<'a> {
    fn new(
        running: &'a BTreeMap<WorkloadId, Request>,
        hosts: &'a BTreeMap<HostId, HostCandidate>,
        groups: &'a Groups,
    ) -> Evening<'a> {
        let board = Board::new(hosts, groups, running.keys());
        let mut on_host: BTreeMap<usize, Vec<&WorkloadId>> = BTreeMap::new();
        for (workload, request) in running {
            let tied = groups.of(workload).any(|group| group.requires(Bond::Together));
            if let Some(host) = request.current.as_ref().filter(|_| !tied).and_then(|host| board.index_of(host)) {
                on_host.entry(host).or_default().push(workload);
            }
        }
        Evening { board, running, on_host }
    }

    /// The fullest host in service; of equals the first by name.
    fn peak(&self) -> Option<Peak> {
        let mut fullest: Option<Peak> = None;
        for (index, (id, candidate)) in self.board.hosts.iter().enumerate() {
            let (share, what) = self.board.share(index);
            if candidate.refused.is_none() && fullest.as_ref().is_none_or(|peak| share > peak.share) {
                fullest = Some(Peak { host: (*id).clone(), what, share });
            }
        }
        fullest
    }

    /// Makes the move from the fullest host that leaves the fuller of the two hosts least full; the smaller workload if
    /// that is equal. `None`: no move makes it better.
    fn step(&mut self, peak: &Peak) -> Option<Move> {
        let from = self.board.index_of(&peak.host)?;
        let mut best = None;
        for (position, workload) in self.on_host.get(&from).into_iter().flatten().enumerate() {
            let unit = Unit::new(vec![(*workload, &self.running[*workload])], Vec::new(), &self.board);
            self.board.take(&unit, from);
            let left = self.board.share(from).0;
            if let Some((fuller, to)) =
                evenest(&self.board, &unit, from, left).filter(|(fuller, _)| *fuller < peak.share)
            {
                let key = (fuller, unit.needs, position, to);
                best = Some(best.map_or(key, |best| key.min(best)));
            }
            self.board.put(&unit, from);
        }
        let (_, _, position, to) = best?;
        let workload = self.on_host.get_mut(&from)?.remove(position);
        let unit = Unit::new(vec![(workload, &self.running[workload])], Vec::new(), &self.board);
        self.board.take(&unit, from);
        self.board.put(&unit, to);
        let arrived = self.on_host.entry(to).or_default();
        arrived.insert(arrived.partition_point(|other| *other < workload), workload);
        let (left, _) = self.board.share(from);
        let target = self.board.hosts[to].0.clone();
        let why = format!(
            "{} falls from {} % {} used to {} %, {target} comes to {} %",
            peak.host,
            peak.share / 100,
            peak.what,
            left / 100,
            self.board.share(to).0 / 100
        );
        Some(Move { workload: workload.clone(), from: peak.host.clone(), to: target, why })
    }
}

/// The host that takes the unit with the least share in the end, and the larger share of the two hosts then.
fn evenest<'a>(board: &Board<'a>, unit: &Unit<'a>, from: usize, left: u64) -> Option<(u64, usize)> {
    let wanted = unit.open.iter().find(|open| open.host == from).map_or(i64::MIN, |open| board.preference(unit, *open));
    let spare_too = board.hosts[from].1.spare;
    let fits = unit.open.iter().filter(|open| {
        open.host != from
            && (spare_too || !board.hosts[open.host].1.spare)
            && board.obstacle(unit, open.host).is_none()
            && board.preference(unit, **open) >= wanted
    });
    fits.map(|open| (board.share_with(unit, open.host).max(left), open.host)).min()
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} % ({} of {})", self.share / 100, self.what, self.host)
    }
}

impl fmt::Display for Rebalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(before), Some(after)) = (&self.before, &self.after) else {
            return write!(f, "no host is in service");
        };
        let gain = (before.share - after.share) / 100;
        match self.moves.len() {
            0 if gain == 0 => write!(f, "the largest use share is {before}; no move would lower it"),
            0 => write!(
                f,
                "the largest use share is {before}; {gain} points could be gained by {} moves, less than the {} asked",
                self.limits.moves, self.limits.least_gain_percent
            ),
            count => {
                let lower = if count == 1 { "move lowers" } else { "moves lower" };
                write!(f, "{count} {lower} the largest use share from {before} to {after}")
            }
        }
    }
}
