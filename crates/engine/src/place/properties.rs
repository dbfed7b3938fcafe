//! What holds for every placement, rebalancing and mending, on drawn clusters.

use super::*;
use mainstay_model::spec::Strength;
use proptest::prelude::*;

/// A drawn cluster: residents that run, requests that want a place.
#[derive(Clone, Debug)]
struct Case {
    hosts: BTreeMap<HostId, HostCandidate>,
    residents: BTreeMap<WorkloadId, Request>,
    requests: BTreeMap<WorkloadId, Request>,
    groups: Vec<Group>,
}

impl Case {
    fn groups(&self) -> Groups {
        let mut groups = Groups::new(self.groups.clone());
        for (workload, request) in &self.residents {
            groups.locate(workload, request.current.clone());
        }
        groups
    }
    fn place(&self) -> Placement {
        place(&self.requests, &self.hosts, &self.groups())
    }
    fn moved(&mut self, step: &Move) {
        let resident = self.residents.get_mut(&step.workload).expect("only residents are moved");
        assert_eq!(resident.current.as_ref(), Some(&step.from));
        resident.current = Some(step.to.clone());
        let needs = resident.needs;
        let from = self.hosts.get_mut(&step.from).expect("it ran there");
        from.used = from.used.minus(needs);
        let to = self.hosts.get_mut(&step.to).expect("a host of this cluster");
        to.used = to.used.plus(needs);
        assert!(to.capacity.lacks(to.used).is_none(), "{step:?} overfills its target");
    }
    /// What a placed workload breaks on its host, given where all others are.
    fn broken(
        &self,
        id: &WorkloadId,
        request: &Request,
        host: &HostId,
        at: &BTreeMap<WorkloadId, HostId>,
    ) -> Option<String> {
        let candidate = &self.hosts[host];
        let rules = unit::required_elsewhere(&request.rules, host, candidate);
        let reach = matches!(&request.reach, Reach::Host(home) if home != host)
            || matches!(&request.reach, Reach::Site(site) if *site != candidate.site);
        let mut required =
            self.groups.iter().filter(|group| group.strength == Strength::Required && group.members.contains(id));
        let group = required.find(|group| {
            let mut others = group.members.iter().filter(|other| *other != id).filter_map(|other| at.get(other));
            match group.bond {
                Bond::Together => others.any(|other| other != host),
                Bond::Apart => others.any(|other| other == host),
            }
        });
        if rules || reach || candidate.refused.is_some() || request.excluded.contains_key(host) {
            Some(format!("{id} may not be on {host}"))
        } else {
            group.map(|group| format!("{id} on {host} breaks {group:?}"))
        }
    }
    fn places(&self, placement: &Placement) -> BTreeMap<WorkloadId, HostId> {
        let residents = self.residents.iter().filter_map(|(id, request)| Some((id.clone(), request.current.clone()?)));
        residents.chain(placement.placed.iter().map(|(id, chosen)| (id.clone(), chosen.host.clone()))).collect()
    }
}

/// Other names, in the opposite order.
fn other_host(host: &HostId) -> HostId {
    let number: u32 = host.as_str()[1..].parse().expect("hosts are numbered");
    HostId::new(format!("h{}", 9 - number))
}

fn other_workload(workload: &WorkloadId) -> WorkloadId {
    let number: u32 = workload.as_str()[1..].parse().expect("workloads are numbered");
    WorkloadId::new(format!("w{}", 99 - number))
}

