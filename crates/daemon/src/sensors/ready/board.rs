//! What guests need, and which hosts look for which guests.
//!
//! In a site of many hosts a guest is looked for on a few of them, by rendezvous hashing: always on the same ones, and a host
//! that comes or goes changes little. Who looks for whom is kept, as there are ten million pairs in a large site, and only the
//! hosts that look for a guest learn that its needs have changed.

use mainstay_libvirt::ready::{DiskIdentity, Requirements};
use mainstay_model::{HostId, SiteId, WorkloadId};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

use super::pace::Pace;

/// More hosts than this tell no more: a guest fits most of them or none.
pub(super) const HOSTS_PER_GUEST: usize = 16;

/// What guests need, by name, and which hosts are watched. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    board: Arc<Mutex<Board>>,
    /// How fast all hosts together are asked.
    pub(super) pace: Pace,
}

#[derive(Debug, Default)]
struct Board {
    guests: BTreeMap<WorkloadId, Guest>,
    hosts: BTreeMap<HostId, Host>,
}

/// What one guest needs, as read on the host where its definition counts, or as it was last known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    pub site: SiteId,
    /// Where its definition counts.
    pub home: HostId,
    pub requirements: Arc<Requirements>,
}

#[derive(Debug)]
struct Guest {
    needed: Needed,
    /// What lies at the paths of its block devices on the host where it runs.
    disks: BTreeMap<String, DiskIdentity>,
    /// The hosts that look for it, by their rank.
    looked_for_on: Vec<(u64, HostId)>,
}

#[derive(Debug)]
struct Host {
    site: SiteId,
    hash: u64,
    guests: BTreeSet<WorkloadId>,
    changed: watch::Sender<u64>,
}

impl Needs {
    /// A guest's definition was read at its host.
    pub fn learn(&self, workload: &WorkloadId, site: &SiteId, home: &HostId, requirements: Requirements) {
        let needed = Needed { site: site.clone(), home: home.clone(), requirements: Arc::new(requirements) };
        let mut board = self.lock();
        let before = board.guests.get(workload).map(|guest| guest.needed.clone());
        if before.as_ref() == Some(&needed) {
            return;
        }
        match board.guests.get_mut(workload) {
            Some(guest) => guest.needed = needed.clone(),
            None => {
                let guest = Guest { needed: needed.clone(), disks: BTreeMap::new(), looked_for_on: Vec::new() };
                board.guests.insert(workload.clone(), guest);
            }
        }
        if before.as_ref().is_none_or(|before| before.site != needed.site) {
            board.assign(workload);
        }
        // What a passed-through device means depends on which host is its own.
        let bound = !needed.requirements.passed_through.is_empty();
        let only_moved = !bound
            && before.is_some_and(|before| (before.site, before.requirements) == (needed.site, needed.requirements));
        if !only_moved {
            board.tell(workload);
        }
    }

    /// What the guest's own host has at the paths of its block devices. Other hosts look again if it is news.
    pub(super) fn found_at_home(&self, workload: &WorkloadId, disks: BTreeMap<String, DiskIdentity>) {
        let mut board = self.lock();
        let Some(guest) = board.guests.get_mut(workload).filter(|guest| guest.disks != disks) else { return };
        guest.disks = disks;
        board.tell(workload);
    }

    pub(super) fn at_home(&self, workload: &WorkloadId) -> BTreeMap<String, DiskIdentity> {
        self.lock().guests.get(workload).map(|guest| guest.disks.clone()).unwrap_or_default()
    }

    pub(super) fn knows(&self, workload: &WorkloadId) -> bool {
        self.lock().guests.contains_key(workload)
    }

