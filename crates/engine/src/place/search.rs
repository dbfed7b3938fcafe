//! The bounded search: greedy by rank, then one-level ejection, then a few other orders; the attempt that places the most,
//! counted from the highest priority down, wins, the earlier one if they are equal.

use super::{
    board::{Balance, Board},
    score::{Criterion, Score},
    unit::Unit,
};
use mainstay_model::Resources;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// Looks at hosts that may be spent on improving what the first greedy pass left over: about 20 ms of work. That pass
/// itself is bounded by requests × hosts.
const LOOKS: usize = 400_000;

/// Where a unit is, and how it came there.
#[derive(Clone, Copy)]
pub(super) struct Seat {
    pub host: usize,
    pub how: How,
}

/// How a unit came to its host.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// It was the best, and this was the next best.
    Best { over: usize, by: Criterion },
    /// No other host would do.
    OnlyFit,
    /// It had to leave that host to another unit.
    MadeRoom { on: usize },
}

/// One way to place all.
pub(super) struct Attempt<'a, 'u> {
    units: &'u [Unit<'a>],
    pub board: Board<'a>,
    /// By unit.
    pub seats: Vec<Option<Seat>>,
    on_host: Vec<BTreeSet<usize>>,
    waiting: BTreeSet<usize>,
    balance: Balance,
    looks: usize,
}

/// The best of a bounded number of attempts. `units` are sorted by rank.
pub(super) fn search<'a, 'u>(units: &'u [Unit<'a>], board: &Board<'a>) -> Attempt<'a, 'u> {
    // What fits nowhere on the board as it is will not fit when others have been added: it is not worth a search.
    let fit = (0..units.len()).filter(|unit| fits_somewhere(&units[*unit], board));
    // What goes back to its place takes that whatever else is placed there, so it goes first (scenario 735).
    let (back, others): (Vec<usize>, Vec<usize>) = fit.partition(|unit| goes_back(&units[*unit], board));
    let in_order = |others: &[usize]| [&back[..], others].concat();
    let by_rank = in_order(&others);
    let mut best = Attempt::run(units, board, &by_rank, Balance::Spread, LOOKS);
    let mut looks = best.looks;
    if best.waiting.is_empty() {
        return best;
    }
    let priority = |unit: usize| Reverse(units[unit].priority);
    let mut constrained_first = others.clone();
    constrained_first.sort_by_key(|unit| (priority(*unit), units[*unit].open.len(), *unit));
    let mut cpu_first = others.clone();
    cpu_first.sort_by_key(|unit| (priority(*unit), Reverse(units[*unit].needs.cpu_centi), *unit));
    let mut smallest_first = others.clone();
    smallest_first.sort_by_key(|unit| (priority(*unit), units[*unit].needs, *unit));
    let [constrained_first, cpu_first, smallest_first] =
        [&constrained_first, &cpu_first, &smallest_first].map(|others| in_order(others));
    for (order, balance) in [
        (&constrained_first, Balance::Spread),
        (&by_rank, Balance::Pack),
        (&constrained_first, Balance::Pack),
        (&cpu_first, Balance::Pack),
        (&smallest_first, Balance::Pack),
    ] {
        let pass = order.iter().map(|unit| units[*unit].open.len()).sum();
        let Some(left) = looks.checked_sub(pass) else { break };
        let attempt = Attempt::run(units, board, order, balance, left);
        looks = attempt.looks;
        if attempt.merit() > best.merit() {
            best = attempt;
        }
        if best.waiting.is_empty() {
            break;
        }
    }
    best
}

fn goes_back(unit: &Unit<'_>, board: &Board<'_>) -> bool {
    unit.open.iter().any(|open| unit.goes_back_to(board.hosts[open.host].0))
}

fn fits_somewhere(unit: &Unit<'_>, board: &Board<'_>) -> bool {
    unit.open.iter().any(|open| board.obstacle(unit, open.host).is_none())
}

