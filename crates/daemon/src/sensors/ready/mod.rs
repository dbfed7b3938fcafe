//! Which guests a host could start now. Every few minutes, and soon after a definition changed, each host is asked for what
//! it has; what guests need is known from their definitions.
//!
//! The cost is bounded. A host lists its networks, pools, bridges, secrets and devices once for all guests; machine types
//! and CPU models are asked about once per kind; of files, a bounded number is looked at in each pass, the longest unseen
//! first, and over all hosts so many a second ([`pace`]). In a site of many hosts a guest is looked for on a few of them
//! ([`board`]). A guest of which not everything is known yet is left out of the report, and so is one with a device that
//! libvirt can't tell of on this host, unless it lacks something else there: unknown is not ready. Of a guest that a
//! passed-through device binds to another host it is reported which devices can't be told. A block device is compared with
//! what the guest's own host has at its path.

mod board;
mod pace;

pub(crate) use board::Needs;

use self::board::Needed;
use super::{Context, STUCK};
use crate::{
    definition::Defined,
    link::Link,
    memory::Memory,
    pump::with_causes,
    supervise::{Part, Pulse},
};
use mainstay_libvirt::{
    Connection, Error,
    ready::{
        DeviceAnswer, DiskIdentity, Facilities, FileAnswer, HostIs, Machine, NeededDevice, Requirements, Wanted,
        named_by_kernel,
    },
};
use mainstay_model::{Fact, HostState, Obstacle, ObstacleKind, WorkloadId, spec::ClusterSpec};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// The first look waits until the host's own domains are known.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// Hosts that answer have told what their guests need by then.
const RECALL_AFTER: Duration = Duration::from_secs(30);
/// After a change of definitions the next look waits this long: a change seldom comes alone.
const GATHER: Duration = Duration::from_secs(3);
/// Files looked at in one pass. Each takes some calls for each image of its chain.
const FILES_PER_PASS: usize = 200;
/// While files are waiting for their first look, the next pass follows this soon.
const GO_ON_AFTER: Duration = Duration::from_secs(10);

/// What a definition asks of any host. State that one host alone keeps is the engine's to reckon with, and not counted twice.
pub(super) fn requirements(xml: &str, only_here: &BTreeSet<HostState>) -> Result<Requirements, Error> {
    let needs = Requirements::parse(xml)?;
    Ok(if only_here.contains(&HostState::UefiVariables) { needs.without_firmware_state() } else { needs })
}

/// Guests of hosts that did not answer in this term: what they need is known from their definitions on record. Once a term.
pub(crate) async fn recall(context: Context, spec: watch::Receiver<Arc<ClusterSpec>>) {
    sleep(RECALL_AFTER).await;
    let spec = Arc::clone(&spec.borrow());
    recall_now(&context.needs, &context.memory, &spec).await;
}

async fn recall_now(needs: &Needs, memory: &Memory, spec: &ClusterSpec) {
    for workload in memory.defined() {
        if needs.knows(&workload) {
            continue;
        }
        let read = async {
            let kept = memory.definition(&workload).await.ok()??;
            let site = spec.hosts.get(&kept.host)?.site.clone();
            let defined = Defined::read(&kept.xml).ok()?;
            Some((site, kept.host, requirements(&kept.xml, &defined.only_here).ok()?))
        };
        // Its host may have answered meanwhile, and knows better.
        if let Some((site, home, needed)) = read.await.filter(|_| !needs.knows(&workload)) {
            needs.learn(&workload, &site, &home, needed);
        }
    }
}

/// What one host said, from one pass to the next.
#[derive(Default)]
struct Answers {
    files: BTreeMap<String, (Instant, FileAnswer)>,
    /// Block devices that the host's list of devices can't tell of, as its storage pools have them.
    pool_devices: BTreeMap<String, (Instant, Option<DiskIdentity>)>,
    machines: BTreeMap<Machine, Option<Obstacle>>,
    cpus: BTreeMap<(Machine, String), Option<Obstacle>>,
}

/// Looks for ever. A failed look is not reported: heartbeats tell whether the host lives.
pub(super) async fn watch(link: &Link, context: &Context, pulse: &Pulse) {
    let Some(every) = link.config.driver.ready_every.map(|every| every.as_duration()) else {
        return std::future::pending().await;
    };
    let mut changed = context.needs.watches(&link.config.site, &link.host);
    let part = pulse.part("readiness", STUCK + every + 4 * link.limit());
    let mut answers = Answers::default();
    sleep(FIRST_AFTER).await;
    loop {
        part.beat();
        changed.mark_unchanged();
        let rest = match pass(link, context, &part, &mut answers, every).await {
            Ok(true) => every,
            Ok(false) => GO_ON_AFTER,
            Err(error) => {
                tracing::debug!(host = %link.host, error = with_causes(&error), "what it has for guests can't be asked now");
                every
            }
        };
        part.beat();
        if timeout(rest, changed.changed()).await.is_ok() {
            sleep(GATHER).await;
        }
    }
}