impl Case {
    fn renamed(&self) -> Case {
        let request = |(id, request): (&WorkloadId, &Request)| {
            let mut request = request.clone();
            request.current = request.current.as_ref().map(other_host);
            request.excluded = request.excluded.iter().map(|(host, why)| (other_host(host), why.clone())).collect();
            if let Reach::Host(home) = &request.reach {
                request.reach = Reach::Host(other_host(home));
            }
            for rule in &mut request.rules {
                rule.hosts = rule.hosts.iter().map(other_host).collect();
            }
            (other_workload(id), request)
        };
        Case {
            hosts: self.hosts.iter().map(|(id, host)| (other_host(id), host.clone())).collect(),
            residents: self.residents.iter().map(request).collect(),
            requests: self.requests.iter().map(request).collect(),
            groups: self
                .groups
                .iter()
                .map(|group| Group { members: group.members.iter().map(other_workload).collect(), ..group.clone() })
                .collect(),
        }
    }
}

/// What a placement is worth, without names: how many are placed by priority, on how few spares, and how many wishes of
/// location rules it fulfils.
fn worth(case: &Case, placement: &Placement) -> ([usize; 3], usize, i64) {
    let spares = placement.placed.values().filter(|chosen| case.hosts[&chosen.host].spare).count();
    let points = placement.placed.iter().flat_map(|(id, chosen)| {
        unit::preferences(&case.requests[id].rules, &chosen.host, &case.hosts[&chosen.host].tags).map(i64::from)
    });
    (merit(case, placement.placed.keys()), spares, points.sum())
}

fn some_host() -> impl Strategy<Value = HostCandidate> {
    (4..24_u64, 2..10_u64, 0..8_u8, 0..10_u8, 0..5_u8).prop_map(|(memory, vcpus, site, state, spare)| HostCandidate {
        site: if site == 0 { "there".into() } else { "here".into() },
        tags: if site % 2 == 0 { BTreeSet::from(["ssd".to_owned()]) } else { BTreeSet::new() },
        capacity: Resources::of(memory, vcpus),
        used: Resources::ZERO,
        spare: spare == 0,
        refused: (state == 0).then_some(Refusal::Maintenance),
    })
}

fn some_request(hosts: usize) -> impl Strategy<Value = Request> {
    let rule = (0..12_u8, 0..hosts, any::<bool>()).prop_map(|(kind, host, tag)| HostRule {
        hosts: if tag { vec![] } else { vec![HostId::new(format!("h{host}"))] },
        host_tags: if tag { vec!["ssd".to_owned()] } else { vec![] },
        strength: if kind == 0 { Strength::Required } else { Strength::Preferred(i32::from(kind) - 6) },
    });
    (1..9_u64, 1..4_u64, 0..3_i32, prop::collection::vec(rule, 0..2), prop::option::of(0..hosts), 0..12_u8).prop_map(
        |(memory, vcpus, priority, rules, current, reach)| {
            let current = current.map(|host| HostId::new(format!("h{host}")));
            Request {
                needs: Resources::of(memory, vcpus),
                priority,
                rules,
                origin: Arc::new(Origin::default_of("vm")),
                reach: match (reach, &current) {
                    (0, Some(home)) => Reach::Host(home.clone()),
                    _ => Reach::Site("here".into()),
                },
                only: None,
                unready: Default::default(),
                back_to: None,
                excluded: if reach == 1 {
                    current.iter().map(|host| (host.clone(), Refusal::FailedThere)).collect()
                } else {
                    BTreeMap::new()
                },
                current,
            }
        },
    )
}

fn some_group(workloads: usize) -> impl Strategy<Value = Group> {
    let members = prop::collection::btree_set(0..workloads, 2..4);
    (any::<bool>(), prop::option::of(1..20_i32), members).prop_map(|(together, points, members)| Group {
        bond: if together { Bond::Together } else { Bond::Apart },
        strength: points.map_or(Strength::Required, Strength::Preferred),
        members: members.into_iter().map(|number| WorkloadId::new(format!("w{number}"))).collect(),
        origin: Arc::new(Origin::default_of("group")),
    })
}