impl<'a, 'u> Attempt<'a, 'u> {
    fn run(
        units: &'u [Unit<'a>],
        board: &Board<'a>,
        order: &[usize],
        balance: Balance,
        looks: usize,
    ) -> Attempt<'a, 'u> {
        let mut attempt = Attempt {
            units,
            board: board.clone(),
            seats: vec![None; units.len()],
            on_host: vec![BTreeSet::new(); board.hosts.len()],
            waiting: BTreeSet::new(),
            balance,
            looks,
        };
        let mut ejected = false;
        for unit in order {
            if let Some(seat) = attempt.best(*unit, None) {
                attempt.put(*unit, seat);
            } else if attempt.eject_for(*unit) {
                ejected = true;
            } else {
                attempt.waiting.insert(*unit);
            }
        }
        if ejected {
            attempt.give_way();
        }
        attempt
    }

    /// Workloads placed, by priority from the highest down.
    fn merit(&self) -> Vec<usize> {
        let mut placed: BTreeMap<Reverse<i32>, usize> = BTreeMap::new();
        for (unit, seat) in self.units.iter().zip(&self.seats) {
            *placed.entry(Reverse(unit.priority)).or_default() += seat.map_or(0, |_| unit.members.len());
        }
        placed.into_values().collect()
    }

    /// The best host for a unit, apart from one.
    fn best(&mut self, unit: usize, except: Option<usize>) -> Option<Seat> {
        let unit = &self.units[unit];
        let (mut best, mut next): (Option<Score>, Option<Score>) = (None, None);
        for open in &unit.open {
            if except == Some(open.host) || self.board.obstacle(unit, open.host).is_some() {
                continue;
            }
            let score = self.board.score(unit, *open, self.balance);
            if best.is_none_or(|best| score < best) {
                next = best.replace(score);
            } else if next.is_none_or(|next| score < next) {
                next = Some(score);
            }
        }
        let best = best?;
        let how = next.map_or(How::OnlyFit, |next| How::Best { over: next.host, by: best.beats(&next) });
        Some(Seat { host: best.host, how })
    }

    fn put(&mut self, unit: usize, seat: Seat) {
        self.board.put(&self.units[unit], seat.host);
        self.on_host[seat.host].insert(unit);
        self.seats[unit] = Some(seat);
    }

    fn take(&mut self, unit: usize) -> Option<Seat> {
        let seat = self.seats[unit].take()?;
        self.board.take(&self.units[unit], seat.host);
        self.on_host[seat.host].remove(&unit);
        Some(seat)
    }

    fn fits(&self, unit: usize, host: usize) -> bool {
        self.board.obstacle(&self.units[unit], host).is_none()
    }

    /// Makes room for a unit by moving others of this plan to their next best hosts, one level deep: first any single
    /// one, then as many of the least important as it takes. Nobody loses its place.
    fn eject_for(&mut self, unit: usize) -> bool {
        let wanted = &self.units[unit];
        let crowded = wanted.open.iter().filter(|open| !self.on_host[open.host].is_empty());
        let mut hosts: Vec<Score> = crowded.map(|open| self.board.score(wanted, *open, self.balance)).collect();
        hosts.sort();
        for host in hosts.into_iter().map(|score| score.host) {
            let least_first: Vec<usize> = self.on_host[host].iter().rev().copied().collect();
            for single in &least_first {
                if self.swap(unit, host, std::slice::from_ref(single)) {
                    return true;
                }
            }
            for several in 2..=least_first.len() {
                if self.swap(unit, host, &least_first[..several]) {
                    return true;
                }
            }
        }
        false
    }

    /// Puts a unit in the place of others and these on their next best hosts, or leaves all as it is.
    fn swap(&mut self, unit: usize, host: usize, others: &[usize]) -> bool {
        let cost = others.iter().map(|other| self.units[*other].open.len()).sum::<usize>() + 1;
        if cost > self.looks {
            return false;
        }
        let left: Vec<(usize, Option<Seat>)> = others.iter().map(|other| (*other, self.take(*other))).collect();
        let fits = self.fits(unit, host);
        self.looks -= if fits { cost } else { 1 };
        if fits {
            self.put(unit, Seat { host, how: How::OnlyFit });
        }
        let settled = fits
            && others.iter().rev().all(|other| match self.best(*other, Some(host)) {
                Some(seat) => {
                    self.put(*other, Seat { how: How::MadeRoom { on: host }, ..seat });
                    true
                }
                None => false,
            });
        if !settled {
            self.take(unit);
            for (other, seat) in left {
                self.take(other);
                if let Some(seat) = seat {
                    self.put(other, seat);
                }
            }
        }
        settled
    }

    /// After ejections, room may have gone to a unit while a more important one waits that could use it now. Such a one
    /// takes its place, and the less important ones try again. Each turn places a more important unit at the cost of
    /// less important ones only, so it ends.
    fn give_way(&mut self) {
        while let Some((unit, host)) = self.wronged() {
            let lower = self.lower_on(host, unit);
            for other in &lower {
                self.take(*other);
            }
            self.waiting.remove(&unit);
            self.put(unit, Seat { host, how: How::OnlyFit });
            for other in lower {
                match self.best(other, None) {
                    Some(seat) => self.put(other, seat),
                    None => _ = self.waiting.insert(other),
                }
            }
        }
    }

    /// The first waiting unit that would fit on a host without the less important ones there.
    fn wronged(&mut self) -> Option<(usize, usize)> {
        let waiting: Vec<usize> = self.waiting.iter().copied().collect();
        waiting.into_iter().find_map(|unit| {
            let open = self.units[unit].open.iter();
            open.map(|open| open.host).find(|host| self.would_fit(unit, *host)).map(|host| (unit, host))
        })
    }

    fn would_fit(&mut self, unit: usize, host: usize) -> bool {
        let lower = self.lower_on(host, unit);
        let room =
            lower.iter().fold(self.board.free(host), |room: Resources, other| room.plus(self.units[*other].needs));
        if room.lacks(self.units[unit].needs).is_some() {
            return false;
        }
        for other in &lower {
            self.board.take(&self.units[*other], host);
        }
        let fits = self.fits(unit, host);
        for other in &lower {
            self.board.put(&self.units[*other], host);
        }
        fits
    }

    fn lower_on(&self, host: usize, unit: usize) -> Vec<usize> {
        let priority = self.units[unit].priority;
        self.on_host[host].iter().copied().filter(|other| self.units[*other].priority < priority).collect()
    }
}