    /// The host is watched from here on. What is given back changes when guests that it looks for need something else.
    pub(super) fn watches(&self, site: &SiteId, host: &HostId) -> watch::Receiver<u64> {
        let mut board = self.lock();
        if let Some(known) = board.hosts.get(host) {
            return known.changed.subscribe();
        }
        let (changed, changes) = watch::channel(0);
        let hash = hash(host.as_str());
        board.hosts.insert(host.clone(), Host { site: site.clone(), hash, guests: BTreeSet::new(), changed });
        let Board { guests, hosts } = &mut *board;
        for (workload, guest) in guests.iter_mut().filter(|(_, guest)| guest.needed.site == *site) {
            guest.offer(rank(self::hash(workload.as_str()), hash), host, workload, hosts);
        }
        changes
    }

    /// The host is watched no more.
    pub fn forget(&self, host: &HostId) {
        let mut board = self.lock();
        let Some(gone) = board.hosts.remove(host) else { return };
        for workload in gone.guests {
            board.assign(&workload);
        }
    }

    /// The guests that are to be looked for on this host, and those at home there whose block devices others compare.
    pub(super) fn of(&self, host: &HostId) -> Vec<(WorkloadId, Needed)> {
        let board = self.lock();
        let Some(looks) = board.hosts.get(host) else { return Vec::new() };
        let at_home = board.guests.iter().filter(|(workload, guest)| {
            guest.needed.home == *host
                && !guest.needed.requirements.block_devices.is_empty()
                && !looks.guests.contains(*workload)
        });
        let looked_for = looks.guests.iter().filter_map(|workload| board.guests.get_key_value(workload));
        looked_for.chain(at_home).map(|(workload, guest)| (workload.clone(), guest.needed.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Chooses the hosts that look for the guest.
    fn assign(&mut self, workload: &WorkloadId) {
        let Board { guests, hosts } = self;
        let Some(guest) = guests.get_mut(workload) else { return };
        for (_, host) in guest.looked_for_on.drain(..) {
            if let Some(host) = hosts.get_mut(&host) {
                host.guests.remove(workload);
            }
        }
        // Never as long as the list of hosts, also not as a capacity: there may be ten thousand guests.
        let mut first: Vec<(u64, HostId)> = Vec::with_capacity(HOSTS_PER_GUEST + 1);
        let own = hash(workload.as_str());
        for (name, host) in hosts.iter().filter(|(_, host)| host.site == guest.needed.site) {
            let rank = rank(own, host.hash);
            let at = first.partition_point(|(other, _)| *other < rank);
            if at < HOSTS_PER_GUEST {
                first.insert(at, (rank, name.clone()));
                first.truncate(HOSTS_PER_GUEST);
            }
        }
        for (_, host) in &first {
            if let Some(host) = hosts.get_mut(host) {
                host.guests.insert(workload.clone());
            }
        }
        guest.looked_for_on = first;
    }

    /// Hosts that look for the guest look again soon.
    fn tell(&self, workload: &WorkloadId) {
        let Some(guest) = self.guests.get(workload) else { return };
        let others = guest.looked_for_on.iter().map(|(_, host)| host);
        for host in others.chain([&guest.needed.home]).filter_map(|host| self.hosts.get(host)) {
            host.changed.send_modify(|version| *version += 1);
        }
    }
}

impl Guest {
    /// A host more: it looks for the guest if it ranks among the first.
    fn offer(&mut self, rank: u64, host: &HostId, workload: &WorkloadId, hosts: &mut BTreeMap<HostId, Host>) {
        let at = self.looked_for_on.partition_point(|(other, _)| *other < rank);
        if at == HOSTS_PER_GUEST {
            return;
        }
        self.looked_for_on.insert(at, (rank, host.clone()));
        if let Some(host) = hosts.get_mut(host) {
            host.guests.insert(workload.clone());
        }
        if self.looked_for_on.len() > HOSTS_PER_GUEST
            && let Some((_, last)) = self.looked_for_on.pop()
            && let Some(last) = hosts.get_mut(&last)
        {
            last.guests.remove(workload);
        }
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Each guest has its own order of hosts.
fn rank(workload: u64, host: u64) -> u64 {
    // The finish of splitmix64: every bit of the input counts in every bit of the output.
    let mut mixed = (workload ^ host).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_libvirt::ready::NeededDevice;

    fn on_disk() -> Requirements {
        let device = NeededDevice { path: "/dev/disk/by-id/wwn-0x6001405a".to_owned(), drive: false };
        Requirements { block_devices: vec![device], ..Requirements::default() }
    }

    #[test]
    fn in_a_large_site_a_guest_is_looked_for_on_some_hosts_and_always_on_the_same() {
        let (needs, site) = (Needs::default(), SiteId::from("paris"));
        let hosts: Vec<HostId> = (0..100).map(|number| HostId::new(format!("h{number}"))).collect();
        // Half of the hosts are known before the guest, half after it: that makes no difference.
        hosts[..50].iter().for_each(|host| drop(needs.watches(&site, host)));
        needs.learn(&"web-1".into(), &site, &"h0".into(), Requirements::default());
        hosts[50..].iter().for_each(|host| drop(needs.watches(&site, host)));
        let looked_on = || hosts.iter().filter(|host| !needs.of(host).is_empty()).cloned().collect::<Vec<_>>();
        let before = looked_on();
        assert_eq!(before.len(), HOSTS_PER_GUEST);
        let kept = needs.lock().guests[&WorkloadId::from("web-1")].looked_for_on.capacity();
        assert!(kept <= 2 * HOSTS_PER_GUEST, "room for {kept} hosts is kept for each guest");
        needs.lock().assign(&"web-1".into());
        assert_eq!(looked_on(), before);
        needs.forget(&before[0]);
        let after = looked_on();
        assert_eq!(after.len(), HOSTS_PER_GUEST);
        assert!(before[1..].iter().all(|host| after.contains(host)), "{before:?} {after:?}");
    }

    #[test]
    fn only_hosts_that_look_for_a_guest_hear_of_its_changes() {
        let (needs, site) = (Needs::default(), SiteId::from("paris"));
        let hosts: Vec<HostId> = (0..100).map(|number| HostId::new(format!("h{number}"))).collect();
        let mut changes: Vec<_> = hosts.iter().map(|host| needs.watches(&site, host)).collect();
        let mut told = || {
            let told = changes
                .iter_mut()
                .filter(|changes| changes.has_changed().unwrap())
                .map(|changes| changes.mark_unchanged());
            told.count()
        };
        needs.learn(&"web-1".into(), &site, &"h0".into(), Requirements::default());
        let first = told();
        assert!((HOSTS_PER_GUEST..=HOSTS_PER_GUEST + 1).contains(&first), "{first}");
        // Read again, or on another host after a move: it needs what it needed.
        needs.learn(&"web-1".into(), &site, &"h0".into(), Requirements::default());
        needs.learn(&"web-1".into(), &site, &"h1".into(), Requirements::default());
        assert_eq!(told(), 0);
        needs.learn(&"web-1".into(), &site, &"h1".into(), on_disk());
        assert!(told() >= HOSTS_PER_GUEST);
        let found = |size: u64| {
            let identity = DiskIdentity { size_bytes: Some(size), serial: None };
            needs.found_at_home(&"web-1".into(), [("/dev/disk/by-id/wwn-0x6001405a".to_owned(), identity)].into());
        };
        found(4096);
        assert!(told() >= HOSTS_PER_GUEST);
        found(4096);
        assert_eq!(told(), 0);
    }

    #[test]
    fn a_guest_with_a_block_device_is_looked_at_on_its_own_host_too() {
        let (needs, site) = (Needs::default(), SiteId::from("paris"));
        let hosts: Vec<HostId> = (0..100).map(|number| HostId::new(format!("h{number}"))).collect();
        hosts.iter().for_each(|host| drop(needs.watches(&site, host)));
        for home in &hosts {
            needs.learn(&"web-1".into(), &site, home, on_disk());
            assert_eq!(needs.of(home).len(), 1, "{home}");
        }
    }
}