/// Waits for a turn that may be minutes away.
async fn wait(mut left: Duration, part: &Part) {
    while !left.is_zero() {
        let some = left.min(GO_ON_AFTER);
        sleep(some).await;
        part.beat();
        left -= some;
    }
}

/// One look at everything; true if no file waits for its first look.
async fn pass(
    link: &Link,
    context: &Context,
    part: &Part,
    answers: &mut Answers,
    every: Duration,
) -> Result<bool, Error> {
    let guests = context.needs.of(&link.host);
    if guests.is_empty() {
        return Ok(true);
    }
    let limit = link.limit();
    let runs_here = |workload: &WorkloadId| {
        context.roster.with(|all| all.get(workload).is_some_and(|present| present.host == link.host))
    };
    let elsewhere: Vec<&Requirements> =
        guests.iter().filter(|(workload, _)| !runs_here(workload)).map(|(_, needed)| &*needed.requirements).collect();
    let due = answers.due_files(&elsewhere, every);
    wait(context.needs.pace.turn(due.len()), part).await;
    let asked_at = context.clock.now();
    let connection = link.take().await?;
    let wanted = Wanted::by(guests.iter().map(|(_, needed)| &*needed.requirements));
    let facilities = Facilities::read(&connection, &wanted, limit).await?;
    answers.look(&connection, &elsewhere, due, part, limit).await?;
    answers.look_into_pools(&connection, &facilities, &guests, every, part, limit).await?;
    link.give_back(connection);
    let mut workloads = BTreeMap::new();
    let mut complete = true;
    for (workload, Needed { requirements: needs, home: own, .. }) in &guests {
        if runs_here(workload) {
            if !needs.block_devices.is_empty() {
                context.needs.found_at_home(workload, answers.disks(&facilities, needs));
            }
            continue;
        }
        let Some(Verdict { mut missing, mut unknown }) = answers.missing(needs) else {
            complete = false;
            continue;
        };
        complete &= needs.block_devices.iter().all(|device| answers.looked_for(&facilities, &device.path));
        let home = context.needs.at_home(workload);
        for device in &needs.block_devices {
            match compared(device, answers.device(&facilities, &device.path), home.get(&device.path)) {
                DeviceAnswer::There(_) => {}
                DeviceAnswer::Lacks(what) => missing.push(Obstacle::new(ObstacleKind::DiskDevice, what)),
                DeviceAnswer::Unknown => unknown = true,
            }
        }
        let host = if *own == link.host { HostIs::Home } else { HostIs::Another };
        missing.extend(facilities.lacks(needs, host));
        let untold = facilities.untold(needs, host);
        missing.extend(not_known(needs, host, &untold));
        missing.sort();
        if !missing.is_empty() || !unknown && untold.is_empty() {
            workloads.insert(workload.clone(), missing);
        }
    }
    let (host, workloads) = (link.host.clone(), Arc::new(workloads));
    context.report(Fact::Readiness { host, asked_at, workloads }).await;
    Ok(complete)
}

/// What is missing, and whether anything else is not known.
struct Verdict {
    missing: Vec<Obstacle>,
    unknown: bool,
}

/// Of a guest that is bound to another host people read what is not known here as well: it can't start here anyway. To any other
/// guest it would be an obstacle that may not exist.
fn not_known(needs: &Requirements, host: HostIs, untold: &[String]) -> Vec<Obstacle> {
    if host == HostIs::Home || needs.passed_through.is_empty() {
        return Vec::new();
    }
    let told = |name| Obstacle::new(ObstacleKind::Passthrough, format!("not known whether it has {name}"));
    untold.iter().map(told).collect()
}

/// A block device as it stands beside that of the guest's own host. A name that the kernel gave is no evidence alone.
fn compared(needed: &NeededDevice, here: DeviceAnswer, home: Option<&DiskIdentity>) -> DeviceAnswer {
    let NeededDevice { path, drive } = needed;
    let DeviceAnswer::There(identity) = here else { return here };
    if *drive {
        return DeviceAnswer::There(identity);
    }
    match home.and_then(|home| identity.differs(home)) {
        Some(differs) => DeviceAnswer::Lacks(format!("{path} {differs}")),
        None if named_by_kernel(path) && !home.is_some_and(|home| identity.comparable(home)) => DeviceAnswer::Unknown,
        None => DeviceAnswer::There(identity),
    }
}

impl Answers {
    /// Files to be looked at now. What is needed no more is forgotten.
    fn due_files(&mut self, guests: &[&Requirements], every: Duration) -> Vec<String> {
        let files = guests.iter().flat_map(|needs| &needs.files).map(|file| file.path.as_str());
        let needed: BTreeSet<&str> = files.collect();
        self.files.retain(|path, _| needed.contains(path.as_str()));
        due(&self.files, needed, every)
    }