/// Workloads up to `w4` are residents where they fit (broken constraints included), the others are requests.
fn some_case() -> impl Strategy<Value = Case> {
    (1..6_usize, 2..14_usize)
        .prop_flat_map(|(hosts, workloads)| {
            (
                prop::collection::vec(some_host(), hosts),
                prop::collection::vec(some_request(hosts), workloads),
                prop::collection::vec(some_group(workloads.max(4)), 0..4),
            )
        })
        .prop_map(|(hosts, workloads, groups)| {
            let mut hosts: BTreeMap<HostId, HostCandidate> =
                hosts.into_iter().enumerate().map(|(number, host)| (HostId::new(format!("h{number}")), host)).collect();
            let (mut residents, mut requests) = (BTreeMap::new(), BTreeMap::new());
            for (number, request) in workloads.into_iter().enumerate() {
                let id = WorkloadId::new(format!("w{number}"));
                let home = request.current.as_ref().filter(|_| number < 5).and_then(|home| hosts.get_mut(home));
                match home.filter(|home| home.capacity.minus(home.used).lacks(request.needs).is_none()) {
                    Some(home) => {
                        home.used = home.used.plus(request.needs);
                        residents.insert(id, request);
                    }
                    None => _ = requests.insert(id, request),
                }
            }
            Case { hosts, residents, requests, groups }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn capacity_and_required_constraints_hold_and_every_refusal_has_its_reason(case in some_case()) {
        let placement = case.place();
        let at = case.places(&placement);
        let mut used: BTreeMap<&HostId, Resources> = case.hosts.iter().map(|(id, host)| (id, host.used)).collect();
        for (id, chosen) in &placement.placed {
            let sum = used.get_mut(&chosen.host).expect("a host of this cluster");
            *sum = sum.plus(case.requests[id].needs);
            prop_assert!(case.hosts[&chosen.host].capacity.lacks(*sum).is_none(), "{} is overfilled", chosen.host);
            prop_assert_eq!(case.broken(id, &case.requests[id], &chosen.host, &at), None);
        }
        for (id, refused) in &placement.unplaced {
            prop_assert!(case.hosts.keys().eq(refused.per_host.keys()), "{} lacks a reason: {}", id, refused);
        }
        prop_assert_eq!(placement.placed.len() + placement.unplaced.len(), case.requests.len());
    }

    #[test]
    fn the_order_of_input_does_not_matter(case in some_case()) {
        let mut turned = case.clone();
        turned.groups.reverse();
        prop_assert_eq!(case.places(&case.place()), case.places(&turned.place()));
        prop_assert_eq!(format!("{:?}", case.place()), format!("{:?}", case.place()));
    }

    /// Units of several are left out: their needs and rules are those of all members.
    #[test]
    fn nobody_waits_for_room_that_someone_less_important_took(mut case in some_case()) {
        case.groups.retain(|group| !group.requires(Bond::Together));
        let placement = case.place();
        for id in placement.unplaced.keys() {
            let wanted = &case.requests[id];
            let lower = placement.placed.iter().filter(|(other, _)| case.requests[*other].priority < wanted.priority);
            let lower: BTreeSet<&WorkloadId> = lower.map(|(other, _)| other).collect();
            let mut at = case.places(&placement);
            at.retain(|other, _| !lower.contains(other));
            for (host, candidate) in &case.hosts {
                let taken = placement.placed.iter().filter(|(other, chosen)| chosen.host == *host && !lower.contains(other));
                let used = taken.fold(candidate.used, |sum, (other, _)| sum.plus(case.requests[other].needs));
                let room = candidate.capacity.minus(used).lacks(wanted.needs).is_none();
                prop_assert!(!room || case.broken(id, wanted, host, &at).is_some(), "{} could be on {}: {:?}", id, host, placement);
            }
        }
    }

    #[test]
    fn rebalancing_gains_what_it_says_and_then_rests(mut case in some_case(), moves in 1..6_usize, least in 5..20_u64) {
        let limits = RebalanceLimits { moves, least_gain_percent: least };
        let already = violations(&case.residents, &case.hosts, &case.groups()).len();
        for round in 0.. {
            prop_assert!(round * least <= 100, "it does not come to rest");
            let proposal = rebalance(&case.residents, &case.hosts, &case.groups(), limits);
            prop_assert!(proposal.moves.len() <= moves);
            if proposal.moves.is_empty() {
                break;
            }
            for step in &proposal.moves {
                case.moved(step);
            }
            let (before, after) = (proposal.before.expect("hosts are in service"), proposal.after.expect("as before"));
            prop_assert!(before.share - after.share >= least * 100);
            prop_assert!(violations(&case.residents, &case.hosts, &case.groups()).len() <= already);
            let again = rebalance(&case.residents, &case.hosts, &case.groups(), limits);
            prop_assert_eq!(again.before, Some(after), "it gained what it said");
            prop_assert!(proposal.moves.len() == moves || again.moves.is_empty(), "it thrashes");
        }
    }

    #[test]
    fn mending_leaves_only_what_cannot_be_mended(mut case in some_case()) {
        let found = violations(&case.residents, &case.hosts, &case.groups());
        for violation in &found {
            violation.mend.steps().iter().for_each(|step| case.moved(step));
        }
        for left in violations(&case.residents, &case.hosts, &case.groups()) {
            let known = found.iter().find(|violation| violation.workload == left.workload);
            prop_assert!(matches!(known.map(|known| &known.mend), Some(Mend::Nowhere(_))), "{:?} after {:?}", left, found);
        }
    }
}

/// On clusters small enough to try everything: how often the search places as many as can be placed.
#[test]
fn the_search_places_as_many_as_can_be_placed() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut tried, mut best) = (0, 0);
    while tried < 300 {
        let mut case = some_case().new_tree(&mut runner).expect("no filters, so it can be drawn").current();
        case.groups.retain(|group| !group.requires(Bond::Together));
        if case.requests.len() > 6 || case.place().unplaced.is_empty() {
            continue;
        }
        tried += 1;
        best += usize::from(merit(&case, case.place().placed.keys()) == most(&case));
    }
    println!("{best} of {tried}");
    assert!(best * 100 >= tried * 98, "{best} of {tried}");
}

