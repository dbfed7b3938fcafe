//! One run: the world and the controller take turns, and the checker looks on.
//!
//! ```text
//!   world ──news──▶ controller.step ──▶ persist changes ──▶ orders leave ──▶ world
//!                        ╳ before            ╳ after            ╳ between       (where a crash can strike)
//! ```

use crate::{
    check::Checker,
    clock::{Ahead, Clocked, WallClock},
    deed::{ClockJump, CrashPoint, Deed, Reload},
    leader::{Elect, Leader},
    record::Record,
    rival::Rival,
    sabotage::Sabotage,
    scenario::setup::WorldSetup,
    store::{Store, Term},
    world::{ANSWERS, Happened, News, World},
};
use mainstay_engine::{Input, Step, control::Circumstances, view::ClusterView};
use mainstay_model::{Command, CommandId, Fact, Incident, Order, Reply, Span, StopHow, Time, spec::ClusterSpec};
use std::{collections::BTreeMap, sync::Arc};

/// An armed crash that met no orders strikes after this all the same.
const CRASH_WAITS: Span = Span::secs(10);

/// A run under way.
pub(crate) struct Simulation {
    pub world: World,
    pub checker: Checker,
    pub record: Record,
    pub(crate) elect: Elect,
    pub(crate) leader: Option<Box<dyn Leader>>,
    pub(crate) store: Store,
    /// The present controller's.
    pub(crate) term: Term,
    wall_clock: WallClock,
    ahead: Ahead,
    /// How far the clock was ahead by which the times in the backup are told, and the last time in it.
    in_backup: (Ahead, Time),
    pub(crate) rival: Option<Rival>,
    wake_at: Option<Time>,
    restart_at: Option<Time>,
    pub(crate) crash: Option<Crash>,
    /// The controller sleeps until then.
    asleep_until: Option<Time>,
    commands: BTreeMap<CommandId, Command>,
    /// Configurations that a script can reload, by the words that name them.
    reloads: BTreeMap<Reload, Arc<ClusterSpec>>,
    /// What reaches the controller in its next step.
    pub(crate) inbox: Vec<Input>,
    /// Set when the controller can't go on; the run is over.
    broken: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    point: CrashPoint,
    down_for: Span,
    /// It does not die: it stands still for as long, and another takes over at once.
    rival: bool,
    armed_at: Time,
}

