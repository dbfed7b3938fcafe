//! A cluster of three hosts as the engine is told of it, and one VM, `web-1` on `h1`.

use mainstay_engine::{
    Input, Row, Step, Table,
    control::{Circumstances, Controller},
};
use mainstay_model::{
    Action, ActionId, Code, Command, CommandId, Detail, DomainChange, DomainSeen, DomainState, Fact, FailureKind,
    GuestChannel, HostChannel, HostId, OffReason, Outcome, PointKind, Reply, Resources, Span, Time, WorkloadId,
    config::load,
    spec::{ClusterSpec, LadderStep, Origin, RecoveryPolicy, Rule, Rung, Selector},
};
use std::{collections::BTreeMap, sync::Arc};

const CONFIG: &str = r#"
[site.paris]
shared_storage = true
[site.paris.libvirt]
[site.paris.host.h1]
fence = "bmc"
[site.paris.host.h2]
fence = "bmc"
[site.paris.host.h3]
fence = "bmc"
[fence.bmc]
agent = "fence_story"
[[vm]]
match = "*"
"#;

pub struct Story {
    pub controller: Controller,
    pub now: Time,
    pub spec: ClusterSpec,
    pub domains: BTreeMap<HostId, BTreeMap<WorkloadId, DomainSeen>>,
    pub silent: Vec<HostId>,
    /// Hosts whose name does not resolve.
    pub deaf: Vec<HostId>,
    /// What every host has.
    pub capacity: Resources,
    pub orders: Vec<(ActionId, Action)>,
    pub said: Vec<String>,
    /// When the engine wants to be called again, whatever comes.
    pub wake_at: Option<Time>,
    replies: Vec<Reply>,
    rows: BTreeMap<(Table, String), String>,
    put_back: Option<String>,
}

pub fn domain(state: DomainState) -> DomainSeen {
    DomainSeen {
        uuid: "u".to_owned(),
        state,
        needs: Resources::of(1024, 1),
        autostart: false,
        tags: Default::default(),
        datastores: Default::default(),
        movable: true,
        only_here: Default::default(),
        passed_through: Default::default(),
    }
}

impl Story {
    pub fn new() -> Story {
        let spec = load("story.toml", CONFIG).unwrap_or_else(|problems| panic!("{problems:?}")).spec;
        let now = Time(1_000_000);
        let (controller, step) = Controller::start(Arc::new(spec.clone()), vec![], now).expect("no rows to read");
        let mut story = Story {
            controller,
            now,
            spec,
            domains: BTreeMap::new(),
            silent: vec![],
            deaf: vec![],
            capacity: Resources::of(64 * 1024, 16),
            orders: vec![],
            said: vec![],
            wake_at: None,
            replies: vec![],
            rows: BTreeMap::new(),
            put_back: None,
        };
        for name in ["h1", "h2", "h3"] {
            story.domains.insert(name.into(), BTreeMap::new());
        }
        story.domains.get_mut("h1").expect("set up").insert("web-1".into(), domain(DomainState::Running));
        story.take(step);
        story.pass(Span::secs(8));
        story
    }

    pub fn take(&mut self, step: Step) {
        self.said.extend(step.events.iter().map(|event| format!("{} {}: {}", event.at.0, event.subject, event.text)));
        for change in step.changes {
            let key = (change.table, change.key);
            match change.body {
                Some(body) => drop(self.rows.insert(key, body)),
                None => drop(self.rows.remove(&key)),
            }
        }
        self.replies.extend(step.replies.into_iter().map(|(_, reply)| reply));
        self.wake_at = step.wake_at;
        self.orders.extend(step.orders.into_iter().map(|order| (order.id, order.action)));
    }

    pub fn tell(&mut self, inputs: Vec<Input>) {
        let step = self.controller.step(self.now, inputs);
        self.take(step);
    }

    pub fn fact(&mut self, fact: Fact) {
        self.tell(vec![Input::Fact(fact)]);
    }

    /// A host's list of what it has now, as an answer to a question of then.
    pub fn list(&self, host: &HostId, asked_at: Time) -> Fact {
        let mut domains = self.domains.get(host).cloned().unwrap_or_default();
        // One uuid is one VM.
        let others = domains.iter_mut().filter(|(name, seen)| name.as_str() != "web-1" && seen.uuid == "u");
        others.for_each(|(name, seen)| seen.uuid = format!("u-{name}"));
        Fact::Inventory { host: host.clone(), asked_at, capacity: self.capacity, domains: Arc::new(domains) }
    }

    /// What a host has from now on, without an event.
    pub fn has(&mut self, host: &str, domain: DomainSeen) {
        self.domains.entry(host.into()).or_default().insert("web-1".into(), domain);
    }

