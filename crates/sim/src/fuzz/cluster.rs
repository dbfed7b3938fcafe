//! Draws a cluster and its policies from a seed, as the text of a `setup.toml`: what a seed found can be kept as a scenario.

use super::Profile;
use crate::random::Stream;
use mainstay_model::Span;
use std::{collections::BTreeSet, fmt::Write};

/// Names and properties of what was drawn, for drawing faults.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub setup: String,
    pub hosts: Vec<String>,
    pub guests: Vec<Drawn>,
    pub devices: Vec<String>,
    pub datastores: Vec<String>,
    /// Some guests need a bridge that some hosts lack.
    bridges_matter: bool,
    /// Hosts on which a guest that needs it is defined.
    with_bridge: BTreeSet<String>,
    /// Any host has room for all guests, and no required rule keeps one from it.
    pub roomy: bool,
}

/// A guest as drawn.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub name: String,
    pub probed: bool,
}

impl Cluster {
    /// The cluster of a seed, living for so long; from `all_well_by` on all has to be well.
    pub fn draw(seed: u64, lasts: Span, all_well_by: Span, profile: &Profile) -> Cluster {
        let mut cluster = Cluster::default();
        let mut random = Stream::new(seed, "draw/shape");
        let hosts = random.between(profile.hosts.0, profile.hosts.1);
        let spare = hosts > 2 && random.chance(300);
        let guests = random.between(profile.guests.0, profile.guests.1);
        cluster.roomy = random.chance(700);
        cluster.hosts = (1..=hosts).map(|number| format!("h{number}")).collect();
        cluster.datastores = vec!["san".to_owned(); 1];
        if random.chance(300) {
            cluster.datastores.push("nas".to_owned());
        }
        let locks = random.chance(500);
        cluster.bridges_matter = Stream::new(seed, "draw/bridges").chance(150);
        let roomy = cluster.roomy && !cluster.bridges_matter;
        cluster.say(format_args!(
            "[world]\nseed = {seed}\nlasts = \"{lasts}\"\nall_well_by = \"{all_well_by}\"\nlocks = {locks}\nroomy = {roomy}\n"
        ));
        cluster.draw_guests(seed, guests);
        cluster.draw_hosts(seed, spare);
        cluster.draw_policies(seed);
        cluster
    }

    fn say(&mut self, text: std::fmt::Arguments<'_>) {
        self.setup.write_fmt(text).expect("writing into a string can't fail");
    }

    fn draw_guests(&mut self, seed: u64, count: u64) {
        let names = ["web", "db", "app"];
        for number in 0..count {
            let kind = names[usize::try_from(number % 3).expect("below three")];
            let name = format!("{kind}-{}", number / 3 + 1);
            let mut random = Stream::new(seed, &format!("draw/guest/{name}"));
            let on = random.pick(&self.hosts).cloned().unwrap_or_default();
            let memory = random.between(1, 8) * 256;
            let datastore = random.pick(&self.datastores).cloned().unwrap_or_default();
            let boot = random.between(500, 6_000);
            let (autostart, movable) = (random.chance(100), !random.chance(40));
            let needs = match Stream::new(seed, &format!("draw/needs/{name}")).chance(300) && self.bridges_matter {
                true => "needs = [\"br7\"]\n",
                false => "",
            };
            if !needs.is_empty() {
                self.with_bridge.insert(on.clone());
            }
            self.say(format_args!(
                "[world.vm.{name}]\n{needs}on = \"{on}\"\nmemory = \"{memory}MiB\"\ndatastore = \"{datastore}\"\n\
                 boot_time = \"{boot}ms\"\nautostart = {autostart}\nmovable = {movable}\n"
            ));
            self.guests.push(Drawn { name, probed: random.chance(800) });
        }
    }