    /// Asks for what is not known, and for these files.
    async fn look(
        &mut self,
        connection: &Connection,
        guests: &[&Requirements],
        files: Vec<String>,
        part: &Part,
        limit: Duration,
    ) -> Result<(), Error> {
        let machines: BTreeSet<&Machine> = guests.iter().map(|needs| &needs.machine).collect();
        let cpus: BTreeSet<(&Machine, &String)> =
            guests.iter().filter_map(|needs| Some((&needs.machine, needs.cpu.as_ref()?))).collect();
        // A host's software changes with a restart of libvirtd, and then everything is asked anew.
        for machine in machines {
            if !self.machines.contains_key(machine) {
                part.beat();
                self.machines.insert(machine.clone(), connection.lacks_machine(machine, limit).await?);
            }
        }
        for (machine, cpu) in cpus {
            if let Entry::Vacant(unknown) = self.cpus.entry((machine.clone(), cpu.clone())) {
                part.beat();
                unknown.insert(connection.lacks_cpu(machine, cpu, limit).await?);
            }
        }
        for path in files {
            part.beat();
            let answer = connection.file_answer(&path, limit).await?;
            self.files.insert(path, (Instant::now(), answer));
        }
        Ok(())
    }

    /// Asks the host's pools for block devices that its list of devices can't tell of.
    async fn look_into_pools(
        &mut self,
        connection: &Connection,
        facilities: &Facilities,
        guests: &[(WorkloadId, Needed)],
        every: Duration,
        part: &Part,
        limit: Duration,
    ) -> Result<(), Error> {
        let devices = guests.iter().flat_map(|(_, needed)| &needed.requirements.block_devices);
        let paths = devices.map(|device| device.path.as_str());
        let untold: BTreeSet<&str> =
            paths.filter(|path| facilities.block_device(path) == DeviceAnswer::Unknown).collect();
        self.pool_devices.retain(|path, _| untold.contains(path.as_str()));
        for path in due(&self.pool_devices, untold, every) {
            part.beat();
            let answer = connection.pool_device(&path, limit).await?;
            self.pool_devices.insert(path, (Instant::now(), answer));
        }
        Ok(())
    }

    /// A block device on this host, from its list of devices or else from its pools.
    fn device(&self, facilities: &Facilities, path: &str) -> DeviceAnswer {
        match facilities.block_device(path) {
            DeviceAnswer::Unknown => {
                let in_pool = self.pool_devices.get(path).and_then(|(_, found)| found.clone());
                in_pool.map_or(DeviceAnswer::Unknown, DeviceAnswer::There)
            }
            known => known,
        }
    }

    fn looked_for(&self, facilities: &Facilities, path: &str) -> bool {
        self.pool_devices.contains_key(path) || facilities.block_device(path) != DeviceAnswer::Unknown
    }

    /// What lies at the paths of a guest's block devices on this host.
    fn disks(&self, facilities: &Facilities, needs: &Requirements) -> BTreeMap<String, DiskIdentity> {
        let devices = needs.block_devices.iter().filter(|device| !device.drive);
        let found = devices.filter_map(|device| match self.device(facilities, &device.path) {
            DeviceAnswer::There(identity) => Some((device.path.clone(), identity)),
            DeviceAnswer::Lacks(_) | DeviceAnswer::Unknown => None,
        });
        found.collect()
    }

    /// What is missing of files, machine type and CPU; `None`: not everything was looked at.
    fn missing(&self, needs: &Requirements) -> Option<Verdict> {
        let (mut missing, mut unknown) = (Vec::new(), false);
        for file in &needs.files {
            match &self.files.get(&file.path)?.1 {
                FileAnswer::There => {}
                FileAnswer::Lacks(path) => missing.push(file.missing(path)),
                FileAnswer::Unknown => unknown = true,
            }
        }
        missing.extend(self.machines.get(&needs.machine)?.clone());
        if let Some(cpu) = &needs.cpu {
            missing.extend(self.cpus.get(&(needs.machine.clone(), cpu.clone()))?.clone());
        }
        Some(Verdict { missing, unknown })
    }
}