fn merit<'a>(case: &Case, placed: impl Iterator<Item = &'a WorkloadId>) -> [usize; 3] {
    let mut count = [0; 3];
    placed.for_each(|id| count[2 - case.requests[id].priority as usize] += 1);
    count
}

fn most(case: &Case) -> [usize; 3] {
    fn go(
        case: &Case,
        left: &[(&WorkloadId, &Request)],
        hosts: &mut BTreeMap<HostId, HostCandidate>,
        at: &mut BTreeMap<WorkloadId, HostId>,
    ) -> [usize; 3] {
        let Some(((id, request), rest)) = left.split_first() else {
            return merit(case, at.keys().filter(|id| case.requests.contains_key(*id)));
        };
        let mut best = go(case, rest, hosts, at);
        for host in case.hosts.keys() {
            let used = hosts[host].used;
            if hosts[host].capacity.minus(used).lacks(request.needs).is_some()
                || case.broken(id, request, host, at).is_some()
            {
                continue;
            }
            hosts.get_mut(host).expect("it is there").used = used.plus(request.needs);
            at.insert((*id).clone(), host.clone());
            best = best.max(go(case, rest, hosts, at));
            at.remove(*id);
            hosts.get_mut(host).expect("it is there").used = used;
        }
        best
    }
    let left: Vec<(&WorkloadId, &Request)> = case.requests.iter().collect();
    go(case, &left, &mut case.hosts.clone(), &mut case.places(&Placement::default()))
}