    fn draw_hosts(&mut self, seed: u64, spare: bool) {
        let unfenceable = Stream::new(seed, "draw/fence").chance(150);
        let mut sites = String::from("[site.lab]\nshared_storage = true\n[site.lab.libvirt]\n");
        let mut fences = String::new();
        let last = self.hosts.len();
        for (index, name) in self.hosts.clone().iter().enumerate() {
            let mut random = Stream::new(seed, &format!("draw/host/{name}"));
            let memory = if self.roomy { 32 } else { random.between(4, 10) };
            let boot = random.between(5, 40);
            let guests = Stream::new(seed, &format!("draw/goodbye/{name}"))
                .pick(&["shutdown", "shutdown", "save", "signal"])
                .copied()
                .unwrap_or("shutdown");
            let without = self.bridges_matter && !self.with_bridge.contains(name);
            let lacks = match without && Stream::new(seed, &format!("draw/lacks/{name}")).chance(500) {
                true => "lacks = [\"br7\"]\n",
                false => "",
            };
            let starts = Stream::new(seed, &format!("draw/on-boot/{name}")).chance(100);
            let on_boot = if starts { "guests_on_boot = \"start\"\n" } else { "" };
            self.say(format_args!(
                "[world.host.{name}]\nmemory = \"{memory}GiB\"\ncpus = 64\nboot_time = \"{boot}s\"\nguests_on_shutdown = \"{guests}\"\n{on_boot}{lacks}"
            ));
            let mut levels = Vec::new();
            if !(unfenceable && random.chance(500)) {
                levels.push(format!("\"bmc-{name}\""));
                if random.chance(300) {
                    levels.push("\"pdu\"".to_owned());
                }
            }
            for device in &levels {
                let device = device.trim_matches('"').to_owned();
                if !self.devices.contains(&device) {
                    let takes = random.between(40, 5_000);
                    let dies = if device != "pdu" && random.chance(300) {
                        format!("dies_with = \"{name}\"\n")
                    } else {
                        String::new()
                    };
                    self.say(format_args!("[world.fence_device.{device}]\ntakes = \"{takes}ms\"\n{dies}"));
                    let settles = Stream::new(seed, &format!("draw/settle/{device}")).chance(100);
                    let settle = if settles { "settle = \"6s\"\n" } else { "" };
                    fences += &format!("[fence.{device}]\nagent = \"fence_sim\"\n{settle}");
                    self.devices.push(device);
                }
            }
            let fence = levels.iter().map(|level| format!("[{level}]")).collect::<Vec<_>>().join(", ");
            let is_spare = spare && index + 1 == last;
            let within = if random.chance(200) { random.between(20, 60) } else { 0 };
            let after = if random.chance(800) { "power-on" } else { "leave-off" };
            sites += &format!(
                "[site.lab.host.{name}]\naddress = \"192.0.2.{index}\"\nfence = [{fence}]\nspare = {is_spare}\n\
                 revive = {{ within = \"{within}s\", after_fence = \"{after}\" }}\n"
            );
        }
        self.setup += &sites;
        self.setup += &fences;
    }

    fn draw_policies(&mut self, seed: u64) {
        let mut random = Stream::new(seed, "draw/policy");
        for guest in self.guests.clone() {
            let priority = random.between(0, 3) * 10;
            let stop = if random.chance(800) { "alarm" } else { "power-on" };
            let back = if random.chance(200) { "return" } else { "stay" };
            let probe = match random.between(0, 2) {
                _ if !guest.probed => "{}",
                0 => "{ ping = true, address = \"192.0.2.99\" }",
                1 => "{ agent = true }",
                _ => "{ tcp = [80], ping = true, address = \"192.0.2.99\" }",
            };
            let with_host = Stream::new(seed, &format!("draw/goodbye/{}", guest.name))
                .pick(&["restart-elsewhere", "wait", "conditional"])
                .copied()
                .unwrap_or("wait");
            let hosts = match random.pick(&self.hosts) {
                Some(host) if random.chance(200) => format!("hosts = {{ prefer = {{ {host} = 100 }} }}\n"),
                _ => String::new(),
            };
            self.say(format_args!(
                "[[vm]]\nmatch = \"{}\"\npriority = {priority}\non_person_stop = \"{stop}\"\nfail_back = \"{back}\"\non_host_shutdown = \"{with_host}\"\nprobe = {probe}\n{hosts}",
                guest.name
            ));
        }
        if random.chance(500) {
            let ladders = [
                "[\"restart x2\", \"relocate x2\", \"alarm\"]",
                "[\"restart\", \"revert\", \"relocate\", \"alarm\"]",
                "[\"relocate x3\", \"alarm\"]",
                "[\"restart x5\", \"alarm\"]",
            ];
            let ladder = random.pick(&ladders).copied().unwrap_or_default();
            let (window, backoff, hung) = (random.between(3, 20), random.between(200, 5_000), random.between(8, 30));
            self.say(format_args!(
                "[[recovery]]\nmatch = \"*\"\nladder = {ladder}\nwindow = \"{window}m\"\nbackoff = \"{backoff}ms\"\nhung_after = \"{hung}s\"\n"
            ));
        }
        if random.chance(600) {
            let (every, last, hourly) = (random.between(30, 180), random.between(1, 4), random.between(0, 2));
            let kind = random.pick(&["auto", "disk", "memory"]).copied().unwrap_or("auto");
            self.say(format_args!(
                "[[protection]]\nmatch = \"*\"\nevery = \"{every}s\"\nkeep = {{ last = {last}, hourly = {hourly} }}\nkind = \"{kind}\"\n"
            ));
        }
        let strength = if self.roomy { "\"preferred\"" } else { "\"required\"" };
        for table in ["apart", "together"] {
            if random.chance(200) && self.guests.len() > 3 {
                let pattern = if table == "apart" { "db-*" } else { "web-*" };
                self.say(format_args!("[[{table}]]\nmatch = \"{pattern}\"\nstrength = {strength}\n"));
            }
        }
        if random.chance(200) && self.guests.len() > 2 {
            self.say(format_args!("[[order]]\nmatch = \"app-*\"\nafter = \"db-*\"\n"));
        }
        if random.chance(300) {
            let (starts, migrations) = (random.between(1, 4), random.between(1, 2));
            self.say(format_args!("[limits]\nstarts_per_host = {starts}\nmigrations_per_host = {migrations}\n"));
        }
        if random.chance(300) {
            let lost = random.between(2_000, 6_000);
            self.say(format_args!(
                "[detection]\nheartbeat_every = \"1s\"\nhost_lost_floor = \"{lost}ms\"\nhost_lost_after = \"{}ms\"\n",
                lost + 3_000
            ));
        }
    }
}