    pub fn has_not(&mut self, host: &str) {
        self.domains.entry(host.into()).or_default().remove("web-1");
    }

    pub fn command(&mut self, command: Command) -> Reply {
        self.tell(vec![Input::Command { id: CommandId(1), command, by: None }]);
        self.replies.pop().expect("every command has a reply")
    }

    pub fn ends(&mut self, id: ActionId, outcome: Outcome) {
        self.tell(vec![Input::Outcome { id, outcome }]);
    }

    pub fn done(&mut self, id: ActionId) {
        self.ends(id, Outcome::done());
    }

    pub fn fails(&mut self, id: ActionId) {
        self.ends(id, Outcome::failed(FailureKind::Other, "it did not work"));
    }

    /// A fence device says that the host is off now.
    pub fn fenced(&mut self, id: ActionId) {
        let detail = Detail::Fenced { already_off: false, by: "bmc".to_owned() };
        self.ends(id, Outcome::Done { detail });
    }

    /// One more host, like the others.
    pub fn add_host(&mut self, name: &str) {
        let like = self.spec.hosts.values().next().expect("there is one").clone();
        self.spec.hosts.insert(name.into(), like);
    }

    pub fn reload(&mut self) {
        self.tell(vec![Input::Spec(Arc::new(self.spec.clone()))]);
    }

    /// The controller dies and a new one begins with what was made durable.
    pub fn restart(&mut self) {
        self.restart_set_ahead(Span::ZERO);
    }

    /// The same, and meanwhile somebody set the clock of its machine ahead.
    pub fn restart_set_ahead(&mut self, by: Span) {
        self.now = self.now + by;
        let row = |((table, key), body): (&(Table, String), &String)| Row {
            table: *table,
            key: key.clone(),
            body: body.clone(),
        };
        let rows = self.rows.iter().map(row).collect();
        let spec = Arc::new(self.spec.clone());
        let circumstances = Circumstances { set_ahead: by, restored: self.put_back.take() };
        let (controller, step) = Controller::start_with(spec, rows, self.now, circumstances).expect("good rows");
        self.controller = controller;
        self.take(step);
    }

    /// A backup of what is durable.
    pub fn back_up(&self) -> BTreeMap<(Table, String), String> {
        self.rows.clone()
    }

    /// The controller dies, and a new one begins with a backup.
    pub fn put_back(&mut self, backup: BTreeMap<(Table, String), String>) {
        self.rows = backup;
        self.put_back = Some("a backup was put back".to_owned());
        self.restart();
    }

    pub fn alarms(&self) -> Vec<Code> {
        self.controller.view(self.now).alarms.iter().map(|alarm| alarm.code).collect()
    }

    pub fn health(&self) -> String {
        self.controller.view(self.now).workloads[0].health.clone()
    }

    /// How much of this kind is kept in memory that lasts.
    pub fn remembered(&self, table: Table) -> usize {
        self.rows.keys().filter(|(kind, _)| *kind == table).count()
    }

    /// Incidents that are not closed.
    pub fn open_incidents(&self) -> usize {
        self.controller.incidents().iter().filter(|incident| incident.closed_at.is_none()).count()
    }

    /// Orders since the last look that are more than pictures.
    pub fn ordered(&mut self) -> Vec<Action> {
        let orders = self.orders.drain(..).map(|(_, action)| action);
        orders.filter(|action| !matches!(action, Action::Screenshot { .. })).collect()
    }

    pub fn protect(&mut self) {
        let policy = Default::default();
        self.spec.protection.push(Rule { selector: Selector::all(), policy, origin: Origin::default_of("protection") });
        self.reload();
    }

    /// A ladder of one restart within an hour.
    pub fn tries_once(&mut self) {
        self.ladder(&[Rung::Restart, Rung::Alarm]);
    }

    /// A ladder of these rungs, each once within an hour.
    pub fn ladder(&mut self, rungs: &[Rung]) {
        let ladder = rungs.iter().map(|rung| LadderStep { rung: *rung, attempts: 1 }).collect();
        let policy = RecoveryPolicy { ladder, window: Span::minutes(60), ..RecoveryPolicy::default() };
        self.spec.recovery.push(Rule { selector: Selector::all(), policy, origin: Origin::default_of("recovery") });
        self.reload();
    }

    /// The workload crashes where it is: the order to start it again.
    pub fn crashed(&mut self) -> ActionId {
        self.event("h1", DomainState::Off(OffReason::Crashed));
        let (start, action) = self.only_order();
        assert!(matches!(action, Action::Start { .. }), "{action}");
        start
    }