/// Those never looked at come first, then the longest unseen.
fn due<T>(seen: &BTreeMap<String, (Instant, T)>, needed: BTreeSet<&str>, every: Duration) -> Vec<String> {
    let now = Instant::now();
    let age = |path: &str| seen.get(path).map(|(at, _)| now - *at);
    let mut due: Vec<&str> = needed.into_iter().filter(|path| age(path).is_none_or(|age| age >= every / 2)).collect();
    due.sort_by_key(|path| std::cmp::Reverse(age(path).unwrap_or(Duration::MAX)));
    due.truncate(FILES_PER_PASS);
    due.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Definition;
    use mainstay_model::Time;

    /// The scenario: the controller is started while a host is lost, and is asked where that host's guests could start.
    #[tokio::test]
    async fn what_a_guest_of_a_host_that_does_not_answer_needs_is_known_from_its_definition_on_record() {
        let directory = tempfile::tempdir().unwrap();
        let store = mainstay_store::Store::open(&directory.path().join("mainstay.db")).await.unwrap();
        let (memory, _) = Memory::open(store, Time(0)).await.unwrap();
        let xml = "<domain type='kvm'><name>web-1</name><uuid>77000000-0000-4000-8000-000000000001</uuid><memory>1</memory>\
                   <vcpu>1</vcpu><os><type>hvm</type></os><devices><disk type='file' device='disk'>\
                   <source file='/srv/web-1.qcow2'/><target dev='vda'/></disk></devices></domain>";
        let kept = Definition {
            xml: xml.to_owned(),
            snapshots: Vec::new(),
            checkpoints: Vec::new(),
            host: "h1".into(),
            seen_at: Time(1),
            doubt: None,
            owed: false,
            stale_saves: BTreeSet::new(),
        };
        memory.keep_definition(&"web-1".into(), kept).await.unwrap();
        let text = "[site.a]\nlibvirt = {}\nhost.h1 = {}\nhost.h2 = {}";
        let spec = mainstay_model::config::load("mainstay.toml", text).unwrap().spec;
        let needs = Needs::default();
        recall_now(&needs, &memory, &spec).await;
        // No host is watched yet: which of them look for it is settled when they are.
        assert!(needs.of(&"h2".into()).is_empty());
        needs.watches(&"a".into(), &"h2".into());
        let (workload, needed) = needs.of(&"h2".into()).remove(0);
        assert_eq!((workload.as_str(), needed.requirements.files[0].path.as_str()), ("web-1", "/srv/web-1.qcow2"));
    }

    /// The scenario: a host whose libvirt lists no devices, and a guest that could start there, but for them.
    #[test]
    fn what_is_not_known_of_a_device_is_no_obstacle_to_a_guest_that_may_leave_its_host() {
        let needs = |device: &str| {
            let xml = format!("<domain><memory>1</memory><devices>{device}</devices></domain>");
            requirements(&xml, &BTreeSet::new()).unwrap()
        };
        let source = "<source><address type='pci' domain='0' bus='0x3b' slot='0' function='1'/></source>";
        let bound = needs(&format!("<hostdev mode='subsystem' type='pci'>{source}</hostdev>"));
        let may_leave = needs(&format!("<interface type='hostdev'>{source}</interface>"));
        let told = |needs: &Requirements, host| {
            let untold = Facilities::default().untold(needs, host);
            assert_eq!(untold, ["0000:3b:00.1"]);
            not_known(needs, host, &untold).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&bound, HostIs::Another), ["not known whether it has 0000:3b:00.1"]);
        assert!(told(&bound, HostIs::Home).is_empty() && told(&may_leave, HostIs::Another).is_empty());
    }

    #[test]
    fn a_block_device_is_there_only_if_nothing_says_that_it_is_another_one() {
        let identity = |size: u64, serial: Option<&str>| DiskIdentity {
            size_bytes: Some(size),
            serial: serial.map(str::to_owned),
        };
        let (home, by_id, by_kernel) = (identity(4096, Some("a")), "/dev/disk/by-id/wwn-0x6001405a", "/dev/sdb");
        let there = |size, serial| DeviceAnswer::There(identity(size, serial));
        let answer = |path: &str, drive: bool, here: DeviceAnswer, home: Option<&DiskIdentity>| match compared(
            &NeededDevice { path: path.to_owned(), drive },
            here,
            home,
        ) {
            DeviceAnswer::There(_) => "ready",
            DeviceAnswer::Lacks(_) => "lacks",
            DeviceAnswer::Unknown => "unknown",
        };
        assert_eq!(answer(by_id, false, there(4096, Some("a")), Some(&home)), "ready");
        assert_eq!(answer(by_id, false, there(4096, Some("a")), None), "ready");
        assert_eq!(answer(by_kernel, false, there(4096, Some("a")), Some(&home)), "ready");
        // sdb of this host may be any disk.
        assert_eq!(answer(by_kernel, false, there(4096, Some("a")), None), "unknown");
        assert_eq!(answer(by_kernel, false, there(4096, Some("b")), Some(&home)), "lacks");
        assert_eq!(answer(by_id, false, there(8192, None), Some(&home)), "lacks");
        assert_eq!(answer("/dev/sr0", true, there(8192, Some("b")), Some(&home)), "ready");
        assert_eq!(answer(by_id, false, DeviceAnswer::Unknown, Some(&home)), "unknown");
    }
}
