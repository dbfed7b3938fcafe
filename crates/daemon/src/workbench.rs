//! Executors and sensors without an engine: orders in by hand, facts and outcomes out. For contract tests, which hold the
//! real parts to the same behaviour as the simulated world.

use crate::{
    Clock, StartError, StatsBoard,
    config::Config,
    executors::{Executors, Tools},
    link::{Link, Links},
    memory::Memory,
    pump::{Dispatch, INPUTS},
    sensors::{Context, Pings, Roster, watch_guests, watch_host},
    service::open_store,
    supervise::Pulse,
};
use mainstay_engine::Input;
use mainstay_model::{Action, ActionId, Epoch, Fact, Order, Outcome, Span, Time};
use std::{collections::VecDeque, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// Facts kept until they are asked for; the oldest go first.
const KEPT: usize = 10_000;

/// Executors and sensors without an engine. Everything ends when it is dropped.
pub struct Workbench {
    executors: Executors,
    inputs: mpsc::Receiver<Input>,
    facts: VecDeque<Fact>,
    clock: Clock,
    last: u64,
    _sensors: JoinSet<()>,
}

impl std::fmt::Debug for Workbench {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Workbench").field("orders", &self.last).finish_non_exhaustive()
    }
}

impl Workbench {
    /// Connects to the hosts of a configuration.
    ///
    /// # Errors
    /// If configuration or store can't be used.
    pub async fn open(config: &Path, state_dir: &Path) -> Result<Workbench, StartError> {
        let config = Config::read(config).await?;
        let store = open_store(state_dir.join("mainstay.db"), None).await?;
        let (memory, _) = Memory::open(store, Time(0)).await?;
        let clock = Clock::start(Time(0));
        let (facts, inputs) = mpsc::channel(INPUTS);
        let (_, spec) = watch::channel(Arc::clone(&config.spec));
        let links = Links::default();
        let (stats, roster, pings) = (StatsBoard::default(), Roster::default(), Pings::open());
        let context = Context {
            facts: facts.clone(),
            clock,
            memory: memory.clone(),
            stats,
            roster,
            pings,
            needs: crate::sensors::Needs::default(),
        };
        let mut sensors = JoinSet::new();
        for (host, link) in config.links {
            // Checked when the configuration was read.
            let Ok(link) = Link::new(host, link).map(Arc::new) else { continue };
            links.insert(Arc::clone(&link));
            sensors.spawn(watch_host(link, context.clone(), Pulse::default(), config.spec.detection.heartbeat_every));
        }
        sensors.spawn(watch_guests(context, Pulse::default(), links.clone(), spec.clone()));
        let pictures = state_dir.join("incidents");
        let tools = Tools {
            clock,
            memory,
            links,
            spec,
            pictures,
            hook_turns: Default::default(),
            boards: Default::default(),
            die_at: None,
        };
        let executors = Executors::new(tools, facts);
        Ok(Workbench { executors, inputs, facts: VecDeque::new(), clock, last: 0, _sensors: sensors })
    }

    /// Gives an order and waits for its outcome, which comes at its deadline at the latest.
    pub async fn order(&mut self, action: Action, within: Span) -> Outcome {
        self.last += 1;
        let id = ActionId(self.last);
        self.executors.dispatch(Order { id, epoch: Epoch(1), action, deadline: self.clock.now() + within });
        loop {
            match self.inputs.recv().await {
                Some(Input::Outcome { id: ended, outcome }) if ended == id => return outcome,
                Some(Input::Fact(fact)) => self.keep(fact),
                Some(_) => {}
                None => return Outcome::unknown("executors and sensors have ended"),
            }
        }
    }

    /// The first fact that fits, of those that came since the last one asked for; `None`: none came in time.
    pub async fn fact(&mut self, wanted: impl Fn(&Fact) -> bool, within: Duration) -> Option<Fact> {
        let found = async {
            loop {
                while let Some(fact) = self.facts.pop_front() {
                    if wanted(&fact) {
                        return Some(fact);
                    }
                }
                if let Input::Fact(fact) = self.inputs.recv().await? {
                    self.keep(fact);
                }
            }
        };
        timeout(within, found).await.ok().flatten()
    }

    /// Forgets the facts that came so far.
    pub fn forget_facts(&mut self) {
        self.facts.clear();
        while let Ok(input) = self.inputs.try_recv() {
            drop(input);
        }
    }

    fn keep(&mut self, fact: Fact) {
        if self.facts.len() == KEPT {
            self.facts.pop_front();
        }
        self.facts.push_back(fact);
    }
}