    /// Its guest panics, and a picture of that is taken: the order to stop it.
    pub fn panicked(&mut self) -> ActionId {
        self.event("h1", DomainState::Panicked);
        let (picture, action) = self.orders.remove(0);
        assert!(matches!(action, Action::Screenshot { .. }), "{action}");
        self.done(picture);
        let (stop, action) = self.only_order();
        assert!(matches!(action, Action::Stop { .. }), "{action}");
        stop
    }

    /// It panicked, was stopped by us and started again on its host, a moment ago.
    pub fn panicked_and_restarted(&mut self) {
        let stop = self.panicked();
        self.done(stop);
        let (start, _) = self.only_order();
        self.event("h1", DomainState::Running);
        self.done(start);
        self.now = self.now + Span::millis(300);
    }

    /// h1 falls silent for good: the order to fence it.
    pub fn host_lost(&mut self) -> ActionId {
        self.silent.push("h1".into());
        self.pass(Span::secs(3));
        let (fence, action) = self.only_order();
        assert_eq!(action, Action::Fence { host: "h1".into(), level: 0 });
        fence
    }

    /// h1 falls silent for good and is fenced.
    pub fn host_proved_off(&mut self) {
        let fence = self.host_lost();
        self.fenced(fence);
    }

    /// The start that was ordered brings the workload up; where that is.
    pub fn comes_up(&mut self) -> HostId {
        let (start, action) = self.only_order();
        let Action::Start { host, .. } = action else { panic!("{action}") };
        self.has(host.as_str(), domain(DomainState::Running));
        self.done(start);
        host
    }

    /// An operator has it moved to h2: the order to migrate it.
    pub fn migration(&mut self) -> ActionId {
        let to = Some("h2".into());
        let reply = self.command(Command::MoveWorkload { workload: "web-1".into(), to, cold: false });
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        let (migrate, action) = self.only_order();
        assert!(matches!(action, Action::Migrate { .. }), "{action}");
        migrate
    }

    /// It is protected, and its first recovery point is taken.
    pub fn protected_once(&mut self) {
        self.protect();
        self.pass(Span::secs(40));
        let (take, action) = self.only_order();
        assert!(matches!(action, Action::TakePoint { .. }), "{action}");
        self.done(take);
    }

    /// A good recovery point is taken, as an operator asked.
    pub fn point(&mut self, name: &str) {
        let reply = self.command(Command::TakePoint { workload: "web-1".into(), name: Some(name.into()) });
        assert!(matches!(reply, Reply::Accepted { .. }), "{reply:?}");
        let (id, _) = self.only_order();
        let detail = Detail::Point { kind: PointKind::Memory, frozen: false, handle: String::new(), bytes: None };
        self.ends(id, Outcome::Done { detail });
    }

    pub fn guest(&mut self, heard: bool) {
        let (workload, channel) = (WorkloadId::from("web-1"), GuestChannel::Ping);
        self.fact(if heard { Fact::GuestHeard { workload, channel } } else { Fact::GuestSilent { workload, channel } });
    }

    /// Time passes with heartbeats and lists, as from the daemon's sensors.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Span::millis(500);
            let mut inputs = vec![];
            for name in self.spec.hosts.keys() {
                for channel in [HostChannel::Hypervisor, HostChannel::Ping] {
                    let (host, error) = (name.clone(), "no answer".to_owned());
                    inputs.push(Input::Fact(if self.deaf.contains(name) {
                        Fact::HostUnasked { host, channel, error }
                    } else if self.silent.contains(name) {
                        Fact::HostSilent { host, channel, error, closed: false }
                    } else {
                        Fact::HostHeard { host, channel }
                    }));
                }
                if !self.silent.contains(name) && !self.deaf.contains(name) {
                    inputs.push(Input::Fact(self.list(name, self.now)));
                }
            }
            self.tell(inputs);
        }
    }

    pub fn event(&mut self, host: &str, state: DomainState) {
        let workload = WorkloadId::from("web-1");
        self.domains.get_mut(host).expect("set up").insert(workload.clone(), domain(state));
        let fact = Fact::Domain { host: host.into(), workload, change: DomainChange::State(state) };
        self.tell(vec![Input::Fact(fact)]);
    }

    /// What becomes of a guest other than `web-1`, with its event.
    pub fn guest_on(&mut self, host: &str, name: &str, state: DomainState) {
        self.domains.get_mut(host).expect("set up").insert(name.into(), domain(state));
        let change = DomainChange::State(state);
        self.fact(Fact::Domain { host: host.into(), workload: name.into(), change });
    }

    pub fn only_order(&mut self) -> (mainstay_model::ActionId, Action) {
        let orders: Vec<_> =
            self.orders.drain(..).filter(|(_, action)| !matches!(action, Action::Screenshot { .. })).collect();
        assert_eq!(orders.len(), 1, "{orders:#?}\n{}", self.said.join("\n"));
        orders.into_iter().next().expect("one")
    }
}
