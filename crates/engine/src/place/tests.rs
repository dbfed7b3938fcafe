//! One test for every sentence of `docs/placement.md`.

use super::*;
use mainstay_model::spec::Strength;

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
        excluded: BTreeMap::new(),
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
fn scores_count_in_their_order() {
    let full = |used: u64| HostCandidate { used: Resources::of(used * 1024, 0), ..host(64) };
    let at_home = Request { current: Some("h2".into()), ..request(4) };
    let preferring = Request { rules: vec![rule(&["h4"], Strength::Preferred(10))], ..at_home.clone() };
    let spare = HostCandidate { spare: true, ..host(64) };
    // The emptier one; the one where it ran though fuller; the preferred one though it ran elsewhere; a spare last.
    for (web, expected) in [
        (request(4), "h1: memory then 7 % used; rather than h3, which would be fuller"),
        (at_home, "h2: where it ran; memory then 21 % used; rather than h1, where it did not run"),
        (preferring, "h2: where it ran; memory then 21 % used; rather than h1, where it did not run"),
    ] {
        let hosts = named([("h1", full(1)), ("h2", full(10)), ("h3", full(5)), ("h4", spare.clone())]);
        let placement = place(&named([("web", web)]), &hosts, &Groups::default());
        assert_eq!(placement.placed["web"].to_string(), expected);
    }
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