/// Names only break ties: how often other names for hosts and workloads change how many are placed, or how well.
#[test]
fn names_do_not_matter() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut placed_alike, mut as_good) = (0, 0);
    const TRIED: usize = 2_000;
    for _ in 0..TRIED {
        let case = some_case().new_tree(&mut runner).expect("no filters, so it can be drawn").current();
        let renamed = case.renamed();
        let (one, other) = (worth(&case, &case.place()), worth(&renamed, &renamed.place()));
        placed_alike += usize::from(one.0 == other.0);
        as_good += usize::from(one == other);
    }
    println!("{placed_alike} placed alike, {as_good} as good, of {TRIED}");
    assert!(placed_alike * 1_000 >= TRIED * 995, "{placed_alike} of {TRIED}");
    assert!(as_good * 100 >= TRIED * 98, "{as_good} of {TRIED}");
}

/// On clusters small enough to try everything: how often all broken constraints are repaired that can be.
#[test]
fn what_can_be_mended_is_mended() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut tried, mut mended, mut drawn) = (0, 0, 0);
    while tried < 200 && drawn < 40_000 {
        drawn += 1;
        let mut case = some_case().new_tree(&mut runner).expect("no filters, so it can be drawn").current();
        case.requests.clear();
        case.groups.retain(|group| group.strength == Strength::Required);
        if violations(&case.residents, &case.hosts, &case.groups()).is_empty() || !could_be_whole(&case) {
            continue;
        }
        tried += 1;
        for _ in 0..5 {
            for violation in violations(&case.residents, &case.hosts, &case.groups()) {
                violation.mend.steps().iter().for_each(|step| case.moved(step));
            }
        }
        mended += usize::from(violations(&case.residents, &case.hosts, &case.groups()).is_empty());
    }
    println!("{mended} of {tried} of {drawn}");
    assert!(mended * 100 >= tried * 85, "{mended} of {tried}");
}

/// True if there is a place for every resident so that nothing is broken, whatever has to be moved for it.
fn could_be_whole(case: &Case) -> bool {
    fn go(
        case: &Case,
        left: &[(&WorkloadId, &Request)],
        hosts: &mut BTreeMap<HostId, HostCandidate>,
        at: &mut BTreeMap<WorkloadId, HostId>,
    ) -> bool {
        let Some(((id, request), rest)) = left.split_first() else { return true };
        for host in case.hosts.keys() {
            let used = hosts[host].used;
            let stays = request.current.as_ref() == Some(host);
            let usable = stays || (hosts[host].refused.is_none() && !request.excluded.contains_key(host));
            let fits = hosts[host].capacity.minus(used).lacks(request.needs).is_none();
            if !usable || !fits || breaks(case, id, request, host, at) {
                continue;
            }
            hosts.get_mut(host).expect("it is there").used = used.plus(request.needs);
            at.insert((*id).clone(), host.clone());
            if go(case, rest, hosts, at) {
                return true;
            }
            at.remove(*id);
            hosts.get_mut(host).expect("it is there").used = used;
        }
        false
    }
    let left: Vec<(&WorkloadId, &Request)> = case.residents.iter().collect();
    let mut hosts = case.hosts.clone();
    hosts.values_mut().for_each(|host| host.used = Resources::ZERO);
    go(case, &left, &mut hosts, &mut BTreeMap::new())
}

fn breaks(case: &Case, id: &WorkloadId, request: &Request, host: &HostId, at: &BTreeMap<WorkloadId, HostId>) -> bool {
    let stays = request.current.as_ref() == Some(host);
    let reach = matches!(&request.reach, Reach::Host(home) if home != host)
        || matches!(&request.reach, Reach::Site(site) if *site != case.hosts[host].site);
    let groups = case.groups.iter().filter(|group| group.members.contains(id)).any(|group| {
        let mut others = group.members.iter().filter(|other| *other != id).filter_map(|other| at.get(other));
        match group.bond {
            Bond::Together => others.any(|other| other != host),
            Bond::Apart => others.any(|other| other == host),
        }
    });
    unit::required_elsewhere(&request.rules, host, &case.hosts[host]) || (reach && !stays) || groups
}