/// The earlier of two moments, if there is one at all.
fn earliest(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Simulation {
    /// A run at its beginning, its controller just started.
    pub fn new(
        setup: &WorldSetup,
        spec: Arc<ClusterSpec>,
        reloads: BTreeMap<Reload, Arc<ClusterSpec>>,
        seed: u64,
        elect: Elect,
    ) -> Simulation {
        let mut world = World::new(setup, spec, seed);
        world.takes_old_orders = elect.lacks(Sabotage::StaleEpoch);
        let mut simulation = Simulation {
            record: Record::new(&world),
            checker: Checker::new(&world),
            world,
            elect,
            leader: None,
            store: Store::new(elect.lacks(Sabotage::StaleJournal)),
            term: Term::default(),
            wall_clock: WallClock::default(),
            ahead: Ahead::default(),
            in_backup: Default::default(),
            rival: None,
            wake_at: None,
            restart_at: None,
            crash: None,
            asleep_until: None,
            commands: BTreeMap::new(),
            reloads,
            inbox: Vec::new(),
            broken: false,
        };
        simulation.begin();
        simulation
    }

    /// Lets the world go on until that time.
    pub fn run_until(&mut self, end: Time) {
        while !self.broken {
            let awake_at = self.asleep_until.or(self.wake_at);
            let rival_at = self.rival.as_ref().map(|rival| rival.wakes_at);
            let wake_at = awake_at.filter(|_| self.leader.is_some());
            let planned = earliest(self.world.next_at(), wake_at);
            let Some(now) = earliest(planned, earliest(self.restart_at, rival_at)) else { break };
            if now > end {
                break;
            }
            while self.world.next_at().is_some_and(|next| next <= now) {
                let happened = self.world.advance();
                if self.world.take_stirred() {
                    self.look();
                }
                match happened {
                    Happened::Unheard => {}
                    Happened::Heard(news) => self.hear(news),
                    Happened::Alive(host) => {
                        for channel in ANSWERS {
                            self.hear(News::Fact(Fact::HostHeard { host: host.clone(), channel }));
                        }
                    }
                    Happened::Deed(deed) => self.deed(deed),
                }
            }
            self.world.now = now;
            if self.restart_at.is_some_and(|at| at <= now) {
                self.begin();
            }
            if rival_at.is_some_and(|at| at <= now) {
                self.rival_turns();
            }
            if self.asleep_until.is_some_and(|until| until > now) {
                continue;
            }
            self.asleep_until = None;
            self.world.asleep = false;
            if self.leader.is_some() && (!self.inbox.is_empty() || self.wake_at.is_some_and(|at| at <= now)) {
                self.step();
            }
        }
        self.world.now = self.world.now.max(end);
    }

    /// News reach the controller, if there is one that hears them.
    fn hear(&mut self, news: News) {
        if self.leader.is_none() || !self.hears(&news) {
            return;
        }
        self.record.news(self.world.now, &news);
        self.inbox.push(match news {
            News::Fact(fact) => Input::Fact(fact),
            News::Outcome(id, outcome) => Input::Outcome { id, outcome },
        });
    }

    /// A controller that sleeps asks nothing; what is pushed to it and what it asked before waits in its sockets.
    fn hears(&self, news: &News) -> bool {
        self.asleep_until.is_none() || matches!(news, News::Outcome(..) | News::Fact(Fact::Domain { .. }))
    }

    /// What truly happened is told to the checker and written down.
    fn look(&mut self) {
        let truths = self.world.take_truths();
        for truth in &truths {
            self.record.truth(&self.world, truth);
            self.checker.happened(&self.world, truth);
        }
        self.record.outages(&self.world);
        self.checker.who_is_well(&self.world);
    }

    /// Plans a deed.
    pub fn plan(&mut self, at: Time, deed: Deed) {
        self.world.plan_deed(at, deed);
    }

    fn deed(&mut self, deed: Deed) {
        self.record.note(self.world.now, format_args!("» {deed}"));
        match deed {
            Deed::Crash(CrashPoint::Now, down_for) => self.die(down_for),
            Deed::Rival(CrashPoint::Now, span) => self.overtaken(Vec::new(), span),
            Deed::Crash(point, down_for) => self.arm(point, down_for, false),
            Deed::Rival(point, span) => self.arm(point, span, true),
            Deed::ClockJump(way, span) => {
                let span = i64::try_from(span.0).unwrap_or(i64::MAX);
                self.wall_clock.ahead_ms += if way == ClockJump::Forward { span } else { -span };
            }
            Deed::StoreBackUp => {
                self.store.back_up();
                self.checker.memory_backed_up(&self.world);
                self.in_backup = (self.wall_clock.ahead_on_record, self.wall_clock.on_record);
            }
            Deed::StorePutBack(down_for) => self.put_memory_back(down_for),
            Deed::Pause(span) => {
                let until = self.world.now + span;
                self.asleep_until = Some(until);
                self.world.asleep = true;
                self.checker.controller_sleeps(self.world.now, until);
            }
            Deed::Operator(command) if self.leader.is_some() => {
                let id = CommandId(self.commands.len() as u64 + 1);
                self.commands.insert(id, command.clone());
                self.inbox.push(Input::Command { id, command, by: None });
            }
            Deed::Operator(_) => self.record.note(self.world.now, format_args!("no controller is there to hear it")),
            Deed::Reload(Reload::Refused) => self.inbox.push(Input::Refused("line 7: no such key".to_owned())),
            Deed::Reload(reload) => {
                if let Some(spec) = self.reloads.get(&reload) {
                    self.world.spec = spec.clone();
                    self.inbox.push(Input::Spec(spec.clone()));
                }
            }
            _ => {}
        }
    }

    /// The backup of the memory is put in its place, if there is one. Nobody does that with a memory that is in use.
    fn put_memory_back(&mut self, down_for: Span) {
        if self.rival.is_none() && self.store.put_back() {
            (self.wall_clock.ahead_on_record, self.wall_clock.on_record) = self.in_backup;
            self.checker.memory_put_back(&self.world, self.world.now + down_for);
            self.die(down_for);
        }
    }

    fn arm(&mut self, point: CrashPoint, down_for: Span, rival: bool) {
        self.crash = Some(Crash { point, down_for, rival, armed_at: self.world.now });
    }

    /// The controller begins a term with what is in its memory.
    pub(crate) fn begin(&mut self) {
        let now = self.world.now;
        self.restart_at = None;
        self.world.new_session();
        self.checker.controller_begins(now);
        self.term = self.store.begin_term();
        self.ahead = self.wall_clock.begin(now);
        let shown = self.ahead.shows(now);
        // As the daemon finds it out by its machine's own clock, which nobody sets.
        let set_ahead = shown.since(self.wall_clock.ahead_on_record.shows(now));
        let restored = self.store.is_put_back().then(|| "a backup was put back".to_owned());
        let circumstances = Circumstances { set_ahead, restored };
        match self.elect.begin(self.world.spec.clone(), self.store.rows(), shown, circumstances) {
            Ok((leader, step)) => {
                self.leader = Some(Box::new(Clocked { leader, ahead: self.ahead }));
                self.record.note(now, format_args!("the controller begins"));
                let step = self.ahead.translate(step);
                self.carry_out(step, &[]);
            }
            Err(error) => {
                self.checker.cannot_begin(&self.world, &error.to_string());
                self.broken = true;
            }
        }
    }

    fn die(&mut self, down_for: Span) {
        self.leader = None;
        self.asleep_until = None;
        self.world.asleep = false;
        self.crash = None;
        self.inbox.clear();
        self.restart_at = Some(self.world.now + down_for);
        self.record.note(self.world.now, format_args!("the controller dies, for {down_for}"));
    }

    fn step(&mut self) {
        let Some(leader) = self.leader.as_mut() else { return };
        let mut inputs = std::mem::take(&mut self.inbox);
        if inputs.is_empty() {
            inputs.push(Input::Tick);
        }
        // What is lost with a crash was never told. Without one in sight the checker hears it now, and no copy is needed.
        let heard_later = if self.crash.is_some() { inputs.clone() } else { Vec::new() };
        if self.crash.is_none() {
            self.checker.told(&self.world, &inputs);
        }
        let step = leader.step(self.world.now, &mut inputs);
        self.inbox = inputs;
        self.carry_out(step, &heard_later);
    }

    fn carry_out(&mut self, step: Step, inputs: &[Input]) {
        let now = self.world.now;
        let crash = self.crash.filter(|crash| !step.orders.is_empty() || now.since(crash.armed_at) > CRASH_WAITS);
        let strikes = |point| crash.filter(|crash| crash.point == point);
        if let Some(crash) = strikes(CrashPoint::BeforePersist) {
            return self.strike(crash, Vec::new());
        }
        if self.store.persist(self.term, &step.changes).is_err() {
            return self.record.note(now, format_args!("its term is over"));
        }
        self.wall_clock.on_record = self.ahead.shows(now);
        self.wall_clock.ahead_on_record = self.ahead;
        self.checker.told(&self.world, inputs);
        for (id, reply) in &step.replies {
            if let Some(command) = self.commands.get(id).cloned() {
                self.answered(&command, reply);
            }
        }
        self.checker.persisted(&self.world, &self.store, &step.changes);
        let one_clock = self.term.is_first() && self.wall_clock.ahead_ms == 0;
        self.checker.figures(&self.world, &step.changes, one_clock);
        self.record.changes(now, &step);
        if !step.events.is_empty()
            && self.record.seen.is_due(now)
            && let Some(leader) = &self.leader
        {
            self.record.seen.words(leader.words());
        }
        let mut orders = step.orders;
        if let Some(crash) = strikes(CrashPoint::AfterPersist) {
            return self.strike(crash, orders);
        }
        let between = strikes(CrashPoint::BetweenOrders);
        let held = between.map(|_| orders.split_off(orders.len().div_ceil(2)));
        for order in orders {
            self.send(self.term, order);
        }
        if let Some(crash) = between {
            return self.strike(crash, held.unwrap_or_default());
        }
        // An engine that wants to be called at once again would stop virtual time.
        self.wake_at = step.wake_at.map(|at| at.max(now + Span(1)));
    }

    /// The armed crash strikes, with these orders durable and not sent.
    fn strike(&mut self, crash: Crash, held: Vec<Order>) {
        if crash.rival { self.overtaken(held, crash.down_for) } else { self.die(crash.down_for) }
    }

    fn answered(&mut self, command: &Command, reply: &Reply) {
        self.record.reply(self.world.now, reply);
        if !matches!(reply, Reply::Accepted { .. }) {
            return;
        }
        let each: Vec<Command> = match command {
            Command::AcceptMemory { start: true } => {
                self.checker.may_start_what_is_in_question(&self.world);
                Vec::new()
            }
            Command::AcceptMemory { start: false } => {
                let asked = self.checker.in_question(&self.world).into_iter();
                asked.map(|workload| Command::StopWorkload { workload, how: StopHow::Graceful, within: None }).collect()
            }
            command => vec![command.clone()],
        };
        for command in &each {
            self.world.person_commands(command);
            self.checker.accepted(&self.world, command);
        }
        self.look();
    }

    /// Faults ceased long ago: what should run has to run.
    pub fn all_should_run(&mut self, roomy: bool) {
        if let Some(view) = self.view() {
            self.checker.all_should_run(&self.world, &self.record, &view, roomy);
            self.checker.points_are_missed(&self.world, &self.store);
        }
    }

    /// Since then nothing had to move any more.
    pub fn should_have_rested(&mut self, since: Time) {
        self.checker.should_have_rested(&self.world, &self.record, since);
    }

    /// What the controller believes now; `None` while it is dead.
    pub fn view(&self) -> Option<ClusterView> {
        self.leader.as_ref().map(|leader| leader.view(self.world.now))
    }

    /// What the controller has on record of troubles.
    pub fn incidents(&self) -> Vec<Incident> {
        self.leader.as_ref().map(|leader| leader.incidents()).unwrap_or_default()
    }

    /// What the controller says of a subject.
    pub fn explain(&self, subject: &str) -> Option<String> {
        self.leader.as_ref()?.explain(subject, self.world.now)
    }
}
