//! One test for every sentence of `docs/placement.md`.

use super::*;
use mainstay_model::{ResourceKind, spec::Strength};

fn host(memory_gib: u64) -> HostCandidate {
    HostCandidate {
        site: "here".into(),
        tags: BTreeSet::new(),
        capacity: Resources::of(memory_gib * 1024, 64),
        used: Resources::ZERO,
        spare: false,
        refused: None,
    }
}

fn request(memory_gib: u64) -> Request {
    Request {
        needs: Resources::of(memory_gib * 1024, 1),
        priority: 0,
        rules: Vec::new(),
        origin: Arc::new(Origin { file: "mainstay.toml".into(), line: 7, key: "vm.web".into() }),
        reach: Reach::Site("here".into()),
        current: None,
        only: None,
        back_to: None,
        excluded: BTreeMap::new(),
        unready: Default::default(),
    }
}

fn named<K: Ord + for<'a> From<&'a str>, V>(items: impl IntoIterator<Item = (&'static str, V)>) -> BTreeMap<K, V> {
    items.into_iter().map(|(name, item)| (K::from(name), item)).collect()
}

fn group(bond: Bond, strength: Strength, members: &[&str]) -> Group {
    Group {
        bond,
        strength,
        members: members.iter().map(|name| WorkloadId::from(*name)).collect(),
        origin: Arc::new(Origin::default_of("groups")),
    }
}

fn rule(hosts: &[&str], strength: Strength) -> HostRule {
    HostRule { hosts: hosts.iter().map(|name| HostId::from(*name)).collect(), host_tags: Vec::new(), strength }
}

/// `web-1 → h2, web-2 → h1`, or the reasons of those without a host.
fn told(placement: &Placement) -> String {
    let placed = placement.placed.iter().map(|(id, chosen)| format!("{id} → {}", chosen.host));
    let unplaced = placement.unplaced.iter().map(|(id, refused)| format!("{id}: {refused}"));
    placed.chain(unplaced).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_host_says_why_it_does_not_take_a_workload() {
    let hosts = named([
        ("h1", HostCandidate { used: Resources::of(11 * 1024, 0), ..host(16) }),
        ("h2", host(64)),
        ("h3", HostCandidate { refused: Some(Refusal::Maintenance), ..host(64) }),
        ("h4", HostCandidate { refused: Some(Refusal::NotOnline { health: "lost".into() }), ..host(64) }),
        ("h5", host(64)),
        ("h6", HostCandidate { site: "there".into(), ..host(64) }),
    ]);
    let excluded = named([("h5", Refusal::FailedThere)]);
    let requests = named([("web-2", Request { excluded, ..request(8) })]);
    let mut groups = Groups::new([group(Bond::Apart, Strength::Required, &["web-1", "web-2"])]);
    groups.locate(&"web-1".into(), [HostId::from("h2")]);
    assert_eq!(
        told(&place(&requests, &hosts, &groups)),
        "web-2: h1: memory 8 GiB needed, 5 GiB free; h2: kept apart from web-1; h3: in maintenance; \
         h4: not online (lost); h5: failed to start there; h6: its disks are at site here"
    );
}

#[test]
fn who_is_bound_for_one_host_is_placed_alike_whether_others_are_looked_at_or_not() {
    let all = named([("h1", host(8)), ("h2", host(64)), ("h3", host(64))]);
    let few = named([("h1", host(8)), ("h2", host(64))]);
    let bound = |memory, to: &str| Request { only: Some(to.into()), ..request(memory) };
    let mut requests = named([("db-1", bound(4, "h1")), ("web-1", bound(4, "h1")), ("web-2", bound(4, "h2"))]);
    let mut groups = Groups::new([
        group(Bond::Apart, Strength::Required, &["web-1", "web-2"]),
        group(Bond::Together, Strength::Preferred(5), &["web-1", "web-3"]),
    ]);
    groups.locate(&"web-3".into(), [HostId::from("h3")]);
    let placement = place(&requests, &all, &groups);
    assert_eq!(told(&placement), "db-1 → h1, web-1 → h1, web-2 → h2");
    assert_eq!(placement, place(&requests, &few, &groups));
    requests.insert("web-2".into(), bound(4, "h1"));
    assert_eq!(
        told(&place(&requests, &few, &groups)),
        "db-1 → h1, web-1 → h1, web-2: h1: kept apart from web-1; h2: it is to run on h1"
    );
}

#[test]
fn scores_count_in_their_order() {
    let filled = |used: u64| HostCandidate { used: Resources::of(used * 1024, 0), ..host(64) };
    let spare = HostCandidate { spare: true, ..host(64) };
    let three = [("h1", filled(1)), ("h2", filled(10)), ("h3", filled(5))];
    let home = Request { current: Some("h2".into()), ..request(4) };
    let preferred = rule(&["h3"], Strength::Preferred(10));
    let preferring = Request { rules: vec![preferred], ..home.clone() };
    let full = [("h1", filled(64)), ("h2", filled(63)), ("h3", filled(64))];
    for (hosts, web, expected) in [
        (three.clone(), request(4), "h1: memory then 7 % used; rather than h3, which would be fuller"),
        (three.clone(), home, "h2: where it ran; memory then 21 % used; rather than h1, where it did not run"),
        (
            three,
            preferring.clone(),
            "h3: preferred (+10) by mainstay.toml:7 `vm.web`; memory then 14 % used; rather than h2, preferred less",
        ),
        (full, preferring, "h4: a spare; memory then 6 % used; no other host fits"),
    ] {
        let mut hosts = named(hosts);
        hosts.insert("h4".into(), spare.clone());
        let placement = place(&named([("web", web)]), &hosts, &Groups::default());
        assert_eq!(placement.placed["web"].to_string(), expected);
    }
}

#[test]
fn preferred_company_attracts_and_repels() {
    let hosts = named([("h1", host(64)), ("h2", host(64)), ("h3", host(64))]);
    for (bond, expected) in [
        (Bond::Together, "h2: together with db (+5); memory then 6 % used; rather than h1, preferred less"),
        (Bond::Apart, "h1: memory then 6 % used; rather than h3, its equal"),
    ] {
        let mut groups = Groups::new([group(bond, Strength::Preferred(5), &["db", "web"])]);
        groups.locate(&"db".into(), [HostId::from("h2")]);
        let placement = place(&named([("web", request(4))]), &hosts, &groups);
        assert_eq!(placement.placed["web"].to_string(), expected);
    }
}

#[test]
fn who_must_be_together_goes_as_one_or_not_at_all() {
    let mut groups = Groups::new([group(Bond::Together, Strength::Required, &["app", "cache", "db"])]);
    let requests = named([("app", request(4)), ("db", request(6)), ("lone", request(5))]);
    // Each would fit on h1, but not both.
    let hosts = named([("h1", host(8)), ("h2", host(12))]);
    assert_eq!(told(&place(&requests, &hosts, &groups)), "app → h2, db → h2, lone → h1");
    let hosts = named([("h1", host(8))]);
    assert_eq!(
        told(&place(&requests, &hosts, &groups)),
        "lone → h1, app: h1: memory 10 GiB needed by app and db together, 3 GiB free, \
         db: h1: memory 10 GiB needed by app and db together, 3 GiB free"
    );
    // Where one of them runs already, whoever still fits starts beside it.
    let hosts = named([("h1", host(8)), ("h2", host(64))]);
    groups.locate(&"cache".into(), [HostId::from("h1")]);
    assert_eq!(
        told(&place(&requests, &hosts, &groups)),
        "db → h1, lone → h2, app: h1: memory 4 GiB needed, 2 GiB free; h2: must be with cache on h1"
    );
}

#[test]
fn more_important_ones_take_the_room() {
    let hosts = named([("h1", host(8))]);
    let requests = named([("big", request(8)), ("small", Request { priority: 1, ..request(1) })]);
    assert_eq!(
        told(&place(&requests, &hosts, &Groups::default())),
        "small → h1, big: h1: memory 8 GiB needed, 7 GiB free"
    );
}

#[test]
fn more_important_ones_choose_first() {
    let wants_h1 = Request { rules: vec![rule(&["h1"], Strength::Preferred(1))], ..request(5) };
    let important = Request { priority: 1, needs: request(4).needs, ..wants_h1.clone() };
    let hosts = named([("h1", host(8)), ("h2", host(8))]);
    let requests = named([("important", important), ("other", wants_h1)]);
    assert_eq!(told(&place(&requests, &hosts, &Groups::default())), "important → h1, other → h2");
}

/// `a` and `b` leave their homes to make room for `u1` and `u2`; by then `w`, which had found no room, could have what
/// `u2` got.
#[test]
fn room_that_ejection_made_goes_to_the_most_important_who_waits() {
    let bound = |host: &str, priority, memory| Request {
        priority,
        rules: vec![rule(&[host], Strength::Required)],
        ..request(memory)
    };
    let settled = |home: &str, hosts: &[&str], memory| Request {
        priority: 9,
        current: Some(home.into()),
        rules: vec![rule(hosts, Strength::Required)],
        ..request(memory)
    };
    let requests = named([
        ("a", settled("h1", &["h1", "h2"], 4)),
        ("b", settled("h2", &["h2", "h3"], 8)),
        ("u1", bound("h2", 1, 3)),
        ("u2", bound("h1", 0, 7)),
        ("w", bound("h1", 5, 9)),
    ]);
    let hosts = named([("h1", host(10)), ("h2", host(10)), ("h3", host(10))]);
    let placement = place(&requests, &hosts, &Groups::default());
    assert!(told(&placement).starts_with("a → h2, b → h3, u1 → h2, w → h1, u2: h1:"), "{}", told(&placement));
}

#[test]
fn a_drained_pair_moves_as_one() {
    let mut groups = Groups::new([group(Bond::Together, Strength::Required, &["app", "db"])]);
    let leaving = Request { current: Some("h1".into()), ..request(4) };
    let requests = named([("app", leaving.clone()), ("db", leaving)]);
    for workload in requests.keys() {
        groups.locate(workload, [HostId::from("h1")]);
    }
    let drained = HostCandidate { refused: Some(Refusal::Maintenance), ..host(64) };
    let hosts = named([("h1", drained), ("h2", host(6)), ("h3", host(8))]);
    assert_eq!(told(&place(&requests, &hosts, &groups)), "app → h3, db → h3");
}

#[test]
fn many_hosts_are_told_in_one_sentence() {
    let lost = |number: usize| (HostId::new(format!("h{number:02}")), Refusal::NotOnline { health: "lost".into() });
    let full = |number: u64| {
        let refusal = Refusal::Lacks { what: ResourceKind::Cpu, needed: 400, free: number, together: BTreeSet::new() };
        (HostId::new(format!("k{number:02}")), refusal)
    };
    let refused = NoHostFits { per_host: (0..12).map(lost).chain((1..10).map(full)).collect() };
    assert!(
        refused.to_string().starts_with(
            "h00, h01 and 10 more: not online (lost); k01: cpu 4 vCPU needed, 0.01 vCPU free; k02: cpu 4 vCPU needed,"
        ),
        "{refused}"
    );
    assert!(refused.to_string().ends_with("; and 2 more hosts refuse"), "{refused}");
}

#[test]
fn a_survey_answers_why_not_there() {
    let hosts = named([("h1", host(2)), ("h2", host(8))]);
    let verdicts = survey(&"web".into(), &request(4), &hosts, &Groups::default());
    let lacks = Refusal::Lacks { what: ResourceKind::Memory, needed: 4096, free: 2048, together: BTreeSet::new() };
    assert_eq!(verdicts["h1"], Verdict::Refused(lacks));
    assert_eq!(verdicts["h2"], Verdict::Fits(vec![ScorePart::Share { what: ResourceKind::Memory, percent: 50 }]));
}

/// What runs on hosts of 16 GiB each, and their fill.
fn running(
    on: &[(&'static str, &'static str, u64)],
) -> (BTreeMap<WorkloadId, Request>, BTreeMap<HostId, HostCandidate>) {
    let mut hosts = named([("h1", host(16)), ("h2", host(16)), ("h3", host(16))]);
    let workloads = on.iter().map(|(name, home, memory)| {
        let request = Request { current: Some((*home).into()), ..request(*memory) };
        let candidate = hosts.get_mut(*home).expect("one of the three");
        candidate.used = candidate.used.plus(request.needs);
        (*name, request)
    });
    (named(workloads.collect::<Vec<_>>()), hosts)
}

#[test]
fn rebalancing_says_what_it_gains_or_why_it_rests() {
    let (workloads, hosts) = running(&[("a", "h1", 8), ("b", "h1", 4), ("c", "h1", 3), ("d", "h2", 8)]);
    let proposal = rebalance(&workloads, &hosts, &Groups::default(), RebalanceLimits::default());
    assert_eq!(
        proposal.to_string(),
        "1 move lowers the largest use share from 93 % (memory of h1) to 50 % (memory of h2)"
    );
    let step = &proposal.moves[0];
    assert_eq!(
        format!("{} {} → {}: {}", step.workload, step.from, step.to, step.why),
        "a h1 → h3: h1 falls from 93 % memory used to 43 %, h3 comes to 50 %"
    );
    let (workloads, hosts) = running(&[("a", "h1", 5), ("b", "h1", 1), ("c", "h2", 5), ("d", "h3", 4)]);
    let proposal = rebalance(&workloads, &hosts, &Groups::default(), RebalanceLimits::default());
    assert_eq!(
        proposal.to_string(),
        "the largest use share is 37 % (memory of h1); 6 points could be gained by 5 moves, less than the 10 asked"
    );
}

#[test]
fn broken_constraints_are_found_and_mended_at_the_cost_of_the_less_important() {
    let (mut workloads, hosts) = running(&[("web-1", "h1", 4), ("web-2", "h1", 4), ("app", "h2", 2), ("db", "h3", 8)]);
    workloads.get_mut("web-2").expect("it runs").priority = 1;
    let mut groups = Groups::new([
        group(Bond::Apart, Strength::Required, &["web-1", "web-2"]),
        group(Bond::Together, Strength::Required, &["app", "db"]),
    ]);
    for (workload, request) in &workloads {
        groups.locate(workload, request.current.clone());
    }
    let told: Vec<String> = violations(&workloads, &hosts, &groups)
        .iter()
        .map(|violation| match &violation.mend {
            Mend::Move(step) => format!("{} → {}: {}", violation.workload, step.to, step.why),
            Mend::Together(steps) => format!("{} moves along", steps.len()),
            Mend::Nowhere(refused) => format!("{}: {refused}", violation.workload),
        })
        .collect();
    assert_eq!(told, ["app → h3: on h2: must be with db on h3", "web-1 → h2: on h1: kept apart from web-2"]);
}

#[test]
fn ejection_finds_what_greedy_misses() {
    // `any` is bigger and goes first, to h1; `bound` may run on h1 only.
    let hosts = named([("h1", host(8)), ("h2", host(8))]);
    let bound = Request { rules: vec![rule(&["h1"], Strength::Required)], ..request(6) };
    for priority in [0, 5] {
        let any = Request { priority, ..request(7) };
        let placement = place(&named([("any", any), ("bound", bound.clone())]), &hosts, &Groups::default());
        assert_eq!(told(&placement), "any → h2, bound → h1");
        assert_eq!(placement.placed["any"].to_string(), "h2: memory then 87 % used; making room on h1 for another");
    }
}

/// Bounds of the issue, and one of our own for a disaster in which not all fit. They are meant for release builds.
#[test]
#[cfg_attr(debug_assertions, ignore = "cargo test --release")]
fn planning_stays_within_its_time() {
    for (hosts, workloads, lost, bound_ms) in [(64, 2_000, 1, 5), (500, 10_000, 1, 60), (500, 10_000, 250, 5_000)] {
        let mut cluster = synthetic::cluster(hosts, workloads);
        let requests = cluster.lose(lost);
        // The best of three: others work on this machine too.
        let run = |_| {
            let begun = std::time::Instant::now();
            let placement = place(&requests, &cluster.hosts, &cluster.groups);
            assert_eq!(placement.placed.len() + placement.unplaced.len(), requests.len());
            begun.elapsed()
        };
        let took = (0..3).map(run).min().expect("three runs");
        println!("{hosts} hosts, {workloads} workloads, {lost} lost, {} requests: {took:?}", requests.len());
        assert!(took.as_millis() < bound_ms, "{took:?}");
    }
}
